"""Predictions made from the exact answer, whose faults are known: what metrics say of them, they must say of editors.

Each maker returns a prediction uint8 (H, W, 3), and the shift of the object's center that it made, or None where the
sample does not allow it (the object would leave the frame, there is no other object).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from ..shards.codecs import U8, Mask
from ..shards.geometry import box_of_mask
from .truth import Truth

_DIRECTIONS: Final = tuple((np.cos(angle), np.sin(angle)) for angle in np.deg2rad(range(0, 360, 45)))
_INSIDE_PX: Final = 2


@dataclass(frozen=True)
class Made:
    """A prediction. `shift`: of the object's center from the exact one, pixels; None where it has no place."""

    image: U8
    shift: tuple[float, float] | None = (0.0, 0.0)


Maker = Callable[[Truth], Made | None]


def exact(truth: Truth) -> Made:
    return Made(truth.target)


def copy(truth: Truth) -> Made:
    return Made(truth.source, None)


def shifted(pixels: float) -> Maker:
    """The object is this many pixels from where it should be, in the first of eight directions that keeps it in the
    frame."""

    def make(truth: Truth) -> Made | None:
        mask = _target_mask(truth)
        for x, y in _DIRECTIONS if mask.any() else ():
            dx, dy = round(pixels * x), round(pixels * y)
            if (image := _pasted(truth, truth.plate.image, mask, (dx, dy))) is not None:
                return Made(image, (float(dx), float(dy)))
        return None

    return make


def rescaled(factor: float) -> Maker:
    """The object has another size, around the middle of its lower edge, where it stands."""

    def make(truth: Truth) -> Made | None:
        mask = _target_mask(truth)
        _, y0, _, y1 = box_of_mask(mask)
        image = _pasted(truth, truth.plate.image, mask, (0.0, 0.0), factor) if mask.any() else None
        return None if image is None else Made(image, (0.0, (1 - factor) * (y1 - y0) / 2))

    return make


def removed(truth: Truth) -> Made | None:
    return Made(truth.plate.image, None) if truth.kind.in_target else None


def left_and_copied(truth: Truth) -> Made | None:
    """The object is in both places."""
    mask = _target_mask(truth)
    if truth.kind.name != "translate" or not mask.any():
        return None
    return Made(np.where(mask[..., None], truth.target, truth.source))


def wrong_object(truth: Truth) -> Made | None:
    """Another object is moved as the edited one should be, and the edited one stays."""
    if truth.kind.name != "translate":
        return None
    before, after = (box_of_mask(mask) for mask in truth.masks(truth.edited[0]))
    step = [(after[k] + after[k + 2] - before[k] - before[k + 2]) / 2 for k in (0, 1)]
    others = [one.id for one in truth.record.objects if one.id not in truth.moving]
    masks = sorted((truth.masks(id)[0] for id in others), key=lambda mask: -int(mask.sum()))
    for mask in masks:
        if not mask.any() or mask.mean() > 0.1:
            continue
        hole = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
        without = np.asarray(cv2.inpaint(truth.source, hole, 3, cv2.INPAINT_TELEA), np.uint8)
        image = _paste(truth.source, without, mask, (step[0], step[1]))
        if image is not None:
            return Made(image, None)
    return None


def blurred(truth: Truth) -> Made:
    sigma = max(truth.size) / 128
    return Made(np.asarray(cv2.GaussianBlur(truth.target, (0, 0), sigma), np.uint8))


def color_cast(truth: Truth) -> Made:
    return Made(np.clip(truth.target * np.array([1.15, 1.0, 0.85]), 0, 255).astype(np.uint8))


def repainted(truth: Truth) -> Made:
    """Everything but the edited object gets another, smooth background."""
    random = np.random.default_rng(int.from_bytes(truth.key.encode()[-8:]))
    small = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    background = cv2.resize(small, truth.size, interpolation=cv2.INTER_CUBIC)
    return Made(np.where(_target_mask(truth)[..., None], truth.target, background))


def jpeg_50(truth: Truth) -> Made:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(truth.target, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 50])
    return Made(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8))


MAKERS: Final[Mapping[str, Maker]] = {
    "exact": exact,
    "copy": copy,
    "shifted by 5 px": shifted(5),
    "shifted by 20 px": shifted(20),
    "shifted by 80 px": shifted(80),
    "10 % smaller": rescaled(0.9),
    "10 % larger": rescaled(1.1),
    "30 % smaller": rescaled(0.7),
    "30 % larger": rescaled(1.3),
    "wrong object moved": wrong_object,
    "object removed": removed,
    "left behind and copied": left_and_copied,
    "blurred": blurred,
    "color cast": color_cast,
    "background repainted": repainted,
    "JPEG 50": jpeg_50,
}


def _target_mask(truth: Truth) -> Mask:
    return np.isin(truth.target_instances, truth.edited) if truth.edited else np.zeros(truth.changed.shape, np.bool_)


def _pasted(truth: Truth, onto: U8, mask: Mask, shift: tuple[float, float], factor: float = 1.0) -> U8 | None:
    return _paste(truth.target, onto, mask, shift, factor)


def _paste(image: U8, onto: U8, mask: Mask, shift: tuple[float, float], factor: float = 1.0) -> U8 | None:
    """The masked pixels moved by `shift` and scaled about the middle of their lower edge; None if they leave the
    frame."""
    height, width = mask.shape
    x0, y0, x1, y1 = box_of_mask(mask)
    middle = (x0 + x1) / 2
    left, right = middle + shift[0] - factor * (x1 - x0) / 2, middle + shift[0] + factor * (x1 - x0) / 2
    top, bottom = y1 + shift[1] - factor * (y1 - y0), y1 + shift[1]
    at_edge = min(x0, y0, width - x1, height - y1) <= 0 and shift == (0.0, 0.0)
    if not at_edge and (min(left, top) < _INSIDE_PX or right > width - _INSIDE_PX or bottom > height - _INSIDE_PX):
        return None
    # Pixel centers are at halves, those of OpenCV at whole numbers.
    dx = middle + shift[0] - factor * middle + (factor - 1) / 2
    dy = y1 + shift[1] - factor * y1 + (factor - 1) / 2
    matrix = np.array([[factor, 0, dx], [0, factor, dy]], np.float32)
    weight = cv2.warpAffine(mask.astype(np.float32), matrix, (width, height))[..., None]
    colors = cv2.warpAffine(image.astype(np.float32) * mask[..., None], matrix, (width, height))
    return np.clip(np.rint(colors + onto * (1 - weight)), 0, 255).astype(np.uint8)
