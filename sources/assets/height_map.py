"""A layered height map: all heights at which the vertical lines of a grid meet the surface of a mesh.

Triangles are rasterized with numpy, without a ray caster, so the result is the same on every machine. The mesh may be
concave, open, two-sided or inside out.

Invariant: time and memory are bounded. A mesh that exceeds the limits below is rejected before memory is allocated for
its crossings.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .glb import Floats

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

CELLS: Final = 160
"""Cells along the longer horizontal side."""
SMALLEST_CELL: Final = 0.002
"""Meters."""
MAX_TRIANGLES: Final = 1_000_000
MAX_CROSSINGS: Final = 4_000_000
_SHIFT: Final = 0.123
"""Fraction of a cell by which the grid is shifted, so that its lines rarely meet the edges of a model."""
_STEEP: Final = 0.1
"""Upward component of a normal below which hardly any vertical line meets a triangle."""
_VERTICAL: Final = 1e-3
"""Upward component of a normal below which a triangle has no single height above a point."""
_SAME: Final = 5e-4
"""Meters. A crossing that is at most so far above another one is the other side of the same sheet."""
_BLOCK: Final = 1 << 17
"""Triangles that are rasterized at once."""


class TooComplex(ValueError):
    """A mesh has more triangles or crossings than the limits."""


@dataclass(frozen=True)
class Detail:
    """How finely a mesh is rasterized, and how complex it may be. The defaults are for a model of an object."""

    cells: int = CELLS
    """Along the longer horizontal side."""
    triangles: int = MAX_TRIANGLES
    crossings: int = MAX_CROSSINGS
    """Limit for the crossings of lines and triangles, together with the samples on edges."""


@dataclass(frozen=True)
class HeightMap:
    """The crossings of a grid's vertical lines with a surface, sorted by cell, then by height. Lengths in meters."""

    low: Floats
    """(2,) corner of cell (0, 0)"""
    cell: float
    """Side of a cell."""
    shape: tuple[int, int]
    """Number of cells along x and y. Cell (i, j) has the number i * shape[1] + j."""
    at: Integers
    """(N,) number of the crossing's cell"""
    z: Floats
    """(N,)"""
    up: Floats
    """(N,) z of the triangle's unit normal"""
    corner_at: Integers
    """(V,) number of a vertex's cell"""
    corner_z: Floats
    """(V,)"""
    thin_at: Integers
    """(S,) cells of samples on the edges of triangles that vertical lines miss although they are larger than a cell: of
    walls, nets, panes and rods"""
    thin_z: Floats
    """(S, 2) lowest and highest point there: of a steep triangle, else of the sample"""

    @classmethod
    def of(cls, vertices: Floats, faces: Integers, detail: Detail | None = None) -> "HeightMap":
        """Rasterize a mesh: vertices (n, 3), meters, z up; faces (m, 3), at least one.

        Raises:
            TooComplex: it exceeds the limits.
        """
        detail = detail or Detail()
        if len(faces) > detail.triangles:
            raise TooComplex(f"{len(faces)} triangles; at most {detail.triangles}")
        used = np.zeros(len(vertices), np.bool_)
        used[faces] = True
        points = vertices[used]
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        cell = max(float((high - low).max()) / detail.cells, SMALLEST_CELL)
        low = low - cell * (1 + _SHIFT)
        shape = (int((high[0] - low[0]) / cell) + 2, int((high[1] - low[1]) / cell) + 2)
        # In units of cells, with the lines at integers.
        grid = np.column_stack([(vertices[:, :2] - low) / cell - 0.5, vertices[:, 2] / cell])
        crossings: list[list[NDArray[Any]]] = []
        edges: list[tuple[Integers, Floats]] = []
        left = detail.crossings
        for start in range(0, len(faces), _BLOCK):
            corners = grid[faces[start : start + _BLOCK]]
            up = _upward(corners)
            missed, *crossed = _cross(corners, up, shape[1], left)
            crossings.append(crossed)
            left -= len(crossed[0])
            steep = np.abs(up) < _STEEP
            thin = np.flatnonzero(missed | steep)
            low_side, high_side = _range(corners[thin])
            # The vertices of smaller triangles leave no cell out.
            thin = thin[(high_side - low_side).max(axis=1) > 1.0]
            edges.append(_edge_cells(corners[thin], steep[thin], shape[1], left))
            left -= len(edges[-1][0])
        at, z, up = (np.concatenate(column) for column in zip(*crossings, strict=True))
        order = np.lexsort((z, at))
        thin_at, thin_z = (np.concatenate(column) for column in zip(*edges, strict=True))
        corner = np.rint(grid[used, :2]).astype(np.int64)
        return cls(
            low=low,
            cell=cell,
            shape=shape,
            at=at[order],
            z=z[order] * cell,
            up=up[order],
            corner_at=corner[:, 0] * shape[1] + corner[:, 1],
            corner_z=points[:, 2],
            thin_at=thin_at,
            thin_z=thin_z * cell,
        )

    @cached_property
    def top(self) -> Mask:
        """(N,): crossings with nothing above them in their cell."""
        return np.append(self.at[1:] != self.at[:-1], True) if len(self.at) else np.zeros(0, np.bool_)

    @cached_property
    def clearance(self) -> Floats:
        """(N,) free height above each crossing; infinite below the open sky."""
        if not len(self.at):
            return np.zeros(0)
        apart = 2 * float(np.ptp(self.z)) + 1.0
        rank = self.at * apart + (self.z - self.z.min())
        following = np.searchsorted(rank, rank + _SAME, side="right")
        last = np.minimum(following, len(rank) - 1)
        covered = (following < len(rank)) & (self.at[last] == self.at)
        return np.where(covered, self.z[last] - self.z, np.inf)

    def grid(self, cells: Integers) -> Mask:
        """(nx, ny): the cells with these numbers."""
        found = np.zeros(self.shape[0] * self.shape[1], np.bool_)
        found[cells] = True
        return found.reshape(self.shape)

    def between(self, low: float, high: float) -> Mask:
        """(nx, ny): cells in which a part of the surface is at a height above `low` and below `high`."""
        return self.grid(
            np.concatenate(
                [
                    self.at[(self.z > low) & (self.z < high)],
                    self.corner_at[(self.corner_z > low) & (self.corner_z < high)],
                    self.thin_at[(self.thin_z[:, 1] > low) & (self.thin_z[:, 0] < high)],
                ]
            )
        )

    def slice(self, level: float) -> Mask:
        """(nx, ny): cells whose surface crosses a height."""
        slope = np.sqrt(1 - self.up**2) / np.maximum(np.abs(self.up), _STEEP)
        near = np.abs(self.z - level) <= 0.5 * self.cell * slope + 1e-6
        corners = np.abs(self.corner_z - level) <= 0.5 * self.cell
        thin = (self.thin_z[:, 0] <= level) & (self.thin_z[:, 1] >= level)
        return self.grid(np.concatenate([self.at[near], self.corner_at[corners], self.thin_at[thin]]))


