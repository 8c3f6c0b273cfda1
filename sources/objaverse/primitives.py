"""The triangles of a model where they stand in its scene, and what colours them.

Frames and units are the file's own (y up); the transforms of all nodes, skins and morph weights are applied, at rest.
Format: Khronos glTF 2.0 specification, section 3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sources.objaverse.glb import MALFORMED, Floats, Glb, GlbError, Node, index_of

COMPRESSED: Final = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")


@dataclass(frozen=True)
class Primitive:
    """Triangles of one material."""

    positions: Floats
    """(N, 3), file units, y up, world transform applied."""
    triangles: NDArray[np.int64]
    """(M, 3) indices into `positions`, counter-clockwise seen from outside."""
    uv: Floats | None
    """(N, 2), v down, of the base colour texture."""
    colours: Floats | None
    """(N, 3) linear vertex colours."""
    material: int
    """Index into the file's materials, -1 for the default one."""


def count_triangles(glb: Glb) -> int:
    """Triangles of the default scene, from the JSON alone; a mesh used twice counts twice.

    Raises:
        GlbError: `unreadable`.
    """
    try:
        total = 0
        for node, _ in _placed(glb):
            for primitive in glb.items("meshes")[index_of(node["mesh"])]["primitives"]:
                which = primitive.get("indices", primitive["attributes"].get("POSITION"))
                count = int(glb.items("accessors")[index_of(which)]["count"]) if which is not None else 0
                total += {4: count // 3, 5: max(0, count - 2), 6: max(0, count - 2)}.get(primitive.get("mode", 4), 0)
        return total
    except MALFORMED as error:
        raise GlbError("unreadable", f"broken GLB: {error or type(error).__name__}") from None


def read_primitives(glb: Glb) -> list[Primitive]:
    """All triangles of the default scene, in the order of its nodes, skins and morph weights at rest.

    Raises:
        GlbError: `unreadable`.
    """
    compressed = [name for name in COMPRESSED if name in (glb.json.get("extensionsRequired") or [])]
    if compressed:
        raise GlbError("unreadable", f"compressed geometry ({compressed[0]}) is not read: decompress it first")
    try:
        worlds = dict(_walk(glb)) if glb.items("skins") else {}
        result: list[Primitive] = []
        for node, world in _placed(glb):
            mesh = glb.items("meshes")[index_of(node["mesh"])]
            weights = node.get("weights", mesh.get("weights"))
            for primitive in mesh["primitives"]:
                if primitive.get("mode", 4) in (4, 5, 6) and "POSITION" in primitive["attributes"]:
                    result.append(_primitive(glb, primitive, world, weights, _skinning(glb, node, worlds, primitive)))
        return result
    except (*MALFORMED, FileNotFoundError) as error:
        raise GlbError("unreadable", f"broken GLB: {error or type(error).__name__}") from None


def first_frame_move(glb: Glb) -> float:
    """How far the first frame of the file's first animation (the one that importers play) moves a node: the largest
    change of a number of its translation, rotation or scale; 0 without animations.

    Raises:
        GlbError: `unreadable`.
    """
    rest = {"translation": (0, 0, 0), "rotation": (0, 0, 0, 1), "scale": (1, 1, 1)}
    largest = 0.0
    try:
        for animation in glb.items("animations")[:1]:
            for channel in animation["channels"]:
                target, sampler = channel["target"], animation["samplers"][index_of(channel["sampler"])]
                if "node" not in target or target["path"] not in rest:
                    continue
                first = 1 if sampler.get("interpolation") == "CUBICSPLINE" else 0  # after the in-tangent
                start = glb.accessor(sampler["output"])[first].astype(np.float64)
                node = glb.items("nodes")[index_of(target["node"])]
                still = np.array(node.get(target["path"], rest[target["path"]]), np.float64)
                change = np.abs(start - still).max()
                if target["path"] == "rotation":
                    change = min(change, np.abs(start + still).max())
                largest = max(largest, float(change))
    except MALFORMED as error:
        raise GlbError("unreadable", f"broken animation: {error or type(error).__name__}") from None
    return largest


def _local(node: Node) -> Floats:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = (float(value) for value in node.get("rotation", (0, 0, 0, 1)))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _walk(glb: Glb) -> Iterator[tuple[int, Floats]]:
    """Every node of the default scene with its world transform, parents first. Each node once: glTF is a forest."""
    nodes, scenes = glb.items("nodes"), glb.items("scenes")
    if scenes:
        roots: list[int] = scenes[index_of(glb.json.get("scene", 0))].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [index for index in range(len(nodes)) if index not in children]
    stack = [(index_of(root), np.eye(4)) for root in reversed(roots)]
    seen: set[int] = set()
    while stack:
        index, parent = stack.pop()
        if index in seen:
            raise ValueError(f"node {index} is reached twice")
        seen.add(index)
        world = parent @ _local(nodes[index])
        yield index, world
        stack.extend((index_of(child), world) for child in reversed(nodes[index].get("children", [])))


def _placed(glb: Glb) -> Iterator[tuple[Node, Floats]]:
    for index, world in _walk(glb):
        node = glb.items("nodes")[index]
        if "mesh" in node:
            yield node, world


def _skinning(glb: Glb, node: Node, worlds: dict[int, Floats], primitive: Node) -> Floats | None:
    """(N, 4, 4) transform of each vertex of a skinned primitive (specification 3.7.3.3), None where not skinned."""
    attributes = primitive["attributes"]
    if "skin" not in node or "JOINTS_0" not in attributes:
        return None
    skin = glb.items("skins")[index_of(node["skin"])]
    joints = np.stack([worlds[index_of(joint)] for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        inverse = glb.accessor(skin["inverseBindMatrices"]).astype(np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)
        joints = joints @ inverse[: len(joints)]
    weights = glb.accessor(attributes["WEIGHTS_0"]).astype(np.float64)
    weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-12)
    return np.einsum("nk,nkij->nij", weights, joints[glb.accessor(attributes["JOINTS_0"]).astype(np.int64)])


def _primitive(
    glb: Glb, primitive: Node, world: Floats, weights: list[float] | None, skinning: Floats | None
) -> Primitive:
    attributes = primitive["attributes"]
    positions = glb.accessor(attributes["POSITION"]).astype(np.float64)
    for weight, target in zip(weights or [], primitive.get("targets", []), strict=False):
        if weight and "POSITION" in target:
            positions = positions + weight * glb.accessor(target["POSITION"])
    if skinning is None:
        positions = positions @ world[:3, :3].T + world[:3, 3]
    else:
        positions = np.einsum("nij,nj->ni", skinning[:, :3, :3], positions) + skinning[:, :3, 3]
    mirrored = skinning is None and np.linalg.det(world[:3, :3]) < 0
    triangles = _triangles(glb, primitive, len(positions))
    material = primitive.get("material", -1)
    uv_name = f"TEXCOORD_{_texcoord(glb, material)}"
    uv = glb.accessor(attributes[uv_name]).astype(np.float64) if uv_name in attributes else None
    colours = glb.accessor(attributes["COLOR_0"])[:, :3].astype(np.float64) if "COLOR_0" in attributes else None
    return Primitive(positions, triangles[:, ::-1] if mirrored else triangles, uv, colours, material)


def _triangles(glb: Glb, primitive: Node, vertices: int) -> NDArray[np.int64]:
    if "indices" in primitive:
        index = glb.accessor(primitive["indices"])[:, 0].astype(np.int64)
        if len(index) and index.max() >= vertices:
            raise ValueError("a triangle names a vertex that does not exist")
    else:
        index = np.arange(vertices, dtype=np.int64)
    mode = primitive.get("mode", 4)
    if mode == 4:
        return index[: len(index) // 3 * 3].reshape(-1, 3)
    first = np.arange(max(0, len(index) - 2))
    if mode == 5:
        odd = first % 2
        return index[np.stack([first, first + 1 + odd, first + 2 - odd], axis=1)]
    return index[np.stack([np.zeros_like(first), first + 1, first + 2], axis=1)]


def base_colour(material: Node) -> tuple[Floats, Node | None]:
    """Linear base colour factor (3,) and texture reference, also of the older specular-glossiness form."""
    glossy = (material.get("extensions") or {}).get("KHR_materials_pbrSpecularGlossiness")
    if glossy is not None:
        factor, texture = glossy.get("diffuseFactor"), glossy.get("diffuseTexture")
    else:
        rough = material.get("pbrMetallicRoughness") or {}
        factor, texture = rough.get("baseColorFactor"), rough.get("baseColorTexture")
    return np.array((factor or (1, 1, 1))[:3], np.float64), texture


def _texcoord(glb: Glb, material: int) -> int:
    texture = base_colour(glb.items("materials")[index_of(material)])[1] if material >= 0 else None
    return int(texture.get("texCoord", 0)) if texture else 0
