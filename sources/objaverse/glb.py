"""A light reader of binary glTF 2.0: what the survey measures, and nothing of the rest.

Invariant: whatever the file holds, reading ends in arrays or in a `GlbError` with a reason; nothing is trusted
beyond the file's own length. Frames and units are the file's own (y up); transforms of all nodes are applied.
Format: Khronos glTF 2.0 specification, sections 3 and 4.
"""

import base64
import json
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Node = dict[str, Any]

_TYPES: Final = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTH: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_MALFORMED: Final = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, struct.error)
COMPRESSED: Final = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")


class GlbError(Exception):
    """A model that cannot be used. `reason` is a reject's reason, `detail` is for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


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


@dataclass(frozen=True)
class Glb:
    """An opened file: its JSON, its binary chunk, and where it lies."""

    path: Path
    json: Node
    binary: memoryview

    def items(self, name: str) -> list[Node]:
        """A top-level array of the JSON, empty where absent."""
        return self.json.get(name) or []

    def view_bytes(self, index: int) -> memoryview:
        """The bytes of a buffer view.

        Raises:
            ValueError: it reaches beyond its buffer (also IndexError, KeyError: it does not exist).
        """
        view = self.json["bufferViews"][_index(index)]
        buffer = self._buffer(view["buffer"])
        start, length = int(view.get("byteOffset", 0)), int(view["byteLength"])
        if start < 0 or length < 0 or start + length > len(buffer):
            raise ValueError(f"buffer view {index} reaches beyond the file")
        return buffer[start : start + length]

    def accessor(self, index: int) -> NDArray[Any]:
        """(count, width) values of an accessor; normalised integers become floats (specification 3.6.2)."""
        accessor = self.json["accessors"][_index(index)]
        dtype, width, count = np.dtype(_TYPES[accessor["componentType"]]), _WIDTH[accessor["type"]], accessor["count"]
        if "bufferView" in accessor:
            view = self.json["bufferViews"][_index(accessor["bufferView"])]
            stride = int(view.get("byteStride") or dtype.itemsize * width)
            values = self._strided(accessor["bufferView"], accessor.get("byteOffset", 0), dtype, count, width, stride)
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            values = self._sparse(values.copy(), accessor["sparse"], dtype, width)
        if accessor.get("normalized"):
            return np.maximum(values / float(np.iinfo(dtype).max), -1.0)
        return values

    def _strided(
        self, view: int, offset: int, dtype: np.dtype[Any], count: int, width: int, stride: int
    ) -> NDArray[Any]:
        data = self.view_bytes(view)
        if count and (offset < 0 or offset + stride * (count - 1) + width * dtype.itemsize > len(data)):
            raise ValueError(f"accessor reaches beyond buffer view {view}")
        return np.ndarray((count, width), dtype, data, offset, (stride, dtype.itemsize))

    def _sparse(self, values: NDArray[Any], sparse: Node, dtype: np.dtype[Any], width: int) -> NDArray[Any]:
        places, new = sparse["indices"], sparse["values"]
        index_type = np.dtype(_TYPES[places["componentType"]])
        index = self._strided(
            places["bufferView"], places.get("byteOffset", 0), index_type, sparse["count"], 1, index_type.itemsize
        )
        values[index[:, 0]] = self._strided(
            new["bufferView"], new.get("byteOffset", 0), dtype, sparse["count"], width, dtype.itemsize * width
        )
        return values

    def _buffer(self, index: int) -> memoryview:
        uri = self.json["buffers"][_index(index)].get("uri")
        if uri is None:
            return self.binary
        return memoryview(self.resource(uri))

    def resource(self, uri: str) -> bytes:
        """The bytes of a `data:` URI or of a file beside the model.

        Raises:
            FileNotFoundError: there is no such file beside it.
        """
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2], validate=True)
        beside = self.path.parent / unquote(uri)
        if "://" in uri or not beside.is_file():
            raise FileNotFoundError(uri)
        return beside.read_bytes()


def header_error(path: Path) -> str:
    """Why the file cannot be a whole GLB (empty, another format, truncated), or an empty string. Reads 12 bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
    if size == 0:
        return "the file is empty"
    if len(head) < 12 or head[:4] != b"glTF":
        return "not a GLB: it does not begin with 'glTF'"
    _, version, length = struct.unpack("<4sII", head)
    if version != 2:
        return f"glTF version {version}, only 2 is read"
    return f"truncated: {size} of {length} bytes" if size < length else ""


