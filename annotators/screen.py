"""Rejects pairs with junk images: black, blown out, empty or blurred.

Invariant: reads only layer `pair`, so it works for every source. Accepted pairs get the perceptual hashes by which
packing finds duplicates.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import cv2
import numpy as np

from ..shards.codecs import F32, U8, CodecError, decode_image, decode_labels
from ..shards.sample import Columns, Reject, Result, Row, Sample
from ..shards.stage import Stage
from .measure import exposure
from .perceptual import change_hash, image_hash, thumbnail

VIEWS: Final = ("source", "target")
_EXPOSURE_SIDE: Final = 128
"""Exposure is measured on an image reduced to about this many pixels on its smaller side."""
_REBLUR: Final = 1.5
"""Standard deviation in pixels of the Gaussian that `blur` applies."""
_MIN_EDGE: Final = 1.5
"""Gradient, in levels per pixel, that an edge has after `_REBLUR`; less is grain or shading."""
_STRUCTURE_SIDE: Final = 128
"""Side length in pixels at which `structure` is measured."""


@dataclass(frozen=True)
class JunkScreen(Stage):
    """Rejects junk as `too_dark`, `blown_out`, `nothing_visible` or `blurred`; the score is the measured value that
    failed. Images that cannot be decoded are `unreadable_image`.

    Columns: `source_hash`, `target_hash`, `change_hash` (64 hex digits, `annotators.perceptual`), and `screen` (JSON:
    `luma`, `black`, `white`, `structure`, `blur` of each image).

    The thresholds lie between the values measured on good images (288, rendered and OBJECT-3DIT, 256 x 256) and those
    on degraded copies of them.
    """

    layer: ClassVar[str] = "screen"
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1

    min_luminance: float = 0.06
    max_luminance: float = 0.92
    """Mean sRGB luma, 0..1. Good images: 0.26 to 0.79."""
    max_clipped: float = 0.35
    """Share of black, or of white, pixels of an image. Good images: 0.10 at most."""
    min_structure: float = 4.0
    """See `structure`. Good images: 9.3 at least. Crops of a plain floor (an eighth of the side): 0.0 to 2.3. A
    patterned floor has more; only instance maps distinguish it from an object."""
    max_blur: float = 0.7
    """See `blur`. Good images: 0.14 to 0.47. After Gaussians of 1, 2, 3 and 4 pixels: 0.32 to 0.65, 0.59 to 0.83, at
    least 0.76, at least 0.85. Grain that is added after the blur lowers the value."""
    batch_size: int = field(default=16, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        return {"pair": ("source", "target", "source_instances", "target_instances")}

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [self._screen(sample["pair"]) for sample in samples]

    def _screen(self, pair: Columns) -> Result:
        try:
            images = {view: decode_image(_bytes(pair, view)) for view in VIEWS}
        except CodecError as error:
            return Reject("unreadable_image", detail=str(error))
        measured = {view: measure(rgb) for view, rgb in images.items()}
        for numbers in measured.values():
            for reason, score in self._faults(numbers):
                return _reject(reason, score, measured)
        if _no_object(pair):
            return _reject("nothing_visible", 0.0, measured)
        source, target = (thumbnail(rgb) for rgb in images.values())
        return Row(
            {
                "source_hash": image_hash(source),
                "target_hash": image_hash(target),
                "change_hash": change_hash(source, target),
                "screen": json.dumps(measured),
            }
        )

    def _faults(self, numbers: Mapping[str, float]) -> Iterator[tuple[str, float]]:
        """The faults of one image, each with the measured value."""
        luma, black, white = numbers["luma"], numbers["black"], numbers["white"]
        if luma < self.min_luminance or black > self.max_clipped:
            yield "too_dark", luma if luma < self.min_luminance else black
        if luma > self.max_luminance or white > self.max_clipped:
            yield "blown_out", luma if luma > self.max_luminance else white
        if numbers["structure"] < self.min_structure:
            yield "nothing_visible", numbers["structure"]
        if numbers["blur"] > self.max_blur:
            yield "blurred", numbers["blur"]


def measure(rgb: U8) -> dict[str, float]:
    """Measure an image uint8 (H, W, 3): `luma`, `black`, `white` (0..1), `structure`, `blur`."""
    step = max(1, min(rgb.shape[:2]) // _EXPOSURE_SIDE)
    luma, black, white = exposure(np.ascontiguousarray(rgb[::step, ::step]))
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
    numbers = {"luma": luma, "black": black, "white": white, "structure": structure(gray), "blur": blur(gray)}
    return {name: round(value, 4) for name, value in numbers.items()}


def structure(gray: U8) -> float:
    """Strength of the strongest edges of an image (H, W): the 99th percentile of its gradient at 128 x 128 pixels, in
    levels (of 255) per pixel.

    A Gaussian of one pixel is applied first, so grain does not count; nor does the slow shading of a wall.
    """
    small = cv2.resize(gray, (_STRUCTURE_SIDE, _STRUCTURE_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return float(np.sqrt(np.percentile(_energy(_smoothed(small, 1.0)), 99)))


def blur(gray: U8) -> float:
    """Share of an image's (H, W) gradient energy that is left after blurring it again: near 1 if it is already blurred.

    Follows Crete et al., "The blur effect: perception and estimation with a new no-reference perceptual blur metric"
    (SPIE 6492, 2007): a sharp image loses much of its variation when it is blurred again, a blurred one loses
    little. Unlike the variance of a Laplacian, the ratio does not depend on content or contrast. Instead of absolute
    differences it uses squared gradients, only at edges: smooth backgrounds do not count, and a single sharp object
    decides. 1 if there is no edge.
    """
    pixels = gray.astype(np.float32)
    before, after = _energy(pixels), _energy(_smoothed(pixels, _REBLUR))
    edges = (after > _MIN_EDGE**2).astype(np.float32)
    total = float(np.vdot(before, edges))
    return float(np.vdot(after, edges)) / total if total else 1.0


def _smoothed(pixels: F32, sigma: float) -> F32:
    return cv2.GaussianBlur(pixels, (0, 0), sigma).astype(np.float32, copy=False)


def _energy(pixels: F32) -> F32:
    """Squared gradient (H, W), in squared levels per pixel."""
    across, down = (cv2.Sobel(pixels, cv2.CV_32F, x, 1 - x, scale=1 / 8) for x in (1, 0))
    # In place: allocating arrays of a megabyte takes longer than the sums.
    np.square(across, out=across)
    np.square(down, out=down)
    return np.add(across, down, out=across).astype(np.float32, copy=False)


def _no_object(pair: Columns) -> bool:
    """Whether both instance maps are known and neither has an object."""
    maps = [data for view in VIEWS if (data := _bytes(pair, f"{view}_instances"))]
    return len(maps) == len(VIEWS) and not any(decode_labels(data).any() for data in maps)


def _reject(reason: str, score: float, measured: Mapping[str, Mapping[str, float]]) -> Reject:
    scores = {f"{view}_{name}": value for view, numbers in measured.items() for name, value in numbers.items()}
    return Reject(reason, score, scores=scores)


def _bytes(pair: Columns, name: str) -> bytes:
    value = pair.get(name, b"")
    return value if isinstance(value, bytes) else b""
