"""The colors of maps, shared by all pictures and pages."""

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


def label_palette(count: int, nothing: int = 30) -> U8:
    """RGB of each label, (count, 3): gray for 0; consecutive labels differ in hue by the golden angle."""
    hues = (np.arange(count) * 0.381966 * 180 % 180).astype(np.uint8)
    hsv = np.stack([hues, np.full_like(hues, 170), np.full_like(hues, 235)], axis=-1)
    palette = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0].astype(np.uint8)
    palette[0] = nothing
    return palette


def turbo() -> U8:
    """RGB of 256 steps of depth, (256, 3): far is blue, near is red."""
    steps = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)
    return cv2.cvtColor(steps, cv2.COLOR_BGR2RGB).reshape(256, 3).astype(np.uint8)
