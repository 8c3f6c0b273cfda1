"""Forecast of the visibility of a scene's objects from prisms (footprint times height), before anything is rendered.

A prism contains its object, so areas and occlusion are overestimated. What stands on a covered shelf, in a container or
under a table is seen through the openings of the prism that its support tells of, and through those of a table one sees
what is behind it. The forecast is used for proposals; the renderer's ray casting decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...shards.geometry import F64, matrix3, matrix4, project
from ..assets.asset import Asset
from ..assets.supports import Side, Support
from .camera import eye
from .footprints import Objects, Placements, container_of, footprint, heights, opening, pose_of, prism
from .spec import CameraPose, Placement, Standing

_ROWS = 64
"""Rows of the grid on which occlusion is counted."""
_CORNERS = 24
_RIM_SLOPE = 1.0
"""Meters by which a bowl widens from its floor to its rim, per meter of height. Containers widen so much at most, and
not beyond their outline."""
_BACK = (0.85, 0.015)
"""What stands lower than this fraction of its carrier's height may have a back or arms around it: these are opposite to
the side to which the surface is off the middle by at least so many meters."""
_AXES: Mapping[Side, tuple[int, int]] = {"+x": (0, 1), "-x": (0, -1), "+y": (1, 1), "-y": (1, -1)}
"""Axis and sign of each side of a model."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Forecast:
    """Forecast visibility of one object in one state; fields as in `sources.edits.limits.Visibility`."""

    own_px: float
    """Pixels of the frame that the object would cover if it were alone."""
    visible: float
    """Share of these pixels that no other object covers."""
    in_frame: float
    """Share of the object's silhouette inside the frame."""
    box: tuple[int, int, int, int]


_UNSEEN = Forecast(0.0, 0.0, 0.0, (0, 0, 0, 0))


