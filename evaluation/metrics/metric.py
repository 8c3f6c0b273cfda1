"""What a metric is: its name, its range, which direction is better, and what a failure counts as."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from ...shards.geometry import F64

MAX_SHIFT: Final = 0.5
"""Largest distance of centers that counts, as a share of the image's diagonal."""
_EQUAL: Final = 1e-3
"""Share of a metric's range below which copy and oracle differ by too little to normalize between them."""


def _same(values: F64) -> F64:
    return values


def _error_of_psnr(db: F64) -> F64:
    """Root of the mean squared error, as a share of the range: decibels have no zero point to normalize from."""
    return 10 ** (-db / 20)


@dataclass(frozen=True)
class Metric:
    """How to read a number."""

    name: str
    better: Literal["higher", "lower"]
    worst: float
    """The value that a failure counts as, and the end of the range on this side."""
    best: float
    unit: str = ""
    about: str = ""
    linear: Callable[[F64], F64] = _same
    """Applied before a score is normalized between copy and oracle."""
    per_diagonal: bool = False
    """Whether `worst` is a share of the image's diagonal, where values are in pixels."""

    def worst_for(self, diagonal: float) -> float:
        """What a failure counts as, for an image with this diagonal in pixels."""
        return self.worst * diagonal if self.per_diagonal else self.worst

    def normalized(self, values: F64, copy: F64, oracle: F64) -> float | None:
        """The mean of values (N,) between those of `copy`, 0, and of `oracle`, 1; negative if worse than `copy`.

        None if copy and oracle get about the same.
        """
        value, low, high = (float(self.linear(each).mean()) for each in (values, copy, oracle))
        ends = self.linear(np.array([self.worst, self.best]))
        return None if abs(high - low) < _EQUAL * abs(ends[1] - ends[0]) else (value - low) / (high - low)


def _psnr(name: str, about: str) -> Metric:
    return Metric(name, "higher", 0.0, 99.0, "dB", about, _error_of_psnr)


def _share(name: str, about: str, better: Literal["higher", "lower"] = "higher", unit: str = "") -> Metric:
    worst, best = (0.0, 1.0) if better == "higher" else (1.0, 0.0)
    return Metric(name, better, worst, best, unit, about)


ALL: Final = (
    _psnr("psnr", "against the target, whole image"),
    _psnr("psnr_changed", "against the target, where the edit changes the image"),
    _psnr("psnr_object", "against the target, in the edited object's mask"),
    _share("ssim", "SSIM against the target, whole image"),
    _share("ssim_changed", "SSIM against the target, where the edit changes the image"),
    _share("ssim_object", "SSIM against the target, in the edited object's mask"),
    _share("ms_ssim", "MS-SSIM against the target, whole image"),
    _share("ms_ssim_changed", "MS-SSIM against the target, where the edit changes the image"),
    _share("ms_ssim_object", "MS-SSIM against the target, in the edited object's mask"),
    _psnr("preserved_psnr", "against the source, where the edit changes nothing"),
    _share("preserved_ssim", "SSIM against the source, where the edit changes nothing"),
    _share("found", "whether the edited object was found (of a removal: whether it is gone)"),
    _share("box_iou", "IoU of the found box with the exact one"),
    _share("mask_iou", "IoU of the found mask with the exact one"),
    Metric("center_px", "lower", MAX_SHIFT, 0.0, "px", "distance of the centers of the boxes", per_diagonal=True),
    Metric("center_m", "lower", 10.0, 0.0, "m", "the same on the support plane, in meters"),
    Metric("scale_error", "lower", 1.0, 0.0, "octaves", "|log2| of found size over exact size"),
    _share("left_behind", "how much of the object is still where it was", "lower"),
    _share("duplicated", "whether the object is there more than once", "lower"),
    _share("turned", "how far its appearance goes from the source's to the target's"),
    _share("relation", "share of the instruction's places that hold for the found place"),
    Metric("camera_position", "lower", 1.0, 0.0, "", "error of the camera's position over the asked way"),
    Metric("camera_angle", "lower", 1.0, 0.0, "", "geodesic error of the camera's rotation over 90 degrees"),
    Metric("viewpoint", "lower", 1.0, 0.0, "", "mean of both: SpatialEdit-Bench's viewpoint error"),
    Metric("framing", "lower", 1.0, 0.0, "diag", "mean distance of the objects' centers, over the image's diagonal"),
    Metric("depth_abs_rel", "lower", 1.0, 0.0, "", "AbsRel of the prediction's estimated depth, aligned"),
)
METRICS: Final[Mapping[str, Metric]] = {metric.name: metric for metric in ALL}
"""By name, in the order of reports."""
ABSENT: Final[Mapping[str, str]] = {
    "lpips": "needs weights that this package does not ship",
    "dists": "needs weights that this package does not ship",
    "dino": "needs weights that this package does not ship",
    "clip": "needs weights that this package does not ship",
}
"""Metrics that reports list as absent, and why."""
