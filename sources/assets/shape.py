"""Measures of a model's shape: its transform to the object frame, its footprint, its symmetry, whether it is a room.

Invariant: `footprint` contains all points that it was computed from, and lies inside the bounding box.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...shards.colors import to_lab
from .glb import Floats
from .surface_samples import Surface

CONTACT_REACH: Final = (0.02, 0.25)
"""Points at most so high above the lowest point touch the floor: fraction of the largest extent, and upper limit as
fraction of the height. The feet of scanned objects are uneven by about this much."""
DIRECTIONS: Final = 24
"""Maximum number of points of a footprint (`Asset.footprint`)."""
HIDDEN: Final = -0.5
"""Upward component of a normal below which no camera above the floor sees the surface: its color does not count."""
FOLDS: Final = (8, 6, 5, 4, 3, 2)
"""Rotational symmetries that are tested, in this order."""
_SIDE: Final = 48
"""Cells across an object, seen from above."""
_SLICES: Final = 8
_MAX_OFFSET: Final = 0.02
"""Fraction of the object's width by which a rotated surface may miss the surface, in addition to the spacing of the
samples."""
_COLOR_TOLERANCE: Final = 12.0
"""CIELAB distance between means of 5 x 5 cells, so that the grain of a texture does not count; the best match within
`_SLACK` counts."""
_SLACK: Final = ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2))
_MAX_MISMATCH: Final = (0.01, 0.03)
"""Fractions of the surface that may be displaced, and have another color, after a rotation that counts as invisible.
Three times as much in each third of the height."""


@dataclass(frozen=True)
class Fit:
    """Transform of a file to the object frame, and its footprint there; fields as in `Asset`."""

    scale: float
    offset: tuple[float, float, float]
    size_m: tuple[float, float, float]
    footprint: tuple[tuple[float, float], ...]
    contact: tuple[float, float]


def fit(points: Floats, scale: float) -> Fit:
    """Place points (N, 3), file units, z up, so that the center of their base is at the origin.

    `scale` (meters per file unit) keeps nine significant digits, because file units can have any size. Everything else
    is rounded to micrometers.
    """
    scale = float(f"{scale:.9g}")
    low, high = points.min(axis=0) * scale, points.max(axis=0) * scale
    x, y, z = (round(float(value), 6) + 0.0 for value in (-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]))
    width, depth, height = (round(float(value), 6) for value in high - low)
    flat = points[:, :2] * scale + (x, y)
    reach = min(CONTACT_REACH[0] * max(width, depth, height), CONTACT_REACH[1] * height)
    touching = flat[points[:, 2] * scale <= low[2] + reach]
    return Fit(scale, (x, y, z), (width, depth, height), footprint(flat), contact(touching))


def contact(flat: Floats) -> tuple[float, float]:
    """Center of the area that an object stands on: the centroid of the convex hull of the points (N, 2) that touch the
    floor. The hull may be a line or a point. Rounded to micrometers."""
    import shapely

    ((x, y),) = shapely.get_coordinates(shapely.centroid(shapely.convex_hull(shapely.multipoints(flat))))
    return round(float(x), 6) + 0.0, round(float(y), 6) + 0.0


def footprint(flat: Floats) -> tuple[tuple[float, float], ...]:
    """Convex outline of points (N, 2), counter-clockwise, 3 to 24 points, rounded to micrometers.

    The exact hull if it has at most 24 corners; else the polygon of 24 tangents, 15 degrees apart, which contains the
    hull and exceeds it by less than one percent of its radius.

    Raises:
        ValueError: the points lie on a line.
    """
    import shapely

    hull = shapely.convex_hull(shapely.linestrings(flat))  # several times faster than with one point each
    if not isinstance(hull, shapely.Polygon):
        raise ValueError("the footprint has no area")
    corners = np.round(shapely.get_coordinates(hull)[:-1], 6)
    if len(corners) > DIRECTIONS:
        corners = _tangents(corners)
    outline = shapely.convex_hull(shapely.multipoints(corners))
    if not isinstance(outline, shapely.Polygon):
        raise ValueError("the footprint has no area")
    ring = shapely.get_coordinates(shapely.orient_polygons(outline))[:-1]
    start = int(np.lexsort((ring[:, 1], ring[:, 0]))[0])
    return tuple((float(x) + 0.0, float(y) + 0.0) for x, y in np.roll(ring, -start, axis=0))


def _tangents(corners: Floats) -> Floats:
    angles = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    across = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    reach = (corners @ across.T).max(axis=0)
    following = np.roll(across, -1, axis=0)
    determinant = across[:, 0] * following[:, 1] - across[:, 1] * following[:, 0]
    after = np.roll(reach, -1)
    x = (reach * following[:, 1] - after * across[:, 1]) / determinant
    y = (after * across[:, 0] - reach * following[:, 0]) / determinant
    return np.stack([x, y], axis=1).round(6)


def looks_round(outline: tuple[tuple[float, float], ...], surface: Surface, center: Floats) -> bool:
    """Whether no rotation about the vertical axis through `center` (2,), in the surface's units, can be seen.

    True if the outline is round within 4 %, if six sectors at three heights have equal mean radius and equal area, and
    if samples of the same height and radius have the same color (CIELAB distance at most 4 on average).
    """
    corners = np.array(outline)
    angles = np.arange(72) * (np.pi / 36)
    reach = (corners @ np.stack([np.cos(angles), np.sin(angles)])).max(axis=0)
    if reach.min() < 0.96 * reach.max():
        return False
    flat = surface.points[:, :2] - center
    height = surface.points[:, 2] - surface.points[:, 2].min()
    share = height / max(float(height.max()), 1e-12)
    radius = np.hypot(flat[:, 0], flat[:, 1])
    sector = ((np.arctan2(flat[:, 1], flat[:, 0]) + np.pi) / (2 * np.pi) * 6).astype(np.intp) % 6
    cell = np.minimum((share * 3).astype(np.intp), 2) * 6 + sector
    counts = np.bincount(cell, minlength=18).reshape(3, 6).astype(np.float64)
    mean_radius = np.bincount(cell, radius, minlength=18).reshape(3, 6) / np.maximum(counts, 1)
    busy = counts.sum(axis=1) >= 120
    if np.any(np.ptp(counts, axis=1)[busy] > 0.5 * counts.mean(axis=1)[busy]):
        return False
    if np.any(np.ptp(mean_radius, axis=1)[busy] > 0.08 * float(radius.max())):
        return False
    # Neighbors in this order have the same height and radius, and any angle.
    order = np.lexsort((radius, (share * 200).astype(np.intp)))
    steps = np.linalg.norm(np.diff(to_lab(surface.srgb[order]), axis=0), axis=1)
    return bool(steps.mean() <= 4.0)


def rotational_symmetry(surface: Surface, center: Floats) -> int:
    """Largest n of 1, 2, 3, 4, 5, 6, 8 for which a rotation by 360/n degrees about the vertical axis cannot be seen.

    It cannot be seen if each rotated sample meets surface of the same height and color. `center` (2,) is the center of
    the bounding box, in the surface's units, and the axis for even n. The axis for n = 3 and n = 5 passes through the
    centroid: a rotation about `center` also shifts such an object a little, which is tolerated. Round surfaces give 8.
    """
    slices = _Slices.of(surface, center)
    centroid = surface.points[:, :2].mean(axis=0) - center
    axes = (np.zeros(2), centroid)
    return next((folds for folds in FOLDS if slices.is_symmetric(360.0 / folds, axes[folds % 2])), 1)


@dataclass(frozen=True)
class _Slices:
    """A surface cut into slices by height, each rasterized from above. Includes what a camera above the floor sees."""

    flat: Floats
    """(N, 2) relative to the center"""
    number: NDArray[np.intp]
    """(N,) index of the slice"""
    third: NDArray[np.intp]
    """(N,) index of the third of the height"""
    cell: float
    tolerance: float
    distance: NDArray[np.float32]
    """(slices, side, side) distance to the nearest sample of the slice"""
    lab: NDArray[np.float32]
    """(slices, side, side, 3) mean color around that sample"""

    @classmethod
    def of(cls, surface: Surface, center: Floats) -> "_Slices":
        seen = surface.normals[:, 2] > HIDDEN
        seen |= not seen.any()
        flat, height = surface.points[seen, :2] - center, surface.points[seen, 2] - surface.points[:, 2].min()
        spacing = float(np.sqrt(surface.area / len(surface.points)))
        tall, wide = max(float(height.max()), 1e-12), max(2 * float(np.hypot(*flat.T).max()), 1e-12)
        count = int(np.clip(tall / (2.5 * spacing), 1, _SLICES))
        number = np.minimum((height / tall * count).astype(np.intp), count - 1)
        third = np.minimum((height / tall * 3).astype(np.intp), 2)
        cell = wide / (_SIDE - 6)
        distance, lab = _rasterize(number, _cells(flat, cell), to_lab(surface.srgb[seen]), count)
        return cls(flat, number, third, cell, _MAX_OFFSET * wide + 1.2 * spacing, distance * np.float32(cell), lab)

    def is_symmetric(self, degrees: float, axis: Floats) -> bool:
        """Whether a rotation about the vertical axis through `axis` (2,) cannot be seen."""
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        rotated = (self.flat - axis) @ np.array([[c, s], [-s, c]]) + axis
        before, after = _cells(self.flat, self.cell), _cells(rotated, self.cell)
        displaced = self.distance[self.number, after[:, 1], after[:, 0]] > self.tolerance
        if self._exceeds(displaced, _MAX_MISMATCH[0]):
            return False
        own = self.lab[self.number, before[:, 1], before[:, 0]]
        near = [np.clip(after + step, 0, _SIDE - 1) for step in _SLACK]
        steps = [((own - self.lab[self.number, at[:, 1], at[:, 0]]) ** 2).sum(axis=1) for at in near]
        return not self._exceeds(np.min(steps, axis=0) > _COLOR_TOLERANCE**2, _MAX_MISMATCH[1])

    def _exceeds(self, mismatch: NDArray[np.bool_], share: float) -> bool:
        third = np.bincount(self.third, mismatch, minlength=3) / np.maximum(np.bincount(self.third, minlength=3), 100)
        return bool(mismatch.mean() > share or third.max() > 3 * share)


def _cells(flat: Floats, cell: float) -> NDArray[np.intp]:
    """Column and row (N, 2)."""
    return np.clip(flat / cell + _SIDE / 2, 0, _SIDE - 1).astype(np.intp)


def _rasterize(
    number: NDArray[np.intp], cells: NDArray[np.intp], lab: Floats, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each cell of `count` slices: distance in cells to the slice's nearest sample, and the mean color there."""
    import cv2

    index = (number * _SIDE + cells[:, 1]) * _SIDE + cells[:, 0]
    size = (count, _SIDE, _SIDE)
    sums = np.empty((*size, 4), np.float32)
    for part, weights in enumerate((*lab.T, None)):
        sums[..., part] = np.bincount(index, weights, count * _SIDE * _SIDE).reshape(size)
    distance, color = np.full(size, _SIDE, np.float32), np.zeros((*size, 3), np.float32)
    for slice_, picture in enumerate(sums):
        filled = picture[..., 3] > 0
        if filled.any():
            empty = (~filled).astype(np.uint8)
            near, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
            distance[slice_], nearest = near, np.asarray(labels, np.intp)
            around = cv2.blur(picture, (5, 5), borderType=cv2.BORDER_CONSTANT)[filled]
            table = np.zeros((int(nearest.max()) + 1, 3), np.float32)
            table[nearest[filled]] = around[:, :3] / around[:, 3:]
            color[slice_] = table[nearest]
    return distance, color