def forecast(
    objects: Objects,
    placements: Placements,
    camera: CameraPose,
    resolution: tuple[int, int],
    supports: Mapping[int, Sequence[Support]] | None = None,
) -> dict[int, Forecast]:
    """Forecast of every object of one state, by id; zeros for objects that are absent or reach behind the camera.

    Args:
        supports: those of each object that `Placement.standing` counts (`layout.Scene.supports`).
    """
    present = [placed for placed in objects if placements[placed.id].present]
    pixels, depths = _project_prisms([prism(placed.asset, placements[placed.id]) for placed in present], camera)
    rows = (np.arange(-_ROWS // 2, 3 * _ROWS // 2) + 0.5) / _ROWS * resolution[1]
    left, right = _spans(_edges(pixels), rows)
    framed = (rows > 0) & (rows < resolution[1])
    masks = _masks(left[:, framed], right[:, framed], resolution)
    hidden = _Hiding(present, placements, camera, rows[framed], resolution, supports or {}).hidden(masks)
    result = dict.fromkeys(placements, _UNSEEN)
    for index, placed in enumerate(present):
        if depths[index].min() <= 1e-6:
            continue
        inside = np.minimum(right[index], resolution[0]) - np.maximum(left[index], 0)
        inside = np.where(framed, np.maximum(inside, 0.0), 0.0)
        total = float(np.maximum(right[index] - left[index], 0.0).sum())
        cells = int(masks[index].sum())
        result[placed.id] = Forecast(
            own_px=float(inside.sum()) * resolution[1] / _ROWS,
            visible=float((masks[index] & ~hidden[index]).sum() / cells) if cells else 0.0,
            in_frame=float(inside.sum()) / total if total > 0 else 0.0,
            box=_box(pixels[index], resolution),
        )
    return result


def _project_prisms(prisms: list[F64], camera: CameraPose) -> tuple[F64, F64]:
    """Pixels (O, 2, 24, 2) and planar z (O, 2, 24) of prisms, padded by their last corner."""
    padded = np.stack([p[:, np.minimum(np.arange(_CORNERS), p.shape[1] - 1)] for p in prisms])
    K, world_from_camera = matrix3(camera.K), matrix4(camera.world_from_camera)
    pixels, depth = project(padded.reshape(-1, 3), K, world_from_camera)
    return pixels.reshape(*padded.shape[:3], 2), depth.reshape(padded.shape[:3])


def _edges(pixels: F64) -> F64:
    """Projected edges (O, 72, 2, 2) of prisms (O, 2, 24, 2): base, top and uprights, which include the outline."""
    around = np.stack([pixels, np.roll(pixels, -1, axis=2)], axis=-2)
    upright = np.stack([pixels[:, 0], pixels[:, 1]], axis=-2)
    return np.concatenate([around[:, 0], around[:, 1], upright], axis=1)


def _spans(edges: F64, rows: F64) -> tuple[F64, F64]:
    """Least and largest x (O, R) of convex outlines, given by edges (O, E, 2, 2), in each row; inf and -inf outside."""
    start, end = edges[:, :, 0, None], edges[:, :, 1, None]
    y0, y1 = start[..., 1], end[..., 1]
    crosses = (np.minimum(y0, y1) <= rows) & (rows < np.maximum(y0, y1))
    with np.errstate(divide="ignore", invalid="ignore"):
        x = start[..., 0] + (rows - y0) / (y1 - y0) * (end[..., 0] - start[..., 0])
    return np.where(crosses, x, np.inf).min(axis=1), np.where(crosses, x, -np.inf).max(axis=1)


def _masks(left: F64, right: F64, resolution: tuple[int, int]) -> Mask:
    """Cells (O, rows, columns) of the frame between the spans."""
    count = max(1, round(_ROWS * resolution[0] / resolution[1]))
    columns = (np.arange(count) + 0.5) / count * resolution[0]
    return (left[..., None] <= columns) & (columns <= right[..., None])


class _Hiding:
    """Which objects hide which, cell by cell, in one state."""

    def __init__(
        self,
        present: Objects,
        placements: Placements,
        camera: CameraPose,
        rows: F64,
        resolution: tuple[int, int],
        supports: Mapping[int, Sequence[Support]],
    ) -> None:
        self._present, self._placements, self._camera = present, placements, camera
        self._rows, self._resolution, self._supports = rows, resolution, supports
        self._index = {placed.id: i for i, placed in enumerate(present)}

    def hidden(self, masks: Mask) -> Mask:
        """Cells (O, rows, columns) of each object that another object hides; `masks`: those that it covers."""
        hidden = np.zeros_like(masks)
        front = _in_front(self._present, self._placements, self._camera)
        for i, placed in enumerate(self._present):
            container = container_of(placed.id, self._present, self._placements)
            if self._placements[placed.id].standing is None and container:
                j = self._index[container]
                within = self._mask(_opening(self._present[j].asset, self._placements[container]))
                # Through the opening the guest is visible; elsewhere the container hides it.
                hidden[i] |= masks[j] & ~within
                hidden[j] |= masks[i] & within
                front[[i, j], [j, i]] = False
            for standing in self._ways_down(placed.id):
                self._hide_in_carrier(i, standing, masks, hidden, front)
        solid = masks.copy()
        for j, placed in enumerate(self._present):
            for support in self._supports.get(placed.id, ()):
                if support.kind == "under":
                    solid[j] &= ~self._through(support, placed.asset, self._placements[placed.id])
        for i in range(len(self._present)):
            hidden[i] |= solid[front[:, i]].any(axis=0)
        return hidden

    def _ways_down(self, identity: int) -> list[Standing]:
        """What an object stands on, what that stands on, and so on, as far as supports and objects are known."""
        found: list[Standing] = []
        standing = self._placements[identity].standing
        while standing and standing.object in self._index and standing.object in self._supports:
            found.append(standing)
            standing = self._placements[standing.object].standing
        return found

    def _hide_in_carrier(self, i: int, standing: Standing, masks: Mask, hidden: Mask, front: Mask) -> None:
        """Let the carrier hide object i, on or in or under it, where it has no opening; and object i the carrier."""
        j = self._index[standing.object]
        support = self._supports[standing.object][standing.support]
        base, asset = self._placements[standing.object], self._present[j].asset
        front[[i, j], [j, i]] = False
        if support.kind == "top" or support.kind == "soft":
            if self._before_back(support, base, asset):
                front[i, j] = True
            else:
                hidden[i] |= masks[j]
            return
        if support.kind == "inside":
            within = self._mask(_mouth(support, asset, base))
        else:
            within = self._open(support, asset, base, near=True)
        hidden[i] |= masks[j] & ~within
        if support.kind != "under":  # below a table there is nothing of it to hide
            hidden[j] |= masks[i] & within

    def _before_back(self, support: Support, base: Placement, asset: Asset) -> bool:
        """Whether what stands on a surface is not behind a back, as on a chair that is seen from behind."""
        if support.z > _BACK[0] * asset.size_m[2]:
            return True
        middle = np.array(support.shape().centroid.coords[0])
        if np.abs(middle).max() < _BACK[1]:
            return True
        axis = int(np.abs(middle).argmax())
        facing = np.zeros(2)
        facing[axis] = np.sign(middle[axis])
        pose = pose_of(base)
        towards = eye(self._camera)[:2] - pose[:2, 3]
        return bool(towards @ pose[:2, :2] @ facing > 0)

    def _through(self, support: Support, asset: Asset, base: Placement) -> Mask:
        """Cells in which one sees what is behind a table, below its top: in at one open side and out at another."""
        return self._open(support, asset, base, near=True) & self._open(support, asset, base, near=False)

    def _open(self, support: Support, asset: Asset, base: Placement, near: bool) -> Mask:
        """Cells of the open sides of the space above a support, of those that face the camera or those that do not."""
        found = np.zeros(self._shape(), np.bool_)
        inner = np.array(support.polygon[0])
        low = np.array([*inner.min(axis=0), support.z])
        high = np.array([*inner.max(axis=0), min(support.z + support.clearance, asset.size_m[2])])
        hull = np.array(asset.footprint)
        pose = pose_of(base)
        position = np.linalg.solve(pose, np.append(eye(self._camera), 1.0))[:3]
        for side in support.open_sides:
            axis, sign = _AXES[side]
            plane = hull[:, axis].max() if sign > 0 else hull[:, axis].min()
            if (sign * (position[axis] - plane) > 0) != near:
                continue
            other = 1 - axis
            corners = np.empty((4, 3))
            corners[:, axis] = plane
            corners[:, other] = [low[other], high[other], high[other], low[other]]
            corners[:, 2] = [low[2], low[2], high[2], high[2]]
            found |= self._mask(corners @ pose[:3, :3].T + pose[:3, 3])
        return found

    def _shape(self) -> tuple[int, int]:
        return len(self._rows), max(1, round(_ROWS * self._resolution[0] / self._resolution[1]))

    def _mask(self, outline: F64) -> Mask:
        """Cells (rows, columns) inside a convex outline (N, 3), world meters; none if it reaches behind the camera."""
        pixels, depth = project(outline, matrix3(self._camera.K), matrix4(self._camera.world_from_camera))
        if depth.min() <= 1e-6:
            return np.zeros(self._shape(), np.bool_)
        edges = np.stack([pixels, np.roll(pixels, -1, axis=0)], axis=1)[None]
        return _masks(*_spans(edges, self._rows), self._resolution)[0]


def _in_front(present: Objects, placements: Placements, camera: CameraPose) -> Mask:
    """(O, O): whether object i may hide part of object j.

    The perpendicular bisector of the shortest line between two disjoint convex outlines separates them; the object on
    the camera's side is in front.
    """
    import shapely

    outlines = np.array([shapely.Polygon(footprint(placed.asset, placements[placed.id])) for placed in present])
    first, second = np.triu_indices(len(present), 1)
    front = np.zeros((len(present), len(present)), np.bool_)
    if len(first):
        ways = shapely.get_coordinates(shapely.shortest_line(outlines[first], outlines[second])).reshape(-1, 2, 2)
        towards = np.einsum("ij,ij->i", eye(camera)[:2] - ways.mean(axis=1), ways[:, 1] - ways[:, 0])
        front[second, first], front[first, second] = towards > 0, towards <= 0
        _order_stacks(front, present, placements, camera, np.ptp(ways, axis=1).max(axis=1) < 1e-9, first, second)
    return front


def _order_stacks(
    front: Mask,
    present: Objects,
    placements: Placements,
    camera: CameraPose,
    touching: Mask,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> None:
    """Order the pairs whose outlines overlap in the plan: one is on, in or under the other, reaches below it, or both
    are in one heap.

    What stands on something is in front of it. Of two objects at different heights, that on the camera's side of the
    height between them is in front; otherwise the one whose middle is nearer.
    """
    position = eye(camera)
    for i, j in zip(first[touching].tolist(), second[touching].tolist(), strict=True):
        one, other = placements[present[i].id], placements[present[j].id]
        low, high = zip(*(heights(o.asset, p) for o, p in ((present[i], one), (present[j], other))), strict=True)
        if one.standing == other.standing and low[0] < high[1] and low[1] < high[0]:
            away = [np.hypot(p.x - position[0], p.y - position[1]) for p in (one, other)]
            front[i, j], front[j, i] = away[0] < away[1], away[0] >= away[1]
            continue
        upper = low[0] > low[1]
        if (one.standing and one.standing.object == present[j].id) or (
            other.standing and other.standing.object == present[i].id
        ):
            upper_is_front = True
        else:
            upper_is_front = position[2] > max(low)
        front[i, j] = upper == upper_is_front
        front[j, i] = not front[i, j]


def _opening(asset: Asset, placement: Placement) -> F64:
    """Outline (N, 3) of a box-like container's opening at the height of its rim, world meters."""
    outline = opening(asset, placement)
    return np.column_stack([outline, np.full(len(outline), placement.z + asset.size_m[2] * placement.scale)])


def _mouth(support: Support, asset: Asset, base: Placement) -> F64:
    """Outline (N, 3) of the opening above a support of kind `inside`, at the height of its rim, world meters."""
    import shapely

    inner = shapely.convex_hull(support.shape()).buffer(_RIM_SLOPE * support.rim)
    shape = shapely.convex_hull(inner.intersection(shapely.Polygon(asset.footprint)))
    points = shapely.get_coordinates(shape)[:-1]
    pose = pose_of(base)
    return np.column_stack([points, np.full(len(points), support.z + support.rim)]) @ pose[:3, :3].T + pose[:3, 3]


def _box(pixels: F64, resolution: tuple[int, int]) -> tuple[int, int, int, int]:
    """Box around pixels (..., 2) in the frame: x0, y0, x1, y1, exclusive at the far side."""
    corners = pixels.reshape(-1, 2)
    low = np.floor(np.clip(corners.min(axis=0), 0, resolution)).astype(int)
    high = np.ceil(np.clip(corners.max(axis=0), 0, resolution)).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
