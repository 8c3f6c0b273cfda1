"""Model inputs from a sample's images: resizing, and the red box on the source for translations and scalings.

Invariant: the box is drawn on the fitted image, so its line has the color and width of SpatialEdit's benchmark at every
size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ...shards.interop.spatialedit import bench_instruction, draw_box
from ...shards.interop.wording import asks_for_box
from ...shards.schema import SampleRecord

_Number = TypeVar("_Number", int, float)
MIN_BOX_SHARE: Final = 0.95
"""Our choice: a box of which less than this share of its area is left by the crop is lost, and so is its sample. The
instruction asks for the object in the whole box, of which the target then shows only a part."""


@dataclass(frozen=True)
class Fit:
    """How images of height x width pixels become squares: resized to cover the square, and center-cropped to it.

    Args:
        side: of the square, in pixels; 0: images are unchanged.
    """

    height: int
    width: int
    side: int

    @property
    def unchanged(self) -> bool:
        return not self.side or (self.height, self.width) == (self.side, self.side)

    @cached_property
    def resized(self) -> tuple[int, int]:
        """Height and width before the crop."""
        scale = self.side / min(self.height, self.width)
        height, width = (max(self.side, math.ceil(each * scale - 1e-6)) for each in (self.height, self.width))
        return height, width

    @cached_property
    def corner(self) -> tuple[int, int]:
        """Top and left of the crop in the resized image."""
        height, width = self.resized
        return (height - self.side) // 2, (width - self.side) // 2

    def image(self, image: NDArray[Any]) -> NDArray[Any]:
        """An image (height, width, 3) as (side, side, 3)."""
        if self.unchanged:
            return image
        (height, width), (top, left) = self.resized, self.corner
        # Neither filter overshoots the pixel range.
        shrinks = self.side < min(self.height, self.width)
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return np.ascontiguousarray(resized[top : top + self.side, left : left + self.side])

    def box(self, box: Sequence[int]) -> list[int]:
        """A box (`shards.schema.Box`) in the fitted image: cropped, and rounded outward to whole pixels, so that it
        holds the object. Zeros if the crop loses all of it."""
        if self.unchanged:
            return list(box)
        (x0, x1), (y0, y1) = (
            (self._clip(begin * after // before - offset), self._clip(-(-end * after // before) - offset))
            for begin, end, before, after, offset in self._spans(box)
        )
        return [x0, y0, x1, y1] if x0 < x1 and y0 < y1 else [0, 0, 0, 0]

    def box_share(self, box: Sequence[int]) -> float:
        """Share of a box's area that the crop leaves, in [0, 1]."""
        if self.unchanged:
            return 1.0
        shares = 1.0
        for begin, end, before, after, offset in self._spans(box):
            first, last = begin * after / before - offset, end * after / before - offset
            shares *= (self._clip(last) - self._clip(first)) / (last - first)
        return shares

    def _spans(self, box: Sequence[int]) -> list[tuple[int, int, int, int, int]]:
        """For x and y: begin and end of the box, length of the image before and after resizing, start of the crop."""
        (x0, y0, x1, y1), (height, width), (top, left) = box, self.resized, self.corner
        return [(x0, x1, self.width, width, left), (y0, y1, self.height, height, top)]

    def _clip(self, at: _Number) -> _Number | int:
        return min(max(at, 0), self.side)


def fit(image: NDArray[Any], side: int) -> NDArray[Any]:
    """An image (H, W, 3) resized to cover a square of this side and center-cropped to it. `side` 0: unchanged."""
    height, width = image.shape[:2]
    return Fit(height, width, side).image(image)


def to_benchmark_style(
    source: NDArray[np.uint8], record: Mapping[str, Any], side: int = 0
) -> tuple[NDArray[np.uint8], str]:
    """The source (H, W, 3), fitted to `side` as by `fit`, and the instruction of a sample in the style of SpatialEdit's
    benchmark.

    Translations and scalings get the target's box in red. If the object is outside the target's frame, there is no box:
    the sample keeps its own source and instruction.
    """
    parsed = SampleRecord.model_validate(record)
    height, width = source.shape[:2]
    fitted = Fit(height, width, side)
    if not asks_for_box(parsed.edit.kind):
        return fitted.image(source), bench_instruction(parsed)
    if not any(parsed.edit.box):
        return fitted.image(source), parsed.instruction.text
    return draw_box(fitted.image(source), fitted.box(parsed.edit.box)), bench_instruction(parsed)


def loses_box(record: Mapping[str, Any], height: int, width: int, side: int) -> bool:
    """Whether fitting images of height x width pixels loses the box that a sample's instruction asks for."""
    edit = record["edit"]
    if not asks_for_box(edit["kind"]) or not any(edit["box"]):
        return False
    return Fit(height, width, side).box_share(edit["box"]) < MIN_BOX_SHARE
