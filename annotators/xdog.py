"""Line drawings without a model: the extended difference of Gaussians, tuned to each image by the image.

Winnemöller, Kyprianidis and Olsen 2012, "XDoG: An eXtended difference-of-Gaussians compendium": the difference of two
Gaussians (eq. 4) under a soft threshold (eq. 5). As published, with fixed thresholds on luminance, it fills what is
dark. Here (1) the difference has weight tau = 1, so that it is 0 wherever nothing changes, bright or dark; (2) it is
taken of CIELAB lightness and color, in which an equal step looks equally strong, so that dark pictures keep their
lines and things of other colors than their ground have an outline; (3) the threshold epsilon is a quantile of the
image's own response, so that a plain picture is not noise and a busy one not black; and (4) specks are left out.

Invariant: weight-free, the same image gives the same drawing, and a constant image gives white paper.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ..shards.codecs import F32, U8, Mask
from ..shards.errors import BadInput
from .map_stage import MapStage

RATIO: Final = 1.6
"""k: outer over inner standard deviation, with which the difference is nearly a Laplacian (Marr and Hildreth 1980)."""
TEXTURE: Final = 0.06
"""Steps (1: from black to white) below which fine texture is smoothed away before, by a bilateral filter of 5 x 5."""
WHITE: Final = 0.995
"""Quantile of lightness that counts as white: a dark picture is drawn as if it had been exposed for longer."""
DIMMEST: Final = 0.3
"""Least lightness that does: what is darker throughout is noise."""
SOFTNESS: Final = 0.5
"""The soft threshold's 1 / phi, in units of epsilon: from white to nearly black over this much more response."""
SPECK: Final = 12
"""Connected lines of fewer pixels are left out."""


@dataclass(frozen=True)
class XDoG(MapStage):
    """Layer `line` without a model, on a CPU: dark lines on white.

    7 ms of one core for an image of 256 x 256 pixels, 33 ms for 512 x 512.
    """

    layer: ClassVar[str] = "line"
    version: ClassVar[int] = 1
    estimator: ClassVar[str] = "xdog"

    sigma: float = 0.8
    """Inner standard deviation in pixels: larger, thicker lines and less detail."""
    density: float = 0.07
    """Share of the image that is drawn at most."""
    contrast: float = 0.01
    """Response (1: from black to white) below which nothing is drawn, however plain the image."""
    colour: float = 1.5
    """Weight of color beside lightness; 0: lightness alone, as published."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma <= 0 or not 0 < self.density < 1 or self.contrast <= 0 or self.colour < 0:
            raise BadInput("layers.line: sigma and contrast must be above 0, density between 0 and 1, color 0 or more")

    def annotate(self, image: U8) -> U8:
        return draw(image, sigma=self.sigma, density=self.density, contrast=self.contrast, color=self.colour)


def draw(rgb: U8, *, sigma: float, density: float, contrast: float, color: float) -> U8:
    """Lines of an sRGB image (H, W, 3), uint8 (H, W), dark on white. Parameters: the fields of `XDoG`."""
    ink = _response(rgb, sigma, color)
    epsilon = max(float(np.quantile(ink, 1.0 - density)), contrast)
    # Eq. 5 for u = -ink and phi = 1 / (SOFTNESS epsilon).
    paper = 1.0 + np.tanh(np.minimum((epsilon - ink) / (SOFTNESS * epsilon), 0.0))
    lines = np.where(_without_specks(ink > epsilon), paper, 1.0)
    return np.rint(255.0 * lines).astype(np.uint8)


def _response(rgb: U8, sigma: float, color: float) -> F32:
    """How much darker than around it, or of another color, a pixel is (H, W); 1: as black on white.

    Color has no dark side: its line goes to the side on which lightness has it, so that no line is drawn twice.
    """
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 100
    lab = (lab / max(float(np.quantile(lab[..., 0], WHITE)), DIMMEST)).astype(np.float32)
    lab = cv2.bilateralFilter(lab, 5, TEXTURE, 2.0)
    difference = _blurred(lab, sigma * RATIO) - _blurred(lab, sigma)
    ink = difference[..., 0]
    if color == 0:
        return ink.astype(np.float32, copy=False)
    side = np.sign(_blurred(ink[..., None] * difference[..., 1:], 3 * sigma))
    strongest = np.max(side * difference[..., 1:], axis=2)
    return np.maximum(ink, color * strongest).astype(np.float32, copy=False)


def _blurred(values: NDArray[Any], sigma: float) -> F32:
    blurred = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return blurred.astype(np.float32, copy=False)


def _without_specks(drawn: Mask) -> Mask:
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(drawn.astype(np.uint8), connectivity=8)
    long = statistics[:, cv2.CC_STAT_AREA] >= SPECK
    long[0] = False
    return long[np.asarray(parts, np.intp)]
