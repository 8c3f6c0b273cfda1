"""Forecast of a larger run: wall time, GPU-hours, storage, the best number of workers, and twice the cluster.

The model: a pool of a workers takes ceil(units / a) rounds of its layers' measured seconds. Pools run in parallel, so
the slowest one decides; each other pool adds the time of one unit, before the first or after the last unit of the
slowest. Workers in excess of cores or GPUs share them. Workers are as fast as the measured ones. The time before the
first unit and around packing is that of the measured run. `rates.scaled` converts rates to another image size or number
of render samples. `benchmarks/forecast.py` checks the model against real runs.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ....shards.errors import BadInput
from ....shards.stage import Stage
from ...config import Config, EngineOptions
from ...engine.pools import Cluster, PoolPlan, plan_pools
from ...engine.render_device import choose, gpus_found
from ...engine.runner import Task, tasks_of
from ...planning.samples import pair_arguments
from ...registry import build_stages
from ...store.families import derived_share, planned_rows
from ...store.fingerprints import plain
from ...store.layers import LayerStore
from .rates import PLANNED, SCALED, UNMEASURED, LayerRate, Rates, flat, read_rates, scaled, shared

_NO_LIMIT = Cluster(1, 1e9, 1e9, 1e9, 1e9)


@dataclass(frozen=True)
class _Work:
    """A run as seen by the model."""

    units: int
    unit_seconds: Mapping[str, float]
    """Seconds of one worker per unit, by layer."""
    asked: Mapping[str, tuple[float, float]]
    """CPUs and GPUs that one worker uses, by layer."""
    start_and_pack_s: float

    def rounds(self, pool: PoolPlan) -> float:
        """Wall seconds that a pool takes for all units."""
        return math.ceil(self.units / pool.actors) * self.once(pool)

    def once(self, pool: PoolPlan) -> float:
        """Worker seconds for one unit in a pool."""
        return sum(self.unit_seconds[layer] for layer in pool.layers)

    def slowest(self, pools: Sequence[PoolPlan]) -> PoolPlan:
        return max(pools, key=self.rounds)

    def wall(self, pools: Sequence[PoolPlan], cluster: Cluster) -> float:
        slowest = self.slowest(pools)
        others = sum(self.once(pool) for pool in pools if pool is not slowest)
        return max(self.rounds(slowest), self._shared(cluster)) + others + self.start_and_pack_s

    def _shared(self, cluster: Cluster) -> float:
        """Wall seconds for all the work on all cores or on all GPUs, whichever is larger."""
        cpu, gpu = (
            self.units * sum(seconds * self.asked[layer][kind] for layer, seconds in self.unit_seconds.items())
            for kind in range(2)
        )
        return max(cpu / cluster.cpus, gpu / cluster.gpus if gpu else 0.0)


def run_forecast(
    config: Config, measured: str, samples: int | None, nodes: int, cpus: float | None, gpus: float | None, save: str
) -> dict[str, Any]:
    """The output of `spatialdata plan`. Raises BadInput like `forecast` and `read_rates`, or if no size is given."""
    rates = read_rates(measured)
    if save:
        Path(save).expanduser().write_text(rates.model_dump_json(indent=1) + "\n", encoding="utf-8")
    wanted = samples or config.samples
    if wanted == "all":
        raise BadInput("samples: 'all' is not a number: give --samples")
    each = float(cpus or os.cpu_count() or 1)
    on_each = gpus if gpus is not None else gpus_found(config.engine.model_copy(update={"kind": "inline"}))
    return forecast(config, wanted, rates, Cluster(nodes, nodes * each, nodes * on_each, each, on_each))


def forecast(config: Config, samples: int, rates: Rates, cluster: Cluster) -> dict[str, Any]:
    """The cost of building `samples` samples, and those derived from them, on `cluster`, from measured rates.

    Raises BadInput if the configuration has a layer that was not measured, or needs more than the cluster has.
    """
    stages = _stages(config, cluster)
    pair = next(stage for stage in stages if stage.layer == "pair")
    if missing := [stage.layer for stage in stages if stage.layer not in rates.layers]:
        raise BadInput(
            f"layer {missing[0]} was not measured (measured: {', '.join(rates.layers)}): "
            "finish a small run of this configuration, and give its OUT"
        )
    rates, assumed = scaled(shared(rates, config, flat(plain(pair))), flat(plain(pair)))
    units = math.ceil(samples / config.unit_size)
    rendered, samples = samples, planned_rows(samples, config.edits)
    work = _Work(
        units,
        {stage.layer: _unit_seconds(rates.layers[stage.layer], samples / units) for stage in stages},
        {stage.layer: (stage.cpus, stage.gpus) for stage in stages},
        max(0.0, rates.startup_s) + _pack_seconds(config, samples, rates, cluster),
    )
    tasks = tasks_of(stages)
    pools = _default_pools(tasks, units, config.engine, cluster)
    best = best_pools(tasks, work, config.engine, cluster)
    double = replace(cluster, nodes=2 * cluster.nodes, cpus=2 * cluster.cpus, gpus=2 * cluster.gpus)
    twice = best_pools(tasks, work, config.engine, double)
    slowest = work.slowest(pools)
    return {
        "samples": samples,
        "derived": samples - rendered,
        "accepted": round(samples * rates.accepted),
        "units": units,
        "measured": {"machine": rates.machine, "cpus": rates.cpus, "gpus": rates.gpus, "samples": rates.samples},
        "cluster": {"nodes": cluster.nodes, "cpus": cluster.cpus, "gpus": cluster.gpus},
        "wall_s": round(work.wall(pools, cluster), 1),
        "bottleneck": slowest.name,
        "bound_by": "GPUs" if slowest.gpus else "CPUs",
        "stages": [_stage(stage, rates.layers[stage.layer], samples, pools) for stage in stages],
        "storage": _storage(config, samples, rates, [stage.layer for stage in stages]),
        "cut": {
            "wall_s": round(work.wall(best, cluster), 1),
            "bottleneck": work.slowest(best).name,
            "actors": {pool.name: pool.actors for pool in best},
        },
        "doubled": {"wall_s": round(work.wall(twice, double), 1), "bottleneck": work.slowest(twice).name},
        "notes": [*([assumed] if assumed else []), *_notes(stages, rates, config, SCALED if assumed else ())],
    }


def best_pools(tasks: Sequence[Task], work: _Work, options: EngineOptions, cluster: Cluster) -> list[PoolPlan]:
    """The number of workers per pool for the shortest run.

    Starts with one worker per pool and adds one to the slowest pool until it no longer fits. Returns the engine's own
    pools instead if their shared cores are faster by more than 5 %.
    """
    usual = _default_pools(tasks, work.units, options, cluster)
    resources = {name: asked.model_copy(update={"actors": None}) for name, asked in options.resources.items()}
    unbound = options.model_copy(update={"resources": resources})
    pools = [replace(pool, actors=1) for pool in _default_pools(tasks, work.units, unbound, _NO_LIMIT)]
    if not _fits(pools, cluster):
        return usual
    while True:
        slowest = work.slowest(pools)
        more = [replace(pool, actors=pool.actors + (pool is slowest)) for pool in pools]
        if slowest.actors >= work.units or not _fits(more, cluster):
            return pools if work.wall(pools, cluster) <= 1.05 * work.wall(usual, cluster) else usual
        pools = more


def _fits(pools: Sequence[PoolPlan], cluster: Cluster) -> bool:
    cpus, gpus = sum(pool.cpus * pool.actors for pool in pools), sum(pool.gpus * pool.actors for pool in pools)
    return cpus <= cluster.cpus + 1e-6 and gpus <= cluster.gpus + 1e-6


def _default_pools(tasks: Sequence[Task], units: int, options: EngineOptions, cluster: Cluster) -> list[PoolPlan]:
    """The pools that the engine itself would start."""
    if options.kind == "inline":
        return [PoolPlan("inline", tuple(task.layer for task in tasks), 1, 1, 1.0, 0.0, True)]
    return plan_pools(tasks, {task.layer: units for task in tasks}, options, cluster)


def _stages(config: Config, cluster: Cluster) -> list[Stage]:
    """The stages of a build of this configuration, with `render.device: auto` resolved for the cluster."""
    if config.render.device == "auto":
        asked = config.engine.resources.get("pair")
        kind = choose(asked.gpus if asked else None, cluster.gpus)
        config = config.model_copy(update={"render": config.render.model_copy(update={"device": kind})})
    return build_stages(config, pair_arguments(config, LayerStore("memory://spatialdata-forecast")))


def _unit_seconds(rate: LayerRate, samples: float) -> float:
    return rate.seconds * rate.reached * samples


def _pack_seconds(config: Config, samples: int, rates: Rates, cluster: Cluster) -> float:
    """Wall time of packing: a constant part, and the workers' part, on at most one core per shard."""
    shards = max(1.0, samples * rates.accepted / config.shard.samples_per_shard)
    return max(0.0, rates.pack_start_s) + max(0.0, rates.pack_s) * samples / min(cluster.cpus, shards)


