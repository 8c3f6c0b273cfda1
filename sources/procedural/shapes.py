"""Meshes that objects are built of: lathes, boxes with rounded edges, sweeps, extrusions.

Frame: the object's (meters, z up). Invariant: every face is counter-clockwise seen from outside, its normals point
outward, and its area is not zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Points = Sequence[Sequence[float] | Floats] | Floats

SEGMENTS: Final = 40
"""Number of segments of a full turn."""
CREASE_DEG: Final = 40.0
"""Corners of profiles with a larger angle stay sharp; others are smooth-shaded."""


@dataclass(frozen=True)
class Mesh:
    """Triangles with normals and texture coordinates."""

    vertices: Floats
    """(N, 3) meters"""
    normals: Floats
    """(N, 3) unit length"""
    uv: Floats
    """(N, 2), v up; meters on boxes, sweeps and extrusions, 0..1 around and along on lathes and panels"""
    faces: NDArray[np.int64]
    """(M, 3)"""

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Mesh":
        """A translated copy; meters."""
        return Mesh(self.vertices + np.array([x, y, z]), self.normals, self.uv, self.faces)

    def turned(self, axis: Literal["x", "y", "z"], degrees: float) -> "Mesh":
        """A copy rotated about an axis through the origin, counter-clockwise seen from its tip."""
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        matrix = np.eye(3)
        matrix[i, i] = matrix[j, j] = c
        matrix[i, j], matrix[j, i] = -s, s
        return Mesh(self.vertices @ matrix.T, self.normals @ matrix.T, self.uv, self.faces)

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> "Mesh":
        """A copy scaled by positive factors about the origin."""
        factor = np.array([x, y, z])
        return Mesh(self.vertices * factor, _unit(self.normals / factor), self.uv, self.faces)

    def warped(self, bend: Callable[[Floats], Floats]) -> "Mesh":
        """A copy with points (N, 3) mapped by a smooth function, and normals by the inverse transposed Jacobian."""
        step = 1e-5
        columns = [(bend(self.vertices + step * axis) - bend(self.vertices - step * axis)) for axis in np.eye(3)]
        jacobian = np.stack(columns, axis=2) / (2 * step)
        normals: Floats = np.linalg.solve(jacobian.transpose(0, 2, 1), self.normals[:, :, None]).astype(np.float64)[
            :, :, 0
        ]
        return Mesh(bend(self.vertices), _unit(normals), self.uv, self.faces)

    def textured(self, repeat_m: float) -> "Mesh":
        """A copy whose texture coordinates (meters) are scaled so that the texture repeats every `repeat_m` meters."""
        return Mesh(self.vertices, self.normals, self.uv / repeat_m, self.faces)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Concatenate meshes."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]),
    )


def box(width: float, depth: float, height: float, soft: float = 0.004) -> Mesh:
    """A box with its base at z = 0 and edges rounded by `soft`. Texture u runs along the longest side."""
    half = np.array([width, depth, height]) / 2
    soft = min(soft, 0.45 * float(half.min()) * 2)
    inner = half - soft
    arc = soft * np.tan(np.deg2rad([0.0, 22.5, 45.0]))
    lines = np.column_stack([-(inner[:, None] + arc[::-1]), inner[:, None] + arc, -half, half])
    places, axis, sign, faces = _box_grid()
    flat = lines[np.arange(3), places]
    core = np.clip(flat, -inner, inner)
    normals = _unit(flat - core)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    long = np.where(half[a] >= half[b], a, b)
    each, short = np.arange(len(flat)), a + b - long
    # Each face starts at another position in the texture, so that neighboring sides do not have the same grain.
    uv = np.stack([flat[each, long], flat[each, short] + 0.37 * axis + 0.19 * sign], axis=1)
    return Mesh(core + soft * normals, normals, uv, faces).moved(z=height / 2)


@lru_cache(maxsize=1)
def _box_grid() -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, NDArray[np.int64]]:
    """The topology of all rounded boxes.

    Returns:
        (N, 3) indices of each point into the eight coordinates of each axis (six inner ones, two ends); (N,) axis and
        (N,) sign of its face; (M, 3) faces.
    """
    places: list[NDArray[np.int64]] = []
    faces: list[NDArray[np.int64]] = []
    for side in range(6):
        axis, end = divmod(side, 2)
        at = np.empty((36, 3), np.int64)
        at[:, (axis + 1) % 3], at[:, (axis + 2) % 3] = np.divmod(np.arange(36), 6)
        at[:, axis] = 7 - end
        places.append(at)
        grid = _grid_faces(6, 6) + 36 * side
        faces.append(grid[:, ::-1] if end else grid)
    sides = np.arange(6 * 36) // 36
    return np.concatenate(places), sides // 2, np.where(sides % 2, -1.0, 1.0), np.concatenate(faces)


def lathe(
    profile: Points, segments: int = SEGMENTS, span_deg: tuple[float, float] = (0.0, 360.0), closed: bool = False
) -> Mesh:
    """A profile of (radius, z) rotated about z, from the base outward and up (and down the inside, if hollow).

    Args:
        span_deg: start and end of the rotation, degrees from +x.
        closed: the profile is a closed curve (the section of a torus), counter-clockwise in (r, z).
    """
    points = np.asarray(profile, np.float64)
    keep = np.concatenate([[True], np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-9])
    points = points[keep]
    ahead = np.diff(points, axis=0)
    across = _unit(np.stack([ahead[:, 1], -ahead[:, 0]], axis=1))
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(ahead, axis=1))])
    cosine = np.cos(np.deg2rad(CREASE_DEG))
    runs, start = [], 0
    for corner in range(1, len(points) - 1):
        if across[corner - 1] @ across[corner] < cosine:
            runs.append((start, corner))
            start = corner
    runs.append((start, len(points) - 1))
    turn = np.deg2rad(np.linspace(span_deg[0], span_deg[1], segments + 1))
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    parts: list[Mesh] = []
    for first, last in runs:
        tilt = np.zeros((last - first + 1, 2))
        tilt[:-1] += across[first:last]
        tilt[1:] += across[first:last]
        if closed and first == 0 and last == len(points) - 1:
            tilt[0] = tilt[-1] = across[0] + across[-1]
        tilt = _unit(tilt)
        rows = points[first : last + 1]
        vertices = np.concatenate(
            [rows[:, None, :1] * circle, np.broadcast_to(rows[:, None, 1:], (len(rows), len(turn), 1))], axis=2
        )
        normals = np.concatenate(
            [tilt[:, None, :1] * circle, np.broadcast_to(tilt[:, None, 1:], (len(rows), len(turn), 1))], axis=2
        )
        v, u = _grid(along[first : last + 1] / along[-1], np.arange(len(turn)) / segments)
        faces = _grid_faces(len(rows), len(turn))[:, ::-1]
        parts.append(_clean(vertices.reshape(-1, 3), normals.reshape(-1, 3), np.stack([u, v], axis=1), faces))
    return join(parts)


def sphere(radius: float, rows: int = 24) -> Mesh:
    """A ball with its lowest point at the origin. Texture coordinates are longitude and (nearly) latitude."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)
    profile = np.stack([radius * np.cos(angle), radius * (1 + np.sin(angle))], axis=1)
    profile[[0, -1], 0] = 0.0
    return lathe(profile)


