"""Model inputs from a sample's images: resizing, and the red box on the source for translations and scalings."""

import math
from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ...shards.interop.spatialedit import bench_instruction, draw_box
from ...shards.schema import SampleRecord

BOXED: Final = ("translate", "scale")
"""Edit kinds whose benchmark instruction refers to a red box."""


def fit(image: NDArray[Any], side: int) -> NDArray[Any]:
    """An image (H, W, 3) resized to cover a square of this side and center-cropped to it. `side` 0: unchanged."""
    height, width = image.shape[:2]
    if not side or (height, width) == (side, side):
        return image
    scale = side / min(height, width)
    new_height, new_width = max(side, math.ceil(height * scale - 1e-6)), max(side, math.ceil(width * scale - 1e-6))
    # Neither filter overshoots the pixel range.
    resized = cv2.resize(
        image, (new_width, new_height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    top, left = (new_height - side) // 2, (new_width - side) // 2
    return np.ascontiguousarray(resized[top : top + side, left : left + side])


def to_benchmark_style(source: NDArray[np.uint8], record: Mapping[str, Any]) -> tuple[NDArray[np.uint8], str]:
    """The source (H, W, 3) and the instruction of a sample in the style of SpatialEdit's benchmark.

    Translations and scalings get the target's box in red. If the object is outside the target's frame, there is no box:
    the sample keeps its own source and instruction.
    """
    parsed = SampleRecord.model_validate(record)
    if parsed.edit.kind not in BOXED:
        return source, bench_instruction(parsed)
    if not any(parsed.edit.box):
        return source, parsed.instruction.text
    return draw_box(source, parsed.edit.box), bench_instruction(parsed)
