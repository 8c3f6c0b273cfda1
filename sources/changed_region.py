"""Which pixels an edit influenced, so that nothing else moves.

Invariant: outside the mask the target is the source, bit for bit; inside it, next to the border, the one runs into
the other. The mask holds the edited object before and after, its shadow, reflections and bounced light: everything
that differs by more than the noise and by more than about three levels of 255 once noise is averaged out. What fades
out below that nobody sees; it is left as it was.

Two renders with one seed follow the same paths, so a pixel whose un-denoised values are equal to the bit saw nothing
of the edit; differences there are the denoiser's alone. Renders with seeds of their own have no such evidence: for
them the threshold rises with the noise that the images show.
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
"""Levels by which a patch's mean differs where a change begins to be seen."""
FAINT = 2.0
"""Levels down to which the mask follows a change that it holds already: what fades out has no edge."""
_PATCH = 9
"""The patch's side, pixels: about as wide as what a denoiser leaves. Wide, faint shadows: a twentieth of the frame."""
_DETAILS = ((3, 6.0), (5, 4.0))
"""Smaller patches, and levels for them: glints and thin shadows, which wider ones average away."""


class View(Protocol):
    """What is compared of an image; `sources.blender.render.RenderedView` is one."""

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
    """dB between source and target as rendered, outside the mask; at most `shards.geometry.EQUAL_DB`."""
    fraction: float
    """Share of the frame in the mask."""


def all_changed(source: View, target: View) -> Changed:
    """A camera edit: every pixel is another one."""
    _check(source, target)
    mask = np.ones(target.rgb.shape[:2], np.bool_)
    return Changed(mask, target.rgb, EQUAL_DB, 1.0)


def find_changed(source: View, target: View, edited: Collection[int]) -> Changed:
    """Find what the edit of the objects `edited` influenced, and put the source's pixels everywhere else.

    Raises ValueError where the images' shapes differ.
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
    """What differs between the targets of two edits of one source, as `find_changed` finds it; and no pixel else does.

    Args:
        first, second: as they are kept: outside what their own edit changed they are the source.
        changed: H x W, what at least one of the two edits changed.

    Raises ValueError where the images' shapes differ, or pixels differ where neither edit changed any.
    """
    _check(first, second)
    differ = first.rgb != second.rgb
    unequal = differ[..., 0] | differ[..., 1] | differ[..., 2]
    if (unequal & ~changed).any():
        raise ValueError("two targets of one source differ where neither edit changed it")
    own = _mask_of(first, edited) | _mask_of(second, edited)
    difference = _f32(cv2.subtract(second.rgb, first.rgb, dtype=cv2.CV_32F))
    channels = [_f32(channel) for channel in cv2.split(difference)]
    # Both images are fixed, so what only noise tells apart cannot be made equal: it belongs to the region.
    region = _region(channels, own, _touched(first.noisy, second.noisy)) | _grow(unequal, 2)
    region = _morph(region, cv2.MORPH_CLOSE, 3)
    _fill_holes(region, own.size // 2000)
    return region & changed


def _mask_of(view: View, edited: Collection[int]) -> Mask:
    """Where the objects are seen, (H, W)."""
    return np.isin(view.instances, list(edited))


def _check(source: View, target: View) -> None:
    shapes = {view.rgb.shape for view in (source, target)} | {(*v.instances.shape, 3) for v in (source, target)}
    if len(shapes) != 1:
        raise ValueError(f"source and target differ in size: {sorted(shapes)}")


def _touched(source: F32 | None, target: F32 | None) -> Mask | None:
    """Where a path met the edit, widened by what a denoiser spreads; None where the renders share no paths."""
    if source is None or target is None:
        return None
    differ = source != target
    return _grow(differ[..., 0] | differ[..., 1] | differ[..., 2], 4)


def _region(difference: Sequence[F32], own: Mask, touched: Mask | None) -> Mask:
    """What differs visibly and is no noise, cleaned, with the object, and grown until the change has faded."""
    size = own.size**0.5
    # How single pixels scatter around their neighbours, near each pixel.
    noise = np.sqrt(_mean(_largest([channel - _mean(channel, 3) for channel in difference]) ** 2, 15))

    def patches(side: int) -> tuple[F32, F32]:
        """Their mean difference, and what noise explains of it."""
        mean = _largest([_mean(channel, side) for channel in difference])
        # Single paths that hit something bright make the tails long: four standard errors and more.
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
    """Four standard deviations of what patches of noise alone differ by, from the quietest quarter of the image.

    A quarter of a half-normal distribution lies below 0.319 standard deviations. The median would serve where most of
    the image is unchanged, which a shadow on a wall is enough to spoil.
    """
    rest = mean[~own]
    return 4.0 / 0.319 * float(np.quantile(rest, 0.25)) if rest.size else 0.0


def _ramp(pixels: int) -> int:
    """Pixels over which source and target run into each other in an image of so many pixels."""
    return round(min(8.0, max(3.0, pixels**0.5 / 96)))


def _blend(source: U8, difference: F32, mask: Mask, strength: F32) -> U8:
    """The source outside; inside the target, faded in from the border where the change is small enough to hide."""
    inward = _f32(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)) / (_ramp(mask.size) + 1)
    # Up to three levels a fade cannot be seen; an edge of six must stay what it is.
    share = np.maximum(inward, (strength - 3.0) / 3.0).clip(0.0, 1.0)
    share[~mask] = 0.0
    return np.rint(source + difference * share[..., None]).astype(np.uint8)


def _f32(values: object) -> F32:
    """OpenCV's results, whose type its stubs leave open."""
    return np.asarray(values, np.float32)


def _mean(values: F32, side: int) -> F32:
    """Mean of the square patch around each pixel."""
    return _f32(cv2.blur(values, (side, side)))


def _largest(channels: Sequence[F32]) -> F32:
    """Largest absolute value of three channels, H x W each."""
    red, green, blue = (np.abs(channel) for channel in channels)
    return np.maximum(np.maximum(red, green), blue)


def _morph(mask: Mask, operation: int, radius: int) -> Mask:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), operation, disc), np.bool_)


def _grow(mask: Mask, radius: int) -> Mask:
    return _morph(mask, cv2.MORPH_DILATE, radius)


def _fill_holes(mask: Mask, area: int) -> None:
    """Fill what is enclosed and has at most `area` pixels, in place."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = np.asarray(stats)[:, cv2.CC_STAT_AREA] <= area
    small[0] = False
    mask |= small[np.asarray(labels, np.intp)]
