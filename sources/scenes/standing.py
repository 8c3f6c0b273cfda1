"""Objects that stand on supports of other objects: where they may stand, what they stand on, and how they move along.

Invariant: the base of an object that stands on a support lies inside the polygon of the support, rests at its
`rest_height`, is lower than its clearance, and keeps `APART` from what else stands on it. At least half of the base of
an object under another one lies inside the polygon, and the rest of it reaches out from below. Which object stands on
which support is stored (`Placement.standing`) and never derived from boxes.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ...shards.geometry import F64
from ..assets.asset import Asset
from ..assets.supports import Support, rest_height
from .footprints import contact, footprint, pose_of
from .spec import Placement, Standing

if TYPE_CHECKING:
    import shapely

APART: Final = 0.01
"""Meters between two objects on one support."""
ABOVE: Final = 0.02
"""Meters of free height above an object on a covered support."""
LEAST_UNDER: Final = 0.5
"""Fraction of the base of an object under another one that lies inside the polygon of the support."""
_BESIDE_LEGS: Final = 0.015
"""Meters around the polygon of a support of kind `under` that are free of legs."""
_BOARD: Final = 0.05
"""Meters: shelves of one object that differ less in height are parts of one board."""
MODEL: Final = 0
"""In place of an object's id: the room model around a scene, or a pedestal, whose surfaces carry objects."""
GROUND: Final = Placement(0.0, 0.0, 0.0, 0.0)
"""Its placement: its surfaces are in the world frame."""
Supports = Mapping[int, tuple[Support, ...]]
"""Supports of each object that has any, and of the room model, by id."""
Assets = Mapping[int, Asset]


def riders(identity: int, placements: Mapping[int, Placement]) -> frozenset[int]:
    """Ids of what stands on an object or is held by it (`Settled.held_by`), on what does on these, and so on; only what
    is present."""
    found: set[int] = set()
    left = [identity]
    while left:
        below = left.pop()
        new = {id for id, place in placements.items() if place.present and below in _holders(place) and id not in found}
        found |= new
        left += new
    return frozenset(found)


def holders(ids: Collection[int], placements: Mapping[int, Placement]) -> frozenset[int]:
    """Ids of what objects stand on or are held by, of what these do, and so on."""
    found: set[int] = set()
    left = list(ids)
    while left:
        new = set(_holders(placements[left.pop()])) - found
        found |= new
        left += new
    return frozenset(found)


def below(identity: int, placements: Mapping[int, Placement]) -> tuple[int, ...]:
    """Ids of the object on, in or under which an object stands, of the one on which that stands, and so on."""
    found: list[int] = []
    place = placements[identity]
    while place.standing and place.standing.object != MODEL:
        found.append(place.standing.object)
        place = placements[place.standing.object]
    return tuple(found)


def carries_along(identity: int, placements: Mapping[int, Placement]) -> bool:
    """Whether all that stands on, in or under an object moves along with it: nothing is on the floor under it, and
    nothing leans, lies or is in a heap, because it might fall."""
    moving = {identity, *riders(identity, placements)}
    if any(placements[id].settled for id in moving):
        return False
    standings = (place.standing for place in placements.values() if place.present and place.standing)
    return not any(on.kind == "under" and on.object in moving for on in standings)


def carrying(placements: Mapping[int, Placement]) -> frozenset[int]:
    """Ids of the objects on, in or under which some present object stands, or which hold it."""
    return frozenset(id for place in placements.values() if place.present for id in _holders(place))


def _holders(place: Placement) -> tuple[int, ...]:
    """Ids of the objects without which an object would not be where it is."""
    held_by = place.settled.held_by if place.settled else ()
    on = place.standing
    return (on.object, *held_by) if on and on.object != MODEL else held_by


def renumbered(place: Placement, new: Mapping[int, int]) -> Placement:
    """A placement after the objects have got new ids."""
    if place.standing:
        place = replace(place, standing=replace(place.standing, object=new[place.standing.object]))
    if place.settled:
        held_by = tuple(sorted(new[id] for id in place.settled.held_by))
        place = replace(place, settled=replace(place.settled, held_by=held_by))
    return place


def base_of(on: Standing, placements: Mapping[int, Placement]) -> Placement:
    """The placement of what an object stands on, in or under."""
    return GROUND if on.object == MODEL else placements[on.object]


def standing_on(identity: int, index: int, supports: Supports) -> Standing:
    """The relation to support number `index` of an object. Shelves are numbered by height, from 1."""
    support = supports[identity][index]
    if support.kind != "shelf":
        return Standing(identity, index, support.kind)
    boards: list[float] = []
    for z in sorted(one.z for one in supports[identity] if one.kind == "shelf"):
        if not boards or z - boards[-1] > _BOARD:
            boards.append(z)
    number = sum(z <= support.z + 1e-9 for z in boards)
    return Standing(identity, index, "shelf", number, len(boards))


