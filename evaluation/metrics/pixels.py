"""PSNR, SSIM and MS-SSIM: whole, where the edit changes the image, in the object's mask; and preservation elsewhere.

Invariant: images of one size; regions without pixels give no number.

SSIM (Wang et al. 2004, IEEE TIP 13(4), eq. 13): Gaussian window of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03,
L = 255, of luma (BT.601). MS-SSIM (Wang et al. 2003, Asilomar, eq. 7): up to five scales, each half of the one before
by 2 x 2 means, with the exponents of section 3.2. A region's value is the mean over the window centers inside it; at
coarser scales pixels count by the share that the region covers. The paper has whole images only: regions are our
extension. An image whose side falls below 11 pixels has fewer scales, and the exponents are scaled to sum to one.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import cv2
import numpy as np

from ...shards.codecs import F32, U8, Mask
from ...shards.geometry import EQUAL_DB
from ..truth import Truth

WINDOW: Final = 11
SIGMA: Final = 1.5
_C1: Final = (0.01 * 255) ** 2
_C2: Final = (0.03 * 255) ** 2
_EXPONENTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_MIN_REGION: Final = 16
"""Pixels of the smallest region that is judged."""


def pixel_values(truth: Truth, prediction: U8) -> dict[str, float]:
    """Metrics of the prediction's pixels (H, W, 3). Regions that are too small have no entry.

    What the edit does not change is equal in source and target, so preservation is read from the comparison with the
    target. A window that reaches into the changed region sees the target there: an exact edit loses nothing.
    """
    regions = {
        "": np.ones_like(truth.changed),
        "changed": truth.changed,
        "object": truth.objects_mask,
        "preserved": ~truth.changed,
    }
    regions = {name: mask for name, mask in regions.items() if np.count_nonzero(mask) >= _MIN_REGION}
    squares = _squared_errors(prediction, truth.target)
    found = similarities(_luma(prediction), _luma(truth.target), regions)
    values: dict[str, float] = {}
    for name, mask in regions.items():
        single, multi = found[name]
        db = _decibels(float((squares[mask] if name else squares).mean(dtype=np.float64)))
        if name == "preserved":
            values |= {"preserved_psnr": db, "preserved_ssim": single}
        else:
            end = f"_{name}" if name else ""
            values |= {f"psnr{end}": db, f"ssim{end}": single, f"ms_ssim{end}": multi}
    return values


def _squared_errors(a: U8, b: U8) -> F32:
    """Squared differences (H, W), as means over the channels."""
    difference = cv2.absdiff(a, b).astype(np.float32)
    return np.asarray(cv2.transform(difference * difference, np.full((1, 3), 1 / 3, np.float32)), np.float32)


def _decibels(error: float) -> float:
    """PSNR as `shards.geometry.psnr` defines it, of a mean squared error."""
    return min(float(10 * np.log10(255.0**2 / error)), EQUAL_DB) if error > 0 else EQUAL_DB


def similarities(a: F32, b: F32, regions: Mapping[str, Mask]) -> dict[str, tuple[float, float]]:
    """SSIM and MS-SSIM of two lumas (H, W), 0 to 255, over each region (H, W); both from 0 to 1.

    Negative means, of images that are each other's opposite, count as 0. The region of all pixels leaves out the outer
    five, whose window reaches beyond the image, as the authors' code does.
    """
    scales = list(_scales(a, b))
    exponents = np.array(_EXPONENTS[: len(scales)]) / sum(_EXPONENTS[: len(scales)])
    found: dict[str, tuple[float, float]] = {}
    for name, mask in regions.items():
        weights = mask.astype(np.float32)
        single, multi = _mean(scales[0][0], _inner(weights)), 1.0
        for level, (similarity, contrast) in enumerate(scales):
            if level:
                weights = _halved(weights)
            # Eq. 7: luminance counts at the last scale only.
            factor = _mean(similarity if level == len(scales) - 1 else contrast, _inner(weights))
            multi *= factor ** float(exponents[level])
        found[name] = (single, multi)
    return found


def _scales(a: F32, b: F32) -> Iterator[tuple[F32, F32]]:
    for level in range(len(_EXPONENTS)):
        if level:
            if min(a.shape) < 2 * WINDOW:
                return
            a, b = _halved(a), _halved(b)
        yield _ssim_maps(a, b)


def _ssim_maps(a: F32, b: F32) -> tuple[F32, F32]:
    """SSIM at each window center (H, W), and its factor of contrast and structure."""
    mean_a, mean_b = _blur(a), _blur(b)
    product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    # One blur for the sum of both variances: SSIM never needs them apart.
    spread = _blur(np.asarray(a * a + b * b, np.float32)) - squares
    contrast = np.asarray((2 * (_blur(np.asarray(a * b, np.float32)) - product) + _C2) / (spread + _C2), np.float32)
    return np.asarray(contrast * (2 * product + _C1) / (squares + _C1), np.float32), contrast


def _blur(image: F32) -> F32:
    return np.asarray(cv2.GaussianBlur(image, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REFLECT), np.float32)


def _inner(weights: F32) -> F32:
    """Without the outer five pixels, unless nothing else is left of the region."""
    edge = WINDOW // 2
    inner = np.zeros_like(weights)
    inner[edge:-edge, edge:-edge] = weights[edge:-edge, edge:-edge]
    return inner if inner.any() else weights


def _mean(values: F32, weights: F32) -> float:
    """Weighted mean, at least 0."""
    return max(float(np.vdot(values, weights)) / max(float(cv2.sumElems(weights)[0]), 1e-6), 0.0)


def _halved(image: F32) -> F32:
    """Means of 2 x 2 pixels; an odd last row or column is dropped."""
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    half = cv2.resize(image[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(half, np.float32)


def _luma(image: U8) -> F32:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
