"""Rotations of an object, and the eight canonical views.

A view is named by the side of the object that faces the viewer; left and right are the object's own. A viewer on the
object's right-hand side (the object looking along its front) sees the right side view. The viewer's direction is that
of the camera from the object's origin along the floor, so that names also hold for objects away from the middle of the
image.
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
"""Name in SpatialEdit's benchmark -> degrees from the object's front to the camera, counter-clockwise from above."""
ANGLES: tuple[float, ...] = tuple(float(angle) for angle in range(-165, 181, 15) if abs(angle) >= 30)
"""Rotations that are not to a canonical view, degrees about z, counter-clockwise seen from above."""
REGULAR = 3
MOST_COMMON = 0.9
"""For objects with a symmetry of at least `REGULAR`: largest overlap of the outline before and after a rotation."""
Outline = tuple[tuple[float, float], ...]
_STEPS = 12
"""Each step multiplies the error by the ratio of the origin's shift to the camera's distance."""
_VIEW_TOLERANCE = 1e-3
"""Tolerance of a canonical view, degrees: poses are rounded to six decimals."""
LEAST_TURN = 25.0
"""Least difference, degrees, between a rotation and any rotation that looks the same as none."""


def shows(asset: Asset, degrees: float) -> bool:
    """Whether a rotation is visible: it differs enough from all multiples of 360 degrees over the symmetry.

    For an object with three or more equal sides, a viewer sees only the rotation of its outline, not of a stool's legs.
    """
    return asset.rotatable and _differs(asset.symmetry, _outline(asset), degrees)


def free_turns(asset: Asset) -> tuple[float, ...]:
    """The visible rotations of `ANGLES`; empty for an object that cannot be rotated."""
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
    """Intersection over union of an outline and the same outline rotated about its centroid."""
    import shapely
    from shapely.affinity import rotate

    before = shapely.Polygon(outline)
    after = rotate(before, degrees, origin="centroid")
    return before.intersection(after).area / before.union(after).area


def bearing_of_camera(asset: Asset, placement: Placement, camera: CameraPose) -> float:
    """Degrees from the object's front to the camera, counter-clockwise from above, in (-180, 180].

    Raises ValueError if the object's front is not known.
    """
    if asset.front_deg is None:
        raise ValueError(f"the front of asset {asset.uid} is not known")
    return wrap_degrees(_towards_camera(placement, camera) - placement.yaw_deg - asset.front_deg)


def canonical_view(asset: Asset, placement: Placement, camera: CameraPose) -> str:
    """The canonical view of an object that a camera sees; empty if none, or if the front is not known."""
    if asset.front_deg is None:
        return ""
    bearing = bearing_of_camera(asset, placement, camera)
    return next((view for view, deg in VIEWS.items() if abs(wrap_degrees(bearing - deg)) < _VIEW_TOLERANCE), "")


def turn_to(view: str, asset: Asset, placement: Placement, camera: CameraPose) -> float:
    """The rotation (degrees, in (-180, 180]) after which the camera sees the canonical view named `view`.

    Found by iteration, because a rotation may move the object's origin, and with it the direction of the camera.
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
