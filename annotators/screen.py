"""Whether a pair's two images are pictures at all: not black, not blown out, not empty, not blurred.

Invariant: needs no facts but what stands in layer `pair`, so it holds for every source. What is accepted carries the
perceptual hashes by which packing finds duplicates.
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
_ENOUGH: Final = 128
"""Pixels of an image's smaller side from which exposure is measured."""
_REBLUR: Final = 1.5
"""Pixels: deviation of the Gaussian that `blur` compares with."""
_EDGE: Final = 1.5
"""Levels a pixel: what an edge has left of its gradient after `_REBLUR`; less is grain or shading."""
_COARSE: Final = 128
"""Pixels: the side at which `structure` is measured."""


@dataclass(frozen=True)
class JunkScreen(Stage):
    """Refuses junk as `too_dark`, `blown_out`, `nothing_visible` or `blurred`; the score is the number that decided.
    What is no image at all is `unreadable_image`.

    Columns: `source_hash`, `target_hash`, `change_hash` (64 hex digits, `annotators.perceptual`), and `screen` (JSON:
    of each image `luma`, `black`, `white`, `structure`, `blur`).

    The thresholds lie between what was measured on good pictures (288 images, rendered and OBJECT-3DIT, 256 x 256)
    and on the same ones spoiled.
    """

    layer: ClassVar[str] = "screen"
    needs: ClassVar[tuple[str, ...]] = ("pair",)
    version: ClassVar[int] = 1

    min_luminance: float = 0.06
    max_luminance: float = 0.92
    """Mean of sRGB luma, 0..1. Good: 0.26 to 0.79."""
    max_clipped: float = 0.35
    """Share of an image's pixels that are black, or white. Good: 0.10 at most."""
    min_structure: float = 4.0
    """See `structure`. Good: 9.3 at least. The plainest eighth of a good picture's side: 0.0 to 2.3 where it is plain
    floor; more where the floor has a pattern, which only instance maps tell from an object."""
    max_blur: float = 0.7
    """See `blur`. Good: 0.14 to 0.47. After Gaussians of 1, 2, 3, 4 pixels: 0.32 to 0.65, 0.59 to 0.83, from 0.76 and
    from 0.85. Grain that was added after the blur hides a part of it."""
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
        """What is wrong with one image, and the number that says so."""
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
    """What the screen judges an image uint8 (H, W, 3) by: `luma`, `black`, `white` (0..1), `structure`, `blur`."""
    step = max(1, min(rgb.shape[:2]) // _ENOUGH)
    luma, black, white = exposure(np.ascontiguousarray(rgb[::step, ::step]))
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
    numbers = {"luma": luma, "black": black, "white": white, "structure": structure(gray), "blur": blur(gray)}
    return {name: round(value, 4) for name, value in numbers.items()}


def structure(gray: U8) -> float:
    """How strong the strongest edges of an image (H, W) are, in levels of 255 a pixel at 128 x 128: percentile 99.

    Gradients after a Gaussian of one pixel, so that neither grain nor the slow shading of a wall counts.
    """
    small = cv2.resize(gray, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return float(np.sqrt(np.percentile(_energy(_smoothed(small, 1.0)), 99)))


def blur(gray: U8) -> float:
    """Share of an image's (H, W) gradient energy that another blur leaves: near 1 where it was blurred already.

    After Crete et al., "The blur effect: perception and estimation with a new no-reference perceptual blur metric"
    (SPIE 6492, 2007): a sharp image loses much of its variation when it is blurred again, a blurred one little, so
    the ratio does not depend on content or contrast as the variance of a Laplacian does. In place of absolute
    differences: squared gradients, at edges alone, so that smooth backgrounds have no vote and a single sharp object
    decides. 1 where there is no edge.
    """
    pixels = gray.astype(np.float32)
    before, after = _energy(pixels), _energy(_smoothed(pixels, _REBLUR))
    edges = (after > _EDGE**2).astype(np.float32)
    total = float(np.vdot(before, edges))
    return float(np.vdot(after, edges)) / total if total else 1.0


def _smoothed(pixels: F32, sigma: float) -> F32:
    return cv2.GaussianBlur(pixels, (0, 0), sigma).astype(np.float32, copy=False)


def _energy(pixels: F32) -> F32:
    """Squared gradient (H, W) in squared levels a pixel."""
    across, down = (cv2.Sobel(pixels, cv2.CV_32F, x, 1 - x, scale=1 / 8) for x in (1, 0))
    # In place: new arrays of a megabyte cost more than the sums.
    np.square(across, out=across)
    np.square(down, out=down)
    return np.add(across, down, out=across).astype(np.float32, copy=False)


def _no_object(pair: Columns) -> bool:
    """Whether the instance maps are known and neither shows an object."""
    maps = [data for view in VIEWS if (data := _bytes(pair, f"{view}_instances"))]
    return len(maps) == len(VIEWS) and not any(decode_labels(data).any() for data in maps)


def _reject(reason: str, score: float, measured: Mapping[str, Mapping[str, float]]) -> Reject:
    scores = {f"{view}_{name}": value for view, numbers in measured.items() for name, value in numbers.items()}
    return Reject(reason, score, scores=scores)


def _bytes(pair: Columns, name: str) -> bytes:
    value = pair.get(name, b"")
    return value if isinstance(value, bytes) else b""
