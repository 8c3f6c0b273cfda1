# pyright: basic, reportMissingImports=false
"""One model in Blender: checked before the importer sees it, at rest, in its default scene, near the origin.

The importer opens whatever a file names, so that a file comes here through the same door as in the survey
(`glb.open_glb`).
"""

import logging
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..assets.glb import GlbError, open_glb
from ..assets.transforms import matrix_of

DOUBLE_SIDED = "spatialdata_double_sided"
"""A property of materials that are described in a file; single-sided is what glTF has for the others, too."""


SHEET = 2e-5
"""Within what places are one, and by what faces are moved, in diagonals of the model: a hundredth of a millimeter of a
chair, and some hundred times what single precision tells apart."""


MOST = 1e-3
"""Of a mesh's own extent: what faces may be moved by."""


class NotImported(Exception):
    """A model that cannot be read, in the words of whoever found it."""


class AtRest:
    """An extension of the glTF importer, by its own interface: what is not shown, or moves the rest pose, is left out.

    Cameras and lights are none of a model's surface, variants other than the default one are never shown, and neither
    are nodes outside the default scene and attributes of an application's own. It also tells which materials are
    double-sided; the importer takes a mesh without a material for one that is.
    """

    def gather_import_gltf_before_hook(self, gltf: Any) -> None:
        data = gltf.data
        data.animations = []
        data.extensions = {}
        shown = in_default_scene(data)
        for index, node in enumerate(data.nodes or []):
            node.camera = None
            (node.extensions or {}).pop("KHR_lights_punctual", None)
            if index not in shown:
                node.mesh = None
        for mesh in data.meshes or []:
            for primitive in mesh.primitives:
                (primitive.extensions or {}).pop("KHR_materials_variants", None)
                shown_by = {name: at for name, at in primitive.attributes.items() if not name.startswith("_")}
                primitive.attributes = shown_by

    def gather_import_material_after_hook(self, description: Any, color: str, material: Any, gltf: Any) -> None:
        material[DOUBLE_SIDED] = bool(description.double_sided)


def in_default_scene(data: Any) -> set[int]:
    """Indices of the nodes of the default scene; of all nodes where a file has no scenes."""
    if not data.scenes:
        return set(range(len(data.nodes or [])))
    found: set[int] = set()
    stack = list(data.scenes[data.scene or 0].nodes or [])
    while stack:
        index = stack.pop()
        if index not in found:
            found.add(index)
            stack += data.nodes[index].children or []
    return found


def import_model(file: str) -> list:
    """Import one GLB; the objects that came of it, in the order of their names.

    Raises NotImported with the reason.
    """
    before = set(bpy.data.objects)
    sys.modules["io_scene_gltf2"].__dict__["glTF2ImportUserExtension"] = AtRest
    try:
        open_glb(Path(file))
        bpy.ops.import_scene.gltf(filepath=file, import_webp_texture=True, disable_bone_shape=True)
    except GlbError as error:
        raise NotImported(error.detail) from None
    except Exception as error:  # the importer's own bugs on odd files included
        raise NotImported(f"Blender: {last_words(error)}") from None
    finally:
        logging.getLogger("glTFImporter").handlers.clear()  # a failed import leaves its own behind
    added = sorted((item for item in bpy.data.objects if item not in before), key=lambda item: item.name)
    for material in {slot.material for item in added for slot in item.material_slots if slot.material}:
        material.use_backface_culling = not material.get(DOUBLE_SIDED, False)
    return added


