"""Where the edited object went: box, mask, center, size, what stayed behind, copies, and how far it turned.

Invariant: a number that needs the object is None where it was not found, never a guess.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from ...shards.codecs import U8, Mask
from ...shards.geometry import (
    F64,
    box_iou,
    box_of_mask,
    mask_iou,
    matrix3,
    matrix4,
    project,
)
from ...shards.schema import SceneObject, View
from ..truth import Truth
from .metric import MAX_SHIFT
from .search import Place, Search, find

MAX_METERS: Final = 10.0
"""Largest center error, which also counts where the place is above the horizon of the support plane."""
_LEAVES: Final = ("translate", "remove", "swap")
"""Kinds of edits that take an object from its place."""
_MIN_LEFT: Final = 0.15
"""Share of the object's source mask that the target uncovers, below which nothing is said on what stayed behind."""
_MIN_CONTRAST: Final = 6.0
"""Mean difference in levels from what the target shows in its place, from which on an object can be recognized."""


@dataclass(frozen=True)
class Sight:
    """An edited object and where a prediction shows it."""

    thing: SceneObject
    search: Search
    place: Place | None
    """Of several copies, the nearest to the exact place: what is too much counts as `duplicated` and `left_behind`."""
    shift: tuple[float, float]
    """From the exact center of the box to the found one, pixels; zeros if it was not found."""
    scale: float
    """Found size over exact size; 1 if it was not found."""


def sights(truth: Truth, prediction: U8) -> list[Sight]:
    """Where a prediction shows the edited objects, in the order of `Truth.edited`. Empty for the camera."""
    things = {one.id: one for one in truth.record.objects}
    return [_sight(truth, prediction, things[id]) for id in truth.edited if id in things]


def _sight(truth: Truth, prediction: U8, thing: SceneObject) -> Sight:
    search, exact = find(truth, prediction, thing.id), exact_box(truth, thing)
    if not search.places or exact is None:
        return Sight(thing, search, next(iter(search.places), None), (0.0, 0.0), 1.0)
    x, y = (exact[0] + exact[2]) / 2, (exact[1] + exact[3]) / 2
    place = min(search.places, key=lambda one: np.hypot(one.x - x, one.y - y))
    shift = place.x - x, place.y - y
    sides = np.subtract(place.box[2:], place.box[:2]), np.subtract(exact[2:], exact[:2])
    scale = place.scale if place.view == "target" else float(np.sqrt(np.prod(sides[0] / sides[1])))
    return Sight(thing, search, place, shift, scale)


def exact_box(truth: Truth, thing: SceneObject) -> list[int] | None:
    """The object's box in the target, pixels; None if the target does not show it."""
    box = box_of_mask(truth.masks(thing.id)[1])
    return box if any(box) else None


def place_values(truth: Truth, prediction: U8, seen: list[Sight]) -> dict[str, float | None]:
    """Metrics of the place of the edited objects, as means over them. Empty for the camera."""
    each = [_values(truth, prediction, sight) for sight in seen]
    names = dict.fromkeys(name for values in each for name in values)
    return {name: _mean([values[name] for values in each if name in values]) for name in names}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _values(truth: Truth, prediction: U8, sight: Sight) -> dict[str, float | None]:
    left = _left_behind(truth, prediction, sight.thing.id) if truth.kind.name in _LEAVES else None
    values: dict[str, float | None] = {} if left is None else {"left_behind": left}
    exact = exact_box(truth, sight.thing)
    if exact is None:
        return values | {"found": float(sight.place is None)}
    values |= {"found": float(sight.place is not None), "duplicated": float(sight.search.duplicated)}
    if truth.kind.name == "rotate":
        values["turned"] = _turned(truth, prediction, sight.thing.id)
    if sight.place is None:
        values |= dict.fromkeys(("box_iou", "mask_iou", "center_px", "scale_error"))
        return values | ({"center_m": None} if _on_plane(truth, sight.thing) else {})
    values["box_iou"] = box_iou(sight.place.box, exact)
    values["mask_iou"] = mask_iou(found_mask(truth, sight), truth.masks(sight.thing.id)[1])
    values["center_px"] = min(float(np.hypot(*sight.shift)), MAX_SHIFT * truth.diagonal)
    values["scale_error"] = min(abs(float(np.log2(sight.scale))), 1.0)
    if _on_plane(truth, sight.thing):
        point = ground_point(truth, sight)
        origin = matrix4(sight.thing.target_pose)[:3, 3]
        error = MAX_METERS if point is None else float(np.linalg.norm(point - origin))
        values["center_m"] = min(error, MAX_METERS)
    return values


