"""Reads the offsets of all members from the headers of a tar, for shards without an index."""

from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..layout import open_url
from ..reader import BLOCK, ShardError, parse_header, parse_name


@dataclass(frozen=True)
class Scanned:
    """Offsets and sizes of all members: (samples, members) arrays, members in the order of `fields`."""

    fields: tuple[str, ...]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    bytes: int


def scan(url: str) -> Scanned:
    """Read the headers of a shard and skip the data.

    Raises ShardError where the tar is truncated, or where the members of a sample differ from those of the first.
    """
    with open_url(url) as file:
        size = file.seek(0, 2)
        file.seek(0)
        rows = _walk(file, url, size)
    first = rows[0][1] if rows else {}
    for key, members in rows:
        if set(members) != set(first):
            difference = ", ".join(sorted(set(first) ^ set(members)))
            raise ShardError(url, key, f"its members differ from the shard's first sample ({difference})")
    fields = tuple(sorted(first))
    offsets = np.asarray([[members[field][0] for field in fields] for _, members in rows], np.int64)
    sizes = np.asarray([[members[field][1] for field in fields] for _, members in rows], np.int64)
    return Scanned(fields, offsets, sizes, size)


def _walk(file: IO[bytes], url: str, size: int) -> list[tuple[str, dict[str, tuple[int, int]]]]:
    rows: list[tuple[str, dict[str, tuple[int, int]]]] = []
    position, key = 0, ""
    while True:
        file.seek(position)
        header = file.read(BLOCK)
        if len(header) == BLOCK and not any(header):
            return rows
        info = parse_header(header, url, key)
        key, field = parse_name(info.name, url, key)
        end = position + BLOCK + -(-info.size // BLOCK) * BLOCK
        if end > size:
            raise ShardError(url, key, f"the shard is truncated inside {info.name}")
        if not rows or rows[-1][0] != key:
            rows.append((key, {}))
        rows[-1][1][field] = (position + BLOCK, info.size)
        position = end
