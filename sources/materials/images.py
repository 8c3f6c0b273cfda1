"""Checks of the image files that a plan keeps, and smaller images in place of large ones.

Sizes are read from the headers before anything is decoded: a small file may hold a huge image.
"""

import io
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import numpy as np

from ...shards.errors import BadInput
from ..blender.render import ImageFacts

MAX_PIXELS: Final = 1 << 26
"""Pixels of the largest image that is read: 8192 x 8192."""
HDRI_PX: Final = 4096
"""Width of the largest HDRI that is kept as it is."""
MAP_PX: Final = 2048
"""Width of the largest map that is kept as it is."""
_PNG, _JPEG = b"\x89PNG", b"\xff\xd8\xff"
_EXR: Final = b"\x76\x2f\x31\x01"
_RADIANCE: Final = (b"#?RADIANCE", b"#?RGBE")
_DEEP_EXR: Final = 0x800
_MODES: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B", "I")
Measure: TypeAlias = Callable[[Path, int, Path], ImageFacts]
"""`Renderer.measure_image`."""


def prepared_hdri(key: str, path: Path, measure: Measure, scratch: Path) -> Path:
    """The file to keep for an HDRI: its own, or a smaller one in the folder `scratch`.

    Args:
        key: option that names the file, for messages.

    Raises BadInput if it cannot light a scene.
    """
    width, height = _checked_size(key, path)
    if abs(width - 2 * height) > max(2, 0.01 * width):
        raise BadInput(
            f"{key}: {path} has {width} x {height} pixels, but an equirectangular HDRI is twice as wide as high: "
            "convert it, or remove it"
        )
    kept, facts = _measured(key, path, HDRI_PX, measure, scratch)
    if not 1e-6 < facts.radiance < 1e6:
        raise BadInput(
            f"{key}: {path} has a mean luminance of {facts.radiance:.3g}, so it cannot light a scene: remove it"
        )
    return kept


def prepared_map(key: str, path: Path, measure: Measure, scratch: Path) -> tuple[Path, float]:
    """The file to keep for a map of a texture set, and its height divided by its width.

    Raises BadInput if it cannot be read.
    """
    width, height = _checked_size(key, path)
    if path.suffix.lower() == ".exr":
        return _measured(key, path, MAP_PX, measure, scratch)[0], height / width
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            if image.mode in _MODES and width <= MAP_PX:
                return path, height / width
            pixels = np.asarray(image if image.mode in ("L", "RGB", "I;16", "I") else image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable(key, path, str(error)) from None
    factor = -(-width // MAP_PX)
    rows, columns = height // factor, width // factor
    cells = pixels[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, *pixels.shape[2:])
    values = np.rint(cells.mean(axis=(1, 3)))
    smaller = Image.fromarray(values.astype(np.uint8 if pixels.dtype == np.uint8 else np.uint16))
    kept = scratch / f"{path.stem}.png"
    smaller.save(kept)
    return kept, height / width


def _measured(key: str, path: Path, most: int, measure: Measure, scratch: Path) -> tuple[Path, ImageFacts]:
    smaller = scratch / f"{path.stem}.exr"
    facts = measure(path, most, smaller)
    if not facts.width:
        raise _unreadable(key, path, "Blender finds no image in it")
    if not facts.finite:
        raise BadInput(f"{key}: {path} has values that are not finite (NaN or infinite): repair it, or remove it")
    return (smaller if facts.shrunk else path), facts


def _checked_size(key: str, path: Path) -> tuple[int, int]:
    try:
        width, height = _size(key, path)
    except (OSError, ValueError, struct.error) as error:
        raise _unreadable(key, path, str(error)) from None
    if width < 1 or height < 1:
        raise _unreadable(key, path, f"it has {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise BadInput(
            f"{key}: {path} has {width} x {height} pixels, more than {MAX_PIXELS:,}: use the 2K or 4K version of it"
        )
    return width, height


def _size(key: str, path: Path) -> tuple[int, int]:
    """Width and height from the header."""
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        start = file.read(16)
        if suffix in (".hdr", ".exr"):
            if start.startswith((_PNG, _JPEG)):
                what = "PNG" if start.startswith(_PNG) else "JPEG"
                raise BadInput(
                    f"{key}: {path} is a {what} image with 8 or 16 bits, not an HDRI: its light is clipped; use the "
                    "original .hdr or .exr file"
                )
            file.seek(0)
            return _exr_size(file) if suffix == ".exr" else _radiance_size(file)
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                return image.size
        except Image.DecompressionBombError:
            return MAX_PIXELS, MAX_PIXELS


def _radiance_size(file: BinaryIO) -> tuple[int, int]:
    """The resolution line follows the first empty line: `-Y height +X width`, in any order and with any signs."""
    head = file.read(1 << 16)
    if not head.startswith(_RADIANCE):
        raise ValueError("it is not a Radiance HDR file")
    _, _, rest = head.partition(b"\n\n")
    match = re.match(rb"[-+]Y (\d+) [-+]X (\d+)\n", rest)
    if match is None:
        raise ValueError("its header names no resolution")
    return int(match[2]), int(match[1])


def _exr_size(file: BinaryIO) -> tuple[int, int]:
    """The data window of the first part. Attributes are: name, type, each with a final zero; size; value."""
    head = io.BytesIO(file.read(1 << 20))
    magic, version = struct.unpack("<4sI", head.read(8))
    if magic != _EXR:
        raise ValueError("it is not an OpenEXR file")
    if version & _DEEP_EXR:
        raise ValueError("it is a deep image")
    while name := _text(head):
        kind = _text(head)
        (size,) = struct.unpack("<I", head.read(4))
        value = head.read(size)
        if (name, kind) == (b"dataWindow", b"box2i"):
            left, top, right, bottom = struct.unpack("<4i", value)
            return right - left + 1, bottom - top + 1
    raise ValueError("its header names no data window")


def _text(file: io.BytesIO) -> bytes:
    """Bytes up to a zero, which is skipped."""
    found = bytearray()
    while (byte := file.read(1)) not in (b"\0", b""):
        found += byte
    return bytes(found)


def _unreadable(key: str, path: Path, why: str) -> BadInput:
    return BadInput(f"{key}: {path} cannot be read ({why}): replace or remove it")
