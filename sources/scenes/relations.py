"""Relations of an object to a room and to its neighbors that its placement does not store: computed from outlines.

They hold by the full threshold, as `docs/scenes.md` lists them. What an object stands on is stored instead
(`Placement.standing`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from ...shards.geometry import F64, wrap_degrees
from ..assets.asset import Asset
from .footprints import extent, footprint
from .room import WALLS, Room, WallName
from .spec import Placement

if TYPE_CHECKING:
    import shapely

AT_WALL: Final = 0.06
"""Largest distance between an object's back and a wall that it is against, meters."""
_PARALLEL: Final = 10.0
"""Largest angle between the two, degrees."""
_BETWEEN: Final = (0.25, 0.75)
"""Where an object between A and B is along the line from the center of A to that of B, as fractions of it."""


def at_walls(room: Room, asset: Asset, place: Placement) -> tuple[WallName, ...]:
    """The walls that an object on the floor is against; two if it is in a corner.

    Its front, if it is known, faces away from one of them. Openings that it would cover are no wall.
    """
    near: list[WallName] = [wall for wall in WALLS if wall_gap(room, asset, place, wall) <= AT_WALL]
    if not any(backs(asset, place, wall) for wall in near) or not all(parallel(place, wall) for wall in near):
        return ()
    return tuple(wall for wall in near if not covers_opening(room, asset, place, wall))


def wall_gap(room: Room, asset: Asset, place: Placement, wall: WallName) -> float:
    """Distance between an object and a wall, meters; negative if it reaches into the wall."""
    normal = np.array(WALLS[wall], np.float64)
    return room.size[0 if WALLS[wall][0] else 1] / 2 - float((footprint(asset, place) @ normal).max())


def parallel(place: Placement, wall: WallName) -> bool:
    """Whether the sides of an object's box are parallel and square to a wall."""
    turn = (place.yaw_deg - wall_deg(wall)) % 90.0
    return min(turn, 90.0 - turn) <= _PARALLEL


def backs(asset: Asset, place: Placement, wall: WallName) -> bool:
    """Whether an object has its back to a wall; true if its front is not known."""
    if asset.front_deg is None:
        return True
    return abs(wrap_degrees(place.yaw_deg + asset.front_deg - wall_deg(wall) - 180.0)) <= _PARALLEL


def wall_deg(wall: WallName) -> float:
    """Direction of the outward normal of a wall, degrees about z from +x."""
    x, y = WALLS[wall]
    return float(np.rad2deg(np.arctan2(y, x)))


def covers_opening(room: Room, asset: Asset, place: Placement, wall: WallName) -> bool:
    """Whether a door, or a window that begins below the object's top, is behind the object."""
    along = along_wall(wall)
    low, high = extent(asset, place, along)
    middle = float(along @ (place.x, place.y))
    top = place.z + place.scale * asset.size_m[2]
    return any(
        one.wall == wall and one.bottom < top and one.span[0] < middle + high and middle + low < one.span[1]
        for one in room.openings
    )


def along_wall(wall: WallName) -> F64:
    """Direction (2,) to the right along a wall, as seen from inside."""
    x, y = WALLS[wall]
    return np.array([y, -x], np.float64)


def is_between(outlines: Mapping[int, "shapely.Polygon"], identity: int, one: int, other: int) -> bool:
    """Whether an object is between two others of its level.

    Its center is at 25 to 75 % of the line between their centers, at most half of its width across the line beside it,
    and no third object is in the corridor of its longer side between the two.

    Args:
        outlines: of all objects of the level, by id.
    """
    import shapely

    centers = {id: np.array(outlines[id].centroid.coords[0]) for id in (identity, one, other)}
    line = centers[other] - centers[one]
    span = float(np.linalg.norm(line))
    if span < 1e-9:
        return False
    along, across = line / span, np.array([-line[1], line[0]]) / span
    offset = centers[identity] - centers[one]
    corners = shapely.get_coordinates(outlines[identity])
    width = float(np.ptp(corners @ across))
    box = shapely.get_coordinates(shapely.minimum_rotated_rectangle(outlines[identity]))
    longer = float(np.linalg.norm(np.diff(box, axis=0), axis=1).max())
    low, high = _BETWEEN
    if not low <= float(offset @ along) / span <= high or abs(float(offset @ across)) > width / 2:
        return False
    corridor = shapely.LineString([centers[one], centers[other]]).buffer(longer / 2, cap_style="flat")
    return not any(corridor.intersects(outline) for id, outline in outlines.items() if id not in (identity, one, other))