def torus(radius: float, thickness: float, z: float = 0.0, segments: int = SEGMENTS) -> Mesh:
    """A torus about z with the center of its tube at height `z`. `thickness` is the radius of the tube."""
    angle = np.linspace(0, 2 * np.pi, 11)
    return lathe(
        np.stack([radius + thickness * np.cos(angle), z + thickness * np.sin(angle)], axis=1), segments, closed=True
    )


def sweep(path: Points, radius: float | Sequence[float] | Floats, sides: int = 10, flat: float = 1.0) -> Mesh:
    """A tube along a path (N, 3), with closed ends.

    Args:
        radius: a single radius, or one for each point of the path.
        flat: width of the tube across the plane of the path, divided by its thickness in that plane, for straps and
            leaves.
    """
    points = np.asarray(path, np.float64)
    radii = np.broadcast_to(np.asarray(radius, np.float64), (len(points),))
    tangents = _unit(np.gradient(points, axis=0))
    side = _frames(points, tangents)
    other = np.cross(tangents, side)
    turn = np.linspace(0, 2 * np.pi, sides + 1)
    offsets = side[:, None] * np.cos(turn)[None, :, None] * flat + other[:, None] * np.sin(turn)[None, :, None]
    vertices = points[:, None] + radii[:, None, None] * offsets
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    directions = side[:, None] * np.cos(turn)[None, :, None] / flat + other[:, None] * np.sin(turn)[None, :, None]
    directions = _unit(directions) - np.gradient(radii, along)[:, None, None] * tangents[:, None]
    around = turn * float(radii.max())
    u, v = _grid(along, around)
    faces = _grid_faces(len(points), sides + 1)[:, ::-1]
    tube = _clean(vertices.reshape(-1, 3), _unit(directions.reshape(-1, 3)), np.stack([u, v], axis=1), faces)
    caps = [
        _fan(vertices[end, :-1], tangents[end] * sign, sign < 0)
        for end, sign in ((0, -1.0), (-1, 1.0))
        if radii[end] > 1e-6
    ]
    return join([tube, *caps])


