"""The triangles of a model in its default scene, with texture coordinates, vertex colors and materials.

Frames and units are those of the file (y up). The transforms of all nodes, instances, skins and morph weights are
applied, at rest. The result is what Blender's importer reads: transforms in single precision and without shear, and
triangles with three different vertices, each once.
Format: Khronos glTF 2.0 specification, section 3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .glb import MALFORMED, MAX_DEPTH, Floats, Glb, GlbError, Node, index_of, one_line
from .transforms import local_matrix, matrix_of

Weights = list[float]
_MAX_PARTS: Final = 20_000
"""Limit for the primitives of all nodes and instances together."""
_MAX_MORPHED: Final = 2**24
"""Limit for the vertices of a mesh times its morph targets: Blender keeps them all."""
_MAX_REFERENCED: Final = 2**24
"""Limit for the elements of all accessors that meshes reference, read here or not: Blender keeps each until the whole
file is read."""
_MAX_JOINT_SETS: Final = 16
_ROWS: Final = 65_536
"""Vertices that are skinned at once. Their matrices take 8 MiB for each joint."""
_WIDTHS: Final = {"POSITION": (3,), "NORMAL": (3,), "TANGENT": (4,), "TEXCOORD": (2,), "COLOR": (3, 4)}


@dataclass(frozen=True)
class Primitive:
    """Triangles of one material."""

    positions: Floats
    """(N, 3), file units, y up, world transform applied. Each is used by a triangle."""
    triangles: NDArray[np.int64]
    """(M, 3) indices into `positions`, counter-clockwise seen from outside."""
    uv: Floats | None
    """(N, 2), v down, of the base color texture."""
    colors: Floats | None
    """(N, 3) linear vertex colors."""
    material: int
    """Index into the file's materials; -1: the default material."""


@dataclass(frozen=True)
class _Placed:
    """A mesh and its world transform. `skin` is None for instances, which Blender does not skin."""

    mesh: Node
    world: Floats
    weights: Weights
    skin: int | None


def count_triangles(glb: Glb) -> int:
    """Number of triangles of the default scene, from the JSON only. A mesh that is used twice counts twice.

    Raises:
        GlbError: `unreadable`, `too_large`.
    """
    try:
        counts = [sum(_count(glb, primitive) for primitive in mesh["primitives"]) for mesh in glb.items("meshes")]
        total = parts = 0
        for node, _ in _placed_nodes(glb):
            mesh, times = index_of(node["mesh"]), _instances(glb, node)
            total += counts[mesh] * times
            parts += len(glb.items("meshes")[mesh]["primitives"]) * times
        if parts > _MAX_PARTS:
            raise GlbError("too_large", f"{parts} primitives in its nodes and instances; at most {_MAX_PARTS}")
        return total
    except MALFORMED as error:
        raise GlbError("unreadable", f"broken GLB: {one_line(error)}") from None


def read_primitives(glb: Glb) -> list[Primitive]:
    """All triangles of the default scene, in the order of its nodes, skins and morph weights at rest.

    Raises:
        GlbError: `unreadable`, `too_large`.
    """
    try:
        count_triangles(glb)
        worlds = dict(_walk(glb))
        named = [joint for skin in glb.items("skins") for joint in [*skin["joints"], skin.get("skeleton") or 0]]
        if any(index_of(joint) >= len(glb.items("nodes")) for joint in named):
            raise ValueError("a skin names a joint that does not exist")
        skins: dict[int, Floats] = {}
        result: list[Primitive] = []
        for placed in _placed(glb):
            sets = _joint_sets(placed.mesh) if placed.skin is not None else 0
            if placed.skin is not None:
                if not sets:
                    raise ValueError("a node has a skin, but its mesh has no joints")
                if placed.skin not in skins:
                    skins[placed.skin] = _joints(glb, placed.skin, worlds)
            for primitive in placed.mesh["primitives"]:
                if "POSITION" in primitive["attributes"]:
                    joints = skins[placed.skin] if placed.skin is not None else None
                    found = _primitive(glb, primitive, placed, joints, sets)
                    result += [found] if found is not None else []
        return result
    except (*MALFORMED, FileNotFoundError) as error:
        raise GlbError("unreadable", f"broken GLB: {one_line(error)}") from None


