"""What a model's shape means for a scene: its place in the object frame, its footprint, and what disqualifies it.

Invariant: `footprint` contains every point that it was made of, and lies inside the bounding box.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from sources.colours import to_lab
from sources.objaverse.glb import Floats
from sources.objaverse.looks import Surface

DIRECTIONS: Final = 24
"""Most points of a footprint (`Asset.footprint`)."""


@dataclass(frozen=True)
class Fit:
    """How a file stands in the object frame; fields as in `spec.Asset`."""

    scale: float
    offset: tuple[float, float, float]
    size_m: tuple[float, float, float]
    footprint: tuple[tuple[float, float], ...]


def fit(points: Floats, scale: float) -> Fit:
    """Place points (N, 3), file units, already z up, with the centre of their base at the origin.

    `scale` (metres per file unit) keeps nine significant digits, for file units may be of any size; the rest is
    rounded to micrometres.
    """
    scale = float(f"{scale:.9g}")
    low, high = points.min(axis=0) * scale, points.max(axis=0) * scale
    x, y, z = (round(float(value), 6) + 0.0 for value in (-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]))
    width, depth, height = (round(float(value), 6) for value in high - low)
    flat = points[:, :2] * scale + (x, y)
    return Fit(scale, (x, y, z), (width, depth, height), footprint(flat))


def footprint(flat: Floats) -> tuple[tuple[float, float], ...]:
    """Convex outline of points (N, 2), counter-clockwise, 3 to 24 points, rounded to micrometres.

    The exact hull where it has at most 24 corners; else the polygon of the 24 tangents 15 degrees apart, which
    contains the hull and exceeds it by less than one percent of its radius.

    Raises:
        ValueError: the points lie on a line.
    """
    import shapely

    hull = shapely.convex_hull(shapely.multipoints(flat))
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


def turns_unseen(outline: tuple[tuple[float, float], ...], surface: Surface, centre: Floats) -> bool:
    """Whether a turn about the vertical through `centre` (2,), in the surface's units, cannot be seen.

    True where the outline is round within 4 %; where, in six sectors at three heights, the surface lies equally far
    out and in equal amounts; and where samples of one height and radius have one colour (CIELAB within 4 on average).
    """
    corners = np.array(outline)
    angles = np.arange(72) * (np.pi / 36)
    reach = (corners @ np.stack([np.cos(angles), np.sin(angles)])).max(axis=0)
    if reach.min() < 0.96 * reach.max():
        return False
    flat = surface.points[:, :2] - centre
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
    # Neighbours in this order lie at one height and radius, and at any angle.
    order = np.lexsort((radius, (share * 200).astype(np.intp)))
    steps = np.linalg.norm(np.diff(to_lab(surface.srgb[order]), axis=0), axis=1)
    return bool(steps.mean() <= 4.0)


def inner_walls(surface: Surface) -> tuple[int, float]:
    """How much a model is a room seen from inside.

    A side of the bounding box is walled where surface within a tenth of the box's width of it, facing the centre,
    covers 60 % of that side. A floor counts likewise (half of the base, facing up).

    Returns:
        Walled sides (0 without a floor), and the share of what lies near the four sides and faces in, not out.
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