def region(support: Support, base: Placement) -> "shapely.Polygon":
    """The polygon of a support of the object placed at `base`, world meters."""
    import shapely

    pose = pose_of(base)
    return shapely.transform(support.shape(), lambda points: points @ pose[:2, :2].T + pose[:2, 3])


def rested(asset: Asset, placement: Placement, base: Placement, support: Support) -> Placement:
    """The placement at the height at which the object rests on a support of the object placed at `base`."""
    pose = pose_of(base)
    points: F64 = (footprint(asset, placement) - pose[:2, 3]) @ np.linalg.inv(pose[:2, :2]).T
    height = base.z + base.scale * rest_height(support, points)
    return replace(placement, z=round(height, 6))


def carried(
    identity: int, after: Placement, assets: Assets, placements: Mapping[int, Placement], supports: Supports
) -> dict[int, Placement]:
    """Placements, by id, of an object that goes to `after` and of all that stands on it.

    What stands on it moves along like a part of it. If the object changes its size, what stands on it keeps its own
    size, stays at the same point of the surface and rests there. Nothing may stand under it (`carries_along`).

    Args:
        placements: before the move.
    """
    before = placements[identity]
    moved = {identity: after}
    if after.scale == before.scale:
        along = sorted(riders(identity, placements))
        return moved | {rider: _moved_along(placements[rider], before, after) for rider in along}
    for rider, place in placements.items():
        if place.present and place.standing and place.standing.object == identity:
            stretched = _at_same_point(assets[rider], place, before, after)
            support = supports[identity][place.standing.support]
            target = rested(assets[rider], stretched, after, support)
            moved |= carried(rider, target, assets, placements, supports)
    return moved


def _moved_along(place: Placement, before: Placement, after: Placement) -> Placement:
    turn = after.yaw_deg - before.yaw_deg
    cos, sin = float(np.cos(np.deg2rad(turn))), float(np.sin(np.deg2rad(turn)))
    x, y = place.x - before.x, place.y - before.y
    return replace(
        place,
        x=round(after.x + cos * x - sin * y, 6),
        y=round(after.y + sin * x + cos * y, 6),
        z=round(place.z + after.z - before.z, 6),
        yaw_deg=round((place.yaw_deg + turn) % 360.0, 6),
    )


def _at_same_point(asset: Asset, place: Placement, before: Placement, after: Placement) -> Placement:
    """The placement whose contact center is at the same point of an object that changes its size."""
    turned = replace(place, yaw_deg=round((place.yaw_deg + after.yaw_deg - before.yaw_deg) % 360.0, 6))
    old, new = pose_of(before), pose_of(after)
    point = np.linalg.solve(old[:2, :2], contact(asset, place) - old[:2, 3])
    x, y = new[:2, :2] @ point + new[:2, 3] - contact(asset, replace(turned, x=0.0, y=0.0))
    return replace(turned, x=round(float(x), 6), y=round(float(y), 6))


def standing_fault(
    identity: int, assets: Assets, placements: Mapping[int, Placement], supports: Supports
) -> str | None:
    """Why an object cannot stand where its placement puts it on a support; None if it can, or stands on the floor.

    A settled object is where physics has left it, and nowhere else. The height of any other placement does not count:
    the object is taken to rest on the support.
    """
    import shapely

    place = placements[identity]
    if place.standing is None or place.settled:
        return None
    base = base_of(place.standing, placements)
    support = supports[place.standing.object][place.standing.support]
    outline, area = shapely.Polygon(footprint(assets[identity], place)), region(support, base)
    if support.kind == "under":
        if area.intersection(outline).area < LEAST_UNDER * outline.area:
            return "beyond_support"
        # What reaches out from below must do so between the legs.
        inside = outline.intersection(shapely.Polygon(footprint(assets[place.standing.object], base)))
        if not area.buffer(_BESIDE_LEGS).contains(inside):
            return "collides"
    elif not area.contains(outline):
        return "beyond_support"
    top = base.z + base.scale * support.z + place.scale * assets[identity].size_m[2] + ABOVE
    on: Standing | None = place.standing
    while on:
        base, support = base_of(on, placements), supports[on.object][on.support]
        if top > base.z + base.scale * (support.z + support.clearance):
            return "too_high_for_support"
        on = base.standing
    others = [
        shapely.Polygon(footprint(assets[id], other))
        for id, other in placements.items()
        if id != identity and other.present and other.standing == place.standing
    ]
    return "collides" if others and shapely.distance(outline, others).min() < APART else None
