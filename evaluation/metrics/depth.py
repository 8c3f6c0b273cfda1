"""The depth of a prediction, by an estimator, against the exact depth of the target. Absent without an estimator."""

from collections.abc import Callable

from ...annotators.agreement import NotComparable, relative_depth_figures
from ...shards.codecs import F32, U8
from ..truth import Truth

DepthEstimator = Callable[[U8], F32]
"""From an image uint8 (H, W, 3) to relative inverse depth float32 (H, W), as the stages of layer `depth` estimate."""


def depth_values(truth: Truth, prediction: U8, estimator: DepthEstimator | None) -> dict[str, float | None]:
    """AbsRel after scale and shift in inverse depth (`annotators.agreement`); empty without estimator or exact depth.

    None where the two cannot be compared.
    """
    if estimator is None or truth.target_metric is None:
        return {}
    try:
        found = relative_depth_figures(truth.target_metric, estimator(prediction))["abs_rel"]
    except NotComparable:
        return {"depth_abs_rel": None}
    return {"depth_abs_rel": min(found, 1.0)}
