"""What a stage sees and what it gives back.

A stage is a pure function of samples and its own configuration; everything here is a value. Pixels are held
encoded (the bytes that a layer file or a shard holds) and decoded by `shards.codecs` where they are looked at.
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
    """One sample on its way through the stages: what the plan says of it, and the layers computed so far."""

    key: str
    split: Split
    spec: Mapping[str, Any]
    """What to make, from the plan: a scene seed and an edit kind, or a path in a source."""
    layers: Mapping[str, Columns] = field(default_factory=dict[str, Columns])

    def __getitem__(self, layer: str) -> Columns:
        return self.layers[layer]


@dataclass(frozen=True)
class Row:
    """What a stage made of one sample."""

    columns: Columns
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Things counted on the way (resampled proposals by reason): summed into the unit's record."""


@dataclass(frozen=True)
class Reject:
    """A sample that a stage refused: data, never only a log line."""

    reason: str
    """Short and stable, such as `too_dark`: what the funnel groups by."""
    score: float = -1.0
    """The number that decided, -1 where there is none."""
    detail: str = ""
    """For a person: the numbers, or a traceback."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    """All that was measured, by the names of shards.schema.Scores: kept for what is refused, too."""


Result = Row | Reject
