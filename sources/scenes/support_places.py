"""Places on, in and under other objects, and the stack: what stands there keeps the rules of `standing`.

Each function puts one object there and returns its id, or 0 if it does not fit.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ...shards.schema import SupportKind
from ..assets.asset import Asset
from ..assets.carriers import role
from ..assets.supports import Side, Support
from .arrangement import Arrangement
from .floor_places import SPOTS
from .footprints import extent, footprint, pose_of
from .spec import Placement
from .standing import ABOVE, APART, region, rested, standing_on
from .template import Surface

if TYPE_CHECKING:
    import shapely

_TRIES: Final = 10
"""Places on a support that are tried for one object."""
_HIGHEST: Final = 1.35
"""Meters: a surface above the eyes is not seen."""
_SQUARE: Final = 0.7
"""Fraction of the things without a front on a surface that stand square to it."""
_CROWDED: Final = 2.2
"""Largest side of a thing on a surface, in radii of the surface."""
_FROM_END: Final = 0.2
"""Share of a surface at each of its ends that the first thing of a near view keeps off."""
_CHOICES: Final = 3
"""Free spots among which a thing is put where it hides least."""
_TALL: Final = 0.16
"""Meters: taller things stand behind lower ones."""
_ROW_GAP: Final = (0.015, 0.06)
_SIDES: Final[dict[Side, tuple[float, float]]] = {"+x": (1, 0), "-x": (-1, 0), "+y": (0, 1), "-y": (0, -1)}
_AGAINST: Final = -0.3
"""Least cosine between the direction in which a shelf is open and that to the camera."""


def on(work: Arrangement, asset: Asset, others: Sequence[int], surface: Surface | None) -> int:
    """On one of some objects, away from what stands there already."""
    usable = [
        (other, index)
        for other in others
        for index, one in enumerate(work.found.supports.get(other, ()))
        if may_hold(work, other, one, surface) and max(asset.size_m[:2]) <= _CROWDED * one.radius
    ]
    if not usable:
        return 0
    areas = np.array([work.found.supports[other][index].shape().area for other, index in usable])
    other, index = usable[int(work.rng.choice(len(usable), p=areas / areas.sum()))]
    return _somewhere(work, asset, other, index)


def inside(work: Arrangement, asset: Asset, others: Sequence[int]) -> int:
    """In one of some containers."""
    return _first(work, asset, others, "inside")


def under(work: Arrangement, asset: Asset, others: Sequence[int]) -> int:
    """On the floor under one of some objects."""
    return _first(work, asset, others, "under")


def stacked(work: Arrangement, asset: Asset, below: int) -> int:
    """On the top of the object `below`, nearly square to it."""
    base = work.found.placements[below]
    tops = [index for index, one in enumerate(work.found.supports.get(below, ())) if one.kind == "top"]
    if not tops:
        return 0
    index = max(tops, key=lambda index: work.found.supports[below][index].z)
    center = region(work.found.supports[below][index], base).centroid
    area = _Area(work, below, index)
    for turn in range(SPOTS):
        wide = 1.0 - turn / SPOTS  # a book that hardly fits must lie nearly straight
        yaw = base.yaw_deg + float(work.rng.normal(0, 9.0 * wide))
        x, y = np.array([center.x, center.y]) + work.rng.normal(0, 0.012 * wide, 2)
        if place := area.place(asset, x, y, yaw):
            return work.add(asset, place)
    return 0


def next_on_support(work: Arrangement, asset: Asset, other: int, side: float) -> int:
    """At one side of an object that stands on a support, on that support and in line with it.

    Args:
        side: 1 is to the right as seen from the front of what carries both, -1 to the left.
    """
    base = work.found.placements[other]
    assert base.standing is not None
    front, _ = work.facing(base.standing.object)
    front = front if front @ work.away < 0.5 else -front
    direction = side * np.array([-front[1], front[0]])
    yaw = base.yaw_deg + work.front(work.found.assets[other]) - work.front(asset)
    own = Placement(0.0, 0.0, 0.0, yaw)
    reach = extent(work.found.assets[other], base, direction)[1] - extent(asset, own, direction)[0]
    area = _Area(work, base.standing.object, base.standing.support)
    for _ in range(4):
        x, y = np.array([base.x, base.y]) + direction * (reach + float(work.rng.uniform(*_ROW_GAP)))
        if place := area.place(asset, x, y, yaw + float(work.rng.normal(0, 3.0))):
            return work.add(asset, place)
    return 0


def may_hold(work: Arrangement, other: int, support: Support, surface: Surface | None) -> bool:
    """Whether things may stand on a support of an object: its kind is the wanted one, it is not above the eyes, and it
    is open to another side than a wall.

    Args:
        surface: the wanted kind; None: any.
    """
    kind = _surface(work.found.assets[other], support)
    base = work.found.placements[other]
    if kind is None or (surface is not None and surface != kind) or base.z + support.z > _HIGHEST:
        return False
    if support.kind != "shelf":
        return True
    turn = pose_of(base)[:2, :2]
    return any(-(turn @ np.array(_SIDES[side])) @ work.away > _AGAINST for side in support.open_sides)


def _surface(carrier: Asset, support: Support) -> Surface | None:
    """Which surface of its carrier a support is; the flat seat of a chair is as `soft` as a cushion."""
    if support.kind == "top":
        return "soft" if role(carrier.category) == "seat" else "top"
    return "soft" if support.kind == "soft" else "shelf" if support.kind == "shelf" else None


def _first(work: Arrangement, asset: Asset, others: Sequence[int], kind: SupportKind) -> int:
    """On the first support of a kind that has room, in random order."""
    regions = [
        (other, index)
        for other in others
        for index, one in enumerate(work.found.supports.get(other, ()))
        if one.kind == kind
    ]
    for number in work.rng.permutation(len(regions)).tolist():
        if found := _somewhere(work, asset, *regions[number]):
            return found
    return 0


class _Area:
    """A support with what stands on it: the rules of `standing.standing_fault`, checked for many spots."""

    def __init__(self, work: Arrangement, other: int, index: int) -> None:
        import shapely

        self._found, self._base = work.found, work.found.placements[other]
        self._support = work.found.supports[other][index]
        self._standing = standing_on(other, index, work.found.supports)
        self._region = region(self._support, self._base)
        self.bounds: tuple[float, float, float, float] = self._region.bounds
        shapely.prepare(self._region)
        places = work.found.placements.items()
        here = [(id, place) for id, place in places if place.standing == self._standing]
        self._others = [self._outline(id, place) for id, place in here]
        low, high = np.array(self.bounds[:2]), np.array(self.bounds[2:])
        if here:
            first = np.array([here[0][1].x, here[0][1].y])
            low, high = np.maximum(low, first - work.spread), np.minimum(high, first + work.spread)
        elif np.isfinite(work.spread):
            # The others will be around the first one, so it is not at an end.
            low, high = low + _FROM_END * (high - low), high - _FROM_END * (high - low)
        self.bounds = (*low.tolist(), *high.tolist())
        if self._support.kind == "under":
            # Chairs that are pushed under the table, but not the table.
            floor = [self._outline(id, place) for id, place in places if place.standing is None and id != other]
            self._others += [outline for outline in floor if outline.intersects(self._region)]
        self._clearance = self._base.scale * self._support.clearance - ABOVE

    def place(self, asset: Asset, x: float, y: float, yaw: float) -> Placement | None:
        """The placement at (x, y) on the support; None if the object cannot stand there."""
        import shapely

        at = (round(float(x), 6), round(float(y), 6), self._base.z, round(float(yaw) % 360.0, 6))
        spot = Placement(*at, standing=self._standing)
        outline = shapely.Polygon(footprint(asset, spot))
        if asset.size_m[2] > self._clearance or not self._region.contains(outline):
            return None
        if self._others and shapely.distance(outline, self._others).min() < APART:
            return None
        return rested(asset, spot, self._base, self._support)

    def _outline(self, identity: int, place: Placement) -> "shapely.Polygon":
        import shapely

        return shapely.Polygon(footprint(self._found.assets[identity], place))


def _somewhere(work: Arrangement, asset: Asset, other: int, index: int) -> int:
    """On support `index` of an object. Of some free spots, the farthest from the camera for a tall thing, else the
    nearest."""
    area = _Area(work, other, index)
    choices = 1 if work.found.supports[other][index].kind in ("inside", "under") else _CHOICES
    best: tuple[float, Placement] | None = None
    for _ in range(_TRIES):
        yaw = _yaw(work, asset, other)
        own = footprint(asset, Placement(0.0, 0.0, 0.0, yaw))
        low, high = np.array(area.bounds[:2]) - own.min(axis=0), np.array(area.bounds[2:]) - own.max(axis=0)
        if (low > high).any():
            continue
        x, y = work.rng.uniform(low, high)
        place = area.place(asset, x, y, yaw)
        if place is None:
            continue
        depth = float(np.array([x, y]) @ work.away)
        score = depth if asset.size_m[2] > _TALL else -depth
        if best is None or score > best[0]:
            best = score, place
        choices -= 1
        if not choices:
            break
    return work.add(asset, best[1]) if best else 0


def _yaw(work: Arrangement, asset: Asset, other: int) -> float:
    """A thing with a front mostly faces the way its carrier faces, or the camera; others mostly stand square to it."""
    base = work.found.placements[other]
    known = work.known_front(asset)
    if known is not None and work.rng.random() < 0.85:
        carrier = work.found.assets[other]
        angle = float(np.rad2deg(np.arctan2(-work.away[1], -work.away[0])))
        if work.known_front(carrier) is not None and work.facing(other)[0] @ work.away < 0.5:
            angle = work.facing(other)[1]
        return angle - known + float(work.rng.normal(0, 15.0))
    if work.rng.random() < _SQUARE:
        return base.yaw_deg + 90.0 * int(work.rng.integers(4)) + float(work.rng.normal(0, 8.0))
    return float(work.rng.uniform(0.0, 360.0))
