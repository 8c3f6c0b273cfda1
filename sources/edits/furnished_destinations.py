"""Places in a furnished scene to which an object may go, and which an instruction can describe.

Invariant: a place keeps the rules of `checks.FloorPlan`, its relation holds by the full threshold and does not hold
already, and what the relation refers to is well visible. An object is at rest on what it stands on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from ...shards.geometry import F64
from ...shards.schema import SupportKind
from ..assets.asset import Asset
from ..assets.carriers import role
from ..scenes.camera import bearings
from ..scenes.footprints import extent, footprint
from ..scenes.layout import Scene
from ..scenes.relations import along_wall, at_walls, backs, covers_opening, is_between, parallel, wall_deg
from ..scenes.room import WALLS, Room, WallName
from ..scenes.spec import Placement, Standing
from ..scenes.standing import carried, region, riders, standing_on
from .checks import FloorPlan, is_in_image
from .destinations import Spot, aim, at, beside

if TYPE_CHECKING:
    import shapely

Sort = Literal["near", "on", "shelf", "stack", "inside", "under", "off", "wall", "corner", "between"]
_WEIGHTS: Final[Mapping[Sort, float]] = MappingProxyType(
    {
        "near": 0.15,
        "on": 0.25,
        "shelf": 0.25,
        "stack": 0.3,
        "inside": 0.4,
        "under": 0.35,
        "off": 0.2,
        "wall": 0.6,
        "corner": 0.4,
        "between": 0.15,
    }
)
"""How often each sort of place is drawn, relative to the others that a scene has."""
_OCCLUDING: Final[frozenset[SupportKind]] = frozenset(("shelf", "inside", "under"))
_SPOTS: Final = 10
"""Points that are tried for one place."""
_HANDY: Final = 0.6
"""Largest side of an object that is put on or into another one, meters."""
FURNITURE: Final = 0.6
"""Largest side from which an object with a top counts as furniture: what is on it is not a stack, meters."""
_HIGHEST: Final = 1.35
"""Meters: a surface above the eyes is not seen."""
_SEEN: Final = (0.4, 0.3)
"""Least share of an object that is visible, and that is in the frame, for a relation to it."""
_WALL_GAP: Final = (0.01, 0.04)
_SPAN: Final[Mapping[bool, float]] = MappingProxyType({True: 2.6, False: 1.4})
"""Largest distance of two objects with a third one between them, meters: on the floor, on a support."""
_ACROSS: Final = 0.5
"""Least part of their distance that is across the view."""
_CLEAR: Final = 0.03
"""Least sum of the two gaps beside an object that is between two others, meters."""


@dataclass(frozen=True)
class _Option:
    """A sort of place for one object."""

    identity: int
    level: Standing | None = None
    """What the object will stand on."""
    others: tuple[int, ...] = ()
    """Ids of the objects that the place is relative to."""
    walls: tuple[WallName, ...] = ()


class FurnishedDestinations:
    """Places in a scene for some of its objects.

    Args:
        identities: the objects that may go somewhere.
        new: whether they are not in the source image. Then they may be turned, and no relation holds already.
    """

    def __init__(self, scene: Scene, identities: Sequence[int], new: bool) -> None:
        self._scene, self._room, self._new = scene, scene.room, new
        self._plan = FloorPlan(scene)
        self._assets = scene.assets
        self._identities = identities
        self._seen = frozenset(
            id for id, seen in scene.outlook.items() if seen.visible >= _SEEN[0] and seen.in_frame >= _SEEN[1]
        )
        self._walls: list[WallName] = [wall for wall in WALLS if self._room and wall not in self._room.light.unseen]
        self._options: dict[Sort, list[_Option]] = {
            sort: options for sort, options in self._all_options().items() if options
        }

    def draw(self, rng: np.random.Generator, shares: tuple[float, float, float, float]) -> Iterator[tuple[int, Spot]]:
        """Endless: objects and places for them.

        Args:
            shares: as in `destinations.aim`, for places on the level on which the object stands.
        """
        sorts = list(self._options)
        weights = np.array([_WEIGHTS[sort] for sort in sorts])
        while True:
            sort = sorts[int(rng.choice(len(sorts), p=weights / weights.sum()))]
            options = self._options[sort]
            option = options[int(rng.integers(len(options)))]
            last: Spot | None = None
            for _ in range(_SPOTS):
                spot = self._spot(rng, sort, option, shares)
                last = spot or last
                if spot is not None and self._free(option.identity, spot.placement):
                    break
            # The caller counts what it rejects, so it stops even where no place is free.
            if last is not None:
                yield option.identity, last

    def _spot(
        self, rng: np.random.Generator, sort: Sort, option: _Option, shares: tuple[float, float, float, float]
    ) -> Spot | None:
        match sort:
            case "near":
                return aim(rng, self._scene, option.identity, shares)
            case "on" | "shelf" | "stack" | "inside" | "under":
                return self._on_support(rng, option)
            case "off":
                return beside(rng, self._scene, option.identity, option.others[0])
            case "wall" | "corner":
                return self._at_wall(rng, option, self._room) if self._room else None
            case "between":
                return self._between(rng, option)

    def _free(self, identity: int, place: Placement) -> bool:
        """Whether an object, with what stands on it, can be at a place, and is well in the image there."""
        scene = self._scene
        if not is_in_image(scene, identity, place, new=self._new):
            return False
        moved = carried(identity, place, self._assets, scene.placements, scene.supports)
        return self._plan.fault({**scene.placements, **moved}, moved) is None

    def _all_options(self) -> dict[Sort, list[_Option]]:
        found: dict[Sort, list[_Option]] = {sort: [] for sort in _WEIGHTS}
        for identity in self._identities:
            found["near"].append(_Option(identity))
            for level in self._levels(identity):
                sort = sort_of(level, self._assets[level.object], self._scene.placements)
                found[sort].append(_Option(identity, level))
            here = self._scene.placements[identity].standing
            on_floor = self._new or here is None
            if here is not None and here.kind != "under":
                found["off"] += [_Option(identity, None, (other,)) for other in self._neighbors(identity, None)]
            if on_floor:
                usable = {wall for wall in self._walls if self._backs(identity, wall)}
                found["wall"] += [_Option(identity, None, (), (wall,)) for wall in self._walls if wall in usable]
                for one, other in combinations(self._walls, 2):
                    if one[1] != other[1] and usable & {one, other}:
                        found["corner"].append(_Option(identity, None, (), (one, other)))
            for level in (None, *self._levels(identity, also_here=True)):
                if level is None and not on_floor:
                    continue
                for pair in combinations(self._neighbors(identity, level), 2):
                    if self._apart(identity, level, *pair):
                        found["between"].append(_Option(identity, level, pair))
        return found

    def _neighbors(self, identity: int, level: Standing | None) -> list[int]:
        """What is seen well on the floor (None) or on a support, without an object and what stands on it."""
        kin = {identity, *riders(identity, self._scene.placements)}
        placements = self._scene.placements
        return [id for id in sorted(self._seen) if placements[id].standing == level and id not in kin]

    def _levels(self, identity: int, also_here: bool = False) -> Iterator[Standing]:
        """The supports of other objects where an object may be put."""
        asset, own = self._assets[identity], self._scene.placements[identity]
        kin = {identity, *riders(identity, self._scene.placements)}
        if not is_handy(asset, own):
            return
        for other in sorted(self._seen & self._scene.supports.keys() - kin):
            base = self._scene.placements[other]
            for index, support in enumerate(self._scene.supports[other]):
                level = standing_on(other, index, self._scene.supports)
                # From one part of a top to another one is a move on it.
                here = not self._new and own.standing is not None and _same_place(own.standing, level)
                high = base.z + base.scale * support.z > _HIGHEST
                narrow = min(asset.size_m[:2]) * own.scale > 2.0 * support.radius * base.scale
                if not high and not narrow and (also_here or not here):
                    yield level

    def _on_support(self, rng: np.random.Generator, option: _Option) -> Spot | None:
        level = option.level
        assert level is not None
        scene, own = self._scene, self._scene.placements[option.identity]
        support, base = scene.supports[level.object][level.support], scene.placements[level.object]
        own = replace(own, x=0.0, y=0.0, standing=level)
        outline = footprint(self._assets[option.identity], own)
        bounds = np.array(region(support, base).bounds)
        # Under a table it may reach out from below.
        inward = 0.0 if level.kind == "under" else 1.0
        low, high = bounds[:2] - inward * outline.min(axis=0), bounds[2:] - inward * outline.max(axis=0)
        if (low > high).any():
            return None
        return at(scene, option.identity, own, rng.uniform(low, high), allows_occlusion=level.kind in _OCCLUDING)

    def _at_wall(self, rng: np.random.Generator, option: _Option, room: Room) -> Spot | None:
        """Against one wall, or in the corner of two."""
        asset, before = self._assets[option.identity], self._scene.placements[option.identity]
        own = replace(before, x=0.0, y=0.0, standing=None)
        first = option.walls[int(rng.integers(len(option.walls)))]
        if self._new:
            front = asset.front_deg if asset.front_deg is not None else 90.0 * int(rng.integers(4))
            turn = wall_deg(first) + 180.0 - front + float(rng.uniform(-3.0, 3.0))
            own = replace(own, yaw_deg=round(turn % 360.0, 6))
        if not parallel(own, first) or not any(backs(asset, own, wall) for wall in option.walls):
            return None
        spot = np.zeros(2)
        for wall in option.walls:
            normal = np.array(WALLS[wall], np.float64)
            distance = room.size[0 if WALLS[wall][0] else 1] / 2 - extent(asset, own, normal)[1]
            spot += normal * (distance - float(rng.uniform(*_WALL_GAP)))
        if len(option.walls) == 1:
            along = along_wall(first)
            low, high = extent(asset, own, along)
            half = room.half(first)
            if high - low > 2 * half - 0.1:
                return None
            spot += along * float(rng.uniform(-half - low + 0.05, half - high - 0.05))
        found = at(self._scene, option.identity, own, spot)
        place = found.placement
        if any(covers_opening(room, asset, place, wall) for wall in option.walls):
            return None
        if not self._new and set(option.walls) <= set(at_walls(room, asset, before)):
            return None
        return found if len(at_walls(room, asset, place)) == len(option.walls) else None

    def _backs(self, identity: int, wall: WallName) -> bool:
        """Whether an object can be against a wall, as far as its rotation decides."""
        asset, own = self._assets[identity], self._scene.placements[identity]
        return self._new or (parallel(own, wall) and backs(asset, own, wall))

    def _apart(self, identity: int, level: Standing | None, one: int, other: int) -> bool:
        """Whether two objects of a level have room for a third one between them and nothing else there, and are far
        enough apart across the view."""
        outlines = self._plan.outlines
        line, low, high = _gap(outlines[one], outlines[other])
        right, _ = bearings(self._scene.camera)
        span = max(float(np.linalg.norm(line[1] - line[0])), 1e-9)
        if span > _SPAN[level is None] or abs(float((line[1] - line[0]) @ right)) < _ACROSS * span:
            return False
        own = self._scene.placements[identity]
        reach = extent(self._assets[identity], own, (line[1] - line[0]) / span)
        return high - low - (reach[1] - reach[0]) > _CLEAR

    def _between(self, rng: np.random.Generator, option: _Option) -> Spot | None:
        scene, identity = self._scene, option.identity
        asset, before = self._assets[identity], scene.placements[identity]
        own = replace(before, x=0.0, y=0.0, standing=option.level)
        line, near, far = _gap(*(self._plan.outlines[id] for id in option.others))
        along = (line[1] - line[0]) / np.linalg.norm(line[1] - line[0])
        across = np.array([-along[1], along[0]])
        low, high = extent(asset, own, along)
        aside = extent(asset, own, across)
        # In the middle of the free part of the line between their centers.
        at_along = near - low + float(rng.uniform(0.3, 0.7)) * ((far - near) - (high - low))
        at_across = float(line[0] @ across) - sum(aside) / 2 + float(rng.uniform(-0.25, 0.25)) * (aside[1] - aside[0])
        found = at(scene, identity, own, at_along * along + at_across * across)
        there = [id for id, place in scene.placements.items() if place.standing == option.level]
        level = {id: self._plan.outlines[id] for id in there}
        if not self._new and identity in level and is_between(level, identity, *option.others):
            return None
        level[identity] = self._plan.outline(identity, found.placement)
        return found if is_between(level, identity, *option.others) else None


def sort_of(level: Standing, carrier: Asset, placements: Mapping[int, Placement]) -> Sort:
    """The sort of a place on, in or under an object."""
    if level.kind in ("top", "soft"):
        return "on" if placements[level.object].scale * max(carrier.size_m) >= FURNITURE else "stack"
    return level.kind


def is_handy(asset: Asset, place: Placement) -> bool:
    """Whether an object is one that people put on or into others: small, and not a seat."""
    return max(asset.size_m) * place.scale <= _HANDY and role(asset.category) != "seat"


def _same_place(one: Standing, other: Standing) -> bool:
    """Whether two supports are parts of one place, as people speak of it: the same kind and shelf of an object."""
    return (one.object, one.kind, one.shelf) == (other.object, other.kind, other.shelf)


def _gap(first: "shapely.Polygon", second: "shapely.Polygon") -> tuple[F64, float, float]:
    """The line (2, 2) between the centers of two outlines, and from where to where along it nothing is of either."""
    import shapely

    line = np.array([outline.centroid.coords[0] for outline in (first, second)])
    along = (line[1] - line[0]) / max(float(np.linalg.norm(line[1] - line[0])), 1e-9)
    near = float((shapely.get_coordinates(first) @ along).max())
    far = float((shapely.get_coordinates(second) @ along).min())
    return line, near, far
