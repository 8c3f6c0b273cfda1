"""Line drawings from exact maps: outlines of objects, occlusion edges, and creases.

Invariant: a flat surface has no line on it, however slanted. Each test compares two neighboring pixels, so a line lies
on the border between pixels. It is drawn there at twice the resolution, then smoothed and reduced: 1 to 2 pixels wide,
antialiased, dark on white.
"""

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

CREASE_DEG: Final = 28.0
JUMP: Final = 0.015
"""Smallest relative step of inverse depth between neighbors that is an edge, beyond what surface slopes explain."""
SLOPE_PX: Final = 4.0
"""A sample may lie anywhere in its pixel and slightly outside. So two neighbors on one surface may differ by the slope
times the pixel distance plus both offsets: at most this many pixels."""
OUTLINE: Final = np.uint8(255)
CREASE: Final = np.uint8(180)
"""Ink: creases are fainter than outlines."""
GAIN: Final = 1.8
"""Factor that makes lines dark: a straight line covers only half of each of two pixels."""
SLIVER: Final = 1 / 80
"""Open background along the frame gets no line if it is thinner than this share of the frame's side: if the floor ends
just below the upper border, only dashes of its far edge would show."""
SPECKLE: Final = 8
"""Connected depth and normal edges that are shorter than this many half pixels are left out."""


def draw_lines(labels: NDArray[Any], depth: F32 | None = None, normals: F32 | None = None, K: F64 | None = None) -> U8:
    """Draw the lines of a view: uint8 (H, W), 255 where there is none.

    `labels` (H, W): integer instance map; `depth` (H, W): planar z in meters, 0 for none; `normals` (H, W, 3): unit
    vectors in the camera frame (x right, y down, z forward), zero for none; `K` (3, 3): intrinsic matrix in pixels.
    Unless `depth`, `normals` and `K` are all given, only the borders of the instances are drawn.
    """
    outlines = [OUTLINE * (a != b).astype(np.uint8) for a, b in (_pairs(labels, 1), _pairs(labels, 0))]
    ink = _canvas(outlines)
    if depth is not None and normals is not None and K is not None:
        inverse = np.divide(1.0, depth, out=np.zeros_like(depth), where=depth > 0)
        inverse[_slivers(depth == 0)] = np.nan  # comparisons with NaN are false: no jump
        slope = _slope(normals, K)
        jumps = [_jumps(inverse, slope, axis) for axis in (1, 0)]
        surface = np.any(normals != 0, axis=2)
        creases = [_creases(normals, surface, axis) for axis in (1, 0)]
        inner = np.maximum(_canvas(jumps), _canvas(creases))
        ink = np.maximum(ink, _remove_speckle(inner))
    smooth = cv2.GaussianBlur(ink, (5, 5), 1.0)
    reduced = cv2.resize(smooth, (labels.shape[1], labels.shape[0]), interpolation=cv2.INTER_AREA)
    return (255.0 - np.minimum(GAIN * reduced.astype(np.float32), 255.0)).astype(np.uint8)


def _pairs(values: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Each pixel and its next neighbor along an axis (0 down, 1 right)."""
    return (values[:, :-1], values[:, 1:]) if axis == 1 else (values[:-1], values[1:])


def _slivers(background: Mask) -> Mask:
    """Connected parts of the background that lie along the frame and are thin (`SLIVER`)."""
    height, width = background.shape
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(background.astype(np.uint8), connectivity=8)
    left, top, across, down = statistics[:, :4].T
    on_row = (down <= np.ceil(SLIVER * height)) & ((top == 0) | (top + down == height))
    on_column = (across <= np.ceil(SLIVER * width)) & ((left == 0) | (left + across == width))
    thin = on_row | on_column
    thin[0] = False
    return thin[np.asarray(parts, np.intp)]


def _slope(normals: F32, K: F64) -> F32:
    """Relative change of inverse depth per pixel (H, W), vertical plus horizontal, on the plane given by the normal.

    With ray r = (x, y, 1), the plane through P is n.P = 1/w n.r, so (dw/du) / w = n_x / (f_x n.r); infinite edge-on.
    """
    height, width = normals.shape[:2]
    x = ((np.arange(width) + 0.5 - K[0, 2]) / K[0, 0]).astype(np.float32)
    y = ((np.arange(height) + 0.5 - K[1, 2]) / K[1, 1]).astype(np.float32)
    facing = np.abs(normals[..., 0] * x[None, :] + normals[..., 1] * y[:, None] + normals[..., 2])
    across = np.abs(normals[..., 0]) / np.float32(K[0, 0]) + np.abs(normals[..., 1]) / np.float32(K[1, 1])
    return across / np.maximum(facing, np.float32(1e-4))


def _jumps(inverse: F32, slope: F32, axis: int) -> U8:
    """Ink where one surface occludes another; only that of a crease where two steep surfaces may also meet."""
    (a, b), (slope_a, slope_b) = _pairs(inverse, axis), _pairs(slope, axis)
    step = np.abs(a - b) / np.maximum(np.maximum(a, b), np.float32(1e-9)) - np.float32(JUMP)
    jump, apart = step > SLOPE_PX * np.minimum(slope_a, slope_b), step > 1.5 * (slope_a + slope_b)
    return np.where(jump, np.where(apart, OUTLINE, CREASE), np.uint8(0))


def _creases(normals: F32, surface: Mask, axis: int) -> U8:
    """Ink where the normal changes abruptly: by more than `CREASE_DEG` between neighbors, and by much more than beside
    them.

    The second condition keeps small round objects, whose normals change fast everywhere, from becoming black.
    """
    a, b = _pairs(normals, axis)
    on_a, on_b = _pairs(surface, axis)
    # Squared length of the chord between the two unit vectors: monotonic in their angle, and cheaper.
    chord = np.where(on_a & on_b, 2.0 - 2.0 * np.einsum("hwc,hwc->hw", a, b), np.float32(0))
    widths = ((0, 0), (1, 1)) if axis == 1 else ((1, 1), (0, 0))
    beside = np.pad(chord, widths)
    before, after = (beside[:, :-2], beside[:, 2:]) if axis == 1 else (beside[:-2], beside[2:])
    found = (chord > 2.0 - 2.0 * np.cos(np.deg2rad(CREASE_DEG))) & (chord > 4.0 * np.minimum(before, after))
    # A pixel that blends both sides splits a crease into two steps: only the larger one is drawn.
    return CREASE * (found & (chord > before) & (chord >= after)).astype(np.uint8)


def _canvas(borders: Sequence[U8]) -> U8:
    """Draw the ink of pixel borders (right (H, W-1), lower (H-1, W)) on a canvas (2H, 2W), one pixel on either side."""
    right, lower = borders
    height, width = right.shape[0], lower.shape[1]
    canvas = np.zeros((2 * height, 2 * width), np.uint8)
    both_rows = np.repeat(right, 2, axis=0)
    canvas[:, 1:-1:2] = both_rows
    canvas[:, 2::2] = both_rows
    both_columns = np.repeat(lower, 2, axis=1)
    canvas[1:-1:2] = np.maximum(canvas[1:-1:2], both_columns)
    canvas[2::2] = np.maximum(canvas[2::2], both_columns)
    return canvas


def _remove_speckle(canvas: U8) -> U8:
    """Remove connected lines of fewer than `2 * SPECKLE` pixels (lines are two pixels wide)."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(canvas, connectivity=8)
    long = statistics[:, cv2.CC_STAT_AREA] >= 2 * SPECKLE
    long[0] = False
    return canvas * long[np.asarray(parts, np.intp)]
