"""Depth outside the networks: whose it is, how good a prediction is, and how it looks.

Invariant: depth of another teacher or unit than the configured one is an error, never mixed in silently.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...shards.errors import BadInput
from ...shards.schema import MapInfo
from .options import Teacher

RENDERER: Final = "renderer"
"""The estimator in the records of exact depth."""
_CHANGES: Final = {
    "exact": "build layer metric from the renderer (the default of rendered sources), or set recipe.teacher",
    "vggt": "build layer metric with VGGT, or set recipe.teacher",
    "any": "build layer metric with an estimator that gives it",
}


def metric_units(keys: Sequence[str], records: Sequence[Mapping[str, Any]], teacher: Teacher) -> list[bool]:
    """For each sample, whether its depth is in meters; VGGT's own depth has no unit.

    Raises BadInput for depth that is not metric depth of the teacher; the message names sample and estimator.
    """
    infos = [MapInfo.model_validate(record["maps"]["metric"]) for record in records]
    for key, info in zip(keys, infos, strict=True):
        fits = {"exact": info.estimator == RENDERER, "vggt": "vggt" in info.estimator.lower(), "any": True}[teacher]
        if not fits or info.kind != "metric" or info.unit not in ("m", ""):
            unit = f"in {info.unit}" if info.unit else "without a unit"
            raise BadInput(
                f"sample {key} has {info.kind or 'no'} depth {unit} (estimator {info.estimator or 'none'}), but "
                f"recipe.teacher is {teacher}: {_CHANGES[teacher]}"
            )
    return [info.unit == "m" for info in infos]


def depth_metrics(predicted: Any, exact: Any, known: Any) -> dict[str, NDArray[np.float64]]:
    """How far predicted depth is from exact depth (Eigen et al. 2014, section 4.1), neither scaled nor shifted.

    Args:
        predicted, exact: (B, H, W) in meters. known: bool (B, H, W), the pixels to compare.

    Returns:
        abs_rel (B,): mean |d' - d| / d. delta1 (B,): share with max(d / d', d' / d) < 1.25. NaN for a sample without
        known pixels.
    """
    counts = np.asarray(known).sum((1, 2), dtype=np.float64)
    counts[counts == 0] = np.nan
    d, found = (np.where(known, np.asarray(each, np.float64), 1) for each in (exact, predicted))
    relative = np.abs(found - d) / d
    close = (np.maximum(d / found, found / d) < 1.25) & known
    return {"abs_rel": relative.sum((1, 2)) / counts, "delta1": close.sum((1, 2)) / counts}


def depth_picture(depth: Any, like: Any = None) -> NDArray[np.uint8]:
    """Depth (B, H, W) as uint8 (B, H, W, 3): inverse depth, near is bright, unknown depth (0) is black.

    Args:
        like: depth (B, H, W) whose range of inverse depth is black to white; default: `depth`.
    """
    inverse, shown = (_inverse(each) for each in (depth, depth if like is None else like))
    low = np.where(shown > 0, shown, np.inf).min((1, 2), keepdims=True)
    high = shown.max((1, 2), keepdims=True)
    low = np.where(np.isfinite(low), low, 0)
    gray = np.where(inverse > 0, (inverse - low) / np.maximum(high - low, 1e-6), 0).clip(0, 1)
    return np.repeat((gray * 255).round().astype(np.uint8)[..., None], 3, -1)


def _inverse(depth: Any) -> NDArray[np.float64]:
    values = np.asarray(depth, np.float64)
    return np.divide(1, values, out=np.zeros_like(values), where=values > 0)
