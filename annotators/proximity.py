"""Next to, between, against the wall and in the corner, on the floor plan, where it is known what objects stand on.

Each function returns by how much a definition is missed: the largest ratio of a measured value to its limit. Up to
`HOLDS` the relation holds and may be said, above `FAILS` it is false, and in between nothing is said or judged. The
definitions and limits are in docs/scenes.md (Relations).

Outlines are the corners (4, 2), counterclockwise, of an object's bounding box seen from above, world meters; of a
tilted object, of the smallest rectangle around its box.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from ..shards.geometry import F64, box_corners, transform, wrap_degrees

HOLDS: Final = 1.0
FAILS: Final = 2.0
_UNDECIDED: Final = 1.5
"""Returned where the measured values fit, but something else is in between."""
NEXT: Final = 0.75
"""Next to: largest free distance, in widths of the smaller object."""
MIDDLE: Final = 0.25
"""Between: largest distance from the middle along the line between the two, over its length."""
ASIDE: Final = 0.5
"""Between: largest distance from this line, in widths of the object."""
ASIDE_SPAN: Final = 0.2
"""Between: largest distance from this line, over its length."""
WALL: Final = 0.06
"""Against the wall: largest distance of the back edge, at its nearest end, meters."""
PARALLEL: Final = 10.0
"""Against the wall: largest angle between the back edge and the wall, degrees."""
CORNER: Final = 0.3
"""In the corner: largest distance from both walls, meters."""


def outline(pose: F64, size: F64) -> F64:
    """The outline of an object with this pose (world_from_object, 4x4) and size (3,), meters."""
    if is_tilted(pose):
        return _rectangle(transform(pose, box_corners(size.tolist()))[:, :2], pose[:2, :3].T)
    w, d = float(size[0]) / 2, float(size[1]) / 2
    corners: F64 = transform(pose, [(-w, -d, 0.0), (w, -d, 0.0), (w, d, 0.0), (-w, d, 0.0)])
    return corners[:, :2]


def is_tilted(pose: F64) -> bool:
    """Whether an object with this pose (4x4) does not stand upright."""
    return bool(np.abs(pose[2, :2]).max() > 1e-9)


def _rectangle(points: F64, directions: F64) -> F64:
    """Corners (4, 2) of the smallest rectangle around points (n, 2) with a side in one of some directions (m, 2)."""
    best, found = np.inf, np.zeros((4, 2))
    for direction in directions:
        length = float(np.linalg.norm(direction))
        if length < 1e-6:
            continue
        axes = np.array([direction, (-direction[1], direction[0])]) / length
        low, high = (points @ axes.T).min(axis=0), (points @ axes.T).max(axis=0)
        area = float(np.prod(high - low))
        if area < best:
            best, found = area, np.array([low, (high[0], low[1]), high, (low[0], high[1])]) @ axes
    return found


def width(a: F64) -> float:
    """The longer side of an outline, meters."""
    return float(max(np.linalg.norm(a[1] - a[0]), np.linalg.norm(a[2] - a[1])))


def next_to(a: F64, b: F64, others: Iterable[F64]) -> float:
    """Of two objects on one support; `others`: what else stands there."""
    free = distance(a, b)
    miss = free / (NEXT * min(width(a), width(b))) if free > 0 else _UNDECIDED
    centers = np.stack([a.mean(axis=0), b.mean(axis=0)])
    blocked = miss <= HOLDS and any(distance(centers, other) == 0 for other in others)
    return _UNDECIDED if blocked else miss


def between(a: F64, b: F64, c: F64, others: Iterable[F64]) -> float:
    """Of an object and two others on one support; `others`: what else stands there."""
    start, end = b.mean(axis=0), c.mean(axis=0)
    line = end - start
    span = float(np.linalg.norm(line))
    if span < 1e-6:
        return np.inf
    along = line / span
    across = np.array([-along[1], along[0]])
    offset, half = a.mean(axis=0) - start, min(ASIDE * width(a), ASIDE_SPAN * span)
    miss = max(abs(float(offset @ along) / span - 0.5) / MIDDLE, abs(float(offset @ across)) / half)
    corridor = np.stack([start + half * across, end + half * across, end - half * across, start - half * across])
    return _UNDECIDED if miss <= HOLDS and any(distance(corridor, other) == 0 for other in others) else miss


def against_wall(a: F64, room: Sequence[float], back_deg: float | None, others: Iterable[F64]) -> tuple[float, F64]:
    """Of an object on the floor of a room, and the outward normal (2,) of the wall that it is nearest to.

    Args:
        room: width (x) and depth (y), whose middle is the origin, and height, meters.
        back_deg: direction in which the object's back faces, world degrees; None: any edge may be its back.
        others: what else stands on the floor.
    """
    best, wall = np.inf, np.zeros(2)
    for start, end in zip(a, np.roll(a, -1, axis=0), strict=True):
        way = float(np.rad2deg(np.arctan2(start[0] - end[0], end[1] - start[1])))
        if back_deg is not None and abs(wrap_degrees(way - back_deg)) > 46:
            continue
        for axis, sign in ((0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)):
            normal = sign * np.eye(2)[axis]
            off = abs(wrap_degrees(way - float(np.rad2deg(np.arctan2(normal[1], normal[0])))))
            free = room[axis] / 2 - max(sign * float(start[axis]), sign * float(end[axis]))
            miss = max(abs(free) / WALL, off / PARALLEL)
            if miss < best:
                best, wall = miss, normal
    if best <= HOLDS:
        axis = int(np.argmax(np.abs(wall)))
        far = wall * room[axis] / 2
        near = a[np.argsort(a @ wall)[-2:]]
        strip = np.stack([near[0], near[1], _moved_to(near[1], far, axis), _moved_to(near[0], far, axis)])
        if any(distance(strip, other) == 0 for other in others):
            best = _UNDECIDED
    return best, wall


def in_corner(a: F64, room: Sequence[float], others: Iterable[F64]) -> tuple[float, F64]:
    """Of an object on the floor of a room, and the corner (2,) that it is nearest to. Arguments: see `against_wall`."""
    best, corner, limits = np.inf, np.zeros(2), np.array(room[:2]) / 2
    for signs in np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]):
        miss = float((limits - (a * signs).max(axis=0)).max()) / CORNER
        if miss < best:
            best, corner = miss, signs * limits
    if best <= HOLDS:
        near = a[int(np.argmin(np.linalg.norm(a - corner, axis=1)))]
        if any(distance(np.stack([near, corner]), other) == 0 for other in others):
            best = _UNDECIDED
    return best, corner


def distance(a: F64, b: F64) -> float:
    """Least distance between two convex outlines or segments (N, 2), meters; 0 if they touch or overlap."""
    if _overlap(a, b):
        return 0.0
    return min(_from_points(a, b), _from_points(b, a))


def _overlap(a: F64, b: F64) -> bool:
    """Whether no edge of either separates the two."""
    for one in (a, b):
        edges = np.roll(one, -1, axis=0) - one
        directions = np.concatenate([edges, edges @ np.array([[0.0, 1.0], [-1.0, 0.0]])])
        first, second = a @ directions.T, b @ directions.T
        if ((first.max(axis=0) < second.min(axis=0)) | (second.max(axis=0) < first.min(axis=0))).any():
            return False
    return True


def _from_points(points: F64, shape: F64) -> float:
    """Least distance of points (N, 2) from the edges of a shape (M, 2)."""
    start = shape[None]
    edge = np.roll(shape, -1, axis=0)[None] - start
    offset = points[:, None] - start
    share = (offset * edge).sum(axis=-1) / np.maximum((edge * edge).sum(axis=-1), 1e-12)
    return float(np.linalg.norm(offset - np.clip(share, 0, 1)[..., None] * edge, axis=-1).min())


def _moved_to(point: F64, far: F64, axis: int) -> F64:
    moved = point.copy()
    moved[axis] = far[axis]
    return moved


def overlap_share(a: F64, b: F64) -> float:
    """Share of outline `a` that lies inside outline `b`, on a grid of 12 x 12 points."""
    steps = (np.arange(12) + 0.5) / 12
    u, v = np.meshgrid(steps, steps)
    points = a[0] + u.reshape(-1, 1) * (a[1] - a[0]) + v.reshape(-1, 1) * (a[3] - a[0])
    offset, x, y = points - b[0], b[1] - b[0], b[3] - b[0]
    inside = [(offset @ axis >= 0) & (offset @ axis <= axis @ axis) for axis in (x, y)]
    return float((inside[0] & inside[1]).mean())
