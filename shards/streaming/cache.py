"""Whole shards of a remote set on a local disk, shared by the processes of a machine, bounded in size.

Invariant: a file in the cache is a whole shard whose sha256 was that of the manifest when it was put there; it appears
by a rename. Each shard is fetched by one process while the others wait. What was used longest ago goes first.
"""

import fcntl
import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from fsspec.core import url_to_fs

from shards.errors import BadInput, SpatialdataError
from shards.layout import base
from shards.reader import ShardError
from shards.streaming.places import Shard
from shards.streaming.retry import retried

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
            with _locked(self._folder / f"{file.name}.lock"):
                if not file.exists():
                    self._fetch(shard, file)
                with suppress(FileNotFoundError):  # dropped by another process in between
                    os.utime(file)
                    return os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def _fetch(self, shard: Shard, file: Path) -> None:
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        try:
            digest = retried(lambda: _copy(shard.url, temporary), shard.url)
            if shard.sha256 and digest != shard.sha256:
                raise ShardError(shard.url, "", "its sha256 is not the manifest's: it is damaged, or newer")
            temporary.replace(file)
            self._make_room(file)
        except OSError as error:
            raise SpatialdataError(f"cache folder {self._folder}: {error}: free space, or choose another") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, newest: Path) -> None:
        """Drop what was used longest ago; a process that still reads it keeps its open file."""
        with _locked(self._folder / "room.lock"):
            found = [(path, path.stat()) for path in self._folder.glob("*.tar")]
            total = sum(stat.st_size for _, stat in found)
            for path, stat in sorted(found, key=lambda each: each[1].st_mtime):
                if total <= self._limit:
                    return
                if path != newest:
                    total -= stat.st_size
                    path.unlink(missing_ok=True)


def _copy(url: str, to: Path) -> str:
    """Copy a remote file and give its sha256."""
    fs: Any
    fs, path = url_to_fs(url)
    digest = hashlib.sha256()
    with fs.open(path, "rb") as source, to.open("wb") as sink:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            sink.write(chunk)
    return digest.hexdigest()


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
