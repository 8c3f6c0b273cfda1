"""Writes small GLBs field by field, so that every field can be made invalid."""

import json
import struct
from typing import Any

import numpy as np

TYPES = {"f4": 5126, "i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125}
CORNERS = np.array([[x, y, z] for x in (-0.2, 0.2) for y in (0.0, 0.5) for z in (-0.15, 0.15)], "f4")
FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ],
    "u2",
)


class Model:
    """Builds a GLB: `json` has the fields of its JSON, `binary` its binary chunk."""

    def __init__(self) -> None:
        self.binary = b""
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
            "accessors": [],
            "bufferViews": [],
            "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [0.6, 0.02, 0.02, 1]}}],
            "buffers": [{}],
        }

    def view(self, data: bytes, **fields: Any) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        place = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        self.json["bufferViews"].append(place | fields)
        self.binary += data
        return len(self.json["bufferViews"]) - 1

    def accessor(self, values: Any, type_: str, dtype: str = "f4", **fields: Any) -> int:
        array = np.asarray(values, f"<{dtype}")
        given = {"bufferView": self.view(array.tobytes()), "componentType": TYPES[dtype], "count": len(array)}
        self.json["accessors"].append(given | {"type": type_} | fields)
        return len(self.json["accessors"]) - 1

    def mesh(self, *primitives: dict[str, Any], **fields: Any) -> int:
        self.json["meshes"].append({"primitives": list(primitives)} | fields)
        return len(self.json["meshes"]) - 1

    def node(self, root: bool = True, **fields: Any) -> int:
        self.json["nodes"].append(fields)
        if root:
            self.json["scenes"][0]["nodes"].append(len(self.json["nodes"]) - 1)
        return len(self.json["nodes"]) - 1

    def box(self, points: Any = CORNERS, faces: Any = FACES, **attributes: int) -> dict[str, Any]:
        """A primitive; by default a box of 0.4 x 0.5 x 0.3 with its base at y = 0."""
        where = {"POSITION": self.accessor(points, "VEC3")} | attributes
        return {
            "attributes": where,
            "indices": self.accessor(np.asarray(faces).ravel(), "SCALAR", "u2"),
            "material": 0,
        }

    def use(self, *names: str, required: bool = True) -> None:
        self.json["extensionsUsed"] = list(names)
        if required:
            self.json["extensionsRequired"] = list(names)

    def pack(self, allow: bool = True) -> bytes:
        self.json["buffers"][0].setdefault("byteLength", len(self.binary))
        return glb(json.dumps(self.json, allow_nan=allow).encode(), self.binary)


def glb(text: bytes, binary: bytes, *more: tuple[bytes, bytes], length: int = 0) -> bytes:
    """A GLB of these chunks. `length` is added to the length in its header."""
    chunks = [(b"JSON", text + b" " * (-len(text) % 4)), (b"BIN\0", binary + b"\0" * (-len(binary) % 4)), *more]
    body = b"".join(struct.pack("<I4s", len(data), kind) + data for kind, data in chunks)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body) + length) + body
