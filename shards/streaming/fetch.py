"""Reads the bytes of selected members of one sample: a few ranged reads, local or remote, checked against the tar.

Invariant: the returned bytes are the ones in the index: the header before them must name the member, and their CRC-32
must match. A shard that is shorter or newer than its index is an error and never returns wrong bytes.
"""

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..layout import is_key, is_local, split_field
from ..reader import BLOCK, ShardError, parse_header, parse_name
from .cache import ShardCache
from .handles import LazyCache
from .places import PlaceTable, Shard
from .remote import file_at
from .retry import call_with_retries

_OPEN_FILES: Final = 256
_GAP: Final = 4 * BLOCK
"""Largest gap between two members that are read together, in bytes: room for the next header and padding."""
REMOTE_GAP: Final = 64 << 10
"""The same for a remote file, where another request costs more than reading these bytes."""

Span = tuple[int, int]
"""(start, end) in bytes."""


@dataclass(frozen=True)
class Fetched:
    """One sample's bytes."""

    key: str
    shard: str
    members: dict[str, bytes]
    """By member name without extension."""


class Fetcher:
    """Reads samples by number. Safe to use from many threads.

    Args:
        names: members without extension, in the order of the table's members.
        check: whether to check the CRC-32 of every member.
    """

    def __init__(self, table: PlaceTable, names: Sequence[str], cache: ShardCache | None, check: bool) -> None:
        self._table = table
        self._names = list(names)
        self._cache = cache
        self._check = check
        kinds = {shard.members for shard in table.shards}
        self._fields = {kind: [_field_of(kind, name) for name in names] for kind in kinds}
        self._readers = LazyCache(self._open, lambda reader: reader.files, _OPEN_FILES)

    def __call__(self, sample: int) -> Fetched:
        """Read a sample. Raises ShardError with shard and key, SpatialdataError where a remote shard is unreachable."""
        number, row = self._table.locate(sample)
        shard = self._table.shards[number]
        reader = self._readers(number)
        columns = self._table.places(number)[row].T.tolist()
        starts, sizes = [BLOCK * block for block in columns[0]], columns[1]
        crcs = columns[2] if self._check and len(columns) > 2 else []
        runs = group_ranges(starts, sizes, reader.gap)
        spans = [(starts[run[0]] - BLOCK, starts[run[-1]] + sizes[run[-1]]) for run in runs]
        key, members = "", dict[str, bytes]()
        for run, (first, end), data in zip(runs, spans, reader.read(spans), strict=True):
            if len(data) != end - first:
                raise ShardError(shard.url, key, f"the shard is truncated before byte {end}")
            for i in run[:1] if crcs else run:  # with CRC-32s, one header is enough, for the key
                at = starts[i] - first
                key = self._check_header(data[at - BLOCK : at], shard, i, sizes[i], key)
            for i in run:
                members[self._names[i]] = data[starts[i] - first : starts[i] - first + sizes[i]]
        for name, crc in zip(self._names, crcs, strict=False):
            if zlib.crc32(members[name]) != crc:
                raise ShardError(shard.url, key, f"member {name} is damaged (its CRC-32 differs)")
        return Fetched(key, shard.url, members)

    def _check_header(self, header: bytes, shard: Shard, member: int, size: int, key: str) -> str:
        """The key in a member's header. Raises ShardError where it is not the member in the index."""
        field = self._fields[shard.members][member]
        found = _key_in_header(header, field, size)
        if found and found == (key or found):
            return found
        info = parse_header(header, shard.url, key)
        found, named = parse_name(info.name, shard.url, key)
        if named != field or info.size != size or (key and found != key):
            raise ShardError(shard.url, found, f"found {info.name} where the index has {field}: the shard is newer")
        return found

    def _open(self, number: int) -> "_Reader":
        shard = self._table.shards[number]
        fs, path = file_at(shard.url)
        try:
            if is_local(fs):
                return _LocalFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC), shard)
            if self._cache is not None:
                self._readers.drop(lambda reader: reader.deleted)  # an open deleted file still uses disk space
                return _LocalFile(self._cache.open(shard), shard)
            return _RemoteFile(fs, path, shard)
        except FileNotFoundError:
            raise ShardError(shard.url, "", "the shard is missing") from None


