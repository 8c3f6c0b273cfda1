"""A build from configuration to shards, and the packing of a finished one again.

Every function gives a plain dict: what `--json` prints.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.configurations import BUILDING, Shown, begin, check_plan, check_replanned, finish, read_shown
from pipeline.duplicates import find_duplicates
from pipeline.engine import map_items, reopen_rejects, run, session
from pipeline.families import planned_kinds
from pipeline.graph import layer_dirs
from pipeline.interrupts import interruptible
from pipeline.lock import RunLock
from pipeline.pack import ShardJob, fit_recipe, pack
from pipeline.plan import Plan, check_rows, read_plan
from pipeline.planning import check_source, pair_arguments, plan_build
from pipeline.progress import RunSummary, make_progress
from pipeline.registry import build_stages
from pipeline.runner import Damaged
from pipeline.secret_values import check_secrets
from pipeline.stage import Stage
from pipeline.store import LayerCorrupt, LayerStore, Record
from pipeline.terminal import say
from shards.errors import BadInput
from shards.index import ShardEntry
from shards.layout import base, filesystem, join
from shards.recipes import Recipe, get_recipe
from shards.redact import shown
from shards.schema import EditKind
from sources.objaverse.scratch import sweep

RUNS = "runs"
"""Folder of what each run that came to its end did: counts, times."""
FEW_SHARDS = 8
"""Shards that are packed sooner in this process than Ray starts."""


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
    """The build under OUT that counts (`pipeline.configurations`), its `shard` and `engine` keys overridden.

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


@interruptible()
def run_build(config: Config, out: str, *, quiet: bool = False, retry: Sequence[str] = ()) -> dict[str, Any]:
    """Plan, compute every layer, pack the recipes of `shard.recipes`. Goes on where an earlier run stopped.

    Args:
        retry: reasons; units with samples that were rejected for them are computed again.

    Raises Stopped on Ctrl-C and SIGTERM, wherever they come; OUT is unlocked then.
    """
    began, started = time.monotonic(), datetime.now(UTC)
    sweep()
    store = open_out(out)
    # What is wrong with layers and recipes is told before a survey or a render is paid for.
    planned = build_stages(config, pair_arguments(config, store), store.url)
    recipes = [fit_recipe(get_recipe(name), planned, planned_edits(config)) for name in config.shard.recipes]
    with RunLock(store, say=_say(quiet), doing=BUILDING) as lock, session(config.engine):
        foreign = check_replanned(store, config)
        plan = plan_build(config, store, _say(quiet), quiet, foreign=foreign)
        build = Build(store, config, plan, tuple(build_stages(config, pair_arguments(config, store, plan), store.url)))
        begin(store, config)
        if retry and not any(reopen_rejects(build.stages, store, retry, plan.hash).values()):
            _say(quiet)(f"--retry: no sample was rejected for {' or '.join(retry)}")
        summary = compute(build, lock, quiet)
        packing = time.monotonic()
        shards, rejects = _pack_all(build, recipes, lock, quiet)
        if rejects.samples < plan.samples:
            finish(store, config)
    ended = time.monotonic()
    found = {
        "out": str(store),
        "samples": plan.samples,
        "accepted": plan.samples - rejects.samples,
        "rejected": rejects.samples,
        "rejects": rejects.reasons,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(ended - began, 3),
        "pack_seconds": round(ended - packing, 3),
        "stages": summary.to_json()["stages"],
        "quarantined": summary.quarantined,
        "notes": summary.notes,
        "shards": shards,
    }
    store.write_file(
        f"{RUNS}/{started:%Y%m%dT%H%M%S}.json", json.dumps(shown(found), indent=1, sort_keys=True).encode()
    )
    return found