def open_glb(path: Path) -> Glb:
    """Check the header and read the JSON chunk; the binary chunk is mapped, not read.

    Raises:
        GlbError: `missing_file`, or `unreadable` with what is wrong.
    """
    if not path.is_file():
        raise GlbError("missing_file", f"{path.name} is not in the cache")
    if error := header_error(path):
        raise GlbError("unreadable", error)
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        chunks = dict(_chunks(data))
        content = json.loads(bytes(chunks[b"JSON"]))
    except (*_MALFORMED, RecursionError) as error:
        raise GlbError("unreadable", f"broken GLB: {error or type(error).__name__}") from None
    if not isinstance(content, dict):
        raise GlbError("unreadable", "broken GLB: its JSON is not an object")
    return Glb(path, content, chunks.get(b"BIN\0", memoryview(b"")))


def count_triangles(glb: Glb) -> int:
    """Triangles of the default scene, from the JSON alone; a mesh used twice counts twice.

    Raises:
        GlbError: `unreadable`.
    """
    try:
        total = 0
        for node, _ in _placed(glb):
            for primitive in glb.items("meshes")[_index(node["mesh"])]["primitives"]:
                which = primitive.get("indices", primitive["attributes"].get("POSITION"))
                count = int(glb.items("accessors")[_index(which)]["count"]) if which is not None else 0
                total += {4: count // 3, 5: max(0, count - 2), 6: max(0, count - 2)}.get(primitive.get("mode", 4), 0)
        return total
    except _MALFORMED as error:
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
            mesh = glb.items("meshes")[_index(node["mesh"])]
            weights = node.get("weights", mesh.get("weights"))
            for primitive in mesh["primitives"]:
                if primitive.get("mode", 4) in (4, 5, 6) and "POSITION" in primitive["attributes"]:
                    result.append(_primitive(glb, primitive, world, weights, _skinning(glb, node, worlds, primitive)))
        return result
    except (*_MALFORMED, FileNotFoundError) as error:
        raise GlbError("unreadable", f"broken GLB: {error or type(error).__name__}") from None


def _index(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise IndexError(f"bad index {value!r}")
    return value


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position, end = 12, min(len(data), struct.unpack("<I", data[8:12])[0])
    while position + 8 <= end:
        length, kind = struct.unpack("<I4s", data[position : position + 8])
        if position + 8 + length > end:
            raise ValueError(f"chunk of {length} bytes reaches beyond the file")
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length


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
        roots: list[int] = scenes[_index(glb.json.get("scene", 0))].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [index for index in range(len(nodes)) if index not in children]
    stack = [(_index(root), np.eye(4)) for root in reversed(roots)]
    seen: set[int] = set()
    while stack:
        index, parent = stack.pop()
        if index in seen:
            raise ValueError(f"node {index} is reached twice")
        seen.add(index)
        world = parent @ _local(nodes[index])
        yield index, world
        stack.extend((_index(child), world) for child in reversed(nodes[index].get("children", [])))


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
    skin = glb.items("skins")[_index(node["skin"])]
    joints = np.stack([worlds[_index(joint)] for joint in skin["joints"]])
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
    texture = base_colour(glb.items("materials")[_index(material)])[1] if material >= 0 else None
    return int(texture.get("texCoord", 0)) if texture else 0
