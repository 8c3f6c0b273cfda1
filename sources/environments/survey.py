"""Finds the free space of a room model from its triangles alone: the floor, surfaces, and where a camera can be.

Invariant: the floor below an object is at most 1 mm lower than z = 0, and nothing of the model is above it up to the
clearance, as far as the grid of the height map tells.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..assets.glb import Floats, GlbError, open_glb
from ..assets.height_map import Detail, HeightMap, Integers, Mask, TooComplex
from ..assets.mesh import read_triangles
from ..assets.primitives import count_triangles
from ..assets.supports import Support, find_supports, outlines, rings_of
from ..scenes.interior import Floor, Interior, Outline, shape_of

if TYPE_CHECKING:
    import shapely

_CELL: Final = 0.02
"""Side of a cell of the height map, meters."""
_CELLS: Final = (320, 640)
"""Fewest and most cells along the longer side: the cells of a room of more than 13 m are larger than `_CELL`."""
_UNITS: Final = (1.0, 0.01, 0.001)
"""Meters per file unit that are tried: meters, as glTF says, centimeters, millimeters."""
_HEIGHT: Final = (1.9, 18.0)
"""Plausible heights of a room or a building, meters."""
_LYING: Final = (2.0, 3.3, 1.3)
"""A model lies on its side if the shorter side of its plan is as long as a room is high (least and most, meters), and
its height and the other side are at least so many times longer."""
_COVERED: Final = 4.0
"""Square meters: a floor with so much below a ceiling is preferred to one below the sky, such as a lawn."""
_EVEN: Final = 1e-3
"""Meters between the lowest and the highest point of a floor."""
_LOWERED: Final = 5e-5
"""Meters: the floor is so much lower than objects, so that the bottom of an open box hides it."""
_LEVEL_DEG: Final = 8.0
_STANDING: Final = 2.0
"""Meters: free height in which a person can walk."""
_LEVELS: Final = (0.25, 0.5, 1.0)
_BELOW: Final = 1.0
"""A flat region with other surface so many meters below most of it is a roof or an upper floor."""
_WALKABLE: Final = (1.5, 0.5)
"""Least area, square meters, and radius of the largest circle, meters, of a part of the floor for a person."""
_PART: Final = 0.1
"""Radius of the smallest part of the floor, meters."""
_TOUCHES: Final = 2e-4
"""Meters above the floor from which something stands on it."""
_AT_TOP: Final = (0.5, 1.5)
"""A floor is upside down if less than so many meters are above it, and at least so many are below."""
_HANGING: Final = (3.0, 0.08)
"""A closed room is upside down if so many times more of it is filled in its upper half than in its lower half, and this
share of it at least."""
_LOW_CEILING: Final = 0.1
"""Share of the ceiling that may be lower than its height: beams, lamps, the low part of a slope."""
_SIGHT: Final = (1.0, 1.6)
"""Heights between which nothing may be where a camera looks, meters."""
_STEEP: Final = 0.1
"""Upward component of the normal of a wall, at most."""
_SURFACES: Final = (0.25, 1.35)
"""Heights of surfaces that are used, meters: lower ones belong to the floor, higher ones are not seen."""
_SURFACE: Final = 0.12
"""Radius of the smallest surface, meters."""
_FURNITURE: Final = 3.0
"""Largest width by which the search for surfaces decides what is too small, meters: that of furniture."""
_SOFT_STEP: Final = 1e-4
"""The heights of soft surfaces are kept in larger steps."""
_THICK: Final = 0.035
"""Largest range of heights of a surface, meters."""


MAX_TRIANGLES: Final = 1_500_000
"""Most triangles of a model, because every scene in it loads all of them."""
_MAX_CROSSINGS: Final = 16_000_000
"""Limit of its height map, see `Detail.crossings`."""


def survey_environment(file: Path, unit_m: float | None = None) -> Interior:
    """The free space of a room model.

    Args:
        unit_m: meters per file unit; None: meters, unless the height of the model says centimeters or millimeters.

    Raises:
        GlbError: `too_many_triangles`, `external_files`, `unknown_unit`, `no_floor`, `upside_down`, `too_complex`;
            those of reading a file.
    """
    glb = open_glb(file)
    if (count := count_triangles(glb)) > MAX_TRIANGLES:
        raise GlbError("too_many_triangles", f"{count} triangles; at most {MAX_TRIANGLES}")
    for item in (*glb.items("buffers"), *glb.items("images")):
        if not str(item.get("uri", "data:")).startswith("data:"):
            other = str(item["uri"])[:100]
            raise GlbError("external_files", f"it refers to {other}: export it with all textures inside")
    vertices, faces = read_triangles(file)
    used = vertices[np.unique(faces)]
    if not np.isfinite(used).all():
        raise GlbError("degenerate", "some of its coordinates are not finite")
    low, high = used.min(axis=0), used.max(axis=0)
    scale = unit_m or _unit(float(high[2] - low[2]))
    _check_side((high - low) * scale)
    cells = int(np.clip(max(high[:2] - low[:2]) * scale / _CELL, *_CELLS))
    detail = Detail(cells, MAX_TRIANGLES, _MAX_CROSSINGS)
    middle = (low + high) / 2 * scale
    vertices = vertices * scale - (middle[0], middle[1], 0.0)
    try:
        surface = HeightMap.of(vertices, faces, detail)
        level = _floor(surface)
        rise = level + _LOWERED
        offset = _rounded(-np.array([middle[0], middle[1], rise]))
        vertices[:, 2] -= rise
        surface = HeightMap.of(vertices, faces, detail)
        floors = _free_floors(surface)
        if not floors[-1].parts:
            even = f"flat within {_EVEN * 1e3:g} mm, as scans are not,"
            raise GlbError(
                "no_floor", f"no part of its floor, {even} has {_STANDING:g} m of free height and room to stand"
            )
        ceiling = _ceiling(surface)
        _check_upright(surface, ceiling)
        sight = _sight(surface, floors[-1])
        surfaces = tuple(_surfaces(vertices, faces, surface, sight, detail))
    except TooComplex as error:
        raise GlbError("too_complex", str(error)) from None
    return Interior(
        scale=round(scale, 9),
        offset=offset,
        low=_rounded(low * scale + offset),
        high=_rounded(high * scale + offset),
        ceiling=round(ceiling, 3),
        floors=floors,
        sight=sight,
        surfaces=surfaces,
    )


def _unit(height: float) -> float:
    """Meters per file unit of a model of this height in file units."""
    for unit in _UNITS:
        if _HEIGHT[0] <= height * unit < _HEIGHT[1]:
            return unit
    raise GlbError(
        "unknown_unit",
        f"a height of {height:.4g} units is not that of a room ({_HEIGHT[0]:g} to {_HEIGHT[1]:g} m) in meters, "
        "centimeters or millimeters",
    )


def _check_side(size: Floats) -> None:
    """Raise GlbError if a model of this size (3,), meters, lies on its side, because its file has z up."""
    low, high, times = _LYING
    narrow, wide = sorted(size[:2])
    if low <= narrow <= high and min(wide, size[2]) > times * narrow:
        raise GlbError(
            "on_its_side",
            f"{size[2]:.3g} m high and {narrow:.3g} m deep: the axis y of a GLB points up; export it with +Y up",
        )


def _rounded(point: Floats) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 6) + 0.0 for value in point)
    return x, y, z


def _level(surface: HeightMap, clearance: float) -> Mask:
    """(N,): crossings of level surface with at least this free height. Winding does not count."""
    return (np.abs(surface.up) > math.cos(math.radians(_LEVEL_DEG))) & (surface.clearance >= clearance)


def _floor(surface: HeightMap) -> float:
    """Height of the floor: the highest point of the largest plane on which a person can stand.

    If any plane has `_COVERED` square meters below a ceiling, only what is below a ceiling counts.
    """
    level = np.flatnonzero(_level(surface, _STANDING))
    covered = level[np.isfinite(surface.clearance[level])]
    try:
        return _largest_plane(surface, covered, _COVERED)
    except GlbError:
        return _largest_plane(surface, level, _WALKABLE[0])


def _largest_plane(surface: HeightMap, level: Integers, least: float) -> float:
    """Height of the highest point of the largest plane among level crossings.

    Raises GlbError if none has `least` square meters.
    """
    lowest = np.full(surface.shape[0] * surface.shape[1], np.inf)
    np.minimum.at(lowest, surface.at, surface.z)
    on_top = surface.z - lowest[surface.at] > _BELOW
    level = level[np.argsort(surface.z[level], kind="stable")]
    fewest = least / surface.cell**2
    best, best_count = math.nan, 0
    while len(level) > fewest:
        z = surface.z[level]
        end = np.searchsorted(z, z + _EVEN, side="right")
        count = end - np.arange(len(z))
        start = int(count.argmax())
        plane = level[start : end[start]]
        if len(plane) < max(fewest, best_count):
            break
        if on_top[plane].mean() < 0.5:
            best, best_count = float(surface.z[plane].max()), len(plane)
        level = np.delete(level, slice(start, int(end[start])))
    if not best_count:
        raise GlbError("no_floor", f"no flat region of {_WALKABLE[0]:g} square meters with free height for a person")
    top, bottom = float(surface.corner_z.max()), float(surface.corner_z.min())
    if top - best < _AT_TOP[0] and best - bottom > _AT_TOP[1]:
        raise GlbError("upside_down", f"its only floor is at its top, with {best - bottom:.3g} m of walls below")
    return best


def _on_floor(surface: HeightMap, clearance: float) -> Mask:
    """(nx, ny): cells of the floor with at least this free height."""
    import cv2

    own = _level(surface, clearance) & (surface.z > -_EVEN - 2 * _LOWERED) & (surface.z < _TOUCHES)
    mask = surface.grid(surface.at[own])
    # Joints between boards and tiles are lower, but no gaps in what carries.
    closed = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)).view(np.bool_)
    return closed & ~surface.between(_TOUCHES, clearance)


def _free_floors(surface: HeightMap) -> tuple[Floor, ...]:
    """The floor for each clearance, as far as it can be reached from where a person can stand.

    The floor inside of closed bodies, such as cabinets and hollow walls, cannot.
    """
    import shapely

    standing = outlines(_on_floor(surface, _STANDING), surface, _WALKABLE[1])
    walkable = [outline for outline, _, _ in standing if outline.area >= _WALKABLE[0]]
    reached: shapely.Geometry = shapely.union_all(walkable)
    found: list[Floor] = []
    for clearance in _LEVELS:
        parts = [outline for outline, _, _ in outlines(_on_floor(surface, clearance), surface, _PART)]
        parts = [part for part in parts if part.intersects(reached)]
        if not found:
            reached = shapely.union_all(parts)
        found.append(Floor(clearance, tuple(map(rings_of, parts))))
    return (*found, Floor(_STANDING, tuple(map(rings_of, walkable))))


def _ceiling(surface: HeightMap) -> float:
    """Height of the ceiling above where a person can stand, without its lowest tenth; 0 if most of the floor is below
    the open sky."""
    own = _level(surface, _STANDING) & (np.abs(surface.z) < 2 * _EVEN)
    heights = surface.clearance[own]
    return float(np.quantile(heights, _LOW_CEILING, method="lower")) if np.isfinite(np.median(heights)) else 0.0


def _check_upright(surface: HeightMap, ceiling: float) -> None:
    """Raise GlbError if the things in a closed room hang from its ceiling rather than stand on its floor."""
    if not ceiling:
        return
    # Only columns between floor and ceiling: walls fill both halves.
    inside = surface.grid(surface.at[np.abs(surface.z) < 2 * _EVEN])
    lower, upper = (
        (surface.between(a * ceiling, b * ceiling) & inside).mean() / max(float(inside.mean()), 1e-9)
        for a, b in ((0.08, 0.5), (0.5, 0.92))
    )
    times, share = _HANGING
    if upper > times * lower and upper - lower > share:
        raise GlbError("upside_down", f"{upper:.0%} of its upper half is filled, and {lower:.0%} of its lower half")


def _sight(surface: HeightMap, walkable: Floor) -> tuple[Outline, ...]:
    free = ~surface.between(*_SIGHT)
    floor = shape_of(walkable.parts)
    found = [outline for outline, _, _ in outlines(free, surface, _PART) if outline.intersects(floor)]
    return tuple(rings_of(outline) for outline in found)


def _surfaces(
    vertices: Floats, faces: Integers, surface: HeightMap, sight: tuple[Outline, ...], detail: Detail
) -> Iterator[Support]:
    """What things can be put on: flat regions below the eyes that can be seen from the floor.

    Ceilings and the slopes of roofs are left out of the search, because everything below them would be a shelf. They
    count for the free height.
    """
    import shapely

    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    steep = np.abs(normal[:, 2]) < _STEEP * np.linalg.norm(normal, axis=1)
    lowest, highest = corners[:, :, 2].min(axis=1), corners[:, :, 2].max(axis=1)
    below = (lowest < _SIGHT[1]) & (steep | (highest <= _SIGHT[1]))
    seen = shape_of(sight)
    shapely.prepare(seen)
    for one in find_supports(vertices, faces[below], detail, _FURNITURE):
        if (
            one.kind == "under"
            or (one.kind == "shelf" and one.z + one.clearance < _SIGHT[1])
            or not _SURFACES[0] <= one.z <= _SURFACES[1]
        ):
            continue
        if one.radius < _SURFACE or not seen.contains(one.shape().representative_point()):
            continue
        clearance = _clearance(surface, one.z + _THICK, one.shape().buffer(surface.cell)) + _THICK
        if clearance < _LEVELS[0]:
            continue
        # The walls of a room make a container of every table in it.
        soft = one.patch is not None and one.patch.step > _SOFT_STEP
        kind = "soft" if soft else "top"
        yield replace(one, kind=kind, rim=0.0, clearance=round(clearance, 6))


def _clearance(surface: HeightMap, level: float, area: "shapely.Geometry") -> float:
    """Free height above a level in all cells whose middle is in an area."""
    import shapely

    i, j = np.indices(surface.shape).reshape(2, -1)
    x, y = surface.low[0] + (i + 0.5) * surface.cell, surface.low[1] + (j + 0.5) * surface.cell
    inside = shapely.contains_xy(area, x, y)
    lowest = math.inf
    for at, z in (
        (surface.at, surface.z),
        (surface.corner_at, surface.corner_z),
        (surface.thin_at, surface.thin_z[:, 0]),
    ):
        lowest = min(lowest, float(z[inside[at] & (z > level)].min(initial=math.inf)))
    return lowest - level
