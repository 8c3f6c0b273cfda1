# pyright: basic, reportMissingImports=false
"""Builds a room in Blender from a `Room` as JSON (sources/scenes/room.py): shell, furnishings and light.

Light comes as in the set of a film: the ceiling and the walls behind the camera are there for camera and mirror rays
only, and an even light falls through them. It stands for the many bounces between white walls that 32 samples cannot
follow. Windows are area lights, the sun is a beam of nearly parallel light from each window. Nothing bright is found by
chance alone, so noise stays that of an open scene.
"""

import math
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from .materials import Graph, Value, image_of, new_material, surface_material
from .patterns import picture_image, rug_image
from .shell import Part, Side, shell_parts

SPREAD_DEG = 1.5
"""Angle of the sun's beams, which softens the edges of shadows."""
BEAM_M = 1.5
"""Distance of a beam's origin from its window."""
AO_M = 2.0
"""Reach of the last bounce: light from beyond arrives as if there were nothing."""
GLOW, SHADE_GLOW = 12.0, 2.2
"""Radiance of a bulb and of a shade whose lamp is on."""


def build_room(scene: Any, room: dict) -> list[Part]:
    """Add the room's meshes and lights to the scene. Returns the parts, all of which are surface to rays."""
    parts = shell_parts(room)
    materials = {part.material: None for part in parts}
    for name in materials:
        materials[name] = _material(room, name)
    unseen = set(room["light"]["unseen"])
    for number, part in enumerate(parts):
        thing = add_mesh(scene, f"room{number:03}", part, materials[part.material])
        glows = part.material.startswith(("shade", "bulb"))
        if part.side in unseen or glows:
            thing.visible_diffuse = thing.visible_shadow = thing.visible_transmission = False
    _windows(scene, room)
    for number, lamp in enumerate(room["light"]["lamps"]):
        if lamp["watts"]:
            _lamp(scene, lamp, number)
    return parts


