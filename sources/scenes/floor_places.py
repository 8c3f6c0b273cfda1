"""Places on the floor of a room: against a wall, in a corner, beside, in front of and around other furniture.

Each function puts one object there and returns its id, or 0 if it does not fit.
"""

from typing import Final

import numpy as np

from ...shards.geometry import F64
from ..assets.asset import Asset
from ..assets.carriers import role
from ..assets.supports import Support
from .arrangement import APART, Arrangement
from .footprints import extent, footprint
from .room import WallName
from .spec import Placement
from .standing import region
from .template import Item

SPOTS: Final = 16
"""Places that are tried for one object."""
_WALL_GAP: Final = (0.01, 0.04)
_TUCKED: Final = (0.05, 0.5)
"""Fraction of its depth by which a chair is pushed under a table."""
_KNEES: Final = (0.12, 0.42)
"""Height of the top of a table or desk above a seat that stands at it, meters."""
_LARGE: Final = 0.75
"""Meters: an object that is longer stands parallel to a wall in a corner; a smaller one may face out of it."""


def against_wall(work: Arrangement, asset: Asset, behind: bool = False) -> int:
    """Back to a wall, or to the edge of a garden. The first object stands near the middle of the back wall.

    Args:
        behind: whether only the rear half counts, where it hides nothing.
    """
    first = not work.found.assets
    for _ in range(SPOTS):
        wall = work.walls[0 if first else int(work.rng.choice(3, p=(0.5, 0.25, 0.25)))]
        normal, along, distance = work.wall(wall)
        yaw = _back_to(work, asset, normal) + float(work.rng.normal(0, 1.0))
        reach = extent(asset, Placement(0.0, 0.0, 0.0, yaw), normal)[1]
        low, high = extent(asset, Placement(0.0, 0.0, 0.0, yaw), along)
        half = work.room.half(wall)
        if high - low > 2 * half - 0.1:
            return 0
        middle, room = (high + low) / 2, half - (high - low) / 2 - 0.03
        offset = float(work.rng.uniform(-1.0, 1.0)) * (0.25 if first else 1.0) * room
        if work.before_window(asset, wall, (offset - (high - low) / 2, offset + (high - low) / 2)):
            continue
        spot = normal * (distance - reach - float(work.rng.uniform(*_WALL_GAP))) + along * (offset - middle)
        if behind and spot @ work.away < 0:
            continue
        if found := work.add_if_free(asset, spot, yaw):
            return found
    return 0


def in_corner(work: Arrangement, asset: Asset, other: int) -> int:
    """In a corner, mostly one at the back. A large object has its back to a wall; others face `other`, or out of it."""
    back, *sides = work.walls
    pairs: list[tuple[WallName, WallName]] = [(back, sides[0]), (back, sides[1])]
    for turn in range(SPOTS):
        one, two = pairs[int(work.rng.integers(2))]
        normals = [work.wall(name)[0] for name in (one, two)]
        if max(asset.size_m[:2]) > _LARGE:
            yaw = _back_to(work, asset, normals[turn % 2])
        else:
            target = np.zeros(2)
            if other:
                base = work.found.placements[other]
                target = np.array([base.x, base.y])
            corner = sum((work.wall(name)[2] * normal for name, normal in zip((one, two), normals, strict=True)))
            yaw = float(np.rad2deg(np.arctan2(*(target - corner)[::-1]))) - work.front(asset)
        yaw += float(work.rng.normal(0, 2.0))
        spot, spans = np.zeros(2), list[tuple[WallName, tuple[float, float]]]()
        for name, normal in zip((one, two), normals, strict=True):
            reach = extent(asset, Placement(0.0, 0.0, 0.0, yaw), normal)[1]
            spot = spot + normal * (work.wall(name)[2] - reach - float(work.rng.uniform(0.02, 0.08)))
        for name in (one, two):
            along = work.wall(name)[1]
            low, high = extent(asset, Placement(0.0, 0.0, 0.0, yaw), along)
            spans.append((name, (float(spot @ along) + low, float(spot @ along) + high)))
        if any(work.before_window(asset, name, span) for name, span in spans):
            continue
        if found := work.add_if_free(asset, spot, yaw):
            return found
    return 0


def on_floor(work: Arrangement, asset: Asset, share: float) -> int:
    """Around the middle of the room; share: of its width and depth."""
    square = 90.0 * int(work.rng.integers(4))
    for _ in range(SPOTS):
        spot = work.rng.uniform(-share, share, 2) * work.room.size[:2]
        if found := work.add_if_free(asset, spot, square + float(work.rng.normal(0, 2.0))):
            return found
    return 0


