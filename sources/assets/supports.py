"""Supports: the flat regions on, in and under a model where other objects can stand, found from its triangles alone.

A region is a connected part of a plane of a layered height map (`height_map`): cells whose surface faces up, lies in a
narrow window of heights and has enough free height above. Windows are taken greedily, the largest first.

Invariant: a level rigid base inside `Support.polygon` that is placed at `rest_height` touches the surface and
intersects nothing below `Support.clearance`. Triangles are not needed for that: a support keeps the heights of its
region.
"""

import base64
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from pydantic import BeforeValidator, TypeAdapter

from ...shards.schema import SupportKind
from .glb import Floats
from .height_map import Detail, HeightMap, Integers, Mask

if TYPE_CHECKING:
    import shapely

Side = Literal["+x", "-x", "+y", "-y"]
Ring = tuple[tuple[float, float], ...]

SINK: Final = 0.001
"""Meters: largest depth to which a base sinks into a soft region."""
_SINK_SHARE: Final = 0.2
"""Fraction of a soft region below a base that may be above the base, if it does not sink deeper than `SINK`."""
_FREE: Final = 0.06
"""Meters of free height above every region."""
_FREE_COVERED: Final = 0.1
_SMALLEST: Final = (0.025, 0.02)
"""Radius of a circle that every region can hold: meters (an apple, a mug), and fraction of the model's width."""
_SMALLEST_SOFT: Final = 0.12
_SMALLEST_COVERED: Final = 0.05
_SMALLEST_UNDER: Final = 0.1
_PLANES: Final = 16
"""Largest number of planes of hard, and of soft surface."""
_GAP: Final = 0.012
"""Meters: a gap between planks that is bridged."""
_SAME: Final = (0.05, 0.5)
"""A hard and a soft region are the same place if their heights differ by less than so many meters, and if more than
this fraction of the hard one is inside the soft one."""
_MOSTLY_HARD: Final = 0.75
"""Of the two the hard one is kept if its radius is at least this fraction of the other's."""
_RIM: Final = (0.02, 0.15)
"""A region is inside if its surroundings rise by more than so many meters, and by more than this fraction of its
radius."""
_RIM_GAP: Final = 0.15
"""Fraction of the directions in which the surroundings may be lower."""
_DIRECTIONS: Final = 24
_CORNERS: Final = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
_SIDES: Final[tuple[tuple[Side, int, int], ...]] = (("+x", 0, -1), ("-x", 0, 1), ("+y", 1, -1), ("-y", 1, 1))
"""The sides, their axes, and the directions in which one looks from them."""
_HAND: Final = 0.15
"""Meters above a covered region at which its sides are open or closed; at most half of its free height."""
_REACHED: Final = 0.5
"""Fraction of a region that can be reached from an open side."""
_UNDER: Final = (0.18, 0.35, 0.55)
"""Meters: free heights that are tried above the floor. A higher one is taken if it keeps `_UNDER_KEPT` of the area."""
_UNDER_KEPT: Final = 0.6
_BESIDE_LEGS: Final = 0.02
"""Meters to keep from what reaches the floor."""
_FLAT: Final = 5e-5
"""Meters: a region whose heights differ by less needs no patch."""


@dataclass(frozen=True)
class _Surface:
    """What counts as one region."""

    range: float
    """Meters between its lowest and highest point."""
    tilt: float
    """Largest slope, degrees."""
    smallest: float
    """Radius of a circle that it can hold, meters."""
    step: float
    """Precision of the heights of its patch, meters."""


@dataclass(frozen=True)
class Patch:
    """Highest point of each cell of a region, in steps above a base height."""

    low: tuple[float, float]
    """Corner of cell (0, 0), object frame, meters."""
    cell: float
    shape: tuple[int, int]
    base: float
    """Height of level 1, meters."""
    step: float
    levels: str
    """Base64 of zlib of uint8, differences along y: 0 where there is no surface, else 1 + steps."""

    @classmethod
    def of(cls, low: Floats, cell: float, heights: Floats, step: float) -> "Patch":
        """From heights (nx, ny); NaN where there is no surface."""
        base = round(float(np.nanmin(heights)), 6)
        levels = np.nan_to_num(np.rint((heights - base) / step) + 1).astype(np.uint8)
        packed = zlib.compress(np.diff(levels, axis=1, prepend=np.uint8(0)).tobytes(), 9)
        corner = (round(float(low[0]), 6), round(float(low[1]), 6))
        shape = (levels.shape[0], levels.shape[1])
        return cls(corner, round(cell, 9), shape, base, step, base64.b64encode(packed).decode())

    def heights(self) -> Floats:
        """(nx, ny), meters; NaN where there is no surface."""
        return _unpack(self)


