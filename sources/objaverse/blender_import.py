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

from sources.objaverse.glb import GlbError, open_glb
from sources.objaverse.transforms import matrix_of

DOUBLE_SIDED = "spatialdata_double_sided"
"""A property of materials that are described in a file; single-sided is what glTF has for the others, too."""


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
