"""The bytes of chosen members of one sample: a few ranged reads, local or remote, checked against the tar itself.

Invariant: what is handed out are the bytes that the index speaks of: the header before them must name the member, and
their CRC-32 must hold. A shard that is shorter or newer than its index is an error, never other bytes.
"""

import os
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from fsspec.core import url_to_fs

from shards.layout import is_local
from shards.reader import BLOCK, ShardError, parse_header, parse_name
from shards.streaming.cache import ShardCache
from shards.streaming.places import PlaceTable, Shard
from shards.streaming.retry import retried

_OPEN_FILES: Final = 256
_GAP: Final = 4 * BLOCK
"""Bytes between two members that are read along rather than skipped: the next header and padding."""

Reader = Callable[[int, int], bytes]
"""(start, end) -> bytes of an open shard."""


@dataclass(frozen=True)
class Fetched:
    """One sample's bytes."""

    key: str
    shard: str
    members: dict[str, bytes]
    """By member name without extension."""


class Fetcher:
    """Reads samples by number. Safe to use from many threads."""

    def __init__(self, table: PlaceTable, fields: Sequence[str], cache: ShardCache | None, check: bool) -> None:
        self._table = table
        self._fields = list(fields)
        self._names = [field.partition(".")[0] for field in fields]
        self._cache = cache
        self._check = check
        self._readers: OrderedDict[int, Reader] = OrderedDict()
        self._lock = Lock()

    def __call__(self, sample: int) -> Fetched:
        """Raises ShardError naming shard and key, FileNotFoundError, SpatialdataError."""
        number, row = self._table.locate(sample)
        shard = self._table.shards[number]
        places = self._table.places(number)
        read = self._reader(number, shard)
        offsets, sizes = places.offsets[row].tolist(), places.sizes[row].tolist()
        key, members = "", dict[str, bytes]()
        for group in _runs(offsets, sizes):
            start, end = offsets[group[0]] - BLOCK, offsets[group[-1]] + sizes[group[-1]]
            data = read(start, end)
            if len(data) != end - start:
                raise ShardError(shard.url, key, f"the shard is cut off before byte {end}")
            key = self._expect(data[:BLOCK], shard, self._fields[group[0]], sizes[group[0]], key)
            for i in group:
                members[self._names[i]] = data[offsets[i] - start : offsets[i] - start + sizes[i]]
        if self._check and len(places.crcs):
            for name, crc in zip(self._names, places.crcs[row].tolist(), strict=True):
                if zlib.crc32(members[name]) != crc:
                    raise ShardError(shard.url, key, f"member {name} is damaged (its CRC-32 differs)")
        return Fetched(key, shard.url, members)

    def _expect(self, header: bytes, shard: Shard, field: str, size: int, key: str) -> str:
        """The key that a member's header names, where it is the member that the index speaks of."""
        info = parse_header(header, shard.url, key)
        found, named = parse_name(info.name, shard.url, key)
        if named != field or info.size != size or (key and found != key):
            raise ShardError(shard.url, found, f"{info.name} lies where the index has {field}: the shard is newer")
        return found

    def _reader(self, number: int, shard: Shard) -> Reader:
        with self._lock:
            if number in self._readers:
                self._readers.move_to_end(number)
                return self._readers[number]
        reader = self._open(shard)
        with self._lock:
            self._readers.setdefault(number, reader)
            if len(self._readers) > _OPEN_FILES:
                self._readers.popitem(last=False)  # its file is closed once the last thread is done with it
            return reader

    def _open(self, shard: Shard) -> Reader:
        fs, path = url_to_fs(shard.url)
        if is_local(fs):
            return _LocalFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC), shard)
        if self._cache is not None:
            return _LocalFile(self._cache.open(shard), shard)
        return _remote(fs, path, shard)


class _LocalFile:
    """An open file, read by position from any thread."""

    def __init__(self, file: int, shard: Shard) -> None:
        self._file = file
        _check_size(os.fstat(file).st_size, shard)

    def __call__(self, start: int, end: int) -> bytes:
        return os.pread(self._file, end - start, start)

    def __del__(self) -> None:
        os.close(self._file)


def _remote(fs: Any, path: str, shard: Shard) -> Reader:
    _check_size(int(retried(lambda: fs.size(path), shard.url)), shard)
    return lambda start, end: retried(lambda: fs.cat_file(path, start=start, end=end), shard.url)


def _check_size(size: int, shard: Shard) -> None:
    if size != shard.bytes:
        what = "cut off" if size < shard.bytes else "newer than its index"
        raise ShardError(shard.url, "", f"it has {size} bytes, the index says {shard.bytes}: it is {what}")


def _runs(offsets: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Members (by index, ascending offset) that are read together."""
    order = sorted(range(len(offsets)), key=lambda i: offsets[i])
    runs: list[list[int]] = []
    for i in order:
        if runs and offsets[i] - (offsets[runs[-1][-1]] + sizes[runs[-1][-1]]) <= _GAP:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs
