"""Which units are done, and which can be started.

Invariants: a unit of a layer is handed out only when the layers that it needs are committed, and to one worker at a
time. Memory: one byte per unit and layer, the ids of the ready units, and the numbers of a few blocks of units.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ...shards.errors import BadInput, SpatialdataError
from ...sources.derived import ORIGIN_REJECTED
from ..store.layers import LayerStore, Rejected
from ..store.plan import Plan
from .calls import ERROR
from .part_counts import PartCounts
from .progress import Progress
from .progress_table import Queue
from .runner import Damaged, Failed, Job, Outcome, Task, UnitSummary
from .summary_keeper import SummaryKeeper

MAX_DAMAGES = 3
HOPELESS = 16
"""Samples of one layer that fail before any succeeds; after that many, the stage is broken, not the samples."""
_WAITING, _QUEUED, _DONE = 0, 1, 2


class ReadyUnits:
    """Which units are done, and which can be started: one byte per unit and layer, for any number of samples."""

    def __init__(self, tasks: Sequence[Task], store: LayerStore, plan: Plan) -> None:
        units = plan.units
        self._needs = {task.layer: tuple(task.needs) for task in tasks}
        self._users = {task.layer: [user.layer for user in tasks if task.layer in user.needs] for task in tasks}
        self._layer_of = {task.layer_dir: task.layer for task in tasks}
        self._states: dict[str, np.ndarray[Any, np.dtype[np.uint8]]] = {}
        self._keepers = {task.layer: SummaryKeeper(store, plan, task.layer, task.layer_dir) for task in tasks}
        for layer, keeper in self._keepers.items():
            self._states[layer] = np.zeros(units, np.uint8)
            self._states[layer][np.array(keeper.done, np.int64)] = _DONE
        self._parts = {task.layer: PartCounts(store, plan, task.layer_dir) for task in tasks if task.stage.spills}
        self.found = {layer: int((state == _DONE).sum()) for layer, state in self._states.items()}
        self.left = {layer: units - done for layer, done in self.found.items()}
        self._handed_out = dict.fromkeys(self._states, 0)
        self._damages: dict[tuple[str, int], int] = {}
        self._broken: tuple[str, list[int]] = ("", [])
        self._store = store
        self._plan = plan
        self._dirs = {task.layer: task.layer_dir for task in tasks}
        self._faults = {task.layer: task.faults for task in tasks}
        self._hopeless: dict[str, list[UnitSummary]] = {task.layer: [] for task in tasks}
        self._queues = {layer: self._first_queue(layer) for layer in self._states}
        self._remove_old_parts()

    def _remove_old_parts(self) -> None:
        """Remove parts of units that are done: a worker died between its commit and their removal."""
        for layer, parts in self._parts.items():
            for unit in parts.by_unit():
                if self._states[layer][unit] == _DONE:
                    self._store.remove_parts(self._dirs[layer], unit)

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
        """The next unit of a layer to start, or None if none is ready now."""
        queue = self._queues[layer]
        if not queue:
            return None
        self._keepers[layer].touch(queue[0])
        self._handed_out[layer] += 1
        return Job(layer, queue.popleft())

    def ready(self, layer: str) -> int:
        return len(self._queues[layer])

    @property
    def queues(self) -> dict[str, Queue]:
        """Units of each layer that wait for a worker, and that a worker has."""
        return {layer: Queue(len(queue), self._handed_out[layer]) for layer, queue in self._queues.items()}

    @property
    def samples(self) -> dict[str, int]:
        """Samples of the plan that each layer has done: in its committed units, and in parts of its other units."""
        return {layer: self._committed(layer) + self._in_parts(layer) for layer in self._states}

    def _committed(self, layer: str) -> int:
        state = self._states[layer]
        return self._plan.samples_in(len(state) - self.left[layer], last=bool(state[-1] == _DONE))

    def _in_parts(self, layer: str) -> int:
        if layer not in self._parts or not self.left[layer]:
            return 0
        state = self._states[layer]
        return sum(samples for unit, samples in self._parts[layer].by_unit().items() if state[unit] != _DONE)

    def commit(self, done: UnitSummary) -> None:
        """Record that a unit is done; units that waited for it become ready."""
        self._keepers[done.layer].commit(done)
        self._states[done.layer][done.unit] = _DONE
        self.left[done.layer] -= 1
        self._handed_out[done.layer] -= 1
        for user in self._users[done.layer]:
            self._offer(user, done.unit)

    def reopen(self, job: Job, damaged: Damaged) -> str:
        """A damaged layer file was set aside: queue its unit again, then the job that needs it.

        Returns the layer that lost a unit, or empty text if another job had found the same damage.

        Raises SpatialdataError if the same unit is damaged repeatedly.
        """
        layer = self._layer_of[damaged.layer_dir]
        self._states[job.layer][job.unit] = _WAITING
        self._handed_out[job.layer] -= 1
        lost = self._states[layer][damaged.unit] == _DONE
        if lost:
            place = (layer, damaged.unit)
            self._damages[place] = self._damages.get(place, 0) + 1
            if self._damages[place] > MAX_DAMAGES:
                raise SpatialdataError(f"{damaged.message} (damaged {MAX_DAMAGES} times in this run: check the disk)")
            self._states[layer][damaged.unit] = _WAITING
            self._keepers[layer].reopen(damaged.unit)
            self.left[layer] += 1
            self._offer(layer, damaged.unit)
        self._offer(job.layer, job.unit)
        return layer if lost else ""

    def check_hope(self, done: UnitSummary) -> None:
        """Raise SpatialdataError if the first HOPELESS samples of a layer all failed; `give_back` then reopens them.

        Otherwise a missing library or a wrong model would turn a whole dataset into rejects that are never retried.
        """
        if done.layer not in self._hopeless:
            return
        units = self._hopeless[done.layer]
        units.append(done)
        if done.rows or set(done.rejects) - self._faults[done.layer]:
            del self._hopeless[done.layer]
        elif sum(sum(unit.rejects.values()) for unit in units) >= HOPELESS:
            layer_dir = self._dirs[done.layer]
            rejects = self._store.record(layer_dir, done.unit).rejects
            last = next((found for found in reversed(rejects) if found.reason != ORIGIN_REJECTED), rejects[-1])
            self._broken = (done.layer, [unit.unit for unit in units])
            raise SpatialdataError(
                f"layer '{done.layer}': all of the first samples failed, such as {last.key} with "
                f"'{_reject_line(last)}': fix the cause, then rerun the command"
            )

    def give_back(self) -> None:
        """Reopen the units of a broken stage and of the layers that need it. Call it after all workers have ended."""
        layer, units = self._broken
        layers = {layer}
        for user, needs in self._needs.items():  # each layer comes after those that it needs
            if layers.intersection(needs):
                layers.add(user)
        for name in reversed([name for name in self._needs if name in layers]):
            for unit in units:
                self._store.discard(self._dirs[name], unit)

    def _offer(self, layer: str, unit: int) -> None:
        needs = self._needs[layer]
        if self._states[layer][unit] == _WAITING and all(self._states[need][unit] == _DONE for need in needs):
            self._states[layer][unit] = _QUEUED
            self._queues[layer].append(unit)


def _reject_line(reject: Rejected) -> str:
    """The most informative line of a reject's detail: the last of a traceback, else the first."""
    lines = reject.detail.splitlines() or [reject.reason]
    return lines[-1] if reject.reason == ERROR else lines[0]


def record_outcome(units: ReadyUnits, job: Job, outcome: Outcome, progress: Progress) -> None:
    """Record the outcome of a job. Raises SpatialdataError if the run cannot continue."""
    if isinstance(outcome, Failed):
        raise_failed(outcome)
    if isinstance(outcome, Damaged):
        if lost := units.reopen(job, outcome):
            progress.note(f"{outcome.message.split(': run ')[0]}: set aside, recomputing it")
            progress.reopened(lost)
        return
    units.commit(outcome)
    progress.committed(outcome)
    units.check_hope(outcome)


def raise_failed(failed: Failed) -> NoReturn:
    """Raise the error that a worker reported."""
    raise (BadInput if failed.exit_code == BadInput.exit_code else SpatialdataError)(failed.message)
