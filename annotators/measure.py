"""Measurements on a pair's stored pixels and facts, for `annotators.checks`.

Invariant: nothing here uses `facts.measures`. Poses are compared with masks by projection.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np

from ..shards.codecs import F32, U8, Labels, Mask, decode_image, decode_labels, decode_mask
from ..shards.colors import to_oklab
from ..shards.geometry import F64, box_corners, box_of_mask, matrix3, matrix4, project, transform, wrap_degrees
from ..shards.sample import Columns
from ..shards.schema import Edit, PairFacts, SceneObject, View
from .relations import StateName

ROWS: Final = 8
"""Rows into which `Images.appearance_change` divides an object; each row has two cells."""
OTHER_COLOR: Final = 10.0
"""CIELAB distance above which the mean color of a cell has changed."""
OTHER_FILL: Final = 0.5
"""A cell has changed if the object fills less than this share of what it fills in the other image."""
SLACK_PX: Final = 2.0
SLACK: Final = 0.03
"""Pixels, plus a share of the box's size, by which a mask may extend beyond its object's projected bounding box."""
UNEVEN: Final = 0.002
"""Meters by which an object that stands on an uneven surface may rise or sink when it is turned, scaled or swapped."""
_MIN_COLOR_PX: Final = 24
"""Pixels of the smallest object whose color is judged."""
_MAX_COLOR_PX: Final = 256
"""Pixels of an object that are sampled for its color, at most."""
_LUMA: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)


class SizeMismatch(ValueError):
    """Members of a pair whose sizes differ."""


@dataclass(frozen=True)
class Images:
    """A pair's members: images uint8 (H, W, 3), instance labels (H, W), `changed` bool (H, W)."""

    source: U8
    target: U8
    source_labels: Labels
    target_labels: Labels
    changed: Mask

    @classmethod
    def decode(cls, pair: Columns) -> "Images":
        """Raises CodecError on damaged members, SizeMismatch where their sizes differ."""
        source, target = decode_image(_bytes(pair, "source")), decode_image(_bytes(pair, "target"))
        labels = [decode_labels(_bytes(pair, f"{state}_instances")) for state in ("source", "target")]
        changed = decode_mask(_bytes(pair, "changed"))
        for name, member in (
            ("target", target),
            ("instances", labels[0]),
            ("instances", labels[1]),
            ("changed", changed),
        ):
            if member.shape[:2] != source.shape[:2]:
                raise SizeMismatch(f"{name} is {member.shape[:2]}, the source is {source.shape[:2]} (height, width)")
        return cls(source, target, labels[0], labels[1], changed)

    def colors(self) -> dict[tuple[int, StateName], F64]:
        """OKLab colors (N, 3) by object id and image, for objects of at least 24 pixels."""
        found: dict[tuple[int, StateName], F64] = {}
        views: tuple[tuple[StateName, U8, Labels], ...] = (
            ("source", self.source, self.source_labels),
            ("target", self.target, self.target_labels),
        )
        for state, image, labels in views:
            for id in self.ids:
                pixels = image[labels == id]
                if len(pixels) >= _MIN_COLOR_PX:
                    found[id, state] = to_oklab(pixels[:: -(-len(pixels) // _MAX_COLOR_PX)] / 255)
        return found

    @cached_property
    def ids(self) -> list[int]:
        """Object ids in either instance map, in ascending order."""
        found: list[int] = np.union1d(self.source_labels, self.target_labels).tolist()
        return [id for id in found if id]

    def masks(self, id: int) -> tuple[Mask, Mask]:
        """The object's mask in source and target."""
        return self.source_labels == id, self.target_labels == id

    @cached_property
    def unequal(self) -> Mask:
        """Pixels (H, W) at which the images differ in any bit."""
        return np.any(self.source != self.target, axis=2)

    def appearance_change(self, id: int) -> float:
        """Share of an object's area, in either image, whose appearance clearly changes; 0 if it is in neither image.

        The object's box is divided into two columns and `ROWS` rows. Each cell is compared by the object's mean color
        in it and by the share that the object fills, not pixel by pixel. So grain, small shifts of an edge, and thin
        parts that trade places (the legs of a stool) do not count.
        """
        masks = self.masks(id)
        x0, y0, x1, y1 = box_of_mask(np.logical_or(*masks))
        if x1 <= x0:
            return 0.0
        filled: list[F32] = []
        colors: list[F32] = []
        for rgb, mask in zip((self.source, self.target), masks, strict=True):
            own = mask[y0:y1, x0:x1].astype(np.float32)
            lab = np.asarray(cv2.cvtColor(rgb[y0:y1, x0:x1].astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
            filled.append(_cells(own))
            weight = np.maximum(filled[-1], 1e-6)[..., None]
            colors.append(np.asarray(_cells(lab * own[..., None]) / weight, np.float32))
        most, least = np.maximum(*filled), np.minimum(*filled)
        recolored = np.linalg.norm(colors[0] - colors[1], axis=2) > OTHER_COLOR
        refilled = least < OTHER_FILL * most
        return float((least * recolored + (most - least) * refilled).sum() / most.sum())


def _cells(values: F32) -> F32:
    """Means over the cells, `ROWS` x 2."""
    return np.asarray(cv2.resize(values, (2, ROWS), interpolation=cv2.INTER_AREA), np.float32)


def outline_change(before: Mask, after: Mask) -> float:
    """Factor (1 or more) by which the aspect ratio of an object's box changes; 1 if either mask is empty."""
    boxes = [box_of_mask(mask) for mask in (before, after)]
    if any(box[2] <= box[0] for box in boxes):
        return 1.0
    first, second = ((x1 - x0) / (y1 - y0) for x0, y0, x1, y1 in boxes)
    return max(first / second, second / first)


def _bytes(pair: Columns, name: str) -> bytes:
    value = pair[name]
    return value if isinstance(value, bytes) else b""


def speckle(mask: Mask) -> float:
    """Number of isolated pixels of a mask (H, W), over the number of its pixels.

    A pixel in the mask or in a hole is isolated if at most one of its four neighbors has its value. An empty mask
    gives 0, a checkerboard 2.
    """
    area = int(np.count_nonzero(mask))
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
    beside = cv2.filter2D(mask.astype(np.uint8), -1, cross, borderType=cv2.BORDER_CONSTANT)
    odd = np.where(mask, beside <= 1, beside >= 3)
    return float(np.count_nonzero(odd)) / max(area, 1)


def hull_fill(mask: Mask) -> float:
    """Share of the convex hull of a mask (H, W) that the mask fills; 1 for an empty mask."""
    if not mask.any():
        return 1.0
    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32)), 1)
    return float(np.count_nonzero(mask) / np.count_nonzero(hull))


def exposure(rgb: U8) -> tuple[float, float, float]:
    """Mean sRGB luma (0..1), and the shares of black and of white pixels (all channels, within 2 levels)."""
    # OpenCV, channel by channel: numpy reduces an axis of length 3 about 20 times more slowly.
    red, green, blue = cv2.split(rgb)
    brightest, darkest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    luma = float((np.array(cv2.mean(rgb)[:3]) @ _LUMA) / 255)
    return luma, float(np.mean(brightest <= 2)), float(np.mean(darkest >= 253))


def outside_projection(facts: PairFacts, thing: SceneObject) -> list[float]:
    """Pixels, beyond the slack, by which a mask extends outside its projected bounding box; per image that shows it."""
    camera = facts.camera
    return [
        _excess(thing.size_m, pose, view, box)
        for pose, view, box in (
            (thing.source_pose, camera.source, thing.source_box),
            (thing.target_pose, camera.target, thing.target_box),
        )
        if box[2] > box[0]
    ]


def _excess(size: list[float], pose: list[float], view: View, box: list[int]) -> float:
    pixels, z = project(transform(matrix4(pose), box_corners(size)), matrix3(view.K), matrix4(view.world_from_camera))
    if (z <= 0).any():
        return 0.0  # partly behind the camera: the projection is unbounded
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    slack = SLACK_PX + SLACK * float((high - low).max())
    over = np.concatenate([low - np.array(box[:2]), np.array(box[2:]) - high]) - slack
    return max(float(over.max()), 0.0)


def pose_error(edit: Edit, thing: SceneObject, about_base: bool) -> float:
    """Error of the edit's numbers against an object's two poses, in tolerances: above 1 they disagree.

    Tolerances, larger than rounding errors: 0.1 mm, 0.05 degrees, one thousandth of the scale. Where the object stands
    on another one, the height may differ by `UNEVEN` more.

    Args:
        about_base: the edit (a rotation or a change of size) fixes a point of the object's base. That point need not be
            the object's origin, so the origin may move.
    """
    before, after = matrix4(thing.source_pose), matrix4(thing.target_pose)
    rotation = _yaw(after) - _yaw(before) - edit.rotation_deg
    moved = _without_uneven(thing, np.abs(after[:3, 3] - before[:3, 3] - edit.translation))
    errors = (
        (min(moved, _base_error(thing, before, after)) if about_base else moved) / 1e-4,
        abs(wrap_degrees(rotation)) / 0.05,
        abs(_size(after) / _size(before) / edit.scale - 1) / 1e-3,
    )
    return max(errors)


def carried_error(thing: SceneObject, carrier: SceneObject) -> float:
    """Error of the poses of an object on a moved one, in tolerances of `pose_error`: above 1 it has not moved along.

    It keeps its pose relative to the other object. If that changes its size, it keeps its rotation and its own size.
    """
    relative: list[F64] = []
    for pose, base in ((thing.source_pose, carrier.source_pose), (thing.target_pose, carrier.target_pose)):
        rigid = matrix4(base)
        rigid[:3, :3] /= _size(rigid)
        relative.append(np.linalg.inv(rigid) @ matrix4(pose))
    change = np.abs(relative[1] - relative[0])
    error = float(change[:3, :3].max()) / _size(relative[0]) / 1e-3
    sizes = [_size(matrix4(pose)) for pose in (carrier.source_pose, carrier.target_pose)]
    same_size = abs(sizes[1] / sizes[0] - 1) < 1e-6
    return max(error, float(change[:3, 3].max()) / 1e-4) if same_size else error


def _without_uneven(thing: SceneObject, offset: F64) -> float:
    """The largest part of an offset (3,), not counting what an uneven surface explains, meters."""
    if thing.source_support.object or thing.target_support.object:
        offset = np.array([*offset[:2], max(float(offset[2]) - UNEVEN, 0.0)])
    return float(offset.max())


def _base_error(thing: SceneObject, before: F64, after: F64) -> float:
    """Distance in meters of the edit's fixed point from the base of the object's box, or the change of height if that
    is larger; infinite for a pure translation."""
    change = after[:2, :2] @ np.linalg.inv(before[:2, :2])
    if abs(np.linalg.det(np.eye(2) - change)) < 1e-9:
        return float("inf")
    fixed = np.linalg.solve(np.eye(2) - change, after[:2, 3] - change @ before[:2, 3])
    inside = np.linalg.solve(before[:2, :2], fixed - before[:2, 3])
    outside = float((np.abs(inside) - np.array(thing.size_m[:2]) / 2).max()) * _size(before)
    rise = _without_uneven(thing, np.array([0.0, 0.0, abs(float(after[2, 3] - before[2, 3]))]))
    return max(outside, rise, 0.0)


def _yaw(pose: F64) -> float:
    return float(np.rad2deg(np.arctan2(pose[1, 0], pose[0, 0])))


def _size(pose: F64) -> float:
    return float(np.linalg.norm(pose[:3, 0]))