@lru_cache(maxsize=256)
def _unpack(patch: Patch) -> Floats:
    packed = np.frombuffer(zlib.decompress(base64.b64decode(patch.levels)), np.uint8).reshape(patch.shape)
    levels = np.cumsum(packed, axis=1, dtype=np.uint8)
    heights = np.where(levels > 0, patch.base + (levels - 1.0) * patch.step, np.nan)
    heights.setflags(write=False)
    return heights


def _infinite(value: Any) -> Any:
    return math.inf if value is None else value


@dataclass(frozen=True)
class Support:
    """A region that can hold other objects. Object frame of the model (`Asset.offset`), meters, at scale 1."""

    kind: SupportKind
    """`top`: hard, below the open sky. `shelf`: hard, covered, with an open side. `soft`: yields, such as a cushion.
    `inside`: the floor of a container. `under`: the floor below the model, at height 0."""
    z: float
    """Height of the plane; `rest_height` is exact."""
    polygon: tuple[Ring, ...]
    """The outline, then the holes. A base must lie inside, so the outline keeps a distance from edges and walls."""
    clearance: Annotated[float, BeforeValidator(_infinite)]
    """Least free height above `z`; infinite (null in JSON) if there is nothing above."""
    radius: float
    """Of the largest circle in the polygon."""
    rim: float = 0.0
    """Height that the surroundings rise above `z`; kind `inside` only."""
    open_sides: tuple[Side, ...] = ()
    """Sides from which most of the region can be reached; kinds `shelf` and `under` only."""
    patch: Patch | None = None
    """Heights of the region; None if it is flat."""

    def shape(self) -> "shapely.Polygon":
        """The polygon as a geometry."""
        import shapely

        return shapely.Polygon(self.polygon[0], self.polygon[1:])


_SUPPORTS: Final = TypeAdapter(tuple[Support, ...])


def to_json(supports: Sequence[Support]) -> str:
    """Supports as they are stored."""
    return _SUPPORTS.dump_json(tuple(supports), exclude_defaults=True).decode()


def from_json(text: str) -> tuple[Support, ...]:
    """Supports that `to_json` stored."""
    return _SUPPORTS.validate_json(text)


def rest_height(support: Support, base: Sequence[Sequence[float]] | Floats) -> float:
    """Height at which a level base rests on a support, meters, object frame of the support's model.

    That of the highest point below the base. On a soft region the base sinks by at most `SINK`.

    Args:
        base: points (n, 2) whose convex hull is the base, in the same frame. It lies inside the support's polygon.
    """
    if support.patch is None:
        return support.z
    import shapely

    patch = support.patch
    # The base touches a cell if the sum of its hull and a cell contains the cell's center.
    points = np.asarray(base, np.float64)[:, None] + 0.5 * patch.cell * _CORNERS
    hull = shapely.convex_hull(shapely.multipoints(points.reshape(-1, 2)))
    left, bottom, right, top = shapely.bounds(hull)
    first = np.maximum(np.floor(([left, bottom] - np.array(patch.low)) / patch.cell).astype(np.int64), 0)
    last = np.maximum(np.ceil(([right, top] - np.array(patch.low)) / patch.cell).astype(np.int64), first)
    heights = patch.heights()[first[0] : last[0], first[1] : last[1]]
    i, j = np.nonzero(np.isfinite(heights))
    centers = (np.column_stack([i, j]) + first + 0.5) * patch.cell + patch.low
    found = heights[i, j][shapely.contains_xy(hull, centers[:, 0], centers[:, 1])]
    if not len(found):
        return support.z
    highest = float(found.max())
    if support.kind != "soft":
        return highest
    return max(float(np.quantile(found, 1 - _SINK_SHARE)), highest - SINK)