class _LocalFile:
    """An open file, read by position from any thread."""

    gap = _GAP
    files = 1

    def __init__(self, file: int, shard: Shard) -> None:
        self._file = file
        self._shard = shard
        _check_size(os.fstat(file).st_size, shard)

    @property
    def deleted(self) -> bool:
        """Whether the file is deleted and exists only because it is open here."""
        return os.fstat(self._file).st_nlink == 0

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        try:
            return [os.pread(self._file, end - start, start) for start, end in spans]
        except OSError as error:
            raise ShardError(self._shard.url, "", f"cannot be read ({error.strerror})") from error

    def __del__(self) -> None:
        os.close(self._file)


class _RemoteFile:
    """A remote file, read in ranges, several at once."""

    gap = REMOTE_GAP
    files = 0
    deleted = False

    def __init__(self, fs: Any, path: str, shard: Shard) -> None:
        self._shard = shard
        size = call_with_retries(lambda: fs.size(path), shard.url)
        if size is not None:  # some web servers do not report a size
            _check_size(int(size), shard)

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        fs, path = file_at(self._shard.url)
        if len(spans) == 1:
            start, end = spans[0]
            return [call_with_retries(lambda: fs.cat_file(path, start=start, end=end), self._shard.url)]
        starts, ends = zip(*spans, strict=True)
        paths = [path] * len(spans)
        return call_with_retries(
            lambda: fs.cat_ranges(paths, list(starts), list(ends), on_error="raise"), self._shard.url
        )


_Reader = _LocalFile | _RemoteFile


def read_json(sample: Fetched) -> dict[str, Any]:
    """The parsed record of a sample, without validation. Raises ShardError."""
    try:
        record = json.loads(sample.members["json"])
    except ValueError as error:
        raise ShardError(sample.shard, sample.key, f"member json is damaged ({error})") from error
    if not isinstance(record, dict):
        raise ShardError(sample.shard, sample.key, "member json is not a JSON object")
    return record  # pyright: ignore[reportUnknownVariableType]


def _key_in_header(header: bytes, field: str, size: int) -> str:
    """The key in a valid header of exactly this member; empty in all other cases, which `parse_header` then handles.

    Four times faster than tarfile's parser, which would hold the interpreter lock for every sample.
    """
    key, _, found = header[:100].partition(b"\0")[0].partition(b".")
    try:
        checksum_valid = int(header[148:156].strip(b"\0 "), 8) == sum(header) - sum(header[148:156]) + 8 * ord(" ")
        if (
            found != field.encode()
            or int(header[124:136].strip(b"\0 "), 8) != size
            or header[156:157] not in (b"0", b"\0")
        ):
            return ""
    except ValueError:
        return ""
    text = key.decode("latin-1")
    return text if checksum_valid and is_key(text) and not header[345] else ""


def _field_of(fields: Sequence[str], name: str) -> str:
    return next(field for field in fields if split_field(field)[0] == name)


def _check_size(size: int, shard: Shard) -> None:
    if size != shard.bytes:
        what = "truncated" if size < shard.bytes else "newer than its index"
        raise ShardError(shard.url, "", f"it has {size} bytes, the index says {shard.bytes}: it is {what}")


def group_ranges(starts: Sequence[int], sizes: Sequence[int], gap: int) -> list[list[int]]:
    """Groups of members (by index, in the order of their offsets) that are read together."""
    runs: list[list[int]] = []
    end = -1
    for i in sorted(range(len(starts)), key=starts.__getitem__):
        if runs and starts[i] - end <= gap:
            runs[-1].append(i)
        else:
            runs.append([i])
        end = starts[i] + sizes[i]
    return runs
