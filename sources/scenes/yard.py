"""The part of a garden that is furnished, and the garden around it."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from ...shards.geometry import F64
from .camera import Orbit
from .garden import Garden, sample_garden
from .room import WALLS, Opening, WallName
from .template import Template

_BEYOND: Final = 0.35
"""Meters of flat ground around the objects of a garden."""
_ORBIT: Final = 50.0
"""Degrees to both sides of the camera from which a garden may be seen."""


@dataclass(frozen=True)
class Yard:
    """The part of a garden that is furnished (`furnish.Place`): a rectangle around the origin, without walls."""

    size: tuple[float, float, float]
    paved: bool
    openings: tuple[Opening, ...] = ()

    def half(self, wall: WallName) -> float:
        return self.size[1 if WALLS[wall][0] else 0] / 2

    def windows(self) -> tuple[Opening, ...]:
        return self.openings

    @property
    def radius(self) -> float:
        """Of the flat ground around the origin, meters."""
        return float(np.hypot(*self.size[:2])) / 2 + _BEYOND


def sample_yard(rng: np.random.Generator, template: Template) -> tuple[Yard, WallName]:
    """A yard, and the side of it that the camera looks at."""
    width, depth, height = (round(float(rng.uniform(*side)), 3) for side in template.size)
    return Yard((width, depth, height), template.ground == "paving"), tuple(WALLS)[int(rng.integers(4))]


def planted(rng: np.random.Generator, yard: Yard, orbit: Orbit) -> Garden:
    """The garden around a yard."""
    poses = [orbit.turned(turn, 0.0, 1.0).pose() for turn in (0.0, -_ORBIT, _ORBIT)]
    return sample_garden(rng, [(0.0, 0.0, yard.radius)], poses, yard.size[:2] if yard.paved else None)


def in_garden(garden: Garden, position: F64) -> bool:
    """Whether a camera is above the ground, on the side of the fence or hedge where the objects are."""
    if position[2] < 0.2:
        return False
    if (border := garden.border) is None:
        return True
    across = np.deg2rad(border.yaw_deg + 90.0)
    normal = np.array([np.cos(across), np.sin(across)])
    line = np.array([border.x, border.y]) @ normal
    here, there = (float(np.array(point) @ normal - line) for point in (position[:2], garden.pads[0][:2]))
    return here * there > 0 and abs(here) > 0.6
