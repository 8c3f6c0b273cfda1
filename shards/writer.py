"""Writes shards: the same samples give the same bytes, and a shard appears under its name only when it is complete.

USTAR headers contain no time, user or host. The digests are computed while writing. The file is synced and renamed only
after the last sample is written. An exception leaves nothing behind.
"""

import hashlib
import json
import os
import stat
import tarfile
import uuid
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from .errors import BadInput, SpatialdataError
from .layout import KEY_RULE, filesystem, is_field, is_key, is_local
from .schema import SampleRecord

BLOCK: Final = 512
_NAME_LIMIT: Final = 100
_PADDING: Final = bytes(BLOCK)


@dataclass(frozen=True)
class MemberEntry:
    """Offset and size of a member's bytes in its shard, and their CRC-32, which shows whether the member is damaged."""

    field: str
    offset: int
    size: int
    crc32: int


@dataclass(frozen=True)
class SampleEntry:
    key: str
    members: tuple[MemberEntry, ...]


@dataclass(frozen=True)
class ShardInfo:
    """A shard that was written."""

    name: str
    samples: int
    bytes: int
    sha256: str
    md5: str
    """Required by the wids index."""
    entries: tuple[SampleEntry, ...]


def encode_record(record: SampleRecord) -> bytes:
    """The `json` member: fixed key order, no white space, UTF-8. Raises ValueError on NaN and infinities."""
    plain = record.model_dump(mode="json", by_alias=True)
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def write_shard(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> ShardInfo:
    """Write (key, members by field such as `source.webp`) to a tar in the given order, members sorted by field.

    Holds one sample in memory. Raises SpatialdataError that names the key where a key is malformed or occurs twice, or
    a sample's members differ from the first sample's; also where there is no sample. Then `path` is unchanged.
    """
    with replace_file(path) as file:
        sink = _HashingWriter(file)
        entries = tuple(_write_samples(sink, samples, path.name))
        if not entries:
            raise SpatialdataError(f"shard {path.name}: no samples to write")
        sink.write(_PADDING + _PADDING)
    return ShardInfo(path.name, len(entries), sink.position, sink.sha256.hexdigest(), sink.md5.hexdigest(), entries)


def publish(local: Path, url: str) -> None:
    """Copy a finished local file to any fsspec URL atomically, replacing an existing file.

    Raises SpatialdataError where the destination reports a different size afterwards.
    """
    fs, path = filesystem(url)
    fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    if is_local(fs):
        with replace_file(Path(path)) as target, local.open("rb") as source:
            while chunk := source.read(1 << 20):
                target.write(chunk)
        return
    fs.put_file(str(local), path)
    _check_size(fs, path, local.stat().st_size, url)


def publish_bytes(data: bytes, url: str) -> None:
    """Like `publish`, for a small file in memory."""
    fs, path = filesystem(url)
    fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    if is_local(fs):
        with replace_file(Path(path)) as target:
            target.write(data)
        return
    fs.pipe_file(path, data)
    _check_size(fs, path, len(data), url)


@contextmanager
def replace_file(path: Path) -> Generator[IO[bytes]]:
    """Open a temporary file that is renamed to `path` once it is synced to disk, and removed if the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The leading dot and the extension keep the temporary file of a killed process out of every listing of shards.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        move_aside(path)
        temporary.replace(path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # the error of a full disk has no path
    finally:
        temporary.unlink(missing_ok=True)


def move_aside(path: Path) -> None:
    """Move aside anything at `path` that is not a file, as `<name>.corrupt`, so that nothing is lost."""
    try:
        mode = path.lstat().st_mode  # read once, so that a file that another writer puts there meanwhile is never moved
    except OSError:
        return
    if stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and path.is_file()):
        return
    moved = path.with_name(f"{path.name}.corrupt")
    if os.path.lexists(moved):
        moved = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.corrupt")
    path.rename(moved)


def member_header(name: str, size: int) -> bytes:
    """The USTAR header of a member with this name and size. Raises BadInput where the name is too long."""
    if len(name) > _NAME_LIMIT:
        raise BadInput(f"'{name}' has {len(name)} characters, but tar allows {_NAME_LIMIT}: use shorter keys")
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


class _HashingWriter:
    """Writes to a file, counts the bytes and computes their digests."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.position = 0
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False)

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self.md5.update(data)
        self.position += len(data)


def _write_samples(
    sink: _HashingWriter, samples: Iterable[tuple[str, Mapping[str, bytes]]], shard: str
) -> Iterator[SampleEntry]:
    seen: set[str] = set()
    fields: list[str] = []
    for key, members in samples:
        found = sorted(members)
        fields = fields or found
        _check_sample(shard, key, found, fields, seen)
        seen.add(key)
        yield SampleEntry(key, tuple(_write_member(sink, key, field, members[field]) for field in found))


def _check_sample(shard: str, key: str, found: list[str], fields: list[str], seen: set[str]) -> None:
    where = f"shard {shard}, sample {key!r}"
    if not is_key(key):
        raise SpatialdataError(f"{where}: not a valid key; keys are {KEY_RULE}")
    if key in seen:
        raise SpatialdataError(f"{where}: the key occurs twice; keys must be unique")
    if found != fields:
        difference = ", ".join(sorted(set(found) ^ set(fields)))
        raise SpatialdataError(f"{where}: its members differ from the first sample ({difference})")
    for field in found:
        if not is_field(field):
            raise SpatialdataError(
                f"{where}: '{field}' is not a member name; use <member>.<webp|png|jpg|txt|json> or json"
            )


def _write_member(sink: _HashingWriter, key: str, field: str, data: bytes) -> MemberEntry:
    header = member_header(f"{key}.{field}", len(data))
    entry = MemberEntry(field, sink.position + BLOCK, len(data), zlib.crc32(data))
    sink.write(header)
    sink.write(data)
    sink.write(_PADDING[: -len(data) % BLOCK])
    return entry


def _check_size(fs: Any, path: str, size: int, url: str) -> None:
    fs.invalidate_cache()
    found = int(fs.info(path)["size"])
    if found != size:
        raise SpatialdataError(f"{url}: only {found} of {size} bytes were stored; rerun the command")