def inner_walls(surface: Surface) -> tuple[int, float]:
    """Whether a model is a room seen from inside.

    A side of the bounding box is a wall if surface that faces the center, within a tenth of the box's width, covers
    60 % of that side. There must be a floor: surface that faces up covers half of the base.

    Returns:
        Number of walls (0 without a floor), and the fraction of the surface near the four sides that faces inward
        rather than outward.
    """
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    size = np.maximum(high - low, 1e-12)
    per_sample = surface.area / len(surface.points)
    base = (surface.points[:, 2] < low[2] + 0.15 * size[2]) & (surface.normals[:, 2] > 0.9)
    if base.sum() * per_sample < 0.5 * size[0] * size[1]:
        return 0, 0.0
    walled, inward, outward = 0, 0.0, 0.0
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        edge = low[axis] if sign > 0 else high[axis]
        near = np.abs(surface.points[:, axis] - edge) < 0.1 * size[axis]
        facing = surface.normals[:, axis] * sign
        side = size[1 - axis] * size[2]
        inside = float((near & (facing > 0.9)).sum()) * per_sample
        outside = float((near & (facing < -0.9)).sum()) * per_sample
        walled += inside > 0.6 * side
        inward, outward = inward + inside, outward + outside
    return walled, inward / max(inward + outward, 1e-12)
