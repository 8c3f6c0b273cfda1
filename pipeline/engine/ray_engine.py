"""The engine on Ray core: pools of actors that run jobs. Only ids and numbers travel, never pixels.

Invariants: a worker has at most IN_FLIGHT jobs. A unit whose worker dies is retried a bounded number of times; then the
samples that kill it are found and left out. Nothing waits for resources that never come.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from ...shards.errors import SpatialdataError
from ..config import EngineOptions
from ..plug_ins import places
from ..store.layers import LayerStore
from ..store.plan import Plan
from .kill_search import DEATHS_BEFORE_TRIALS, ROUNDS, Trials
from .pools import PoolPlan, plan_pools
from .progress import Progress
from .ray_cluster import check_reachable, connected, last_line, read_cluster
from .ready_units import ReadyUnits, raise_failed, record_outcome
from .runner import Failed, Job, Outcome, Runner, Task

IN_FLIGHT = 2
PLACE_S = 300.0
STARVED_S = 30.0
START_DEATHS = 3


class Worker:
    """The actor: a `Runner` in its own process."""

    def __init__(self, store: LayerStore, plan: Plan, tasks: Sequence[Task], gpus: float) -> None:
        self._runner = Runner(store, plan, tasks, gpus)

    def place(self) -> int:
        """Returns once the actor is running."""
        return os.getpid()

    def prepare(self, layers: Sequence[str]) -> Failed | None:
        return self._runner.prepare(layers)

    def do(self, job: Job) -> Outcome:
        outcome = self._runner.do(job)
        if isinstance(outcome, Failed) and outcome.worker_lost:
            sys.stderr.write(f"{outcome.message}\n")  # Ray shows it where the run was started
            sys.stderr.flush()
            os._exit(1)  # not sys.exit: what is broken could block the exit
        return outcome


@dataclass(eq=False)
class _WorkerHandle:
    """The driver's view of one worker: it is placed, then prepares, then runs jobs. `ref` is its current call."""

    actor: Any
    ref: Any
    placed: bool = False
    ready: bool = False
    jobs: deque[tuple[Any, Job]] = field(default_factory=deque[tuple[Any, Job]])
    since: float = field(default_factory=time.monotonic)
    """When it was started, or began its current job."""

    @property
    def waiting_for(self) -> Any:
        return self.jobs[0][0] if self.jobs else None if self.ready else self.ref


@dataclass(eq=False)
class _Pool:
    plan: PoolPlan
    workers: list[_WorkerHandle] = field(default_factory=list[_WorkerHandle])
    retries: deque[Job] = field(default_factory=deque[Job])
    """Jobs to run again, before new ones."""
    start_deaths: int = 0
    paused: bool = False
    """Gave its resources to a pool that had none; gets workers again once it has work."""


@dataclass
class _FailingUnit:
    """A unit of a layer whose worker died."""

    deaths: int = 0
    rounds: int = 0
    quarantined: dict[str, str] = field(default_factory=dict[str, str])
    trials: Trials | None = None