def add_mesh(scene: Any, name: str, part: Part, *materials: Any) -> Any:
    """A mesh object of a part."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(part.vertices.tolist(), [], part.faces)
    for material in materials:
        mesh.materials.append(material)
    if part.uv is not None:
        corners = np.empty(len(mesh.loops), np.int32)
        mesh.loops.foreach_get("vertex_index", corners)
        mesh.uv_layers.new().data.foreach_set("uv", part.uv[corners].astype(np.float32).ravel())
    if part.smooth:
        mesh.polygons.foreach_set("use_smooth", [True] * len(mesh.polygons))
    thing = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(thing)
    return thing


def room_world(graph: Graph, outlook: Value, light: dict) -> Value:
    """The color of the world: `outlook` for camera and mirror rays, even light for all others, more from above."""
    path = graph.node("LightPath").outputs
    seen = graph.math("MAXIMUM", path["Is Camera Ray"], path["Is Glossy Ray"])
    up = graph.node("SeparateXYZ", graph.node("TexCoord").outputs["Generated"]).outputs[2]
    even = graph.scale(light["fill_color"], graph.mul(graph.ramp(up, -0.3, 0.7, 0.55, 1.1), light["fill"]))
    return graph.mix(seen, even, outlook)


def use_fast_light(scene: Any) -> None:
    """Replace what follows the second bounce with ambient occlusion, which looks the same here and costs less.

    The tree of lights is for many lights: with a few, it is slower, and noisier where a beam crosses.
    """
    scene.cycles.use_fast_gi, scene.cycles.fast_gi_method = True, "REPLACE"
    scene.cycles.ao_bounces_render = 2
    scene.cycles.use_light_tree = False
    scene.world.light_settings.distance = AO_M


def _material(room: dict, name: str) -> Any:
    if name in ("floor", "wall", "feature", "ceiling", "trim", "cloth"):
        return surface_material(room[name])
    if name.startswith("opening"):
        return surface_material(room["openings"][int(name.removeprefix("opening"))]["surface"])
    if name.startswith("frame"):
        return _plain(name, room["pictures"][int(name.removeprefix("frame"))]["color"], 0.4)
    if name.startswith("picture"):
        picture = room["pictures"][int(name.removeprefix("picture"))]
        border = 2 * (picture["frame"] + picture["mat"])
        aspect = (picture["height"] - border) / (picture["width"] - border)
        return _printed(name, picture_image(picture["style"], aspect, picture["seed"]))
    if name.startswith(("shade", "bulb")):
        return _glowing(room["light"]["lamps"][int(name.removeprefix("shade").removeprefix("bulb"))], name)
    if name == "rug":
        return _rug(room["rug"])
    return {"metal": _plain("metal", (0.3, 0.29, 0.28), 0.3, 0.9), "mat": _plain("mat", (0.78, 0.77, 0.73), 0.9)}[name]


def _plain(name: str, color: tuple, roughness: float, metallic: float = 0.0) -> Any:
    graph, material = new_material(name)
    named = {"Base Color": color, "Roughness": roughness, "Metallic": metallic}
    graph.node("OutputMaterial", graph.node("BsdfPrincipled", named=named).outputs[0])
    return material


def _printed(name: str, pixels: np.ndarray) -> Any:
    graph, material = new_material(name)
    color = graph.node("TexImage", graph.node("TexCoord").outputs["UV"], image=image_of(name, pixels)).outputs["Color"]
    named = {"Base Color": color, "Roughness": 0.35}
    graph.node("OutputMaterial", graph.node("BsdfPrincipled", named=named).outputs[0])
    return material


def _rug(rug: dict) -> Any:
    """Tufts of 6 mm in the colors of the pattern."""
    graph, material = new_material("rug")
    flat = graph.node("TexCoord").outputs["UV"]
    unit = [1 / rug["length"], 1 / rug["width"], 0.0]
    where = graph.node("VectorMath", flat, unit, [0.5, 0.5, 0.0], operation="MULTIPLY_ADD").outputs[0]
    color = graph.node("TexImage", where, image=image_of("rug", rug_image(rug))).outputs["Color"]
    tufts = graph.node("TexVoronoi", named={"Vector": flat, "Scale": 1 / 0.006}).outputs["Distance"]
    pile = graph.ramp(graph.noise(flat, 0.25, 3.0), 0.3, 0.7, 0.88, 1.08)
    color = graph.scale(color, graph.mul(graph.ramp(tufts, 0.15, 0.85, 1.08, 0.6), pile))
    bump = graph.node("Bump", named={"Strength": 1.0, "Distance": 1.0, "Height": graph.mul(tufts, -0.0015)}).outputs[0]
    named = {"Base Color": color, "Roughness": 1.0, "Specular IOR Level": 0.1, "Normal": bump}
    graph.node("OutputMaterial", graph.node("BsdfPrincipled", named=named).outputs[0])
    return material


def _glowing(lamp: dict, name: str) -> Any:
    """A shade or a bulb; it does not light the room, which is left to lights that can be sampled."""
    graph, material = new_material(name)
    material.cycles.emission_sampling = "NONE"
    bulb = name.startswith("bulb")
    color = (0.8, 0.79, 0.76) if bulb else lamp["shade"]["colour"]
    named = {"Base Color": color, "Roughness": 0.6}
    if lamp["watts"]:
        tint = lamp["color"] if bulb else [c * s for c, s in zip(lamp["color"], color, strict=True)]
        named |= {"Emission Color": tint, "Emission Strength": GLOW if bulb else SHADE_GLOW}
    graph.node("OutputMaterial", graph.node("BsdfPrincipled", named=named).outputs[0])
    return material


def add_light(scene: Any, kind: str, name: str, at: Any, towards: Any, watts: float, color: Any, **shape: Any) -> Any:
    data = bpy.data.lights.new(name, kind)
    data.energy, data.color = watts, color
    for key, value in shape.items():
        setattr(data, key, value)
    thing = bpy.data.objects.new(name, data)
    scene.collection.objects.link(thing)
    thing.location = at
    thing.rotation_euler = Vector(towards).to_track_quat("-Z", "Y").to_euler()
    thing.visible_camera = False
    return thing


def _windows(scene: Any, room: dict) -> None:
    """An area light in each window and, where the sun shines through it, a beam."""
    light, sun = room["light"], room["light"]["sun"]
    for number, opening in enumerate(room["openings"]):
        if opening["kind"] != "window":
            continue
        side = Side(opening["wall"], room["size"])
        width, height = opening["width"], opening["height"]
        middle = side.world(np.array([opening["along"], opening["bottom"] + height / 2, 0.18]))[0]
        watts = light["windows"] * math.pi * width * height
        shape = {"shape": "RECTANGLE", "size": width, "size_y": height}
        add_light(scene, "AREA", f"window{number}", middle, -side.normal, watts, light["windows_color"], **shape)
        if sun and sun["wall"] == opening["wall"]:
            towards = np.array(sun["direction"])
            # As seen along the beam, the window is a parallelogram, and the light a box around it.
            flat = np.cross(towards, (0.0, 0.0, 1.0))
            flat /= np.linalg.norm(flat)
            size = width * abs(flat @ side.right) + 0.1
            upward = np.cross(flat, towards)
            size_y = height * abs(upward[2]) + width * abs(upward @ side.right) + 0.1
            shape = {"shape": "RECTANGLE", "size": size, "size_y": size_y, "spread": math.radians(SPREAD_DEG)}
            watts, at = sun["irradiance"] * size * size_y, middle - BEAM_M * towards
            beam = add_light(scene, "AREA", f"beam{number}", at, towards, watts, sun["color"], **shape)
            beam.visible_glossy = False


def _lamp(scene: Any, lamp: dict, number: int) -> None:
    """Shades cast no shadows; the cones of light that they would leave are lights of their own."""
    at, watts, color = (lamp["x"], lamp["y"], lamp["z"]), lamp["watts"], lamp["color"]
    down, up = (0.0, 0.0, -1.0), (0.0, 0.0, 1.0)
    if lamp["kind"] == "flush":
        shape = {"shape": "DISK", "size": 2 * lamp["radius"]}
        add_light(scene, "AREA", f"lamp{number}", (*at[:2], at[2] - 0.01), down, watts, color, **shape)
        return
    cone = {"spot_size": math.radians(110), "spot_blend": 0.5, "shadow_soft_size": 0.06}
    below = 0.75 if lamp["kind"] == "pendant" else 0.4
    add_light(scene, "SPOT", f"lamp{number}", at, down, 4 * watts * below, color, **cone)
    if lamp["kind"] == "standing":
        add_light(scene, "SPOT", f"lamp{number}up", at, up, 4 * watts * 0.3, color, **cone)
    add_light(scene, "POINT", f"lamp{number}glow", at, down, watts * 0.3, color, shadow_soft_size=lamp["radius"])
