# pyright: basic, reportMissingImports=false
"""Builds a garden in Blender from a `Garden` as JSON (sources/scenes/garden.py): ground, plants and the sun."""

import math
from typing import Any

from .ground import garden_parts
from .materials import new_material, surface_material
from .room import add_light, add_mesh
from .shell import Part

SUN_DEG = 1.0
"""Angle of the sun, which softens the edges of shadows."""


def build_garden(scene: Any, garden: dict) -> list[Part]:
    """Add the garden's meshes and its sun to the scene. Returns the parts, all of which are surface to rays."""
    parts = garden_parts(garden)
    for part in parts:
        add_mesh(scene, part.name, part, _material(garden, part.material))
    if sun := garden["sun"]:
        add_light(
            scene,
            "SUN",
            "sun",
            (0.0, 0.0, 5.0),
            sun["direction"],
            sun["irradiance"],
            sun["color"],
            angle=math.radians(SUN_DEG),
        )
    return parts


def _material(garden: dict, name: str) -> Any:
    if name == "ground":
        return surface_material(garden["ground"])
    if name == "terrace":
        return surface_material(garden["terrace"]["surface"])
    if name == "path":
        return surface_material(garden["path"]["surface"])
    if name == "fence":
        return surface_material(garden["border"]["surface"] | {"rotation_deg": 90.0})
    if name == "grass":
        return _leaves(name, garden["grass"]["young"], garden["grass"]["dry"])
    surface = garden["border"]["surface"]
    if name == "hedge":
        return _leaves(name, surface["colour"], surface["accent"])
    return _leaves(name, *2 * [[0.55 * value for value in surface["colour"]]])


def _leaves(name: str, first: Any, second: Any) -> Any:
    """Thin green, each leaf or blade between two colors; some light passes."""
    graph, material = new_material(name)
    own = graph.node("NewGeometry").outputs["Random Per Island"]
    color = graph.mix(own, first, second)
    front, through = graph.node("BsdfDiffuse", color).outputs[0], graph.node("BsdfTranslucent", color).outputs[0]
    graph.node("OutputMaterial", graph.node("MixShader", 0.35, front, through).outputs[0])
    return material
