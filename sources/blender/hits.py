# pyright: basic, reportMissingImports=false
"""What a ray of the camera hits: one rule for every map.

The surface at a pixel is the first along the ray through the pixel's center whose opacity is at least `SOLID`, whatever
nodes it is made of; light that only passes (transmission) does not make a surface less opaque, and back faces of
single-sided materials are not there. Depth, normal, object and material index are all of that surface.

Cycles sends the first sample of each pixel through its center, and writes depth and indices of that sample alone. So a
material that knows itself to be on a center's ray takes away what is too faint to be surface: of many samples one, in
which it is not seen. Materials that are opaque everywhere stay as they are.

Single-sided materials follow what every viewer of glTF draws. Eye and mirrors do not see back faces. Light, which
Cycles follows backwards (shadow and diffuse rays), is stopped where it arrives at a front: the ray meets its back.
"""

from typing import Any

import bpy

from .materials import Graph, Value, fill_empty_slots, tree_of

SOLID = 0.5
"""Least opacity of a surface."""
CENTER = 0.02
"""Pixels from the center within which a ray is the center's: one other ray of 600 is, too."""
NORMAL_AOV = "GeometricNormal"
"""Name of the pass: world space, geometric (smooth-shaded, never bumped), facing the camera, of any length, zero where
there is no surface."""
FAINT_AOV = "Faint"
"""Begins the name of a pass of each object that may be faint, followed by its id: the sum of the opacities that the
center's ray passes through, over the number of samples."""


def export_hits(view_layer: Any, width: int, height: int, faint: dict[int, list]) -> None:
    """Make every material follow the rule and write the passes; call once, when all objects are loaded.

    Args:
        faint: materials of each object, by id. The passes `FAINT_AOV` are added for those that are not opaque.
    """
    # One decision is made here: at a center's ray what is left is solid, and Cycles takes all of it.
    view_layer.pass_alpha_threshold = 0.01
    _add_pass(view_layer, NORMAL_AOV, "COLOR")
    fill_empty_slots()
    owners = {material: id for id, materials in faint.items() for material in materials}
    for number, material in enumerate(bpy.data.materials):
        if material.is_grease_pencil:
            continue
        material.pass_index = number + 1
        graph = Graph(tree_of(material))
        output = graph.tree.get_output_node("CYCLES")
        if output is None or not output.inputs["Surface"].is_linked:
            continue
        surface = output.inputs["Surface"].links[0].from_socket
        opacity = _opacity(graph, surface)
        center = _at_center(graph, width, height)
        front = _not_culled(graph) if material.use_backface_culling else 1.0
        solid = graph.math("GREATER_THAN", opacity, SOLID - 1e-6) if _socket(opacity) else float(opacity >= SOLID)
        shown = _product(graph, front, solid)
        if shown != 1.0:
            camera = graph.node("LightPath").outputs["Is Camera Ray"]
            taken = graph.mul(graph.mul(center, camera), _inverse(graph, solid))
            left = _product(graph, front, _inverse(graph, taken))
            transparent = graph.node("BsdfTransparent").outputs[0]
            mix = graph.node("MixShader", left, transparent, surface).outputs[0]
            graph.tree.links.new(mix, output.inputs["Surface"])
        normal = graph.scale(graph.node("NewGeometry").outputs["Normal"], _product(graph, center, shown))
        graph.node("OutputAOV", normal, aov_name=NORMAL_AOV)
        if solid != 1.0 and material in owners:
            name = f"{FAINT_AOV}{owners[material]}"
            _add_pass(view_layer, name, "VALUE")
            seen = _product(graph, _product(graph, center, front), _product(graph, opacity, _inverse(graph, solid)))
            graph.node("OutputAOV", named={"Value": seen}, aov_name=name)


def solid_everywhere(material: Any) -> bool | None:
    """Whether a material is surface all over (True), nowhere (False), or as its textures say (None)."""
    tree = tree_of(material)
    output = tree.get_output_node("CYCLES")
    if output is None or not output.inputs["Surface"].is_linked:
        return True
    opacity = _opacity(Graph(tree), output.inputs["Surface"].links[0].from_socket)
    return None if _socket(opacity) else bool(opacity >= SOLID)


