"""Parts: what a stage made of a few samples of a unit, kept in a file until the whole unit is committed.

A part is a cache: the unit's layer file and record are made from the same values with or without it. Invariants:
- A part is written once its samples are finished, and removed after the record of its unit exists.
- `read_part` returns the values that were written, or None: for a damaged file, one of another unit or layer, or one
  that other versions of the packages made. Then the samples are computed again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...shards.sample import Columns
from .layers import LayerStore, PartName, Record, Rejected, decode_rows, encode_rows, parse_record

_END = b"\n\n"
"""Ends the record; its JSON text has no empty line."""


@dataclass(frozen=True)
class Part:
    """What a stage made of some samples, in plan order."""

    rows: Mapping[str, Columns] = field(default_factory=dict[str, Columns])
    rejects: tuple[Rejected, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self.rows).union(reject.key for reject in self.rejects)


def write_part(store: LayerStore, layer_dir: str, name: PartName, part: Part, packages: Mapping[str, str]) -> None:
    """Keep a part: a sha256 of the rest, a record, an empty line, the rows as Parquet.

    Args:
        packages: versions of the packages that determine its bytes.

    Raises SpatialdataError if the disk is full, BadInput if OUT is not writable.
    """
    record = Record(
        name.unit,
        layer_dir,
        part.rejects,
        part.counts,
        part.seconds,
        part.cpu_seconds,
        versions=packages,
        rows=len(part.rows),
    )
    rest = record.to_json().encode() + _END + encode_rows(part.rows, layer_dir)
    store.write_file(store.part_name(layer_dir, name), _digest(rest) + rest)


def read_part(store: LayerStore, layer_dir: str, name: PartName, packages: Mapping[str, str]) -> Part | None:
    """Read a part; None if it cannot be used (see the invariants)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = store.read_file(store.part_name(layer_dir, name))
        size = len(_digest(b""))
        if data[:size] != _digest(data[size:]):
            return None
        text, _, rows = data[size:].partition(_END)
        record = parse_record(text)
        if (record.layer, record.unit, record.versions) != (layer_dir, name.unit, packages):
            return None
        made = decode_rows(pq.ParquetFile(pa.BufferReader(rows)), layer_dir) if record.rows else {}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return None
    return Part(made, record.rejects, record.counts, record.seconds, record.cpu_seconds)


def _digest(rest: bytes) -> bytes:
    return hashlib.sha256(rest).hexdigest().encode()
