"""Open a build under OUT: its configuration, plan and stages, and the samples that its layers rejected."""

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
from .planning.configurations import ShownConfig, check_plan, read_shown
from .planning.samples import pair_arguments
from .registry import build_stages
from .store.families import planned_kinds
from .store.fingerprints import layer_dirs
from .store.layers import LayerCorrupt, LayerStore, Record
from .store.plan import Plan, read_plan

RUNS = "runs"
"""Folder with a file for each completed run: counts and times."""


@dataclass(frozen=True)
class Build:
    """A build under OUT: its configuration, plan and stages."""

    store: LayerStore
    config: Config
    plan: Plan
    stages: tuple[Stage, ...]
    shown: ShownConfig | None = None
    """Source of the configuration; set by `open_build`."""

    @property
    def note(self) -> str:
        """Which configuration this is, if OUT holds two; else empty."""
        return self.shown.note if self.shown else ""

    @property
    def layers(self) -> dict[str, str]:
        """Folder name of each layer."""
        return layer_dirs(self.stages, self.plan.hash)


@dataclass(frozen=True)
class Rejects:
    """Samples that the layers of a finished build rejected, and that packing leaves out."""

    samples: int
    """Number of distinct samples: a sample that two layers rejected counts once."""
    reasons: Mapping[str, int]
    """Count for each `layer: reason`; a sample counts at each layer that rejected it. Duplicates count at `pack`."""


def open_out(out: str) -> LayerStore:
    """The store of a build. Raises BadInput for a relative path in a Ray job, whose working directory is temporary."""
    if "://" not in out:
        path = Path(out).expanduser()
        if not path.is_absolute() and in_ray_job():
            raise BadInput(f"--out {out}: a Ray job runs in a temporary folder: give an absolute path or a URL")
        out = str(path.absolute())
    return LayerStore(out)


def in_ray_job() -> bool:
    """Whether this process is the entry point of `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def open_build(out: str, overrides: Sequence[str] = (), *, running: bool = False) -> Build:
    """Open the build under OUT whose configuration is in effect (see `pipeline.planning.configurations`).

    Args:
        overrides: `key=value` for keys of `shard` and `engine`.
        running: while a build runs, open that one instead.

    Raises BadInput if there is no build, or an override names another key.
    """
    other = [text for text in overrides if not text.startswith(("shard.", "engine."))]
    if of_plan := [text for text in overrides if text.startswith("shard.splits")]:
        raise BadInput(f"--set {of_plan[0]}: the plan fixes the splits: build into another OUT to change them")
    if other:
        raise BadInput(
            f"--set {other[0]}: only keys of `shard` and `engine` can be set here; build again to set others"
        )
    store = open_out(out)
    shown = read_shown(store, overrides, running=running)
    plan = read_plan(store)
    check_plan(store, shown, plan)
    stages = build_stages(shown.config, pair_arguments(shown.config, store, plan), store.url)
    return Build(store, shown.config, plan, tuple(stages), shown)


def planned_edits(config: Config) -> list[EditKind]:
    """The kinds of edit in a build's plan, rendered or derived."""
    return planned_kinds(config.edits)


def done_units(build: Build) -> int:
    """Number of units that every layer has committed."""
    planned = build.plan.units
    return min(sum(unit < planned for unit in build.store.done_units(folder)) for folder in build.layers.values())


def rejects_of(build: Build) -> Rejects:
    """Count the rejected samples of a finished build from its records and duplicates, one unit at a time.

    Raises LayerCorrupt if a record is missing or unreadable, or its layer file is missing or has another size.
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
                rejected = {reject.key for record in records for reject in record.rejects}
                samples += len(rejected.union(duplicates.get(unit, ())))
    return Rejects(samples, dict(sorted(reasons.items())))


def _check_size(store: LayerStore, record: Record, sizes: Mapping[str, int]) -> None:
    name = store.data_name(record.layer, record.unit)
    size = sizes.get(base(name), 0)
    if size != record.bytes:
        what = f"layer file {store.path(name)} has {size} bytes, its record says {record.bytes}"
        raise LayerCorrupt(f"{what}: rerun `spatialdata build`", record.layer, record.unit)


def _sizes(store: LayerStore, layer_dir: str) -> dict[str, int]:
    """Size in bytes of each file of a layer, by name, from one listing."""
    fs, path = filesystem(join(store.url, "layers", layer_dir))
    return {base(str(entry["name"])): int(entry["size"] or 0) for entry in fs.ls(path, detail=True)}