def _stage(stage: Stage, rate: LayerRate, samples: int, pools: Sequence[PoolPlan]) -> dict[str, Any]:
    hours = rate.reached * samples / 3600
    pool = next(pool for pool in pools if stage.layer in pool.layers)
    return {
        "layer": stage.layer,
        "pool": pool.name,
        "actors": pool.actors,
        "seconds": round(rate.seconds, 4),
        "cpu_hours": round(hours * rate.cpu_seconds, 3) if rate.cpu_seconds >= 0 else UNMEASURED,
        "gpu_hours": round(hours * rate.seconds * stage.gpus, 3),
        "bytes": round(rate.bytes * rate.reached * samples),
    }


def _storage(config: Config, samples: int, rates: Rates, layers: Sequence[str]) -> dict[str, Any]:
    size = sum(rates.layers[layer].bytes * rates.layers[layer].reached for layer in layers) * samples
    found: dict[str, Any] = {"layers_bytes": round(size), "shards": {}}
    for recipe in config.shard.recipes:
        if recipe not in rates.recipes:
            continue
        packed = rates.recipes[recipe].samples * samples
        splits = [fraction * packed for fraction in config.shard.splits.fractions().values()]
        found["shards"][recipe] = {
            "bytes": round(rates.recipes[recipe].bytes * packed),
            "shards": sum(math.ceil(count / config.shard.samples_per_shard) for count in splits if count > 0),
        }
    return found


