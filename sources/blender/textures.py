# pyright: basic, reportMissingImports=false
"""The maps of PBR texture sets as inputs of a Blender material."""

import math
from typing import Any

import bpy

Value = Any
"""A socket of a node, or a constant."""
OCCLUSION = 0.5
"""Strength of maps of ambient occlusion: the light in a scene already has part of it."""
RELIEF = 0.01
"""Range of a height map of a texture set that has no normal map, in widths of its image."""


def texture_inputs(graph: Any, u: Value, v: Value, surface: dict[str, Any], uv: str) -> dict[str, Value]:
    """Fields of `materials.Look` from the maps of a `TexturedSurface`, repeated in meters.

    Args:
        graph: a `materials.Graph`.
        u, v: coordinates on the surface, meters.
        uv: those of the mesh that `u` and `v` are, or "" for those of a floor or a wall.
    """
    maps, (width, height) = surface["maps"], surface["repeat_m"]
    where = graph.vector(graph.math("DIVIDE", u, width), graph.math("DIVIDE", v, height))

    def texture(name: str) -> Value:
        image = bpy.data.images.load(maps[name], check_existing=True)
        if name != "color":
            image.colorspace_settings.name = "Non-Color"
        return graph.node("TexImage", where, image=image).outputs["Color"]

    def channel(color: Value, number: int) -> Value:
        return graph.node("SeparateColor", color).outputs[number]

    color, roughness, metallic, occlusion, normal, relief = texture("color"), 0.8, 0.0, None, None, None
    if "arm" in maps:
        packed = texture("arm")
        occlusion, roughness, metallic = (channel(packed, number) for number in range(3))
    if "roughness" in maps:
        roughness = channel(texture("roughness"), 0)
    if "metalness" in maps:
        metallic = channel(texture("metalness"), 0)
    if "ao" in maps:
        occlusion = channel(texture("ao"), 0)
    if occlusion is not None:
        color = graph.scale(color, graph.fma(occlusion, OCCLUSION, 1.0 - OCCLUSION))
    if "normal_gl" in maps or "normal_dx" in maps:
        up = 1.0 if "normal_gl" in maps else -1.0
        mapped = texture("normal_gl" if up > 0 else "normal_dx")
        if uv:
            red, green, blue = graph.node("SeparateColor", mapped).outputs[:3]
            flipped = graph.node("CombineColor", red, graph.fma(green, up, (1.0 - up) / 2), blue).outputs[0]
            normal = graph.node("NormalMap", named={"Color": flipped}, uv_map=uv).outputs[0]
        else:
            normal = _mapped_normal(graph, mapped, up, surface["rotation_deg"])
    elif "height" in maps:
        relief = graph.mul(channel(texture("height"), 0), RELIEF * width)
    return {"color": color, "roughness": roughness, "height": relief, "normal": normal, "metallic": metallic}


def _mapped_normal(graph: Any, color: Value, up: float, rotation_deg: float) -> Value:
    """The world normal of a normal map's color, along the axes of a floor or a wall.

    Args:
        up: 1 where green points along v, -1 where it points against it.
    """
    geometry = graph.node("NewGeometry").outputs
    nx, ny, nz = graph.node("SeparateXYZ", geometry["True Normal"]).outputs
    level = graph.math("GREATER_THAN", graph.math("ABSOLUTE", nz), 0.5)
    upright = graph.math("SUBTRACT", 1.0, level)
    # A floor has the axes x and y; a wall the horizontal direction along it, and z.
    along = graph.vector(graph.fma(ny, graph.mul(upright, -1.0), level), graph.mul(nx, upright))
    upward = graph.vector(0.0, level, upright)
    cos, sin = math.cos(math.radians(rotation_deg)), math.sin(math.radians(rotation_deg))
    x, y, z = (graph.fma(value, 2.0, -1.0) for value in graph.node("SeparateColor", color).outputs[:3])
    y = graph.mul(y, up)
    # Axes of the image: u = cos along + sin upward, v = -sin along + cos upward.
    parts = (
        graph.scale(along, graph.fma(x, cos, graph.mul(y, -sin))),
        graph.scale(upward, graph.fma(x, sin, graph.mul(y, cos))),
        graph.scale(geometry["Normal"], z),
    )
    total = parts[0]
    for part in parts[1:]:
        total = graph.node("VectorMath", total, part, operation="ADD").outputs[0]
    return graph.node("VectorMath", total, operation="NORMALIZE").outputs[0]
