"""Models of rectangles with partial opacity or a single side, and their analytic ray hits."""

import base64
import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spatialdata_builder.shards.geometry import to_json_list
from spatialdata_builder.sources.assets.asset import Asset


@dataclass(frozen=True)
class Sheet:
    """A rectangle. Its corners are counter-clockwise seen from its front. World axes (z up), meters."""

    corners: tuple[tuple[float, float, float], ...]
    material: dict[str, Any]
    opacity: tuple[float, float] = (1.0, 1.0)
    """Opacity of the half at the first and fourth corner, and of the other half, before the cutoff and the factor."""
    texture: bool = False
    """Whether the opacity is in a texture of two halves, not in the material."""
    vertex_alpha: float | None = None
    mirrored: bool = False
    """Whether it is stored mirrored in x, in a node that mirrors it back. The front stays the front."""

    @property
    def single_sided(self) -> bool:
        return not self.material.get("doubleSided", False)


def upright(x: float, y: float, side: float, turned: bool = False, z: float = 0.0) -> tuple:
    """A square perpendicular to y, centered at x, with its base at z. Its front faces -y, or +y if turned."""
    low, high = x - side / 2, x + side / 2
    corners = ((low, y, z), (high, y, z), (high, y, z + side), (low, y, z + side))
    return corners[::-1] if turned else corners


def write(path: Path, sheets: list[Sheet]) -> Asset:
    """Write the GLB, and return the asset as the survey would measure it."""
    content: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}
    for name in ("nodes", "meshes", "materials", "accessors", "bufferViews", "images", "textures"):
        content[name] = []
    content["extensionsUsed"] = sorted({name for s in sheets for name in s.material.get("extensions", {})})
    data = b""

    def view(raw: bytes) -> int:
        nonlocal data
        data += b"\0" * (-len(data) % 4)
        content["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": len(raw)})
        data += raw
        return len(content["bufferViews"]) - 1

    def accessor(values: np.ndarray, kind: str, **bounds: list[float]) -> int:
        component = 5126 if values.dtype == np.float32 else 5123
        entry = {"bufferView": view(values.tobytes()), "componentType": component, "count": len(values), "type": kind}
        content["accessors"].append({**entry, **bounds})
        return len(content["accessors"]) - 1

    for sheet in sheets:
        x, y, z = np.array(sheet.corners, np.float32).T
        points = np.ascontiguousarray(np.stack([-x if sheet.mirrored else x, z, -y], axis=1))
        order = [0, 2, 1, 0, 3, 2] if sheet.mirrored else [0, 1, 2, 0, 2, 3]
        uv = np.array([(0, 1), (1, 1), (1, 0), (0, 0)], np.float32)
        attributes = {
            "POSITION": accessor(points, "VEC3", min=points.min(0).tolist(), max=points.max(0).tolist()),
            "TEXCOORD_0": accessor(uv, "VEC2"),
        }
        if sheet.vertex_alpha is not None:
            attributes["COLOR_0"] = accessor(np.array([(1, 1, 1, sheet.vertex_alpha)] * 4, np.float32), "VEC4")
        material = json.loads(json.dumps(sheet.material))
        if sheet.texture:
            pixels = np.full((8, 8, 4), 200, np.uint8)
            pixels[:, :4, 3], pixels[:, 4:, 3] = (round(255 * opacity) for opacity in sheet.opacity)
            raw = io.BytesIO()
            Image.fromarray(pixels).save(raw, "PNG")
            content["images"].append({"bufferView": view(raw.getvalue()), "mimeType": "image/png"})
            content["textures"].append({"source": len(content["images"]) - 1})
            material.setdefault("pbrMetallicRoughness", {})["baseColorTexture"] = {
                "index": len(content["textures"]) - 1
            }
        content["materials"].append(material)
        content["meshes"].append(
            {
                "primitives": [
                    {
                        "attributes": attributes,
                        "indices": accessor(np.array(order, np.uint16), "SCALAR"),
                        "material": len(content["materials"]) - 1,
                    }
                ]
            }
        )
        node = {"mesh": len(content["meshes"]) - 1} | ({"scale": [-1, 1, 1]} if sheet.mirrored else {})
        content["scenes"][0]["nodes"].append(len(content["nodes"]))
        content["nodes"].append(node)
    content["buffers"] = [{"byteLength": len(data), "uri": "data:;base64," + base64.b64encode(data).decode()}]
    content = {name: value for name, value in content.items() if value != []}
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<I4s", len(text), b"JSON")
    path.write_bytes(head + text)
    points = np.array([sheet.corners for sheet in sheets]).reshape(-1, 3)
    low, high = points.min(0), points.max(0)
    offset = tuple(to_json_list([-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]]))
    size = tuple(to_json_list(high - low))
    return Asset(path.stem, path.name, path.stem, "", "cc0", "tests", 1.0, offset, size, (), 2 * len(sheets))


@dataclass
class Met:
    """First surface hit of each ray."""

    z: np.ndarray
    """Ray parameter; infinite without a hit."""
    sheet: np.ndarray
    """Index of the sheet; -1 without a hit."""
    sure: np.ndarray
    """Whether no border of a sheet, and no edge within a texture, is near."""


def meet(sheets: list[Sheet], offset: tuple, origin: np.ndarray, directions: np.ndarray) -> Met:
    """Analytic hits: the first sheet with an opacity of at least 0.5 whose front (or any side) faces the ray."""
    count = len(directions)
    best, which, sure = np.full(count, np.inf), np.full(count, -1), np.ones(count, bool)
    for number, sheet in enumerate(sheets):
        corners = np.array(sheet.corners) + offset
        right, up = corners[1] - corners[0], corners[3] - corners[0]
        normal = np.cross(right, up)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (corners[0] - origin) @ normal / (directions @ normal)
        local = origin + t[:, None] * directions - corners[0]
        u, v = local @ right / (right @ right), local @ up / (up @ up)
        near = (t > 0) & (np.abs(u - 0.5) < 0.55) & (np.abs(v - 0.5) < 0.55)
        borders = np.minimum.reduce([np.abs(u), np.abs(1 - u), np.abs(v), np.abs(1 - v)])
        if sheet.texture:  # linear interpolation between two texels, which wraps around at the borders
            borders = np.minimum(borders, np.abs(u - 0.5)) - 0.0625
        sure &= ~(near & (borders < 0.04))
        opacity = np.where(u < 0.5, *sheet.opacity)
        shown = (t > 0) & (u > 0) & (u < 1) & (v > 0) & (v < 1) & (opacity >= 0.5)
        if sheet.single_sided:
            shown &= directions @ normal < 0
        closer = shown & (t < best)
        best[closer], which[closer] = t[closer], number
    return Met(best, which, sure)
