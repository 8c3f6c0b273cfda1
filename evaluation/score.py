"""All metrics of one prediction, and the image that a prediction's file holds.

Invariant: a file that is no image of the target's shape is a named failure, never a silently changed image.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from ..annotators.parser.parse import parse
from ..shards.codecs import U8, CodecError, ImageTooLargeError, decode_image
from .metrics.camera import camera_values
from .metrics.depth import DepthEstimator, depth_values
from .metrics.pixels import pixel_values
from .metrics.place import Sight, place_values, sights
from .metrics.relation import relation_values
from .truth import Truth

ASPECT_TOLERANCE: Final = 0.02
"""Share by which the aspect ratio of a prediction may differ from the target's; it is resized to the target then."""


class PredictionFault(ValueError):
    """A prediction without an image to judge. `reason` is short and stable: `missing`, `wrong_aspect`, ..."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


@dataclass(frozen=True)
class Scored:
    """The metrics of one prediction. `values`: by name; None where one could not be measured."""

    values: dict[str, float | None]
    seen: tuple[Sight, ...] = ()


def score(truth: Truth, prediction: U8, depth: DepthEstimator | None = None) -> Scored:
    """All metrics of a prediction uint8 (H, W, 3) of the target's size; see docs/evaluation.md."""
    seen = sights(truth, prediction)
    values: dict[str, float | None] = {**pixel_values(truth, prediction)}
    values |= place_values(truth, prediction, seen)
    values |= relation_values(truth, seen)
    values |= camera_values(truth, prediction)
    values |= depth_values(truth, prediction, depth)
    return Scored(values, tuple(seen))


def read_prediction(data: bytes, truth: Truth) -> tuple[U8, bool]:
    """The image of a prediction's file at the target's size, and whether it was resized.

    Gray becomes three equal channels, 16 bits become 8, alpha is dropped. An image of another size is resized (area to
    shrink, bicubic to enlarge) if its aspect ratio differs from the target's by less than `ASPECT_TOLERANCE`.

    Raises PredictionFault: `empty`, `too_large`, `not_an_image` (also if it is truncated), `wrong_aspect`.
    """
    if not data:
        raise PredictionFault("empty", "the file has no bytes")
    try:
        image = decode_image(data)
    except ImageTooLargeError as error:
        raise PredictionFault("too_large", str(error)) from error
    except CodecError as error:
        raise PredictionFault("not_an_image", str(error)) from error
    width, height = truth.size
    found = image.shape[1], image.shape[0]
    if found == (width, height):
        return image, False
    if abs(found[0] / found[1] / (width / height) - 1) >= ASPECT_TOLERANCE:
        raise PredictionFault("wrong_aspect", f"{found[0]} x {found[1]} pixels, the target has {width} x {height}")
    how = cv2.INTER_AREA if found[0] > width else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8), True


def groups_of(truth: Truth) -> dict[str, str]:
    """The groups in whose means a sample counts, by dimension; dimensions that do not apply are left out."""
    record = truth.record
    found = {
        "kind": record.edit.kind,
        "relation": _relation(truth),
        "category": truth.category,
        "scene": record.scene,
    }
    return {name: label for name, label in found.items() if label}


def _relation(truth: Truth) -> str:
    """The place that the instruction asks for, as the parser reads it: a relation, a support, a direction, a part."""
    if not truth.kind.places_objects:
        return ""
    record = truth.record
    names = sorted({name for one in record.objects for name in (one.name, one.category)})
    claims = parse(record.instruction.text, names).claims
    if claims is None:
        return "unread"
    if claims.relation != "none":
        return claims.relation
    if claims.support != "none":
        return claims.support
    return "direction" if claims.directions else "part" if claims.part != "none" else "none"
