"""Shards, written: the same samples give the same bytes, and a name holds a whole shard or nothing.

USTAR headers carry no time, user or host. The digests are taken from the bytes on their way to the file, which is
synced and renamed only when the last sample is in it. An exception leaves nothing behind.
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
    """Where a member's bytes lie in its shard, and their CRC-32, which tells a damaged member from a sound one."""

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
    """What was written."""

    name: str
    samples: int
    bytes: int
    sha256: str
    md5: str
    """Only because the wids index asks for it."""
    entries: tuple[SampleEntry, ...]


def encode_record(record: SampleRecord) -> bytes:
    """The `json` member: fixed key order, no white space, UTF-8. Raises ValueError on NaN and infinities."""
    plain = record.model_dump(mode="json", by_alias=True)
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def write_shard(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> ShardInfo:
    """Write (key, members by field such as `source.webp`) in the given order to a tar, members sorted by field.

    Holds one sample at a time. Raises SpatialdataError naming the key where a key is malformed or occurs twice, where
    a sample's members are not those of the first, or where there is no sample at all; then `path` is untouched.
    """
    with replace_file(path) as file:
        sink = _Sink(file)
        entries = tuple(_write_samples(sink, samples, path.name))
        if not entries:
            raise SpatialdataError(f"shard {path.name}: no samples to write")
        sink.write(_PADDING + _PADDING)
    return ShardInfo(path.name, len(entries), sink.position, sink.sha256.hexdigest(), sink.md5.hexdigest(), entries)


def publish(local: Path, url: str) -> None:
    """Put a finished local file at any fsspec URL, whole or not at all, replacing what is there.

    Raises SpatialdataError where the destination reports another size afterwards.
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
    """As `publish`, for a small file in memory."""
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
    """A file that takes the name `path` only when all of it is on the disk; removed when the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The leading dot and the extension keep what a killed process leaves out of every listing of shards.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        make_way(path)
        temporary.replace(path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk does not say where
    finally:
        temporary.unlink(missing_ok=True)


def make_way(path: Path) -> None:
    """Move aside what stands where a file is to be and is none, so that nothing of it is lost: `<name>.corrupt`."""
    try:
        mode = path.lstat().st_mode  # one look: a file that another writer puts there meanwhile is never moved
    except OSError:
        return
    if stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and path.is_file()):
        return
    aside = path.with_name(f"{path.name}.corrupt")
    if os.path.lexists(aside):
        aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.corrupt")
    path.rename(aside)


def member_header(name: str, size: int) -> bytes:
    """The one USTAR header that a member of this name and size has. Raises BadInput where the name is too long."""
    if len(name) > _NAME_LIMIT:
        raise BadInput(f"'{name}' has {len(name)} characters, a tar takes {_NAME_LIMIT}: use shorter keys")
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


class _Sink:
    """Counts and digests what passes to the file."""

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
    sink: _Sink, samples: Iterable[tuple[str, Mapping[str, bytes]]], shard: str
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
        raise SpatialdataError(f"{where}: not a key; keys are {KEY_RULE}")
    if key in seen:
        raise SpatialdataError(f"{where}: the key occurs twice; keys name one sample each")
    if found != fields:
        odd = ", ".join(sorted(set(found) ^ set(fields)))
        raise SpatialdataError(f"{where}: its members are not those of the first sample ({odd})")
    for field in found:
        if not is_field(field):
            raise SpatialdataError(f"{where}: '{field}' is no member; use <member>.<webp|png|jpg|txt|json> or json")


def _write_member(sink: _Sink, key: str, field: str, data: bytes) -> MemberEntry:
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
        raise SpatialdataError(f"{url}: {found} of {size} bytes arrived; run the command again")
