"""The scene without the edited objects.

The *plate* is what an image shows where the object is not: the target's pixels around the place that the object leaves,
the source's around the place where it arrives. Only where both images show the object the plate is guessed.
"""

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np

from ..shards.codecs import F32, U8, Labels, Mask

_GUESS_SIDE: Final = 96
"""Longer side, in pixels, of the image in which hidden pixels are guessed: they are smooth in any case."""


@dataclass(frozen=True)
class Plate:
    """`image` uint8 (H, W, 3); `labels` (H, W): ids of the objects behind the edited ones."""

    image: U8
    labels: Labels
    _sizes: dict[tuple[int, int], F32] = field(default_factory=dict[tuple[int, int], F32], repr=False, compare=False)

    def resized(self, size: tuple[int, int]) -> F32:
        """The image float32 (height, width, 3) at a smaller size (width, height), kept for the next prediction."""
        if size not in self._sizes:
            self._sizes[size] = shrunk(self.image, size)
        return self._sizes[size]


def shrunk(image: U8, size: tuple[int, int]) -> F32:
    """An image (H, W, 3) at a smaller size (width, height), by areas; halves first, which is several times faster."""
    while image.shape[1] >= 2 * size[0] and image.shape[0] >= 2 * size[1] and not (image.shape[0] | image.shape[1]) & 1:
        half = image.shape[1] // 2, image.shape[0] // 2
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def make_plate(images: tuple[U8, U8], labels: tuple[Labels, Labels], moving: tuple[Mask, Mask]) -> Plate:
    """The plate of source and target.

    Args:
        moving: masks (H, W) of what the edit moves.
    """
    before, after = moving
    nearer_before = _distance(before) < _distance(after)
    image = np.where(nearer_before[..., None], images[1], images[0])
    behind = np.where(nearer_before, labels[1], labels[0])
    hidden = before & after
    if hidden.any():
        image, behind = _guess(image, hidden), np.where(hidden, 0, behind)
    return Plate(image, behind)


def _distance(mask: Mask) -> F32:
    """Pixels (H, W) to the nearest true pixel; infinite where there is none."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3), np.float32)


def _guess(image: U8, hidden: Mask) -> U8:
    """Fill hidden pixels from around them (Telea 2004), at a low resolution."""
    height, width = hidden.shape
    factor = min(1.0, _GUESS_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    holes = cv2.dilate(cv2.resize(hidden.astype(np.uint8), size, interpolation=cv2.INTER_AREA), np.ones((3, 3)))
    small = cv2.inpaint(cv2.resize(image, size, interpolation=cv2.INTER_AREA), holes, 3, cv2.INPAINT_TELEA)
    filled = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(hidden[..., None], filled, image)
