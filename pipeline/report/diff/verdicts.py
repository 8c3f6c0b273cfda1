"""The verdict on every sample of a build, finished or not, and statistics of its scores: one side of a comparison."""

import json
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ....shards.errors import SpatialdataError
from ....shards.schema import Scores
from ...opened import Build
from ...packing.duplicates import Duplicates, stored_duplicates
from ...store.layers import LayerCorrupt

ACCEPTED: Final = ""
PENDING: Final = "not computed yet"
QUANTILES: Final = (5, 25, 50, 75, 95)
"""In percent."""
SCORED: Final = ("checks", "judge")
"""Layers with a column `scores`; those of the judge replace those of the checks."""


@dataclass
class Verdicts:
    """The verdicts of one build so far."""

    samples: dict[str, str] = field(default_factory=dict[str, str])
    """By key, in plan order: `ACCEPTED`, `PENDING`, or the first `layer: reason` that rejected it."""
    edits: Counter[str] = field(default_factory=Counter[str])
    """Accepted samples by kind of edit."""
    done: dict[str, int] = field(default_factory=dict[str, int])
    """Done units of each layer."""
    damaged: int = 0
    """Number of unreadable records; their units count as not computed."""


def verdicts_of(build: Build) -> Verdicts:
    """Read the records of a build's layers, and its plan. Raises SpatialdataError if the plan is damaged."""
    found = Verdicts()
    rejected: dict[str, str] = {}
    finished: Counter[int] = Counter()
    damaged: list[LayerCorrupt] = []
    layers = build.layers
    for layer, folder in layers.items():
        for record in build.store.records(folder, damaged):
            found.done[layer] = found.done.get(layer, 0) + 1
            finished[record.unit] += 1
            for reject in record.rejects:
                rejected.setdefault(reject.key, f"{layer}: {reject.reason}")
    rejected = _duplicates(build) | rejected
    for unit in range(build.plan.units):
        for row in build.plan.rows(unit):
            other = ACCEPTED if finished[unit] == len(layers) else PENDING
            verdict = found.samples[row.key] = rejected.get(row.key, other)
            found.edits[str(row.spec["edit"])] += verdict == ACCEPTED
    found.damaged = len(damaged)
    return found


def scores_of(build: Build) -> dict[str, dict[str, Any]]:
    """For each score, over the samples in the layers: number of values, mean and quantiles."""
    values = {name: array("d") for name in Scores.model_fields}
    for layer in SCORED:
        folder = build.layers.get(layer, "")
        for unit in build.store.done_units(folder) if folder else ():
            try:
                rows = build.store.peek(folder, unit, ("scores",))
            except SpatialdataError:  # a damaged file: `status` and `verify` report it
                continue
            for row in rows.values():
                for name, value in json.loads(str(row["scores"])).items():
                    if name in values and value != -1:
                        values[name].append(value)
    return {name: _spread(np.frombuffer(found)) for name, found in values.items() if len(found)}


def _spread(values: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, Any]:
    quantiles = np.percentile(values, QUANTILES).tolist()
    spread = {f"p{percent}": round(value, 6) for percent, value in zip(QUANTILES, quantiles, strict=True)}
    return {"samples": len(values), "mean": round(float(values.mean()), 6), **spread}


def _duplicates(build: Build) -> dict[str, str]:
    """Duplicates that packing left out; none before the first packing."""
    try:
        noted = stored_duplicates(build.store, build.plan, build.layers, build.config.shard.duplicates)
    except LayerCorrupt:
        return {}
    return {one.key: f"pack: {one.reason}" for one in noted.dropped} if isinstance(noted, Duplicates) else {}
