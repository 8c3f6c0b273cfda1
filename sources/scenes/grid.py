"""Camera grids: the views of `edits.orbit`, over azimuth, elevation and distance.

A grid of V views gives V * (V - 1) camera edits, one for each ordered pair of different views. The first view is the
source of the rendered samples; the other samples are derived from these (`pipeline.planning.orbit_rows`).
"""

from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from ...shards.options import Options

MOST_VIEWS: Final = 256
"""Most views of a grid. A worker holds the images and maps of all views of a scene at the same time."""
_LEAST_ANGLE: Final = 5.0
"""Least difference of two elevations, and of two azimuths, degrees."""
_LEAST_RATIO: Final = 1.15
"""Least ratio of two distances: with less, no instruction says that one camera is closer."""

_OVERVIEW: Final = 30.0
"""Elevation of the first view of a scene, degrees."""


def _elevations(given: tuple[float, ...]) -> tuple[float, ...]:
    for one in given:
        if not -60 <= one <= 85:
            raise ValueError(f"{one:g} is not allowed; allowed: -60 to 85 degrees")
    for one, other in pairwise(sorted(given)):
        if other - one < _LEAST_ANGLE:
            raise ValueError(f"{one:g} and {other:g} differ by less than {_LEAST_ANGLE:g} degrees: remove one of them")
    return given


def _distances(given: tuple[float, ...]) -> tuple[float, ...]:
    for one in given:
        if not 0.25 <= one <= 4:
            raise ValueError(f"{one:g} is not allowed; allowed: 0.25 to 4 times the medium distance")
    for one, other in pairwise(sorted(given)):
        if other < _LEAST_RATIO * one:
            raise ValueError(f"{one:g} and {other:g} have a ratio below {_LEAST_RATIO:g}: remove one of them")
    return given


@dataclass(frozen=True)
class GridView:
    """One view of a grid."""

    azimuth_deg: float
    """From the first azimuth of the grid, counter-clockwise seen from above."""
    elevation_deg: float
    distance: float
    """In medium distances."""


class OrbitOptions(Options):
    """`edits.orbit`: views of one object or one scene, in place of other edits."""

    of: Literal["object", "scene"] = Field(
        default="object", description="object: one object, in a studio; scene: an open scene without walls"
    )
    azimuths: int = Field(
        default=8, ge=1, le=int(360 / _LEAST_ANGLE), description="number of azimuths; the first looks at the front"
    )
    elevations: Annotated[tuple[float, ...], AfterValidator(_elevations)] = Field(
        default=(-30.0, 0.0, 30.0, 60.0), min_length=1, description="degrees"
    )
    distances: Annotated[tuple[float, ...], AfterValidator(_distances)] = Field(
        default=(0.6, 1.0, 1.8), min_length=1, description="in medium distances"
    )

    @model_validator(mode="after")
    def _check_size(self) -> "OrbitOptions":
        if not 2 <= self.count <= MOST_VIEWS:
            raise ValueError(
                f"{self.azimuths} azimuths x {len(self.elevations)} elevations x {len(self.distances)} distances are "
                f"{self.count} views; allowed: 2 to {MOST_VIEWS}"
            )
        if self.of == "scene" and min(self.elevations) < 0:
            raise ValueError(
                f"elevations: {min(self.elevations):g} is below the floor on which a scene stands: use 0 or more, or "
                "of: object, whose object stands on a pedestal"
            )
        return self

    @property
    def count(self) -> int:
        """Number of views."""
        return self.azimuths * len(self.elevations) * len(self.distances)

    def views(self) -> tuple[GridView, ...]:
        """All views, in an order that does not change: by elevation, azimuth, distance, but the first view first.

        The first view is at the first azimuth, nearest to the medium distance and to eye level, or, of a scene, to an
        elevation of 30 degrees: at eye level, its objects hide each other.
        """
        found = [
            GridView(360.0 * turn / self.azimuths, elevation, distance)
            for elevation in self.elevations
            for turn in range(self.azimuths)
            for distance in self.distances
        ]
        wanted = 0.0 if self.of == "object" else _OVERVIEW
        level = min(self.elevations, key=lambda elevation: (abs(elevation - wanted), -elevation))
        medium = min(self.distances, key=lambda distance: (abs(log(distance)), distance))
        first = GridView(0.0, level, medium)
        return (first, *(view for view in found if view != first))
