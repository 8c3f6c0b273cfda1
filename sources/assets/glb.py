"""A small reader of glTF 2.0, binary or as `.gltf`: buffer views, accessors, and the files that a model references.

Invariant: whatever the file contains, reading returns arrays or raises a `GlbError` with a reason. A file that
Blender's importer would not load is not read either. Nothing is read beyond the end of the file. Nothing is allocated
or opened before it is compared with the limits below. No file outside the model's folder is opened.

Requires only the standard library and numpy, because Blender's process uses it, too (`sources/blender/importer.py`).
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
"""Limit for a model, and for all files together that it references."""
_MAX_URI: Final = 1024
"""Characters of a file's path. No file system allows longer ones."""
MAX_JSON: Final = 16 * 2**20
"""Bytes. Parsed JSON takes up to 24 times as much memory."""
MAX_NODES: Final = 50_000
MAX_DEPTH: Final = 256
"""Nesting of nodes, which Blender's importer walks recursively."""
MAX_ELEMENTS: Final = 4_000_000
"""Limit for one accessor."""
MAX_DECODED: Final = 2**26
"""Limit for all accessors together; an accessor counts each time that it is read."""
SUPPORTED_EXTENSIONS: Final = frozenset(
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
"""Extensions that Blender's importer supports, so that a file may require them (`glTFImporter.extensions_managed` of
Blender 5.0)."""
_COMPRESSED: Final = {
    "KHR_draco_mesh_compression": "compressed geometry",
    "EXT_meshopt_compression": "compressed geometry",
    "KHR_meshopt_compression": "compressed geometry",
}
_TYPES: Final = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTH: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_NORMALIZED_TYPES: Final = (5120, 5121, 5122, 5123)


class GlbError(Exception):
    """A model that cannot be used. `reason` is the reason of its reject; `detail` explains it to the user."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Glb:
    """An open file: its JSON, its binary chunk, and its path."""

    path: Path
    json: Node
    binary: memoryview
    _resources: dict[str, memoryview] = field(default_factory=dict[str, memoryview])
    _decoded: list[int] = field(default_factory=lambda: [0])

    def items(self, name: str) -> list[Node]:
        """A top-level array of the JSON; empty if absent."""
        return self.json.get(name) or []

    def view_bytes(self, index: int) -> memoryview:
        """The bytes of a buffer view.

        Raises:
            ValueError: it extends beyond its buffer.
            IndexError, KeyError: it does not exist.
        """
        view = self.json["bufferViews"][index_of(index)]
        buffer = self._buffer(view["buffer"])
        start, length = int(view.get("byteOffset") or 0), int(view["byteLength"])
        if start < 0 or length < 0 or start + length > len(buffer):
            raise ValueError(f"buffer view {index} extends beyond the file")
        return buffer[start : start + length]

    def count(self, index: int) -> int:
        """Number of elements of an accessor, compared with the limit.

        Raises:
            GlbError: `too_large`.
        """
        count = index_of(self.json["accessors"][index_of(index)]["count"])
        if count > MAX_ELEMENTS:
            raise GlbError("too_large", f"accessor {index} has {count} elements, at most {MAX_ELEMENTS} are read")
        return count

    def raw(self, index: int) -> NDArray[Any]:
        """(count, width) stored values of an accessor, not copied. Without a buffer view they are zeros.

        Raises:
            ValueError: it extends beyond its view (and others of `MALFORMED`).
            GlbError: `too_large`.
        """
        accessor = self.json["accessors"][index_of(index)]
        dtype, width, count = np.dtype(_TYPES[accessor["componentType"]]), _WIDTH[accessor["type"]], self.count(index)
        if accessor.get("bufferView") is None:
            return np.broadcast_to(np.zeros(1, dtype), (count, width))
        view = self.json["bufferViews"][index_of(accessor["bufferView"])]
        stride = int(view.get("byteStride") or dtype.itemsize * width)
        return self._strided(accessor["bufferView"], accessor.get("byteOffset") or 0, dtype, count, width, stride)

    def accessor(self, index: int, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """(count, width) values of an accessor. Normalized integers become floats (specification 3.6.2).

        Args:
            rows: indices of the elements to read, sorted. Default: all.

        Raises:
            ValueError: it extends beyond the file (and others of `MALFORMED`).
            GlbError: `too_large`.
        """
        accessor = self.json["accessors"][index_of(index)]
        values = self.raw(index)
        sparse = accessor.get("sparse")
        self._count_decoded((len(values) if rows is None else len(rows)) + (index_of(sparse["count"]) if sparse else 0))
        if rows is not None:
            values = values[rows]
        if sparse:
            values = self._sparse(values.copy(), self.count(index), sparse, rows)
        if accessor.get("normalized") and accessor["componentType"] in _NORMALIZED_TYPES:
            return np.maximum(values / float(np.iinfo(values.dtype).max), -1.0)
        return values

    def _count_decoded(self, elements: int) -> None:
        self._decoded[0] += elements
        if self._decoded[0] > MAX_DECODED:
            raise GlbError("too_large", f"its accessors have more than {MAX_DECODED} elements in total")

    def _strided(
        self, view: int, offset: int, dtype: np.dtype[Any], count: int, width: int, stride: int
    ) -> NDArray[Any]:
        data = self.view_bytes(view)
        if stride % dtype.itemsize or stride < dtype.itemsize * width:
            raise ValueError(f"stride {stride} of buffer view {view} does not fit {width} x {dtype.itemsize} bytes")
        if count and (offset < 0 or offset + stride * (count - 1) + width * dtype.itemsize > len(data)):
            raise ValueError(f"an accessor extends beyond buffer view {view}")
        return np.ndarray(
            (count, width), dtype, data if count else b"", offset if count else 0, (stride, dtype.itemsize)
        )

    def _sparse(self, values: NDArray[Any], count: int, sparse: Node, rows: NDArray[np.int64] | None) -> NDArray[Any]:
        indices, new, dtype, width = sparse["indices"], sparse["values"], values.dtype, values.shape[1]
        index_type, changed = np.dtype(_TYPES[indices["componentType"]]), index_of(sparse["count"])
        start = indices.get("byteOffset") or 0
        where = self._strided(indices["bufferView"], start, index_type, changed, 1, index_type.itemsize)[:, 0]
        where = where.astype(np.int64)
        stride = dtype.itemsize * width
        changes = self._strided(new["bufferView"], new.get("byteOffset") or 0, dtype, changed, width, stride)
        if len(where) and not 0 <= where.min() <= where.max() < count:
            raise ValueError("a sparse accessor changes an element that does not exist")
        if rows is None:
            values[where] = changes
        elif len(rows):
            at = np.searchsorted(rows, where).clip(0, len(rows) - 1)
            hit = rows[at] == where
            values[at[hit]] = changes[hit]
        return values

    def _buffer(self, index: int) -> memoryview:
        uri = self.json["buffers"][index_of(index)].get("uri")
        if uri is None:
            if index:
                raise ValueError(f"buffer {index} has no data")
            return self.binary
        return self.resource(uri)

    def resource(self, uri: str) -> memoryview:
        """The bytes of a `data:` URI, or of a file in the model's folder. Read once.

        Raises:
            FileNotFoundError: the file does not exist, or is not in that folder.
            ValueError: bad base64.
            GlbError: `too_large`.
        """
        if uri not in self._resources:
            self._resources[uri] = memoryview(self._read(uri))
        return self._resources[uri]

    def _read(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(";base64,")[2], validate=True)
        path = resolve_uri(self.path, uri)
        size = path.stat().st_size + sum(len(data) for data in self._resources.values())
        if size > MAX_BYTES:
            raise GlbError("too_large", f"the files that it references have more than {MAX_BYTES} bytes")
        return path.read_bytes()


class MissingFile(FileNotFoundError):
    """A file that a model references does not exist."""


def resolve_uri(model: Path, uri: str) -> Path:
    """The file that a URI of a model names, as Blender reads it: backslashes separate, percent signs escape.

    Raises:
        MissingFile: there is no regular file of this name.
        FileNotFoundError: it is not in the model's folder, with links resolved.
    """
    if len(uri) > _MAX_URI:
        raise MissingFile(f"{uri[:200]!r} and {len(uri) - 200} more characters: there is no such file")
    name = Path(os.path.normpath(unquote(uri.replace("\\", "/"))))
    folder = model.parent.resolve()
    path = folder / name
    if "\0" in str(name) or name.is_absolute() or not path.resolve().is_relative_to(folder):
        raise FileNotFoundError(f"{uri[:200]!r} is not in the model's folder")
    try:
        exists = path.is_file()
    except OSError as error:  # for example, the name is too long
        raise MissingFile(f"{uri[:200]!r} does not exist ({error.strerror})") from None
    if not exists:
        raise MissingFile(f"{uri[:200]!r} does not exist")
    return path


def header_error(path: Path) -> str:
    """Why the file is not a complete GLB (empty, another format, truncated); empty if it may be one. Reads 12 bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
    if size == 0:
        return "the file is empty"
    if len(head) < 12 or head[:4] != b"glTF":
        return "not a GLB: it does not start with 'glTF'"
    _, version, length = struct.unpack("<4sII", head)
    if version != 2:
        return f"glTF version {version}; only version 2 is supported"
    return "" if size == length else f"{'truncated' if size < length else 'too long'}: {size} of {length} bytes"


def open_glb(path: Path) -> Glb:
    """Check the header, the JSON, the extensions and the referenced files. The binary chunk is mapped, not read.

    A file whose name ends in `.gltf` is JSON without a binary chunk; any other is a GLB.

    Raises:
        GlbError: `missing_file`; `too_large`; `missing_textures`: an image is outside the model's folder;
            `unreadable`: a buffer is outside it, or anything else is wrong.
    """
    if not path.is_file():
        raise GlbError("missing_file", "there is no such file")
    is_text = is_gltf(path)
    if not is_text and (error := header_error(path)):
        raise GlbError("unreadable", error)
    if path.stat().st_size > MAX_BYTES:
        raise GlbError("too_large", f"{path.stat().st_size} bytes, at most {MAX_BYTES}")
    try:
        text, binary = (path.read_bytes(), memoryview(b"")) if is_text else _chunks(_mapped(path))
        content = parse_json(bytes(text))
        check_shape(content)
        if content["asset"]["version"] != "2.0":
            raise ValueError(f"asset version {content['asset']['version'][:20]!r}; only 2.0 is supported")
        _check_extensions(content)
    except (*MALFORMED, RecursionError) as error:
        raise GlbError("unreadable", f"broken {'glTF' if is_text else 'GLB'}: {one_line(error)}") from None
    glb = Glb(path, content, binary)
    if len(glb.items("nodes")) > MAX_NODES:
        raise GlbError("too_large", f"{len(glb.items('nodes'))} nodes, at most {MAX_NODES}")
    _check_files(glb)
    return glb


def is_gltf(path: Path) -> bool:
    """Whether a file is named as glTF in JSON, which references other files."""
    return path.suffix.lower() == ".gltf"


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def parse_json(data: bytes) -> Any:
    """Parse UTF-8 JSON as Blender does: no byte order mark, no NaN or Infinity.

    Raises:
        ValueError: it is not such JSON, or has more than `MAX_JSON` bytes.
        RecursionError: it is nested too deeply.
    """
    if len(data) > MAX_JSON:
        raise ValueError(f"JSON of {len(data)} bytes, at most {MAX_JSON}")

    def reject_constant(name: str) -> None:
        raise ValueError(f"its JSON contains {name}")

    return json.loads(data.decode("utf-8"), parse_constant=reject_constant)


def index_of(value: Any) -> int:
    """Check an index into an array, or a count.

    Raises:
        IndexError: it is not an integer, or is negative.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise IndexError(f"bad index {value!r}")
    return value


def one_line(error: BaseException) -> str:
    """The message of an error on one short line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def _chunks(data: memoryview) -> tuple[memoryview, memoryview]:
    """The JSON, which is the first chunk, and the binary chunk, which is the second one if it exists."""
    found: list[tuple[bytes, memoryview]] = []
    position = 12
    while position < len(data) and len(found) < 2:
        length, kind = struct.unpack("<I4s", data[position : position + 8])
        if position + 8 + length > len(data):
            raise ValueError(f"a chunk of {length} bytes extends beyond the file")
        found.append((kind, data[position + 8 : position + 8 + length]))
        position += 8 + length
    if not found or found[0][0] != b"JSON":
        raise ValueError("its first chunk is not JSON")
    return found[0][1], found[1][1] if len(found) > 1 and found[1][0] == b"BIN\0" else memoryview(b"")


def _check_extensions(content: Node) -> None:
    required = content.get("extensionsRequired") or []
    for name in required:
        if name in _COMPRESSED:
            raise GlbError("unreadable", f"{_COMPRESSED[name]} ({name}) is not supported: decompress it first")
        if name not in SUPPORTED_EXTENSIONS:
            raise GlbError("unreadable", f"it requires the extension {name[:100]}, which Blender does not support")
        if name not in (content.get("extensionsUsed") or []):
            raise GlbError("unreadable", f"it requires {name}, which is not in extensionsUsed")


def _check_files(glb: Glb) -> None:
    """Check that no image or buffer, used or not, is outside the model's folder, and that all buffers exist.

    An image that does not exist may be unused: `surface_samples.check_images` checks the used ones.
    """
    for reason, name in (("unreadable", "buffer"), ("missing_textures", "image")):
        for number, item in enumerate(glb.items(f"{name}s")):
            uri = item.get("uri")
            if name == "image" and uri is not None and item.get("bufferView") is not None:
                raise GlbError("unreadable", f"image {number} has both a URI and a buffer view")
            if uri is None or (uri.startswith("data:") and ";base64," in uri):
                continue
            try:
                resolve_uri(glb.path, uri)
            except (FileNotFoundError, ValueError) as error:
                if name == "buffer" or not isinstance(error, MissingFile):
                    raise GlbError(reason, f"{name} {number}: {one_line(error)}") from None
