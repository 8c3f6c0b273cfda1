"""Measurements on a pair's stored pixels and facts, for `annotators.checks`.

Invariant: nothing here trusts the maker's own measurements; poses are held against masks by projection.
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
"""Rows of an object, each in two halves: as coarse as a glance."""
OTHER_COLOR: Final = 10.0
"""CIELAB distance from which the mean color of a cell is another one."""
OTHER_FILL: Final = 0.5
"""Share of what the object fills of a cell in the one image below which the other shows something else."""
SLACK_PX: Final = 2.0
SLACK: Final = 0.03
"""How far (and what share of the box's size) a mask may stick out of its object's projected bounding box."""
_COLOR_PX: Final = 24
"""Pixels of an object from which its color is judged, and the most that are looked at."""
_MOST_PX: Final = 256
_LUMA: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)


class Misfit(ValueError):
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
        """Raises CodecError on damaged members, Misfit where their sizes differ."""
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
                raise Misfit(f"{name} is {member.shape[:2]}, the source is {source.shape[:2]} (height, width)")
        return cls(source, target, labels[0], labels[1], changed)

    def colors(self) -> dict[tuple[int, StateName], F64]:
        """OKLab colors (N, 3) of each object in each image that shows enough of it."""
        found: dict[tuple[int, StateName], F64] = {}
        views: tuple[tuple[StateName, U8, Labels], ...] = (
            ("source", self.source, self.source_labels),
            ("target", self.target, self.target_labels),
        )
        for state, image, labels in views:
            for id in self.ids:
                pixels = image[labels == id]
                if len(pixels) >= _COLOR_PX:
                    found[id, state] = to_oklab(pixels[:: -(-len(pixels) // _MOST_PX)] / 255)
        return found

    @cached_property
    def ids(self) -> list[int]:
        """Object ids in either instance map, rising."""
        found: list[int] = np.union1d(self.source_labels, self.target_labels).tolist()
        return [id for id in found if id]

    def masks(self, id: int) -> tuple[Mask, Mask]:
        """The object's mask in source and target."""
        return self.source_labels == id, self.target_labels == id

    @cached_property
    def unequal(self) -> Mask:
        """Pixels that are not equal to the bit."""
        return np.any(self.source != self.target, axis=2)

    def looks_other(self, id: int) -> float:
        """Share of what an object covers in either image that looks different at a glance.

        Its left and right half are cut into `ROWS` rows; of each cell count the object's own mean color and how much of
        the cell it fills, not where: thin parts that change places (the legs of a stool), grain, and an edge that
        shifts a little make no difference. 0 where it is in neither image.
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
    """Means of the two halves' `ROWS` rows."""
    return np.asarray(cv2.resize(values, (2, ROWS), interpolation=cv2.INTER_AREA), np.float32)


def outline_change(before: Mask, after: Mask) -> float:
    """Ratio (1 or more) by which the proportions of an object's box change; 1 where either mask is empty."""
    boxes = [box_of_mask(mask) for mask in (before, after)]
    if any(box[2] <= box[0] for box in boxes):
        return 1.0
    first, second = ((x1 - x0) / (y1 - y0) for x0, y0, x1, y1 in boxes)
    return max(first / second, second / first)


def _bytes(pair: Columns, name: str) -> bytes:
    value = pair[name]
    return value if isinstance(value, bytes) else b""


def speckle(mask: Mask) -> float:
    """Share of a mask (H, W) that is broken up: pixels that at most one of their four neighbors is like, in the mask or
    in its holes, over the mask's pixels. 0 for an empty mask; a checkerboard has 2.
    """
    area = int(np.count_nonzero(mask))
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
    beside = cv2.filter2D(mask.astype(np.uint8), -1, cross, borderType=cv2.BORDER_CONSTANT)
    odd = np.where(mask, beside <= 1, beside >= 3)
    return float(np.count_nonzero(odd)) / max(area, 1)


def hull_fill(mask: Mask) -> float:
    """Share of the convex hull of a mask (H, W) that is in it; 1 for an empty mask."""
    if not mask.any():
        return 1.0
    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32)), 1)
    return float(np.count_nonzero(mask) / np.count_nonzero(hull))


def exposure(rgb: U8) -> tuple[float, float, float]:
    """Mean sRGB luma (0..1), and the shares of pixels that are black and white in all channels, within 2 levels."""
    # By OpenCV, plane by plane: numpy reduces an axis of three a pixel at a time, 20 times slower.
    red, green, blue = cv2.split(rgb)
    brightest, darkest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    luma = float((np.array(cv2.mean(rgb)[:3]) @ _LUMA) / 255)
    return luma, float(np.mean(brightest <= 2)), float(np.mean(darkest >= 253))


def outside_projection(facts: PairFacts, thing: SceneObject) -> list[float]:
    """By how many pixels an object's mask sticks out of its projected bounding box, beyond the slack, where seen."""
    camera = facts.camera
    return [
        _sticks_out(thing.size_m, pose, view, box)
        for pose, view, box in (
            (thing.source_pose, camera.source, thing.source_box),
            (thing.target_pose, camera.target, thing.target_box),
        )
        if box[2] > box[0]
    ]


def _sticks_out(size: list[float], pose: list[float], view: View, box: list[int]) -> float:
    pixels, z = project(transform(matrix4(pose), box_corners(size)), matrix3(view.K), matrix4(view.world_from_camera))
    if (z <= 0).any():
        return 0.0  # partly behind the camera: its projection has no bounds
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    slack = SLACK_PX + SLACK * float((high - low).max())
    over = np.concatenate([low - np.array(box[:2]), np.array(box[2:]) - high]) - slack
    return max(float(over.max()), 0.0)


def pose_error(edit: Edit, thing: SceneObject, about_base: bool) -> float:
    """How far the edit's numbers are from what an object's two poses say, in tolerances: above 1 they disagree.

    Tolerances, above what rounding does: 0.1 mm, 0.05 degrees, one thousandth of the scale.

    Args:
        about_base: the edit leaves a point of the object's base where it is, as a turn or a change of size does. That
            point need not be the object's origin, which may move.
    """
    before, after = matrix4(thing.source_pose), matrix4(thing.target_pose)
    turn = _yaw(after) - _yaw(before) - edit.rotation_deg
    moved = float(np.abs(after[:3, 3] - before[:3, 3] - edit.translation).max())
    errors = (
        (min(moved, _off_base(thing, before, after)) if about_base else moved) / 1e-4,
        abs(wrap_degrees(turn)) / 0.05,
        abs(_size(after) / _size(before) / edit.scale - 1) / 1e-3,
    )
    return max(errors)


def _off_base(thing: SceneObject, before: F64, after: F64) -> float:
    """Metres by which the point of the floor plan that stays where it is, or the change of height, misses the base of
    the object's box; infinite where all points move alike."""
    change = after[:2, :2] @ np.linalg.inv(before[:2, :2])
    if abs(np.linalg.det(np.eye(2) - change)) < 1e-9:
        return float("inf")
    fixed = np.linalg.solve(np.eye(2) - change, after[:2, 3] - change @ before[:2, 3])
    inside = np.linalg.solve(before[:2, :2], fixed - before[:2, 3])
    outside = float((np.abs(inside) - np.array(thing.size_m[:2]) / 2).max()) * _size(before)
    return max(outside, abs(float(after[2, 3] - before[2, 3])), 0.0)


def _yaw(pose: F64) -> float:
    return float(np.rad2deg(np.arctan2(pose[1, 0], pose[0, 0])))


def _size(pose: F64) -> float:
    return float(np.linalg.norm(pose[:3, 0]))
