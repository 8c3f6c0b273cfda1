"""Where loose things are put in a furnished room: on the floor, on a surface or in a container.

What leans does so against a wall, another thing or the back of a seat.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from ...shards.geometry import F64, transform
from ..assets.asset import Asset
from ..assets.carriers import role
from ..assets.supports import Support
from .footprints import footprint, pose_of, prism
from .loose import Loose, Mesh, Site, Stop, at_rest, face, heap, leaning, lying, placement, starts_free
from .physics import Body, Fixed, Plane, surface_pieces
from .spec import Placement, Standing

if TYPE_CHECKING:
    import shapely
    from shapely.geometry.base import BaseGeometry

MeshOf: TypeAlias = Callable[[Asset], Mesh]
"""The mesh of an asset in its object frame."""
_STARTS: Final = 40
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
_CONTAINER_CELLS: Final = 24
"""Pieces across a container."""
_STOP_CELLS: Final = 8
_SEAT_CELL: Final = 0.05
"""Size of the pieces of a seat, meters."""
_SEAT_REACH: Final = 0.7
_NEIGHBORS: Final = 0.7
"""Meters around a spot in which things may be touched."""
_HEAP: Final = 1.7
"""Radius of a heap on the floor, in largest sides of its things."""
_CROWDED: Final = 2.0
"""Largest side of a thing in a container, in radii of the container's floor."""
_NO_FACES: Final = np.zeros((0, 3), np.int64)