def last_words(error: Exception) -> str:
    """What went wrong in the importer: the last line of its own traceback, which an operator wraps in others."""
    lines = [line.strip().removeprefix("Error: ") for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Location: ", "File ", "Traceback"))]
    return (told[-1] if told else type(error).__name__)[:300]


def hang(objects: list, root: Any, pivot: np.ndarray) -> None:
    """Put imported objects under `root`, so that the point `pivot` (3, file units, z up) is its origin.

    Blender multiplies the transforms of parents in single precision, in which what is far from the origin, or moved
    there and back, is lost. So each object hangs on the root itself, by a matrix that is computed here in double
    precision. What belongs to an armature keeps its place there.
    """
    worlds: dict[Any, np.ndarray] = {}

    def world(item: Any) -> np.ndarray:
        chain = []
        while item is not None and item not in worlds:
            chain.append(item)
            item = item.parent
        matrix = worlds[item] if item is not None else np.eye(4)
        for link in reversed(chain):
            matrix = matrix @ np.array(link.matrix_parent_inverse, np.float64) @ local(link)
            worlds[link] = matrix
        return matrix

    placed = {item: world(item) for item in objects if not on_armature(item)}
    for item, matrix in placed.items():
        matrix = matrix.copy()
        matrix[:3, 3] -= pivot
        item.parent = root
        item.matrix_parent_inverse = Matrix(matrix.tolist())
        item.matrix_basis = Matrix.Identity(4)


def part_sheets(parts: list) -> None:
    """Move faces apart that lie back to back in one place, each towards its front.

    So files make a sheet of two sides from single-sided materials. A viewer of glTF draws the one of the two that faces
    it; Cycles hits either, and what it does not show of that one takes the other with it.
    """
    seen = [part for part in parts if len(part.data.polygons)]
    meshes = [_triangles(part) for part in seen]
    if not meshes:
        return
    corners = np.concatenate([points[triangles] for points, triangles, _ in meshes])
    if not len(corners) or not np.isfinite(corners).all():
        return
    low = corners.min(axis=(0, 1))
    diagonal = max(float(np.linalg.norm(corners.max(axis=(0, 1)) - low)), 1e-30)
    places = np.rint((corners - low) / (diagonal * SHEET)).astype(np.int64)
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(faces, axis=1)
    faces /= np.maximum(area, 1e-300)[:, None]
    # However the two are cut into triangles, each corner has a face that looks the other way.
    ways = np.repeat(np.rint(faces * 100).astype(np.int64)[:, None], 3, axis=1)
    both = np.concatenate([np.concatenate([places, way], axis=2).reshape(-1, 6) for way in (ways, -ways)])
    _, number = np.unique(both, axis=0, return_inverse=True)
    here, across = np.split(number.ravel(), 2)
    double = np.isin(across, here).reshape(-1, 3).all(axis=1) & (area > 0)
    start, done = 0, set()  # a mesh is moved once, however many nodes show it
    for part, (points, triangles, single) in zip(seen, meshes, strict=True):
        mine = slice(start, start := start + len(triangles))
        moved = double[mine] & single
        if moved.any() and part.data.name not in done:
            done.add(part.data.name)
            towards = np.zeros_like(points)
            np.add.at(towards, triangles[moved], faces[mine][moved][:, None])
            length = np.linalg.norm(towards, axis=1, keepdims=True)
            step = towards / np.maximum(length, 1e-9) * (length > 1e-6) * diagonal * SHEET
            pose = np.array(part.matrix_world, np.float64)[:3, :3]
            step = step @ np.linalg.pinv(pose).T  # a node may be flat
            # What is so small or flat that this would deform it is no sheet; other nodes may show it larger.
            if np.abs(step).max() < MOST * np.ptp(before := _positions(part.data), axis=0).max():
                part.data.vertices.foreach_set("co", (before + step).astype(np.float32).ravel())
                part.data.update()


def _positions(mesh: Any) -> np.ndarray:
    """(N, 3), float32."""
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


def _triangles(part: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (N, 3) in the world, triangles (M, 3) as their fronts wind them, and which of these are single-sided."""
    mesh = part.data
    mesh.calc_loop_triangles()
    triangles, slots = np.empty(len(mesh.loop_triangles) * 3, np.int32), np.empty(len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    mesh.loop_triangles.foreach_get("material_index", slots)
    pose = np.array(part.matrix_world, np.float64)
    front = 1 if part.matrix_world.determinant() > 0 else -1
    single = [slot.material is not None and slot.material.use_backface_culling for slot in part.material_slots]
    of_slot = np.array(single or [False])
    world = _positions(mesh) @ pose[:3, :3].T + pose[:3, 3]
    return world, triangles.reshape(-1, 3)[:, ::front], of_slot[np.minimum(slots, len(of_slot) - 1)]


def on_armature(item: Any) -> bool:
    """Whether an object hangs on an armature, at any depth."""
    parent = item.parent
    while parent is not None:
        if parent.type == "ARMATURE":
            return True
        parent = parent.parent
    return False


def local(item: Any) -> np.ndarray:
    """Transform of an imported object to its parent's frame (4, 4, float64)."""
    w, x, y, z = item.rotation_quaternion
    return matrix_of(item.location, (x, y, z, w), item.scale)
