# pyright: basic
"""Procedural Blender materials of floors, walls and furnishings, in meters, so that boards have their real sizes.

Runs inside Blender 5.0 (bpy only). Patterns are functions of the world position: (x, y) on horizontal surfaces, (along
the wall, z) on vertical ones. They do not use the coordinates of the mesh, so a plane of any size works, and a pattern
does not change when an object of the scene moves.

Bump heights are in meters.
"""

import math
import random
from typing import Any, NamedTuple

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np

from .patterns import wallpaper_image
from .textures import texture_inputs

Value = Any
"""A socket of a node, or a constant."""


class Graph:
    """Builds the node tree of a material from expressions: every input is a socket of another node or a constant."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def node(self, kind: str, *inputs: Value, named: dict[str, Value] | None = None, **settings: Value) -> Value:
        """Add a node and set its inputs, by position, then by name. `None` leaves an input unchanged."""
        node = self.tree.nodes.new("ShaderNode" + kind)
        for name, value in settings.items():
            setattr(node, name, value)
        for key, value in [*enumerate(inputs), *(named or {}).items()]:
            if value is not None:
                self._feed(node.inputs[key], value)
        return node

    def _feed(self, socket: Any, value: Value) -> None:
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        elif socket.type == "RGBA":
            socket.default_value = (*value, 1.0)
        else:
            socket.default_value = value

    def math(self, operation: str, *values: Value) -> Value:
        return self.node("Math", *values, operation=operation).outputs[0]

    def add(self, a: Value, b: Value) -> Value:
        return self.math("ADD", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self.math("MULTIPLY", a, b)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        return self.math("MULTIPLY_ADD", a, b, c)

    def ramp(self, value: Value, low: float, high: float, out_low: float = 0.0, out_high: float = 1.0) -> Value:
        """Smooth step from `out_low` (at or below `low`) to `out_high` (at or above `high`)."""
        node = self.node("MapRange", value, low, high, out_low, out_high, interpolation_type="SMOOTHSTEP")
        return node.outputs[0]

    def vector(self, x: Value, y: Value, z: Value = 0.0) -> Value:
        return self.node("CombineXYZ", x, y, z).outputs[0]

    def noise(self, vector: Value, size_m: float, detail: float = 2.0, roughness: float = 0.5) -> Value:
        """Fractal noise around 0.5, with features of about `size_m` meters."""
        named = {"Vector": vector, "Scale": 1.0 / size_m, "Detail": detail, "Roughness": roughness}
        return self.node("TexNoise", named=named, noise_dimensions="3D").outputs[0]

    def mix(self, factor: Value, a: Value, b: Value) -> Value:
        """Blend the colors `a` (factor 0) and `b` (factor 1)."""
        node = self.node("Mix", data_type="RGBA")
        for name, value in (("Factor_Float", factor), ("A_Color", a), ("B_Color", b)):
            self._feed(next(s for s in node.inputs if s.identifier == name), value)
        return next(s for s in node.outputs if s.identifier == "Result_Color")

    def scale(self, color: Value, factor: Value) -> Value:
        node = self.node("VectorMath", color, operation="SCALE", named={"Scale": factor})
        return node.outputs[0]


class Look(NamedTuple):
    """Result of a pattern: color, roughness, height in meters (None: flat) and specular level (1: varnish)."""

    color: Value
    roughness: Value
    height: Value
    specular: float = 0.5
    translucent: float = 0.0
    """Share of the light that passes, as through cloth."""
    normal: Value = None
    """In the world, in place of `height`; None: as `height` gives it."""
    metallic: Value = 0.0


class Cells(NamedTuple):
    """A grid of boards, tiles or bricks."""

    edge: Value
    """Distance to the nearest seam, meters."""
    value: Value
    """A random number for each cell, 0 to 1."""
    other: Value
    """A second random number."""
    parity: Value
    """0 or 1, alternating as on a chessboard."""


def surface_material(surface: dict[str, Any], uv: str = "") -> Any:
    """The material of a `Surface` (a dict with its fields): Principled BSDF, opaque, no displacement.

    Args:
        uv: coordinates of the mesh in meters, for textures, in place of those on a floor or a wall.
    """
    textured = "texture" in surface
    graph, material = new_material(surface["texture"] if textured else surface["kind"])
    rng = random.Random(surface["seed"])
    if uv:
        u, v = graph.node("SeparateXYZ", graph.node("UVMap", uv_map=uv).outputs[0]).outputs[:2]
    else:
        u, v = _plane(graph, math.radians(surface["rotation_deg"]), rng)
    if textured:
        look = Look(**texture_inputs(graph, u, v, surface, uv))
    else:
        look = _KINDS[surface["kind"]](graph, u, v, surface, rng)
    # Wear and dust: no real surface has exactly the same color over two meters.
    wear = graph.ramp(graph.noise(graph.vector(u, v, 9.0), 1.3, 2.0), 0.3, 0.7, 0.93, 1.05)
    color = graph.scale(look.color, wear)
    named = {"Base Color": color, "Roughness": look.roughness, "Specular IOR Level": look.specular}
    if textured:
        named["Metallic"] = look.metallic
    if look.normal is not None:
        named["Normal"] = look.normal
    elif look.height is not None:
        named["Normal"] = graph.node("Bump", named={"Strength": 1.0, "Distance": 1.0, "Height": look.height}).outputs[0]
    shader = graph.node("BsdfPrincipled", named=named).outputs[0]
    if look.translucent:
        through = graph.node("BsdfTranslucent", color).outputs[0]
        shader = graph.node("MixShader", look.translucent, shader, through).outputs[0]
    graph.node("OutputMaterial", shader)
    return material


def image_of(name: str, pixels: np.ndarray) -> Any:
    """A Blender image of linear values (H, W) or (H, W, 3), row 0 below."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height, float_buffer=True, is_data=True)
    values = np.ones((height, width, 4), np.float32)
    values[..., :3] = pixels[..., None] if pixels.ndim == 2 else pixels
    image.pixels.foreach_set(values.ravel())
    return image