def _cross(corners: Floats, up: Floats, columns: int, most: int) -> tuple[Mask, Integers, Floats, Floats]:
    """Which triangles (m, 3, 3) no line crosses; cell, height and upward component of the normal at each crossing.

    A triangle owns its lower and left edges only, so that a line that meets a shared edge crosses once.
    """
    x = corners[:, :, 0]
    first, last = (np.ceil(end).astype(np.int64) for end in _range(x))
    kept = np.flatnonzero((last > first) & (np.abs(up) > _VERTICAL))
    first, rows = first[kept], (last - first)[kept]
    if rows.sum() > most:
        raise TooComplex("too many crossings of vertical lines and triangles")
    ordered = np.take_along_axis(corners[kept], np.argsort(x[kept], axis=1)[:, :, None], axis=1)
    a, b, c = ordered[:, 0], ordered[:, 1], ordered[:, 2]
    normal = np.cross(b - a, c - a)
    # Rows of constant x: between the longest edge and one of the others.
    owner, step = _spread(rows)
    i = first[owner] + step
    a, b, c = a[owner], b[owner], c[owner]
    before = i < b[:, 0]
    start, end = np.where(before[:, None], a, b), np.where(before[:, None], b, c)
    y = np.stack([_edge_y(i, a, c), _edge_y(i, start, end)])
    low, high = (np.ceil(end).astype(np.int64) for end in (np.minimum(*y), np.maximum(*y)))
    if (high - low).sum() > most:
        raise TooComplex("too many crossings of vertical lines and triangles")
    row, step = _spread(high - low)
    i, j, own = i[row], low[row] + step, owner[row]
    n = normal[own]
    z = a[row, 2] - (n[:, 0] * (i - a[row, 0]) + n[:, 1] * (j - a[row, 1])) / n[:, 2]
    # Rounding must not move a crossing of a steep triangle beyond it.
    lowest, highest = _range(ordered[:, :, 2])
    z = np.clip(z, lowest[own], highest[own])
    missed = np.ones(len(corners), np.bool_)
    missed[kept[own]] = False
    return missed, i * columns + j, z, up[kept[own]]


def _range(corners: Floats) -> tuple[Floats, Floats]:
    """Smallest and largest value of three corners (m, 3, ...). Several times faster than reductions along the axis."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)


def _upward(corners: Floats) -> Floats:
    """(m,) z of the unit normals of triangles (m, 3, 3)."""
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    x = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]
    y = u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
    z = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    return z / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-300)


def _edge_y(i: Integers, start: Floats, end: Floats) -> Floats:
    """y where edges from `start` to `end`, sorted by x, meet the lines x = i."""
    return start[:, 1] + (i - start[:, 0]) * (end[:, 1] - start[:, 1]) / (end[:, 0] - start[:, 0])


def _edge_cells(corners: Floats, steep: Mask, columns: int, most: int) -> tuple[Integers, Floats]:
    """Cells that the edges of triangles (m, 3, 3) cross, and the ranges of heights (., 2) there."""
    start, end = corners.reshape(-1, 3), corners[:, [1, 2, 0]].reshape(-1, 3)
    length = np.abs(end - start)
    # Cells that follow each other touch at least at a corner, so nothing connected passes between them.
    steps = np.ceil(np.maximum(length[:, 0], length[:, 1])).astype(np.int64).clip(1)
    if steps.sum() > most:
        raise TooComplex("too many crossings of vertical lines and triangles")
    edge, step = _spread(steps)
    x, y, z = (start[edge] + (end - start)[edge] * (step / steps[edge])[:, None]).T
    heights = np.column_stack(_range(corners[:, :, 2]))[edge // 3]
    level = ~steep[edge // 3]
    heights[level] = z[level, None]
    return np.rint(x).astype(np.int64) * columns + np.rint(y).astype(np.int64), heights


def _spread(counts: Integers) -> tuple[Integers, Integers]:
    """For each i, counts[i] times: i, and 0, 1, 2, ..."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
