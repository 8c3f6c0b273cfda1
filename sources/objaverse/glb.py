"""A light reader of binary glTF 2.0: chunks, buffer views, accessors.

Invariant: whatever the file holds, reading ends in arrays or in a `GlbError` with a reason; nothing is trusted
beyond the file's own length.
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
MALFORMED: Final = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, struct.error)


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
        start, length = int(view.get("byteOffset", 0)), int(view["byteLength"])
        if start < 0 or length < 0 or start + length > len(buffer):
            raise ValueError(f"buffer view {index} reaches beyond the file")
        return buffer[start : start + length]

    def accessor(self, index: int) -> NDArray[Any]:
        """(count, width) values of an accessor; normalised integers become floats (specification 3.6.2)."""
        accessor = self.json["accessors"][index_of(index)]
        dtype, width, count = np.dtype(_TYPES[accessor["componentType"]]), _WIDTH[accessor["type"]], accessor["count"]
        if "bufferView" in accessor:
            view = self.json["bufferViews"][index_of(accessor["bufferView"])]
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
        uri = self.json["buffers"][index_of(index)].get("uri")
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
    except (*MALFORMED, RecursionError) as error:
        raise GlbError("unreadable", f"broken GLB: {error or type(error).__name__}") from None
    if not isinstance(content, dict):
        raise GlbError("unreadable", "broken GLB: its JSON is not an object")
    return Glb(path, content, chunks.get(b"BIN\0", memoryview(b"")))


def index_of(value: Any) -> int:
    """A reference to an item of an array.

    Raises:
        IndexError: it is none.
    """
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
