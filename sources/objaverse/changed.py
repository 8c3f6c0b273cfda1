"""Which pixels an edit influenced, so that nothing else moves.

Invariant: outside the mask the target is the source, bit for bit; inside it, next to the border, the one runs into
the other. The mask holds the edited object before and after, its shadow, reflections and bounced light: everything
that differs by more than the noise and by more than about one level of 255 once noise is averaged out.

Two renders with one seed follow the same paths, so a pixel whose un-denoised values are equal to the bit saw nothing
of the edit; differences there are the denoiser's alone. Renders with seeds of their own have no such evidence: for
them the threshold rises with the noise that the images show.
"""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from shards.geometry import psnr

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

EQUAL_DB = 99.0
"""The PSNR of images that are equal: a number, for JSON has no infinity."""
VISIBLE = 1.25
"""Levels by which a patch's mean differs where a change begins to be seen."""
FAINT = 0.7
"""Levels down to which the mask follows a change that it holds already: what fades out has no edge."""
SHARP = 5.0
"""Levels for patches of three pixels: glints and thin shadows, which wider patches average away."""
_PATCHES = (9, 25)
"""Sides of the patches, pixels: box filters about as wide as the denoiser's own, and for faint, wide shadows."""


class View(Protocol):
    """What is compared of an image; `sources.objaverse.render.RenderedView` is one."""

    @property
    def rgb(self) -> U8:
        """H x W x 3, as it will be seen."""
        ...

    @property
    def noisy(self) -> F32 | None:
        """H x W x 3 before denoising (equal to the colour where nothing was denoised). None: the seeds differ."""
        ...

    @property
    def instances(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """H x W object ids."""
        ...


@dataclass(frozen=True)
class Changed:
    """The region that an edit influenced, and the target that differs from the source nowhere else."""

    mask: Mask
    """H x W."""
    target_rgb: U8
    """H x W x 3."""
    psnr_unchanged: float
    """dB between source and target as rendered, outside the mask; `EQUAL_DB` where equal or where nothing is left."""
    fraction: float
    """Share of the frame in the mask."""


def all_changed(source: View, target: View) -> Changed:
    """A camera edit: every pixel is another one."""
    _check(source, target)
    mask = np.ones(target.rgb.shape[:2], np.bool_)
    return Changed(mask, target.rgb, EQUAL_DB, 1.0)


def find_changed(source: View, target: View, edited: int) -> Changed:
    """Find what the edit of object `edited` influenced, and put the source's pixels everywhere else.

    Raises ValueError where the images' shapes differ.
    """
    _check(source, target)
    own = (source.instances == edited) | (target.instances == edited)
    difference = cv2.subtract(target.rgb, source.rgb, dtype=cv2.CV_32F)
    sharp = _largest(cv2.blur(difference, (3, 3)))
    mask = _region(difference, sharp, own, _touched(source.noisy, target.noisy))
    return Changed(
        mask=mask,
        target_rgb=_blend(source.rgb, difference, mask, np.maximum(own * np.float32(255), sharp)),
        psnr_unchanged=_psnr_outside(source.rgb, target.rgb, mask),
        fraction=float(mask.mean()),
    )


def _check(source: View, target: View) -> None:
    shapes = {view.rgb.shape for view in (source, target)} | {(*v.instances.shape, 3) for v in (source, target)}
    if len(shapes) != 1:
        raise ValueError(f"source and target differ in size: {sorted(shapes)}")


def _touched(source: F32 | None, target: F32 | None) -> Mask | None:
    """Where a path met the edit, widened by what a denoiser spreads; None where the renders share no paths."""
    if source is None or target is None:
        return None
    return _grow((source != target).any(axis=2), 4)


def _region(difference: F32, sharp: F32, own: Mask, touched: Mask | None) -> Mask:
    """What differs visibly and is no noise, cleaned, with the object, and grown until the change has faded."""
    detail = cv2.blur(_largest(difference - cv2.blur(difference, (3, 3))) ** 2, (15, 15))
    noise = np.sqrt(detail)
    strong = sharp > np.maximum(SHARP, 2.0 * noise)
    visible = np.zeros_like(own)
    faint = np.zeros_like(own)
    for side in _PATCHES:
        mean = _largest(cv2.blur(difference, (side, side)))
        # Single paths that hit something bright make the tails long: four standard errors.
        floor = 4.0 / side * noise
        if touched is None:
            floor = np.maximum(floor, _noise_floor(mean, own))
        visible |= mean > np.maximum(VISIBLE, floor)
        faint |= mean > np.maximum(FAINT, floor)
    if touched is not None:
        visible, strong, faint = visible & touched, strong & touched, faint & touched
    size = float(np.sqrt(own.size))
    visible = _opened(visible, 2)
    region = visible | strong | _grow(own, 2)
    region |= _grow(region, round(max(4.0, size / 64))) & faint
    region = _closed(region, 3)
    _fill_holes(region, own.size // 2000)
    return _grow(region, _ramp(own.shape))


def _noise_floor(mean: F32, own: Mask) -> float:
    """Four standard deviations of patches' means, from their median: most of the image is unchanged."""
    rest = mean[~own]
    return 4.0 * float(np.median(rest)) if rest.size else 0.0


def _ramp(shape: tuple[int, ...]) -> int:
    """Pixels over which source and target run into each other."""
    return round(min(8.0, max(3.0, float(np.sqrt(shape[0] * shape[1])) / 96)))


def _blend(source: U8, difference: F32, mask: Mask, strength: F32) -> U8:
    """The source outside; inside the target, faded in from the border where the change is small enough to hide."""
    inward = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3) / (_ramp(mask.shape) + 1)
    # Up to two levels a fade cannot be seen; an edge of six must stay what it is.
    share = np.maximum(inward, (strength - 2.0) / 4.0).clip(0.0, 1.0)
    share[~mask] = 0.0
    return np.rint(source + difference * share[..., None]).astype(np.uint8)


def _psnr_outside(source: U8, target: U8, mask: Mask) -> float:
    outside = ~mask
    return min(psnr(source, target, outside), EQUAL_DB) if outside.any() else EQUAL_DB


def _largest(values: F32) -> F32:
    """Largest absolute value of the channels: (H, W, 3) to (H, W)."""
    return np.abs(values).max(axis=2)


def _disc(radius: int) -> U8:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.uint8)


def _grow(mask: Mask, radius: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), _disc(radius)) > 0


def _opened(mask: Mask, radius: int) -> Mask:
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(radius)) > 0


def _closed(mask: Mask, radius: int) -> Mask:
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disc(radius)) > 0


def _fill_holes(mask: Mask, area: int) -> None:
    """Fill what is enclosed and has at most `area` pixels, in place."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= area
    small[0] = False
    mask |= small[labels]
