"""The engine on Ray core: pools of actors that do jobs; ids go out, numbers come back, pixels never travel.

Invariants: a worker has at most IN_FLIGHT jobs; a unit whose worker dies is tried a bounded number of times, then the
samples that kill it are found and left out; nothing waits for resources that do not come.
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
from .ready_units import Board, raise_failed, settle
from .runner import Failed, Job, Outcome, Runner, Task

IN_FLIGHT = 2
PLACE_S = 300.0
STARVED_S = 30.0
START_DEATHS = 3


class Worker:
    """The actor: a `Runner` in a process of its own."""

    def __init__(self, store: LayerStore, plan: Plan, tasks: Sequence[Task], gpus: float) -> None:
        self._runner = Runner(store, plan, tasks, gpus)

    def place(self) -> int:
        """Answers once the actor runs somewhere."""
        return os.getpid()

    def prepare(self, layers: Sequence[str]) -> Failed | None:
        return self._runner.prepare(layers)

    def do(self, job: Job) -> Outcome:
        outcome = self._runner.do(job)
        if isinstance(outcome, Failed) and outcome.worker_lost:
            sys.stderr.write(f"{outcome.message}\n")  # Ray shows it where the run was started
            sys.stderr.flush()
            os._exit(1)  # not sys.exit: what is broken might not let go
        return outcome


@dataclass(eq=False)
class _Hand:
    """The driver's view of one worker: first `placing`, then `preparing`, then jobs; `ref` is what it is busy with."""

    handle: Any
    ref: Any
    placed: bool = False
    ready: bool = False
    jobs: deque[tuple[Any, Job]] = field(default_factory=deque[tuple[Any, Job]])
    since: float = field(default_factory=time.monotonic)
    """When it was started, or began the first of its jobs."""

    @property
    def waiting_for(self) -> Any:
        return self.jobs[0][0] if self.jobs else None if self.ready else self.ref


@dataclass(eq=False)
class _Pool:
    plan: PoolPlan
    hands: list[_Hand] = field(default_factory=list[_Hand])
    again: deque[Job] = field(default_factory=deque[Job])
    """Jobs to do once more, before new ones."""
    start_deaths: int = 0
    paused: bool = False
    """Gave its resources to a pool that had none; staffed again once it has work."""


@dataclass
class _Case:
    """A unit of a layer whose worker died."""

    deaths: int = 0
    rounds: int = 0
    quarantined: dict[str, str] = field(default_factory=dict[str, str])
    trials: Trials | None = None


