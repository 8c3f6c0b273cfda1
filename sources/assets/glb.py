"""A light reader of binary glTF 2.0: chunks, buffer views, accessors, and the files that a model names.

Invariant: whatever the file holds, reading ends in arrays or in a `GlbError` with a reason. What Blender's importer
would not load is not read either; nothing is trusted beyond the file's own length; nothing is allocated or opened
before it is held against the limits below; and no file outside the model's own folder is touched.
It needs the standard library and numpy alone: Blender's process uses it as well (blender_import.py).
Format: Khronos glTF 2.0 specification, sections 3 and 4.
"""

import base64
import json
import mmap
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from .gltf_shape import check_shape

Floats = NDArray[np.float64]
Node = dict[str, Any]

MALFORMED: Final = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, struct.error)
MAX_BYTES: Final = 256 * 2**20
"""Of a model, and of all files beside it that it names."""
_LONGEST_URI: Final = 1024
"""Characters of a file's name and folders: file systems know no longer ones."""
MAX_JSON: Final = 16 * 2**20
"""Bytes: parsed, JSON takes up to 24 times as much."""
MAX_NODES: Final = 50_000
MAX_DEPTH: Final = 256
"""Nodes one below the other; Blender's importer walks them by recursion."""
MAX_ELEMENTS: Final = 4_000_000
"""Of one accessor."""
MAX_DECODED: Final = 2**26
"""Elements of all accessors together, as often as they are read."""
IMPORTED: Final = frozenset(
    {
        "KHR_materials_pbrSpecularGlossiness",
        "KHR_lights_punctual",
        "KHR_materials_unlit",
        "KHR_texture_transform",
        "KHR_materials_clearcoat",
        "KHR_mesh_quantization",
        "EXT_mesh_gpu_instancing",
        "KHR_draco_mesh_compression",
        "KHR_materials_variants",
        "KHR_materials_emissive_strength",
        "KHR_materials_transmission",
        "KHR_materials_specular",
        "KHR_materials_sheen",
        "KHR_materials_ior",
        "KHR_animation_pointer",
        "KHR_materials_volume",
        "EXT_texture_webp",
        "KHR_materials_anisotropy",
    }
)
"""Extensions that a file may require of Blender's importer (`glTFImporter.extensions_managed` of Blender 5.0)."""
_COMPRESSED: Final = {
    "KHR_draco_mesh_compression": "compressed geometry",
    "EXT_meshopt_compression": "compressed geometry",
    "KHR_meshopt_compression": "compressed geometry",
}
_TYPES: Final = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTH: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_NORMALISED: Final = (5120, 5121, 5122, 5123)