def extrude(outline: Points, height: float) -> Mesh:
    """An outline (N, 2), counter-clockwise, extruded from z = 0 to `height`, with sharp rims."""
    import shapely

    ring = np.asarray(outline, np.float64)
    pieces = shapely.get_parts(shapely.constrained_delaunay_triangles(shapely.Polygon(ring)))
    corners = np.stack([shapely.get_coordinates(shapely.orient_polygons(piece))[:3] for piece in pieces])
    flat = corners.reshape(-1, 2)
    faces = np.arange(len(flat)).reshape(-1, 3)
    caps = [
        Mesh(
            np.concatenate([flat, np.full((len(flat), 1), z)], axis=1),
            np.tile([0.0, 0.0, sign], (len(flat), 1)),
            flat,
            faces if sign > 0 else faces[:, ::-1],
        )
        for z, sign in ((height, 1.0), (0.0, -1.0))
    ]
    looped = np.concatenate([ring, ring[:1]])
    ahead = np.diff(looped, axis=0)
    outward = _unit(np.stack([ahead[:, 1], -ahead[:, 0]], axis=1))
    before, after = np.roll(outward, 1, axis=0), outward
    smooth = np.einsum("ni,ni->n", before, after)[:, None] > np.cos(np.deg2rad(CREASE_DEG))
    start = _unit(np.where(smooth, before + after, after))
    end = np.roll(_unit(np.where(smooth, before + after, before)), -1, axis=0)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(ahead, axis=1))])
    quads: list[Mesh] = []
    for i in range(len(ring)):
        vertices = np.array([[*looped[i + k], z] for k in (0, 1) for z in (0.0, height)])
        normals = np.array([[*start[i], 0.0]] * 2 + [[*end[i], 0.0]] * 2)
        uv = np.array([[along[i + k], z] for k in (0, 1) for z in (0.0, height)])
        quads.append(Mesh(vertices, normals, uv, np.array([[0, 2, 3], [0, 3, 1]])))
    return join([*caps, *quads])


def panel(width: float, height: float) -> Mesh:
    """An upright rectangle that faces -y. Base at z = 0, texture coordinates 0..1 (upright, not mirrored)."""
    x = width / 2
    vertices = np.array([[-x, 0.0, 0.0], [x, 0.0, 0.0], [x, 0.0, height], [-x, 0.0, height]])
    uv = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    return Mesh(vertices, np.tile([0.0, -1.0, 0.0], (4, 1)), uv, np.array([[0, 1, 2], [0, 2, 3]]))


def curve(points: Points, count: int = 24) -> Floats:
    """(count, D) points of a Catmull-Rom spline through points (N, D), evenly distributed over the spans."""
    given = np.asarray(points, np.float64)
    padded = np.concatenate([2 * given[:1] - given[1:2], given, 2 * given[-1:] - given[-2:-1]])
    place = np.linspace(0, len(given) - 1, count)
    span = np.minimum(place.astype(np.int64), len(given) - 2)
    t = (place - span)[:, None]
    a, b, c, d = (padded[span + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def softened(profile: Points, radius: float, steps: int = 4) -> Floats:
    """A polyline (N, 2) with its inner corners rounded by about `radius`."""
    points = np.asarray(profile, np.float64)
    result = [points[0]]
    for before, corner, after in zip(points[:-2], points[1:-1], points[2:], strict=True):
        back, ahead = before - corner, after - corner
        reach = min(radius, 0.45 * float(np.linalg.norm(back)), 0.45 * float(np.linalg.norm(ahead)))
        start = corner + back / np.linalg.norm(back) * reach
        end = corner + ahead / np.linalg.norm(ahead) * reach
        for t in np.linspace(0, 1, steps + 1):
            result.append((1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end)
    return np.array([*result, points[-1]])


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _grid(rows: Floats, columns: Floats) -> tuple[Floats, Floats]:
    """Coordinates of the points of a row-major grid, each (rows * columns,). Ten times faster than meshgrid."""
    return rows.repeat(len(columns)), np.concatenate([columns] * len(rows))


@lru_cache(maxsize=256)
def _grid_faces(rows: int, columns: int) -> NDArray[np.int64]:
    """Two triangles for each cell of a row-major grid, counter-clockwise if rows x columns is right-handed."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    corner = (i * columns + j).ravel()
    return np.concatenate(
        [
            np.stack([corner, corner + columns, corner + columns + 1], axis=1),
            np.stack([corner, corner + columns + 1, corner + 1], axis=1),
        ]
    )


def _clean(vertices: Floats, normals: Floats, uv: Floats, faces: NDArray[np.int64]) -> Mesh:
    """A mesh without degenerate faces (at the poles of a lathe and the tips of a sweep)."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return Mesh(vertices, normals, uv, faces[area > 1e-12])


def _fan(ring: Floats, normal: Floats, backwards: bool) -> Mesh:
    count = len(ring)
    vertices = np.concatenate([ring, ring.mean(axis=0, keepdims=True)])
    index = np.arange(count)
    faces = np.stack([index, (index + 1) % count, np.full(count, count)], axis=1)
    return Mesh(
        vertices,
        np.tile(normal, (count + 1, 1)),
        np.zeros((count + 1, 2)),
        faces[:, ::-1] if backwards else faces,
    )


def _frames(points: Floats, tangents: Floats) -> Floats:
    """A side direction for each point, transported without twist, starting perpendicular to the plane of the path."""
    bend = np.cross(points[-1] - points[0], points[len(points) // 2] - points[0])
    if np.linalg.norm(bend) < 1e-9:
        bend = np.cross(tangents[0], np.eye(3)[int(np.argmin(np.abs(tangents[0])))])
    sides = np.empty_like(points)
    side = bend
    for index, tangent in enumerate(tangents):
        side = side - tangent * (side @ tangent)
        side = side / np.linalg.norm(side)
        sides[index] = side
    return sides
