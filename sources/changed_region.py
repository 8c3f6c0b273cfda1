"""Finds the pixels that an edit influenced, so that nothing else changes.

Invariant: outside the mask the target equals the source, bit for bit. Inside, the two are blended near the border. The
mask contains the edited object before and after the edit, its shadow, reflections and bounced light: everything that
differs by more than the noise and, after averaging out the noise, by more than about three levels of 255. Smaller
differences are invisible, and are replaced with the source.

Two renders with the same seed follow the same paths. If the values of a pixel before denoising are equal bit for bit,
the edit did not influence it, and any difference comes from the denoiser. Renders with different seeds do not have this
property: their threshold rises with the noise of the images.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..shards.geometry import EQUAL_DB, psnr

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

VISIBLE = 3.0
"""Difference of a patch's mean from which a change is visible, levels."""
FAINT = 2.0
"""Difference down to which the mask is extended around a visible change, levels, because shadows fade out gradually."""
_PATCH = 9
"""Side of a patch, pixels: about as large as the blotches that a denoiser leaves. Patches of a twentieth of the
frame find wide, faint shadows."""
_DETAILS = ((3, 6.0), (5, 4.0))
"""Smaller patches and their levels, for glints and thin shadows, which larger patches average out."""


class View(Protocol):
    """The parts of an image that are compared, such as `sources.blender.render.RenderedView`."""

    @property
    def rgb(self) -> U8:
        """H x W x 3, the final image."""
        ...

    @property
    def noisy(self) -> F32 | None:
        """H x W x 3 before denoising (the same values if nothing was denoised). None if the seeds differ."""
        ...

    @property
    def instances(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """H x W object ids."""
        ...


@dataclass(frozen=True)
class Changed:
    """The region that an edit influenced, and the target, which equals the source everywhere else."""

    mask: Mask
    """H x W."""
    target_rgb: U8
    """H x W x 3."""
    psnr_unchanged: float
    """dB between source and target as rendered, outside the mask; at most `shards.geometry.EQUAL_DB`."""
    fraction: float
    """Fraction of the frame in the mask."""


def all_changed(source: View, target: View) -> Changed:
    """The result for a camera edit: every pixel changes."""
    _check(source, target)
    mask = np.ones(target.rgb.shape[:2], np.bool_)
    return Changed(mask, target.rgb, EQUAL_DB, 1.0)


def find_changed(source: View, target: View, edited: Collection[int]) -> Changed:
    """Find the region that the edit of the objects `edited` influenced, and copy the source's pixels everywhere else.

    Raises ValueError if the shapes of the images differ.
    """
    _check(source, target)
    own = _mask_of(source, edited) | _mask_of(target, edited)
    difference = _f32(cv2.subtract(target.rgb, source.rgb, dtype=cv2.CV_32F))
    channels = [_f32(channel) for channel in cv2.split(difference)]
    mask = _region(channels, own, _touched(source.noisy, target.noisy))
    strength = _largest([_mean(channel, 3) for channel in channels])
    strength[own] = 255.0
    return Changed(
        mask=mask,
        target_rgb=_blend(source.rgb, difference, mask, strength),
        psnr_unchanged=psnr(source.rgb, target.rgb, ~mask),
        fraction=float(mask.mean()),
    )


def changed_between(first: View, second: View, edited: Collection[int], changed: Mask) -> Mask:
    """The region in which the targets of two edits of one source differ, found like in `find_changed`.

    Contains every pixel that differs.

    Args:
        first, second: the stored targets, equal to the source outside the region that their own edit changed.
        changed: H x W, the region that at least one of the two edits changed.

    Raises ValueError if the shapes of the images differ, or pixels differ outside `changed`.
    """
    _check(first, second)
    differ = first.rgb != second.rgb
    unequal = differ[..., 0] | differ[..., 1] | differ[..., 2]
    if (unequal & ~changed).any():
        raise ValueError("two targets of one source differ outside the region that their edits changed")
    own = _mask_of(first, edited) | _mask_of(second, edited)
    difference = _f32(cv2.subtract(second.rgb, first.rgb, dtype=cv2.CV_32F))
    channels = [_f32(channel) for channel in cv2.split(difference)]
    # Both images are final, so pixels that differ only by noise cannot be made equal. They belong to the region.
    region = _region(channels, own, _touched(first.noisy, second.noisy)) | _grow(unequal, 2)
    region = _morph(region, cv2.MORPH_CLOSE, 3)
    _fill_holes(region, own.size // 2000)
    return region & changed


def _mask_of(view: View, edited: Collection[int]) -> Mask:
    """The visible pixels of the objects, (H, W)."""
    return np.isin(view.instances, list(edited))


def _check(source: View, target: View) -> None:
    shapes = {view.rgb.shape for view in (source, target)} | {(*v.instances.shape, 3) for v in (source, target)}
    if len(shapes) != 1:
        raise ValueError(f"source and target differ in size: {sorted(shapes)}")


def _touched(source: F32 | None, target: F32 | None) -> Mask | None:
    """Pixels whose paths hit the edit, dilated by the denoiser's radius; None if the renders do not share paths."""
    if source is None or target is None:
        return None
    differ = source != target
    return _grow(differ[..., 0] | differ[..., 1] | differ[..., 2], 4)


def _region(difference: Sequence[F32], own: Mask, touched: Mask | None) -> Mask:
    """The visible difference that is not noise, cleaned, together with the object, and grown until the change fades."""
    size = own.size**0.5
    # Local root mean square of the deviations of pixels from the mean of 3 x 3 pixels.
    noise = np.sqrt(_mean(_largest([channel - _mean(channel, 3) for channel in difference]) ** 2, 15))

    def patches(side: int) -> tuple[F32, F32]:
        """Mean difference of patches, and the difference that noise explains."""
        mean = _largest([_mean(channel, side) for channel in difference])
        # Single paths that hit something bright cause long tails, so at least four standard errors.
        floor = (4.0 if side > 5 else 6.0) / side * noise
        return mean, _f32(floor if touched is not None else np.maximum(floor, _noise_floor(mean, own)))

    strong, visible, faint = (np.zeros_like(own) for _ in range(3))
    for side, levels in _DETAILS:
        mean, floor = patches(side)
        strong |= mean > np.maximum(levels, floor)
    for side in (_PATCH, max(_PATCH, int(size / 40) * 2 + 1)):
        mean, floor = patches(side)
        visible |= mean > np.maximum(VISIBLE, floor)
        faint |= mean > np.maximum(FAINT, floor)
    if touched is not None:
        visible, strong, faint = visible & touched, strong & touched, faint & touched
    region = _morph(visible, cv2.MORPH_OPEN, 2) | strong | _grow(own, 2)
    region |= _grow(region, round(max(4.0, size / 64))) & faint
    region = _morph(region, cv2.MORPH_CLOSE, 3)
    _fill_holes(region, own.size // 2000)
    return _grow(region, (_ramp(own.size) + 1) // 2)


def _noise_floor(mean: F32, own: Mask) -> float:
    """Four standard deviations of the differences between patches that contain only noise.

    Estimated from the first quartile: a quarter of a half-normal distribution is below 0.319 standard deviations. The
    median would need an image that is mostly unchanged, which a shadow on a wall already prevents.
    """
    rest = mean[~own]
    return 4.0 / 0.319 * float(np.quantile(rest, 0.25)) if rest.size else 0.0


def _ramp(pixels: int) -> int:
    """Width of the blend between source and target, pixels, in an image with this number of pixels."""
    return round(min(8.0, max(3.0, pixels**0.5 / 96)))


def _blend(source: U8, difference: F32, mask: Mask, strength: F32) -> U8:
    """The source outside the mask, the target inside, blended near the border where the change is small enough."""
    inward = _f32(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)) / (_ramp(mask.size) + 1)
    # A blend of up to three levels is invisible; an edge of six levels must be preserved.
    share = np.maximum(inward, (strength - 3.0) / 3.0).clip(0.0, 1.0)
    share[~mask] = 0.0
    return np.rint(source + difference * share[..., None]).astype(np.uint8)


def _f32(values: object) -> F32:
    """Convert results of OpenCV, whose stubs do not state the dtype."""
    return np.asarray(values, np.float32)


def _mean(values: F32, side: int) -> F32:
    """Mean of the square patch around each pixel."""
    return _f32(cv2.blur(values, (side, side)))


def _largest(channels: Sequence[F32]) -> F32:
    """Largest absolute value of three channels, H x W each."""
    red, green, blue = (np.abs(channel) for channel in channels)
    return np.maximum(np.maximum(red, green), blue)


def _morph(mask: Mask, operation: int, radius: int) -> Mask:
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), operation, disk), np.bool_)


def _grow(mask: Mask, radius: int) -> Mask:
    return _morph(mask, cv2.MORPH_DILATE, radius)


def _fill_holes(mask: Mask, area: int) -> None:
    """Fill enclosed holes of at most `area` pixels, in place."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = np.asarray(stats)[:, cv2.CC_STAT_AREA] <= area
    small[0] = False
    mask |= small[np.asarray(labels, np.intp)]
