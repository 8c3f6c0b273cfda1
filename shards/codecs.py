"""Encoders and decoders of all members.

Lossless members return the same pixels; depth maps return the same depth within half a quantization step. The same
array gives the same bytes on every machine with the pinned libraries. Encoders use the fastest lossless settings of
well-maintained libraries, since the usual defaults (Pillow's PNG level) cost five to ten times the CPU time.

Decoders check the header before they decode pixels, so that a small file cannot allocate gigabytes.
"""

import io
import zlib
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .errors import BadInput
from .forks import no_fork
from .layout import IMAGE_CODECS, ImageCodec
from .schema import MapInfo, MapKind

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Labels = NDArray[np.unsignedinteger[Any]]
Mask = NDArray[np.bool_]
LOSSLESS: Final[frozenset[str]] = frozenset({"webp", "png"})

MAX_PIXELS: Final = 64 * 2**20
"""Largest image that is decoded, in pixels."""

_MAX_LABEL: Final = 65535
_COUNTABLE: Final = 1 << 20
_DEPTH_STEPS: Final = 65534
_NORMAL_OF_BYTE: Final = (np.arange(256) / 127.5 - 1).astype(np.float32)
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_SEGMENTS: Final = frozenset({*_JPEG_FRAMES, 0xC4, 0xCC, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_FORMATS: Final = ("PNG", "WEBP", "JPEG")


def _png(strategy: int, row_filter: int) -> tuple[int, ...]:
    return (
        *(cv2.IMWRITE_PNG_COMPRESSION, 1),
        *(cv2.IMWRITE_PNG_STRATEGY, strategy),
        *(cv2.IMWRITE_PNG_FILTER, row_filter),
    )


# PNG settings by kind of image, chosen by measurement (benchmarks/codecs.py). One fixed row filter instead of libpng's
# choice per row saves most of the time. Photographs do not repeat: Huffman codes only. Flat maps are long runs. Exact
# depth repeats from row to row.
_PHOTO: Final = _png(cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY, cv2.IMWRITE_PNG_FILTER_AVG)
_FLAT: Final = _png(cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_FILTER_NONE)
_DEPTH: Final = _png(cv2.IMWRITE_PNG_STRATEGY_DEFAULT, cv2.IMWRITE_PNG_FILTER_UP)
_NORMALS: Final = _png(cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_FILTER_UP)
_JPEG: Final = (
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    # 4:4:4, since 4:2:0 changes pixels up to 16 px away from an edit.
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
)


class CodecError(ValueError):
    """Bytes that cannot be decoded, or an array that cannot be encoded. Concerns one sample and stops no run."""


class ImageTooLargeError(CodecError, BadInput):
    """The header gives more than `MAX_PIXELS` pixels."""


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header of a PNG, WebP or JPEG, without decoding pixels. Raises CodecError."""
    if found := _size_in_header(data):
        return found
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return image.size
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"image too large: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise CodecError(f"not a PNG, WebP or JPEG image ({len(data)} bytes)") from error


def encode_image(rgb: U8, codec: ImageCodec = "webp") -> bytes:
    """Encode sRGB uint8 HxWx3; webp and png are lossless, jpg is quality 95 without chroma subsampling."""
    _check_array(rgb, np.uint8, 3)
    match codec:
        case "webp":
            return _encode_webp(rgb)
        case "png":
            return _encode_cv(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _PHOTO)
        case "jpg":
            return _encode_cv(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _JPEG)
        case _:
            raise BadInput(f"unknown image codec '{codec}': use one of {', '.join(IMAGE_CODECS)}")


def decode_image(data: bytes) -> U8:
    """Decode PNG, WebP or JPEG to sRGB uint8 HxWx3; alpha is dropped, EXIF orientation ignored. Raises CodecError."""
    return _decode_cv(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION).astype(np.uint8, copy=False)


def encode_labels(labels: NDArray[Any]) -> bytes:
    """Encode an integer label map HxW (0 background) as 8-bit PNG, or 16-bit where a label exceeds 255."""
    _check_array(labels, np.integer, 2)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > _MAX_LABEL:
        raise CodecError(f"labels {low}..{high} do not fit 0..{_MAX_LABEL}")
    return _encode_cv(".png", labels.astype(np.uint8 if high <= 255 else np.uint16, copy=False), _FLAT)


def decode_labels(data: bytes) -> Labels:
    """Decode a label map to uint8 or uint16 HxW, as stored. Raises CodecError."""
    return _decode_gray(data)


def relabel(labels: NDArray[Any]) -> Labels:
    """Number the regions of a label map HxW 1, 2, ... with larger areas first (ties: smaller old label); 0 stays 0.

    Returns uint8, or uint16 where there are more than 255 regions. Raises CodecError on negative labels or too many.
    """
    _check_array(labels, np.integer, 2)
    if int(labels.min()) < 0:
        raise CodecError("labels must not be negative")
    old = labels.astype(np.intp, copy=False)
    if int(labels.max()) > _COUNTABLE:
        old = np.unique(labels, return_inverse=True)[1].reshape(labels.shape) + int(labels.min() > 0)
    areas = np.bincount(old.ravel())
    areas[0] = 0
    ranked = np.argsort(-areas, kind="stable")[: np.count_nonzero(areas)]
    if len(ranked) > _MAX_LABEL:
        raise CodecError(f"{len(ranked)} regions do not fit 16 bits")
    new = np.zeros(len(areas), np.uint8 if len(ranked) <= 255 else np.uint16)
    new[ranked] = np.arange(1, len(ranked) + 1)
    return new[old]


def encode_mask(mask: Mask) -> bytes:
    """Encode a boolean mask HxW as 8-bit PNG with 0 and 255."""
    _check_array(mask, np.bool_, 2)
    return _encode_cv(".png", mask.view(np.uint8) * np.uint8(255), _FLAT)


def decode_mask(data: bytes) -> Mask:
    """Decode a mask to bool HxW. Raises CodecError, also for pixels other than 0 and 255."""
    pixels = _decode_gray(data)
    mask = pixels == 255
    if int(np.count_nonzero(mask)) != int(np.count_nonzero(pixels)):
        raise CodecError("a mask holds pixels other than 0 and 255")
    return mask


def encode_lines(lines: U8) -> bytes:
    """Encode a line drawing (uint8 HxW, dark on white) as 8-bit PNG."""
    _check_array(lines, np.uint8, 2)
    return _encode_cv(".png", lines, _FLAT)


def decode_lines(data: bytes) -> U8:
    """Decode a line drawing to uint8 HxW. Raises CodecError."""
    return _u8(_decode_gray(data), "line drawing")


def encode_metric(z: F32, *, estimator: str, revision: str) -> tuple[bytes, MapInfo]:
    """Encode planar depth HxW in meters as 16-bit PNG; zero, negative, infinite and NaN mean no depth (pixel 0).

    Pixels 1..65535 span the smallest to the largest depth, so the error is at most half a step, (max - min) / 131068.
    """
    _check_array(z, np.floating, 2)
    valid = np.isfinite(z) & (z > 0)
    low, high = _span(z, valid)
    scale = _step(low, high, _DEPTH_STEPS)
    offset = low - scale if high > 0 else 0.0
    pixels = np.zeros(z.shape, np.uint16)
    pixels[valid] = np.clip(np.rint((z[valid].astype(np.float64) - offset) / scale), 1, 65535)
    return _encode_cv(".png", pixels, _DEPTH), _info("metric", estimator, revision, scale, offset, low, high, "m")


def encode_relative(inverse: F32, *, estimator: str, revision: str) -> tuple[bytes, MapInfo]:
    """Encode inverse depth HxW (near = large, any unit) as 16-bit PNG; infinite and NaN become 0, infinitely far.

    Pixels 0..65535 span the smallest to the largest value, which the returned MapInfo repeats as `min` and `max`.
    """
    _check_array(inverse, np.floating, 2)
    values = np.where(np.isfinite(inverse), inverse, 0).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    scale = _step(low, high, 65535)
    pixels = np.clip(np.rint((values - low) / scale), 0, 65535).astype(np.uint16)
    return _encode_cv(".png", pixels, _DEPTH), _info("relative_inverse", estimator, revision, scale, low, low, high, "")


def encode_confidence(confidence: F32, *, estimator: str, revision: str) -> tuple[bytes, MapInfo]:
    """Encode the confidence of metric depth, HxW, larger = more certain, as `encode_relative` does."""
    data, info = encode_relative(confidence, estimator=estimator, revision=revision)
    return data, info.model_copy(update={"kind": "confidence"})


def encode_default_confidence(metric: bytes, *, estimator: str, revision: str) -> tuple[bytes, MapInfo]:
    """Confidence of an encoded metric map whose estimator reports none: 1 where it has depth, else 0."""
    known = decode_depth_pixels(metric) > 0
    pixels = known.astype(np.uint16) * np.uint16(65535)
    return _encode_cv(".png", pixels, _FLAT), _info("confidence", estimator, revision, 1 / 65535, 0.0, 0.0, 1.0, "")


def decode_confidence(data: bytes, info: MapInfo) -> F32:
    """Decode the confidence of a metric map to float32 HxW. Raises CodecError as `decode_depth`."""
    if info.kind != "confidence":
        raise CodecError(f"kind '{info.kind}' is not a confidence map")
    return _linear(decode_depth_pixels(data), info)


def decode_depth(data: bytes, info: MapInfo) -> F32:
    """Decode a depth map to float32 HxW: offset + scale * pixel; metric depth is 0.0 where there is none.

    Raises CodecError, also where `info` does not describe a depth map or the PNG is not 16-bit.
    """
    if info.kind not in ("metric", "relative_inverse"):
        raise CodecError(f"kind '{info.kind}' is not a depth map")
    pixels = decode_depth_pixels(data)
    values = _linear(pixels, info)
    if info.kind == "metric":
        values[pixels == 0] = 0.0
    return values


def _linear(pixels: NDArray[np.uint16], info: MapInfo) -> F32:
    values = np.multiply(pixels, np.float32(info.scale), dtype=np.float32)
    values += np.float32(info.offset)
    return values


def decode_depth_pixels(data: bytes) -> NDArray[np.uint16]:
    """The 16-bit pixels of a depth or confidence map, HxW. Raises CodecError, also where the PNG is not 16-bit."""
    pixels = _decode_gray(data)
    if pixels.dtype != np.uint16:
        raise CodecError("a depth map must be a 16-bit PNG")
    return pixels.view(np.uint16)


def encode_normals(normals: F32) -> bytes:
    """Encode unit normals HxWx3 (camera frame, pointing to the camera) as PNG with rgb = (n + 1) / 2.

    A zero vector (no surface) becomes (128, 128, 128), which no unit vector encodes to. Raises CodecError on other
    lengths.
    """
    _check_array(normals, np.floating, 3)
    length = np.einsum("hwc,hwc->hw", normals, normals)
    if not bool(np.all((np.abs(length - 1) < 0.02) | (length == 0))):
        raise CodecError("normals must have length one, or be zero where there is no surface")
    rgb = np.rint((normals + 1.0) * 127.5).astype(np.uint8)
    return _encode_cv(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _NORMALS)


def decode_normals(data: bytes) -> F32:
    """Decode normals to float32 HxWx3, unit length, zero where there is none. Raises CodecError."""
    rgb = _decode_cv(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    # Channel by channel, which is several times faster than on vectors of three.
    x, y, z = (np.take(_NORMAL_OF_BYTE, rgb[..., axis]) for axis in range(3))
    square = x * x
    square += y * y
    square += z * z
    # Quantization changes a unit vector's length by less than 1 %, so a short vector, (128, 128, 128), is no normal.
    factor = np.divide(1, np.sqrt(square), out=np.zeros_like(square), where=square > 0.25)
    vectors = np.empty(rgb.shape, np.float32)
    for axis, plane in enumerate((x, y, z)):
        np.multiply(plane, factor, out=vectors[..., axis])
    return vectors


def map_info(
    kind: Literal["normal", "instances", "segments", "lines"], *, estimator: str, revision: str, count: int = 0
) -> MapInfo:
    """MapInfo of a map without a measured scale; `count` is the largest label of a label map."""
    if kind == "normal":
        return _info(kind, estimator, revision, 2 / 255, -1.0, -1.0, 1.0, "")
    return _info(kind, estimator, revision, 1.0, 0.0, 0.0, 255.0 if kind == "lines" else float(count), "")


def _info(
    kind: MapKind, estimator: str, revision: str, scale: float, offset: float, low: float, high: float, unit: str
) -> MapInfo:
    numbers = {"scale": float(scale), "offset": float(offset), "min": float(low), "max": float(high)}
    return MapInfo(estimator=estimator, revision=revision, kind=kind, unit=unit, **numbers)


def _span(values: F32, valid: Mask) -> tuple[float, float]:
    """Smallest and largest valid value; zeros where none is valid."""
    if not valid.any():
        return 0.0, 0.0
    return float(np.min(values, where=valid, initial=np.inf)), float(np.max(values, where=valid, initial=0))


def _step(low: float, high: float, steps: int) -> float:
    """Quantization step over low..high; a float32 epsilon for a constant map, so that the scale is never zero."""
    step = (high - low) / steps
    return step if step > 0 else max(abs(high) * 2.0**-24, 2.0**-24)


def _encode_webp(rgb: U8) -> bytes:
    buffer = io.BytesIO()
    try:
        # `quality` is the effort when lossless; 0 is the fastest and not larger at method 0.
        Image.fromarray(rgb).save(buffer, "WEBP", lossless=True, method=0, quality=0)
    except (OSError, ValueError) as error:
        raise CodecError(f"WebP cannot hold an image of {rgb.shape[1]} x {rgb.shape[0]} pixels") from error
    return buffer.getvalue()


def _encode_cv(extension: str, pixels: NDArray[Any], parameters: tuple[int, ...]) -> bytes:
    done, data = cv2.imencode(extension, pixels, list(parameters))
    if not done:
        raise CodecError(f"OpenCV cannot encode {pixels.shape} {pixels.dtype} as {extension}")
    return data.tobytes()


def _check_png(data: bytes) -> None:
    """Check the CRC of every chunk: libpng only reports damage on stderr and may return the pixels before it."""
    position = len(_PNG_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 8 + length
        if len(data) < end + 4:
            raise CodecError(f"truncated PNG ({len(data)} bytes)")
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise CodecError(f"damaged PNG: chunk {kind!r} at byte {position}")
        position = end + 4


def _decode_cv(data: bytes, flags: int) -> NDArray[Any]:
    _check_size(data)
    if data.startswith(_PNG_SIGNATURE):
        _check_png(data)
    try:
        with no_fork():
            pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise CodecError(f"damaged image ({len(data)} bytes)") from error
    if pixels is None:
        raise CodecError(f"damaged image ({len(data)} bytes)")
    return pixels


def _decode_gray(data: bytes) -> Labels:
    pixels = _decode_cv(data, cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 2 or pixels.dtype.name not in ("uint8", "uint16"):
        raise CodecError(f"expected one gray channel of 8 or 16 bits, got {pixels.shape} {pixels.dtype}")
    return pixels


def _u8(pixels: Labels, what: str) -> U8:
    if pixels.dtype != np.uint8:
        raise CodecError(f"a {what} must be an 8-bit PNG")
    return pixels.astype(np.uint8, copy=False)


def _check_size(data: bytes) -> None:
    width, height = image_size(data)
    if width * height > MAX_PIXELS:
        raise ImageTooLargeError(f"image of {width} x {height} pixels is too large: the limit is {MAX_PIXELS} pixels")


def _size_in_header(data: bytes) -> tuple[int, int] | None:
    """Width and height from the header of the common layouts; None for others, which `image_size` leaves to Pillow.

    Pillow holds the interpreter lock for 0.1 ms to read a header, and decoding threads would wait for it.
    """
    if data[:8] == _PNG_SIGNATURE and data[12:16] == b"IHDR":
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _jpeg_size(data) if data[:2] == b"\xff\xd8" else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF and data[position + 1] in _JPEG_SEGMENTS:
        if data[position + 1] in _JPEG_FRAMES:
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def _check_array(array: NDArray[Any], dtype: type[np.generic], ndim: int) -> None:
    """Raise CodecError for an array of another type or shape, which would be encoded as something else."""
    shape_fits = array.ndim == ndim and array.size > 0 and (ndim == 2 or array.shape[2] == 3)
    if not shape_fits or not np.issubdtype(array.dtype, dtype):
        expected = "HxW" if ndim == 2 else "HxWx3"
        raise CodecError(f"expected {expected} {dtype.__name__}, got {array.shape} {array.dtype}")