class Sites:
    """The places of one room, as it is furnished. It draws from `rng`, and reads what has been placed."""

    def __init__(
        self,
        rng: np.random.Generator,
        assets: Mapping[int, Asset],
        placements: Mapping[int, Placement],
        walls: Sequence[tuple[F64, F64, float]],
        mesh_of: MeshOf,
    ) -> None:
        """walls: of each wall the outward normal (2,), the direction along it, and its distance from the origin."""
        self._rng, self._assets, self._placements, self._mesh_of = rng, assets, placements, mesh_of
        self._walls = [(normal, distance) for normal, _, distance in walls]

    def on_floor(self, how: Loose, things: Sequence[Asset], reach: F64, free: "BaseGeometry") -> dict[int, Placement]:
        """Things on the floor; the placements of those that came to rest, by their number.

        Args:
            reach: (2,) largest x and y of the place, meters from the middle of the room.
            free: the floor on which they may come to rest.
        """
        import shapely

        meshes = [self._mesh_of(thing) for thing in things]
        tried = 0
        for _ in range(_STARTS):
            spot = self._rng.uniform(-reach, reach)
            bodies = self._start(how, meshes, spot, 0.0, None)
            near = free.intersection(shapely.Point(spot).buffer(_HEAP * max(max(thing.size_m) for thing in things)))
            site = Site(near, 0.0, others=self._others(spot, None), walls=self._planes())
            if not starts_free(bodies, site):
                continue
            if found := self._settled(bodies, site, None):
                return found
            tried += 1
            if tried == _SETTLED:
                break
        return {}

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
        meshes = [self._mesh_of(thing) for thing in things]
        height = base.z + base.scale * support.z
        own = self._world_mesh(standing.object)
        tried = 0
        for _ in range(_STARTS):
            spot = self._spot(support, area)
            stop = self._stop(standing, asset, own, area, spot, height, meshes) if how == "leaning" else None
            if how == "leaning" and stop is None:
                continue
            against, leans_on = stop if stop else (None, 0)
            others = self._others(spot, standing)
            if leans_on and against:
                mesh = self._world_mesh(leans_on)
                # From here one sees the face and the top.
                eye = np.array([*against.before(0.3), float(mesh[0][:, 2].max()) + 0.1])
                cell = max(self._assets[leans_on].size_m) / _STOP_CELLS
                others[leans_on] = Fixed(*mesh, surface_pieces(*mesh, eye, 3.0, cell))
            site = Site(
                area,
                height,
                overhang=_SEAT_OVERHANG if role(asset.category) == "seat" else _OVERHANG,
                ceiling=height + base.scale * support.clearance,
                rim=support.rim * base.scale,
                below=base.z,
                others=others,
                walls=self._planes(),
                stop=leans_on,
            )
            bodies = self._start(how, meshes, spot, height, against)
            if not starts_free(bodies, site):
                continue
            site = replace(site, surface=self._shape(asset, support, own, spot, height))
            if found := self._settled(bodies, site, standing):
                return found
            tried += 1
            if tried == _SETTLED:
                break
        return {}

    def _start(self, how: Loose, meshes: Sequence[Mesh], spot: F64, height: float, stop: Stop | None) -> list[Body]:
        match how:
            case "heap":
                return heap(self._rng, meshes, spot, height)
            case "lying":
                return [lying(self._rng, meshes[0], spot, height)]
            case "leaning":
                assert stop is not None
                return leaning(self._rng, meshes, stop, height)

    def _settled(self, bodies: Sequence[Body], site: Site, standing: Standing | None) -> dict[int, Placement]:
        first = len(self._assets) + 1
        rests = at_rest(bodies, site)
        ids = {number: first + order for order, number in enumerate(sorted(rests))}
        return {number: placement(rests[number], ids, site, standing) for number in sorted(rests)}

    def _spot(self, support: Support, area: "shapely.Polygon") -> F64:
        """Anywhere on a support; in a container the middle."""
        if support.kind == "inside":
            return np.array(area.centroid.coords[0])
        low, high = np.reshape(area.bounds, (2, 2))
        return self._rng.uniform(low, high)

    def _shape(self, asset: Asset, support: Support, own: Mesh, spot: F64, height: float) -> Fixed | None:
        """The shape of what is no plane: of a container, a seat with its back, an uneven surface."""
        if support.kind == "inside":
            eye = np.array([*spot, height + support.rim + 0.05])
            cell = max(asset.size_m[:2]) / _CONTAINER_CELLS
            return Fixed(*own, surface_pieces(*own, eye, max(asset.size_m), cell))
        if support.patch is not None or role(asset.category) == "seat":
            eye = np.array([*spot, max(height, float(own[0][:, 2].max())) + 0.1])
            return Fixed(*own, surface_pieces(*own, eye, _SEAT_REACH, _SEAT_CELL))
        return None

    def _stop(
        self,
        standing: Standing,
        asset: Asset,
        own: Mesh,
        area: "shapely.Polygon",
        spot: F64,
        height: float,
        meshes: Sequence[Mesh],
    ) -> tuple[Stop, int] | None:
        """What things lean against at a spot, and its id; id 0 for a wall and for the object that carries them."""
        largest = max(float(np.ptp(vertices, axis=0).max()) for vertices, _ in meshes)
        if role(asset.category) == "seat":
            angle = np.deg2rad(self._placements[standing.object].yaw_deg + 90.0 * int(self._rng.integers(4)))
            along = np.array([np.cos(angle), np.sin(angle)])
            back = face(own, along, spot, 0.5 * largest, (height + 0.08, height + largest))
            return (back, 0) if back else None
        beside = [
            id
            for id, place in self._placements.items()
            if place.standing == standing and not place.settled and self._assets[id].size_m[2] > _STOP
        ]
        near = [wall for wall in self._walls if _reach(area, wall[0]) > wall[1] - _NEAR_WALL]
        if not beside and not near:
            return None
        chosen = int(self._rng.integers(len(beside) + len(near)))
        if chosen >= len(beside):
            normal, distance = near[chosen - len(beside)]
            left = np.array([-normal[1], normal[0]])
            return Stop((float(normal[0]), float(normal[1])), distance, middle=float(spot @ left)), 0
        id = beside[chosen]
        place = self._placements[id]
        center = footprint(self._assets[id], place).mean(axis=0)
        # Square to the surface, on any side of the thing.
        angle = np.deg2rad(self._placements[standing.object].yaw_deg + 90.0 * int(self._rng.integers(4)))
        along = np.array([np.cos(angle), np.sin(angle)])
        start = center - along * (0.5 * max(self._assets[id].size_m[:2]) + 0.5)
        found = face(self._world_mesh(id), along, start, 0.5 * largest, (height + 0.01, height + largest))
        return (found, id) if found else None

    def _others(self, spot: F64, standing: Standing | None) -> dict[int, Fixed]:
        """The outlines of what stands near a spot on the same level."""
        import shapely

        found: dict[int, Fixed] = {}
        for id, place in self._placements.items():
            outline = footprint(self._assets[id], place)
            if place.standing == standing and shapely.Polygon(outline).distance(shapely.Point(spot)) < _NEIGHBORS:
                points = prism(self._assets[id], place).reshape(-1, 3)
                found[id] = Fixed(points, _NO_FACES, [points])
        return found

    def _world_mesh(self, id: int) -> Mesh:
        vertices, faces = self._mesh_of(self._assets[id])
        return transform(pose_of(self._placements[id]), vertices), faces

    def _planes(self) -> list[Plane]:
        return [
            Plane((float(n[0] * d), float(n[1] * d), 0.0), (float(-n[0]), float(-n[1]), 0.0)) for n, d in self._walls
        ]


def _reach(area: "shapely.Polygon", normal: F64) -> float:
    """Largest coordinate of an area in a direction (2,)."""
    return float((np.array(area.exterior.coords) @ normal).max())
