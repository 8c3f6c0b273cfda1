"""Turns of an object, and the eight canonical views.

A view is named by the side of the object that faces the viewer, left and right being the object's own: where the
viewer stands at the object's right hand (its front seen straight ahead by itself), it shows the right side view. The
viewer's place is where the camera is, seen from the object's origin along the floor, so that a name holds for objects
away from the middle of the image too.
"""

from functools import lru_cache

import numpy as np

from ...shards.geometry import wrap_degrees
from ..assets.asset import Asset
from .camera import eye
from .footprints import remade
from .spec import CameraPose, Placement

VIEWS: dict[str, float] = {
    "the front view.": 0.0,
    "the front left side view.": 45.0,
    "the left side view.": 90.0,
    "the rear left side view.": 135.0,
    "the rear view.": 180.0,
    "the rear right side view.": -135.0,
    "the right side view.": -90.0,
    "the front right side view.": -45.0,
}
"""Wording of SpatialEdit's bench: degrees from the object's front to the camera, counter-clockwise from above."""
ANGLES: tuple[float, ...] = tuple(float(angle) for angle in range(-165, 181, 15) if abs(angle) >= 30)
"""Free turns, degrees about z, counter-clockwise seen from above."""
REGULAR = 3
MOST_COMMON = 0.9
"""Of an object whose symmetry is `REGULAR` or more: the part of its outline that a turn may leave where it is."""
Outline = tuple[tuple[float, float], ...]
_STEPS = 12
"""Each leaves of the error the share that the shift has of the distance to the camera."""
LEAST_TURN = 25.0
"""Degrees: what an object shows after a turn must be at least so far from what it shows already."""


def shows(asset: Asset, degrees: float) -> bool:
    """Whether a turn differs enough from every turn that cannot be seen: the multiples of 360 over the symmetry.

    Of what has three equal sides or more, a viewer sees no turn but that of its outline: not of a stool's legs.
    """
    return asset.rotatable and _differs(asset.symmetry, _outline(asset), degrees)


def free_turns(asset: Asset) -> tuple[float, ...]:
    """Those of `ANGLES` that show; none for an object that cannot be turned."""
    return _angles(asset.symmetry, _outline(asset)) if asset.rotatable else ()


def _outline(asset: Asset) -> Outline:
    return asset.footprint if asset.symmetry >= REGULAR else ()


@lru_cache(maxsize=4096)
def _angles(symmetry: int, outline: Outline) -> tuple[float, ...]:
    return tuple(angle for angle in ANGLES if _differs(symmetry, outline, angle))


def _differs(symmetry: int, outline: Outline, degrees: float) -> bool:
    period = 360.0 / symmetry
    rest = degrees % period
    return min(rest, period - rest) >= LEAST_TURN and (not outline or _common(outline, degrees) <= MOST_COMMON)


def _common(outline: Outline, degrees: float) -> float:
    """Area that an outline, seen from above, has in common with itself turned about its middle, over that of both."""
    import shapely
    from shapely.affinity import rotate

    before = shapely.Polygon(outline)
    after = rotate(before, degrees, origin="centroid")
    return before.intersection(after).area / before.union(after).area


def bearing_of_camera(asset: Asset, placement: Placement, camera: CameraPose) -> float:
    """Degrees from the object's front to the camera, counter-clockwise from above, in (-180, 180].

    Raises ValueError where the object's front is not known.
    """
    if asset.front_deg is None:
        raise ValueError(f"the front of asset {asset.uid} is not known")
    return wrap_degrees(_towards_camera(placement, camera) - placement.yaw_deg - asset.front_deg)


def turn_to(view: str, asset: Asset, placement: Placement, camera: CameraPose) -> float:
    """The turn (degrees, in (-180, 180]) after which the camera sees the canonical view named `view`.

    What is turned may shift its origin, from which the camera is seen a little elsewhere then: each step closes in.
    """
    turn = 0.0
    for _ in range(_STEPS):
        left = bearing_of_camera(asset, remade(asset, placement, turn), camera) - VIEWS[view]
        turn = wrap_degrees(turn + left)
    return turn


def _towards_camera(placement: Placement, camera: CameraPose) -> float:
    """Direction along the floor from the object's origin to the camera, degrees from +x."""
    x, y = eye(camera)[:2]
    return float(np.rad2deg(np.arctan2(y - placement.y, x - placement.x)))
