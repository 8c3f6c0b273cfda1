"""A model's surface: equal-area samples with positions and normals, and how much of it has a color of its own.

Invariant: the samples depend only on the file (a low-discrepancy sequence, no random numbers).
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .glb import MALFORMED, Floats, Glb, GlbError, Node, index_of
from .primitives import Primitive, base_color

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

SAMPLES: Final = 4096
_TEXELS: Final = 512
"""Longest side that a JPEG is decoded to, if its format allows that."""
_MAX_PIXELS: Final = 2**26
_MAX_ALL_PIXELS: Final = 2**29
_MAX_SCANS: Final = 100
"""Limit for the scans of a progressive JPEG, each of which takes as long as a whole image. Encoders write about ten."""
_DECODING: Final = (*MALFORMED, OSError, SyntaxError)


def _image_error(error: BaseException) -> str:
    """Message of an error of Pillow that is the same in every run: Pillow's own contains a memory address."""
    from PIL import UnidentifiedImageError

    return "unknown image format" if isinstance(error, UnidentifiedImageError) else repr(error)


@dataclass(frozen=True)
class Surface:
    """Equal-area samples of all surfaces, z up: (x, -z, y) of the file, file units."""

    points: Floats
    """(N, 3)"""
    normals: Floats
    """(N, 3), unit length, pointing to the front of the triangles."""
    srgb: Floats
    """(N, 3), 0..1. Middle gray until `appearance.with_seen_colors` sets the visible colors."""
    area: float
    """Area of the surface, square file units."""
    colored: float
    """Fraction of the surface that has a texture, a vertex color or a material color other than a default."""


def z_up(points: Floats) -> Floats:
    """(N, 3) points of the file (y up) as (x, -z, y)."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)


def check_images(glb: Glb) -> None:
    """Check that every image of a texture can be decoded, and that every material's texture exists.

    Raises:
        GlbError: `missing_textures`, naming the first missing or broken one; `too_large`: too many pixels.
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
            raise GlbError("missing_textures", f"texture {number} has no image: {_image_error(error)}"[:300]) from None
    largest = max(pixels.values(), default=0)
    if largest > _MAX_PIXELS or sum(pixels.values()) > _MAX_ALL_PIXELS:
        raise GlbError(
            "too_large",
            f"its images have {sum(pixels.values())} pixels in total, the largest {largest}; at most "
            f"{_MAX_ALL_PIXELS} in total, {_MAX_PIXELS} in one",
        )
    for source in pixels:
        try:
            _check_image(_image_bytes(glb, source))
        except _DECODING as error:
            raise GlbError("missing_textures", f"image {source} cannot be read: {_image_error(error)}"[:300]) from None
    for number, material in enumerate(glb.items("materials")):
        if any(not 0 <= index < len(glb.items("textures")) for index in _textures_of(material)):
            raise GlbError("missing_textures", f"material {number} references a texture that does not exist")


def _textures_of(material: Any) -> Iterator[int]:
    """Indices of all textures that a material references, in its extensions, too."""
    for name, value in material.items() if isinstance(material, dict) else ():
        if name.endswith("Texture") and isinstance(value, dict):
            yield int(value.get("index", -1))
        if name != "extras":
            yield from _textures_of(value)


def _pixels(data: memoryview) -> int:
    """Number of pixels of an image, from its header."""
    if bytes(data[:2]) == b"\xff\xd8" and bytes(data).count(b"\xff\xda") > _MAX_SCANS:
        raise ValueError(f"a JPEG with more than {_MAX_SCANS} scans")
    with _open_image(data) as image:
        return image.width * image.height


def sample_surface(glb: Glb, primitives: list[Primitive]) -> Surface:
    """Distribute `SAMPLES` samples evenly over the area of all triangles.

    Raises:
        GlbError: `degenerate`: the area is zero; `unreadable`.
    """
    try:
        return _sample(glb, primitives)
    except MALFORMED as error:
        raise GlbError("unreadable", f"broken material: {error or type(error).__name__}") from None


def barycentric_samples(numbers: NDArray[np.intp]) -> Floats:
    """Barycentric coordinates (N, 3) of the samples with these numbers, in their triangles.

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
    positions = (np.arange(SAMPLES) + 0.5) / SAMPLES * total
    parts: list[tuple[Floats, Floats]] = []
    start, colored = 0.0, 0.0
    for primitive, area in zip(primitives, areas, strict=True):
        ends = start + np.cumsum(area)
        end = float(ends[-1]) if len(ends) else start
        chosen = np.flatnonzero((positions >= start) & (positions < end))
        if len(chosen):
            triangle = np.minimum(np.searchsorted(ends, positions[chosen], side="right"), len(area) - 1)
            parts.append(_sample_primitive(primitive, triangle, chosen))
        if _has_color(glb, primitive):
            colored += (end - start) / total
        start = end
    points, normals = (z_up(np.concatenate(column)) for column in zip(*parts, strict=True))
    return Surface(points, normals, np.full(points.shape, 0.5), total, colored)


def _areas(primitive: Primitive) -> Floats:
    a, b, c = (primitive.positions[primitive.triangles[:, corner]] for corner in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _sample_primitive(
    primitive: Primitive, triangle: NDArray[np.intp], numbers: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Points and normals of samples on the given triangles."""
    corners = primitive.positions[primitive.triangles[triangle]]
    a, b, c = (corners[:, corner] for corner in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    return np.einsum("nk,nki->ni", barycentric_samples(numbers), corners), normals


_COLORING_EXTENSIONS: Final = (
    "KHR_materials_sheen",
    "KHR_materials_transmission",
    "KHR_materials_volume",
    "KHR_materials_diffuse_transmission",
    "KHR_materials_iridescence",
    "KHR_materials_specular",
)
"""Extensions that give even a white material a distinctive look."""


def _has_color(glb: Glb, primitive: Primitive) -> bool:
    """Whether a primitive has a color of its own. White and the default grays of exporters do not count."""
    material = glb.items("materials")[primitive.material] if primitive.material >= 0 else {}
    factor, texture = base_color(material)
    if texture is not None or any(name in (material.get("extensions") or {}) for name in _COLORING_EXTENSIONS):
        return True
    if material.get("emissiveTexture") is not None or any(material.get("emissiveFactor") or ()):
        return True
    if primitive.colors is not None and len(primitive.colors):
        seen = factor * primitive.colors
        return bool(np.ptp(seen) > 0.01 or seen.max() < 0.45)
    return bool(np.ptp(factor) > 0.004 or factor.max() < 0.45)


def _source(texture: Node) -> int:
    """Index of the image of a texture. As in Blender, the WebP image has precedence."""
    webp = (texture.get("extensions") or {}).get("EXT_texture_webp") or {}
    return index_of(webp.get("source", texture.get("source")))


def _image_bytes(glb: Glb, source: int) -> memoryview:
    image = glb.items("images")[source]
    return glb.view_bytes(image["bufferView"]) if image.get("bufferView") is not None else glb.resource(image["uri"])


def _open_image(data: memoryview) -> "ImageFile":
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None


def _check_image(data: memoryview) -> None:
    with _open_image(data) as image:
        image.draft("RGB", (_TEXELS, _TEXELS))
        image.load()