class RayRun:
    """One run: start workers, assign jobs, collect results and replace failing workers until all units are done."""

    def __init__(
        self,
        tasks: Sequence[Task],
        store: LayerStore,
        plan: Plan,
        pools: Sequence[PoolPlan],
        units: ReadyUnits,
        progress: Progress,
    ) -> None:
        self._tasks = {task.layer: task for task in tasks}
        self._plan = plan
        self._units = units
        self._progress = progress
        self._arguments = [ray.put(value) for value in (store, plan, list(tasks))]
        self._pools = [_Pool(pool) for pool in pools]
        self._pool_of = {layer: pool for pool in self._pools for layer in pool.plan.layers}
        self._failing: dict[tuple[str, int], _FailingUnit] = {}

    def loop(self, guard: Callable[[], None]) -> None:
        try:
            while not self._units.finished:
                guard()
                for pool in self._pools:
                    self._start_workers(pool)
                    self._assign_jobs(pool)
                self._collect()
                self._check_workers()
                self._progress.tick(self._units.queues, self._units.samples)
        finally:
            for pool in self._pools:
                self._stop_workers(pool)

    def _has_work(self, pool: _Pool) -> bool:
        return any(self._units.left[layer] for layer in pool.plan.layers)

    def _ready(self, pool: _Pool) -> int:
        return len(pool.retries) + sum(self._units.ready(layer) for layer in pool.plan.layers)

    def _start_workers(self, pool: _Pool) -> None:
        """Start the planned workers while there is work, and all that fit once the other pools are done."""
        if not self._has_work(pool):
            self._stop_workers(pool)
            return
        if pool.paused and not self._ready(pool):
            return
        pool.paused = False
        is_last = not any(self._has_work(other) for other in self._pools if other is not pool)
        for _ in range(len(pool.workers), pool.plan.most if is_last else pool.plan.actors):
            options: dict[str, Any] = {"num_cpus": pool.plan.cpus, "num_gpus": pool.plan.gpus, "max_restarts": 0}
            actor = cast("Any", ray.remote(Worker)).options(scheduling_strategy="SPREAD", **options)
            handle = actor.remote(*self._arguments, pool.plan.gpus)
            pool.workers.append(_WorkerHandle(handle, handle.place.remote()))

    def _stop_workers(self, pool: _Pool) -> None:
        for worker in pool.workers:
            ray.kill(worker.actor)
        pool.workers.clear()

    def _assign_jobs(self, pool: _Pool) -> None:
        """One job for each idle worker; a second one only while there are more jobs than workers, to end evenly."""
        ready = [worker for worker in pool.workers if worker.ready]
        for depth in range(IN_FLIGHT):
            if depth and self._ready(pool) <= len(pool.workers):
                return
            for worker in ready:
                if len(worker.jobs) > depth:
                    continue
                job = self._next(pool)
                if job is None:
                    return
                if not worker.jobs:
                    worker.since = time.monotonic()
                worker.jobs.append((worker.actor.do.remote(job), job))

    def _next(self, pool: _Pool) -> Job | None:
        if pool.retries:
            return pool.retries.popleft()
        return next(filter(None, map(self._units.take, pool.plan.layers)), None)

    def _collect(self) -> None:
        """Record finished calls; waits one second at most."""
        everyone = [(pool, worker) for pool in self._pools for worker in pool.workers]
        waiting = {worker.waiting_for: (pool, worker) for pool, worker in everyone if worker.waiting_for is not None}
        if not waiting:
            raise SpatialdataError(f"the engine has nothing to wait for, but units are left: {self._units.left}")
        refs = list(waiting)
        done, rest = ray.wait(refs, num_returns=1, timeout=1.0)
        if done and rest:
            done += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for ref in done:
            pool, worker = waiting[ref]
            try:
                result = ray.get(ref)
            except RayTaskError as error:
                raise SpatialdataError(f"a worker of {pool.plan.name} failed: {last_line(error)}") from error
            except RayError as error:
                memory = isinstance(error, OutOfMemoryError)
                why = "its worker was killed because the node ran out of memory" if memory else "its worker died"
                self._worker_died(pool, worker, why, str(error))
            else:
                self._record(pool, worker, result)

    def _record(self, pool: _Pool, worker: _WorkerHandle, result: Any) -> None:
        if not worker.placed:
            worker.placed = True
            worker.ref = worker.actor.prepare.remote([name for name in pool.plan.layers if self._units.left[name]])
        elif not worker.ready:
            if result is not None:
                raise_failed(result)
            worker.ready, pool.start_deaths = True, 0
        else:
            _, job = worker.jobs.popleft()
            worker.since = time.monotonic()
            if job.keys is None or isinstance(result, Failed):
                record_outcome(self._units, job, result, self._progress)
            else:
                self._trials_of(job).survived()
                self._continue_trials(job)

    def _worker_died(self, pool: _Pool, worker: _WorkerHandle, why: str, detail: str = "") -> None:
        pool.workers.remove(worker)
        ray.kill(worker.actor)
        if not worker.ready:
            pool.start_deaths += 1
            if pool.start_deaths >= START_DEATHS:
                last = detail.strip().splitlines()[-1:] or [why]
                raise SpatialdataError(
                    f"workers of {pool.plan.name} died {START_DEATHS} times while starting (out of memory?): {last[0]}"
                )
            return
        jobs = [job for _, job in worker.jobs]
        pool.retries.extend(jobs[1:])  # they had not started
        if jobs:
            self._blame(jobs[0], why)

    def _blame(self, job: Job, why: str) -> None:
        """The worker that ran this job is dead: retry the job, or search for the samples that kill it."""
        if job.keys is not None:
            self._trials_of(job).died(job.keys)
            self._continue_trials(job)
            return
        failing = self._failing.setdefault((job.layer, job.unit), _FailingUnit())
        failing.deaths += 1
        self._progress.note(f"layer {job.layer}, unit {job.unit}, attempt {job.attempt}: {why}")
        retry = replace(job, attempt=job.attempt + 1)
        if failing.deaths < DEATHS_BEFORE_TRIALS:
            self._pool_of[job.layer].retries.append(retry)
            return
        keys = tuple(row.key for row in self._plan.rows(job.unit) if row.key not in failing.quarantined)
        failing.deaths, failing.rounds = 0, failing.rounds + 1
        if failing.rounds > ROUNDS:
            self._quarantine(retry, keys, "its unit kills every worker, although no single sample does")
            return
        failing.trials = Trials(keys)
        self._progress.note(f"layer {job.layer}, unit {job.unit}: searching for the sample that kills its worker")
        self._continue_trials(retry)

    def _trials_of(self, job: Job) -> Trials:
        trials = self._failing[job.layer, job.unit].trials
        assert trials is not None
        return trials

    def _continue_trials(self, job: Job) -> None:
        """Queue the next trials; when all have ended, compute the unit without the samples that kill its worker."""
        trials = self._trials_of(job)
        while (keys := trials.take()) is not None:
            self._pool_of[job.layer].retries.append(replace(job, keys=keys))
        if trials.ended:
            self._failing[job.layer, job.unit].trials = None
            self._quarantine(job, tuple(sorted(trials.killers)), "it kills or hangs its worker")

    def _quarantine(self, job: Job, keys: tuple[str, ...], why: str) -> None:
        failing = self._failing[job.layer, job.unit]
        for key in keys:
            failing.quarantined[key] = why
            self._progress.quarantined(job.layer, key, why)
        self._pool_of[job.layer].retries.append(replace(job, keys=None, quarantined=dict(failing.quarantined)))

    def _check_workers(self) -> None:
        """Replace workers that hang, free resources for pools that have none, and end the run if none become free."""
        now = time.monotonic()
        for pool in self._pools:
            for worker in list(pool.workers):
                limit = self._tasks[worker.jobs[0][1].layer].timeout if worker.jobs else 0.0
                if limit and now - worker.since > limit:
                    self._worker_died(pool, worker, f"it took more than {limit:g} s")
            self._check_placement(pool, now)

    def _lacks_resources(self, pool: _Pool) -> bool:
        free = ray.available_resources()
        return free.get("CPU", 0) < pool.plan.cpus or free.get("GPU", 0) < pool.plan.gpus

    def _check_placement(self, pool: _Pool, now: float) -> None:
        late = [now - worker.since for worker in pool.workers if not worker.placed]
        if not late or any(worker.placed for worker in pool.workers):
            return
        if max(late) > STARVED_S and self._lacks_resources(pool):
            for other in self._pools:
                if other is not pool and not self._ready(other) and not any(worker.jobs for worker in other.workers):
                    self._stop_workers(other)
                    other.paused = True
        if max(late) > PLACE_S:
            raise SpatialdataError(
                f"no worker of {pool.plan.name} ({pool.plan.cpus:g} CPU, {pool.plan.gpus:g} GPU) could be placed in "
                f"{PLACE_S:.0f} s; free now: {ray.available_resources()}: stop other jobs on the cluster, or lower "
                "engine.resources"
            )


def run_on_ray(
    tasks: Sequence[Task],
    store: LayerStore,
    plan: Plan,
    options: EngineOptions,
    units: ReadyUnits,
    progress: Progress,
    runtime_env: Mapping[str, Any] | None,
    guard: Callable[[], None],
) -> None:
    """See `pipeline.engine.run.run`."""
    with connected(options, runtime_env, places([task.stage for task in tasks])):
        cluster = read_cluster()
        check_reachable(store, options, cluster)
        pools = plan_pools(tasks, units.left, options, cluster)
        RayRun(tasks, store, plan, pools, units, progress).loop(guard)
