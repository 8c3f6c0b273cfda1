"""A build under OUT, opened: its configuration, plan and stages, and what its layers rejected."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..shards.errors import BadInput
from ..shards.layout import base, filesystem, join
from ..shards.schema import EditKind
from ..shards.stage import Stage
from .config import Config
from .packing.duplicates import find_duplicates
from .planning.configurations import Shown, check_plan, read_shown
from .planning.samples import pair_arguments
from .registry import build_stages
from .store.families import planned_kinds
from .store.fingerprints import layer_dirs
from .store.layers import LayerCorrupt, LayerStore, Record
from .store.plan import Plan, read_plan

RUNS = "runs"
"""Folder of what each run that came to its end did: counts, times."""


@dataclass(frozen=True)
class Build:
    """A build under OUT: its configuration, plan and stages."""

    store: LayerStore
    config: Config
    plan: Plan
    stages: tuple[Stage, ...]
    shown: Shown | None = None
    """Where the configuration comes from, of a build that was opened."""

    @property
    def note(self) -> str:
        """Which configuration this is, where OUT holds two; else empty."""
        return self.shown.note if self.shown else ""

    @property
    def layers(self) -> dict[str, str]:
        """Layer: its folder."""
        return layer_dirs(self.stages, self.plan.hash)


@dataclass(frozen=True)
class Rejects:
    """What the layers of a finished build refused, and what packing leaves out."""

    samples: int
    """Different ones: a sample that two layers refused counts once."""
    reasons: Mapping[str, int]
    """By `layer: reason`; a sample is counted at each layer that refused it. Duplicates are refused by `pack`."""


def open_out(out: str) -> LayerStore:
    """The store of a build. Raises BadInput for a relative path inside a Ray job, whose folder is a passing copy."""
    if "://" not in out:
        path = Path(out).expanduser()
        if not path.is_absolute() and in_ray_job():
            raise BadInput(f"--out {out}: a Ray job runs in a copy that is deleted: give an absolute path or a URL")
        out = str(path.absolute())
    return LayerStore(out)


def in_ray_job() -> bool:
    """Whether this process is the entry point of `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def open_build(out: str, overrides: Sequence[str] = (), *, running: bool = False) -> Build:
    """The build under OUT that counts (`pipeline.planning.configurations`), its `shard` and `engine` keys overridden.

    Args:
        running: while a build runs, open that one.

    Raises BadInput where there is no build, or an override names another key.
    """
    other = [text for text in overrides if not text.startswith(("shard.", "engine."))]
    if of_plan := [text for text in overrides if text.startswith("shard.splits")]:
        raise BadInput(f"--set {of_plan[0]}: the plan divides the samples: build into another OUT to divide them anew")
    if other:
        raise BadInput(f"--set {other[0]}: only keys of `shard` and `engine` can change here; build again for others")
    store = open_out(out)
    shown = read_shown(store, overrides, running=running)
    plan = read_plan(store)
    check_plan(store, shown, plan)
    stages = build_stages(shown.config, pair_arguments(shown.config, store, plan), store.url)
    return Build(store, shown.config, plan, tuple(stages), shown)


def planned_edits(config: Config) -> list[EditKind]:
    """The kinds of edit that a build plans, rendered or derived."""
    return planned_kinds(config.edits)


def done_units(build: Build) -> int:
    """Units that every layer holds."""
    planned = build.plan.units
    return min(sum(unit < planned for unit in build.store.done_units(folder)) for folder in build.layers.values())


def rejects_of(build: Build) -> Rejects:
    """Counted from the records of a finished build, one unit at a time, and from its duplicates.

    Raises LayerCorrupt for a record that is missing or unreadable, or whose layer file is missing or of another size.
    """
    store, folders, reasons, samples = build.store, build.layers, Counter[str](), 0
    found = find_duplicates(store, build.plan, folders, build.config.shard.duplicates)
    duplicates = found.by_unit
    reasons.update({f"pack: {reason}": number for reason, number in found.reasons.items()})
    sizes = {folder: _sizes(store, folder) for folder in folders.values()}

    def read(unit: int) -> list[Record]:
        return [store.record(folder, unit) for folder in folders.values()]

    with ThreadPoolExecutor(1 if store.is_local else 16) as threads:
        for start in range(0, build.plan.units, 1024):
            units = range(start, min(start + 1024, build.plan.units))
            for unit, records in zip(units, threads.map(read, units), strict=True):
                for layer, record in zip(folders, records, strict=True):
                    _check_size(store, record, sizes[record.layer])
                    reasons.update(f"{layer}: {reject.reason}" for reject in record.rejects)
                refused = {reject.key for record in records for reject in record.rejects}
                samples += len(refused.union(duplicates.get(unit, ())))
    return Rejects(samples, dict(sorted(reasons.items())))


def _check_size(store: LayerStore, record: Record, sizes: Mapping[str, int]) -> None:
    name = store.data_name(record.layer, record.unit)
    size = sizes.get(base(name), 0)
    if size != record.bytes:
        what = f"layer file {store.path(name)} has {size} bytes, its record says {record.bytes}"
        raise LayerCorrupt(f"{what}: run `spatialdata build` again", record.layer, record.unit)


def _sizes(store: LayerStore, layer_dir: str) -> dict[str, int]:
    """Bytes of each file of a layer, by name: one listing."""
    fs, path = filesystem(join(store.url, "layers", layer_dir))
    return {base(str(entry["name"])): int(entry["size"] or 0) for entry in fs.ls(path, detail=True)}
