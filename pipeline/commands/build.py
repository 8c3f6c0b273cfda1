"""Build a dataset from configuration to shards, and pack a finished build again.

The `run_*` functions return a plain dict: what `--json` prints.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ...shards.errors import BadInput
from ...shards.extras import require_all
from ...shards.index import ShardEntry
from ...shards.recipes import Recipe, get_recipe
from ...shards.redact import redact_texts
from ...sources.scratch import sweep
from ..config import Config, EngineOptions
from ..engine.progress import RunSummary, make_progress
from ..engine.run import map_items, reopen_rejects, run, session
from ..engine.runner import Damaged
from ..interrupts import interruptible
from ..opened import RUNS, Build, Rejects, done_units, open_build, open_out, rejects_of
from ..packing.pack import ShardJob, fit_recipe, pack
from ..planning.configurations import BUILDING, begin, finish, is_plan_foreign
from ..planning.samples import check_source, pair_arguments, plan_build
from ..registry import build_stages
from ..report.card.card import write_card
from ..secret_values import check_secrets
from ..store.layers import LayerCorrupt
from ..store.lock import RunLock
from ..store.plan import check_rows
from ..terminal import say

FEW_SHARDS = 8
"""Up to this many shards, packing in this process is faster than starting Ray."""


@interruptible()
def run_build(config: Config, out: str, *, quiet: bool = False, retry: Sequence[str] = ()) -> dict[str, Any]:
    """Plan, compute every layer, pack the recipes of `shard.recipes`. Resumes an earlier run.

    Args:
        retry: reject reasons; units with samples that were rejected for them are recomputed.

    Raises Stopped on Ctrl-C and SIGTERM at any time; OUT is then unlocked.
    """
    began, started = time.monotonic(), datetime.now(UTC)
    check_packages(config.engine)
    sweep()
    store = open_out(out)
    # Errors in layers and recipes are reported before an expensive survey or render.
    planned = build_stages(config, pair_arguments(config, store), store.url)
    recipes = [fit_recipe(get_recipe(name), planned, config.edits) for name in config.shard.recipes]
    with RunLock(store, say=_say(quiet), doing=BUILDING) as lock, session(config.engine, stages=planned):
        foreign = is_plan_foreign(store, config)
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
        f"{RUNS}/{started:%Y%m%dT%H%M%S}.json", json.dumps(redact_texts(found), indent=1, sort_keys=True).encode()
    )
    return found


@interruptible()
def run_shard(out: str, recipe: str, overrides: Sequence[str] = (), *, quiet: bool = False) -> dict[str, Any]:
    """Pack the accepted samples of a finished build for one recipe. Raises Stopped like `run_build`."""
    build = open_build(out, overrides)
    chosen = fit_recipe(get_recipe(recipe), build.stages, build.config.edits)
    if (done := done_units(build)) < build.plan.units:
        raise BadInput(f"{build.store} is not finished ({done} of {build.plan.units} units): rerun the build")
    if build.plan.samples <= FEW_SHARDS * build.config.shard.samples_per_shard:
        engine = build.config.engine.model_copy(update={"kind": "inline"})
        build = replace(build, config=build.config.model_copy(update={"engine": engine}))
    with RunLock(build.store, say=_say(quiet)) as lock, session(build.config.engine, stages=build.stages):
        check_rows(build.plan)
        if build.note:
            _say(quiet)(build.note)
        shards, _ = _pack_all(build, [chosen], lock, quiet)
    return shards[0]


def check_packages(engine: EngineOptions) -> None:
    """Raise BadInput if packages that every build needs are not installed."""
    require_all("building", ("shapely", "trimesh") + (("ray",) if engine.kind == "ray" else ()), "build")


def compute(build: Build, lock: RunLock, quiet: bool) -> RunSummary:
    """Compute all units that are not committed yet. Reads the source only if there are any."""
    if done_units(build) < build.plan.units:
        check_packages(build.config.engine)
        check_secrets(build.config.model_dump(mode="json"))
        check_source(build.config, build.store, build.plan)
    engine = build.config.engine
    progress = make_progress(quiet)
    return run(build.stages, build.store, build.plan, engine, progress, plan_hash=build.plan.hash, guard=lock.check)


def _pack_all(
    build: Build, recipes: Sequence[Recipe], lock: RunLock, quiet: bool
) -> tuple[list[dict[str, Any]], Rejects]:
    """Pack the recipes and count the rejects. A unit that turns out to be damaged is recomputed once."""
    repaired: set[tuple[str, int]] = set()
    while True:
        try:
            return [pack_recipe(build, recipe, quiet) for recipe in recipes], rejects_of(build)
        except LayerCorrupt as error:
            place = (error.layer_dir, error.unit)
            if place in repaired:
                raise
            repaired.add(place)
            _say(quiet)(f"{str(error).split(': run ')[0]}: set aside, recomputing it")
            build.store.set_aside(*place)
            compute(build, lock, quiet)


def pack_recipe(build: Build, recipe: Recipe, quiet: bool) -> dict[str, Any]:
    """Pack one recipe, its shards in parallel on the build's engine, and write the card beside them."""
    say = _say(quiet)
    seconds = 0.0

    def packer(
        function: Callable[[ShardJob], ShardEntry | Damaged], jobs: Sequence[ShardJob]
    ) -> list[ShardEntry | Damaged]:
        done = 0

        def count(job: ShardJob, result: tuple[ShardEntry | Damaged, float]) -> None:
            nonlocal done, seconds
            entry, spent = result
            seconds += spent
            if isinstance(entry, Damaged):
                return
            done += 1
            say(f"packed {job.name} ({done} of {len(jobs)}, {entry.samples} samples)")

        timed = partial(_timed, function)
        results = map_items(timed, jobs, build.config.engine, name=lambda job: job.name, on_result=count)
        return [entry for entry, _ in results]

    packed = pack(build.store, build.plan, build.layers, recipe, build.config.shard, packer)
    card = write_card(build, recipe.name)
    licenses = {name: card[name] for name in ("licence", "licence_problems")}
    return packed | licenses | {"worker_seconds": round(seconds, 3)}


def _timed(function: Callable[[ShardJob], ShardEntry | Damaged], job: ShardJob) -> tuple[ShardEntry | Damaged, float]:
    """The result, and the seconds that the worker took."""
    began = time.monotonic()
    return function(job), time.monotonic() - began


def _say(quiet: bool) -> Callable[[str], None]:
    return (lambda _: None) if quiet else (lambda text: say(text, err=True))
