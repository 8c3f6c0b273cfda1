"""Reads a tar or tar.gz in place: one pass finds the byte range of every file, later reads take these ranges.

No member is ever written to disk, whatever its name. Members that an archive of samples does not need (links, devices,
absolute names, `..`) are rejected by name. Headers, members and the whole content have size limits. A truncated or
damaged archive is rejected with the place of the damage, before anything is planned.
"""

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Final

from ...shards.errors import BadInput
from ...shards.layout import base, filesystem, join
from ...shards.writer import publish_bytes

SUFFIXES: Final = (".tar.gz", ".tgz", ".tar")
MAX_MEMBER: Final = 64 * 2**20
"""Largest file in an archive, in bytes: images and their descriptions are much smaller."""
MAX_RATIO: Final = 100
"""Largest ratio of the size of the contents to that of the archive: images hardly compress, bombs reach 1000."""
MAX_METADATA: Final = 2**20
_SPACING: Final = 16 * 2**20
"""Bytes between two points of the seek index (32 KiB each). A read inflates half of that on average (30 ms)."""
_BUFFER: Final = 2**20
"""Bytes inflated at once. The library's default, four times the spacing, would inflate 64 MiB for one sample."""
_LONGEST_PATH: Final = 4096
_SAMPLE_BYTES: Final = 64 * 1024
_PLAIN: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)

Range = tuple[int, int]
"""Offset and size in the uncompressed archive."""


@dataclass(frozen=True)
class Entry:
    """One plain file of an archive. `data` is empty unless requested."""

    path: PurePosixPath
    place: Range
    data: bytes


def is_archive(name: str) -> bool:
    """Whether a file name has the suffix of a supported archive."""
    return name.lower().endswith(SUFFIXES)


def stem(name: str) -> str:
    """The name without its archive suffix: `rotate` of `rotate.tar.gz`."""
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def digest(url: str) -> str:
    """Identifies an archive without reading all of it: a hash of its size, first and last 64 KiB (12 hex digits).

    Raises BadInput if the file cannot be read.
    """
    fs, path = filesystem(url)
    try:
        with fs.open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            head = file.read(_SAMPLE_BYTES)
            file.seek(max(0, size - _SAMPLE_BYTES))
            tail = file.read(_SAMPLE_BYTES)
    except OSError as error:
        raise BadInput(f"cannot read archive {url}: {error}") from error
    return hashlib.sha256(b"%d:" % size + head + tail).hexdigest()[:12]


def index_name(url: str, archive_digest: str) -> str:
    """File name of the seek index of a compressed archive."""
    return f"{stem(base(url))}-{archive_digest}.gzidx"


def walk(url: str, indexes: str, wanted: str) -> Iterator[Entry]:
    """All plain files of an archive in order, in one pass; files named `wanted` have their contents.

    At the end, the seek index of a compressed archive is written under `indexes` (an fsspec URL).

    Raises:
        BadInput: the archive is damaged, truncated, larger than the limits, or has a member that no sample needs.
    """
    with _inflated(url) as (stream, size):
        meter = _Meter(stream, url, max(MAX_MEMBER, MAX_RATIO * size))
        last = ""
        try:
            with tarfile.open(fileobj=meter, mode="r|", bufsize=2**20) as tar:
                while (info := tar.next()) is not None:
                    # An archive may have millions of members, and tarfile would keep all of them.
                    tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
                    _check_member(info, url)
                    last = info.name
                    meter.expect(info.size)
                    if info.type in _PLAIN:
                        yield _entry(tar, info, url, wanted)
                end = tar.offset
        except tarfile.TarError as error:
            raise BadInput(_damaged(url, meter.total, last, str(error))) from error
        except OSError as error:
            # An error of the decompression library, whose message (an error code) does not help a user.
            raise BadInput(_damaged(url, meter.total, last, "the compressed data is damaged")) from error
        meter.drain()
        _expect_end(stream, end, url, last)
        if _is_compressed(url):
            _check_sum(url, meter)
            _publish_index(stream, url, indexes)


class Archive:
    """Random access to the files of one archive."""

    def __init__(self, url: str, archive_digest: str, indexes: str) -> None:
        """Open `url` with the seek index that `walk` wrote under `indexes`; a missing or damaged one is rebuilt.

        Raises BadInput if the archive is missing or damaged, or is not the one that was walked.
        """
        self._url = url
        if digest(url) != archive_digest:
            raise BadInput(f"archive {url} has changed since it was planned: build into a new --out")
        fs, path = filesystem(url)
        self._file: Any = fs.open(path, "rb")
        if _is_compressed(url):
            index = join(indexes, index_name(url, archive_digest))
            try:
                self._file = _with_index(self._file, index)
            except BadInput:  # missing, truncated, or of another archive: the rebuilt index is identical
                for _ in walk(url, indexes, ""):
                    pass
                self._file = _with_index(self._file, index)

    def read(self, places: Mapping[str, Range]) -> dict[str, bytes]:
        """Read several files at their byte ranges. Raises OSError if the archive cannot be read there."""
        found: dict[str, bytes] = {}
        for name, (offset, size) in sorted(places.items(), key=lambda item: item[1]):
            self._file.seek(offset)
            data = _read_fully(self._file, size)
            if len(data) != size:
                raise OSError(f"{self._url} ends inside {name}")
            found[name] = data
        return found

    def close(self) -> None:
        self._file.close()