def _opacity(graph: Graph, shader: Any) -> Value:
    """What a shader lets of a camera's ray not pass straight, 0 to 1; a constant where it is one.

    As Cycles counts it: transparency of a mixture is the mixture of transparencies, that of a sum is their sum, and
    what is neither transparent nor made of others is opaque.
    """
    node = shader.node
    if node.bl_idname == "ShaderNodeBsdfPrincipled":
        return _clamped(graph, _input(node.inputs["Alpha"]))
    if node.bl_idname == "ShaderNodeBsdfTransparent":
        color = _input(node.inputs["Color"])
        if _socket(color):
            return _inverse(graph, graph.node("RGBToBW", color).outputs[0])
        return 1.0 - sum(color[:3]) / 3
    if node.bl_idname == "ShaderNodeMixShader":
        factor = _clamped(graph, _input(node.inputs[0]))
        first, second = (_part(graph, socket) for socket in node.inputs[1:3])
        difference = _sum(graph, second, _product(graph, first, -1.0))
        return _sum(graph, first, _product(graph, factor, difference))
    if node.bl_idname == "ShaderNodeAddShader":
        first, second = (_part(graph, socket) for socket in node.inputs[:2])
        return _clamped(graph, _sum(graph, _sum(graph, first, second), -1.0))
    return 1.0


def _part(graph: Graph, socket: Any) -> Value:
    """Opacity of one shader of a mixture; what is not connected is black and stops light."""
    return _opacity(graph, socket.links[0].from_socket) if socket.is_linked else 1.0


def _input(socket: Any) -> Value:
    """What feeds a socket; the light path is that of a camera's ray."""
    if not socket.is_linked:
        value = socket.default_value
        return value if isinstance(value, float) else tuple(value)
    found = socket.links[0].from_socket
    is_camera = found.node.bl_idname == "ShaderNodeLightPath" and found.name == "Is Camera Ray"
    return 1.0 if is_camera else found


def _at_center(graph: Graph, width: int, height: int) -> Value:
    """1 where the ray goes through the center of a pixel, else 0."""
    window = graph.node("SeparateXYZ", graph.node("TexCoord").outputs["Window"]).outputs
    near = [
        graph.math("COMPARE", graph.math("FRACT", graph.mul(window[axis], float(size))), 0.5, CENTER)
        for axis, size in ((0, width), (1, height))
    ]
    return graph.mul(*near)


def _not_culled(graph: Graph) -> Value:
    """0 where this kind of ray does not see this side of a single-sided material, else 1."""
    path, back = graph.node("LightPath").outputs, graph.node("NewGeometry").outputs["Backfacing"]
    light = graph.math("MAXIMUM", path["Is Shadow Ray"], path["Is Diffuse Ray"])
    return graph.math("COMPARE", light, back, 0.5)


def _add_pass(view_layer: Any, name: str, kind: str) -> None:
    if name not in view_layer.aovs:
        aov = view_layer.aovs.add()
        aov.name, aov.type = name, kind


def _socket(value: Value) -> bool:
    return isinstance(value, bpy.types.NodeSocket)


def _product(graph: Graph, a: Value, b: Value) -> Value:
    """a * b without nodes where a constant decides."""
    if not _socket(a) and not _socket(b):
        return a * b
    for constant, other in ((a, b), (b, a)):
        if not _socket(constant) and constant in (0.0, 1.0):
            return other if constant else 0.0
    return graph.mul(a, b)


def _sum(graph: Graph, a: Value, b: Value) -> Value:
    if not _socket(a) and not _socket(b):
        return a + b
    return graph.add(a, b)


def _inverse(graph: Graph, value: Value) -> Value:
    return graph.math("SUBTRACT", 1.0, value) if _socket(value) else 1.0 - value


def _clamped(graph: Graph, value: Value) -> Value:
    if not _socket(value):
        return min(max(value, 0.0), 1.0)
    return graph.node("Clamp", value).outputs[0]
