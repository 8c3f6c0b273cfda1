"""A garden around a scene: ground, grass, a path and what borders it. Sampled in numpy, without Blender.

Frame: the world's. Objects stand at z = 0 on pads, disks of flat ground; around them the ground is uneven. The sky and
most of the light are the scene's `Light`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...shards.geometry import F64, matrix4
from .surfaces import sample_surface
from .values import OWN_HDRIS, CameraPose, Light, Surface

Pad = tuple[float, float, float]
"""A disk of flat ground: x, y, radius."""
Color = tuple[float, float, float]
_SKIES = {"forest": 0.4, "courtyard": 0.2, "sunrise": 0.2, "sunset": 0.1, "city": 0.1}
"""Those of Blender's HDRIs that are skies, with their weights."""


@dataclass(frozen=True)
class Grass:
    """Blades in the sector that the cameras see, denser near them."""

    blades: int
    """Before those on the path and between clumps are left out."""
    height: float
    """Of a typical blade."""
    young: Color
    dry: Color
    x: float
    y: float
    """Tip of the sector."""
    heading_deg: float
    """Middle of the sector, about z from +x."""
    spread_deg: float
    """Half of its angle."""
    reach: float
    """Its radius."""


@dataclass(frozen=True)
class Path:
    """A strip of paving, or stepping stones, along a line."""

    points: tuple[tuple[float, float], ...]
    width: float
    stones: bool
    surface: Surface


@dataclass(frozen=True)
class Border:
    """A fence or a hedge along a straight line, through (x, y) at `yaw_deg`."""

    kind: Literal["fence", "hedge"]
    x: float
    y: float
    yaw_deg: float
    length: float
    height: float
    surface: Surface
    """Of the boards; of a hedge: the color and accent of its leaves."""


@dataclass(frozen=True)
class Sunlight:
    direction: tuple[float, float, float]
    """Of the light, unit."""
    irradiance: float
    """On a surface across it."""
    color: Color


@dataclass(frozen=True)
class Terrace:
    """A paved rectangle around the origin, on which objects stand, parallel to the axes."""

    width: float
    """Along x."""
    depth: float
    """Along y."""
    surface: Surface


@dataclass(frozen=True)
class Garden:
    ground: Surface
    pads: tuple[Pad, ...]
    relief: float
    """Amplitude of the ground's waves."""
    grass: Grass
    path: Path | None
    border: Border | None
    sun: Sunlight | None
    seed: int
    terrace: Terrace | None = None


def sample_garden(
    rng: np.random.Generator,
    pads: Sequence[Pad],
    cameras: Sequence[CameraPose],
    terrace: tuple[float, float] | None = None,
) -> Garden:
    """A garden for objects that stand on `pads`, as these cameras see it.

    Args:
        terrace: width and depth of a terrace around the origin, meters; a pad must cover it. None: no terrace.
    """
    ground = sample_surface(rng, "lawn")
    eyes = np.array([matrix4(camera.world_from_camera)[:2, 3] for camera in cameras])
    looks = np.array([matrix4(camera.world_from_camera)[:2, 2] for camera in cameras])
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    middle = np.array([pad[:2] for pad in pads]).mean(axis=0)
    away = looks.mean(axis=0) / np.linalg.norm(looks.mean(axis=0))
    heading = float(np.rad2deg(np.arctan2(away[1], away[0])))
    turns = np.rad2deg(np.arccos(np.clip(looks @ away, -1.0, 1.0)))
    reach = float(np.linalg.norm(middle - eyes.mean(axis=0)))
    tip = eyes.mean(axis=0) - 0.15 * reach * away
    young = np.array(ground.colour) * rng.uniform(1.1, 1.7)
    grass = Grass(
        blades=int(rng.integers(36_000, 52_000)),
        height=_rounded(rng.uniform(0.03, 0.075)),
        young=_color(young),
        dry=_color(0.6 * young + 0.4 * np.array(ground.accent)),
        x=_rounded(tip[0]),
        y=_rounded(tip[1]),
        heading_deg=_rounded(heading),
        spread_deg=_rounded(min(90.0, 40.0 + float(turns.max()))),
        reach=_rounded(min(max(3.2 * reach, 3.0), 16.0)),
    )
    return Garden(
        ground=ground,
        pads=tuple((_rounded(x), _rounded(y), _rounded(radius)) for x, y, radius in pads),
        relief=_rounded(rng.uniform(0.015, 0.05)),
        grass=grass,
        path=_path(rng, pads, middle, away, reach) if rng.random() < 0.55 else None,
        border=_border(rng, pads, middle, away) if rng.random() < 0.7 else None,
        sun=_sun(rng, heading) if rng.random() < 0.65 else None,
        seed=int(rng.integers(1_000_000)),
        terrace=Terrace(*terrace, surface=sample_surface(rng, "path")) if terrace else None,
    )


