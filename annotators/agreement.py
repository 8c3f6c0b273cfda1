"""How well an estimated map agrees with the exact map of the same picture. Pure numpy.

Invariant: only pixels that the exact map knows are compared, and what an estimate leaves open (`coverage`) is told
apart from what it gets wrong; maps that cannot be compared raise NotComparable, and never give a number.

Every function of figures takes the exact map first and gives `{metric: value}`, the names in `METRICS`.
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
"""Ratio of depths below which a pixel counts as right (Eigen et al. 2014, section 4.1)."""
NORMAL_STEPS_DEG: Final = (11.25, 22.5, 30.0)
"""Angles below which a normal counts as right (Fouhey et al. 2013, section 5)."""
MIN_AREA: Final = 1 / 1000
"""Instances that cover less than this share of the picture are not looked for."""
FOUND_IOU: Final = 0.5
TOLERANCE_PX: Final = 2
"""Distance at which two line pixels still agree."""
INK: Final = 128
"""A pixel of a drawing is a line where it is darker than this."""


class NotComparable(ValueError):
    """Two maps of which nothing can be compared; the message is short and stable, such as `sizes differ`."""


@dataclass(frozen=True)
class Metric:
    """What a figure means."""

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
    """AbsRel and δ1 of metric depth as it is, neither scaled nor shifted (Eigen et al. 2014, section 4.1).

    `exact`, `estimated` (H, W): planar z in meters, 0 for none. AbsRel = mean |z' - z| / z and δ1 = share of
    max(z' / z, z / z') < 1.25 over the pixels that have both; `coverage`: their share of the pixels with exact depth.

    Raises NotComparable where no pixel has both.
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
    """Planar z in meters (H, W) from relative inverse depth, by the exact depth's best scale and shift.

    Scale s and shift t minimize the sum of (s d + t - 1/z)² over the pixels with exact depth (MiDaS: Ranftl et al.
    2020, section 5, the alignment of Depth Anything's zero-shot evaluation too); depth is then 1 / (s d + t), at
    most the farthest exact depth, as these evaluations cap it. Unlike there, s may not be negative: a map of which
    the far is large is wrong, not merely reversed.

    Raises NotComparable where there is no exact depth.
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
    """Mean and median angle in degrees, and the percentage under 11.25, 22.5 and 30 degrees.

    `exact`, `estimated` (H, W, 3): unit vectors, zero for none. Over the pixels that have both; `coverage`: their share
    of the pixels with an exact normal. Raises NotComparable where no pixel has both.
    """
    angles = angles_deg(exact, estimated)
    known, both = _squared(exact) > 0, np.isfinite(angles)
    if not both.any():
        raise NotComparable("no normal in common")
    found = angles[both]
    within = {f"within_{step:g}".replace(".", "_"): 100.0 * float(np.mean(found < step)) for step in NORMAL_STEPS_DEG}
    center = {"mean_deg": float(found.mean()), "median_deg": float(np.median(found))}
    return {**center, **within, "coverage": int(both.sum()) / int(known.sum())}


def angles_deg(exact: F32, estimated: F32) -> F64:
    """Angle between two fields of unit vectors (H, W, 3) in degrees (H, W); NaN where either is zero."""
    _same_size(exact, estimated)
    a, b = exact.astype(np.float64), estimated.astype(np.float64)
    both = (_squared(a) > 0) & (_squared(b) > 0)
    # Half the angle by its tangent: exact where vectors are equal, which the arc cosine of a rounded product is not.
    half = np.arctan2(np.sqrt(_squared(a - b)), np.sqrt(_squared(a + b)))
    return np.where(both, np.degrees(2.0 * half), np.nan)


def _squared(vectors: NDArray[Any]) -> NDArray[Any]:
    """Squared lengths (H, W) of vectors (H, W, 3)."""
    return np.einsum("hwc,hwc->hw", vectors, vectors)


def segment_figures(instances: NDArray[Any], segments: NDArray[Any], min_area: float = MIN_AREA) -> dict[str, float]:
    """How well each instance is some segment: mean best IoU, and the share of instances with IoU of 0.5 or more.

    The mean is over the exact instances that cover `min_area` of the picture or more, each counted once, whatever its
    size (as COCO's average recall counts them); segments of what is no instance (floor, walls) cost nothing. A segment
    may be the best of several instances: merged, each gets but its share of the union.

    `instances`, `segments` (H, W): labels, 0 for none. Raises NotComparable where no instance is large enough.
    """
    best = np.array(list(best_ious(instances, segments, min_area).values()))
    if not len(best):
        raise NotComparable("no instance large enough")
    return {"best_iou": float(best.mean()), "found_50": float(np.mean(best >= FOUND_IOU))}


def best_ious(instances: NDArray[Any], segments: NDArray[Any], min_area: float = MIN_AREA) -> dict[int, float]:
    """Of each instance that is large enough: its label, and the IoU of the segment that fits it best."""
    _same_size(instances, segments)
    sizes = np.bincount(segments.ravel())
    found: dict[int, float] = {}
    for label, area in enumerate(np.bincount(instances.ravel())):
        if label and area and area >= min_area * instances.size:
            shared = np.bincount(segments[instances == label], minlength=len(sizes))
            found[label] = float(np.max((shared / (area + sizes - shared))[1:], initial=0.0))
    return found


def line_figures(exact: U8, estimated: U8, tolerance: int = TOLERANCE_PX) -> dict[str, float]:
    """Precision, recall and F1 of line pixels, `tolerance` pixels apart at most.

    `exact`, `estimated` (H, W) uint8: dark lines on white. Precision: share of estimated line pixels near an exact
    one; recall: share of exact line pixels near an estimated one; F1: their harmonic mean. As for boundaries (Martin
    et al. 2004, section 3), but pixels need not pair off one to one: a thicker line is no error. Two empty drawings
    agree; of one empty drawing all figures are 0.
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
    """Estimated line pixels near an exact one, those that are not, and exact ones that none is near; each (H, W)."""
    _same_size(exact, estimated)
    wanted, drawn = exact < INK, estimated < INK
    near_exact, near_drawn = _grown(wanted, tolerance), _grown(drawn, tolerance)
    return drawn & near_exact, drawn & ~near_exact, wanted & ~near_drawn


def _grown(mask: Mask, radius: int) -> Mask:
    """The pixels (H, W) whose center is at most `radius` from the center of a true one."""
    height, width = mask.shape
    padded = np.pad(mask, radius)
    grown = np.zeros_like(mask)
    for down in range(-radius, radius + 1):
        reach = int(np.sqrt(radius**2 - down**2))
        for right in range(-reach, reach + 1):
            top, left = radius + down, radius + right
            grown |= padded[top : top + height, left : left + width]
    return grown


def _same_size(exact: NDArray[Any], estimated: NDArray[Any]) -> None:
    if exact.shape != estimated.shape:
        raise NotComparable("sizes differ")
