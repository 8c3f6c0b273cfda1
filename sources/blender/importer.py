# pyright: basic, reportMissingImports=false
"""Imports a model into Blender: checked before the import, at rest, only its default scene, near the origin.

The importer opens every file that a model references. So the model is first checked with `glb.open_glb`, as in the
survey.
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
"""Custom property of imported materials. Materials without it are single-sided, the default of glTF."""
SHEET_DISTANCE = 2e-5
"""Distance below which points coincide, and by which coincident faces are moved apart, divided by the diagonal of the
model: a hundredth of a millimeter for a chair, and about a hundred times the resolution of single precision."""
MAX_SHIFT = 1e-3
"""Limit for moving faces, as fraction of the extent of their mesh."""


class ImportFailed(Exception):
    """A model cannot be read. The message is that of the check or of the importer."""


class ImportHooks:
    """Hooks of the glTF importer (its user extension interface). They keep only the visible surface, at rest.

    Skipped are animations, cameras, lights, material variants other than the default, nodes outside the default scene,
    and attributes of applications. The hooks also record which materials are double-sided, because the importer treats
    a mesh without a material as double-sided.
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
                attributes = {name: at for name, at in primitive.attributes.items() if not name.startswith("_")}
                primitive.attributes = attributes

    def gather_import_material_after_hook(self, description: Any, color: str, material: Any, gltf: Any) -> None:
        material[DOUBLE_SIDED] = bool(description.double_sided)


def in_default_scene(data: Any) -> set[int]:
    """Indices of the nodes of the default scene; all nodes if the file has no scenes."""
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
    """Import one GLB and return its objects, sorted by name.

    Raises ImportFailed with the reason.
    """
    before = set(bpy.data.objects)
    sys.modules["io_scene_gltf2"].__dict__["glTF2ImportUserExtension"] = ImportHooks
    try:
        open_glb(Path(file))
        bpy.ops.import_scene.gltf(filepath=file, import_webp_texture=True, disable_bone_shape=True)
    except GlbError as error:
        raise ImportFailed(error.detail) from None
    except Exception as error:  # includes bugs of the importer on unusual files
        raise ImportFailed(f"Blender: {last_error_line(error)}") from None
    finally:
        logging.getLogger("glTFImporter").handlers.clear()  # a failed import does not remove its handler
    added = sorted((item for item in bpy.data.objects if item not in before), key=lambda item: item.name)
    for material in {slot.material for item in added for slot in item.material_slots if slot.material}:
        material.use_backface_culling = not material.get(DOUBLE_SIDED, False)
    return added


def last_error_line(error: Exception) -> str:
    """The last line of the importer's own traceback, which the operator wraps in others."""
    lines = [line.strip().removeprefix("Error: ") for line in str(error).splitlines()]
    messages = [line for line in lines if line and not line.startswith(("Location: ", "File ", "Traceback"))]
    return (messages[-1] if messages else type(error).__name__)[:300]


def attach(objects: list, root: Any, pivot: np.ndarray) -> None:
    """Parent imported objects to `root`, so that the point `pivot` (3, file units, z up) becomes its origin.

    Blender multiplies the transforms of parents in single precision, which loses digits if a model is far from the
    origin, or is moved there and back. So each object becomes a direct child of the root, with a matrix that is
    computed here in double precision. Objects of an armature keep their parents.
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


def separate_sheets(parts: list) -> None:
    """Move coincident faces that are back to back apart, each toward its front.

    Some files build a two-sided sheet from two single-sided faces. A glTF viewer draws the one that faces the camera.
    Cycles may hit either of them, and if it hits the back of one, it may miss the other.
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
    places = np.rint((corners - low) / (diagonal * SHEET_DISTANCE)).astype(np.int64)
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(faces, axis=1)
    faces /= np.maximum(area, 1e-300)[:, None]
    # However the two are triangulated, at each corner there is a face in the opposite direction.
    directions = np.repeat(np.rint(faces * 100).astype(np.int64)[:, None], 3, axis=1)
    both = np.concatenate(
        [np.concatenate([places, direction], axis=2).reshape(-1, 6) for direction in (directions, -directions)]
    )
    _, number = np.unique(both, axis=0, return_inverse=True)
    own, opposite = np.split(number.ravel(), 2)
    double = np.isin(opposite, own).reshape(-1, 3).all(axis=1) & (area > 0)
    start, done = 0, set()  # a mesh is moved once, even if several nodes use it
    for part, (points, triangles, single) in zip(seen, meshes, strict=True):
        own_faces = slice(start, start := start + len(triangles))
        moved = double[own_faces] & single
        if moved.any() and part.data.name not in done:
            done.add(part.data.name)
            towards = np.zeros_like(points)
            np.add.at(towards, triangles[moved], faces[own_faces][moved][:, None])
            length = np.linalg.norm(towards, axis=1, keepdims=True)
            step = towards / np.maximum(length, 1e-9) * (length > 1e-6) * diagonal * SHEET_DISTANCE
            pose = np.array(part.matrix_world, np.float64)[:3, :3]
            step = step @ np.linalg.pinv(pose).T  # the scale of a node may be zero
            # Skip meshes that are so small or flat that this would deform them. Other nodes may show them larger.
            if np.abs(step).max() < MAX_SHIFT * np.ptp(before := _positions(part.data), axis=0).max():
                part.data.vertices.foreach_set("co", (before + step).astype(np.float32).ravel())
                part.data.update()


def _positions(mesh: Any) -> np.ndarray:
    """(N, 3), float32."""
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


def _triangles(part: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World vertices (N, 3), triangles (M, 3) counter-clockwise from the front, and whether each is single-sided."""
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
    """Whether an object is a descendant of an armature."""
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