class RayRun:
    """One run: staff the pools, hand out jobs, collect, look after the sick, until the board is done."""

    def __init__(
        self,
        tasks: Sequence[Task],
        store: LayerStore,
        plan: Plan,
        pools: Sequence[PoolPlan],
        board: Board,
        progress: Progress,
    ) -> None:
        self._tasks = {task.layer: task for task in tasks}
        self._plan = plan
        self._board = board
        self._progress = progress
        self._arguments = [ray.put(value) for value in (store, plan, list(tasks))]
        self._pools = [_Pool(pool) for pool in pools]
        self._pool_of = {layer: pool for pool in self._pools for layer in pool.plan.layers}
        self._cases: dict[tuple[str, int], _Case] = {}

    def loop(self, guard: Callable[[], None]) -> None:
        try:
            while not self._board.finished:
                guard()
                for pool in self._pools:
                    self._staff(pool)
                    self._hand_out(pool)
                self._collect()
                self._watch()
                self._progress.tick(self._board.queues)
        finally:
            for pool in self._pools:
                self._dismiss(pool)

    def _has_work(self, pool: _Pool) -> bool:
        return any(self._board.left[layer] for layer in pool.plan.layers)

    def _ready(self, pool: _Pool) -> int:
        return len(pool.again) + sum(self._board.ready(layer) for layer in pool.plan.layers)

    def _staff(self, pool: _Pool) -> None:
        """As many workers as planned while there is work; all that fit once the other pools are done."""
        if not self._has_work(pool):
            self._dismiss(pool)
            return
        if pool.paused and not self._ready(pool):
            return
        pool.paused = False
        alone = not any(self._has_work(other) for other in self._pools if other is not pool)
        for _ in range(len(pool.hands), pool.plan.most if alone else pool.plan.actors):
            options: dict[str, Any] = {"num_cpus": pool.plan.cpus, "num_gpus": pool.plan.gpus, "max_restarts": 0}
            actor = cast("Any", ray.remote(Worker)).options(scheduling_strategy="SPREAD", **options)
            handle = actor.remote(*self._arguments, pool.plan.gpus)
            pool.hands.append(_Hand(handle, handle.place.remote()))

    def _dismiss(self, pool: _Pool) -> None:
        for hand in pool.hands:
            ray.kill(hand.handle)
        pool.hands.clear()

    def _hand_out(self, pool: _Pool) -> None:
        """A job for each idle worker; a second one only while there are enough for all, so that none ends alone."""
        ready = [hand for hand in pool.hands if hand.ready]
        for depth in range(IN_FLIGHT):
            if depth and self._ready(pool) <= len(pool.hands):
                return
            for hand in ready:
                if len(hand.jobs) > depth:
                    continue
                job = self._next(pool)
                if job is None:
                    return
                if not hand.jobs:
                    hand.since = time.monotonic()
                hand.jobs.append((hand.handle.do.remote(job), job))

    def _next(self, pool: _Pool) -> Job | None:
        if pool.again:
            return pool.again.popleft()
        return next(filter(None, map(self._board.take, pool.plan.layers)), None)

    def _collect(self) -> None:
        """Book what has ended; wait a second at most."""
        everyone = [(pool, hand) for pool in self._pools for hand in pool.hands]
        waiting = {hand.waiting_for: (pool, hand) for pool, hand in everyone if hand.waiting_for is not None}
        if not waiting:
            raise SpatialdataError(f"the engine has nothing to wait for with {self._board.left} units left")
        refs = list(waiting)
        done, rest = ray.wait(refs, num_returns=1, timeout=1.0)
        if done and rest:
            done += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for ref in done:
            pool, hand = waiting[ref]
            try:
                result = ray.get(ref)
            except RayTaskError as error:
                raise SpatialdataError(f"a worker of {pool.plan.name} failed: {last_line(error)}") from error
            except RayError as error:
                memory = isinstance(error, OutOfMemoryError)
                why = "its worker was killed as the node ran out of memory" if memory else "its worker died"
                self._died(pool, hand, why, str(error))
            else:
                self._book(pool, hand, result)

    def _book(self, pool: _Pool, hand: _Hand, result: Any) -> None:
        if not hand.placed:
            hand.placed = True
            hand.ref = hand.handle.prepare.remote([name for name in pool.plan.layers if self._board.left[name]])
        elif not hand.ready:
            if result is not None:
                raise_failed(result)
            hand.ready, pool.start_deaths = True, 0
        else:
            _, job = hand.jobs.popleft()
            hand.since = time.monotonic()
            if job.keys is None or isinstance(result, Failed):
                settle(self._board, job, result, self._progress)
            else:
                self._trials_of(job).survived()
                self._go_on(job)

    def _died(self, pool: _Pool, hand: _Hand, why: str, detail: str = "") -> None:
        pool.hands.remove(hand)
        ray.kill(hand.handle)
        if not hand.ready:
            pool.start_deaths += 1
            if pool.start_deaths >= START_DEATHS:
                last = detail.strip().splitlines()[-1:] or [why]
                raise SpatialdataError(
                    f"workers of {pool.plan.name} died {START_DEATHS} times while starting (out of memory?): {last[0]}"
                )
            return
        jobs = [job for _, job in hand.jobs]
        pool.again.extend(jobs[1:])  # they had not begun
        if jobs:
            self._blame(jobs[0], why)

    def _blame(self, job: Job, why: str) -> None:
        """The worker that did this job is dead: once more, or look for the samples that kill."""
        if job.keys is not None:
            self._trials_of(job).died(job.keys)
            self._go_on(job)
            return
        case = self._cases.setdefault((job.layer, job.unit), _Case())
        case.deaths += 1
        self._progress.note(f"layer {job.layer}, unit {job.unit}, attempt {job.attempt}: {why}")
        again = replace(job, attempt=job.attempt + 1)
        if case.deaths < DEATHS_BEFORE_TRIALS:
            self._pool_of[job.layer].again.append(again)
            return
        keys = tuple(row.key for row in self._plan.rows(job.unit) if row.key not in case.quarantined)
        case.deaths, case.rounds = 0, case.rounds + 1
        if case.rounds > ROUNDS:
            self._quarantine(again, keys, "its unit kills every worker, though no sample does alone")
            return
        case.trials = Trials(keys)
        self._progress.note(f"layer {job.layer}, unit {job.unit}: looking for the sample that kills its worker")
        self._go_on(again)

    def _trials_of(self, job: Job) -> Trials:
        trials = self._cases[job.layer, job.unit].trials
        assert trials is not None
        return trials

    def _go_on(self, job: Job) -> None:
        """Queue the trials that are due; when all have ended, do the unit without the samples that kill."""
        trials = self._trials_of(job)
        while (keys := trials.take()) is not None:
            self._pool_of[job.layer].again.append(replace(job, keys=keys))
        if trials.ended:
            self._cases[job.layer, job.unit].trials = None
            self._quarantine(job, tuple(sorted(trials.killers)), "it kills or hangs its worker")

    def _quarantine(self, job: Job, keys: tuple[str, ...], why: str) -> None:
        case = self._cases[job.layer, job.unit]
        for key in keys:
            case.quarantined[key] = why
            self._progress.quarantined(job.layer, key, why)
        self._pool_of[job.layer].again.append(replace(job, keys=None, quarantined=dict(case.quarantined)))

    def _watch(self) -> None:
        """Replace workers that hang; free resources for pools that have none; end the run if none ever come."""
        now = time.monotonic()
        for pool in self._pools:
            for hand in list(pool.hands):
                limit = self._tasks[hand.jobs[0][1].layer].timeout if hand.jobs else 0.0
                if limit and now - hand.since > limit:
                    self._died(pool, hand, f"it took more than {limit:g} s")
            self._watch_placing(pool, now)

    def _lacks(self, pool: _Pool) -> bool:
        free = ray.available_resources()
        return free.get("CPU", 0) < pool.plan.cpus or free.get("GPU", 0) < pool.plan.gpus

    def _watch_placing(self, pool: _Pool, now: float) -> None:
        late = [now - hand.since for hand in pool.hands if not hand.placed]
        if not late or any(hand.placed for hand in pool.hands):
            return
        if max(late) > STARVED_S and self._lacks(pool):
            for other in self._pools:
                if other is not pool and not self._ready(other) and not any(hand.jobs for hand in other.hands):
                    self._dismiss(other)
                    other.paused = True
        if max(late) > PLACE_S:
            raise SpatialdataError(
                f"no worker of {pool.plan.name} ({pool.plan.cpus:g} CPU, {pool.plan.gpus:g} GPU) could be placed in "
                f"{PLACE_S:.0f} s; free now: {ray.available_resources()}: end what else uses the cluster, or lower "
                "engine.resources"
            )


def run_on_ray(
    tasks: Sequence[Task],
    store: LayerStore,
    plan: Plan,
    options: EngineOptions,
    board: Board,
    progress: Progress,
    runtime_env: Mapping[str, Any] | None,
    guard: Callable[[], None],
) -> None:
    """See `pipeline.engine.run.run`."""
    with connected(options, runtime_env, places([task.stage for task in tasks])):
        cluster = read_cluster()
        check_reachable(store, options, cluster)
        pools = plan_pools(tasks, board.left, options, cluster)
        RayRun(tasks, store, plan, pools, board, progress).loop(guard)