def _notes(stages: Sequence[Stage], rates: Rates, config: Config, scaled: Sequence[str]) -> list[str]:
    """Limits of the forecast. `scaled` are the settings by which it was scaled."""
    notes: list[str] = []
    for stage in stages:
        measured, wanted = rates.layers[stage.layer].settings, flat(plain(stage))
        for name in sorted(measured.keys() | wanted.keys()):
            undecided = name in PLANNED and name not in wanted
            if measured.get(name) != wanted.get(name) and name not in scaled and not undecided:
                was, now = measured.get(name, "(none)"), wanted.get(name, "(none)")
                notes.append(f"layer {stage.layer} was measured with {name} {was}, this configuration has {now}")
    if abs(rates.derived - derived_share(config)) > 1e-6:
        notes.append(
            f"measured with {rates.derived:.0%} derived samples; this configuration has {derived_share(config):.0%}"
        )
    if rates.unit_size != config.unit_size:
        notes.append(f"measured with unit_size {rates.unit_size}, this configuration has {config.unit_size}")
    if unknown := [stage.layer for stage in stages if rates.layers[stage.layer].cpu_seconds < 0]:
        notes.append(f"CPU time was not measured for {', '.join(unknown)}: measure again with this version")
    if rates.startup_s == UNMEASURED:
        notes.append(
            "the measured run was interrupted, or is not finished: the wall time does not include start and packing"
        )
    notes += [
        f"recipe {recipe} was not packed in the measured run: its size is not known"
        for recipe in config.shard.recipes
        if recipe not in rates.recipes
    ]
    return notes
