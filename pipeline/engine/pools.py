"""Number of workers for each stage, computed from resources, without Ray.

Invariant: the request fits the cluster, or the run ends at once with an error that states the numbers; it never waits
for resources that do not exist. Every pool with work left has at least one worker, so two cores suffice for any set of
stages.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...shards.errors import BadInput
from ..config import EngineOptions, Resources
from .runner import Task

SHARED = "shared"


@dataclass(frozen=True)
class Cluster:
    """Resources of Ray's nodes: in total, and of the largest node."""

    nodes: int
    cpus: float
    gpus: float
    largest_cpus: float
    largest_gpus: float


@dataclass(frozen=True)
class PoolPlan:
    """One pool: the layers that its workers compute, deepest first, and the resources of one worker."""

    name: str
    layers: tuple[str, ...]
    actors: int
    most: int
    """Number of workers when the other pools have no work left."""
    cpus: float
    gpus: float
    fixed: bool
    """Whether the configuration sets `cpus` or `actors`; they are then not changed."""


def plan_pools(
    tasks: Sequence[Task], left: Mapping[str, int], options: EngineOptions, cluster: Cluster
) -> list[PoolPlan]:
    """The pools of a run.

    Model stages, stages with `own_pool` and stages with configured resources have their own workers; the others share
    one pool. By default, a pool of CPU stages has one worker per core, the shared pool half as many while other pools
    have work, and a stage on GPUs one worker per `gpus`. If the defaults exceed the cluster, each worker's share of a
    core or GPU shrinks: Ray only counts shares, and the processes run in turn.

    Args:
        left: units that each layer still has to compute; a pool without any starts no worker.

    Raises BadInput with the numbers if the configured resources exceed the cluster, or a stage needs a GPU and there is
    none.
    """
    configured = options.resources
    groups: dict[str, list[Task]] = {}
    for task in reversed(tasks):
        own = task.own_pool or task.layer in configured
        groups.setdefault(task.layer if own else SHARED, []).append(task)
    busy = {name: group for name, group in groups.items() if any(left[task.layer] for task in group)}
    pools = [_pool(name, group, left, configured, cluster, len(busy)) for name, group in busy.items()]
    pools = _shrink_gpus(pools, cluster)
    pools = _fewer_workers(pools, configured, cluster)
    pools = _shrink_cpus(pools, cluster)
    _check_capacity(pools, cluster)
    return pools + [_idle(name, group) for name, group in groups.items() if name not in busy]


def _idle(name: str, group: Sequence[Task]) -> PoolPlan:
    """A pool without work; it gets one worker if a damaged file has to be recomputed."""
    gpus = max(task.stage.gpus for task in group)
    return PoolPlan(name, tuple(task.layer for task in group), 1, 1, 0.0, gpus, True)


def _pool(
    name: str,
    group: Sequence[Task],
    left: Mapping[str, int],
    configured: Mapping[str, Resources],
    cluster: Cluster,
    pools: int,
) -> PoolPlan:
    asked = configured.get(name, Resources())
    cpus = asked.cpus if asked.cpus is not None else max(task.stage.cpus for task in group)
    gpus = asked.gpus if asked.gpus is not None else max(task.stage.gpus for task in group)
    most = math.floor(cluster.gpus / gpus + 1e-9) if gpus else math.floor(cluster.cpus / max(cpus, 1.0) + 1e-9)
    units = max(left[task.layer] for task in group)
    most = max(1, min(most, units))
    actors = asked.actors or (max(1, most // 2) if name == SHARED and pools > 1 else most)
    fixed = asked.actors is not None or asked.cpus is not None
    layers = tuple(task.layer for task in group)
    return PoolPlan(name, layers, actors, max(actors, most if asked.actors is None else 0), cpus, gpus, fixed)


def _shrink_gpus(pools: Sequence[PoolPlan], cluster: Cluster) -> list[PoolPlan]:
    """Share too few GPUs evenly among the model stages that have no configured share."""
    users = [pool for pool in pools if pool.gpus and not pool.fixed]
    taken = sum(pool.gpus * pool.actors for pool in pools if pool.gpus and pool.fixed)
    wanted = sum(pool.gpus * pool.actors for pool in users)
    free = cluster.gpus - taken
    if not users or wanted <= free + 1e-9 or free <= 0:
        return list(pools)
    each = math.floor(free) // len(users)
    changed: dict[str, PoolPlan] = {}
    for pool in users:
        if each >= pool.gpus:
            actors = max(1, math.floor(each / pool.gpus))
            changed[pool.name] = replace(pool, actors=actors, most=actors)
        else:
            share = math.floor(1e4 * free / len(users)) / 1e4
            changed[pool.name] = replace(pool, actors=1, most=1, gpus=min(pool.gpus, share, 1.0))
    return [changed.get(pool.name, pool) for pool in pools]


def _fewer_workers(pools: Sequence[PoolPlan], named: Mapping[str, Resources], cluster: Cluster) -> list[PoolPlan]:
    """If only `cpus` of a pool is configured, its number of workers can be chosen: as many as fit."""
    chosen = {pool.name: pool for pool in pools if pool.fixed}
    while sum(pool.cpus * pool.actors for pool in chosen.values()) > cluster.cpus + 1e-9:
        free = [pool for pool in chosen.values() if named[pool.name].actors is None and pool.actors > 1]
        if not free:
            break
        largest = max(free, key=lambda pool: (pool.cpus * pool.actors, pool.name))
        chosen[largest.name] = replace(largest, actors=largest.actors - 1)
    return [chosen.get(pool.name, pool) for pool in pools]


def _shrink_cpus(pools: Sequence[PoolPlan], cluster: Cluster) -> list[PoolPlan]:
    """Divide the remaining cores among the pools that are not configured; the shares may be 0."""
    taken = sum(pool.cpus * pool.actors for pool in pools if pool.fixed)
    wanted = sum(pool.cpus * pool.actors for pool in pools if not pool.fixed)
    free = max(0.0, cluster.cpus - taken)
    if wanted <= free + 1e-9:
        return list(pools)
    share = free / wanted
    return [pool if pool.fixed else replace(pool, cpus=math.floor(1e3 * pool.cpus * share) / 1e3) for pool in pools]


def _check_capacity(pools: Sequence[PoolPlan], cluster: Cluster) -> None:
    cpus, gpus = sum(pool.cpus * pool.actors for pool in pools), sum(pool.gpus * pool.actors for pool in pools)
    single = [pool for pool in pools if pool.cpus > cluster.largest_cpus or pool.gpus > max(cluster.largest_gpus, 0)]
    if cpus <= cluster.cpus + 1e-6 and gpus <= cluster.gpus + 1e-6 and not single:
        return
    asked = ", ".join(f"{pool.name} {pool.actors} x ({pool.cpus:g} CPU, {pool.gpus:g} GPU)" for pool in pools)
    raise BadInput(
        f"the stages need {cpus:g} CPUs and {gpus:g} GPUs ({asked}); the cluster has {cluster.cpus:g} CPUs and "
        f"{cluster.gpus:g} GPUs, its largest node {cluster.largest_cpus:g} and {cluster.largest_gpus:g}: lower "
        "engine.resources.<layer>.actors, .cpus or .gpus, or add nodes"
    )
