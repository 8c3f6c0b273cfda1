"""What a model's surface looks like: equal-area samples with place, direction and colour.

Invariant: the samples depend on the file alone (a low-discrepancy sequence, no random numbers).
"""

import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sources.colours import to_linear, to_srgb
from sources.objaverse.glb import MALFORMED, Floats, Glb, GlbError, Node
from sources.objaverse.primitives import Primitive, base_colour

SAMPLES: Final = 4096
_TEXELS: Final = 512
"""Longest side that a JPEG is decoded to, where its format allows."""
_DECODING: Final = (*MALFORMED, OSError, SyntaxError)


@dataclass(frozen=True)
class Surface:
    """Equal-area samples of all surfaces, y turned to z up: (x, -z, y of the file), file units."""

    points: Floats
    """(N, 3)"""
    normals: Floats
    """(N, 3), unit, to the outside as the file winds its triangles."""
    srgb: Floats
    """(N, 3), 0..1, base colour. Samples in cut-out (transparent) texels are left out of all three."""
    area: float
    """Of the opaque surface, square file units."""
    coloured: float
    """Share of the surface that a texture, a vertex colour or a chosen material colour covers."""


def z_up(points: Floats) -> Floats:
    """(N, 3) of the file (y up) to (x, -z, y)."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)


def check_images(glb: Glb) -> None:
    """Every image that a texture refers to exists.

    Raises:
        GlbError: `missing_textures`, naming the first image that is absent.
    """
    for number, texture in enumerate(glb.items("textures")):
        try:
            _image_bytes(glb, texture)
        except _DECODING as error:
            raise GlbError("missing_textures", f"texture {number} has no image: {error!r}") from None


def sample_surface(glb: Glb, primitives: list[Primitive]) -> Surface:
    """Spread `SAMPLES` samples evenly over the area of all triangles.

    Raises:
        GlbError: `missing_textures`: an image of a base colour cannot be decoded; `degenerate`: no area; `unreadable`.
    """
    try:
        return _sample(glb, primitives)
    except MALFORMED as error:
        raise GlbError("unreadable", f"broken material: {error or type(error).__name__}") from None


def spread(numbers: NDArray[np.intp]) -> Floats:
    """Barycentric places (N, 3) of the samples of these numbers in their triangles.

    Roberts' R2 sequence, folded: http://extremelearning.com.au/evenly-distributing-points-in-a-triangle
    """
    u, v = (numbers * 0.7548776662466927) % 1, (numbers * 0.5698402909980532) % 1
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    return np.stack([1 - u - v, u, v], axis=1)


def _sample(glb: Glb, primitives: list[Primitive]) -> Surface:
    areas = [_areas(primitive) for primitive in primitives]
    total = float(sum(area.sum() for area in areas))
    if not np.isfinite(total) or total <= 0:
        raise GlbError("degenerate", f"surface area {total:g}")
    places = (np.arange(SAMPLES) + 0.5) / SAMPLES * total
    textures: dict[int, NDArray[np.uint8]] = {}
    parts: list[tuple[Floats, Floats, Floats, NDArray[np.bool_]]] = []
    start, coloured = 0.0, 0.0
    for primitive, area in zip(primitives, areas, strict=True):
        ends = start + np.cumsum(area)
        end = float(ends[-1]) if len(ends) else start
        mine = np.flatnonzero((places >= start) & (places < end))
        if len(mine):
            triangle = np.minimum(np.searchsorted(ends, places[mine], side="right"), len(area) - 1)
            parts.append(_sample_primitive(glb, primitive, triangle, mine, textures))
        if _has_colour(glb, primitive):
            coloured += (end - start) / total
        start = end
    points, normals, srgb, opaque = (np.concatenate(column) for column in zip(*parts, strict=True))
    keep = opaque if opaque.any() else np.ones_like(opaque)
    return Surface(z_up(points)[keep], z_up(normals)[keep], srgb[keep], total * float(keep.mean()), coloured)


def _areas(primitive: Primitive) -> Floats:
    a, b, c = (primitive.positions[primitive.triangles[:, corner]] for corner in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _sample_primitive(
    glb: Glb, primitive: Primitive, triangle: NDArray[np.intp], numbers: NDArray[np.intp], textures: dict[int, Any]
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Points, normals, colours (sRGB) and opacity of samples on the given triangles."""
    corners = primitive.triangles[triangle]
    weights = spread(numbers)

    def mix(values: Floats) -> Floats:
        return np.einsum("nk,nki->ni", weights, values[corners])

    a, b, c = (primitive.positions[corners[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    material = glb.items("materials")[primitive.material] if primitive.material >= 0 else {}
    factor, texture = base_colour(material)
    linear = np.broadcast_to(factor, (len(numbers), 3))
    opaque = np.ones(len(numbers), np.bool_)
    if texture is not None and primitive.uv is not None:
        texels = _lookup(_texture(glb, texture["index"], textures), mix(primitive.uv))
        linear = linear * to_linear(texels[:, :3])
        if material.get("alphaMode", "OPAQUE") != "OPAQUE":
            opaque = texels[:, 3] >= 0.5
    if primitive.colours is not None:
        linear = linear * mix(primitive.colours)
    return mix(primitive.positions), normals, to_srgb(linear), opaque


def _has_colour(glb: Glb, primitive: Primitive) -> bool:
    """Whether somebody chose this colour. White and the exporters' default greys are no choice."""
    material = glb.items("materials")[primitive.material] if primitive.material >= 0 else {}
    factor, texture = base_colour(material)
    if texture is not None and primitive.uv is not None:
        return True
    if primitive.colours is not None and len(primitive.colours) and float(np.ptp(primitive.colours)) > 0.01:
        return True
    return bool(np.ptp(factor) > 0.004 or factor.max() < 0.45)


def _lookup(image: NDArray[np.uint8], uv: Floats) -> Floats:
    """Nearest texels (N, 4), 0..1, of repeated texture coordinates."""
    height, width = image.shape[:2]
    wrapped = np.nan_to_num(uv % 1.0)
    x = np.minimum((wrapped[:, 0] * width).astype(np.intp), width - 1)
    y = np.minimum((wrapped[:, 1] * height).astype(np.intp), height - 1)
    return image[y, x] / 255.0


def _texture(glb: Glb, index: int, textures: dict[int, Any]) -> NDArray[np.uint8]:
    """The decoded texture, (H, W, 4) uint8 sRGB and alpha."""
    if index not in textures:
        try:
            textures[index] = _decode(_image_bytes(glb, glb.items("textures")[index]))
        except _DECODING as error:
            raise GlbError("missing_textures", f"texture {index} cannot be read: {error!r}") from None
    return textures[index]


def _image_bytes(glb: Glb, texture: Node) -> bytes:
    webp = (texture.get("extensions") or {}).get("EXT_texture_webp", {})
    source = texture.get("source", webp.get("source"))
    image = glb.items("images")[source]
    return bytes(glb.view_bytes(image["bufferView"])) if "bufferView" in image else glb.resource(image["uri"])


def _decode(data: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (_TEXELS, _TEXELS))
            return np.asarray(image.convert("RGBA"))
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
