"""The plan: which samples exist, divided into units, fixed before work starts.

Invariants: `plan.json` is written last, so it exists only beside a complete `plan/units.parquet`. A plan never changes:
another configuration needs another OUT. Workers read rows one row group (`GROUP_UNITS` units) at a time; the driver
never holds all of them.
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import IO, Any, TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...shards.errors import BadInput, SpatialdataError
from ...shards.layout import KEY_RULE, NotAFile, is_key
from ...shards.schema import SPLITS
from ...sources.source import PlanRow
from .fingerprints import canonical
from .layers import LayerStore, versions
from .storage import FULL, disk_full

PLAN = "plan.json"
UNITS = "plan/units.parquet"
GROUP_UNITS = 64
SCHEMA = pa.schema([("unit", pa.int32()), ("key", pa.string()), ("split", pa.string()), ("spec", pa.string())])
RecordBatch: TypeAlias = Any
"""A `pyarrow.RecordBatch` with the string columns key, split, spec (JSON)."""
_HASHED = ("samples", "unit_size", "seed", "config", "versions")
_ONE_READER = Lock()
"""Arrow (pyarrow 26) deadlocks if two threads read one Python file."""


@dataclass(frozen=True)
class Plan:
    """A plan under `store`. Small and picklable: its rows stay on disk."""

    store: LayerStore = field(compare=False, repr=False)
    samples: int
    unit_size: int
    seed: int
    hash: str
    """sha256 of configuration, versions and rows: equal plans have equal hashes on every machine."""
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    rows_sha256: str
    """sha256 of `plan/units.parquet`; see `check_rows`."""

    @property
    def units(self) -> int:
        return -(-self.samples // self.unit_size)

    def size(self, unit: int) -> int:
        """Number of samples in one unit: `unit_size`, or fewer in the last."""
        return min(self.unit_size, self.samples - unit * self.unit_size)

    def samples_in(self, units: int, *, last: bool) -> int:
        """Number of samples in so many units, with or without the last one, which may be smaller."""
        return units * self.unit_size - (self.unit_size - self.size(self.units - 1) if last else 0)

    def rows(self, unit: int) -> list[PlanRow]:
        """The samples of one unit, in order. Raises PlanDamaged if the plan on disk is damaged."""
        try:
            rows = self._table(unit).to_pylist()
            return [PlanRow(row["key"], row["split"], json.loads(row["spec"])) for row in rows]
        except ValueError as error:
            raise PlanDamaged(damaged_plan(self.store, str(error))) from error

    def keys(self, unit: int) -> list[str]:
        """The keys of one unit, in order. Faster than `rows`, which also reads the specs."""
        return self._table(unit).column("key").to_pylist()

    def _table(self, unit: int) -> Any:
        if not 0 <= unit < self.units:
            raise SpatialdataError(f"unit {unit} is not in the plan, which has {self.units}")
        group, first = unit // GROUP_UNITS, (unit % GROUP_UNITS) * self.unit_size
        try:
            table = _group(self, group).slice(first, self.size(unit))
            units = table.column("unit").to_numpy()
        except (OSError, pa.ArrowException, KeyError) as error:
            raise PlanDamaged(damaged_plan(self.store, str(error))) from error
        if len(units) != self.size(unit) or np.any(units != unit):
            raise PlanDamaged(damaged_plan(self.store, f"unit {unit} is not at its place"))
        return table

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)


@lru_cache(maxsize=4)
def _file(plan: Plan) -> Any:
    return pq.ParquetFile(plan.store.open_file(UNITS))


@lru_cache(maxsize=4)
def _group(plan: Plan, group: int) -> Any:
    with _ONE_READER:
        return _file(plan).read_row_group(group, use_threads=False)


class PlanDamaged(SpatialdataError):
    """The plan is damaged; a build of the same configuration rebuilds it."""


def read_plan(store: LayerStore) -> Plan:
    """The plan under OUT. Raises BadInput if there is none, PlanDamaged if it is damaged."""
    try:
        values = json.loads(store.read_file(PLAN))
        fields = {name: values[name] for name in (*_HASHED, "hash")}
        plan = Plan(store=store, rows_sha256=values["rows"], **fields)
        whole = _digest({name: values[name] for name in _HASHED}, values["rows"])
    except NotAFile as error:
        raise PlanDamaged(damaged_plan(store, str(error))) from None
    except FileNotFoundError:
        raise BadInput(f"no plan in {store}: give the folder of a build, or run `spatialdata build` first") from None
    except (ValueError, KeyError, TypeError) as error:
        raise PlanDamaged(damaged_plan(store, f"plan.json: {error}")) from error
    if whole != plan.hash:
        raise PlanDamaged(damaged_plan(store, "plan.json was changed: its hash does not match"))
    return plan


def find_plan(store: LayerStore) -> Plan | None:
    """The plan under OUT, or None if there is none. Raises PlanDamaged."""
    try:
        return read_plan(store)
    except BadInput:
        return None


def check_rows(plan: Plan) -> None:
    """Check the list of units against its digest in the plan; done once per run, as fast as the file can be read.

    Raises PlanDamaged if the file is missing or differs.
    """
    digest = _rows_digest(plan.store)
    if not digest:
        raise PlanDamaged(damaged_plan(plan.store, f"{UNITS} is missing"))
    if digest != plan.rows_sha256:
        raise PlanDamaged(damaged_plan(plan.store, f"{UNITS} is not the file that was planned"))


def write_plan(
    store: LayerStore,
    config: Mapping[str, Any],
    rows: Iterable[PlanRow] | Iterable[RecordBatch],
    unit_size: int,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
    *,
    foreign: bool = False,
) -> Plan:
    """Write the plan under OUT, or return the existing plan if it has the same configuration.

    A plan with a part that is damaged, or that belongs to another OUT, is rebuilt, provided that the undamaged parts
    agree.

    Args:
        config: the configuration that determines which samples exist and how they look, as plain JSON values.
        rows: samples in order, or Arrow batches with the string columns key, split, spec (JSON), whose keys must be
            unique (this is not checked). Not consumed if the plan exists and is undamaged: the existing rows are used.
        say: called with a message for each part that was rebuilt.
        foreign: the existing plan.json is known to belong to another OUT: treat it as damaged.

    Raises:
        BadInput: OUT holds another plan (the message names the keys that differ), a key is not `[a-z0-9-]{1,80}` or
            occurs twice, a split is unknown, there are no samples, or OUT is not writable.
        PlanDamaged: the existing plan is damaged, and the rows differ from those that it was built from.
    """
    config = json.loads(canonical(dict(config)))
    store.sweep("plan")
    problem, plan = "", None
    try:
        plan = find_plan(store)
    except PlanDamaged as error:
        problem = str(error)
    if plan and foreign:
        problem, plan = damaged_plan(store, f"{PLAN} belongs to another folder"), None
    stored = _rows_digest(store)
    other = _differing(plan, config, unit_size, seed) if plan else ""
    if plan and stored == plan.rows_sha256 and not other:
        return plan
    if plan and other and (stored == plan.rows_sha256 or not _are_rows(store)):
        raise _holds_other(store, other)
    with TemporaryDirectory(dir=store.workplace(), prefix=".planning-", suffix=".tmp") as folder:
        finished = Path(folder) / "units.parquet"
        samples = _write_rows(finished, _batches(rows), unit_size)
        with finished.open("rb") as file:
            digest = _sha256(file)
        if other and digest != stored:
            raise _holds_other(store, other)
        if plan and digest == stored != plan.rows_sha256:
            other = f"{UNITS} belongs to this configuration and source"  # so plan.json belongs to another folder
        if (plan and not other and digest != plan.rows_sha256) or (problem and digest != stored and _are_rows(store)):
            raise PlanDamaged(
                f"{problem or damaged_plan(store, f'{UNITS} is not the file that was planned')} (this configuration "
                "and its source now give other samples: use the original ones, or remove plan.json and plan/ to plan "
                "again)"
            )
        if digest != stored:
            store.publish_file(UNITS, finished)
    _file.cache_clear()
    _group.cache_clear()
    if plan and not other:
        say(f"{UNITS} was damaged: rebuilt, identical to before")
        return plan
    content = {
        "samples": samples,
        "unit_size": unit_size,
        "seed": seed,
        "config": config,
        "versions": dict(versions()),
    }
    text = json.dumps(content | {"rows": digest, "hash": _digest(content, digest)}, indent=1, sort_keys=True)
    if plan or problem:
        say(f"{PLAN} {'belonged to another folder' if plan or foreign else 'was damaged'}: rebuilt")
        store.move(PLAN, f"{PLAN}.corrupt")
    if not store.create_file(PLAN, text.encode()):
        raise SpatialdataError(f"another run planned {store} at the same time: rerun the command")
    return read_plan(store)


def _rows_digest(store: LayerStore) -> str:
    """sha256 of the list of units; empty if there is none."""
    try:
        with store.open_file(UNITS) as file:
            return _sha256(file)
    except FileNotFoundError:
        return ""


def _are_rows(store: LayerStore) -> bool:
    """Whether the file is a list of units, of this plan or of another."""
    try:
        with store.open_file(UNITS) as file:
            return pq.ParquetFile(file).schema_arrow.names == SCHEMA.names
    except (OSError, pa.ArrowException):
        return False


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _digest(content: Mapping[str, Any], rows: str) -> str:
    """The plan's hash; `rows`: sha256 of `plan/units.parquet`."""
    return hashlib.sha256(canonical({**content, "rows": rows}).encode()).hexdigest()


