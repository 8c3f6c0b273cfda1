"""Objects that stand on supports of other objects: where they may stand, and what they stand on.

Invariant: the base of an object that stands on a support lies inside the polygon of the support, rests at its
`rest_height`, is lower than its clearance, and keeps `APART` from what else stands on it. Which object stands on which
support is stored (`Placement.standing`) and never derived from boxes.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ...shards.geometry import F64
from ..assets.asset import Asset
from ..assets.supports import Support, rest_height
from .footprints import footprint, pose_of
from .spec import Placement, Standing

if TYPE_CHECKING:
    import shapely

APART: Final = 0.01
"""Meters between two objects on one support."""
ABOVE: Final = 0.02
"""Meters of free height above an object on a covered support."""
_BOARD: Final = 0.05
"""Meters: shelves of one object that differ less in height are parts of one board."""
Supports = Mapping[int, tuple[Support, ...]]
"""Supports of each object that has any, by id."""
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


def carrying(placements: Mapping[int, Placement]) -> frozenset[int]:
    """Ids of the objects on, in or under which some present object stands, or which hold it."""
    return frozenset(id for place in placements.values() if place.present for id in _holders(place))


def _holders(place: Placement) -> tuple[int, ...]:
    """Ids of the objects without which an object would not be where it is."""
    held_by = place.settled.held_by if place.settled else ()
    return (place.standing.object, *held_by) if place.standing else held_by


def renumbered(place: Placement, new: Mapping[int, int]) -> Placement:
    """A placement after the objects have got new ids."""
    if place.standing:
        place = replace(place, standing=replace(place.standing, object=new[place.standing.object]))
    if place.settled:
        held_by = tuple(sorted(new[id] for id in place.settled.held_by))
        place = replace(place, settled=replace(place.settled, held_by=held_by))
    return place


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


def standing_fault(
    identity: int, assets: Assets, placements: Mapping[int, Placement], supports: Supports
) -> str | None:
    """Why an object cannot stand where its placement puts it on a support; None if it can, or stands on the floor.

    A settled object is where physics has left it, and nowhere else.
    """
    import shapely

    place = placements[identity]
    if place.standing is None or place.settled:
        return None
    base = placements[place.standing.object]
    support = supports[place.standing.object][place.standing.support]
    outline = shapely.Polygon(footprint(assets[identity], place))
    if not region(support, base).contains(outline):
        return "beyond_support"
    if place.scale * assets[identity].size_m[2] + ABOVE > base.scale * support.clearance:
        return "too_high_for_support"
    others = [
        shapely.Polygon(footprint(assets[id], other))
        for id, other in placements.items()
        if id != identity and other.present and other.standing == place.standing
    ]
    return "collides" if others and shapely.distance(outline, others).min() < APART else None