def find_supports(
    vertices: Floats, faces: Integers, detail: Detail | None = None, width: float = math.inf
) -> tuple[Support, ...]:
    """All supports of a model, whatever its category.

    Args:
        vertices: (n, 3), object frame, meters, z up.
        faces: (m, 3) indices.
        detail: of the height map.
        width: a wider model counts as one of this width, meters, for the size of the smallest region.

    Raises:
        height_map.TooComplex: the model exceeds the limits of a height map.
    """
    if not len(faces):
        return ()
    surface = HeightMap.of(vertices, faces, detail)
    return tuple(_Search(surface, width).find()) if len(surface.at) else ()


@dataclass(frozen=True)
class _Region:
    """A support, and the crossings that it consists of."""

    support: Support
    crossings: Integers


class _Search:
    """The search for the supports of one model."""

    def __init__(self, surface: HeightMap, width: float) -> None:
        self.surface = surface
        self.width = min(max(surface.shape) * surface.cell, width)
        top = surface.top
        # Most of what is seen from above faces up; else the file is inside out.
        sign = 1.0 if (surface.up[top] > 0).mean() >= 0.5 else -1.0
        self.up = np.where(top, np.abs(surface.up), sign * surface.up)
        self.above_floor = surface.z > min(0.001, 0.3 * float(surface.z.max()))
        self.highest = np.full(surface.shape[0] * surface.shape[1], -np.inf)
        self.highest[surface.at[top]] = surface.z[top]

    def find(self) -> list[Support]:
        smallest = max(_SMALLEST[0], _SMALLEST[1] * self.width)
        hard = self._regions(_Surface(0.004, 8.0, smallest, 5e-5), np.ones(len(self.surface.at), np.bool_))
        # The flat parts of a cushion are slivers; they may belong to a soft region.
        free = np.ones(len(self.surface.at), np.bool_)
        for region in hard:
            if region.support.kind == "shelf" or region.support.radius >= _SMALLEST_SOFT:
                free[region.crossings] = False
        smallest = max(_SMALLEST_SOFT, _SMALLEST[1] * self.width)
        soft = self._regions(_Surface(0.03, 22.0, smallest, 1.5e-4), free)
        return _distinct([one.support for one in hard], [one.support for one in soft]) + self._under()

    def _regions(self, kind: _Surface, free: Mask) -> list[_Region]:
        """The regions of one kind of surface among the crossings that are `free`."""
        surface = self.surface
        candidates = np.flatnonzero(
            free & self.above_floor & (self.up > math.cos(math.radians(kind.tilt))) & (surface.clearance > _FREE)
        )
        fewest = math.pi * kind.smallest**2 / surface.cell**2
        found: list[_Region] = []
        for base, plane in self._planes(candidates, kind.range, fewest):
            top = base + kind.range
            blocked = surface.between(top, top + _FREE)
            covered = np.isfinite(surface.clearance[plane])
            for part in (plane[~covered], plane[covered]):
                if len(part) >= fewest:
                    found += self._parts(part, base, blocked, kind)
        return found

    def _planes(self, candidates: Integers, height: float, fewest: float) -> Iterator[tuple[float, Integers]]:
        """Windows of this height with the most crossings: their lower end, and the crossings."""
        candidates = candidates[np.argsort(self.surface.z[candidates], kind="stable")]
        for _ in range(_PLANES):
            if len(candidates) < fewest:
                return
            z = self.surface.z[candidates]
            end = np.searchsorted(z, z + height, side="right")
            count = end - np.arange(len(z))
            # Of equal windows the highest: a flat plane is then at its lower end, without the bevel below.
            start = len(z) - 1 - int(count[::-1].argmax())
            if count[start] < fewest:
                return
            yield float(z[start]), candidates[start : end[start]]
            candidates = np.delete(candidates, slice(start, int(end[start])))

    def _parts(self, crossings: Integers, base: float, blocked: Mask, kind: _Surface) -> Iterator[_Region]:
        """The connected parts of a plane, each with what it can hold."""
        import cv2

        surface = self.surface
        mask = surface.grid(surface.at[crossings])
        gap = math.ceil(_GAP / surface.cell) | 1
        bridged = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8)).view(np.bool_)
        region = (mask | bridged) & ~blocked
        covered = bool(np.isfinite(surface.clearance[crossings[0]]))
        smallest = max(kind.smallest, _SMALLEST_COVERED) if covered else kind.smallest
        for outline, radius, core in outlines(region, surface, smallest):
            around = cv2.dilate(core.view(np.uint8), np.ones((3, 3), np.uint8)).view(np.bool_) & region
            own = crossings[around.ravel()[surface.at[crossings]]]
            if support := self._support(outline, radius, core, around, own, base, kind):
                yield _Region(support, own)

    def _support(
        self,
        outline: "shapely.Polygon",
        radius: float,
        core: Mask,
        around: Mask,
        own: Integers,
        base: float,
        kind: _Surface,
    ) -> Support | None:
        """The support of a region; None if it is inside a closed body, or too low."""
        surface = self.surface
        name: SupportKind = "top" if kind.range < 0.01 else "soft"
        rim, sides = 0.0, ()
        z = float(np.median(surface.z[own]))
        clearance = self._lowest_above(core, base + kind.range, own) - z
        if math.isfinite(surface.clearance[own[0]]):
            name = "shelf"
            sides = self._open_sides(core, z + min(0.5 * clearance, _HAND))
            if clearance < _FREE_COVERED or not sides:
                return None
        elif (rim := self._rim(core, z)) > max(_RIM[0], _RIM[1] * radius):
            name = "inside"
        heights = self._heights(around, own, base, base + kind.range)
        flat = np.nanmax(heights) - np.nanmin(heights) < _FLAT
        i, j = (np.flatnonzero(around.any(axis=axis)) for axis in (1, 0))
        low = surface.low + np.array([i[0], j[0]]) * surface.cell
        cut = heights[i[0] : i[-1] + 1, j[0] : j[-1] + 1]
        return Support(
            kind=name,
            z=round(float(np.nanmax(heights)) if flat else z, 6),
            polygon=rings_of(outline),
            clearance=round(clearance, 6),
            radius=round(radius, 6),
            rim=round(rim, 6) if name == "inside" else 0.0,
            open_sides=sides,
            patch=None if flat else Patch.of(low, surface.cell, cut, kind.step),
        )

    def _heights(self, cells: Mask, own: Integers, low: float, high: float) -> Floats:
        """(nx, ny) highest point of each cell between two heights; NaN where there is none.

        Vertices and thin parts count, because the lines of the grid miss what is smaller than a cell.
        """
        surface = self.surface
        heights = np.full(cells.size, -np.inf)
        np.maximum.at(heights, surface.at[own], surface.z[own])
        for at, z in ((surface.corner_at, surface.corner_z), (surface.thin_at, surface.thin_z[:, 1])):
            within = (z >= low) & (z <= high) & cells.ravel()[at]
            np.maximum.at(heights, at[within], z[within])
        return np.where(np.isfinite(heights), heights, np.nan).reshape(surface.shape)

    def _lowest_above(self, cells: Mask, level: float, own: Integers) -> float:
        """Lowest point above a level in some cells."""
        surface, inside = self.surface, cells.ravel()
        corners = surface.corner_z[inside[surface.corner_at] & (surface.corner_z > level)]
        thin = surface.thin_z[inside[surface.thin_at] & (surface.thin_z[:, 0] > level), 0]
        above = (surface.z + surface.clearance)[own]
        return float(min(part.min(initial=math.inf) for part in (above, corners, thin)))

    def _rim(self, core: Mask, z: float) -> float:
        """Height that the surroundings rise above a region in most directions, seen from its center."""
        center = np.array([places.mean() for places in np.nonzero(core)])
        angles = np.arange(_DIRECTIONS) * (2 * math.pi / _DIRECTIONS)
        steps = np.arange(0, math.hypot(*core.shape), 1.0)
        ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        cells = np.rint(center + ways[:, None] * steps[:, None]).astype(np.int64)  # (directions, steps, 2)
        on_grid = ((cells >= 0) & (cells < core.shape)).all(axis=2)
        cells[~on_grid] = 0
        i, j = cells[..., 0], cells[..., 1]
        own = np.asarray(core[i, j]) & on_grid
        # Beyond the region: what stands in its middle is no rim.
        beyond = on_grid & (steps > np.where(own, steps, -1.0).max(axis=1, keepdims=True))
        heights = np.where(beyond, self.highest.reshape(core.shape)[i, j], -np.inf).max(axis=1)
        return float(np.quantile(np.maximum(heights - z, 0.0), _RIM_GAP, method="lower"))

    def _open_sides(self, core: Mask, level: float) -> tuple[Side, ...]:
        """Sides from which most of a region can be reached at a height."""
        solid = self.surface.slice(level)
        sides: list[Side] = []
        for side, axis, step in _SIDES:
            order = (slice(None, None, step), slice(None)) if axis == 0 else (slice(None), slice(None, None, step))
            hidden = np.logical_or.accumulate(solid[order], axis=axis)[order]
            if (~hidden[core]).mean() > _REACHED:
                sides.append(side)
        return tuple(sides)

    def _under(self) -> list[Support]:
        """The floor below the model, where its lowest surface is high enough and an open side leads to."""
        import cv2

        surface = self.surface
        covered = surface.grid(surface.at)
        best: tuple[float, Support] | None = None
        radius = round(_BESIDE_LEGS / surface.cell)
        for least in _UNDER:
            legs = surface.between(-math.inf, least)
            kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
            region = covered & ~cv2.dilate(legs.view(np.uint8), kernel).view(np.bool_)
            parts = list(outlines(region, surface, max(_SMALLEST_UNDER, _SMALLEST[1] * self.width)))
            if not parts:
                break
            outline, inscribed, core = max(parts, key=lambda part: part[0].area)
            if best is not None and outline.area < _UNDER_KEPT * best[0]:
                break
            own = np.flatnonzero(core.ravel()[surface.at])
            clearance = min(self._lowest_above(core, least, own), float(surface.z[own].min()))
            if sides := self._open_sides(core, min(0.5 * clearance, _HAND)):
                support = Support("under", 0.0, rings_of(outline), round(clearance, 6), round(inscribed, 6), 0.0, sides)
                best = (best[0] if best else outline.area, support)
        return [best[1]] if best else []


