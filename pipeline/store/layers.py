"""The layer store: one Parquet file and one record for each unit of each layer.

Invariants: a unit is done if and only if its record exists. The record is written once, after its layer file is
complete. `read` never returns a layer file that disagrees with its record. Equal rows give equal bytes: nothing in a
layer file depends on time, host or order (these are in the record). Parts (`pipeline.store.parts`) belong to units that
are not done; only the job that computes such a unit reads them.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from importlib.metadata import version
from itertools import takewhile
from typing import Any, NamedTuple, cast

from ...shards.errors import SpatialdataError
from ...shards.layout import check_file, missing_reason
from ...shards.redact import redact
from ...shards.sample import Columns, Value
from .storage import Storage

_RECORD = re.compile(r"(\d+)\.json")
_PART = re.compile(r"(\d+)-(\d+)-(\d+)\.part")
_ROWS_A_GROUP = 16
_VERIFIED_KEPT = 4096


class LayerCorrupt(SpatialdataError):
    """A layer file or its record differs from what was committed. `build` recomputes the unit."""

    def __init__(self, message: str, layer_dir: str, unit: int) -> None:
        super().__init__(message)
        self.layer_dir = layer_dir
        self.unit = unit

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.layer_dir, self.unit)


@dataclass(frozen=True)
class Rejected:
    """A sample that a stage rejected, as stored in the record."""

    key: str
    reason: str
    score: float = -1.0
    detail: str = ""
    scores: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Record:
    """The record of one committed unit of one layer. `LayerStore.write` fills in `rows`, `bytes` and `sha256`."""

    unit: int
    layer: str
    """The layer's folder, `<layer>-<fingerprint>`."""
    rejects: tuple[Rejected, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpus: float = 0.0
    """GPUs of the worker; may be fractional."""
    attempts: int = 1
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    host: str = ""
    started: str = ""
    """UTC, ISO 8601: `seconds` before the commit. A unit that was resumed began earlier, with a break."""
    rows: int = 0
    bytes: int = 0
    sha256: str = ""

    def to_json(self) -> str:
        rejects = [replace(reject, detail=redact(reject.detail)) for reject in self.rejects]
        return json.dumps(asdict(replace(self, rejects=tuple(rejects))), indent=1, sort_keys=True)


def parse_record(text: bytes) -> Record:
    """Parse a record. Raises ValueError, KeyError or TypeError if the text is not a record."""
    values = json.loads(text)
    known = {item.name for item in fields(Record)}
    kept = {name: value for name, value in values.items() if name in known}
    return replace(Record(**kept), rejects=tuple(Rejected(**reject) for reject in values["rejects"]))


class PartName(NamedTuple):
    """Which samples a part covers, as its name says."""

    unit: int
    first: int
    """Position of its first sample in the unit."""
    samples: int
    """Number of its samples."""


class LayerStore(Storage):
    """The layers under OUT: `layers/<layer>-<fingerprint>/<unit>.{parquet,json}`. Other files of OUT: see `Storage`."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._verified: dict[str, tuple[int, int, str]] = {}

    @staticmethod
    def data_name(layer_dir: str, unit: int) -> str:
        return f"layers/{layer_dir}/{unit:08d}.parquet"

    @staticmethod
    def record_name(layer_dir: str, unit: int) -> str:
        return f"layers/{layer_dir}/{unit:08d}.json"

    @staticmethod
    def parts_folder(layer_dir: str) -> str:
        """A folder of its own, so that all parts of a layer are listed without its other files."""
        return f"parts/{layer_dir}"

    @classmethod
    def part_name(cls, layer_dir: str, part: PartName) -> str:
        return f"{cls.parts_folder(layer_dir)}/{part.unit:08d}-{part.first:04d}-{part.samples:04d}.part"

    @staticmethod
    def summary_name(layer_dir: str) -> str:
        """See `pipeline.engine.summaries`."""
        return f"summaries/{layer_dir}.json"

    @staticmethod
    def reopened_name(layer_dir: str, unit: int) -> str:
        """The mark of a unit that is no longer done, but that the layer's summary may still count."""
        return f"summaries/{layer_dir}/{unit:08d}.reopened"

    def write(self, layer_dir: str, unit: int, rows: Mapping[str, Columns], record: Record) -> Record:
        """Commit one unit: write the layer file, then its record. Returns the record on disk.

        Two writers may race. The second one checks that the file on disk matches the first one's record (it does if the
        stage is deterministic), and returns that record. If it does not match, the unit is set aside and committed
        again.

        Raises SpatialdataError if the disk is full or the rows differ in their columns, BadInput if OUT is not
        writable.
        """
        data = encode_rows(rows, layer_dir)
        digest = hashlib.sha256(data).hexdigest()
        record = replace(record, unit=unit, layer=layer_dir, rows=len(rows), bytes=len(data), sha256=digest)
        for _ in range(3):
            self.write_file(self.data_name(layer_dir, unit), data)
            if self.create_file(self.record_name(layer_dir, unit), record.to_json().encode()):
                return record
            try:
                winner = self.record(layer_dir, unit)
                self._checked(layer_dir, unit, winner)
                return winner
            except LayerCorrupt:
                self.set_aside(layer_dir, unit)
        raise SpatialdataError(
            f"unit {unit} of {layer_dir} in {self} cannot be committed: another run keeps writing other results"
        )

    def record(self, layer_dir: str, unit: int) -> Record:
        """Read a record. Raises LayerCorrupt if it is missing, unreadable, or of another unit."""
        name = self.record_name(layer_dir, unit)
        try:
            record = parse_record(self.read_file(name))
        except FileNotFoundError as error:
            raise self._corrupt(layer_dir, unit, name, missing_reason(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._corrupt(layer_dir, unit, name, f"is not a record ({error})") from error
        if (record.layer, record.unit) != (layer_dir, unit):
            what = f"is the record of unit {record.unit} of {record.layer}, not of unit {unit} of {layer_dir}"
            raise self._corrupt(layer_dir, unit, name, what)
        return record

    def read(self, layer_dir: str, unit: int, columns: Sequence[str] | None = None) -> dict[str, dict[str, Value]]:
        """The accepted samples of a unit, in plan order: key -> columns (all, or `columns`).

        Raises LayerCorrupt if size or sha256 differ from the record (a local file is hashed once per process, and
        again when it changes), SpatialdataError if the layer does not have a column.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        record = self.record(layer_dir, unit)
        source = self._checked(layer_dir, unit, record)
        file = pq.ParquetFile(pa.BufferReader(source))
        return decode_rows(file, layer_dir, columns) if record.rows else {}

    def peek(self, layer_dir: str, unit: int, columns: Sequence[str]) -> dict[str, dict[str, Value]]:
        """Like `read`, for some columns only: the rest of the file is neither read nor hashed.

        For reports that need the texts of layers with images. Packing and stages use `read`.
        Raises LayerCorrupt if the file is missing, is not a layer file, or its size differs from the record.
        """
        record = self.record(layer_dir, unit)
        with self._peeking(layer_dir, unit), self._peeked(layer_dir, record) as file:
            return decode_rows(file, layer_dir, columns) if record.rows else {}

    def groups(self, layer_dir: str, record: Record, columns: Collection[str], keys: Set[str]) -> Iterator[Any]:
        """Tables of a few rows with some of these keys: column `key`, and those of `columns` that the layer has.

        For reports that show images: only one table is in memory at a time, and nothing is hashed. Raises LayerCorrupt
        like `peek`.
        """
        if not record.rows:
            return
        with self._peeking(layer_dir, record.unit):
            file = self._peeked(layer_dir, record)
        with file:
            with self._peeking(layer_dir, record.unit):
                present = [name for name in file.schema_arrow.names if name in columns]
                found = file.read(["key"], use_threads=False).column("key").to_pylist()
                sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
            for index, size in enumerate(sizes):
                mine, found = found[:size], found[size:]
                if not keys.isdisjoint(mine):
                    with self._peeking(layer_dir, record.unit):
                        table = file.read_row_group(index, ["key", *present], use_threads=False)
                    yield table

    def _peeked(self, layer_dir: str, record: Record) -> Any:
        """Open a layer file as a `pyarrow.parquet.ParquetFile`, after checking its size."""
        import pyarrow.parquet as pq

        name = self.data_name(layer_dir, record.unit)
        if (size := self.size(name)) != record.bytes:
            what = f"has {size} bytes, its record says {record.bytes}"
            raise self._corrupt(layer_dir, record.unit, name, what)
        return pq.ParquetFile(self.path(name) if self.is_local else self.open_ranges(name))

    @contextmanager
    def _peeking(self, layer_dir: str, unit: int) -> Generator[None]:
        """Turn read errors inside into LayerCorrupt."""
        import pyarrow as pa

        name = self.data_name(layer_dir, unit)
        try:
            yield
        except FileNotFoundError as error:
            raise self._corrupt(layer_dir, unit, name, missing_reason(error)) from None
        except (pa.ArrowException, OSError) as error:
            raise self._corrupt(layer_dir, unit, name, f"cannot be read ({error})") from error

    def done_units(self, layer_dir: str, among: range | None = None) -> list[int]:
        """Units with a record, ascending. Opens no file.

        One listing of the folder, or of a part of it if `among` is given and the store can list by prefix.

        Args:
            among: report only these units; must not be empty.
        """
        if among is not None and self.is_local:
            return [unit for unit in among if os.access(self.path(self.record_name(layer_dir, unit)), os.F_OK)]
        ends = zip(f"{among[0]:08d}", f"{among[-1]:08d}", strict=False) if among else ()
        prefix = "".join(digit for digit, _ in takewhile(lambda pair: pair[0] == pair[1], ends))
        matches = (_RECORD.fullmatch(name) for name in self.names(f"layers/{layer_dir}", prefix))
        units = sorted(int(match.group(1)) for match in matches if match)
        return units if among is None else [unit for unit in units if unit in among]

    def records(
        self, layer_dir: str, damaged: list[LayerCorrupt] | None = None, among: range | None = None
    ) -> Iterator[Record]:
        """The records of a layer in the order of their units. Raises LayerCorrupt for an unreadable one.

        Args:
            damaged: if given, errors are appended here instead of raised; for reports.
            among: read only these units.
        """

        def read(unit: int) -> Record | None:
            try:
                return self.record(layer_dir, unit)
            except LayerCorrupt as error:
                if damaged is None:
                    raise
                damaged.append(error)
                return None

        units = self.done_units(layer_dir, among)
        if self.is_local:
            yield from filter(None, map(read, units))
            return
        with ThreadPoolExecutor(16) as threads:
            for start in range(0, len(units), 1024):
                yield from filter(None, threads.map(read, units[start : start + 1024]))

    def check(self, layer_dir: str, unit: int) -> Record:
        """Read a unit again and compare it with its record. Raises LayerCorrupt."""
        record = self.record(layer_dir, unit)
        self._verified.pop(self.data_name(layer_dir, unit), None)
        self._checked(layer_dir, unit, record)
        return record

    def parts(self, layer_dir: str) -> list[PartName]:
        """The parts of all units of a layer, in order. One listing; opens no file."""
        matches = (_PART.fullmatch(name) for name in self.names(self.parts_folder(layer_dir)))
        return sorted(PartName(*map(int, match.groups())) for match in matches if match)

    def remove_parts(self, layer_dir: str, unit: int) -> None:
        """Remove the parts of a unit."""
        for part in self.parts(layer_dir):
            if part.unit == unit:
                self.remove(self.part_name(layer_dir, part))

    def set_aside(self, layer_dir: str, unit: int) -> None:
        """Make a unit not done: rename its files to `*.corrupt`, the record first, so that no partial state counts."""
        self._reopen(layer_dir, unit)
        for name in (self.record_name(layer_dir, unit), self.data_name(layer_dir, unit)):
            self.move(name, f"{name}.corrupt")
        self.remove_parts(layer_dir, unit)
        self._verified.pop(self.data_name(layer_dir, unit), None)

    def discard(self, layer_dir: str, unit: int) -> None:
        """Make a unit not done and remove its files, the record first. Its parts are removed as well."""
        self._reopen(layer_dir, unit)
        self.remove(self.record_name(layer_dir, unit))
        self.remove(self.data_name(layer_dir, unit))
        self.remove_parts(layer_dir, unit)

    def _reopen(self, layer_dir: str, unit: int) -> None:
        """Mark that the summary of a layer no longer covers this unit. Called before the record is removed."""
        if self.exists(self.summary_name(layer_dir)):
            self.create_file(self.reopened_name(layer_dir, unit), b"")

    def _checked(self, layer_dir: str, unit: int, record: Record) -> Any:
        """The layer file as a pyarrow buffer, checked against its record."""
        import pyarrow as pa

        name = self.data_name(layer_dir, unit)
        try:
            if not self.is_local:
                data = pa.py_buffer(self.read_file(name))
                self._compare(layer_dir, unit, record, data)
                return data
            check_file(self.path(name))
            stat = self.local(name).stat()
            data = pa.memory_map(self.path(name)).read_buffer() if stat.st_size else pa.py_buffer(b"")
        except FileNotFoundError as error:
            raise self._corrupt(layer_dir, unit, name, missing_reason(error)) from None
        seen = (stat.st_mtime_ns, stat.st_size, record.sha256)
        if self._verified.get(name) != seen:
            self._compare(layer_dir, unit, record, data)
            if len(self._verified) >= _VERIFIED_KEPT:
                self._verified.clear()
            self._verified[name] = seen
        return data

    def _compare(self, layer_dir: str, unit: int, record: Record, data: Any) -> None:
        name = self.data_name(layer_dir, unit)
        if data.size != record.bytes:
            raise self._corrupt(layer_dir, unit, name, f"has {data.size} bytes, its record says {record.bytes}")
        if hashlib.sha256(memoryview(data)).hexdigest() != record.sha256:
            raise self._corrupt(layer_dir, unit, name, "has another sha256 than its record")

    def _corrupt(self, layer_dir: str, unit: int, name: str, what: str) -> LayerCorrupt:
        advice = f"run `spatialdata verify {self} --repair` to recompute this unit"
        return LayerCorrupt(f"layer file {self.path(name)} {what}: {advice}", layer_dir, unit)


def decode_rows(file: Any, layer_dir: str, columns: Sequence[str] | None = None) -> dict[str, dict[str, Value]]:
    """The rows of an open `pyarrow.parquet.ParquetFile` of a layer, by key."""
    names = set(file.schema_arrow.names)
    missing = [name for name in columns or () if name not in names]
    if missing:
        raise SpatialdataError(
            f"layer {layer_dir} has no column '{missing[0]}' (it has {', '.join(sorted(names - {'key'}))})"
        )
    table = file.read(None if columns is None else ["key", *columns], use_threads=False)
    keys = table.column("key").to_pylist()
    parts = {name: table.column(name).to_pylist() for name in sorted(table.column_names) if name != "key"}
    return {key: {name: values[i] for name, values in parts.items()} for i, key in enumerate(keys)}


def encode_rows(rows: Mapping[str, Columns], layer_dir: str) -> memoryview:
    """Rows as one Parquet file. Equal rows give equal bytes: columns are sorted, options fixed, no metadata added.

    Columns of bytes are not compressed (images already are), all others use zstd. Raises SpatialdataError, naming the
    key, if rows differ in their columns or types.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = _column_kinds(rows, layer_dir)
    types = {bytes: pa.binary(), str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    arrays = [pa.array(list(rows), pa.string())]
    arrays += [pa.array([row[name] for row in rows.values()], types[kind]) for name, kind in kinds.items()]
    table = pa.Table.from_arrays(arrays, names=["key", *kinds])
    sink = pa.BufferOutputStream()
    write = cast("Any", pq.write_table)
    write(
        table,
        sink,
        row_group_size=_ROWS_A_GROUP,
        compression={"key": "zstd"} | {name: "none" if kind is bytes else "zstd" for name, kind in kinds.items()},
        compression_level={name: 3 for name, kind in ({"key": str} | kinds).items() if kind is not bytes},
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
    )
    return memoryview(sink.getvalue())


def _column_kinds(rows: Mapping[str, Columns], layer_dir: str) -> dict[str, type]:
    kinds: dict[str, type] = {}
    for key, row in rows.items():
        found = {name: type(row[name]) for name in sorted(row)}
        if found == kinds:
            continue
        unknown = [name for name, kind in found.items() if kind not in (bytes, str, bool, int, float)]
        if unknown or "key" in found:
            name = unknown[0] if unknown else "key"
            kind = found[name].__name__
            raise SpatialdataError(
                f"{layer_dir}: sample '{key}' has column '{name}' of type {kind}: "
                "a column must be bytes, str, bool, int or float, and must not be named 'key'"
            )
        kinds = kinds or found
        if found != kinds:
            differ = sorted(set(found.items()) ^ set(kinds.items()), key=str)[0][0]
            raise SpatialdataError(
                f"{layer_dir}: sample '{key}' differs from the others of its unit in column '{differ}': a stage must "
                "return the same columns and types for all samples (empty bytes or text for a missing value)"
            )
    return kinds


@cache
def versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Versions of Python and of the packages that determine the bytes of a layer.

    Args:
        more: `Stage.packages`.
    """
    packages = ("numpy", "pillow", "opencv-python-headless", "pyarrow", "trimesh", "shapely", *more)
    return {"python": ".".join(platform.python_version_tuple()[:2])} | {name: version(name) for name in packages}
