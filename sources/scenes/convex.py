"""Shapes of meshes for collisions: convex pieces that contain the triangles, and distances to the triangles.

A thing that moves is cut into its connected parts, and each part that is not convex into octants (`Mesh.pieces`): one
hull would close what is hollow. Of what things rest in or on, the parts that are not convex become small boxes behind
their surface (`surface`).
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from ...shards.geometry import F64
from ..assets.height_map import Integers

Point = tuple[float, float, float]
_NEAR: Final = 0.005
"""Meters: larger distances count as infinite."""
_PARTS: Final = 60
"""Most connected parts of a mesh. The smallest ones count as one part."""
_MOVING_PARTS: Final = 3
"""Largest parts of a moving thing that have pieces of their own. The rest counts as one part."""
_FLAT: Final = 0.0015
"""A part is convex if its points are on one side of the plane of each triangle, except for so much, on average;
meters."""
_CHECKED: Final = 60
"""About the most triangles of a part that are checked for this."""
_GRAIN: Final = 1e-5
"""Points that are closer than this are one point, meters."""
_THIN: Final = 2e-4
"""Half the least thickness of a piece or a box, meters."""
_MOST_CELLS: Final = 800
"""About the most cells into which a surface is cut."""
_FACINGS: Final = 3
"""A box has triangles whose normals, times this, are equal when rounded."""
_LONG: Final = 2.0
"""A box follows the longest direction of its part if the variance along it is at least so many times that across it."""
_SLIVER: Final = 1e-7
"""Boxes of a smaller area are left out, square meters."""
_KEPT: Final = 64
"""Most surfaces that a process keeps."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh in its own frame, meters, with what is computed from it once."""

    vertices: F64
    """(n, 3)."""
    faces: Integers
    """(m, 3): indices of vertices."""

    @cached_property
    def digest(self) -> bytes:
        """Of vertices and faces."""
        digest = hashlib.sha256(np.ascontiguousarray(self.vertices).tobytes())
        digest.update(np.ascontiguousarray(self.faces).tobytes())
        return digest.digest()

    @cached_property
    def points(self) -> F64:
        """The vertices (n, 3) that its triangles use."""
        return self.vertices[np.unique(self.faces)]

    @cached_property
    def centroid(self) -> F64:
        """Center of mass (3,) of its surface."""
        corners = self.vertices[self.faces]
        return np.average(corners.mean(axis=1), axis=0, weights=_normals(corners)[1])

    @property
    def parts(self) -> list[Integers]:
        """Triangles (n, 3) of its connected parts, the largest first; at most `_PARTS`."""
        label = _connected(self.vertices, self.faces)
        counts = np.bincount(label)
        rank = np.empty(len(counts), np.int64)
        rank[np.argsort(-counts, kind="stable")] = np.minimum(np.arange(len(counts)), _PARTS - 1)
        order = np.argsort(rank[label], kind="stable")
        return np.split(self.faces[order], np.cumsum(np.bincount(rank[label]))[:-1])

    @cached_property
    def pieces(self) -> list[F64]:
        """Points (n, 3) of its convex pieces: its largest parts and the rest, cut into octants if not convex."""
        size = float(np.ptp(self.points, axis=0).max())
        parts = self.parts
        large, rest = parts[:_MOVING_PARTS], parts[_MOVING_PARTS:]
        found: list[F64] = []
        for part in [*large, *([np.concatenate(rest)] if rest else [])]:
            corners = self.vertices[part]
            found += [_piece(corners)] if _is_convex(corners) else _octants(divided(corners, size / 3))
        return found

    @cached_property
    def convex_parts(self) -> tuple[list[F64], Integers]:
        """Points (n, 3) of each of its convex parts, and the triangles (m, 3) of the others."""
        pieces: list[F64] = []
        others = [self.faces[:0]]
        for part in self.parts:
            corners = self.vertices[part]
            if _is_convex(corners):
                pieces.append(_piece(corners))
            else:
                others.append(part)
        return pieces, np.concatenate(others)

    @cached_property
    def _bounds(self) -> tuple[F64, F64]:
        """The least and largest coordinates (m, 3) of each of its triangles."""
        corners = self.vertices[self.faces]
        return corners.min(axis=1), corners.max(axis=1)

    def between(self, low: F64, high: F64) -> F64:
        """Corners (n, 3, 3) of the triangles whose bounds meet the box between two corners (3,)."""
        least, most = self._bounds
        return self.vertices[self.faces[((least < high) & (most > low)).all(axis=1)]]

    def distance(self, point: F64) -> float:
        """Distance of a point (3,) to the nearest triangle, meters; infinite if it is more than `_NEAR`."""
        near = self.between(point - _NEAR, point + _NEAR)
        return _distance(near - point) if len(near) else float("inf")


