# pyright: basic, reportMissingImports=false
"""Defines which surface a camera ray hits, by the same rule for all maps.

The surface at a pixel is the first one along the ray through the pixel's center whose opacity is at least `SOLID`,
whatever its shader nodes. Transmission does not make a surface less opaque, and back faces of single-sided materials
are ignored. Depth, normal, object index and material index all belong to this surface.

Cycles sends the first sample of each pixel through its center, and writes depth and indices of this sample only. So on
center rays, materials become transparent where their opacity is below `SOLID`. This affects only one of many samples,
which does not show in the image. Materials that are opaque everywhere are not changed.

Single-sided materials look as in all glTF viewers: camera and mirror rays do not see back faces. Shadow and diffuse
rays follow light backward, so they are blocked by backs (there light arrives at the front) and pass through fronts.
"""

from typing import Any

import bpy

from .materials import Graph, Value, fill_empty_slots, tree_of

SOLID = 0.5
"""Minimum opacity of a surface."""
CENTER = 0.02
"""Distance from the center of a pixel within which a ray counts as the center ray, pixels. One in 600 other rays does,
too."""
NORMAL_AOV = "GeometricNormal"
"""Name of the normal pass: world space, geometric (smooth-shaded, without bump maps), facing the camera, of any length;
zero where there is no surface."""
FAINT_AOV = "Faint"
"""Prefix of the name of a pass for each object that may have faint parts, followed by its id: the sum of the opacities
that the center ray passes through, divided by the number of samples."""


def export_hits(view_layer: Any, width: int, height: int, faint: dict[int, list]) -> None:
    """Make every material follow the rule and write the passes. Call once, after all objects are loaded.

    Args:
        faint: materials of each object, by id. `FAINT_AOV` passes are added for those that are not opaque everywhere.
    """
    # On center rays only solid surface is left, so Cycles must accept any remaining alpha.
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
    """Whether a material is surface everywhere (True), nowhere (False), or depends on textures (None)."""
    tree = tree_of(material)
    output = tree.get_output_node("CYCLES")
    if output is None or not output.inputs["Surface"].is_linked:
        return True
    opacity = _opacity(Graph(tree), output.inputs["Surface"].links[0].from_socket)
    return None if _socket(opacity) else bool(opacity >= SOLID)


def _opacity(graph: Graph, shader: Any) -> Value:
    """Fraction of a camera ray that a shader does not let pass straight through, 0 to 1; a float if it is constant.

    As in Cycles, the transparency of a mixture is the mixture of the transparencies, and that of a sum is their sum.
    A shader that is neither transparent nor a combination of others is opaque.
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
    """Opacity of one shader of a mixture. An unconnected socket is black and blocks light."""
    return _opacity(graph, socket.links[0].from_socket) if socket.is_linked else 1.0


def _input(socket: Any) -> Value:
    """The input of a socket, for a camera ray."""
    if not socket.is_linked:
        value = socket.default_value
        return value if isinstance(value, float) else tuple(value)
    found = socket.links[0].from_socket
    is_camera = found.node.bl_idname == "ShaderNodeLightPath" and found.name == "Is Camera Ray"
    return 1.0 if is_camera else found


def _at_center(graph: Graph, width: int, height: int) -> Value:
    """1 if the ray passes through the center of a pixel, else 0."""
    window = graph.node("SeparateXYZ", graph.node("TexCoord").outputs["Window"]).outputs
    near = [
        graph.math("COMPARE", graph.math("FRACT", graph.mul(window[axis], float(size))), 0.5, CENTER)
        for axis, size in ((0, width), (1, height))
    ]
    return graph.mul(*near)


def _not_culled(graph: Graph) -> Value:
    """0 if this type of ray does not see this side of a single-sided material, else 1."""
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
    """a * b. No nodes are added if a constant factor determines the result."""
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
