"""The free space of a room model: where objects can stand in it, and from where a camera can see them.

World frame: meters, z up, the floor is z = 0. The model is never changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from ...shards.geometry import F64
from ..assets.supports import Ring, Support

if TYPE_CHECKING:
    import shapely

Outline = tuple[Ring, ...]
"""An outline, then its holes, meters."""
_ABOVE: Final = 0.03
"""Meters of free height above an object on the floor."""
EYE_FREE: Final = 0.2
"""Meters of free space around a camera."""
_LOWEST_EYE: Final = 0.2
_LAMP: Final = 3.0
"""Largest side of the light, meters."""
_UNDER_CEILING: Final = 0.9
"""Height of the light, as a fraction of that of the ceiling."""
_OPEN_LAMP: Final = 3.0
"""Height of the light where there is no ceiling, meters."""


@dataclass(frozen=True)
class Floor:
    """The parts of the floor above which at least `clearance` meters are free. A base must lie inside one of them."""

    clearance: float
    parts: tuple[Outline, ...]


@dataclass(frozen=True)
class Interior:
    scale: float
    """Meters per file unit."""
    offset: tuple[float, float, float]
    """Is added to the vertices after they are turned to z up and scaled, so that the floor is z = 0."""
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    """The corners of the model's box."""
    ceiling: float
    """Height of the ceiling above most of where a person can stand; 0 if it is open above."""
    floors: tuple[Floor, ...]
    """From the smallest clearance to the largest, in which a person can stand."""
    sight: tuple[Outline, ...]
    """Where nothing rises from below the eyes to above them: walls and cabinets are outside, tables inside."""
    surfaces: tuple[Support, ...]
    """Of tables and the like that are part of the model."""

    def free_floor(self, height: float) -> "shapely.MultiPolygon":
        """The floor on which an object of this height may stand."""
        for floor, area in zip(self.floors, self._areas, strict=True):
            if floor.clearance >= height + _ABOVE:
                return area
        return shape_of(())

    @cached_property
    def _areas(self) -> "tuple[shapely.MultiPolygon, ...]":
        return tuple(shape_of(floor.parts) for floor in self.floors)

    @cached_property
    def walkable(self) -> "shapely.MultiPolygon":
        """Where a person can stand."""
        return self._areas[-1]

    @cached_property
    def eye_area(self) -> "shapely.Geometry":
        """Where a camera can be, seen from above, meters."""
        return _prepared(self.walkable.buffer(-EYE_FREE))

    @cached_property
    def _sight_area(self) -> "shapely.Geometry":
        return _prepared(shape_of(self.sight))

    def holds_eye(self, point: F64) -> bool:
        """Whether a camera can be at a point (3,): above the floor where a person can stand, inside free space."""
        import shapely

        if not _LOWEST_EYE <= point[2] <= self.floors[-1].clearance - EYE_FREE:
            return False
        return bool(shapely.contains_xy(self.eye_area, point[0], point[1]))

    def sees(self, eye: F64, point: F64) -> bool:
        """Whether no wall, no high furniture and no surface of the model is between a camera and a lower point (3,)."""
        import shapely

        if not shapely.contains(self._sight_area, shapely.LineString([eye[:2], point[:2]])):
            return False
        for one in self.surfaces:
            if point[2] < one.z < eye[2]:
                crossing = eye + (point - eye) * (eye[2] - one.z) / (eye[2] - point[2])
                if one.shape().contains(shapely.Point(crossing[:2])):
                    return False
        return True


def _prepared(area: "shapely.Geometry") -> "shapely.Geometry":
    import shapely

    shapely.prepare(area)
    return area


def shape_of(outlines: Sequence[Outline]) -> "shapely.MultiPolygon":
    """The union of disjoint outlines."""
    import shapely

    return shapely.MultiPolygon([(one[0], one[1:]) for one in outlines])


@dataclass(frozen=True)
class EnvironmentSpec:
    """A room model as the renderer shows it."""

    file: str
    """Name of the kept file; for the renderer, its path."""
    scale: float
    offset: tuple[float, float, float]
    """As in `Interior`."""
    lamp: tuple[float, float, float, float, float]
    """An area light below the ceiling: x, y, z of its middle, width and depth."""


def lamp_over(interior: Interior, points: F64) -> tuple[float, float, float, float, float]:
    """A large soft light below the ceiling, near some points (N, 2 or 3).

    It is above where a camera can be, because the ceiling may be lower elsewhere.
    """
    import shapely

    low, high = np.reshape(shapely.bounds(interior.eye_area), (2, 2))
    first, last = np.maximum(points[:, :2].min(axis=0) - 0.5, low), np.minimum(points[:, :2].max(axis=0) + 0.5, high)
    middle, size = (first + last) / 2, np.clip(last - first, 0.6, _LAMP)
    height = _UNDER_CEILING * interior.ceiling if interior.ceiling else _OPEN_LAMP
    x, y, z, width, depth = (round(float(value), 6) for value in (*middle, height, *size))
    return x, y, z, width, depth
