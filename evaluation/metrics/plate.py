"""The scene without the edited objects, and the colors of a prediction brought to those of the scene.

The *plate* is what an image shows where the object is not: the target's pixels around the place that the object leaves,
the source's around the place where it arrives. Only where both images show the object the plate is guessed.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from ...shards.codecs import F32, U8, Labels, Mask
from ..truth import Truth

_GUESS_SIDE: Final = 96
"""Longer side, in pixels, of the image in which hidden pixels are guessed: they are smooth in any case."""
_FIT_SIDE: Final = 64
_MIN_FIT: Final = 0.05
"""Share of the image that the edit must leave as it is, for a fit of the colors."""
_GAIN, _OFFSET = (0.6, 1.6), 48.0
"""Limits of a change of color; beyond them, another background was painted."""

_OTHER, _REPAINTED = 24.0, 0.4
"""Levels from which on a pixel has another color, and the share of such pixels in a repainted background."""


@dataclass(frozen=True)
class Plate:
    """`image` uint8 (H, W, 3); `labels` (H, W): ids of the objects behind the edited ones."""

    image: U8
    labels: Labels


def plate_of(truth: Truth) -> Plate:
    """The plate of a sample."""
    before = np.isin(truth.source_instances, truth.moving)
    after = np.isin(truth.target_instances, truth.moving)
    nearer_before = _distance(before) < _distance(after)
    image = np.where(nearer_before[..., None], truth.target, truth.source)
    labels = np.where(nearer_before, truth.target_instances, truth.source_instances)
    hidden = before & after
    if hidden.any():
        image = _guess(image, hidden)
        labels = np.where(hidden, 0, labels)
    return Plate(image, labels)


def _distance(mask: Mask) -> F32:
    """Pixels (H, W) to the nearest true pixel; infinite where there is none."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)


def _guess(image: U8, hidden: Mask) -> U8:
    """Fill hidden pixels from around them (Telea 2004), at a low resolution."""
    height, width = hidden.shape
    factor = min(1.0, _GUESS_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    holes = cv2.dilate(cv2.resize(hidden.astype(np.uint8), size, interpolation=cv2.INTER_AREA), np.ones((3, 3)))
    small = cv2.inpaint(cv2.resize(image, size, interpolation=cv2.INTER_AREA), holes, 3, cv2.INPAINT_TELEA)
    filled = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(hidden[..., None], filled, image)


def fit_colors(truth: Truth, prediction: U8) -> F32:
    """The prediction (H, W, 3), 0 to 255, with gain and offset of each channel as in the source.

    Fitted where the edit changes nothing, in two rounds of least squares; the second one leaves out the tenth with the
    largest errors. Not applied if it needs more than moderate numbers, or if there is too little to fit.
    """
    values = prediction.astype(np.float32)
    kept = ~truth.changed
    if np.count_nonzero(kept) < _MIN_FIT * kept.size:
        return values
    step = max(1, max(kept.shape) // _FIT_SIDE)
    chosen = kept[::step, ::step]
    found, wanted = (image[::step, ::step][chosen].astype(np.float32) for image in (prediction, truth.source))
    if len(found) < _FIT_SIDE:
        return values
    gain, offset = _least_squares(found, wanted)
    errors = np.abs(found * gain + offset - wanted).max(axis=1)
    inner = errors <= np.quantile(errors, 0.9)
    gain, offset = _least_squares(found[inner], wanted[inner])
    moderate = (gain > _GAIN[0]) & (gain < _GAIN[1]) & (np.abs(offset) < _OFFSET)
    better = np.abs(found * gain + offset - wanted).mean() < 0.8 * np.abs(found - wanted).mean()
    return values * gain + offset if moderate.all() and better else values


def is_repainted(truth: Truth, fitted: F32) -> bool:
    """Whether most of what the edit should keep has other colors, after `fit_colors`."""
    step = max(1, max(fitted.shape[:2]) // _FIT_SIDE)
    kept = ~truth.changed[::step, ::step]
    if not kept.any():
        return False
    difference = np.abs(fitted[::step, ::step][kept] - truth.source[::step, ::step][kept]).max(axis=1)
    return float(np.mean(difference > _OTHER)) > _REPAINTED


def own_plate(image: F32, side: float) -> F32:
    """The means (H, W, 3) of an image around each pixel, over one and a half times an object's side in pixels."""
    size = round(1.5 * side) | 1
    return cv2.blur(image, (size, size))


def _least_squares(found: F32, wanted: F32) -> tuple[F32, F32]:
    """Gain and offset (3,) that bring colors (N, 3) to others."""
    mean_found, mean_wanted = found.mean(axis=0), wanted.mean(axis=0)
    centered = found - mean_found
    gain = (centered * (wanted - mean_wanted)).sum(axis=0) / np.maximum((centered**2).sum(axis=0), 1e-3)
    return gain, mean_wanted - gain * mean_found
