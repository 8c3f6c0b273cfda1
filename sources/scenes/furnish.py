"""Furnishes a room from a template: what stands where, on the floor and on supports.

Invariant: outlines of objects on the floor are disjoint, except for chairs that are pushed under a table where its
supports say that there is room. They lie inside the room, clear of doors, and nothing high stands before a window. What
stands on a support keeps the rules of `standing`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from ...shards.geometry import F64
from ..assets.asset import Asset
from ..assets.carriers import AssetSupports
from ..assets.carriers import role as role_of
from ..assets.supports import Support
from .footprints import extent, footprint, heights
from .room import WALLS, Opening, Room, WallName
from .sites import MeshOf, Sites
from .spec import Placement
from .standing import region, rested, standing_fault, standing_on
from .template import Item, Role, Template

if TYPE_CHECKING:
    import shapely

_SPOTS: Final = 16
"""Places that are tried for one object."""
_MODELS: Final = 5
"""Models that are tried for one item."""
_APART: Final = 0.04
"""Meters between two objects on the floor."""
_WALL_GAP: Final = (0.01, 0.04)
_DOOR_SWING: Final = 0.8
"""Meters in front of a door that stay free."""
_SURFACE_SHARE: Final = 0.85
"""Only surfaces at least at this fraction of a model's height are used: what stands on them is seen from above, and is
not inside its box."""
_HIGHEST: Final = 1.35
"""Meters: a surface above the eyes is not seen."""
_SQUARE: Final = 0.7
"""Fraction of the things on a surface that stand square to it."""
_TUCKED: Final = (0.05, 0.5)
"""Fraction of its depth by which a chair is pushed under a table."""
_CROWDED: Final = 2.2
"""Largest side of a thing on a surface, in radii of the surface."""


class Place(Protocol):
    """What is furnished: a room, or a part of a garden. Its middle is the origin; see `room.Room`."""

    @property
    def size(self) -> tuple[float, float, float]: ...
    @property
    def openings(self) -> tuple[Opening, ...]: ...
    def half(self, wall: WallName) -> float: ...
    def windows(self) -> tuple[Opening, ...]: ...


@dataclass
class Furnished:
    """What a template put into a room."""

    assets: dict[int, Asset] = field(default_factory=dict[int, Asset])
    placements: dict[int, Placement] = field(default_factory=dict[int, Placement])
    supports: dict[int, tuple[Support, ...]] = field(default_factory=dict[int, tuple[Support, ...]])
    """Of each object that has any."""
    focus: int = 0
    """Id of the object that the camera looks at."""


def furnish(
    rng: np.random.Generator,
    room: Place,
    back: WallName,
    template: Template,
    roles: Mapping[str, Role],
    assets: Sequence[Asset],
    supports_of: Callable[[str], AssetSupports],
    mesh_of: MeshOf | None = None,
) -> Furnished | str:
    """Furnish a room, or say why it cannot be done.

    Args:
        back: the wall that the camera looks at. Nothing is put against the opposite one.
        assets: models to draw from; each is used once, and so is each `Asset.model`.
        supports_of: supports of a model, by uid.
        mesh_of: for physics; None leaves out all items whose pose is not `upright`.
    """
    work = _Furnisher(rng, room, back, roles, assets, supports_of, mesh_of)
    named: dict[str, int] = {}
    for item in template.items:
        if item.pose != "upright" and mesh_of is None:
            continue
        wanted = rng.random() < item.chance
        count = int(rng.integers(item.count[0], item.count[1] + 1))
        if item.of and item.of not in named:
            continue
        placed = work.place(item, count, named.get(item.of, 0)) if wanted or item.needed else []
        if item.needed and not placed:
            return f"no_{item.role.replace(' ', '_')}"
        if placed and item.name:
            named[item.name] = placed[0]
    work.found.focus = named[template.focus]
    return work.found


class _Furnisher:
    def __init__(
        self,
        rng: np.random.Generator,
        room: Place,
        back: WallName,
        roles: Mapping[str, Role],
        assets: Sequence[Asset],
        supports_of: Callable[[str], AssetSupports],
        mesh_of: MeshOf | None,
    ) -> None:
        import shapely

        self.found = Furnished()
        self._rng, self._room, self._roles, self._assets, self._supports_of = rng, room, roles, assets, supports_of
        opposite = ("-" if back[0] == "+" else "+") + back[1]
        self._walls: list[WallName] = [back, *(name for name in WALLS if name not in (back, opposite))]
        width, depth, _ = room.size
        self._inside = shapely.box(-width / 2, -depth / 2, width / 2, depth / 2)
        self._doors = [self._strip(o.wall, o.span, _DOOR_SWING) for o in room.openings if o.kind == "door"]
        self._used: set[str] = set()
        self._floor: dict[int, shapely.Polygon] = {}
        self._categories: dict[str, int] = {}
        self._sites = None
        if mesh_of is not None:
            walls = [self._wall(name) for name in WALLS] if isinstance(room, Room) else []
            self._sites = Sites(rng, self.found.assets, self.found.placements, walls, mesh_of)

    def place(self, item: Item, count: int, other: int) -> list[int]:
        """Place up to `count` objects of an item; `other` is the object that it refers to, 0 if there is none."""
        if item.place == "around":
            return self._around(item, count, other)
        if item.pose != "upright":
            return self._loose(item, count, other)
        placed: list[int] = []
        for _ in range(count):
            for asset in self._models(item, placed, other):
                found = self._put(item, asset, other)
                if found:
                    placed.append(found)
                    break
        return placed

    def _models(self, item: Item, placed: Sequence[int], other: int) -> list[Asset]:
        """Models to try, most wanted first."""
        role = self._roles[item.role]
        fits = [
            asset
            for asset in self._assets
            if (asset.model or asset.uid) not in self._used and role.fits(asset.category, asset.size_m)
        ]
        if role.carries:
            fits = [asset for asset in fits if any(_is_high(asset, one) for one in self._surfaces(asset))]
        if item.same and placed:
            fits = [asset for asset in fits if asset.category == self.found.assets[placed[0]].category]
        if not fits:
            return []
        # Categories are drawn evenly, new ones first: a room is not full of lamps because the models are.
        weights = np.array([0.25 ** self._categories.get(asset.category, 0) for asset in fits])
        sizes: dict[str, int] = {}
        for asset in fits:
            sizes[asset.category] = sizes.get(asset.category, 0) + 1
        weights /= [sizes[asset.category] for asset in fits]
        chosen = self._rng.choice(len(fits), min(_MODELS, len(fits)), replace=False, p=weights / weights.sum())
        return [fits[index] for index in chosen.tolist()]

    def _put(self, item: Item, asset: Asset, other: int) -> int:
        match item.place:
            case "against wall":
                return self._against_wall(asset)
            case "in the middle":
                return self._on_floor(asset, share=0.12)
            case "anywhere":
                return self._on_floor(asset, share=0.45)
            case "in front":
                return self._in_front(asset, other, item)
            case "beside":
                return self._beside(asset, other, item)
            case "on":
                return self._on(asset, other)
            case "around":
                raise AssertionError("placed together")

    def _loose(self, item: Item, count: int, other: int) -> list[int]:
        """Objects that lie, lean or are in a heap; none without physics. One that does not come to rest is left out."""
        if self._sites is None:
            return []
        models = {asset.model or asset.uid: asset for asset in self._models(item, [], other)}
        things = list(models.values())
        if item.same:
            things = [asset for asset in things if asset.category == things[0].category]
        groups = [[thing] for thing in things[:count]] if item.pose == "lying" else [things[:count]]
        placed: list[int] = []
        for group in groups:
            if group:
                found = self._settled(self._sites, item, group, other)
                placed += [self._add(group[number], place) for number, place in found.items()]
        return placed

    def _settled(self, sites: Sites, item: Item, things: Sequence[Asset], other: int) -> dict[int, Placement]:
        import shapely

        assert item.pose != "upright"
        if not other:
            share = 0.12 if item.place == "in the middle" else 0.45
            taken = shapely.union_all([outline.buffer(_APART) for outline in (*self._floor.values(), *self._doors)])
            return sites.on_floor(
                item.pose, things, share * np.array(self._room.size[:2]), self._inside.difference(taken)
            )
        base, supports = self.found.placements[other], self.found.supports.get(other, ())
        surfaces = self._surfaces(self.found.assets[other])
        usable = [(index, one) for index, one in enumerate(supports) if one in surfaces and base.z + one.z < _HIGHEST]
        # In a container there is one place.
        inside = [one for one in usable if one[1].kind == "inside"]
        usable = inside if item.pose == "heap" and inside else [one for one in usable if one[1].kind != "inside"]
        if not usable:
            return {}
        areas = np.array([one.shape().area for _, one in usable])
        index, support = usable[int(self._rng.choice(len(usable), p=areas / areas.sum()))]
        on = standing_on(other, index, self.found.supports)
        return sites.on(item.pose, things, on, support, region(support, base))

    def _add(self, asset: Asset, placement: Placement) -> int:
        import shapely

        identity = len(self.found.assets) + 1
        self.found.assets[identity] = asset
        self.found.placements[identity] = placement
        supports = self._supports_of(asset.uid).supports
        if supports and not placement.settled:
            self.found.supports[identity] = supports
        if placement.standing is None:
            self._floor[identity] = shapely.Polygon(footprint(asset, placement))
        self._used.add(asset.model or asset.uid)
        self._categories[asset.category] = self._categories.get(asset.category, 0) + 1
        return identity

    def _surfaces(self, asset: Asset) -> tuple[Support, ...]:
        seat = self._sites is not None and role_of(asset.category) == "seat"
        return tuple(
            one
            for one in self._supports_of(asset.uid).supports
            if _is_high(asset, one) or (seat and one.kind in ("top", "soft"))
        )

    def _front(self, asset: Asset) -> float:
        """Direction of the front, degrees, object frame. Where it is unknown, a long side."""
        if asset.front_deg is not None:
            return asset.front_deg
        found = self._supports_of(asset.uid).furniture_front_deg
        if found is not None:
            return found
        return 270.0 if asset.size_m[0] >= asset.size_m[1] else 0.0

    def _free(self, outline: "shapely.Polygon", skip: Sequence[int] = ()) -> bool:
        return (
            self._inside.contains(outline)
            and not any(door.intersects(outline) for door in self._doors)
            and not any(mine.distance(outline) < _APART for id, mine in self._floor.items() if id not in skip)
        )

    def _strip(self, wall: WallName, span: tuple[float, float], reach: float) -> "shapely.Polygon":
        """The floor in front of a part of a wall: a rectangle, `reach` meters deep."""
        import shapely

        normal, along, distance = self._wall(wall)
        near, far = (normal * (distance - depth) for depth in (0.0, reach))
        low, high = (along * end for end in span)
        corners = [near + low, near + high, far + high, far + low]
        return shapely.Polygon(corners)

    def _wall(self, wall: WallName) -> tuple[F64, F64, float]:
        """Outward normal (2,), direction to the right as seen from inside (2,), and distance from the middle."""
        normal = np.array(WALLS[wall], np.float64)
        return normal, np.array([normal[1], -normal[0]]), self._room.size[0 if WALLS[wall][0] else 1] / 2

    def _against_wall(self, asset: Asset) -> int:
        first = not self.found.assets
        for _ in range(_SPOTS):
            wall = self._walls[0 if first else int(self._rng.choice(3, p=(0.5, 0.25, 0.25)))]
            normal, along, distance = self._wall(wall)
            yaw = np.rad2deg(np.arctan2(-normal[1], -normal[0])) - self._front(asset) + float(self._rng.normal(0, 1.0))
            reach = extent(asset, Placement(0.0, 0.0, 0.0, yaw), normal)[1]
            low, high = extent(asset, Placement(0.0, 0.0, 0.0, yaw), along)
            half = self._room.half(wall)
            if high - low > 2 * half - 0.1:
                return 0
            spread = 0.25 if first else 1.0
            middle = (high + low) / 2
            room = half - (high - low) / 2 - 0.03
            offset = float(self._rng.uniform(-spread, spread)) * room
            spot = normal * (distance - reach - float(self._rng.uniform(*_WALL_GAP))) + along * (offset - middle)
            if self._before_window(asset, wall, offset, high - low):
                continue
            if found := self._try(asset, spot, yaw):
                return found
        return 0

    def _before_window(self, asset: Asset, wall: WallName, offset: float, width: float) -> bool:
        """Whether an object against a wall is higher than the sill of a window behind it."""
        return any(
            opening.wall == wall
            and abs(opening.along - offset) < (opening.width + width) / 2 + 0.05
            and asset.size_m[2] > opening.bottom
            for opening in self._room.windows()
        )

    def _on_floor(self, asset: Asset, share: float) -> int:
        """Around the middle of the room; share: of its width and depth."""
        square = 90.0 * int(self._rng.integers(4))
        for _ in range(_SPOTS):
            spot = self._rng.uniform(-share, share, 2) * self._room.size[:2]
            if found := self._try(asset, spot, square + float(self._rng.normal(0, 2.0))):
                return found
        return 0

    def _try(self, asset: Asset, spot: F64, yaw: float, skip: Sequence[int] = ()) -> int:
        import shapely

        placement = Placement(round(float(spot[0]), 6), round(float(spot[1]), 6), 0.0, round(float(yaw) % 360.0, 6))
        return self._add(asset, placement) if self._free(shapely.Polygon(footprint(asset, placement)), skip) else 0

    def _facing(self, other: int) -> tuple[F64, float]:
        """Direction (2,) and angle in degrees, world frame, in which an object faces."""
        angle = self.found.placements[other].yaw_deg + self._front(self.found.assets[other])
        return np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))]), angle

    def _in_front(self, asset: Asset, other: int, item: Item) -> int:
        front, angle = self._facing(other)
        base, across = self.found.placements[other], np.array([-front[1], front[0]])
        own = self._front(asset)
        for _ in range(_SPOTS):
            yaw = (
                angle + (180.0 if item.facing else 0.0) - own + float(self._rng.normal(0, 5.0 if item.facing else 2.0))
            )
            near = extent(self.found.assets[other], base, front)[1]
            mine = extent(asset, Placement(0.0, 0.0, 0.0, yaw), front)[0]
            aside = float(self._rng.normal(0.0, 0.12))
            spot = (
                np.array([base.x, base.y])
                + front * (near - mine + float(self._rng.uniform(*item.gap)))
                + across * aside
            )
            if found := self._try(asset, spot, yaw):
                return found
        return 0

    def _beside(self, asset: Asset, other: int, item: Item) -> int:
        """At the left or right side, backs in one line."""
        front, angle = self._facing(other)
        base, across = self.found.placements[other], np.array([-front[1], front[0]])
        side = 1.0 if self._rng.random() < 0.5 else -1.0
        for turn in range(_SPOTS):
            direction = across * (side if turn % 2 == 0 else -side)
            yaw = angle - self._front(asset) + float(self._rng.normal(0, 1.0))
            own = Placement(0.0, 0.0, 0.0, yaw)
            gap = float(self._rng.uniform(*item.gap))
            reach = extent(self.found.assets[other], base, direction)[1] - extent(asset, own, direction)[0]
            back = extent(self.found.assets[other], base, front)[0] - extent(asset, own, front)[0]
            spot = np.array([base.x, base.y]) + direction * (reach + max(gap, _APART)) + front * (back + 0.01)
            if found := self._try(asset, spot, yaw):
                return found
        return 0

    def _around(self, item: Item, count: int, other: int) -> list[int]:
        """At the sides of a table, facing it, partly below it where there is room."""
        table, base = self.found.assets[other], self.found.placements[other]
        under = next((one for one in self._supports_of(table.uid).supports if one.kind == "under"), None)
        placed: list[int] = []
        for side in self._rng.permutation(4).tolist():
            if len(placed) == count:
                break
            angle = base.yaw_deg + 90.0 * side
            outward = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
            for asset in self._models(item, placed, other):
                found = self._at_table(asset, other, outward, angle, under)
                if found:
                    placed.append(found)
                    break
        return placed

    def _at_table(self, asset: Asset, table: int, outward: F64, angle: float, under: Support | None) -> int:
        import shapely

        base = self.found.placements[table]
        across = np.array([-outward[1], outward[0]])
        depth = max(asset.size_m[:2])
        seats = [one.z for one in self._supports_of(asset.uid).supports if one.kind in ("top", "soft")]
        below = under is not None and bool(seats) and max(seats) + 0.05 < under.clearance
        for _ in range(_SPOTS):
            yaw = angle + 180.0 - self._front(asset) + float(self._rng.normal(0, 6.0))
            reach = extent(self.found.assets[table], base, outward)[1]
            mine = extent(asset, Placement(0.0, 0.0, 0.0, yaw), outward)[0]
            tucked = below and self._rng.random() < 0.6
            gap = -float(self._rng.uniform(*_TUCKED)) * depth if tucked else float(self._rng.uniform(0.05, 0.25))
            aside = float(self._rng.uniform(-0.12, 0.12))
            spot = np.array([base.x, base.y]) + outward * (reach - mine + gap) + across * aside
            if tucked and under is not None:
                # Only the part below the table may be there, and only up to the height of the seat.
                own = shapely.Polygon(footprint(asset, Placement(float(spot[0]), float(spot[1]), 0.0, yaw)))
                shared = own.intersection(self._floor[table])
                if asset.size_m[2] > under.clearance and -gap > 0.5 * depth:
                    continue
                if not region(under, base).buffer(0.03).contains(shared):
                    continue
            if found := self._try(asset, spot, yaw, skip=(table,) if tucked else ()):
                return found
        return 0

    def _on(self, asset: Asset, other: int) -> int:
        """On (or in) an object that is there, away from what stands there already."""
        base, supports = self.found.placements[other], self.found.supports.get(other, ())
        usable = [
            (index, one)
            for index, one in enumerate(supports)
            if base.z + one.z < _HIGHEST
            and max(asset.size_m[:2]) < _CROWDED * one.radius
            and _is_high(self.found.assets[other], one)
        ]
        if not usable:
            return 0
        areas = np.array([one.shape().area for _, one in usable])
        index, support = usable[int(self._rng.choice(len(usable), p=areas / areas.sum()))]
        low = region(support, base).bounds
        assets = self.found.assets | {0: asset}
        for _ in range(_SPOTS):
            square = self._rng.random() < _SQUARE
            yaw = base.yaw_deg + 90.0 * int(self._rng.integers(4)) + float(self._rng.normal(0, 8.0))
            yaw = yaw if square else float(self._rng.uniform(0.0, 360.0))
            x, y = self._rng.uniform(low[:2], low[2:])
            on = standing_on(other, index, self.found.supports)
            spot = Placement(round(float(x), 6), round(float(y), 6), base.z, round(yaw % 360.0, 6), standing=on)
            placements = self.found.placements | {0: spot}
            if standing_fault(0, assets, placements, self.found.supports) is None:
                return self._add(asset, rested(asset, spot, base, support))
        return 0


def _is_high(asset: Asset, support: Support) -> bool:
    """Whether things stand on a support upright: near the top of the model, or in a container."""
    return support.kind == "inside" or (support.kind == "top" and support.z >= _SURFACE_SHARE * asset.size_m[2])


def outlines(found: Furnished) -> list[tuple[F64, float]]:
    """Footprints and heights of what stands on the floor, as `room.dress_room` takes them."""
    return [
        (footprint(found.assets[id], place), heights(found.assets[id], place)[1])
        for id, place in found.placements.items()
        if place.standing is None
    ]
