"""Places to which an object may move, and which an instruction can describe.

Directions are the viewer's: right and away along the floor, as the source camera sees the scene.
"""

from dataclasses import dataclass, replace

import numpy as np

from ...shards.geometry import F64
from ..scenes.camera import bearings
from ..scenes.footprints import apparent_size, extent
from ..scenes.layout import Scene
from ..scenes.spec import Placement
from ..scenes.standing import base_of, region
from .draft import resting

_AIMS = ("view", "reference", "between", "free")


@dataclass(frozen=True)
class Spot:
    """A place for an object."""

    placement: Placement
    allows_occlusion: bool = False
    """Whether the place is behind or inside something, so that the object may be partly hidden."""


def aim(
    rng: np.random.Generator, scene: Scene, identity: int, shares: tuple[float, float, float, float]
) -> Spot | None:
    """A place for an object, not checked yet; None if there is none of the drawn sort.

    Args:
        shares: probabilities of places along the view, beside another object, between two others, and anywhere.
    """
    level = scene.placements[identity].standing
    others = [id for id, place in scene.placements.items() if id != identity and place.standing == level]
    sort = _AIMS[int(rng.choice(len(_AIMS), p=shares))]
    if sort == "reference" and others:
        return beside(rng, scene, identity, others[int(rng.integers(len(others)))])
    if sort == "between":
        return _between(rng, scene, identity, others) if len(others) >= 2 else None
    if sort == "view":
        return _along_view(rng, scene, identity)
    return _free(rng, scene, identity)


def _along_view(rng: np.random.Generator, scene: Scene, identity: int) -> Spot:
    """Left, right, towards the camera or away from it. Moves in depth are longer, because depth is foreshortened."""
    right, away = bearings(scene.camera)
    side = int(rng.integers(4))
    direction = (right, -right, away, -away)[side]
    steps = float(rng.uniform(0.6, 2.2) if side < 2 else rng.uniform(0.9, 3.0))
    place = scene.placements[identity]
    step = 0.5 * (apparent_size(scene.asset(identity)) + scene.step(identity, place.standing))
    return at(scene, identity, place, np.array([place.x, place.y]) + steps * step * direction)


def beside(rng: np.random.Generator, scene: Scene, identity: int, reference: int) -> Spot:
    """To the left or right of another object, in front of it or behind it, as seen from the camera.

    On the floor or the support on which the other object stands.
    """
    right, away = bearings(scene.camera)
    side = int(rng.integers(4))
    direction, across = ((right, away), (-right, away), (-away, right), (away, right))[side]
    base = scene.placements[reference]
    own = replace(scene.placements[identity], x=0.0, y=0.0, standing=base.standing)
    reach = extent(scene.asset(reference), base, direction)[1] - extent(scene.asset(identity), own, direction)[0]
    low, high = extent(scene.asset(reference), base, across)
    gap = float(rng.uniform(0.15, 0.7)) * scene.step(identity, base.standing)
    drift = float(rng.uniform(-0.5, 0.5)) * (high - low) * (1.0 if side == 3 else 0.5)
    spot = np.array([base.x, base.y]) + (reach + gap) * direction + drift * across
    return at(scene, identity, own, spot, allows_occlusion=side == 3)


def _between(rng: np.random.Generator, scene: Scene, identity: int, others: list[int]) -> Spot:
    """Midway between two other objects."""
    pair = [scene.placements[index] for index in rng.choice(others, 2, replace=False).tolist()]
    ends = np.array([(place.x, place.y) for place in pair])
    share = float(rng.uniform(0.4, 0.6))
    return at(scene, identity, scene.placements[identity], share * ends[0] + (1 - share) * ends[1])


def _free(rng: np.random.Generator, scene: Scene, identity: int) -> Spot:
    """Anywhere in and around the group."""
    own = scene.placements[identity]
    level = own.standing
    if level is not None:
        bounds = region(scene.supports[level.object][level.support], base_of(level, scene.placements)).bounds
        return at(scene, identity, own, rng.uniform(bounds[:2], bounds[2:]))
    spots = np.array([(place.x, place.y) for place in scene.placements.values()])
    low, high = spots.min(axis=0) - 0.8 * scene.size, spots.max(axis=0) + 0.8 * scene.size
    return at(scene, identity, own, rng.uniform(low, high))


def into(rng: np.random.Generator, scene: Scene) -> Spot:
    """Into the container: on its inner floor, at or near its middle."""
    box, asset = scene.asset(scene.container), scene.asset(scene.guest)
    base, own = scene.placements[scene.container], scene.placements[scene.guest]
    angle = np.deg2rad(base.yaw_deg)
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    spot = np.array([base.x, base.y])
    for axis, side in zip(axes, box.opening, strict=True):
        low, high = extent(asset, replace(own, x=0.0, y=0.0), axis)
        # The outline of a rotated guest need not be centered on its origin.
        room = max(0.0, 0.95 * side * base.scale - (high - low)) / 2
        spot = spot + axis * (float(rng.uniform(-0.5, 0.5)) * room - (low + high) / 2)
    height = round(base.z + box.supports * base.scale, 6)
    return at(scene, scene.guest, own, spot, height=height, allows_occlusion=True)


def at(
    scene: Scene, identity: int, own: Placement, spot: F64, height: float = 0.0, allows_occlusion: bool = False
) -> Spot:
    """The place of an object at a point (2,), meters, at rest on what `own` stands on.

    Args:
        own: gives all but the position.
        height: of its base, where it stands on no support.
    """
    place = replace(own, x=round(float(spot[0]), 6), y=round(float(spot[1]), 6), z=height)
    return Spot(resting(scene, identity, place), allows_occlusion)
