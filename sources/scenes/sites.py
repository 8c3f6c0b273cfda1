"""Where loose things are put in a furnished room: on the floor, against a wall, on a surface or in a container.

What leans on a surface does so against a wall, another thing there, or the object itself: the back of a seat, the side
of a shelf.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from ...shards.geometry import F64, invert_rigid
from ..assets.asset import Asset
from ..assets.carriers import role
from ..assets.supports import Support
from .convex import Mesh, surface
from .footprints import footprint, pose_of, prism
from .loose import Loose, Site, Stop, at_rest, face, heap, leaning, lying, placement, starts_free
from .physics import Body, Fixed, Plane
from .spec import Placement, Standing

if TYPE_CHECKING:
    import shapely
    from shapely.geometry.base import BaseGeometry

MeshOf: TypeAlias = Callable[[Asset], Mesh]
"""The mesh of an asset in its object frame."""
Wall: TypeAlias = tuple[F64, float]
"""Outward normal (2,) of a wall, and its distance from the origin."""
_STARTS: Final = 24
"""Starts that are tried for one group of things."""
_SETTLED: Final = 2
"""Starts, of those, that are settled."""
_OVERHANG: Final = 0.04
"""Meters by which a thing may reach beyond the surface that it is on."""
_SEAT_OVERHANG: Final = 0.2
_NEAR_WALL: Final = 0.1
"""Meters between a surface and a wall that things on it lean against."""
_STOP: Final = 0.06
"""Least height of what things lean against, meters."""
_SKIRTING: Final = 0.02
"""Meters that loose things on the floor keep from walls, whose planes have no skirting, and from objects."""
_CONTAINER_CELLS: Final = 14
"""Boxes across a container."""
_CELL: Final = 0.05
"""Size of the boxes of a seat or a shelf, meters."""
_REACH: Final = 0.35
"""Meters around a spot in which things may touch the object that carries them."""
_NEIGHBORS: Final = 0.7
"""Meters around a spot in which things may be touched."""
_HEAP: Final = 1.7
"""Radius of a heap on the floor, in largest sides of its things."""
_CROWDED: Final = 2.0
"""Largest side of a thing in a container, in radii of the container's floor."""
_SLIM: Final = 0.3
"""Largest thickness of what leans against a wall, relative to its largest side."""
_NO_FACES: Final = np.zeros((0, 3), np.int64)


