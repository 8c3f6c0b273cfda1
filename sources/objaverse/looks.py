"""What a model's surface looks like: equal-area samples with place, direction and colour.

Invariant: the samples depend on the file alone (a low-discrepancy sequence, no random numbers).
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sources.colours import to_linear, to_srgb
from sources.objaverse.glb import MALFORMED, Floats, Glb, GlbError, Node, index_of
from sources.objaverse.primitives import Primitive, base_colour

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

SAMPLES: Final = 4096
_TEXELS: Final = 512
"""Longest side that a JPEG is decoded to, where its format allows."""
_KEPT: Final = 4096
"""Longest side of a texture that is kept."""
_MAX_PIXELS: Final = 2**26
_MAX_ALL_PIXELS: Final = 2**29
_MAX_SCANS: Final = 100
"""Of a progressive JPEG, each of which costs the time of a picture; encoders make about ten."""
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
    """Every image that a texture refers to exists and is one, and every material's texture exists; nothing is decoded.

    Raises:
        GlbError: `missing_textures`, naming the first that is absent; `too_large`: more pixels than are decoded.
    """
    pixels: dict[int, int] = {}
    for number, texture in enumerate(glb.items("textures")):
        try:
            source = _source(texture)
            if source not in pixels:
                pixels[source] = _pixels(_image_bytes(glb, source))
            if texture.get("sampler") is not None:
                glb.items("samplers")[index_of(texture["sampler"])]
        except _DECODING as error:
            raise GlbError("missing_textures", f"texture {number} has no image: {error!r}"[:300]) from None
    largest = max(pixels.values(), default=0)
    if largest > _MAX_PIXELS or sum(pixels.values()) > _MAX_ALL_PIXELS:
        raise GlbError(
            "too_large",
            f"images of {sum(pixels.values())} pixels, the largest of {largest}: at most {_MAX_ALL_PIXELS} in all, "
            f"{_MAX_PIXELS} in one",
        )
    for number, material in enumerate(glb.items("materials")):
        if any(not 0 <= index < len(glb.items("textures")) for index in _textures_of(material)):
            raise GlbError("missing_textures", f"material {number} names a texture that does not exist")


def _textures_of(material: Any) -> Iterator[int]:
    """Indices of all textures that a material or a part of it names, those of its extensions included."""
    for name, value in material.items() if isinstance(material, dict) else ():
        if name.endswith("Texture") and isinstance(value, dict):
            yield int(value.get("index", -1))
        if name != "extras":
            yield from _textures_of(value)


def _pixels(data: memoryview) -> int:
    """Of an image, by its header."""
    if bytes(data[:2]) == b"\xff\xd8" and bytes(data).count(b"\xff\xda") > _MAX_SCANS:
        raise ValueError(f"a JPEG of over {_MAX_SCANS} scans")
    with _opened(data) as image:
        return image.width * image.height


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
    parts: dict[int, tuple[Floats, Floats, Floats, NDArray[np.bool_]]] = {}
    start, coloured = 0.0, 0.0
    chosen: list[tuple[int, int, NDArray[np.intp], NDArray[np.intp]]] = []
    for number, (primitive, area) in enumerate(zip(primitives, areas, strict=True)):
        ends = start + np.cumsum(area)
        end = float(ends[-1]) if len(ends) else start
        mine = np.flatnonzero((places >= start) & (places < end))
        if len(mine):
            triangle = np.minimum(np.searchsorted(ends, places[mine], side="right"), len(area) - 1)
            chosen.append((_image_of(glb, primitive), number, triangle, mine))
        if _has_colour(glb, primitive):
            coloured += (end - start) / total
        start = end
    for _, number, triangle, mine in sorted(chosen, key=lambda part: part[:2]):  # one texture in memory at a time
        parts[number] = _sample_primitive(glb, primitives[number], triangle, mine, textures)
    in_order = [parts[number] for number in sorted(parts)]
    points, normals, srgb, opaque = (np.concatenate(column) for column in zip(*in_order, strict=True))
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


def _image_of(glb: Glb, primitive: Primitive) -> int:
    """Which image colours a primitive, -1 where none does."""
    texture = base_colour(glb.items("materials")[primitive.material])[1] if primitive.material >= 0 else None
    return _source(glb.items("textures")[texture["index"]]) if texture else -1


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
    """The decoded texture, (H, W, 4) uint8 sRGB and alpha; `textures` keeps the last one, by its image."""
    try:
        source = _source(glb.items("textures")[index])
        if source not in textures:
            textures.clear()
            textures[source] = _decode(_image_bytes(glb, source))
        return textures[source]
    except _DECODING as error:
        raise GlbError("missing_textures", f"texture {index} cannot be read: {error!r}"[:300]) from None


def _source(texture: Node) -> int:
    """Which image a texture shows: the WebP one, where it has both, as in Blender."""
    webp = (texture.get("extensions") or {}).get("EXT_texture_webp") or {}
    return index_of(webp.get("source", texture.get("source")))


def _image_bytes(glb: Glb, source: int) -> memoryview:
    image = glb.items("images")[source]
    return glb.view_bytes(image["bufferView"]) if image.get("bufferView") is not None else glb.resource(image["uri"])


def _opened(data: memoryview) -> "ImageFile":
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None


def _decode(data: memoryview) -> NDArray[np.uint8]:
    """(H, W, 4) uint8, of no more than `_KEPT` pixels a side."""
    from PIL import Image

    with _opened(data) as image:
        image.draft("RGB", (_TEXELS, _TEXELS))
        small = image
        if max(image.size) > _KEPT:
            size = (min(image.width, _KEPT), min(image.height, _KEPT))
            small = image.resize(size, Image.Resampling.NEAREST)
        return np.asarray(small.convert("RGBA"))