@dataclass(frozen=True)
class Boxes:
    """Boxes in the frame of a mesh, meters."""

    centers: F64
    """(n, 3)."""
    axes: F64
    """(n, 3, 3): rows are the directions of the sides."""
    halves: F64
    """(n, 3): half the length of each side."""


NO_BOXES: Final = Boxes(np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros((0, 3)))


@lru_cache(_KEPT)
def surface(mesh: Mesh, eye: Point, low: Point, high: Point, size: float) -> tuple[list[F64], Boxes]:
    """The shape of a mesh in or on which others come to rest, in the frame of the mesh.

    Each convex part is a piece. The surface of the other parts is cut by a cubic grid, and each cell has a box that
    extends from the surface away from `eye`. A box is flat, so it stands out of a concave surface of radius r by about
    size² / 8r.

    Args:
        eye: a point from which all sides are seen that bodies touch, for example above a bowl.
        low, high: corners of the box outside of which the mesh does not count.
        size: of a cell, meters. Cells are larger if there were more than about `_MOST_CELLS` else.

    Returns:
        Points (n, 3) of the convex pieces, and the boxes.
    """
    bounds = np.array(low), np.array(high)
    pieces, others = mesh.convex_parts
    corners = mesh.vertices[others]
    pieces = [one for one in pieces if (one.min(axis=0) < bounds[1]).all() and (one.max(axis=0) > bounds[0]).all()]
    near = (corners.min(axis=1) < bounds[1]) & (corners.max(axis=1) > bounds[0])
    size = max(size, float(np.sqrt(_normals(corners[near.all(axis=1)])[1].sum() / _MOST_CELLS)))
    return pieces, _boxes(divided(corners, size / 2, bounds), np.array(eye), size)


def _boxes(corners: F64, eye: F64, size: float) -> Boxes:
    """The boxes behind triangles (n, 3, 3) that are smaller than a cell; see `surface`."""
    if not len(corners):
        return NO_BOXES
    centers = corners.mean(axis=1)
    normals, areas = _normals(corners)
    back = np.einsum("ij,ij->i", normals, centers - eye) > 0
    normals[~back] *= -1
    # What faces another way in one cell has a box of its own, and so have the two sides of a thin wall.
    facing = np.round(_FACINGS * normals)
    keys = np.column_stack([np.floor((centers - eye) / size), facing, back]).astype(np.int64)
    keys -= keys.min(axis=0)
    number = np.asarray(np.ravel_multi_index(tuple(keys.T), tuple(keys.max(axis=0) + 1)))
    order = np.argsort(number, kind="stable")
    corners = corners[order]
    first = np.flatnonzero(np.diff(number[order], prepend=-1))
    away = np.add.reduceat((normals * areas[:, None])[order], first)
    length = np.linalg.norm(away, axis=1)
    away /= np.maximum(length, 1e-30)[:, None]
    # Boxes follow the axes of the mesh, and long ones their part: the rim of a bowl is a narrow arc.
    counts = np.diff(first, append=len(corners))
    middle = np.add.reduceat(corners.mean(axis=1), first) / counts[:, None]
    apart = corners - np.repeat(middle, counts, axis=0)[:, None]
    spread, directions = np.linalg.eigh(np.add.reduceat(np.einsum("nki,nkj->nij", apart, apart), first))
    across = np.eye(3)[(np.abs(away).argmax(axis=1) + 1) % 3]
    across = np.where((spread[:, 2] > _LONG * spread[:, 1])[:, None], directions[:, :, 2], across)
    across -= np.einsum("ij,ij->i", across, away)[:, None] * away
    across /= np.maximum(np.linalg.norm(across, axis=1), 1e-30)[:, None]
    axes = np.stack([across, np.cross(away, across), away], axis=1)
    along = np.einsum("nij,nkj->nki", np.repeat(axes, counts, axis=0), corners)
    low, high = np.minimum.reduceat(along.min(axis=1), first), np.maximum.reduceat(along.max(axis=1), first)
    high[:, 2] += size
    kept = length > _SLIVER
    low, high, axes = low[kept], high[kept], axes[kept]
    centers = np.einsum("nij,ni->nj", axes, (low + high) / 2)
    halves: F64 = np.maximum((high - low) / 2, _THIN)
    return Boxes(np.round(centers, 6), axes, np.round(halves, 6))