def new_material(name: str) -> tuple[Graph, Any]:
    material = bpy.data.materials.new(name)
    graph = Graph(tree_of(material))
    graph.tree.nodes.clear()
    return graph, material


def tree_of(material: Any) -> Any:
    """The node tree of a material. Before Blender 5 it must be enabled; since Blender 5 setting the flag only warns."""
    if not material.node_tree:
        material.use_nodes = True
    return material.node_tree


def fill_empty_slots() -> None:
    """Assign a plain gray material to meshes without one, because only materials write passes."""
    gray = None
    for mesh in (o.data for o in bpy.data.objects if o.type == "MESH"):
        if mesh.materials and all(mesh.materials):
            continue
        if gray is None:
            graph, gray = new_material("grey")  # materials are numbered in the order of their names: keep this one
            graph.node("OutputMaterial", graph.node("BsdfPrincipled", [0.5, 0.5, 0.5]).outputs[0])
        if not mesh.materials:
            mesh.materials.append(gray)
        for slot, material in enumerate(mesh.materials):
            if material is None:
                mesh.materials[slot] = gray


def _plane(graph: Graph, angle: float, rng: random.Random) -> tuple[Value, Value]:
    """Coordinates on the surface in meters, rotated by `angle` (radians). The origin depends on the seed."""
    geometry = graph.node("NewGeometry").outputs
    position = graph.node("SeparateXYZ", geometry["Position"]).outputs
    normal = graph.node("SeparateXYZ", geometry["True Normal"]).outputs
    level = graph.math("GREATER_THAN", graph.math("ABSOLUTE", normal[2]), 0.5)
    # Along a wall: cross product of world z and its normal.
    along = graph.math("SUBTRACT", graph.mul(position[1], normal[0]), graph.mul(position[0], normal[1]))
    x = _choose(graph, level, along, position[0])
    y = _choose(graph, level, position[2], position[1])
    cos, sin = math.cos(angle), math.sin(angle)
    shift = rng.uniform(20, 60), rng.uniform(20, 60)
    u = graph.fma(x, cos, graph.fma(y, sin, shift[0]))
    # The courses of a wall start at the floor.
    v = graph.fma(y, cos, graph.fma(x, -sin, graph.mul(level, shift[1])))
    return u, v


def _choose(graph: Graph, condition: Value, a: Value, b: Value) -> Value:
    """`a` if the condition is 0, `b` if it is 1."""
    return graph.fma(graph.math("SUBTRACT", b, a), condition, a)


