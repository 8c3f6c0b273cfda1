"""Inputs and results of a stage.

A stage is a pure function of samples and its own configuration; all types here are plain values. Pixels are kept
encoded (the bytes that a layer file or a shard holds) and decoded by `shards.codecs` where they are used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .schema import Split

Value = bytes | str | int | float | bool
"""One cell of a layer: encoded image bytes, text or JSON text, or a number."""

Columns = Mapping[str, Value]
"""One sample's row in a layer, by column name."""


@dataclass(frozen=True)
class Sample:
    """One sample: what the plan says about it, and the layers computed so far."""

    key: str
    split: Split
    spec: Mapping[str, Any]
    """What to make, as planned: a scene seed and an edit kind, or a path in a source."""
    layers: Mapping[str, Columns] = field(default_factory=dict[str, Columns])

    def __getitem__(self, layer: str) -> Columns:
        return self.layers[layer]


@dataclass(frozen=True)
class Row:
    """The columns that a stage computed for one sample."""

    columns: Columns
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Counters, such as resampled proposals by reason; summed into the unit's record."""


@dataclass(frozen=True)
class Reject:
    """The rejection of a sample by a stage: stored as data, not only logged."""

    reason: str
    """Short and stable, such as `too_dark`; the funnel groups by it."""
    score: float = -1.0
    """The number that decided, -1 where there is none."""
    detail: str = ""
    """For people: the numbers, or a traceback."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    """Everything that was measured, by the names of shards.schema.Scores; kept for rejected samples, too."""


Result = Row | Reject
