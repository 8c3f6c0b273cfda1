"""The driver's side of a layer's summary: adds up the units committed in a run, block by block.

The invariants are those of `pipeline.engine.summaries`. A run that lost OUT to another run finds the other's id in the
file and no longer writes it.
"""

import secrets
from typing import Any

import numpy as np

from ..store.layers import LayerCorrupt, LayerStore
from ..store.plan import Plan
from . import summaries
from .runner import UnitSummary, summarize
from .summaries import (
    Commit,
    SummaryFile,
    commit_of,
    latest,
    read_summary,
    reopened_units,
    sum_block,
    write_summary,
)


class SummaryKeeper:
    """Maintains the summary of one layer during one run. Created before any unit is handed out."""

    def __init__(self, store: LayerStore, plan: Plan, layer: str, folder: str) -> None:
        self._store = store
        self._plan = plan
        self._layer = layer
        self._folder = folder
        self._size = summaries.BLOCK
        self._writer = secrets.token_hex(8)
        marked = reopened_units(store, folder)  # before the listing: this run must not remove later marks
        self.done = [unit for unit in store.done_units(folder) if unit < plan.units]
        """Units with a record."""
        whole = plan.units // self._size
        counts = np.bincount(np.array(self.done, np.int64) // self._size, minlength=whole + 1)[:whole]
        self._left: list[int] = (self._size - counts).tolist()
        """For each whole block, the number of units not done. The last, partial block is never summed."""
        self._fresh: dict[int, dict[int, UnitSummary]] = {}
        self._reopened: set[int] = set()
        self._blocks: dict[int, Any] = {}
        self._touched = 0
        self._recent: list[Commit] = []
        if whole:
            self._restore(read_summary(store, folder, plan), set(marked), counts)

    def _restore(self, kept: SummaryFile | None, marked: set[int], counts: Any) -> None:
        """Keep the blocks of the file that agree with the listing; sum the whole blocks that it lacks."""
        self._touched = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
        before: Any = None
        if kept is not None and kept.block == self._size:
            unsure = {unit // self._size for unit in marked}
            self._blocks = {
                number: values
                for number, values in kept.blocks.items()
                if self._left[number] == 0 and number not in unsure
            }
            self._recent = list(kept.recent)
            before = (kept.blocks, kept.touched)
        self._known = kept.writer if kept else ""
        for number, left in enumerate(self._left):
            if left == 0 and number not in self._blocks:
                self._sum(number)
        changed = before != (self._blocks, self._touched) and (self._touched or kept is not None)
        if not changed or self._write():
            self._unmark(marked)

    def touch(self, unit: int) -> None:
        """Called before a unit is handed out."""
        number = unit // self._size
        if self._touched <= number < len(self._left):
            self._touched = number + 1
            self._write()

    def commit(self, unit: UnitSummary) -> None:
        """A unit is done."""
        number = unit.unit // self._size
        if number >= len(self._left):
            return
        # This commit replaces an earlier one of the same unit.
        self._recent = latest([*(commit for commit in self._recent if commit.unit != unit.unit), commit_of(unit)])
        self._fresh.setdefault(number, {})[unit.unit] = unit
        self._left[number] -= 1
        if self._left[number] == 0:
            self._sum(number)
            if self._write():
                self._unmark({unit for unit in self._reopened if unit // self._size == number})

    def reopen(self, unit: int) -> None:
        """A unit is no longer done: a worker has marked it and set it aside."""
        number = unit // self._size
        if number < len(self._left):
            self._left[number] += 1
            self._fresh.get(number, {}).pop(unit, None)
            self._blocks.pop(number, None)
            self._reopened.add(unit)

    def _sum(self, number: int) -> None:
        """Sum a whole block; units done before this run are read. A block with a damaged record is not summed."""
        fresh = self._fresh.pop(number, {})
        among = range(number * self._size, (number + 1) * self._size)
        if len(fresh) < len(among):
            damaged: list[LayerCorrupt] = []
            found = self._store.records(self._folder, damaged, among)
            fresh = {record.unit: summarize(self._layer, record, self._plan) for record in found} | fresh
        if len(fresh) == len(among):
            self._blocks[number] = sum_block(fresh.values(), self._plan)
            # A unit that an earlier run committed again may be listed with its first commit.
            others = (commit for commit in self._recent if commit.unit not in fresh)
            self._recent = latest([*others, *map(commit_of, fresh.values())])

    def _write(self) -> bool:
        """Write the summary file, unless another run has taken it over. Returns whether it was written."""
        kept = read_summary(self._store, self._folder, self._plan)
        if kept is not None and kept.writer not in (self._known, self._writer):
            return False
        mine = SummaryFile(self._blocks, self._size, self._touched, tuple(self._recent), self._writer)
        write_summary(self._store, self._folder, self._plan, mine)
        return True

    def _unmark(self, units: set[int]) -> None:
        for unit in units:
            self._store.remove(self._store.reopened_name(self._folder, unit))
        self._reopened -= units
