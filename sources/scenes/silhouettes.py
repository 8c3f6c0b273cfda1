"""Forecast of the visibility of a scene's objects from prisms (footprint times height), before anything is rendered.

A prism contains its object, so areas and occlusion are overestimated. The forecast is used for proposals; the
renderer's ray casting decides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...shards.geometry import F64, matrix3, matrix4, project
from ..assets.asset import Asset
from .camera import eye
from .footprints import Objects, Placements, container_of, footprint, heights, opening, prism
from .spec import CameraPose, Placement

_ROWS = 64
"""Rows of the grid on which occlusion is counted."""
_CORNERS = 24
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
    objects: Objects, placements: Placements, camera: CameraPose, resolution: tuple[int, int]
) -> dict[int, Forecast]:
    """Forecast of every object of one state, by id; zeros for objects that are absent or reach behind the camera."""
    present = [placed for placed in objects if placements[placed.id].present]
    pixels, depths = _project_prisms([prism(placed.asset, placements[placed.id]) for placed in present], camera)
    rows = (np.arange(-_ROWS // 2, 3 * _ROWS // 2) + 0.5) / _ROWS * resolution[1]
    left, right = _spans(_edges(pixels), rows)
    framed = (rows > 0) & (rows < resolution[1])
    masks = _masks(left[:, framed], right[:, framed], resolution)
    hidden = _hidden(present, placements, camera, masks, rows[framed], resolution)
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


def _hidden(
    present: Objects,
    placements: Placements,
    camera: CameraPose,
    masks: Mask,
    rows: F64,
    resolution: tuple[int, int],
) -> Mask:
    """Cells (O, rows, columns) of each object that another object hides."""
    hidden = np.zeros_like(masks)
    index = {placed.id: i for i, placed in enumerate(present)}
    front = _in_front(present, placements, camera)
    for i, placed in enumerate(present):
        container = container_of(placed.id, present, placements)
        if container:
            j = index[container]
            edges = _opening_edges(present[j].asset, placements[container], camera)
            within = _masks(*_spans(edges, rows), resolution)[0]
            # Through the opening the guest is visible; elsewhere the container hides it.
            hidden[i] |= masks[j] & ~within
            hidden[j] |= masks[i] & within
            front[[i, j], [j, i]] = False
    for i in range(len(present)):
        hidden[i] |= masks[front[:, i]].any(axis=0)
    return hidden


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


def _opening_edges(asset: Asset, placement: Placement, camera: CameraPose) -> F64:
    """Projected outline (1, N, 2, 2) of a container's opening at the height of its rim."""
    outline = opening(asset, placement)
    rim = np.column_stack([outline, np.full(len(outline), placement.z + asset.size_m[2] * placement.scale)])
    pixels, _ = project(rim, matrix3(camera.K), matrix4(camera.world_from_camera))
    return np.stack([pixels, np.roll(pixels, -1, axis=0)], axis=1)[None]


def _box(pixels: F64, resolution: tuple[int, int]) -> tuple[int, int, int, int]:
    """Box around pixels (..., 2) in the frame: x0, y0, x1, y1, exclusive at the far side."""
    corners = pixels.reshape(-1, 2)
    low = np.floor(np.clip(corners.min(axis=0), 0, resolution)).astype(int)
    high = np.ceil(np.clip(corners.max(axis=0), 0, resolution)).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
