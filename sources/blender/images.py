# pyright: basic, reportMissingImports=false
"""Images that light scenes or cover surfaces, as Blender reads them."""

from pathlib import Path
from typing import Any

import bpy
import numpy as np

LUMINANCE = (0.2126, 0.7152, 0.0722)
OWN_RADIANCE = 0.69
"""Average of the mean luminances of Blender's own HDRIs: that to which others are scaled."""


def measure_image(file: Path, most: int, smaller: Path) -> dict:
    """Size and mean luminance of an image, and whether its values are finite.

    Args:
        most: largest width, pixels. Of a wider image whose values are finite, averages over squares of pixels are
            written to `smaller`, as EXR.
    """
    unreadable = {"width": 0, "height": 0, "finite": False, "radiance": 0.0, "shrunk": False}
    try:
        image = bpy.data.images.load(str(file))
    except RuntimeError:
        return unreadable
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    if not width or not height:
        return unreadable
    pixels = pixels_of(image)
    finite = bool(np.isfinite(pixels).all())
    factor = -(-width // most)
    shrunk = finite and factor > 1
    found = {"width": width, "height": height, "finite": finite, "radiance": 0.0, "shrunk": shrunk}
    if finite:
        found["radiance"] = mean_luminance(image, positive=True)
    if shrunk:
        columns, rows = width // factor, height // factor
        cells = pixels[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, 4)
        written = bpy.data.images.new("smaller", columns, rows, float_buffer=True, is_data=True)
        written.pixels.foreach_set(cells.mean(axis=(1, 3), dtype=np.float32).ravel())
        written.file_format, written.filepath_raw = "OPEN_EXR", str(smaller)
        written.save()
    return found


def pixels_of(image: Any) -> np.ndarray:
    """Values (H, W, 4) of an image, float32, the bottom row first."""
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)


def mean_luminance(image: Any, positive: bool = False) -> float:
    """Mean luminance of an equirectangular image over the sphere; if `positive`, with 0 for negative values."""
    pixels = pixels_of(image)[..., :3]
    rows = (np.maximum(pixels, 0.0) if positive else pixels).mean(axis=1) @ np.array(LUMINANCE, np.float32)
    weight = np.sin((np.arange(len(rows)) + 0.5) / len(rows) * np.pi)
    return float(rows @ weight / weight.sum())