def _cells(graph: Graph, u: Value, v: Value, length: float, width: float, shift: str, seed: float) -> Cells:
    """Rows of `width`, divided every `length`. Rows are shifted by `shift` ("none", "half", "random") of a length."""
    across = graph.math("DIVIDE", v, width)
    row = graph.math("FLOOR", across)
    offset = 0.0
    if shift == "half":
        offset = graph.mul(graph.math("FLOORED_MODULO", row, 2.0), 0.5)
    elif shift == "random":
        where = graph.vector(row, seed, 5.0)
        offset = graph.node("TexWhiteNoise", where, noise_dimensions="3D").outputs["Value"]
    along = graph.add(graph.math("DIVIDE", u, length), offset)
    column = graph.math("FLOOR", along)
    to_end = graph.mul(graph.math("PINGPONG", along, 0.5), length)
    to_side = graph.mul(graph.math("PINGPONG", across, 0.5), width)
    random_rgb = graph.node("TexWhiteNoise", graph.vector(column, row, seed), noise_dimensions="3D").outputs["Color"]
    values = graph.node("SeparateXYZ", random_rgb).outputs
    parity = graph.math("FLOORED_MODULO", graph.add(row, column), 2.0)
    return Cells(graph.math("MINIMUM", to_end, to_side), values[0], values[1], parity)