def _distinct(hard: Sequence[Support], soft: Sequence[Support]) -> list[Support]:
    """The regions without those that describe the same place as another one."""
    kept, left = list(hard), list(soft)
    for one in hard:
        shape, (height, share) = one.shape(), _SAME
        for other in (other for other in left if one.kind != "shelf" and abs(one.z - other.z) < height):
            if shape.intersection(other.shape()).area > share * shape.area:
                (left if one.radius >= _MOSTLY_HARD * other.radius else kept).remove(
                    other if one.radius >= _MOSTLY_HARD * other.radius else one
                )
                break
    return kept + left


def outlines(region: Mask, surface: HeightMap, smallest: float) -> Iterator[tuple["shapely.Polygon", float, Mask]]:
    """The connected parts of a region that can hold a circle of this radius: outline, radius, cells.

    An outline keeps at least half a cell from other cells.
    """
    import cv2
    import shapely

    core = cv2.erode(region.view(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(core, connectivity=4)
    for label in range(1, count):
        left, top, wide, high, area = (int(value) for value in stats[label])
        if area * surface.cell**2 < smallest**2:
            continue
        part = labels[top : top + high, left : left + wide] == label
        if cv2.distanceTransform(np.pad(part, 1).view(np.uint8), cv2.DIST_L2, 5).max() * surface.cell < smallest:
            continue
        contours, tree = cv2.findContours(part.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        rings = [(ring[:, 0, ::-1] + (top + 0.5, left + 0.5)) * surface.cell + surface.low for ring in contours]
        outer = next(index for index, links in enumerate(tree[0]) if links[3] < 0)
        holes = [ring for ring, links in zip(rings, tree[0], strict=True) if links[3] >= 0 and len(ring) > 3]
        if len(rings[outer]) < 4:
            continue
        whole = shapely.simplify(shapely.Polygon(rings[outer], holes).buffer(0), 0.5 * surface.cell)
        for outline in () if whole.is_empty else shapely.get_parts(whole):
            radius = float(shapely.length(shapely.maximum_inscribed_circle(outline, 0.25 * surface.cell)))
            if radius >= smallest:
                cells = np.zeros(region.shape, np.bool_)
                cells[top : top + high, left : left + wide] = part
                yield outline, radius, cells


def rings_of(outline: "shapely.Polygon") -> tuple[Ring, ...]:
    return tuple(
        tuple((round(x, 6) + 0.0, round(y, 6) + 0.0) for x, y in ring.coords[:-1])
        for ring in (outline.exterior, *outline.interiors)
    )