@interruptible()
def run_shard(out: str, recipe: str, overrides: Sequence[str] = (), *, quiet: bool = False) -> dict[str, Any]:
    """Pack the accepted samples of a finished build for one recipe. Raises Stopped as `run_build` does."""
    build = open_build(out, overrides)
    chosen = fit_recipe(get_recipe(recipe), build.stages, planned_edits(build.config))
    if (done := done_units(build)) < build.plan.units:
        raise BadInput(f"{build.store} is not finished ({done} of {build.plan.units} units): run the build again")
    if build.plan.samples <= FEW_SHARDS * build.config.shard.samples_per_shard:
        engine = build.config.engine.model_copy(update={"kind": "inline"})
        build = replace(build, config=build.config.model_copy(update={"engine": engine}))
    with RunLock(build.store, say=_say(quiet)) as lock, session(build.config.engine):
        check_rows(build.plan)
        if build.note:
            _say(quiet)(build.note)
        shards, _ = _pack_all(build, [chosen], lock, quiet)
    return shards[0]


def planned_edits(config: Config) -> list[EditKind]:
    """The kinds of edit that a build plans, rendered or derived."""
    return planned_kinds(config.edits)


def done_units(build: Build) -> int:
    """Units that every layer holds."""
    planned = build.plan.units
    return min(sum(unit < planned for unit in build.store.done_units(folder)) for folder in build.layers.values())


def compute(build: Build, lock: RunLock, quiet: bool) -> RunSummary:
    """Compute what is not committed yet; the source is looked at only where something is."""
    if done_units(build) < build.plan.units:
        check_secrets(build.config.model_dump(mode="json"))
        check_source(build.config, build.store, build.plan)
    engine = build.config.engine
    progress = make_progress(quiet)
    return run(build.stages, build.store, build.plan, engine, progress, plan_hash=build.plan.hash, guard=lock.check)


def _pack_all(
    build: Build, recipes: Sequence[Recipe], lock: RunLock, quiet: bool
) -> tuple[list[dict[str, Any]], Rejects]:
    """Pack the recipes and count the rejects; a unit that turns out to be damaged is computed again, once."""
    mended: set[tuple[str, int]] = set()
    while True:
        try:
            return [pack_recipe(build, recipe, quiet) for recipe in recipes], rejects_of(build)
        except LayerCorrupt as error:
            place = (error.layer_dir, error.unit)
            if place in mended:
                raise
            mended.add(place)
            _say(quiet)(f"{str(error).split(': run ')[0]}: moved aside, computing it again")
            build.store.set_aside(*place)
            compute(build, lock, quiet)


def pack_recipe(build: Build, recipe: Recipe, quiet: bool) -> dict[str, Any]:
    """Pack one recipe, its shards in parallel on the build's engine, and write the card beside them."""
    from pipeline.report.card import write_card  # it tells of builds, so it knows this module

    say = _say(quiet)
    seconds = 0.0

    def packer(
        function: Callable[[ShardJob], ShardEntry | Damaged], jobs: Sequence[ShardJob]
    ) -> list[ShardEntry | Damaged]:
        done = 0

        def told(job: ShardJob, result: tuple[ShardEntry | Damaged, float]) -> None:
            nonlocal done, seconds
            entry, spent = result
            seconds += spent
            if isinstance(entry, Damaged):
                return
            done += 1
            say(f"packed {job.name} ({done} of {len(jobs)}, {entry.samples} samples)")

        timed = partial(_timed, function)
        results = map_items(timed, jobs, build.config.engine, name=lambda job: job.name, on_result=told)
        return [entry for entry, _ in results]

    packed = pack(build.store, build.plan, build.layers, recipe, build.config.shard, packer)
    told = write_card(build, recipe.name)
    shown = {name: told[name] for name in ("licence", "licence_problems")}
    return packed | shown | {"worker_seconds": round(seconds, 3)}


def _timed(function: Callable[[ShardJob], ShardEntry | Damaged], job: ShardJob) -> tuple[ShardEntry | Damaged, float]:
    """With the seconds that it took a worker."""
    began = time.monotonic()
    return function(job), time.monotonic() - began


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


def _say(quiet: bool) -> Callable[[str], None]:
    return (lambda _: None) if quiet else (lambda text: say(text, err=True))
