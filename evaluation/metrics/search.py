"""Finds an object in a prediction by its exact pixels: no network, no weights.

The object's pixels are known in the source and in the target, and so is the plate, the scene without it. For a place
and a size, the *gain* is how much better the prediction is explained with the object there than without it:

    gain = sum over the object's mask of |P - B|^2 - |P - T|^2

of prediction P, plate B and object T (colors from 0 to 255): the logarithm of the ratio of two Gaussian likelihoods, up
to a factor. Unlike a correlation it does not prefer small sizes, does not find the twin that the scene holds anyway,
and works for objects of one color. Two correlations give it for all places. The *confidence* is the share of the
object's contrast against the plate that is there:

    confidence = sum of max(0, |T - B|^2 - |P - T|^2) / sum of |T - B|^2

1 for the exact object, 0 for the plate and for anything further from the object than the plate is.

The search is coarse (the object is 12 pixels wide), then fine (40 pixels), around the best places and around the places
in source and target. Where an editor painted another background, the plate would explain nothing anywhere: then a
blurred copy of the prediction takes its place.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Final, Literal

import cv2
import numpy as np

from ...shards.codecs import F32, U8, Mask
from ...shards.geometry import box_iou, box_of_mask
from ..plate import shrunk
from ..truth import Truth
from .colors import fit_colors, own_plate

COARSE_PX, FINE_PX = 12.0, 40.0
"""Root of the object's area, in pixels, at the two levels."""
_MIN_SIDE: Final = 48
"""Shorter side of the coarse image, in pixels, at least."""
SCALES: Final = (0.62, 0.7, 0.79, 0.89, 1.0, 1.125, 1.27, 1.42, 1.6)
"""Sizes that are tried with the object as the target shows it."""
FEW_SCALES: Final = (0.79, 0.89, 1.0, 1.125, 1.27)
"""The same as the source shows it."""
CANDIDATES: Final = 3
"""Places that are refined, besides those in source and target."""
FOUND: Final = 0.35
"""Least confidence of a place that counts as found: between what the test bed measures where the object is not, and
where it is but blurred or recolored (docs/evaluation.md)."""
_DETAIL: Final = 1.5
"""Resolution of templates over that of the fine level: they are enlarged, too."""
_SUM: Final = np.ones((1, 3), np.float32)
_APART: Final = 0.2
"""IoU of two boxes below which they are two places to refine. Of copies: common area over that of the smaller box."""
_SECOND_CONFIDENCE, _SECOND_GAIN = 0.8, 0.08
"""Of a further copy, over those of the best place, at least. The gain grows with the object's area: a copy may be far
away and small."""

