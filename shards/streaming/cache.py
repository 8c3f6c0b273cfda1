"""Whole shards of a remote set on a local disk, shared by the processes of a machine, bounded in size.

Invariant: a file in the cache is a whole shard whose sha256 was that of the manifest when it was put there; it appears
by a rename, and is fetched again where its size is no longer right. Each shard is fetched by one process while the
others wait. What was used longest ago goes first; what a killed process left half-way goes with the next fetch.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..errors import BadInput, SpatialdataError
from ..layout import base
from ..reader import ShardError
from .places import Shard
from .remote import file_at
from .retry import retried

_CHUNK: Final = 16 << 20


class ShardCache:
    """A folder of shards.

    Args:
        limit_bytes: of all shards together; the one that is asked for is always kept.
    """

    def __init__(self, folder: str, limit_bytes: int) -> None:
        self._folder = Path(folder).expanduser()
        self._limit = limit_bytes
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"cache folder {folder} cannot be made: {error}") from error

    def open(self, shard: Shard) -> int:
        """A descriptor of the shard's local file, fetched where it is not there; it stays good if the file is dropped.

        Raises ShardError where the digest is another than the manifest's.
        """
        name = hashlib.sha256(f"{shard.url}\0{shard.sha256}\0{shard.bytes}".encode()).hexdigest()[:16]
        file = self._folder / f"{name}-{base(shard.url)}"
        while True:
            with _locked(_lock_of(file)):
                if not _is_whole(file, shard):
                    self._fetch(shard, file)
                with suppress(FileNotFoundError):  # dropped by another process in between
                    os.utime(file)
                    return os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def _fetch(self, shard: Shard, file: Path) -> None:
        temporary = _half(file)
        try:
            digest = self._copied(shard.url, temporary)
            if shard.sha256 and digest != shard.sha256:
                raise ShardError(shard.url, "", "its sha256 is not the manifest's: it is damaged, or newer")
            temporary.replace(file)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            temporary.unlink(missing_ok=True)
        self._make_room(file)

    def _copied(self, url: str, to: Path) -> str:
        try:
            return retried(lambda: self._copy(url, to), url)
        except FileNotFoundError:
            raise ShardError(url, "", "the shard is missing") from None

    def _copy(self, url: str, to: Path) -> str:
        """Copy a remote file and give its sha256. What fails here at home is not tried again."""
        fs, path = file_at(url)
        digest = hashlib.sha256()
        with fs.open(path, "rb", block_size=_CHUNK) as source, self._written(to) as sink:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                sink(chunk)
        return digest.hexdigest()

    @contextmanager
    def _written(self, to: Path) -> Generator[Callable[[bytes], None]]:
        """A file of the cache, on the disk when the block ends."""
        with to.open("wb") as file:

            def write(data: bytes) -> None:
                try:
                    file.write(data)
                except OSError as error:
                    raise self._unwritable(error) from error

            yield write
            file.flush()
            os.fsync(file.fileno())

    def _unwritable(self, error: OSError) -> SpatialdataError:
        return SpatialdataError(f"cache folder {self._folder}: {error}: free space, or choose another")

    def _make_room(self, newest: Path) -> None:
        """Drop what was used longest ago; a process that still reads it keeps its open file."""
        with _locked(self._folder / "room.lock"):
            for half in self._folder.glob("*.tar.tmp"):
                with _unless_locked(_lock_of(half.with_suffix(""))) as abandoned:
                    if abandoned:
                        half.unlink(missing_ok=True)
            found: list[tuple[float, int, Path]] = []
            for path in self._folder.glob("*.tar"):
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    found.append((stat.st_mtime, stat.st_size, path))
            total = sum(size for _, size, _ in found)
            for _, size, path in sorted(found):
                if total <= self._limit:
                    return
                if path != newest:
                    total -= size
                    path.unlink(missing_ok=True)


def _lock_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.lock")


def _half(file: Path) -> Path:
    """Where a shard is while it is fetched: by one process at a time, which holds its lock."""
    return file.with_name(f"{file.name}.tmp")


def _is_whole(file: Path, shard: Shard) -> bool:
    try:
        return file.stat().st_size == shard.bytes
    except FileNotFoundError:
        return False


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _unless_locked(path: Path) -> Generator[bool]:
    """Whether nobody else held the lock; then it is held inside."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
