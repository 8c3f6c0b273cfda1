"""A local disk cache of whole shards of a remote set, shared by the processes of a machine, with a size limit.

Invariant: a file in the cache is a complete shard whose sha256 matched the manifest when it was stored. It appears by a
rename, and is fetched again if its size is wrong. One process fetches a shard while the others wait. The least recently
used shards are evicted first. Partial files of killed processes are deleted by the next fetch.
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
from .retry import call_with_retries

_CHUNK: Final = 16 << 20


class ShardCache:
    """A folder of shards.

    Args:
        limit_bytes: total size of all shards; the requested shard is always kept.
    """

    def __init__(self, folder: str, limit_bytes: int) -> None:
        self._folder = Path(folder).expanduser()
        self._limit = limit_bytes
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"cache folder {folder} cannot be created: {error}") from error

    def open(self, shard: Shard) -> int:
        """A descriptor of the shard's local file, fetched if necessary; it stays valid if the file is evicted.

        Raises ShardError where the digest differs from the manifest.
        """
        name = hashlib.sha256(f"{shard.url}\0{shard.sha256}\0{shard.bytes}".encode()).hexdigest()[:16]
        file = self._folder / f"{name}-{base(shard.url)}"
        while True:
            with _locked(_lock_of(file)):
                if not _is_whole(file, shard):
                    self._fetch(shard, file)
                with suppress(FileNotFoundError):  # evicted by another process in between
                    os.utime(file)
                    return os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def _fetch(self, shard: Shard, file: Path) -> None:
        temporary = _partial_file(file)
        try:
            digest = self._copy_with_retries(shard.url, temporary)
            if shard.sha256 and digest != shard.sha256:
                raise ShardError(shard.url, "", "its sha256 differs from the manifest: it is damaged or newer")
            temporary.replace(file)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            temporary.unlink(missing_ok=True)
        self._evict(file)

    def _copy_with_retries(self, url: str, to: Path) -> str:
        try:
            return call_with_retries(lambda: self._copy(url, to), url)
        except FileNotFoundError:
            raise ShardError(url, "", "the shard is missing") from None

    def _copy(self, url: str, to: Path) -> str:
        """Copy a remote file and return its sha256. Errors of the local disk are not retried."""
        fs, path = file_at(url)
        digest = hashlib.sha256()
        with fs.open(path, "rb", block_size=_CHUNK) as source, self._open_for_writing(to) as sink:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                sink(chunk)
        return digest.hexdigest()

    @contextmanager
    def _open_for_writing(self, to: Path) -> Generator[Callable[[bytes], None]]:
        """A function that writes to a file of the cache; the file is synced to disk when the block ends."""
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
        return SpatialdataError(f"cache folder {self._folder}: {error}: free space, or use another folder")

    def _evict(self, newest: Path) -> None:
        """Evict the least recently used shards; a process that still reads one keeps its open file."""
        with _locked(self._folder / "room.lock"):
            for partial in self._folder.glob("*.tar.tmp"):
                with _try_lock(_lock_of(partial.with_suffix(""))) as unlocked:
                    if unlocked:
                        partial.unlink(missing_ok=True)
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


def _partial_file(file: Path) -> Path:
    """The file of a shard while it is fetched, by one process at a time, which holds the lock."""
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
def _try_lock(path: Path) -> Generator[bool]:
    """Try to take the lock: yields whether it was free; then it is held inside the block."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
