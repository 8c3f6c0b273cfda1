# pyright: basic, reportMissingImports=false
"""Builds the room model of a scene in Blender, with a light below its ceiling."""

import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .geometry import geometry
from .hits import solid_everywhere
from .importer import ImportFailed, attach, import_model
from .materials import tree_of
from .room import add_light
from .visibility import Shell

LAMP_RADIANCE = 3.0
"""Of the light below the ceiling, of color `LAMP_COLOR`. Blender's HDRIs have a mean radiance of 0.7."""
LAMP_COLOR = (1.0, 0.95, 0.88)


def build_environment(scene: Any, environment: dict) -> Shell:
    """Add a room model and its light to the scene. Returns what is surface to rays: all that is not faint.

    All faces are seen from both sides: a room that is made to be looked into from outside shows its walls inside, too.
    Unlit materials reflect light, so that objects cast shadows on them.

    Raises ImportFailed if it cannot be read or has no surface.
    """
    file = Path(environment["file"])
    root = bpy.data.objects.new("environment", None)
    scene.collection.objects.link(root)
    try:
        added = import_model(str(file))
        attach(added, root, -np.asarray(environment["offset"]) / environment["scale"])
    except (ImportFailed, ValueError) as error:
        raise ImportFailed(f"{file.name}: {error}") from None
    root.scale = (environment["scale"],) * 3
    for part in added:
        part.hide_render = part.type != "MESH"
    bpy.context.view_layer.update()
    shape = geometry([part for part in added if part.type == "MESH"])
    materials = [material for material in shape.materials if material is not None]
    for material in materials:
        material.use_backface_culling = False
        make_lit(material)
    faint = np.array([m is not None and solid_everywhere(m) is False for m in shape.materials], bool)
    triangles = shape.triangles[~faint[shape.material]]
    if not len(triangles) or not np.isfinite(shape.vertices).all():
        raise ImportFailed(f"{file.name}: Blender finds no surface in it, or coordinates that are not finite")
    x, y, z, width, depth = environment["lamp"]
    watts = LAMP_RADIANCE * math.pi * width * depth
    size = {"shape": "RECTANGLE", "size": width, "size_y": depth}
    add_light(scene, "AREA", "lamp", (x, y, z), (0.0, 0.0, -1.0), watts, LAMP_COLOR, **size)
    return Shell(shape.vertices, triangles, np.zeros(len(triangles), bool))


def make_lit(material: Any) -> None:
    """Let an unlit material reflect its color. Other materials stay as they are.

    The importer makes of an unlit material a mix of a transparent shader and an emission that only camera rays see.
    """
    tree = tree_of(material)
    for path in [node for node in tree.nodes if node.bl_idname == "ShaderNodeLightPath"]:
        for link in list(path.outputs["Is Camera Ray"].links):
            factor, _, shader = link.to_node.inputs
            color = shader.links[0].from_node.inputs["Color"]
            diffuse = tree.nodes.new("ShaderNodeBsdfDiffuse")
            diffuse.inputs["Color"].default_value = color.default_value
            for source in color.links:
                tree.links.new(source.from_socket, diffuse.inputs["Color"])
            tree.links.new(diffuse.outputs["BSDF"], shader)
            tree.links.remove(link)
            factor.default_value = 1.0