def found_mask(truth: Truth, sight: Sight) -> Mask:
    """The object's mask (H, W) at the found place: that of the view whose pixels were found, moved and scaled."""
    place = sight.place
    width, height = truth.size
    if place is None:
        return np.zeros((height, width), np.bool_)
    mask = truth.masks(sight.thing.id)[1 if place.view == "target" else 0]
    x0, y0, x1, y1 = box_of_mask(mask)
    # Pixel centers are at halves, those of OpenCV at whole numbers.
    dx = place.x - place.scale * (x0 + x1) / 2 + (place.scale - 1) / 2
    dy = place.y - place.scale * (y0 + y1) / 2 + (place.scale - 1) / 2
    matrix = np.array([[place.scale, 0, dx], [0, place.scale, dy]], np.float32)
    return cv2.warpAffine(mask.astype(np.float32), matrix, (width, height), flags=cv2.INTER_LINEAR) >= 0.5


def _on_plane(truth: Truth, thing: SceneObject) -> bool:
    return thing.known and truth.record.camera.target.known


def ground_point(truth: Truth, sight: Sight) -> F64 | None:
    """World point (3,), meters, on the plane of the object's support under the found place; None if it is above the
    plane's horizon.

    The foot, the projection of the pose's origin, is assumed to move with the found box: where the exact box has it,
    from the middle of the lower edge, times the scale.
    """
    view, pose = truth.record.camera.target, matrix4(sight.thing.target_pose)
    pixel = foot_pixel(truth, sight)
    return None if pixel is None else _on_height(pixel, view, float(pose[2, 3]))


def foot_pixel(truth: Truth, sight: Sight) -> F64 | None:
    """Where the origin of the object's pose is in the prediction (2,), pixels."""
    place, exact = sight.place, exact_box(truth, sight.thing)
    if place is None or exact is None:
        return None
    view = truth.record.camera.target
    origin = matrix4(sight.thing.target_pose)[:3, 3]
    (foot,), _ = project(origin, matrix3(view.K), matrix4(view.world_from_camera))
    center = np.array([(exact[0] + exact[2]) / 2, (exact[1] + exact[3]) / 2])
    return center + np.array(sight.shift) + sight.scale * (foot - center)


def _on_height(pixel: F64, view: View, z: float) -> F64 | None:
    """Where the ray through a pixel (2,) meets a height in the world, meters."""
    pose, camera = matrix4(view.world_from_camera), matrix3(view.K)
    direction = pose[:3, :3] @ np.linalg.solve(camera, np.array([pixel[0], pixel[1], 1.0]))
    if abs(direction[2]) < 1e-9 or (z - pose[2, 3]) / direction[2] <= 0:
        return None
    return pose[:3, 3] + direction * (z - pose[2, 3]) / direction[2]


def _left_behind(truth: Truth, prediction: U8, id: int) -> float | None:
    """How much of the object's contrast is still at its place in the source, 0 to 1.

    Judged where the source shows the object and the target does not: the prediction P between source S and target T,
    sum of max(0, |S - T|^2 - |P - S|^2) / sum of |S - T|^2. None if little is uncovered, or if the object looks like
    what is behind it.
    """
    before = truth.masks(id)[0]
    uncovered = before & ~np.isin(truth.target_instances, truth.edited)
    if np.count_nonzero(uncovered) < max(_MIN_LEFT * np.count_nonzero(before), 16):
        return None
    source, target, found = (image[uncovered].astype(np.float32) for image in (truth.source, truth.target, prediction))
    contrast = ((source - target) ** 2).sum(axis=1)
    if float(contrast.mean()) < 3 * _MIN_CONTRAST**2:
        return None
    there = np.maximum(contrast - ((found - source) ** 2).sum(axis=1), 0)
    return float(there.sum() / contrast.sum())


def _turned(truth: Truth, prediction: U8, id: int) -> float:
    """How far the prediction P goes from source S to target T in the object's masks: the projection of P - S on T - S,
    0 to 1. 1 needs the right place, too."""
    either = np.logical_or(*truth.masks(id))
    source, target, found = (image[either].astype(np.float32) for image in (truth.source, truth.target, prediction))
    way = target - source
    return float(np.clip(((found - source) * way).sum() / max(float((way * way).sum()), 1.0), 0, 1))
