"""The measures of the histograms. Their bins are fixed, so that two datasets can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Measure:
    """A number of each sample, and its bins: between ascending `edges`, and one bin below and one above them."""

    name: str
    title: str
    unit: str
    of: str
    """What has this number, in the plural."""
    edges: tuple[float, ...]
    ticks: tuple[float, ...]
    """Labels of the axis; with `log`, in a geometric progression."""
    log: bool = False
    whole: bool = False
    """Whether values are whole numbers, with one bin per number."""

    def bins_of(self, values: Sequence[float]) -> "NDArray[np.int64]":
        """The bin of each value, 0 (below all edges) to len(edges) (above); the last edge belongs to the last bin."""
        array = np.asarray(values, np.float64)
        found = np.searchsorted(self.edges, array, side="right")
        return np.where(array == self.edges[-1], len(self.edges) - 1, found).astype(np.int64)


def _linear(first: float, last: float, step: float) -> tuple[float, ...]:
    count = round((last - first) / step)
    return tuple(round(first + step * number, 6) for number in range(count + 1))


def _powers(first: float, last: float, step: float) -> tuple[float, ...]:
    """Powers of two with exponents from `first` to `last`."""
    return tuple(round(2.0**exponent, 9) for exponent in _linear(first, last, step))


_AROUND_ONE: Final = _powers(-2.125, 2.125, 0.25)
"""The middle bin is centered on 1."""
_ANGLES: Final = _linear(-187.5, 187.5, 15)
"""Bins centered on multiples of 15 degrees."""
_METERS: Final = _powers(-3, 7, 0.5)

MEASURES: Final = (
    Measure("displacement", "Displacement", "m", "moved objects", _linear(0, 3, 0.1), (0, 1, 2, 3)),
    Measure(
        "rotation", "Rotation, counter-clockwise from above", "°", "turned objects", _ANGLES, (-180, -90, 0, 90, 180)
    ),
    Measure("scale", "Scale factor", "×", "scaled objects", _AROUND_ONE, (0.25, 0.5, 1, 2, 4), log=True),
    Measure(
        "visible_source",
        "Visible share in the source",
        "",
        "edited objects",
        _linear(0, 1, 0.05),
        (0, 0.25, 0.5, 0.75, 1),
    ),
    Measure(
        "visible_target",
        "Visible share in the target",
        "",
        "edited objects",
        _linear(0, 1, 0.05),
        (0, 0.25, 0.5, 0.75, 1),
    ),
    Measure("near", "Nearest metric depth", "m", "targets", _METERS, (0.125, 0.5, 2, 8, 32, 128), log=True),
    Measure("far", "Farthest metric depth", "m", "targets", _METERS, (0.125, 0.5, 2, 8, 32, 128), log=True),
    Measure("yaw", "Camera orbit, to the viewer's right", "°", "camera edits", _ANGLES, (-180, -90, 0, 90, 180)),
    Measure("pitch", "Camera rise", "°", "camera edits", _linear(-52.5, 52.5, 5), (-45, -30, -15, 0, 15, 30, 45)),
    Measure("zoom", "Camera zoom, above 1 is closer", "×", "camera edits", _AROUND_ONE, (0.25, 0.5, 1, 2, 4), log=True),
    Measure(
        "words", "Instruction length", "words", "instructions", _linear(0.5, 40.5, 1), (1, 10, 20, 30, 40), whole=True
    ),
)
