"""A room or a part of a garden while it is furnished: what stands in it, and where there is free floor.

Invariant: outlines of objects on the floor are disjoint, except for what is partly or wholly under a table where its
supports say that there is room. They lie inside the room and clear of doors.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from ...shards.geometry import F64
from ..assets.asset import Asset
from ..assets.carriers import AssetSupports
from ..assets.supports import Support
from .footprints import footprint, heights
from .room import WALLS, Opening, WallName
from .spec import Placement

if TYPE_CHECKING:
    import shapely
    from shapely.geometry.base import BaseGeometry

APART: Final = 0.04
"""Meters between two objects on the floor."""
_DOOR_SWING: Final = 0.8
"""Meters in front of a door that stay free."""
_BEFORE_WINDOW: Final = 0.5
"""Meters in front of a window: what is high there hides it."""


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
    """Of each object that has any, all supports of its model: `Placement.standing` counts them."""
    focus: int = 0
    """Id of the object that the camera looks at."""
    surface: int = 0
    """Id of the object on which a near view looks."""


class Arrangement:
    """A room and what stands in it so far."""

    def __init__(
        self,
        rng: np.random.Generator,
        room: Place,
        back: WallName,
        supports_of: Callable[[str], AssetSupports],
        spread: float = np.inf,
    ) -> None:
        import shapely

        self.rng, self.room, self.back = rng, room, back
        self.found = Furnished()
        self.spread = spread
        """Meters along each axis between the first thing on a surface and the others."""
        self._supports_of = supports_of
        self.away = np.array(WALLS[back], np.float64)
        """Direction (2,) in which the camera looks, roughly."""
        opposite = ("-" if back[0] == "+" else "+") + back[1]
        self.walls: list[WallName] = [back, *(name for name in WALLS if name not in (back, opposite))]
        """Walls that furniture may stand against, the one behind everything first."""
        width, depth, _ = room.size
        self._inside = shapely.box(-width / 2, -depth / 2, width / 2, depth / 2)
        self._doors = [self._strip(o.wall, o.span, _DOOR_SWING) for o in room.openings if o.kind == "door"]
        self._floor: dict[int, shapely.Polygon] = {}

    def add(self, asset: Asset, placement: Placement) -> int:
        """Put an object there; its id."""
        import shapely

        identity = len(self.found.assets) + 1
        self.found.assets[identity] = asset
        self.found.placements[identity] = placement
        if not placement.settled and (supports := self.supports_of(asset)):
            self.found.supports[identity] = supports
        if placement.standing is None or placement.standing.kind == "under":
            self._floor[identity] = shapely.Polygon(footprint(asset, placement))
        return identity

    def add_if_free(self, asset: Asset, spot: F64, yaw: float, skip: Collection[int] = ()) -> int:
        """Put an object on the floor at (x, y); 0 if it does not fit there."""
        import shapely

        placement = Placement(round(float(spot[0]), 6), round(float(spot[1]), 6), 0.0, round(float(yaw) % 360.0, 6))
        free = self.free(shapely.Polygon(footprint(asset, placement)), skip)
        return self.add(asset, placement) if free else 0

    def free(self, outline: "shapely.Polygon", skip: Collection[int] = ()) -> bool:
        """Whether an outline on the floor is inside the room, and apart from doors and all objects but `skip`."""
        return (
            self._inside.contains(outline)
            and not any(door.intersects(outline) for door in self._doors)
            and not any(mine.distance(outline) < APART for id, mine in self._floor.items() if id not in skip)
        )

    def free_floor(self, height: float = 0.0) -> "BaseGeometry":
        """The floor apart from doors and objects, and from the windows that a thing of a height (meters) would hide."""
        import shapely

        windows = [self._strip(o.wall, o.span, _BEFORE_WINDOW) for o in self.room.windows() if o.bottom < height]
        taken = [outline.buffer(APART) for outline in (*self._floor.values(), *self._doors, *windows)]
        return self._inside.difference(shapely.union_all(taken))

    def outline(self, identity: int) -> "shapely.Polygon":
        """Of an object on the floor."""
        return self._floor[identity]

    def supports_of(self, asset: Asset) -> tuple[Support, ...]:
        """All supports of a model."""
        return self._supports_of(asset.uid).supports

    def front(self, asset: Asset) -> float:
        """Direction of the front, degrees, object frame. Where it is unknown, a long side."""
        known = self.known_front(asset)
        if known is not None:
            return known
        return 270.0 if asset.size_m[0] >= asset.size_m[1] else 0.0

    def known_front(self, asset: Asset) -> float | None:
        """Direction of the front as the source or the supports tell it; None if neither does."""
        return asset.front_deg if asset.front_deg is not None else self._supports_of(asset.uid).furniture_front_deg

    def facing(self, other: int) -> tuple[F64, float]:
        """Direction (2,) and angle in degrees, world frame, in which an object faces."""
        angle = self.found.placements[other].yaw_deg + self.front(self.found.assets[other])
        return np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))]), angle

    def wall(self, wall: WallName) -> tuple[F64, F64, float]:
        """Outward normal (2,), direction to the right as seen from inside (2,), and distance from the middle."""
        normal = np.array(WALLS[wall], np.float64)
        return normal, np.array([normal[1], -normal[0]]), self.room.size[0 if WALLS[wall][0] else 1] / 2

    def before_window(self, asset: Asset, wall: WallName, span: tuple[float, float]) -> bool:
        """Whether an object against a part of a wall is higher than the sill of a window behind it."""
        return any(
            opening.wall == wall
            and opening.span[0] - 0.05 < span[1]
            and span[0] < opening.span[1] + 0.05
            and asset.size_m[2] > opening.bottom
            for opening in self.room.windows()
        )

    def _strip(self, wall: WallName, span: tuple[float, float], reach: float) -> "shapely.Polygon":
        """The floor in front of a part of a wall: a rectangle, `reach` meters deep."""
        import shapely

        normal, along, distance = self.wall(wall)
        near, far = (normal * (distance - depth) for depth in (0.0, reach))
        low, high = (along * end for end in span)
        return shapely.Polygon([near + low, near + high, far + high, far + low])


def outlines(found: Furnished, on_floor: bool) -> list[tuple[F64, float]]:
    """Footprints and heights for `room.dress_room`.

    Args:
        on_floor: of what stands on the floor; else of what stands on or in other objects.
    """
    return [
        (footprint(found.assets[id], place), heights(found.assets[id], place)[1])
        for id, place in found.placements.items()
        if (place.standing is None or place.standing.kind == "under") == on_floor
    ]