def divided(corners: F64, size: float, bounds: tuple[F64, F64] | None = None) -> F64:
    """Triangles (n, 3, 3), divided until no side is longer than `size`; with `bounds` (low, high), those between."""
    done: list[F64] = []
    while len(corners):
        if bounds is not None:
            near = (corners.min(axis=1) < bounds[1]) & (corners.max(axis=1) > bounds[0])
            corners = corners[near.all(axis=1)]
        sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        small = sides.max(axis=1) <= size
        done.append(corners[small])
        corners, sides = corners[~small], sides[~small]
        # Halved at the longest side: corner 0 to 1 after the roll.
        first = sides.argmax(axis=1)[:, None]
        a, b, c = (np.take_along_axis(corners, ((first + k) % 3)[..., None], axis=1)[:, 0] for k in range(3))
        half = (a + b) / 2
        corners = np.concatenate([np.stack([a, half, c], axis=1), np.stack([half, b, c], axis=1)])
    return np.concatenate(done) if done else corners


def _normals(corners: F64) -> tuple[F64, F64]:
    """Unit normals (n, 3) of triangles (n, 3, 3), zero where they have no area, and their areas (n,)."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    return normals / np.maximum(length, 1e-30)[:, None], length / 2


def _distinct(points: F64) -> tuple[F64, Integers]:
    """The distinct points of (n, 3), and the index of each point in them (n,)."""
    grid = np.round(points / _GRAIN).astype(np.int64)
    grid -= grid.min(axis=0)
    keys = np.ravel_multi_index(tuple(grid.T), tuple(grid.max(axis=0) + 1))
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return points[first], number


def _is_convex(corners: F64) -> bool:
    """Whether triangles (n, 3, 3) are those of a convex part, within `_FLAT`."""
    some = corners[:: -(-len(corners) // _CHECKED)]
    normals, areas = _normals(some)
    points = _distinct(corners.reshape(-1, 3))[0]
    heights = normals @ points.T - np.einsum("ij,ij->i", normals, some[:, 0])[:, None]
    out = np.minimum(heights.max(axis=1), -heights.min(axis=1))
    return float(out @ areas) < _FLAT * float(areas.sum())


def _octants(corners: F64) -> list[F64]:
    """Points of the parts of triangles (n, 3, 3) in the octants around their middle."""
    flat = corners.reshape(-1, 3)
    above = corners.mean(axis=1) > (flat.min(axis=0) + flat.max(axis=0)) / 2
    octant = above @ np.array([1, 2, 4])
    return [_piece(corners[octant == one]) for one in np.unique(octant)]


def _connected(vertices: F64, faces: Integers) -> Integers:
    """The number of the connected part of each triangle, (m,). Vertices at one place count as one."""
    corners = _distinct(vertices)[1][faces]
    label = np.arange(int(corners.max()) + 1)
    while True:
        least = label[corners].min(axis=1)
        after = label.copy()
        np.minimum.at(after, corners.ravel(), np.repeat(least, 3))
        after = after[after]
        if (after == label).all():
            return np.unique(label[corners[:, 0]], return_inverse=True)[1].ravel()
        label = after


def _piece(corners: F64) -> F64:
    """The distinct corners (n, 3) of triangles. Flat ones become a slab, because a hull needs a volume."""
    points = _distinct(corners.reshape(-1, 3))[0]
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    for axis in axes if len(axes) == 3 else np.eye(3):
        if np.ptp(points @ axis) < 2 * _THIN:
            points = np.concatenate([points - _THIN * axis, points + _THIN * axis])
    return points


def _distance(corners: F64) -> float:
    """Distance of the origin to the nearest of triangles (n, 3, 3)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = np.cross(b - a, c - a)
    area = np.einsum("ij,ij->i", normal, normal)
    inside = area > 1e-20
    nearest = np.full(len(a), np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        along = end - start
        length = np.maximum(np.einsum("ij,ij->i", along, along), 1e-20)
        share = np.clip(-np.einsum("ij,ij->i", start, along) / length, 0.0, 1.0)
        nearest = np.minimum(nearest, np.linalg.norm(start + share[:, None] * along, axis=1))
        inside &= np.einsum("ij,ij->i", np.cross(along, -start), normal) >= 0
    height = np.abs(np.einsum("ij,ij->i", a, normal)) / np.sqrt(np.maximum(area, 1e-20))
    return float(np.where(inside, height, nearest).min())