def in_front(work: Arrangement, asset: Asset, other: int, item: Item) -> int:
    """In front of another object, facing it or the same way."""
    front, angle = work.facing(other)
    base, across = work.found.placements[other], np.array([-front[1], front[0]])
    if item.facing and not _suits_table(work, asset, other):
        return 0
    for _ in range(SPOTS):
        turn = (180.0 if item.facing else 0.0) + float(work.rng.normal(0, 5.0 if item.facing else 2.0))
        yaw = angle + turn - work.front(asset)
        near = extent(work.found.assets[other], base, front)[1]
        mine = extent(asset, Placement(0.0, 0.0, 0.0, yaw), front)[0]
        reach = near - mine + float(work.rng.uniform(*item.gap))
        spot = np.array([base.x, base.y]) + front * reach + across * float(work.rng.normal(0.0, 0.12))
        if found := work.add_if_free(asset, spot, yaw):
            return found
    return 0


def beside(work: Arrangement, asset: Asset, other: int, item: Item) -> int:
    """At the left or right side, backs in one line."""
    side = 1.0 if work.rng.random() < 0.5 else -1.0
    for turn in range(SPOTS):
        if found := at_side(work, asset, other, item, side if turn % 2 == 0 else -side):
            return found
    return 0


def at_side(work: Arrangement, asset: Asset, other: int, item: Item, side: float) -> int:
    """At one side of another object on the floor, backs in one line; side: 1 is to the left of its front, -1 right."""
    front, angle = work.facing(other)
    base, direction = work.found.placements[other], side * np.array([-front[1], front[0]])
    yaw = angle - work.front(asset) + float(work.rng.normal(0, 1.0))
    own = Placement(0.0, 0.0, 0.0, yaw)
    gap = max(float(work.rng.uniform(*item.gap)), APART)
    reach = extent(work.found.assets[other], base, direction)[1] - extent(asset, own, direction)[0]
    back = extent(work.found.assets[other], base, front)[0] - extent(asset, own, front)[0]
    spot = np.array([base.x, base.y]) + direction * (reach + gap) + front * (back + 0.01)
    for wall in work.walls:
        along = work.wall(wall)[1]
        low, high = extent(asset, own, along)
        near_wall = float(spot @ work.wall(wall)[0]) > work.wall(wall)[2] - max(asset.size_m[:2])
        if near_wall and work.before_window(asset, wall, (float(spot @ along) + low, float(spot @ along) + high)):
            return 0
    return work.add_if_free(asset, spot, yaw)


def at_table(work: Arrangement, asset: Asset, table: int, angle: float) -> int:
    """At the side of a table in the direction `angle` (degrees, world), facing it, partly below it where there is
    room."""
    if not _suits_table(work, asset, table):
        return 0
    base = work.found.placements[table]
    outward = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    across = np.array([-outward[1], outward[0]])
    under = next((one for one in work.supports_of(work.found.assets[table]) if one.kind == "under"), None)
    seats = [one.z for one in work.supports_of(asset) if one.kind in ("top", "soft")]
    below = under is not None and bool(seats) and max(seats) + 0.05 < under.clearance
    depth = max(asset.size_m[:2])
    for _ in range(SPOTS):
        yaw = angle + 180.0 - work.front(asset) + float(work.rng.normal(0, 6.0))
        reach = extent(work.found.assets[table], base, outward)[1]
        mine = extent(asset, Placement(0.0, 0.0, 0.0, yaw), outward)[0]
        tucked = below and work.rng.random() < 0.6
        gap = -float(work.rng.uniform(*_TUCKED)) * depth if tucked else float(work.rng.uniform(0.05, 0.25))
        aside = float(work.rng.uniform(-0.12, 0.12))
        spot = np.array([base.x, base.y]) + outward * (reach - mine + gap) + across * aside
        if tucked and under is not None and not _tuckable(work, asset, spot, yaw, table, under, -gap):
            continue
        if found := work.add_if_free(asset, spot, yaw, skip=(table,) if tucked else ()):
            return found
    return 0


def _suits_table(work: Arrangement, asset: Asset, table: int) -> bool:
    """Whether the height of a seat fits that of a table (`_KNEES`). True if either is something else."""
    seats = [one.z for one in work.supports_of(asset) if one.kind in ("top", "soft")]
    carrier = work.found.assets[table]
    tops = [one.z for one in work.supports_of(carrier) if one.kind == "top"]
    if role(asset.category) != "seat" or role(carrier.category) != "surface" or not seats or not tops:
        return True
    return _KNEES[0] <= max(tops) - max(seats) <= _KNEES[1]


def _tuckable(work: Arrangement, asset: Asset, spot: F64, yaw: float, table: int, under: Support, depth: float) -> bool:
    """Whether the part of a chair below a table, `depth` meters, has room: its back stays outside."""
    import shapely

    if asset.size_m[2] > under.clearance and depth > 0.5 * max(asset.size_m[:2]):
        return False
    own = shapely.Polygon(footprint(asset, Placement(float(spot[0]), float(spot[1]), 0.0, yaw)))
    return region(under, work.found.placements[table]).buffer(0.03).contains(own.intersection(work.outline(table)))


def _back_to(work: Arrangement, asset: Asset, normal: F64) -> float:
    """The yaw, degrees, at which the back of an object faces a wall with this outward normal (2,)."""
    return float(np.rad2deg(np.arctan2(-normal[1], -normal[0]))) - work.front(asset)
