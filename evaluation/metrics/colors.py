"""The colors of a prediction brought to those of the scene, and whether its background is still that of the scene."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Fit:
    """Gain and offset (3,) of each channel that bring a prediction's colors to those of the source."""

    gain: F32
    offset: F32

    def apply(self, colors: F32) -> F32:
        """Of colors (..., 3), 0 to 255."""
        return colors * self.gain + self.offset


_KEEP: Final = Fit(np.ones(3, np.float32), np.zeros(3, np.float32))


def fit_colors(truth: Truth, prediction: U8) -> tuple[Fit, bool]:
    """How the colors of a prediction (H, W, 3) differ from the scene's, and whether its background is another one.

    Fitted where the edit changes nothing, in two rounds of least squares; the second one leaves out the tenth with the
    largest errors. Colors are kept if the fit needs more than moderate numbers, or if there is too little to fit. The
    background is another one if most of what the edit should keep has other colors nevertheless.
    """
    step = max(1, max(truth.size) // _FIT_SIDE)
    chosen = ~truth.changed[::step, ::step]
    if np.count_nonzero(chosen) < max(_MIN_FIT * chosen.size, _FIT_SIDE):
        return _KEEP, False
    found, wanted = (image[::step, ::step][chosen].astype(np.float32) for image in (prediction, truth.source))
    fit = _least_squares(found, wanted)
    errors = np.abs(fit.apply(found) - wanted).max(axis=1)
    inner = errors <= np.quantile(errors, 0.9)
    fit = _least_squares(found[inner], wanted[inner])
    moderate = (fit.gain > _GAIN[0]) & (fit.gain < _GAIN[1]) & (np.abs(fit.offset) < _OFFSET)
    if not moderate.all() or np.abs(fit.apply(found) - wanted).mean() > 0.8 * np.abs(found - wanted).mean():
        fit = _KEEP
    other = np.abs(fit.apply(found) - wanted).max(axis=1) > _OTHER
    return fit, float(other.mean()) > _REPAINTED


def own_plate(image: F32, side: float) -> F32:
    """The means (H, W, 3) of an image around each pixel, over one and a half times an object's side in pixels."""
    size = round(1.5 * side) | 1
    return np.asarray(cv2.blur(image, (size, size)), np.float32)


def _least_squares(found: F32, wanted: F32) -> Fit:
    """The fit of colors (N, 3) to others."""
    mean_found, mean_wanted = found.mean(axis=0), wanted.mean(axis=0)
    centered = found - mean_found
    gain = (centered * (wanted - mean_wanted)).sum(axis=0) / np.maximum((centered**2).sum(axis=0), 1e-3)
    return Fit(gain, mean_wanted - gain * mean_found)
