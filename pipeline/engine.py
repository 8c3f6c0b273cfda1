"""Moves units through stages until all layers are done: in this process (`inline`), or on Ray.

Invariants: a unit of a stage is started only when the layers that it needs are committed; what is committed is never
started again; however a run ends, the same call goes on from what is committed.
"""

import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from pipeline.config import EngineOptions
from pipeline.plan import Plan
from pipeline.progress import Progress, RunSummary
from pipeline.runner import Damaged, Failed, Job, Runner, Task, UnitSummary, tasks_of
from pipeline.stage import Stage
from pipeline.store import LayerStore
from shards.errors import BadInput, SpatialdataError

Item = TypeVar("Item")
Value = TypeVar("Value")
MAX_DAMAGES = 3
_WAITING, _QUEUED, _DONE = 0, 1, 2


class Stopped(SpatialdataError):
    """A person or the system asked the run to stop; everything committed is kept."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("stopped; run the same command to go on")


class Board:
    """Which units are done, and which can be started: one byte a unit and layer, whatever the number of samples."""

    def __init__(self, tasks: Sequence[Task], store: LayerStore, units: int) -> None:
        self._needs = {task.layer: tuple(task.needs) for task in tasks}
        self._users = {task.layer: [user.layer for user in tasks if task.layer in user.needs] for task in tasks}
        self._layer_of = {task.layer_dir: task.layer for task in tasks}
        self._states: dict[str, np.ndarray[Any, np.dtype[np.uint8]]] = {}
        for task in tasks:
            done = np.array([unit for unit in store.done_units(task.layer_dir) if unit < units], dtype=np.int64)
            self._states[task.layer] = np.zeros(units, np.uint8)
            self._states[task.layer][done] = _DONE
        self.found = {layer: int((state == _DONE).sum()) for layer, state in self._states.items()}
        self.left = {layer: units - done for layer, done in self.found.items()}
        self._damages: dict[tuple[str, int], int] = {}
        self._queues = {layer: self._first_queue(layer) for layer in self._states}

    def _first_queue(self, layer: str) -> deque[int]:
        state = self._states[layer]
        ready = state == _WAITING
        for need in self._needs[layer]:
            ready &= self._states[need] == _DONE
        state[ready] = _QUEUED
        return deque(np.flatnonzero(ready).tolist())

    @property
    def finished(self) -> bool:
        return not any(self.left.values())

    def take(self, layer: str) -> Job | None:
        """The next unit of a layer to start, or None when none is ready now."""
        queue = self._queues[layer]
        return Job(layer, queue.popleft()) if queue else None

    def ready(self, layer: str) -> int:
        return len(self._queues[layer])

    def commit(self, layer: str, unit: int) -> None:
        """A unit is done: what waited for it becomes ready."""
        self._states[layer][unit] = _DONE
        self.left[layer] -= 1
        for user in self._users[layer]:
            self._offer(user, unit)

    def reopen(self, job: Job, damaged: Damaged) -> str:
        """A layer file was moved aside: its unit is made again, then the job that needs it.

        Returns the layer that lost a unit, or nothing where another job had found the same damage.

        Raises SpatialdataError when the same unit is damaged again and again.
        """
        layer = self._layer_of[damaged.layer_dir]
        self._states[job.layer][job.unit] = _WAITING
        lost = self._states[layer][damaged.unit] == _DONE
        if lost:
            place = (layer, damaged.unit)
            self._damages[place] = self._damages.get(place, 0) + 1
            if self._damages[place] > MAX_DAMAGES:
                raise SpatialdataError(f"{damaged.message} (damaged {MAX_DAMAGES} times in this run: check the disk)")
            self._states[layer][damaged.unit] = _WAITING
            self.left[layer] += 1
            self._offer(layer, damaged.unit)
        self._offer(job.layer, job.unit)
        return layer if lost else ""

    def _offer(self, layer: str, unit: int) -> None:
        needs = self._needs[layer]
        if self._states[layer][unit] == _WAITING and all(self._states[need][unit] == _DONE for need in needs):
            self._states[layer][unit] = _QUEUED
            self._queues[layer].append(unit)


def run(
    stages: Sequence[Stage],
    store: LayerStore,
    plan: Plan,
    options: EngineOptions,
    progress: Progress | None = None,
    *,
    runtime_env: Mapping[str, Any] | None = None,
    guard: Callable[[], None] | None = None,
) -> RunSummary:
    """Compute every unit of every stage that is not committed yet.

    Args:
        runtime_env: passed to `ray.init` when this call connects to Ray (such as `{"working_dir": "."}`).
        guard: called about once a second; raises to end the run (such as `RunLock.check`).

    Raises:
        Stopped: Ctrl-C or SIGTERM.
        BadInput: resources that the cluster lacks, or OUT on one node of several.
        SpatialdataError: a stage said that the run cannot go on, the disk is full, or workers cannot start.
    """
    tasks = tasks_of(stages)
    progress = progress or Progress()
    for task in tasks:
        store.sweep(f"layers/{task.layer_dir}")
    board = Board(tasks, store, plan.units)
    progress.start(plan.units, board.found)
    try:
        with interruptible():
            if board.finished:
                pass
            elif options.kind == "inline":
                _run_inline(tasks, store, plan, board, progress, guard or _no_guard)
            else:
                from pipeline.ray_engine import run_on_ray

                run_on_ray(tasks, store, plan, options, board, progress, runtime_env, guard or _no_guard)
    finally:
        summary = progress.stop()
    return summary


def _no_guard() -> None:
    return None


def _run_inline(
    tasks: Sequence[Task],
    store: LayerStore,
    plan: Plan,
    board: Board,
    progress: Progress,
    guard: Callable[[], None],
) -> None:
    """For debugging: no isolation, so a sample that kills the process kills the run (and the next one: use Ray)."""
    runner = Runner(store, plan, tasks)
    deepest_first = [task.layer for task in reversed(tasks)]
    while not board.finished:
        guard()
        job = next(filter(None, map(board.take, deepest_first)))
        settle(board, job, runner.do(job), progress)
        progress.tick()


def settle(board: Board, job: Job, outcome: UnitSummary | Damaged | Failed, progress: Progress) -> None:
    """Book what became of a job. Raises SpatialdataError when the run cannot go on."""
    if isinstance(outcome, Failed):
        raise (BadInput if outcome.exit_code == BadInput.exit_code else SpatialdataError)(outcome.message)
    if isinstance(outcome, Damaged):
        if lost := board.reopen(job, outcome):
            progress.note(f"{outcome.message.split(': run ')[0]}: moved aside, computing it again")
            progress.reopened(lost)
        return
    board.commit(job.layer, job.unit)
    progress.committed(outcome)


@contextmanager
def interruptible() -> Generator[None]:
    """Ctrl-C and SIGTERM inside become Stopped."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    old = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)} if main else {}
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped from None
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