class _Meter(io.RawIOBase):
    """A forward-only reader that counts bytes, computes their CRC-32, and enforces the size limits."""

    def __init__(self, stream: IO[bytes], url: str, limit: int) -> None:
        super().__init__()
        self._stream = stream
        self._url = url
        self._limit = limit
        self._next = MAX_MEMBER
        self.total = 0
        self.crc = 0

    def readable(self) -> bool:
        return True

    def expect(self, size: int) -> None:
        """Called after each header: the next one must follow within the member's size plus MAX_MEMBER bytes."""
        self._next = self.total + size + MAX_MEMBER

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.total += len(data)
        self.crc = zlib.crc32(data, self.crc)
        if self.total > self._limit:
            raise BadInput(
                f"archive {self._url} is rejected: it contains over {self._limit} bytes, {MAX_RATIO} times its size"
            )
        if self.total > self._next:
            raise BadInput(
                f"archive {self._url} is rejected: it has a header over {MAX_MEMBER} bytes near byte {self.total}"
            )
        return data

    def drain(self) -> None:
        """Read to the end, so that count and CRC cover everything."""
        self._next = self._limit
        while self.read(2**20):
            pass


def _check_member(info: tarfile.TarInfo, url: str) -> None:
    """Raise BadInput for a member that an archive of samples cannot have."""
    if len(info.name) > _LONGEST_PATH:
        raise _rejected(url, f"{info.name[:80]!r}...", f"has a name of {len(info.name)} characters")
    path = PurePosixPath(info.name)
    if any("\ud800" <= letter <= "\udfff" for letter in info.name):
        raise _rejected(url, repr(info.name), "has a name that is not UTF-8")
    if path.is_absolute() or ".." in path.parts or "\\" in info.name:
        raise _rejected(url, repr(info.name), "leads out of the archive")
    if info.issym() or info.islnk():
        raise _rejected(url, repr(info.name), f"is a link to {info.linkname!r}")
    if info.type not in (*_PLAIN, tarfile.DIRTYPE):
        raise _rejected(url, repr(info.name), "is neither a plain file nor a folder")
    if info.size > MAX_MEMBER:
        raise _rejected(url, repr(info.name), f"has {info.size} bytes, over {MAX_MEMBER}")


def _rejected(url: str, member: str, problem: str) -> BadInput:
    return BadInput(f"archive {url} is rejected: its member {member} {problem}")


def _entry(tar: tarfile.TarFile, info: tarfile.TarInfo, url: str, wanted: str) -> Entry:
    path = PurePosixPath(info.name)
    data = b""
    if path.name == wanted:
        if info.size > MAX_METADATA:
            raise _rejected(url, repr(info.name), f"has {info.size} bytes, over {MAX_METADATA}")
        file = tar.extractfile(info)
        data = file.read() if file else b""
    return Entry(path, (info.offset_data, info.size), data)


def _expect_end(stream: IO[bytes], end: int, url: str, last: str) -> None:
    """Raise BadInput unless a block of zeros ends the tar; tarfile also stops at a damaged header or the file's end."""
    stream.seek(end)
    block = _read_fully(stream, tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise BadInput(_damaged(url, end + len(block), last, "the archive is truncated"))
    if any(block):
        raise BadInput(_damaged(url, end, last, "a header is damaged"))


def _damaged(url: str, offset: int, last: str, problem: str) -> str:
    place = f"after member {last!r}" if last else "at its start"
    return f"archive {url} cannot be read {place} (byte {offset} of its contents): {problem}; fetch it again"


def _check_sum(url: str, meter: _Meter) -> None:
    """Compare CRC and size with those at the archive's end; they may differ if it has several gzip members."""
    fs, path = filesystem(url)
    with fs.open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        trailer = file.read(8)
        if trailer == meter.crc.to_bytes(4, "little") + (meter.total % 2**32).to_bytes(4, "little"):
            return
        file.seek(0)
        try:
            with gzip.open(file) as contents:
                while contents.read(2**20):
                    pass
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(f"archive {url} is damaged ({error}): fetch it again") from error


def _is_compressed(url: str) -> bool:
    return not url.lower().endswith(".tar")


@contextmanager
def _inflated(url: str) -> Generator[tuple[Any, int]]:
    """An archive as a seekable stream of its contents, and the size of the file itself."""
    fs, path = filesystem(url)
    try:
        file = fs.open(path, "rb")
    except OSError as error:
        raise BadInput(f"cannot read archive {url}: {error}") from error
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if not size:
            raise BadInput(f"archive {url} is empty: fetch it again")
        if not _is_compressed(url):
            yield file, size
            return
        if file.read(2) != b"\x1f\x8b":
            raise BadInput(f"archive {url} is not gzip: fetch it again")
        file.seek(0)
        from indexed_gzip import IndexedGzipFile

        with IndexedGzipFile(fileobj=file, spacing=_SPACING, buffer_size=_BUFFER) as inflated:
            yield inflated, size


def _publish_index(inflated: Any, url: str, indexes: str) -> None:
    """Write the seek index, followed by its checksum, under `indexes`."""
    stored = io.BytesIO()
    inflated.export_index(fileobj=stored)
    data = stored.getvalue()
    publish_bytes(data + hashlib.sha256(data).digest(), join(indexes, index_name(url, digest(url))))


def _with_index(file: Any, index_url: str) -> Any:
    from indexed_gzip import IndexedGzipFile

    fs, path = filesystem(index_url)
    try:
        stored: bytes = fs.cat_file(path)
    except OSError as error:
        raise BadInput(f"cannot read seek index {index_url} ({error}): build into a new --out") from error
    data, checksum = stored[:-32], stored[-32:]
    if hashlib.sha256(data).digest() != checksum:
        raise BadInput(f"seek index {index_url} is damaged: build into a new --out")
    inflated = IndexedGzipFile(fileobj=file, spacing=_SPACING, buffer_size=_BUFFER)
    inflated.import_index(fileobj=io.BytesIO(data))
    return inflated


def _read_fully(file: IO[bytes], size: int) -> bytes:
    """Exactly `size` bytes, fewer only at the end."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data