View = Literal["source", "target"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Place:
    """Where an object may be in a prediction. `x`, `y`: center of its box, pixels; `scale`: its size over that in the
    view whose pixels were found."""

    view: View
    x: float
    y: float
    scale: float
    gain: float
    confidence: float
    box: Box


@dataclass(frozen=True)
class Search:
    """What a search found. `places` are apart from one another, best first, and each has at least `FOUND`: several if
    there are copies."""

    object: int
    places: tuple[Place, ...]
    best_confidence: float
    """Also of a place that does not count as found; 0 if there is none."""

    @property
    def duplicated(self) -> bool:
        return len(self.places) > 1


def find(truth: Truth, prediction: U8, id: int) -> Search:
    """Find an edited object in a prediction (H, W, 3) of the target's size."""
    masks = truth.masks(id)
    side = float(np.sqrt(max(np.count_nonzero(mask) for mask in masks)))
    if not side:
        return Search(id, (), 0.0)
    coarse_factor = min(1.0, max(COARSE_PX / side, _MIN_SIDE / min(prediction.shape[:2])))
    fine_factor = max(min(1.0, FINE_PX / side), coarse_factor)
    templates = list(_templates(truth, masks, fine_factor))
    margin = max(max(template.size) for template in templates) / 3
    fine = _fine_level(truth, prediction, side, fine_factor, margin)
    coarse = fine.smaller(coarse_factor / fine_factor)
    starts = [_at_home(template) for template in templates]
    starts += islice(_apart(_coarse_places(coarse, templates)), CANDIDATES)
    reach = 1.5 * fine_factor / coarse_factor + 1
    refined = [_refine(fine, place, templates, reach) for place in starts]
    refined.sort(key=lambda place: -place.gain)
    best = max((place.confidence for place in refined), default=0.0)
    kept = list(_apart((place for place in refined if place.confidence >= FOUND and place.gain > 0), _common))
    return Search(id, tuple(place for place in kept if _is_copy(place, kept[0])), best)


def _fine_level(truth: Truth, prediction: U8, side: float, factor: float, margin: float) -> "Level":
    """Prediction and plate at the fine resolution. `side`, `margin`: in pixels of the prediction."""
    width, height = truth.size
    size = max(1, round(width * factor)), max(1, round(height * factor))
    fit, repainted = fit_colors(truth, prediction)
    image = fit.apply(shrunk(prediction, size))
    plate = own_plate(image, side * factor) if repainted else truth.plate.resized(size)
    return Level.make(image, plate, size[0] / width, size[1] / height, margin * factor)


def _is_copy(place: Place, best: Place) -> bool:
    return place.confidence >= _SECOND_CONFIDENCE * best.confidence and place.gain >= _SECOND_GAIN * best.gain


@dataclass(frozen=True)
class Template:
    """An object's pixels in one view, cut to its box, at about the resolution of the fine level.

    `colors` float32 (h, w, 3), 0 to 255, times the soft `mask` float32 (h, w).
    """

    view: View
    colors: F32
    mask: F32
    box: tuple[int, int, int, int]
    scales: tuple[float, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in the view, pixels."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]

    def resized(self, fx: float, fy: float) -> "Cut":
        """At another size, relative to the view."""
        size = max(2, round(self.size[0] * fx)), max(2, round(self.size[1] * fy))
        how = cv2.INTER_AREA if size[0] < self.mask.shape[1] else cv2.INTER_LINEAR
        colors, mask = (_resize(each, size, how) for each in (self.colors, self.mask))
        return Cut(colors, mask)


@dataclass(frozen=True)
class Cut:
    """A template at the size of a level. `colors` (h, w, 3): the object's, times the soft `mask` (h, w)."""

    colors: F32
    mask: F32

    @cached_property
    def energy(self) -> float:
        """Sum of |T|^2 over the mask."""
        return float((self.colors**2 / np.maximum(self.mask, 1e-3)[..., None]).sum())


def _templates(truth: Truth, masks: tuple[Mask, Mask], factor: float) -> Iterator[Template]:
    """The object in each view that shows it. `factor`: of the fine level."""
    views: tuple[tuple[View, U8, Mask, tuple[float, ...]], ...] = (
        ("target", truth.target, masks[1], SCALES),
        ("source", truth.source, masks[0], FEW_SCALES),
    )
    shown = [view for view in views if view[2].any()]
    for view, image, mask, scales in shown:
        x0, y0, x1, y1 = box_of_mask(mask)
        own = mask[y0:y1, x0:x1].astype(np.float32)
        colors = image[y0:y1, x0:x1] * own[..., None]
        detail = min(1.0, _DETAIL * factor)
        size = max(2, round((x1 - x0) * detail)), max(2, round((y1 - y0) * detail))
        colors, own = (_resize(each, size) for each in (colors, own))
        # The only view that shows the object is searched at all sizes.
        yield Template(view, colors, own, (x0, y0, x1, y1), SCALES if len(shown) == 1 else scales)


@dataclass(frozen=True)
class Level:
    """Prediction and plate at one resolution, float32 (h, w, 3), with a margin on each side for places at the frame's
    edge, in which both are equal."""

    image: F32
    plate: F32
    against: F32
    """|P - B|^2 - |P|^2 (h, w)."""
    fx: float
    fy: float
    margin: int

    @classmethod
    def make(cls, image: F32, plate: F32, fx: float, fy: float, margin: float) -> "Level":
        """Of images (h, w, 3) without a margin. `fx`, `fy`: their size over that of the prediction; `margin`: pixels of
        this level."""
        pad = max(2, round(margin))
        p = np.asarray(cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE), np.float32)
        # In the margin the plate equals the prediction, so that an object beyond the frame explains nothing.
        b = p.copy()
        b[pad:-pad, pad:-pad] = plate
        return cls(p, b, np.asarray(cv2.transform(b * (b - 2 * p), _SUM), np.float32), fx, fy, pad)

    def smaller(self, factor: float) -> "Level":
        """The same at a lower resolution."""
        inner = [each[self.margin : -self.margin, self.margin : -self.margin] for each in (self.image, self.plate)]
        height, width = inner[0].shape[:2]
        size = max(1, round(width * factor)), max(1, round(height * factor))
        image, plate = (_resize(each, size) for each in inner)
        fx, fy = size[0] / width, size[1] / height
        return Level.make(image, plate, self.fx * fx, self.fy * fy, self.margin * factor)

    def gains(self, cut: Cut, window: tuple[int, int, int, int] | None = None) -> F32:
        """The gain of each place (upper left corner) inside a window (x0, y0, x1, y1), or of all."""
        x0, y0, x1, y1 = window or (0, 0, self.image.shape[1], self.image.shape[0])
        colors = cv2.matchTemplate(self.image[y0:y1, x0:x1], cut.colors, cv2.TM_CCORR)
        return 2 * colors + cv2.matchTemplate(self.against[y0:y1, x0:x1], cut.mask, cv2.TM_CCORR) - cut.energy

    def confidence(self, cut: Cut, x: int, y: int) -> float:
        """Of an object whose upper left corner is at a pixel of this level."""
        height, width = cut.mask.shape
        weight = cut.mask
        thing = cut.colors / np.maximum(weight, 1e-3)[..., None]
        image, plate = (each[y : y + height, x : x + width] for each in (self.image, self.plate))
        contrast = cv2.transform((thing - plate) ** 2, _SUM)
        there = np.maximum(contrast - cv2.transform((image - thing) ** 2, _SUM), 0)
        return float((weight * there).sum() / max(float((weight * contrast).sum()), 1.0))


def _resize(image: F32, size: tuple[int, int], how: int = cv2.INTER_AREA) -> F32:
    return np.asarray(cv2.resize(image, size, interpolation=how), np.float32)


def _at_home(template: Template) -> Place:
    x0, y0, x1, y1 = template.box
    return Place(template.view, (x0 + x1) / 2, (y0 + y1) / 2, 1.0, 0.0, 0.0, (x0, y0, x1, y1))


def _coarse_places(level: Level, templates: Sequence[Template]) -> Iterator[Place]:
    """The two best places of each template and size, best first."""
    found: list[Place] = []
    for template in templates:
        for scale in template.scales:
            cut = template.resized(scale * level.fx, scale * level.fy)
            height, width = cut.mask.shape
            if height > level.image.shape[0] or width > level.image.shape[1]:
                continue
            gains = level.gains(cut)
            for _ in range(2):
                _, gain, _, (x, y) = cv2.minMaxLoc(gains)
                if gain <= 0:
                    break
                found.append(_place(level, template, scale, cut, x, y, gain, 0.0))
                gains[max(0, y - height // 2) : y + height // 2 + 1, max(0, x - width // 2) : x + width // 2 + 1] = 0
    return iter(sorted(found, key=lambda place: -place.gain))


def _place(
    level: Level, template: Template, scale: float, cut: Cut, x: float, y: float, gain: float, confidence: float
) -> Place:
    """The place of an upper left corner of a level, in pixels of the prediction."""
    height, width = cut.mask.shape
    center_x, center_y = (x + width / 2 - level.margin) / level.fx, (y + height / 2 - level.margin) / level.fy
    half_x, half_y = template.size[0] * scale / 2, template.size[1] * scale / 2
    box = center_x - half_x, center_y - half_y, center_x + half_x, center_y + half_y
    return Place(template.view, center_x, center_y, scale, gain / (level.fx * level.fy), confidence, box)


def _refine(level: Level, place: Place, templates: Sequence[Template], reach: float) -> Place:
    """The best place near another one: first in coarse steps of size and place, then in finer ones."""
    template = next(one for one in templates if one.view == place.view)
    for steps, radius in (((0.94, 1.0, 1.06), round(reach)), ((0.97, 1.0, 1.03), 2)):
        tried = [_best_near(level, place, template, place.scale * step, radius) for step in steps]
        place = max(tried, key=lambda one: one.gain * one.confidence)  # of equal gains, the better likeness
    return place


def _best_near(level: Level, place: Place, template: Template, scale: float, radius: int) -> Place:
    cut = template.resized(scale * level.fx, scale * level.fy)
    height, width = cut.mask.shape
    rows, columns = level.image.shape[:2]
    left = round(place.x * level.fx + level.margin - width / 2)
    top = round(place.y * level.fy + level.margin - height / 2)
    x0, y0 = (max(0, min(left - radius, columns - width)), max(0, min(top - radius, rows - height)))
    x1, y1 = min(columns, max(left + radius, 0) + width), min(rows, max(top + radius, 0) + height)
    if width > columns or height > rows or x1 - x0 < width or y1 - y0 < height:
        return _place(level, template, scale, cut, left, top, -np.inf, 0.0)
    gains = level.gains(cut, (x0, y0, x1, y1))
    _, gain, _, (x, y) = cv2.minMaxLoc(gains)
    confidence = level.confidence(cut, x0 + x, y0 + y)
    dx, dy = _vertex(gains[y], x), _vertex(gains[:, x], y)
    return _place(level, template, scale, cut, x0 + x + dx, y0 + y + dy, gain, confidence)


def _vertex(line: F32, at: int) -> float:
    """Offset of the vertex of the parabola through a maximum and its neighbors, -0.5 to 0.5."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, here, after = (float(value) for value in line[at - 1 : at + 2])
    bend = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def _apart(places: Iterable[Place], overlap: Callable[[Box, Box], float] = box_iou) -> Iterator[Place]:
    """The places that do not overlap a better one."""
    kept: list[Place] = []
    for place in places:
        if all(overlap(place.box, other.box) < _APART for other in kept):
            kept.append(place)
            yield place


def _common(a: Box, b: Box) -> float:
    """Common area of two boxes over that of the smaller one."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(width, 0.0) * max(height, 0.0) / smaller