def _wood(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Boards of width `scale_m` with rings, fibers and dark seams."""
    width = surface["scale_m"]
    cells = _cells(graph, u, v, width * rng.uniform(7, 12), width, "random", rng.randrange(1000))
    depth = graph.mul(cells.value, 40.0)
    broad = graph.noise(graph.vector(graph.mul(u, 0.14), v, depth), width * 0.55, 2.0)
    rings = graph.math("SINE", graph.mul(broad, rng.uniform(28, 48)))
    fibers = graph.noise(graph.vector(graph.mul(u, 0.03), v, depth), 0.004, 2.0, 0.6)
    grain = graph.fma(rings, 0.13, graph.fma(fibers, 0.9, graph.fma(cells.other, 0.5, -0.3)))
    grain = graph.math("MINIMUM", graph.math("MAXIMUM", grain, 0.0), 1.0)
    color = graph.mix(grain, surface["colour"], surface["accent"])
    seam = graph.ramp(cells.edge, 0.0004, 0.0022)
    shade = graph.mul(graph.fma(cells.value, 0.3, 0.85), graph.fma(seam, 0.72, 0.28))
    roughness = graph.fma(fibers, 0.2, surface["roughness"] - 0.1)
    height = graph.fma(seam, 0.0007, graph.mul(fibers, 0.0002))
    return Look(graph.scale(color, shade), roughness, height, 0.4)


def _tile(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Square tiles of `scale_m` with grout in the accent color. Some floors are checkered, some cloudy like stone."""
    side = surface["scale_m"]
    cells = _cells(graph, u, v, side, side, "none", rng.randrange(1000))
    cloud_size, veins, checkered = rng.uniform(0.08, 0.3), rng.random() < 0.5, rng.random() < 0.25
    cloud = graph.noise(graph.vector(u, v, graph.mul(cells.value, 30.0)), cloud_size, 4.0, 0.6)
    dark = [c * 0.72 for c in surface["colour"]]
    body = graph.mix(graph.ramp(cloud, 0.35, 0.75), surface["colour"], dark)
    if veins:
        vein = graph.ramp(graph.math("ABSOLUTE", graph.add(cloud, -0.5)), 0.0, 0.03, 0.35, 0.0)
        body = graph.mix(vein, body, [c * 0.45 for c in surface["colour"]])
    if checkered:
        body = graph.mix(graph.mul(cells.parity, 0.85), body, [c * 0.3 for c in surface["accent"]])
    body = graph.scale(body, graph.fma(cells.other, 0.12, 0.94))
    grout = graph.ramp(cells.edge, 0.0012, 0.0024)
    dirty = graph.mix(graph.noise(graph.vector(u, v), 0.2), surface["accent"], [c * 0.6 for c in surface["accent"]])
    roughness = graph.ramp(grout, 0.0, 1.0, 0.9, surface["roughness"])
    roughness = graph.fma(graph.ramp(cloud, 0.3, 0.7), 0.06, roughness)
    return Look(graph.mix(grout, dirty, body), roughness, graph.mul(grout, 0.0012))


def _concrete(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Stains of `scale_m`, pores, and saw cuts on some floors."""
    where = graph.vector(u, v)
    stains = graph.noise(where, surface["scale_m"], 8.0, 0.74)
    pores = graph.noise(where, 0.012, 3.0, 0.7)
    factor = graph.ramp(graph.fma(pores, 0.5, graph.add(stains, -0.25)), 0.2, 0.85)
    color = graph.mix(factor, surface["colour"], surface["accent"])
    pits = graph.ramp(pores, 0.24, 0.34, 0.72, 1.0)
    height = graph.mul(pores, 0.0006)
    if rng.random() < 0.4:
        side = rng.uniform(1.2, 3.0)
        cut = graph.ramp(_cells(graph, u, v, side, side, "none", 1.0).edge, 0.0015, 0.003)
        pits = graph.mul(pits, graph.fma(cut, 0.6, 0.4))
        height = graph.fma(cut, 0.002, height)
    roughness = graph.fma(stains, 0.3, surface["roughness"] - 0.15)
    return Look(graph.scale(color, pits), roughness, height)


def _carpet(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Tufts of `scale_m` of two mixed yarns, brushed in patches."""
    where = graph.vector(u, v)
    size = surface["scale_m"]
    tufts = graph.node("TexVoronoi", named={"Vector": where, "Scale": 1.0 / size}).outputs["Distance"]
    yarn = graph.noise(where, size * 2.5, 3.0, 0.75)
    pile = graph.noise(graph.vector(u, graph.mul(v, 0.6), 4.0), 0.22, 3.0, 0.55)
    spread = rng.uniform(0.06, 0.2)
    color = graph.mix(graph.ramp(yarn, 0.5 - spread, 0.5 + spread), surface["colour"], surface["accent"])
    shade = graph.mul(graph.ramp(tufts, 0.15, 0.85, 1.08, 0.5), graph.ramp(pile, 0.3, 0.7, 0.88, 1.08))
    return Look(graph.scale(color, shade), surface["roughness"], graph.mul(tufts, -0.25 * size), 0.1)


def _grass(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Green grass (color) over dry grass and soil (accent): patches, clumps of `scale_m`, blades."""
    where = graph.vector(u, v)
    patches = graph.noise(where, rng.uniform(0.5, 1.2), 4.0, 0.6)
    clumps = graph.noise(where, surface["scale_m"], 3.0, 0.6)
    turned = graph.vector(graph.fma(clumps, 0.35, u), graph.fma(patches, 0.3, v), graph.mul(clumps, 0.3))
    blades = graph.noise(turned, 0.011, 3.0, 0.75)
    dry = graph.ramp(graph.add(patches, graph.mul(clumps, 0.5)), 0.68, 0.95)
    color = graph.mix(dry, surface["colour"], surface["accent"])
    color = graph.mix(graph.ramp(blades, 0.5, 0.75), color, [min(1.0, c * 1.9 + 0.01) for c in surface["colour"]])
    shade = graph.mul(graph.ramp(blades, 0.25, 0.6, 0.3, 1.1), graph.ramp(clumps, 0.25, 0.65, 0.6, 1.1))
    height = graph.fma(blades, 0.008, graph.mul(clumps, 0.03))
    return Look(graph.scale(color, shade), surface["roughness"], height, 0.2)


def _plaster(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Nearly uniform, with trowel marks of `scale_m`."""
    where = graph.vector(u, v)
    trowel = graph.noise(where, surface["scale_m"], 4.0, 0.55)
    fine = graph.noise(where, 0.006, 2.0, 0.6)
    color = graph.mix(graph.ramp(trowel, 0.3, 0.75), surface["colour"], surface["accent"])
    height = graph.fma(trowel, 0.002 * rng.random(), graph.mul(fine, 0.0003))
    return Look(color, surface["roughness"], height, 0.3)


def _brick(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Running bond of bricks of length `scale_m`, with mortar in the accent color."""
    length = surface["scale_m"]
    rough = graph.noise(graph.vector(u, v), 0.03, 3.0, 0.6)
    u = graph.fma(rough, 0.006, u)
    v = graph.fma(rough, 0.006, v)
    cells = _cells(graph, u, v, length, length * 0.32, "half", rng.randrange(1000))
    pores = graph.noise(graph.vector(u, v, graph.mul(cells.other, 20.0)), 0.035, 4.0, 0.7)
    spread = graph.fma(cells.value, 0.75, graph.fma(pores, 0.5, -0.25))
    body = graph.mix(spread, surface["colour"], [c * 0.42 for c in surface["colour"]])
    pale = graph.ramp(graph.fma(cells.other, 0.5, pores), 0.85, 1.05, 0.0, 0.35)
    body = graph.mix(pale, body, surface["accent"])
    joint = graph.ramp(cells.edge, 0.0035, 0.0065)
    mortar = graph.scale(surface["accent"], graph.fma(pores, 0.5, 0.7))
    height = graph.fma(joint, 0.004, graph.mul(pores, 0.0015))
    return Look(graph.mix(joint, mortar, body), surface["roughness"], height, 0.2)


def _paint(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Wall paint on plaster: the grain of a roller, waves of `scale_m` that show in grazing light, faint dirt."""
    where = graph.vector(u, v)
    grain = graph.noise(where, rng.uniform(0.004, 0.008), 2.0)
    waves = graph.noise(where, surface["scale_m"], 3.0)
    dirt = graph.noise(graph.vector(u, v, 7.0), 0.8, 4.0, 0.6)
    color = graph.mix(graph.ramp(dirt, 0.35, 0.75), surface["colour"], surface["accent"])
    height = graph.fma(grain, 0.00022, graph.mul(waves, rng.uniform(0.002, 0.006)))
    return Look(color, surface["roughness"], height, 0.3)


def _wallpaper(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """A motif in the accent color that repeats every `scale_m`, on paper with a fine grain."""
    scale = 1.0 / surface["scale_m"]
    image = image_of("wallpaper", wallpaper_image(rng.randrange(1_000_000)))
    motif = graph.node("TexImage", graph.vector(graph.mul(u, scale), graph.mul(v, scale)), image=image).outputs["Color"]
    share = graph.node("SeparateXYZ", motif).outputs[0]
    grain = graph.noise(graph.vector(u, v), 0.003, 2.0, 0.6)
    shade = graph.ramp(grain, 0.3, 0.7, 0.95, 1.03)
    color = graph.scale(graph.mix(share, surface["colour"], surface["accent"]), shade)
    return Look(color, surface["roughness"], graph.fma(share, 0.0001, graph.mul(grain, 0.0001)), 0.3)


def _lacquer(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Painted wood: brush marks of `scale_m`, a little uneven in color."""
    marks = graph.noise(graph.vector(graph.mul(u, 0.08), v), surface["scale_m"] * 0.15, 2.0)
    uneven = graph.noise(graph.vector(u, v, 3.0), surface["scale_m"] * 8.0, 3.0)
    color = graph.mix(graph.ramp(uneven, 0.35, 0.75), surface["colour"], surface["accent"])
    return Look(color, graph.fma(marks, 0.1, surface["roughness"] - 0.05), graph.mul(marks, 0.0001), 0.5)


def _cloth(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Woven cloth with threads of `scale_m`; some light passes."""
    place = graph.node("NewGeometry").outputs["Position"]
    threads = graph.noise(place, surface["scale_m"], 2.0, 0.6)
    slubs = graph.noise(graph.node("VectorMath", place, [1.0, 1.0, 0.06], operation="MULTIPLY").outputs[0], 0.006)
    factor = graph.ramp(graph.fma(threads, 0.6, graph.mul(slubs, 0.4)), 0.3, 0.7)
    color = graph.mix(factor, surface["colour"], surface["accent"])
    return Look(color, surface["roughness"], graph.mul(threads, 0.0003), 0.1, rng.uniform(0.2, 0.4))


def _gravel(graph: Graph, u: Value, v: Value, surface: dict[str, Any], rng: random.Random) -> Look:
    """Pebbles of `scale_m` with soil in the accent color between them."""
    size = surface["scale_m"]
    stones = graph.node("TexVoronoi", named={"Vector": graph.vector(u, v), "Scale": 1.0 / size})
    shade = graph.node("SeparateXYZ", stones.outputs["Color"]).outputs[0]
    gap = graph.ramp(stones.outputs["Distance"], 0.35, 0.75)
    body = graph.scale(surface["colour"], graph.fma(shade, 0.8, 0.5))
    color = graph.mix(gap, body, [c * 0.5 for c in surface["accent"]])
    return Look(color, surface["roughness"], graph.mul(stones.outputs["Distance"], -0.4 * size), 0.2)


_KINDS = {
    "wood": _wood,
    "tile": _tile,
    "concrete": _concrete,
    "carpet": _carpet,
    "grass": _grass,
    "plaster": _plaster,
    "brick": _brick,
    "paint": _paint,
    "wallpaper": _wallpaper,
    "lacquer": _lacquer,
    "cloth": _cloth,
    "gravel": _gravel,
}