class GlbError(Exception):
    """A model that cannot be used. `reason` is a reject's reason, `detail` is for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Glb:
    """An opened file: its JSON, its binary chunk, and where it lies."""

    path: Path
    json: Node
    binary: memoryview
    _resources: dict[str, memoryview] = field(default_factory=dict[str, memoryview])
    _decoded: list[int] = field(default_factory=lambda: [0])

    def items(self, name: str) -> list[Node]:
        """A top-level array of the JSON, empty where absent."""
        return self.json.get(name) or []

    def view_bytes(self, index: int) -> memoryview:
        """The bytes of a buffer view.

        Raises:
            ValueError: it reaches beyond its buffer (also IndexError, KeyError: it does not exist).
        """
        view = self.json["bufferViews"][index_of(index)]
        buffer = self._buffer(view["buffer"])
        start, length = int(view.get("byteOffset") or 0), int(view["byteLength"])
        if start < 0 or length < 0 or start + length > len(buffer):
            raise ValueError(f"buffer view {index} reaches beyond the file")
        return buffer[start : start + length]

    def count(self, index: int) -> int:
        """Elements of an accessor, held against the limit.

        Raises:
            GlbError: `too_large`.
        """
        count = index_of(self.json["accessors"][index_of(index)]["count"])
        if count > MAX_ELEMENTS:
            raise GlbError("too_large", f"accessor {index} has {count} elements, at most {MAX_ELEMENTS} are read")
        return count

    def raw(self, index: int) -> NDArray[Any]:
        """(count, width) stored values of an accessor, not copied; without a buffer view they are zeros.

        Raises:
            ValueError: it reaches beyond its view (and others of `MALFORMED`); GlbError: `too_large`.
        """
        accessor = self.json["accessors"][index_of(index)]
        dtype, width, count = np.dtype(_TYPES[accessor["componentType"]]), _WIDTH[accessor["type"]], self.count(index)
        if accessor.get("bufferView") is None:
            return np.broadcast_to(np.zeros(1, dtype), (count, width))
        view = self.json["bufferViews"][index_of(accessor["bufferView"])]
        stride = int(view.get("byteStride") or dtype.itemsize * width)
        return self._strided(accessor["bufferView"], accessor.get("byteOffset") or 0, dtype, count, width, stride)

    def accessor(self, index: int, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """(count, width) values of an accessor; normalised integers become floats (specification 3.6.2).

        Args:
            rows: the elements that are wanted, sorted; without it: all.

        Raises:
            ValueError: it reaches beyond the file (and others of `MALFORMED`); GlbError: `too_large`.
        """
        accessor = self.json["accessors"][index_of(index)]
        values = self.raw(index)
        sparse = accessor.get("sparse")
        self._spend((len(values) if rows is None else len(rows)) + (index_of(sparse["count"]) if sparse else 0))
        if rows is not None:
            values = values[rows]
        if sparse:
            values = self._sparse(values.copy(), self.count(index), sparse, rows)
        if accessor.get("normalized") and accessor["componentType"] in _NORMALISED:
            return np.maximum(values / float(np.iinfo(values.dtype).max), -1.0)
        return values

    def _spend(self, elements: int) -> None:
        self._decoded[0] += elements
        if self._decoded[0] > MAX_DECODED:
            raise GlbError("too_large", f"over {MAX_DECODED} elements are read from its accessors")

    def _strided(
        self, view: int, offset: int, dtype: np.dtype[Any], count: int, width: int, stride: int
    ) -> NDArray[Any]:
        data = self.view_bytes(view)
        if stride % dtype.itemsize or stride < dtype.itemsize * width:
            raise ValueError(f"stride {stride} of buffer view {view} does not fit {width} x {dtype.itemsize} bytes")
        if count and (offset < 0 or offset + stride * (count - 1) + width * dtype.itemsize > len(data)):
            raise ValueError(f"accessor reaches beyond buffer view {view}")
        return np.ndarray(
            (count, width), dtype, data if count else b"", offset if count else 0, (stride, dtype.itemsize)
        )

    def _sparse(self, values: NDArray[Any], count: int, sparse: Node, rows: NDArray[np.int64] | None) -> NDArray[Any]:
        places, new, dtype, width = sparse["indices"], sparse["values"], values.dtype, values.shape[1]
        index_type, changed = np.dtype(_TYPES[places["componentType"]]), index_of(sparse["count"])
        start = places.get("byteOffset") or 0
        where = self._strided(places["bufferView"], start, index_type, changed, 1, index_type.itemsize)[:, 0]
        where = where.astype(np.int64)
        stride = dtype.itemsize * width
        given = self._strided(new["bufferView"], new.get("byteOffset") or 0, dtype, changed, width, stride)
        if len(where) and not 0 <= where.min() <= where.max() < count:
            raise ValueError("a sparse accessor changes an element that does not exist")
        if rows is None:
            values[where] = given
        elif len(rows):
            at = np.searchsorted(rows, where).clip(0, len(rows) - 1)
            hit = rows[at] == where
            values[at[hit]] = given[hit]
        return values

    def _buffer(self, index: int) -> memoryview:
        uri = self.json["buffers"][index_of(index)].get("uri")
        if uri is None:
            if index:
                raise ValueError(f"buffer {index} has no data")
            return self.binary
        return self.resource(uri)

    def resource(self, uri: str) -> memoryview:
        """The bytes of a `data:` URI or of a file in the model's folder, read once.

        Raises:
            FileNotFoundError: there is no such file, or it is not in that folder. ValueError: bad base64.
            GlbError: `too_large`.
        """
        if uri not in self._resources:
            self._resources[uri] = memoryview(self._read(uri))
        return self._resources[uri]

    def _read(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(";base64,")[2], validate=True)
        path = beside(self.path, uri)
        size = path.stat().st_size + sum(len(data) for data in self._resources.values())
        if size > MAX_BYTES:
            raise GlbError("too_large", f"the files beside it have over {MAX_BYTES} bytes")
        return path.read_bytes()


def beside(model: Path, uri: str) -> Path:
    """The file that a URI of a model names, read as Blender reads it (backslashes separate, percent signs escape).

    Raises:
        FileNotFoundError: there is no plain file, or it is not in the model's folder, where links are followed.
    """
    if len(uri) > _LONGEST_URI:
        raise FileNotFoundError(f"{uri[:200]!r} and {len(uri) - 200} characters more is not there")
    name = Path(os.path.normpath(unquote(uri.replace("\\", "/"))))
    folder = model.parent.resolve()
    path = folder / name
    if "\0" in str(name) or name.is_absolute() or not path.resolve().is_relative_to(folder):
        raise FileNotFoundError(f"{uri[:200]!r} is not in the model's folder")
    try:
        there = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise FileNotFoundError(f"{uri[:200]!r} is not there ({error.strerror})") from None
    if not there:
        raise FileNotFoundError(f"{uri[:200]!r} is not there")
    return path


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
    return "" if size == length else f"{'truncated' if size < length else 'too long'}: {size} of {length} bytes"


def open_glb(path: Path) -> Glb:
    """Check the header, the JSON, the extensions and the files that it names; the binary chunk is mapped, not read.

    Raises:
        GlbError: `missing_file`; `too_large`; `missing_textures` where an image, `unreadable` where a buffer lies
            outside the model's folder; `unreadable` with what else is wrong.
    """
    if not path.is_file():
        raise GlbError("missing_file", "there is no such file")
    if error := header_error(path):
        raise GlbError("unreadable", error)
    if path.stat().st_size > MAX_BYTES:
        raise GlbError("too_large", f"{path.stat().st_size} bytes, at most {MAX_BYTES}")
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        text, binary = _chunks(data)
        content = parse_json(bytes(text))
        check_shape(content)
        if content["asset"]["version"] != "2.0":
            raise ValueError(f"asset version {content['asset']['version'][:20]!r}, only 2.0 is read")
        _check_extensions(content)
    except (*MALFORMED, RecursionError) as error:
        raise GlbError("unreadable", f"broken GLB: {told(error)}") from None
    glb = Glb(path, content, binary)
    if len(glb.items("nodes")) > MAX_NODES:
        raise GlbError("too_large", f"{len(glb.items('nodes'))} nodes, at most {MAX_NODES}")
    _check_files(glb)
    return glb


def parse_json(data: bytes) -> Any:
    """UTF-8 JSON as Blender takes it: no byte order mark, no NaN or Infinity.

    Raises:
        ValueError: it is not, or has over `MAX_JSON` bytes; RecursionError: it is nested too deeply.
    """
    if len(data) > MAX_JSON:
        raise ValueError(f"JSON of {len(data)} bytes, at most {MAX_JSON}")

    def no_number(name: str) -> None:
        raise ValueError(f"its JSON holds {name}")

    return json.loads(data.decode("utf-8"), parse_constant=no_number)


def index_of(value: Any) -> int:
    """A reference to an item of an array, or a count.

    Raises:
        IndexError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise IndexError(f"bad index {value!r}")
    return value