def sample_sky(rng: np.random.Generator, hdris: Sequence[str] = OWN_HDRIS) -> Light:
    """The sky of a garden, as `SceneSpec.light`.

    Args:
        hdris: those that may be drawn. Of Blender's own, only skies, unless `hdris` has nothing else.
    """
    fit = [name for name in hdris if name in _SKIES or name not in OWN_HDRIS] or list(hdris)
    weights = np.array([_SKIES.get(name, 0.2) for name in fit])
    return Light(
        hdri=fit[int(rng.choice(len(fit), p=weights / weights.sum()))],
        rotation_deg=_rounded(rng.uniform(0.0, 360.0)),
        strength=_rounded(rng.uniform(0.8, 1.4)),
    )


def _rounded(value: float) -> float:
    return round(float(value), 6)


def _color(values: F64) -> Color:
    r, g, b = (_rounded(value) for value in np.clip(values, 0.01, 0.85))
    return r, g, b


def _path(rng: np.random.Generator, pads: Sequence[Pad], middle: F64, away: F64, reach: float) -> Path | None:
    """A curve past the objects that no pad touches; None where none was found."""
    right = np.array([away[1], -away[0]])
    for _ in range(16):
        width = float(rng.uniform(0.5, 1.1))
        wide = max(reach, 1.5, *(pad[2] for pad in pads))
        lean, side = rng.uniform(-1.0, 1.0), rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 1.4) * wide
        along = away * np.cos(lean) + right * np.sin(lean)
        across = np.array([along[1], -along[0]])
        start, bend = middle + across * side, rng.uniform(-0.8, 0.8)
        steps = np.linspace(-9.0, 14.0, 47)
        line = start + steps[:, None] * along + (bend * np.sin(steps / rng.uniform(1.5, 3.0)))[:, None] * across
        if all(np.hypot(*(line - pad[:2]).T).min() > pad[2] + width / 2 + 0.12 for pad in pads):
            return Path(
                points=tuple((_rounded(x), _rounded(y)) for x, y in line),
                width=_rounded(width),
                stones=bool(rng.random() < 0.4),
                surface=sample_surface(rng, "path"),
            )
    return None


def _border(rng: np.random.Generator, pads: Sequence[Pad], middle: F64, away: F64) -> Border:
    """Behind everything."""
    farthest = max(float((np.array(pad[:2]) - middle) @ away) + pad[2] for pad in pads)
    x, y = middle + away * (farthest + rng.uniform(1.0, 6.0))
    hedge = rng.random() < 0.5
    return Border(
        kind="hedge" if hedge else "fence",
        x=_rounded(x),
        y=_rounded(y),
        yaw_deg=_rounded(np.rad2deg(np.arctan2(away[1], away[0])) + 90.0 + rng.uniform(-18.0, 18.0)),
        length=24.0,
        height=_rounded(rng.uniform(0.9, 1.7)),
        surface=sample_surface(rng, "hedge" if hedge else "fence"),
    )


def _sun(rng: np.random.Generator, heading_deg: float) -> Sunlight:
    """From the side or from behind the camera, rarely from the front."""
    turn, elevation = np.deg2rad(heading_deg + rng.uniform(-115.0, 115.0)), np.deg2rad(rng.uniform(22.0, 60.0))
    flat = np.cos(elevation)
    return Sunlight(
        direction=(_rounded(np.cos(turn) * flat), _rounded(np.sin(turn) * flat), _rounded(-np.sin(elevation))),
        irradiance=_rounded(rng.uniform(2.0, 5.0)),
        color=(1.0, 0.93, 0.82),
    )