def first_frame_move(glb: Glb) -> float:
    """How far the first frame of the file's first animation, which importers play, moves a node.

    The largest change of a number of a node's translation, rotation or scale; 0 without animations.

    Raises:
        GlbError: `unreadable`, `too_large`.
    """
    rest = {"translation": (0, 0, 0), "rotation": (0, 0, 0, 1), "scale": (1, 1, 1)}
    largest = 0.0
    try:
        for animation in glb.items("animations")[:1]:
            for channel in animation["channels"]:
                target, sampler = channel["target"], animation["samplers"][index_of(channel["sampler"])]
                if target.get("node") is None or target["path"] not in rest:
                    continue
                # After the in-tangent, if there is one.
                first = np.array([1 if sampler.get("interpolation") == "CUBICSPLINE" else 0])
                start = glb.accessor(sampler["output"], first)[0].astype(np.float64)
                node = glb.items("nodes")[index_of(target["node"])]
                still = np.array(node.get(target["path"], rest[target["path"]]), np.float64)
                change = np.abs(start - still).max()
                if target["path"] == "rotation":
                    change = min(change, np.abs(start + still).max())
                largest = max(largest, float(change))
    except (*MALFORMED, FileNotFoundError) as error:
        raise GlbError("unreadable", f"broken animation: {one_line(error)}") from None
    return largest


