"""Counts for the funnel page, added up sample by sample: memory does not grow with the dataset."""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import numpy as np

from .entry import STATES
from .measures import MEASURES, Measure
from .samples import ACCEPTED, GallerySample

_AT_ONCE: Final = 8192
"""Values that are binned together."""
K = TypeVar("K", bound=Hashable)


class Spread:
    """The histograms of one measure, one per state in STATES."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self.unknown = [0] * len(STATES)
        """Number of samples whose value is not known, by state."""
        self._counts = np.zeros((len(STATES), len(measure.edges) + 1), np.int64)
        self._waiting: list[list[float]] = [[] for _ in STATES]

    def add(self, state: int, value: float | None) -> None:
        if value is None or value != value:
            self.unknown[state] += 1
            return
        waiting = self._waiting[state]
        waiting.append(value)
        if len(waiting) >= _AT_ONCE:
            self._bin(state)

    @property
    def counts(self) -> list[list[int]]:
        """For each state: count below the first edge, of each bin, and above the last edge."""
        for state in range(len(STATES)):
            self._bin(state)
        return self._counts.tolist()

    @property
    def total(self) -> int:
        return int(np.sum(self.counts)) + sum(self.unknown)

    def _bin(self, state: int) -> None:
        bins = self.measure.bins_of(self._waiting[state])
        self._counts[state] += np.bincount(bins, minlength=self._counts.shape[1])
        self._waiting[state].clear()


@dataclass
class Shares(Generic[K]):
    """Number of samples by value: accepted ones, and all."""

    accepted: Counter[K] = field(default_factory=Counter[K])
    all: Counter[K] = field(default_factory=Counter[K])

    def add(self, key: K, state: int) -> None:
        self.all[key] += 1
        if state == ACCEPTED:
            self.accepted[key] += 1


class Tally:
    """Counts over a dataset."""

    def __init__(self) -> None:
        self.spreads = {measure.name: Spread(measure) for measure in MEASURES}
        self.states = [0] * len(STATES)
        """Planned samples by state."""
        self.pairs = [0] * len(STATES)
        """Samples with a pair, by state; all other counts are over these."""
        self.categories = Shares[str]()
        self.colors = Shares[str]()
        """By color of the edited object."""
        self.splits = Shares[tuple[str, str]]()
        """Planned samples by kind and split."""
        self.kinds = Shares[tuple[str, str]]()
        """By kind and category of the edited object."""
        self.scenes = Shares[tuple[str, str]]()
        """By kind and kind of scene, where it is known."""
        self.supports = Shares[tuple[str, str]]()
        """By kind and what the edited object stands on, where it is known."""
        self.unedited = Shares[str]()
        """By kind, for edits without an object."""
        self.depths: Counter[tuple[str, str]] = Counter()
        """Accepted samples by kind and estimator of depth."""
        self.cells: Counter[tuple[str, str, str]] = Counter()
        """Accepted samples by kind, category and estimator of depth."""

    def add(self, samples: Iterable[GallerySample]) -> None:
        for kind, split, state, facts in samples:
            self.states[state] += 1
            self.splits.add((kind, split), state)
            if facts is None:
                continue
            self.pairs[state] += 1
            for name, value in facts.values.items():
                self.spreads[name].add(state, value)
            for shares, value in ((self.scenes, facts.scene), (self.supports, facts.support)):
                if value:
                    shares.add((kind, value), state)
            if state == ACCEPTED:
                self.depths[kind, facts.depth] += 1
            if facts.category is None:
                self.unedited.add(kind, state)
                continue
            self.categories.add(facts.category, state)
            self.colors.add(facts.color, state)
            self.kinds.add((kind, facts.category), state)
            if state == ACCEPTED:
                self.cells[kind, facts.category, facts.depth] += 1

    def to_json(self) -> dict[str, Any]:
        """Plain values, in an order that does not depend on the order of samples."""
        return {
            "samples": dict(zip(STATES, self.states, strict=True)),
            "pairs": dict(zip(STATES, self.pairs, strict=True)),
            "histograms": {name: _spread(spread) for name, spread in self.spreads.items()},
            "categories": _shares(self.categories),
            "colours": _shares(self.colors),
            "edits_by_split": [
                {"edit": kind, "split": split, "accepted": self.splits.accepted[kind, split], "planned": planned}
                for (kind, split), planned in sorted(self.splits.all.items())
            ],
            "edits_by_scene": _by_edit(self.scenes, "scene"),
            "edits_by_support": _by_edit(self.supports, "support"),
            "coverage": [
                {"edit": kind, "category": category, "depth": depth, "accepted": accepted}
                for (kind, category, depth), accepted in sorted(self.cells.items())
            ],
            "pairs_made": [
                {"edit": kind, "category": category, "pairs": pairs}
                for (kind, category), pairs in sorted(self.kinds.all.items())
            ],
        }


def _spread(spread: Spread) -> dict[str, Any]:
    measure = spread.measure
    return {
        "title": measure.title,
        "unit": measure.unit,
        "edges": measure.edges,
        "counts": dict(zip(STATES, spread.counts, strict=True)),
        "unknown": dict(zip(STATES, spread.unknown, strict=True)),
    }


def _by_edit(shares: Shares[tuple[str, str]], name: str) -> list[dict[str, Any]]:
    return [
        {"edit": kind, name: value, "accepted": shares.accepted[kind, value], "pairs": pairs}
        for (kind, value), pairs in sorted(shares.all.items())
    ]


def _shares(shares: Shares[str]) -> list[dict[str, Any]]:
    """Most frequent first."""
    ordered = sorted(shares.all.items(), key=lambda item: (-item[1], item[0]))
    return [{"name": name, "accepted": shares.accepted[name], "pairs": number} for name, number in ordered]
