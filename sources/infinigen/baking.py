# pyright: basic, reportMissingImports=false
"""Procedural materials as images: base color, roughness and normals of a whole object in one atlas.

What varies over a material's surface is baked. Metalness, transmission and emission become one number for each
material: the bake measures the color of what scatters light, which metal and glass do not do.
"""

import math
from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

MARGIN_PIXELS = 8
ISLAND_MARGIN = 0.003
"""Distance between the islands of the atlas, as a share of its side."""
MAX_EMISSION = 5.0
MAX_UV_LAYERS = 8
SCATTERING = ("Metallic", "Transmission Weight", "Sheen Weight", "Coat Weight", "Subsurface Weight")
"""Inputs of a Principled BSDF that hide its base color from a bake of the diffuse color."""
WITHOUT_COLOR = (
    "BSDF_GLASS",
    "BSDF_REFRACTION",
    "BSDF_GLOSSY",
    "BSDF_METALLIC",
    "BSDF_TRANSLUCENT",
    "BSDF_TRANSPARENT",
)
"""Shaders whose color a bake of the diffuse color does not have."""


def bake(obj: Any, size: int) -> None:
    """Replace the materials of a mesh object by materials of baked images.

    Args:
        size: pixels of a side of each image.
    """
    _own_materials(obj)
    constants = [_constants(slot.material) for slot in obj.material_slots]
    seen = set()
    for slot in obj.material_slots:
        for tree in _trees(slot.material.node_tree, seen):
            _make_diffuse(tree)
    _unwrap(obj)
    images = {kind: _bake_image(obj, kind, size) for kind in ("DIFFUSE", "ROUGHNESS", "NORMAL")}
    for layer in [layer.name for layer in obj.data.uv_layers if layer.name != "baked"]:
        obj.data.uv_layers.remove(obj.data.uv_layers[layer])
    obj.data.uv_layers["baked"].active_render = True
    for slot, values in zip(obj.material_slots, constants, strict=True):
        slot.material = _material(slot.material.name, images, values)


def select_only(obj: Any) -> None:
    bpy.ops.object.select_all(action="DESELECT")
    obj.select_set(True)
    bpy.context.view_layer.objects.active = obj


def _own_materials(obj: Any) -> None:
    """Give the object copies of its materials, because baking changes them."""
    if not obj.material_slots:
        obj.data.materials.append(None)
    for slot in obj.material_slots:
        slot.material = slot.material.copy() if slot.material else bpy.data.materials.new("plain")
        slot.material.use_nodes = True


def _trees(tree: Any, seen: set) -> Iterator[Any]:
    """A node tree and those of its groups, each once over all calls that share `seen`."""
    if tree in seen:
        return
    seen.add(tree)
    yield tree
    for node in tree.nodes:
        if node.type == "GROUP" and node.node_tree:
            yield from _trees(node.node_tree, seen)


def _constants(material: Any) -> dict:
    """Means of metalness and transmission over the shaders of a material, and its emission."""
    metallic, transmission, emission = [], [], None
    for tree in _trees(material.node_tree, set()):
        for node in tree.nodes:
            if not (node.outputs and node.outputs[0].links):
                continue
            if node.type == "BSDF_PRINCIPLED":
                metallic.append(node.inputs["Metallic"].default_value)
                transmission.append(node.inputs["Transmission Weight"].default_value)
            elif node.type in ("BSDF_GLASS", "BSDF_REFRACTION"):
                metallic.append(0.0)
                transmission.append(1.0)
            elif node.type == "EMISSION":
                emission = (list(node.inputs[0].default_value), node.inputs[1].default_value)
    return {
        "metallic": float(np.mean(metallic or [0.0])),
        "transmission": float(np.mean(transmission or [0.0])),
        "emission": emission,
    }


def _make_diffuse(tree: Any) -> None:
    """Let every shader of a tree scatter its color, so that a bake of the diffuse color has it."""
    for node in list(tree.nodes):
        if node.type == "BSDF_PRINCIPLED":
            for name in SCATTERING:
                socket = node.inputs[name]
                for link in list(socket.links):
                    tree.links.remove(link)
                socket.default_value = 0.0
        elif node.type in WITHOUT_COLOR and node.outputs[0].links:
            diffuse = tree.nodes.new("ShaderNodeBsdfDiffuse")
            color = node.inputs[0]
            if color.links:
                tree.links.new(color.links[0].from_socket, diffuse.inputs[0])
            else:
                diffuse.inputs[0].default_value = color.default_value
            for link in list(node.outputs[0].links):
                tree.links.new(diffuse.outputs[0], link.to_socket)


def _unwrap(obj: Any) -> None:
    """Add a UV layer `baked` without overlaps. The materials still use the one that they were made for."""
    layers = obj.data.uv_layers
    if len(layers) >= MAX_UV_LAYERS:
        layers.remove(layers[-1])
    shown = next((layer.name for layer in layers if layer.active_render), layers[0].name if layers else None)
    layers.new(name="baked")
    layers["baked"].active = True
    if shown:
        layers[shown].active_render = True
    select_only(obj)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(angle_limit=math.radians(66), island_margin=ISLAND_MARGIN)
    bpy.ops.object.mode_set(mode="OBJECT")


def _bake_image(obj: Any, kind: str, size: int) -> Any:
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", 1
    scene.cycles.use_denoising = False
    scene.render.bake.margin, scene.render.bake.use_selected_to_active = MARGIN_PIXELS, False
    image = bpy.data.images.new(kind.lower(), size, size)
    if kind != "DIFFUSE":
        image.colorspace_settings.name = "Non-Color"
    for slot in obj.material_slots:
        nodes = slot.material.node_tree.nodes
        target = nodes.get("bake target") or nodes.new("ShaderNodeTexImage")
        target.name, target.image = "bake target", image
        for node in nodes:
            node.select = False
        target.select, nodes.active = True, target
    bpy.ops.object.bake(type=kind, **({"pass_filter": {"COLOR"}} if kind == "DIFFUSE" else {}))
    image.pack()
    return image


def _material(name: str, images: dict, constants: dict) -> Any:
    material = bpy.data.materials.new(name[:40])
    material.use_nodes = True
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]

    def color_of(kind: str) -> Any:
        node = tree.nodes.new("ShaderNodeTexImage")
        node.image = images[kind]
        return node.outputs[0]

    normals = tree.nodes.new("ShaderNodeNormalMap")
    tree.links.new(color_of("NORMAL"), normals.inputs["Color"])
    tree.links.new(normals.outputs[0], shader.inputs["Normal"])
    tree.links.new(color_of("DIFFUSE"), shader.inputs["Base Color"])
    tree.links.new(color_of("ROUGHNESS"), shader.inputs["Roughness"])
    shader.inputs["Metallic"].default_value = round(constants["metallic"], 2)
    shader.inputs["Transmission Weight"].default_value = round(constants["transmission"], 2)
    if constants["emission"] and constants["emission"][1] > 0:
        shader.inputs["Emission Color"].default_value = constants["emission"][0]
        shader.inputs["Emission Strength"].default_value = min(constants["emission"][1], MAX_EMISSION)
    return material