def _count(glb: Glb, primitive: Node) -> int:
    """Number of triangles that a primitive declares. Compares its accessors with their limits."""
    which = primitive.get("indices", primitive["attributes"].get("POSITION"))
    if which is None:
        return 0
    count, mode = glb.count(which), primitive.get("mode", 4)
    if (mode == 4 and count % 3) or (mode in (5, 6) and count < 3) or not 0 <= mode <= 6:
        raise ValueError(f"a primitive of mode {mode} cannot have {count} vertices")
    return {4: count // 3, 5: count - 2, 6: count - 2}.get(mode, 0)


def _walk(glb: Glb) -> Iterator[tuple[int, Floats]]:
    """Every node of the default scene with its world transform, parents first. Nodes of glTF form a forest."""
    nodes, scenes = glb.items("nodes"), glb.items("scenes")
    children = [index_of(child) for node in nodes for child in node.get("children") or []]
    if len(set(children)) < len(children):
        raise ValueError("a node has two parents")
    if scenes:
        roots: list[int] = scenes[index_of(glb.json.get("scene") or 0)].get("nodes") or []
    else:
        roots = sorted(set(range(len(nodes))) - set(children))
    stack = [(index_of(root), np.eye(4), 1) for root in reversed(roots)]
    seen: set[int] = set()
    while stack:
        index, parent, depth = stack.pop()
        if index in seen:
            raise ValueError(f"node {index} occurs twice in the scene")
        if depth > MAX_DEPTH:
            raise GlbError("too_large", f"its nodes are nested more than {MAX_DEPTH} levels deep")
        seen.add(index)
        world = parent @ local_matrix(nodes[index])
        yield index, world
        stack.extend((index_of(child), world, depth + 1) for child in reversed(nodes[index].get("children") or []))


def _placed_nodes(glb: Glb) -> Iterator[tuple[Node, Floats]]:
    for index, world in _walk(glb):
        node = glb.items("nodes")[index]
        if node.get("mesh") is not None:
            yield node, world


def _instancing(node: Node) -> dict[str, int] | None:
    """Accessors of EXT_mesh_gpu_instancing by attribute; None if the node does not use it."""
    found = (node.get("extensions") or {}).get("EXT_mesh_gpu_instancing")
    if found is None:
        return None
    return {
        name: found["attributes"][name] for name in ("TRANSLATION", "ROTATION", "SCALE") if name in found["attributes"]
    }


def _instances(glb: Glb, node: Node) -> int:
    """How often a node's mesh is shown. As in Blender, never if it uses instancing without any attribute."""
    given = _instancing(node)
    if given is None:
        return 1
    counts = {glb.count(accessor) for accessor in given.values()}
    if len(counts) > 1:
        raise ValueError("instancing attributes have different counts")
    return counts.pop() if counts else 0


def _placed(glb: Glb) -> Iterator[_Placed]:
    referenced: dict[int, int] = {}
    for node, world in _placed_nodes(glb):
        mesh = glb.items("meshes")[index_of(node["mesh"])]
        _check_mesh(glb, mesh)
        referenced |= _referenced(glb, mesh)
        given = _instancing(node)
        targets = max((len(primitive.get("targets") or []) for primitive in mesh["primitives"]), default=0)
        if len(node.get("weights") or []) > targets:
            raise ValueError("a node has more weights than its mesh has morph targets")
        if given is None:
            yield _Placed(mesh, world, node.get("weights") or mesh.get("weights") or [], node.get("skin"))
            continue
        if targets:
            raise ValueError("instances of a mesh with morph targets, which Blender does not support")
        values = {name: glb.accessor(accessor).astype(np.float64) for name, accessor in given.items()}
        if any(
            values[name].shape[1] != width
            for name, width in (("TRANSLATION", 3), ("ROTATION", 4), ("SCALE", 3))
            if name in values
        ):
            raise ValueError("an instancing attribute has the wrong type")
        rest = {"TRANSLATION": (0.0, 0.0, 0.0), "ROTATION": (0.0, 0.0, 0.0, 1.0), "SCALE": (1.0, 1.0, 1.0)}
        for number in range(_instances(glb, node)):
            translation, rotation, scale = (values[name][number] if name in values else rest[name] for name in rest)
            yield _Placed(mesh, world @ matrix_of(translation, rotation, scale), [], None)
    if (elements := sum(referenced.values())) > _MAX_REFERENCED:
        raise GlbError("too_large", f"its meshes reference {elements} elements of accessors; at most {_MAX_REFERENCED}")


def _referenced(glb: Glb, mesh: Node) -> dict[int, int]:
    """Number of elements of each accessor that a mesh references, including attributes of applications (`_NAME`)."""
    named = [group for one in mesh["primitives"] for group in (one["attributes"], *(one.get("targets") or []))]
    return {accessor: glb.count(accessor) for group in named for accessor in group.values()}


def _check_mesh(glb: Glb, mesh: Node) -> None:
    """Raise if Blender would fail on an attribute that is not read here, or on the morph targets."""
    targets = {len(primitive.get("targets") or []) for primitive in mesh["primitives"]}
    if len(targets) > 1:
        raise ValueError("primitives of a mesh have different numbers of morph targets")
    if len(mesh.get("weights") or []) > max(targets, default=0):
        raise ValueError("a mesh has more weights than morph targets")
    for primitive in mesh["primitives"]:
        attributes = primitive["attributes"]
        if "KHR_draco_mesh_compression" in (primitive.get("extensions") or {}):
            raise ValueError("compressed geometry (KHR_draco_mesh_compression) is not supported: decompress it first")
        if "POSITION" not in attributes:
            continue
        _count(glb, primitive)
        count = glb.count(attributes["POSITION"])
        if count * max(targets) > _MAX_MORPHED:
            raise GlbError(
                "too_large", f"{max(targets)} morph targets of {count} vertices; at most {_MAX_MORPHED} in total"
            )
        known = {name: accessor for name, accessor in attributes.items() if not name.startswith("_")}
        read = [*known.items(), *(item for target in primitive.get("targets") or [] for item in target.items())]
        for name, accessor in read:
            if glb.raw(accessor).shape[1] not in _WIDTHS.get(name.partition("_")[0], (1, 2, 3, 4)):
                raise ValueError(f"attribute {name} has the wrong type")
            if glb.count(accessor) < count:
                raise ValueError(f"attribute {name} has fewer elements than its primitive has vertices")


def _joint_sets(mesh: Node) -> int:
    """Largest number of sets of four joints and weights (JOINTS_0, JOINTS_1, ...) in a primitive of a mesh."""
    found = 0
    for primitive in mesh["primitives"]:
        names, number = primitive["attributes"], 0
        while f"JOINTS_{number}" in names and f"WEIGHTS_{number}" in names:
            number += 1
        found = max(found, number)
    if found > _MAX_JOINT_SETS:
        raise GlbError("too_large", f"{found} sets of joints; at most {_MAX_JOINT_SETS}")
    return found


def _joints(glb: Glb, index: int, worlds: dict[int, Floats]) -> Floats:
    """(J, 4, 4) transforms of a skin's joints (specification 3.7.3.3)."""
    skin = glb.items("skins")[index_of(index)]
    joints = [index_of(joint) for joint in skin["joints"]]
    if not joints or len(set(joints)) < len(joints):
        raise ValueError(f"skin {index} has no joints, or the same joint twice")
    found = np.stack([worlds[joint] for joint in joints])
    if skin.get("inverseBindMatrices") is None:
        return found
    inverse = glb.accessor(skin["inverseBindMatrices"]).astype(np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)
    if len(inverse) < len(joints):
        raise ValueError(f"skin {index} has fewer matrices than joints")
    return found @ inverse[: len(joints)]


def _skin(glb: Glb, primitive: Node, rows: NDArray[np.int64], positions: Floats, joints: Floats, sets: int) -> Floats:
    """Positions moved by their joints. As in Blender, a vertex without weights follows the first joint of its skin."""
    attributes = primitive["attributes"]
    names = [number for number in range(sets) if f"JOINTS_{number}" in attributes and f"WEIGHTS_{number}" in attributes]
    which = np.zeros((len(rows), 1), np.int64)
    weights = np.zeros((len(rows), 1))
    if names:
        which = np.concatenate([glb.accessor(attributes[f"JOINTS_{n}"], rows).astype(np.int64) for n in names], axis=1)
        weights = np.concatenate([glb.accessor(attributes[f"WEIGHTS_{n}"], rows) for n in names], axis=1)
        weights = weights.astype(np.float64)
        if which.shape != weights.shape or which.shape[1] != 4 * len(names):
            raise ValueError("joints and weights must come in groups of four")
    sums = weights.sum(1)
    weights[sums == 0, 0] = 1.0
    weights /= np.where(sums == 0, 1.0, sums)[:, None]
    moved = np.empty_like(positions)
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        matrix = np.zeros((len(which[part]), 3, 4))
        for column in range(which.shape[1]):
            matrix += weights[part, column, None, None] * joints[which[part, column], :3]
        moved[part] = np.einsum("nij,nj->ni", matrix[:, :, :3], positions[part]) + matrix[:, :, 3]
    return moved


def _primitive(glb: Glb, primitive: Node, placed: _Placed, joints: Floats | None, sets: int) -> Primitive | None:
    """The triangles of a primitive; None if it has none."""
    attributes = primitive["attributes"]
    corners = _triangles(glb, primitive, glb.count(attributes["POSITION"]))
    if corners is None:
        return None
    rows, corners = np.unique(corners, return_inverse=True)
    triangles = corners.reshape(-1, 3).astype(np.int64)
    positions = glb.accessor(attributes["POSITION"], rows).astype(np.float64)
    for weight, target in zip(placed.weights, primitive.get("targets") or [], strict=False):
        if weight and "POSITION" in target:
            # The range of a shape key in Blender.
            positions = positions + min(max(weight, -10.0), 10.0) * glb.accessor(target["POSITION"], rows)
    if not np.isfinite(positions).all():
        raise GlbError("degenerate", "some of its coordinates are not finite")
    world = placed.world
    if joints is None:
        positions = positions @ world[:3, :3].T + world[:3, 3]
    else:
        positions = _skin(glb, primitive, rows, positions, joints, sets)
    mirrored = joints is None and np.linalg.det(world[:3, :3]) < 0
    material = primitive.get("material")
    material = -1 if material is None else index_of(material)
    uv_name = f"TEXCOORD_{_texcoord(glb, material)}"
    uv = glb.accessor(attributes[uv_name], rows).astype(np.float64) if uv_name in attributes else None
    colors = glb.accessor(attributes["COLOR_0"], rows)[:, :3].astype(np.float64) if "COLOR_0" in attributes else None
    return Primitive(positions, triangles[:, ::-1] if mirrored else triangles, uv, colors, material)


def _triangles(glb: Glb, primitive: Node, vertices: int) -> NDArray[np.int64] | None:
    """(M, 3) vertex indices of the triangles that Blender keeps: three different vertices, and no triangle twice."""
    if primitive.get("indices") is not None:
        found = glb.accessor(primitive["indices"])
        index = found[:, 0].astype(np.int64)
        if found.shape[1] != 1 or found.dtype.kind != "u" or (len(index) and index.max() >= vertices):
            raise ValueError("a triangle references a vertex that does not exist")
    else:
        index = np.arange(vertices, dtype=np.int64)
    mode, first = primitive.get("mode", 4), np.arange(max(0, len(index) - 2))
    if mode == 4:
        triangles = index.reshape(-1, 3)
    elif mode == 5:
        odd = first % 2
        triangles = index[np.stack([first, first + 1 + odd, first + 2 - odd], axis=1)]
    elif mode == 6:
        triangles = index[np.stack([np.zeros_like(first), first + 1, first + 2], axis=1)]
    else:
        return None
    a, b, c = np.sort(triangles, axis=1).T
    order = np.lexsort((c, b, a))
    key = np.stack([a, b, c], axis=1)[order]
    duplicate = np.zeros(len(key), np.bool_)
    duplicate[1:] = (key[1:] == key[:-1]).all(axis=1)
    keep = (a != b) & (b != c)
    keep[order[duplicate]] = False
    return triangles[keep] if keep.any() else None


def base_color(material: Node) -> tuple[Floats, Node | None]:
    """Linear base color factor (3,) and texture reference; of the specular-glossiness extension, too."""
    glossy = (material.get("extensions") or {}).get("KHR_materials_pbrSpecularGlossiness")
    if glossy is not None:
        factor, texture = glossy.get("diffuseFactor"), glossy.get("diffuseTexture")
    else:
        rough = material.get("pbrMetallicRoughness") or {}
        factor, texture = rough.get("baseColorFactor"), rough.get("baseColorTexture")
    return np.array((factor or (1, 1, 1))[:3], np.float64), texture


def _texcoord(glb: Glb, material: int) -> int:
    texture = base_color(glb.items("materials")[index_of(material)])[1] if material >= 0 else None
    return int(texture.get("texCoord", 0)) if texture else 0