def _write_rows(finished: Path, batches: Iterable[RecordBatch], unit_size: int) -> int:
    """Write the rows in groups of GROUP_UNITS units; returns the number of samples."""
    group_rows, samples = GROUP_UNITS * unit_size, 0
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": False,
        "write_statistics": False,
        "store_schema": False,
    }
    try:
        with pq.ParquetWriter(finished, SCHEMA, **options) as writer:
            for batch in _regrouped(batches, group_rows):
                units = np.arange(samples, samples + batch.num_rows, dtype=np.int64) // unit_size
                table = batch.add_column(0, SCHEMA.field("unit"), pa.array(units.astype(np.int32)))
                writer.write_table(table, row_group_size=group_rows)
                samples += batch.num_rows
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(str(finished.parent), error) from error
        raise
    if not samples:
        raise BadInput("the plan has no samples: the source is empty, or `samples` is 0")
    return samples


def _regrouped(batches: Iterable[RecordBatch], group_rows: int) -> Iterator[Any]:
    """The same rows in tables of whole row groups (a multiple of `group_rows` rows); only the last may be shorter."""
    waiting: list[RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= group_rows:
            table = pa.Table.from_batches(waiting)
            whole = count // group_rows * group_rows
            yield table.slice(0, whole)
            waiting, count = table.slice(whole).to_batches(), count - whole
    if count:
        yield pa.Table.from_batches(waiting)


def _batches(rows: Iterable[PlanRow] | Iterable[RecordBatch]) -> Iterator[RecordBatch]:
    iterator = iter(rows)
    first = cast("PlanRow | RecordBatch", next(iterator, None))
    if first is None:
        return
    if isinstance(first, PlanRow):
        yield from _listed(cast("Iterator[PlanRow]", chain([first], iterator)))
    else:
        yield from cast("Iterator[RecordBatch]", chain([first], iterator))


def _listed(rows: Iterator[PlanRow]) -> Iterator[RecordBatch]:
    """Batches of checked rows. Keys are compared by 64-bit digests (8 bytes per sample instead of 100)."""
    digests = array("Q")
    while chunk := list(islice(rows, 8192)):
        for row in chunk:
            if not is_key(row.key):
                raise BadInput(f"'{row.key}' is not a valid key: use {KEY_RULE}")
            if row.split not in SPLITS:
                raise BadInput(f"sample '{row.key}' has split '{row.split}'; allowed: {', '.join(SPLITS)}")
            digests.append(int.from_bytes(hashlib.blake2b(row.key.encode(), digest_size=8).digest(), "little"))
        columns = [[row.key for row in chunk], [row.split for row in chunk], [canonical(dict(r.spec)) for r in chunk]]
        yield pa.RecordBatch.from_arrays([pa.array(column) for column in columns], names=["key", "split", "spec"])
    ordered = np.sort(np.frombuffer(digests, dtype=np.uint64))
    if twice := int(np.count_nonzero(ordered[1:] == ordered[:-1])):
        raise BadInput(f"{twice} of {len(ordered)} samples have the key of another sample: keys must be unique")


def _differing(plan: Plan, config: Mapping[str, Any], unit_size: int, seed: int) -> str:
    """The keys in which a plan differs from the requested one."""
    old = {"seed": plan.seed, "versions": plan.versions, **plan.config}
    new = {"seed": seed, "versions": versions(), **config}
    old["unit_size"], new["unit_size"] = _rendered(plan.unit_size, old), _rendered(unit_size, new)
    return differing(old, new)


def _rendered(unit_size: int, config: Mapping[str, Any]) -> int:
    """Number of samples in a unit that are not derived: the `unit_size` that the user sets."""
    edits = cast("Mapping[str, Any]", config.get("edits", {}))
    if "per_scene" in edits:
        return unit_size * edits["per_scene"] // edits["pairs_per_scene"]
    rows = 3 if edits.get("compose") else 2
    return unit_size * 2 // (rows * 2 if edits.get("invert") else rows)


def _holds_other(store: LayerStore, what: str) -> BadInput:
    return BadInput(f"{store} holds another plan: {what} (old -> new); use another --out, or the old configuration")


def differing(old: Mapping[str, Any], new: Mapping[str, Any], most: int = 4) -> str:
    """The keys whose values differ, as `a.b 1 -> 2`, at most `most` of them; empty if all are equal."""
    differences = list(_differences(old, new, ""))
    more = len(differences) - most
    return ", ".join(differences[:most]) + (f" and {more} more" if more > 0 else "")


def _differences(old: Any, new: Any, name: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        first, second = cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", new)
        for key in sorted(first.keys() | second.keys()):
            yield from _differences(first.get(key), second.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield f"{name} {_brief(old)} -> {_brief(new)}"


def _brief(value: Any) -> str:
    text = "(none)" if value is None else canonical(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def damaged_plan(store: LayerStore, what: str) -> str:
    """The message for a damaged plan."""
    return f"the plan in {store} is damaged ({what}): rerun the same `spatialdata build` to rebuild it"
