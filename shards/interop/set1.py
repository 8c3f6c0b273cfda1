"""Color-coded masks: color k of matplotlib's Set1 is object k of `object_data`, color 0 the background.

Invariant: each pixel gets the nearest color, on a scale of 0 to 255; a mask with too many distant pixels is an error.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

SET1: Final[U8] = np.array(
    [
        (228, 26, 28),
        (55, 126, 184),
        (77, 175, 74),
        (152, 78, 163),
        (255, 127, 0),
        (255, 255, 51),
        (166, 86, 40),
        (247, 129, 191),
        (153, 153, 153),
    ],
    np.uint8,
)
"""matplotlib's qualitative color map Set1, sRGB."""
MAX_OBJECTS: Final = len(SET1) - 1
_MAX_DISTANCE: Final = 30.0
"""Distance in RGB up to which a pixel counts as its nearest color; any two colors are at least 73 apart."""
_MAX_STRAYS: Final = 0.01


class MaskError(ValueError):
    """An image that is not a mask of the given number of objects."""


def read_mask(rgb: U8, objects: int) -> U8:
    """Labels (H, W), 0 background, k the k-th object, of a color-coded mask (H, W, 3) with up to `objects` objects.

    Raises MaskError where over 1 % of the pixels are not near one of the colors 0 to `objects`.
    """
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    values, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colors = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1).astype(np.float64)
    distances = np.linalg.norm(colors[:, None] - SET1[None, : objects + 1].astype(np.float64), axis=2)
    strays = int(counts[distances.min(axis=1) > _MAX_DISTANCE].sum())
    if strays > _MAX_STRAYS * packed.size:
        raise MaskError(f"{strays} of {packed.size} pixels have none of the colors of {objects} objects")
    return distances.argmin(axis=1).astype(np.uint8)[inverse].reshape(packed.shape)


def draw_mask(labels: NDArray[np.integer]) -> U8:
    """Color-coded mask (H, W, 3) of labels (H, W) up to MAX_OBJECTS."""
    return SET1[labels]
