"""The colors of a prediction brought to those of the scene, and whether its background is still that of the scene."""

from typing import Final

import cv2
import numpy as np

from ...shards.codecs import F32, U8
from ..truth import Truth

_FIT_SIDE: Final = 64
"""Samples of colors along the longer side of an image."""
_MIN_FIT: Final = 0.05
"""Share of the image that the edit must leave as it is, for a fit of the colors."""
_GAIN, _OFFSET = (0.6, 1.6), 48.0
"""Limits of a change of color; beyond them, another background was painted."""
_OTHER, _REPAINTED = 24.0, 0.4
"""Levels from which on a pixel has another color, and the share of such pixels in a repainted background."""


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