def told(error: BaseException) -> str:
    """An error of a broken file on one short line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def _chunks(data: memoryview) -> tuple[memoryview, memoryview]:
    """The JSON, which is the first chunk, and the binary chunk, which is the second or nowhere."""
    found: list[tuple[bytes, memoryview]] = []
    position = 12
    while position < len(data) and len(found) < 2:
        length, kind = struct.unpack("<I4s", data[position : position + 8])
        if position + 8 + length > len(data):
            raise ValueError(f"chunk of {length} bytes reaches beyond the file")
        found.append((kind, data[position + 8 : position + 8 + length]))
        position += 8 + length
    if not found or found[0][0] != b"JSON":
        raise ValueError("its first chunk is not JSON")
    return found[0][1], found[1][1] if len(found) > 1 and found[1][0] == b"BIN\0" else memoryview(b"")


def _check_extensions(content: Node) -> None:
    required = content.get("extensionsRequired") or []
    for name in required:
        if name in _COMPRESSED:
            raise GlbError("unreadable", f"{_COMPRESSED[name]} ({name}) is not read: decompress it first")
        if name not in IMPORTED:
            raise GlbError("unreadable", f"it requires the extension {name[:100]}, which Blender does not have")
        if name not in (content.get("extensionsUsed") or []):
            raise GlbError("unreadable", f"it requires {name}, which is not in extensionsUsed")


def _check_files(glb: Glb) -> None:
    """No image or buffer, used or not, lies outside the model's folder; an image that is not there may be unused."""
    for reason, name in (("unreadable", "buffer"), ("missing_textures", "image")):
        for number, item in enumerate(glb.items(f"{name}s")):
            uri = item.get("uri")
            if name == "image" and uri is not None and item.get("bufferView") is not None:
                raise GlbError("unreadable", f"image {number} has both a URI and a buffer view")
            if uri is None or (uri.startswith("data:") and ";base64," in uri):
                continue
            try:
                beside(glb.path, uri)
            except (FileNotFoundError, ValueError) as error:
                if reason == "unreadable" or "not there" not in str(error):
                    raise GlbError(reason, f"{name} {number}: {told(error)}") from None