class Sites:
    """The places of one room, as it is furnished. It draws from `rng`, and reads what has been placed."""

    def __init__(
        self,
        rng: np.random.Generator,
        assets: Mapping[int, Asset],
        placements: Mapping[int, Placement],
        walls: Sequence[Wall],
        mesh_of: MeshOf,
    ) -> None:
        self._rng, self._assets, self._placements, self._mesh_of = rng, assets, placements, mesh_of
        self._walls = walls
        self._planes = [
            Plane((float(n[0] * d), float(n[1] * d), 0.0), (float(-n[0]), float(-n[1]), 0.0)) for n, d in walls
        ]

    def on_floor(self, how: Loose, things: Sequence[Asset], reach: F64, free: "BaseGeometry") -> dict[int, Placement]:
        """Things on the floor; the placements of those that came to rest, by their number.

        Args:
            reach: (2,) largest x and y of the place, meters from the middle of the room.
            free: the floor on which they may come to rest.
        """
        import shapely

        clear = free.buffer(-_SKIRTING)
        radius = _HEAP * max(max(thing.size_m) for thing in things)

        def start() -> tuple[list[Body], Site]:
            spot = self._rng.uniform(-reach, reach)
            near = clear.intersection(shapely.Point(spot).buffer(radius))
            site = Site(near, 0.0, others=self._others(spot, None), walls=self._planes)
            return self._start(how, things, spot, 0.0, None), site

        return self._first(start, None)

    def against_wall(self, thing: Asset, walls: Sequence[Wall], free: "BaseGeometry") -> dict[int, Placement]:
        """A thing on the floor that leans against a wall; as `on_floor`.

        Args:
            walls: one of these is chosen at random.
        """
        if min(thing.size_m) > _SLIM * max(thing.size_m):
            return {}

        def start() -> tuple[list[Body], Site] | None:
            normal, distance = walls[int(self._rng.integers(len(walls)))]
            left = np.array([-normal[1], normal[0]])
            low, high = np.sort(np.reshape(free.bounds, (2, 2)) @ left)
            stop = Stop((float(normal[0]), float(normal[1])), distance, middle=float(self._rng.uniform(low, high)))
            site = Site(free, 0.0, others=self._others(stop.before(0.0), None), walls=self._planes)
            return self._start("leaning", [thing], stop.before(0.0), 0.0, stop), site

        return {} if free.is_empty else self._first(start, None)

    def on(
        self, how: Loose, things: Sequence[Asset], standing: Standing, support: Support, area: "shapely.Polygon"
    ) -> dict[int, Placement]:
        """Things on, or in, a support; the placements of those that came to rest, by their number.

        Args:
            area: the polygon of the support, world meters.
        """
        base = self._placements[standing.object]
        asset = self._assets[standing.object]
        if support.kind == "inside" and max(max(thing.size_m) for thing in things) > _CROWDED * support.radius:
            return {}
        height = base.z + support.z

        def start() -> tuple[list[Body], Site] | None:
            spot = self._spot(support, area)
            stop, leans_on = None, 0
            if how == "leaning":
                largest = max(max(thing.size_m) for thing in things)
                stop, leans_on = self._stop(standing, support, area, spot, height, largest)
                if stop is None:
                    return None
            site = Site(
                area,
                height,
                overhang=_SEAT_OVERHANG if role(asset.category) == "seat" else _OVERHANG,
                ceiling=height + support.clearance,
                shape=lambda: self._shape(standing.object, support, spot),
                rim=support.rim,
                below=base.z,
                others=self._others(spot, standing, leans_on),
                walls=self._planes,
                stop=leans_on,
            )
            return self._start(how, things, spot, height, stop), site

        return self._first(start, standing)

    def _first(
        self, start: Callable[[], tuple[list[Body], Site] | None], standing: Standing | None
    ) -> dict[int, Placement]:
        """The placements after the first start from which something came to rest as it should."""
        tried = 0
        for _ in range(_STARTS):
            drawn = start()
            if drawn is None or not starts_free(*drawn):
                continue
            bodies, site = drawn
            if rests := at_rest(bodies, site):
                first = len(self._assets) + 1
                ids = {number: first + order for order, number in enumerate(sorted(rests))}
                return {number: placement(rests[number], ids, site, standing) for number in sorted(rests)}
            tried += 1
            if tried == _SETTLED:
                break
        return {}

    def _start(self, how: Loose, things: Sequence[Asset], spot: F64, height: float, stop: Stop | None) -> list[Body]:
        meshes = [self._mesh_of(thing) for thing in things]
        match how:
            case "heap":
                return heap(self._rng, meshes, spot, height)
            case "lying":
                return [lying(self._rng, meshes[0], spot, height)]
            case "leaning":
                assert stop is not None
                return leaning(self._rng, meshes, [thing.front_deg for thing in things], stop, height)

    def _spot(self, support: Support, area: "shapely.Polygon") -> F64:
        """Anywhere on a support; in a container the middle."""
        if support.kind == "inside":
            return np.array(area.centroid.coords[0])
        low, high = np.reshape(area.bounds, (2, 2))
        return self._rng.uniform(low, high)

    def _shape(self, identity: int, support: Support, spot: F64) -> Fixed | None:
        """The shape around a spot of what is no plane: a container, a seat and its back, a shelf, an uneven top."""
        asset, base = self._assets[identity], self._placements[identity]
        mesh, pose = self._mesh_of(asset), pose_of(base)
        low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
        x, y = support.shape().centroid.coords[0]
        if support.kind == "inside":
            # From here one sees the floor and the sides.
            eye = (x, y, support.z + support.rim + 0.05)
            cell = max(asset.size_m[:2]) / _CONTAINER_CELLS
        elif support.kind == "shelf" or support.patch is not None or role(asset.category) == "seat":
            free = min(support.clearance, float(high[2]) - support.z)
            eye = (x, y, support.z + (0.5 * free if support.kind == "shelf" else free + 0.1))
            near = np.array(invert_rigid(pose)[:2] @ [*spot, 0.0, 1.0])
            low = np.array([*(near - _REACH), support.z - 0.1])
            high = np.array([*(near + _REACH), support.z + free + 0.1])
            cell = _CELL
        else:
            return None
        pieces, boxes = surface(mesh, eye, tuple(low.tolist()), tuple(high.tolist()), cell)
        return Fixed(mesh, pose, pieces, boxes)

    def _stop(
        self, standing: Standing, support: Support, area: "shapely.Polygon", spot: F64, height: float, largest: float
    ) -> tuple[Stop | None, int]:
        """What things lean against at a spot, and its id; id 0 for a wall and for the object that carries them.

        Args:
            largest: side of the things, meters.
        """
        carrier = standing.object
        asset, base = self._assets[carrier], self._placements[carrier]
        # Square to the object, toward any side.
        angle = np.deg2rad(base.yaw_deg + 90.0 * int(self._rng.integers(4)))
        along = np.array([np.cos(angle), np.sin(angle)])
        width, reach = 0.5 * largest, (height + 0.01, height + largest)
        if role(asset.category) == "seat":
            reach = (height + 0.08, height + largest)
            return face(self._mesh_of(asset), pose_of(base), along, spot, width, reach), 0
        beside = [
            id
            for id, place in self._placements.items()
            if place.standing == standing and not place.settled and self._assets[id].size_m[2] > _STOP
        ]
        near = [wall for wall in self._walls if _reach(area, wall[0]) > wall[1] - _NEAR_WALL]
        sides = ["side"] if support.kind == "shelf" else []
        choices: list[int | Wall | str] = [*beside, *([] if sides else near), *sides]
        if not choices:
            return None, 0
        chosen = choices[int(self._rng.integers(len(choices)))]
        if isinstance(chosen, str):
            return face(self._mesh_of(asset), pose_of(base), along, spot, width, reach), 0
        if isinstance(chosen, tuple):
            normal, distance = chosen
            left = np.array([-normal[1], normal[0]])
            return Stop((float(normal[0]), float(normal[1])), distance, middle=float(spot @ left)), 0
        other, place = self._assets[chosen], self._placements[chosen]
        start = footprint(other, place).mean(axis=0) - along * (0.5 * max(other.size_m[:2]) + 0.5)
        return face(self._mesh_of(other), pose_of(place), along, start, width, reach), chosen

    def _others(self, spot: F64, standing: Standing | None, leans_on: int = 0) -> dict[int, Fixed]:
        """What stands near a spot on the same level, as outlines; of what things lean against, its shape."""
        import shapely

        found: dict[int, Fixed] = {}
        for id, place in self._placements.items():
            asset = self._assets[id]
            if id == leans_on:
                mesh = self._mesh_of(asset)
                found[id] = Fixed(mesh, pose_of(place), mesh.pieces)
            elif place.standing == standing:
                near = shapely.Polygon(footprint(asset, place)).distance(shapely.Point(spot)) < _NEIGHBORS
                points = prism(asset, place).reshape(-1, 3)
                if near:
                    found[id] = Fixed(Mesh(points, _NO_FACES), np.eye(4), [points])
        return found


def _reach(area: "shapely.Polygon", normal: F64) -> float:
    """Largest coordinate of an area in a direction (2,)."""
    return float((np.array(area.exterior.coords) @ normal).max())
