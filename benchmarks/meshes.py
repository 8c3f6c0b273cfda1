"""The triangles of a scene, and what cuts into what, by rays."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import trimesh

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spatialdata_builder.shards.geometry import F64, transform
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.mesh import read_triangles
from spatialdata_builder.sources.blender.ground import garden_parts
from spatialdata_builder.sources.blender.shell import shell_parts
from spatialdata_builder.sources.scenes.convex import Mesh
from spatialdata_builder.sources.scenes.footprints import pose_of
from spatialdata_builder.sources.scenes.layout import Scene
from spatialdata_builder.sources.scenes.standing import holders

TOUCHES_M = 2e-3
"""Things whose surfaces are within this distance touch: they do not cut into each other, and do not float."""
_SUNK = ("rug", "grass")
"""Parts of rooms and gardens into which things sink."""


@dataclass(frozen=True)
class Solid:
    """The triangles of a model or of a part of the surroundings, which rays can be cast against."""

    vertices: F64
    faces: np.ndarray

    @cached_property
    def edges(self) -> F64:
        """Ends of its edges (E, 2, 3)."""
        return self.vertices[self.mesh.edges_unique]

    @cached_property
    def mesh(self) -> trimesh.Trimesh:
        return trimesh.Trimesh(self.vertices, self.faces, process=False)

    @cached_property
    def bounds(self) -> F64:
        """Its lowest and highest corner (2, 3)."""
        used = self.vertices[np.unique(self.faces)]
        return np.array([used.min(axis=0), used.max(axis=0)])

    @cached_property
    def smaller(self) -> "Solid":
        """Smaller by `TOUCHES_M` on each side, but not by more than half."""
        middle, half = self.bounds.mean(axis=0), np.ptp(self.bounds, axis=0) / 2
        factor = np.maximum(half - TOUCHES_M, half / 2) / np.maximum(half, 1e-9)
        return Solid(middle + (self.vertices - middle) * factor, self.faces)

    def crossed_by(self, edges: F64) -> bool:
        """Whether an edge (E, 2, 3) crosses a triangle."""
        low, high = self.bounds
        edges = edges[(edges.max(axis=1) > low).all(axis=1) & (edges.min(axis=1) < high).all(axis=1)]
        along = edges[:, 1] - edges[:, 0]
        edges, along = edges[(length := np.linalg.norm(along, axis=1)) > 1e-7], along[length > 1e-7]
        if not len(edges):
            return False
        hits, rays, _ = self.mesh.ray.intersects_location(edges[:, 0], along, multiple_hits=False)
        reached = np.linalg.norm(hits - edges[rays, 0], axis=1)
        return bool((reached < np.linalg.norm(along[rays], axis=1)).any())


class Solids:
    """The triangles of models, each read once."""

    def __init__(self, mesh_of: Callable[[Asset], Mesh]) -> None:
        self._mesh_of = mesh_of
        self._read: dict[str, Solid] = {}

    def of(self, asset: Asset) -> Solid:
        if asset.uid not in self._read:
            mesh = self._mesh_of(asset)
            self._read[asset.uid] = Solid(mesh.vertices, mesh.faces)
        return self._read[asset.uid]

    def placed(self, scene: Scene) -> dict[int, trimesh.Trimesh]:
        """The meshes of the objects, by id, world frame."""
        solids = {id: self.of(asset) for id, asset in scene.assets.items()}
        return {
            id: trimesh.Trimesh(transform(pose_of(scene.placements[id]), one.vertices), one.faces, process=False)
            for id, one in solids.items()
        }

    def cuts(self, scene: Scene, around: Mapping[str, Solid]) -> list[str]:
        """What cuts into what by more than `TOUCHES_M`, in words.

        Args:
            around: parts of the surroundings, by name.
        """
        assets, places = scene.assets, scene.placements
        found = [
            f"{assets[one].category} and {assets[other].category}"
            for one, other in _pairs(scene)
            if self._cut(assets[one], pose_of(places[one]), self.of(assets[other]), pose_of(places[other]))
        ]
        for id, asset in assets.items():
            pose = pose_of(places[id])
            found += [f"{asset.category} and {name}" for name, part in around.items() if self._cut(asset, pose, part)]
        return found

    def _cut(self, asset: Asset, pose: F64, other: Solid, other_pose: F64 | None = None) -> bool:
        """Whether an object, made smaller, crosses another one."""
        own = self.of(asset).smaller
        forth = np.linalg.inv(other_pose) @ pose if other_pose is not None else pose
        if not _meet(own.bounds, forth, other.bounds):
            return False
        back = np.linalg.inv(forth)
        return other.crossed_by(_moved(own.edges, forth)) or own.crossed_by(_moved(other.edges, back))


def _meet(bounds: F64, pose: F64, others: F64) -> bool:
    """Whether a box (2, 3) that is moved meets another one."""
    corners = transform(pose, np.stack(np.meshgrid(*bounds.T), axis=-1).reshape(-1, 3))
    return bool((corners.min(axis=0) < others[1]).all() and (corners.max(axis=0) > others[0]).all())


def _pairs(scene: Scene) -> list[tuple[int, int]]:
    """Pairs of objects. The first one stands on the other or is held by it, or is smaller."""
    places, ordered = scene.placements, sorted(scene.placements, key=lambda id: np.prod(scene.asset(id).size_m))
    pairs = combinations(ordered, 2)
    return [(other, one) if one in holders([other], places) else (one, other) for one, other in pairs]


def _moved(edges: F64, pose: F64) -> F64:
    return transform(pose, edges.reshape(-1, 3)).reshape(-1, 2, 3)


def surroundings(scene: Scene, environment: Path | None = None) -> dict[str, Solid]:
    """What is around the objects, by name, without what things sink into: of a room, a garden or a room model.

    Args:
        environment: the file of the room model.
    """
    if scene.environment and environment:
        vertices, faces = read_triangles(environment)
        return {"room model": Solid(vertices * scene.environment.scale + scene.environment.offset, faces)}
    parts = []
    if scene.room:
        parts = shell_parts(asdict(scene.room))
    elif scene.garden:
        parts = garden_parts(asdict(scene.garden))
    named: dict[str, list[trimesh.Trimesh]] = {}
    for part in parts:
        if not part.material.startswith(_SUNK):
            mesh = trimesh.Trimesh(part.vertices, part.triangles(), process=False)
            named.setdefault(part.name, []).append(mesh)
    joined = {name: trimesh.util.concatenate(meshes) for name, meshes in named.items()}
    return {name: Solid(np.array(mesh.vertices), np.array(mesh.faces)) for name, mesh in joined.items()}
