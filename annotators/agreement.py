"""Agreement of an estimated map with the exact map of the same picture. Pure numpy.

Invariant: only pixels with an exact value are compared. Pixels without an estimate lower `coverage`, not the other
figures. Maps that cannot be compared raise NotComparable and never give a number.

The `*_figures` functions take the exact map first and return `{metric: value}`, with the names in `METRICS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

DELTA1: Final = 1.25
"""Ratio of depths below which a pixel counts as correct (Eigen et al. 2014, section 4.1)."""
NORMAL_STEPS_DEG: Final = (11.25, 22.5, 30.0)
"""Angles below which a normal counts as correct (Fouhey et al. 2013, section 5)."""
MIN_AREA: Final = 1 / 1000
"""Instances that cover less than this share of the picture are ignored."""
FOUND_IOU: Final = 0.5
TOLERANCE_PX: Final = 2
"""Largest distance at which two line pixels agree."""
INK: Final = 128
"""Level below which a pixel of a drawing is a line."""


class NotComparable(ValueError):
    """Two maps cannot be compared. The message is short and stable, such as `sizes differ`."""


@dataclass(frozen=True)
class Metric:
    """How to read a figure."""

    better: Literal["lower", "higher"]
    unit: str = ""


METRICS: Final[Mapping[str, Metric]] = {
    "abs_rel": Metric("lower"),
    "delta1": Metric("higher"),
    "mean_deg": Metric("lower", "°"),
    "median_deg": Metric("lower", "°"),
    "within_11_25": Metric("higher", "%"),
    "within_22_5": Metric("higher", "%"),
    "within_30": Metric("higher", "%"),
    "coverage": Metric("higher"),
    "best_iou": Metric("higher"),
    "found_50": Metric("higher"),
    "f1": Metric("higher"),
    "precision": Metric("higher"),
    "recall": Metric("higher"),
}


def metric_depth_figures(exact: F32, estimated: F32) -> dict[str, float]:
    """AbsRel and δ1 of metric depth, neither scaled nor shifted (Eigen et al. 2014, section 4.1).

    `exact`, `estimated` (H, W): planar z in meters, 0 for none. AbsRel = mean |z' - z| / z and δ1 = share of
    max(z' / z, z / z') < 1.25 over the pixels that have both; `coverage`: their share of the pixels with exact depth.

    Raises NotComparable if no pixel has both.
    """
    _same_size(exact, estimated)
    known = exact > 0
    both = known & (estimated > 0)
    if not both.any():
        raise NotComparable("no depth in common")
    z, found = exact[both].astype(np.float64), estimated[both].astype(np.float64)
    return {**_depth_errors(z, found), "coverage": int(both.sum()) / int(known.sum())}


def relative_depth_figures(exact: F32, inverse: F32) -> dict[str, float]:
    """AbsRel and δ1 of relative inverse depth, after `aligned_depth`.

    `exact` (H, W): planar z in meters, 0 for none (not compared); `inverse` (H, W): any unit, near = large.
    """
    aligned = aligned_depth(exact, inverse)
    known = exact > 0
    return _depth_errors(exact[known].astype(np.float64), aligned[known])


def aligned_depth(exact: F32, inverse: F32) -> F64:
    """Planar z in meters (H, W) from relative inverse depth, with the scale and shift that fit the exact depth best.

    Scale s and shift t minimize the sum of (s d + t - 1/z)² over the pixels with exact depth (MiDaS: Ranftl et al.
    2020, section 5; Depth Anything's zero-shot evaluation uses it too). Depth is 1 / (s d + t), capped at the largest
    exact depth, as in these evaluations. Unlike there, s is not negative: a map that is large where the scene is far
    counts as wrong, not as reversed.

    Raises NotComparable if there is no exact depth.
    """
    _same_size(exact, inverse)
    known = exact > 0
    if not known.any():
        raise NotComparable("no exact depth")
    d, w = inverse[known].astype(np.float64), 1.0 / exact[known].astype(np.float64)
    spread = d - d.mean()
    variance = float(np.mean(spread * spread))
    scale = max(0.0, float(np.mean(spread * (w - w.mean()))) / variance) if variance > 0 else 0.0
    shift = float(w.mean()) - scale * float(d.mean())
    return 1.0 / np.maximum(scale * inverse.astype(np.float64) + shift, w.min())


def _depth_errors(z: F64, found: F64) -> dict[str, float]:
    ratio = np.maximum(found / z, z / found)
    return {"abs_rel": float(np.mean(np.abs(found - z) / z)), "delta1": float(np.mean(ratio < DELTA1))}


def normal_figures(exact: F32, estimated: F32) -> dict[str, float]:
    """Mean and median angle in degrees, and the percentages below 11.25, 22.5 and 30 degrees.

    `exact`, `estimated` (H, W, 3): unit vectors, zero for none. Computed over the pixels that have both; `coverage` is
    their share of the pixels with an exact normal. Raises NotComparable if no pixel has both.
    """
    angles = angles_deg(exact, estimated)
    known, both = _squared(exact) > 0, np.isfinite(angles)
    if not both.any():
        raise NotComparable("no normal in common")
    found = angles[both]
    within = {f"within_{step:g}".replace(".", "_"): 100.0 * float(np.mean(found < step)) for step in NORMAL_STEPS_DEG}
    averages = {"mean_deg": float(found.mean()), "median_deg": float(np.median(found))}
    return {**averages, **within, "coverage": int(both.sum()) / int(known.sum())}


def angles_deg(exact: F32, estimated: F32) -> F64:
    """Angles in degrees (H, W) between two fields of unit vectors (H, W, 3); NaN where either is zero."""
    _same_size(exact, estimated)
    a, b = exact.astype(np.float64), estimated.astype(np.float64)
    both = (_squared(a) > 0) & (_squared(b) > 0)
    # Half the angle by its tangent: exact for equal vectors, unlike the arc cosine of a rounded product.
    half = np.arctan2(np.sqrt(_squared(a - b)), np.sqrt(_squared(a + b)))
    return np.where(both, np.degrees(2.0 * half), np.nan)


def _squared(vectors: NDArray[Any]) -> NDArray[Any]:
    """Squared lengths (H, W) of vectors (H, W, 3)."""
    return np.einsum("hwc,hwc->hw", vectors, vectors)


def segment_figures(instances: NDArray[Any], segments: NDArray[Any], min_area: float = MIN_AREA) -> dict[str, float]:
    """How well segments match instances: mean best IoU, and the share of instances with a best IoU of 0.5 or more.

    The mean is over the exact instances that cover `min_area` of the picture or more, all with the same weight, as in
    COCO's average recall. Segments outside instances (floor, walls) do not count. One segment may be the best match of
    several instances that it merges; the IoU with each of them is then low.

    `instances`, `segments` (H, W): labels, 0 for none. Raises NotComparable if no instance is large enough.
    """
    best = np.array(list(best_ious(instances, segments, min_area).values()))
    if not len(best):
        raise NotComparable("no instance large enough")
    return {"best_iou": float(best.mean()), "found_50": float(np.mean(best >= FOUND_IOU))}


def best_ious(instances: NDArray[Any], segments: NDArray[Any], min_area: float = MIN_AREA) -> dict[int, float]:
    """IoU of the best matching segment, by the label of each instance that is large enough."""
    _same_size(instances, segments)
    sizes = np.bincount(segments.ravel())
    found: dict[int, float] = {}
    for label, area in enumerate(np.bincount(instances.ravel())):
        if label and area and area >= min_area * instances.size:
            shared = np.bincount(segments[instances == label], minlength=len(sizes))
            found[label] = float(np.max((shared / (area + sizes - shared))[1:], initial=0.0))
    return found


def line_figures(exact: U8, estimated: U8, tolerance: int = TOLERANCE_PX) -> dict[str, float]:
    """Precision, recall and F1 of line pixels, which match if they are at most `tolerance` pixels apart.

    `exact`, `estimated` (H, W) uint8: dark lines on white. Precision: share of estimated line pixels near an exact
    one; recall: share of exact line pixels near an estimated one; F1: their harmonic mean. As for boundaries (Martin
    et al. 2004, section 3), but without a one-to-one assignment of pixels, so a thicker line is not an error. Two empty
    drawings agree; if only one is empty, all figures are 0.
    """
    hits, false, missed = line_matches(exact, estimated, tolerance)
    drawn, wanted = int(hits.sum() + false.sum()), int((exact < INK).sum())
    if not drawn and not wanted:
        return {"f1": 1.0, "precision": 1.0, "recall": 1.0}
    precision = int(hits.sum()) / drawn if drawn else 0.0
    recall = 1.0 - int(missed.sum()) / wanted if wanted else 0.0
    total = precision + recall
    return {"f1": 2 * precision * recall / total if total else 0.0, "precision": precision, "recall": recall}


def line_matches(exact: U8, estimated: U8, tolerance: int = TOLERANCE_PX) -> tuple[Mask, Mask, Mask]:
    """Hits, false positives and misses: estimated line pixels near an exact one, those not near any, and exact line
    pixels without an estimated one nearby; each (H, W)."""
    _same_size(exact, estimated)
    wanted, drawn = exact < INK, estimated < INK
    near_exact, near_drawn = _dilated(wanted, tolerance), _dilated(drawn, tolerance)
    return drawn & near_exact, drawn & ~near_exact, wanted & ~near_drawn


def _dilated(mask: Mask, radius: int) -> Mask:
    """The pixels (H, W) whose center is at most `radius` away from the center of a true pixel."""
    height, width = mask.shape
    padded = np.pad(mask, radius)
    dilated = np.zeros_like(mask)
    for down in range(-radius, radius + 1):
        reach = int(np.sqrt(radius**2 - down**2))
        for right in range(-reach, reach + 1):
            top, left = radius + down, radius + right
            dilated |= padded[top : top + height, left : left + width]
    return dilated


def _same_size(exact: NDArray[Any], estimated: NDArray[Any]) -> None:
    if exact.shape != estimated.shape:
        raise NotComparable("sizes differ")
