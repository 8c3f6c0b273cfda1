"""Means over the keys of a set, with bootstrap intervals.

Invariant: the same evaluation gives the same numbers: resamples are drawn from a fixed seed.

Percentile intervals (Efron and Tibshirani 1993, section 13.3) of 1000 resamples. Keys of one family show one scene, so
whole families are drawn, not keys.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..shards.geometry import F64
from .evaluate import Evaluation, Item
from .metrics.metric import METRICS, Metric

RESAMPLES: Final = 1000
CONFIDENCE: Final = 0.95
DIMENSIONS: Final = ("kind", "relation", "category", "scene")


@dataclass(frozen=True)
class Mean:
    """A mean, and the ends of its interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Cell:
    """One metric of one editor over one group. `keys` have the metric, `failures` of them no value."""

    keys: int
    failures: int
    worst: Mean
    """Failures count as the worst score."""
    without: Mean | None
    """Failures are left out; None if there are only failures."""
    copy: float
    oracle: float
    normalized: float | None
    """Of `worst`, between copy = 0 and oracle = 1; None where the two are equal."""

    def as_json(self) -> dict[str, Any]:
        """Numbers to six decimals; an absent one has no key."""
        values: dict[str, Any] = {"keys": self.keys, "failures": self.failures}
        values["failures_worst"] = _as_json(self.worst)
        if self.without is not None:
            values["failures_left_out"] = _as_json(self.without)
        values |= {"copy": round(self.copy, 6), "oracle": round(self.oracle, 6)}
        return values if self.normalized is None else values | {"normalized": round(self.normalized, 6) + 0.0}


def _as_json(mean: Mean) -> dict[str, float]:
    return {name: round(getattr(mean, name), 6) for name in ("mean", "low", "high")}


Table = dict[str, Cell]
"""By metric, in the order of `METRICS`."""


def tables(evaluation: Evaluation, editor: int) -> dict[str, dict[str, Table]]:
    """Tables of one editor by dimension and group; dimension `all` has one group, `all`."""
    found = {"all": {"all": table(evaluation.items, editor)}}
    for dimension in DIMENSIONS:
        labels = sorted({item.groups[dimension] for item in evaluation.items if dimension in item.groups})
        groups = {label: [one for one in evaluation.items if one.groups.get(dimension) == label] for label in labels}
        if groups:
            found[dimension] = {label: table(items, editor) for label, items in groups.items()}
    return found


def table(items: Sequence[Item], editor: int) -> Table:
    """All metrics of one editor over some keys; metrics that none of them has are left out."""
    found = ((name, _cell(metric, items, editor)) for name, metric in METRICS.items())
    return {name: cell for name, cell in found if cell is not None}


def _cell(metric: Metric, items: Sequence[Item], editor: int) -> Cell | None:
    having = [item for item in items if metric.name in item.oracle]
    if not having:
        return None
    values = [item.editors[editor].values[metric.name] for item in having]
    filled = _filled(metric, having, values)
    families = [item.family for item in having]
    failed = np.array([value is None for value in values])
    copy = _filled(metric, having, [item.copy[metric.name] for item in having])
    oracle = np.array([item.oracle[metric.name] for item in having])
    without = None if failed.all() else bootstrap(filled, families, ~failed)
    return Cell(
        keys=len(having),
        failures=int(failed.sum()),
        worst=bootstrap(filled, families),
        without=without,
        copy=float(copy.mean()),
        oracle=float(oracle.mean()),
        normalized=metric.normalized(filled, copy, oracle),
    )


def _filled(metric: Metric, items: Sequence[Item], values: Sequence[float | None]) -> F64:
    pairs = zip(items, values, strict=True)
    return np.array([metric.worst_for(item.diagonal) if value is None else value for item, value in pairs])


def bootstrap(values: F64, families: Sequence[str], chosen: Any = None) -> Mean:
    """The mean of values (N,), and its interval over resamples of families.

    Args:
        families: of each value; values of one family are drawn together.
        chosen: bool (N,): the values that count; all if None.
    """
    weights = np.ones(len(values)) if chosen is None else np.asarray(chosen, np.float64)
    names, index = np.unique(np.asarray(families), return_inverse=True)
    sums = np.bincount(index, values * weights, len(names))
    counts = np.bincount(index, weights, len(names))
    mean = float(sums.sum() / counts.sum())
    drawn = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    totals = counts[drawn].sum(axis=1)
    means = sums[drawn].sum(axis=1)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Mean(mean, float(low), float(high))


def differences(items: Sequence[Item]) -> dict[str, Mean]:
    """First editor minus second, by metric, over the same keys, failures as the worst score."""
    found: dict[str, Mean] = {}
    for name, metric in METRICS.items():
        having = [item for item in items if name in item.oracle]
        if having:
            first, second = (_filled(metric, having, [item.editors[k].values[name] for item in having]) for k in (0, 1))
            found[name] = bootstrap(first - second, [item.family for item in having])
    return found


def failures(items: Sequence[Item], editor: int) -> dict[str, int]:
    """Number of predictions without an image to judge, by reason."""
    reasons = [item.editors[editor].failure for item in items]
    return {reason: reasons.count(reason) for reason in sorted(set(reasons)) if reason}


def normalized(item: Item, editor: int) -> dict[str, float]:
    """The scores of one key between copy = 0 and oracle = 1, by metric; without those whose copy equals the oracle."""
    found = dict(_normalized(item, item.editors[editor].values))
    return {name: value for name, value in found.items() if value is not None}


def _normalized(item: Item, values: Mapping[str, float | None]) -> Iterator[tuple[str, float | None]]:
    for name, oracle in item.oracle.items():
        metric = METRICS[name]
        arrays = (_filled(metric, [item], [value]) for value in (values[name], item.copy[name], oracle))
        yield name, metric.normalized(*arrays)


def standing(item: Item, editor: int) -> float:
    """The order of pages, worst first: the mean of the normalized scores, each from 0 to 1. Not a score to publish."""
    scores = normalized(item, editor)
    return float(np.mean([np.clip(value, 0, 1) for value in scores.values()])) if scores else 1.0
