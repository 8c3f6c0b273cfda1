"""What an edit changed between two released images, which were rendered one by one, noise and all.

Invariant: outside the region the images differ by noise alone (no pixel by more than `STRONG` levels, no patch of
`PATCH` pixels a side by more than `WEAK` on average), so the source's pixels can stand there without a visible seam.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

STRONG = 12
"""Levels by which a single pixel may differ and still be noise."""
WEAK = 1.5
"""Levels by which a patch's mean may differ: denoised noise averages out, a soft shadow does not."""
PATCH = 9
_GROWTH = 2


def find_changed(source: U8, target: U8, objects: Mask) -> Mask:
    """Where an edit changed the image, (H, W).

    Args:
        source, target: sRGB uint8 (H, W, 3).
        objects: the edited object before and after, (H, W): always held by the region, grown by two pixels.
    """
    difference = target.astype(np.float32) - source
    patches = np.abs(cv2.blur(difference, (PATCH, PATCH))).max(axis=2)
    region = (patches > WEAK) | (np.abs(difference).max(axis=2) > STRONG) | objects
    closing = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, closing)
    side = 2 * _GROWTH + 1
    return cv2.dilate(closed, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))) > 0
