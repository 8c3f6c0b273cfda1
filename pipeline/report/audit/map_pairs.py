"""Reads an estimated map and the exact map of the same image from a build's layers, and compares them.

Invariant: the exact map comes from the renderer, or `annotators.lines` draws it from the renderer's maps. If the source
does not have it (released images have no depth and no normals), nothing is compared.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....annotators import agreement
from ....annotators.agreement import NotComparable
from ....annotators.estimated import ViewName
from ....annotators.lines import draw_lines
from ....shards.codecs import U8, decode_depth, decode_image, decode_labels, decode_lines, decode_normals
from ....shards.geometry import matrix3
from ....shards.sample import Columns
from ....shards.schema import MapInfo, PairFacts

AUDITED: Final = ("depth", "metric", "normal", "segment", "line")
"""Layers that can be compared with exact maps, in the order of a report."""
PRIMARY: Final[Mapping[str, str]] = {
    "depth": "abs_rel",
    "metric": "abs_rel",
    "normal": "mean_deg",
    "segment": "best_iou",
    "line": "f1",
}
"""The figure by which a layer's worst maps are chosen."""
_KINDS: Final = {"depth": "relative_inverse", "metric": "metric"}
_FROM: Final[Mapping[str, tuple[str, ...]]] = {
    "depth": ("metric",),
    "metric": ("metric",),
    "normal": ("normal",),
    "segment": ("instances",),
    "line": ("instances", "metric", "normal"),
}

Pixels = NDArray[Any]


def exact_columns(layer: str, view: ViewName) -> set[str]:
    """Columns of layer `pair` from which the exact map of a layer is computed."""
    return {_column(name, view) for name in _FROM[layer]}


def _column(name: str, view: ViewName) -> str:
    """Column of layer `pair`. Instance maps have a prefix for both images, other maps only for the source image."""
    if name == "instances":
        return f"{view}_instances"
    return name if view == "target" else f"source_{name}"


@dataclass(frozen=True)
class Scene:
    """One image of a pair. Its exact maps are decoded once, on demand. Raises CodecError if a map cannot be decoded."""

    pair: Columns
    """Row of layer `pair`, with the columns of the requested maps."""
    facts: PairFacts
    view: ViewName

    @property
    def rgb(self) -> U8:
        return decode_image(self._bytes(self.view))

    @cached_property
    def _labels(self) -> Pixels:
        return decode_labels(self._bytes(_column("instances", self.view)))

    @cached_property
    def _depth(self) -> Pixels:
        info = self.facts.metric if self.view == "target" else self.facts.source_metric
        return decode_depth(self._bytes(_column("metric", self.view)), info)

    @cached_property
    def _normals(self) -> Pixels:
        return decode_normals(self._bytes(_column("normal", self.view)))

    def is_own(self, info: MapInfo) -> bool:
        """Whether a map is the exact map itself."""
        own = self.facts.metric if self.view == "target" else self.facts.source_metric
        return (info.estimator, info.revision) in ((own.estimator, own.revision), ("masks", ""))

    def exact(self, layer: str) -> Pixels | None:
        """The exact map for a layer; None if the source does not have it.

        For `depth` and `metric`: planar z in meters (H, W). For `normal`: unit vectors (H, W, 3). For `segment`: the
        instance map (H, W). For `line`: a drawing, uint8 (H, W).
        """
        if not all(self._bytes(_column(name, self.view)) for name in _FROM[layer]):
            return None
        match layer:
            case "depth" | "metric":
                return self._depth
            case "normal":
                return self._normals
            case "segment":
                return self._labels
            case _:
                camera = self.facts.camera.target if self.view == "target" else self.facts.camera.source
                return draw_lines(self._labels, self._depth, self._normals, matrix3(camera.K))

    def _bytes(self, column: str) -> bytes:
        data = self.pair[column]
        return data if isinstance(data, bytes) else b""


@dataclass(frozen=True)
class Estimate:
    """One map of a layer, encoded."""

    layer: str
    data: bytes
    info: MapInfo

    @classmethod
    def of(cls, layer: str, row: Columns, view: ViewName) -> "Estimate":
        """The map of one image in a layer's row."""
        member = layer if view == "target" else f"source_{layer}"
        data = row[member]
        info = MapInfo.model_validate(json.loads(str(row["maps"]))[member])
        return cls(layer, data if isinstance(data, bytes) else b"", info)

    def decode(self) -> Pixels:
        """Like `Scene.exact`, but relative inverse depth for `depth`.

        Raises CodecError, and NotComparable if the kind of the map is not that of its layer.
        """
        match self.layer:
            case "depth" | "metric":
                if self.info.kind != _KINDS[self.layer]:
                    raise NotComparable(f"its kind is {self.info.kind}")
                if self.layer == "metric" and not self.info.unit:
                    raise NotComparable("it is up to scale")
                return decode_depth(self.data, self.info)
            case "normal":
                return decode_normals(self.data)
            case "segment":
                return decode_labels(self.data)
            case _:
                return decode_lines(self.data)


def figures(layer: str, exact: Pixels, estimated: Pixels) -> dict[str, float]:
    """The figures of `annotators.agreement` for a layer. Raises NotComparable."""
    match layer:
        case "depth":
            return agreement.relative_depth_figures(exact, estimated)
        case "metric":
            return agreement.metric_depth_figures(exact, estimated)
        case "normal":
            return agreement.normal_figures(exact, estimated)
        case "segment":
            return agreement.segment_figures(exact, estimated)
        case _:
            return agreement.line_figures(exact, estimated)


def is_worse(metric: str, value: float) -> float:
    """A number that is larger for worse values of a metric."""
    return value if agreement.METRICS[metric].better == "lower" else -value


def error_map(layer: str, exact: Pixels, estimated: Pixels) -> tuple[Pixels, float]:
    """Error of each pixel (H, W), NaN for pixels that are not compared, and the largest error of the color scale.

    Relative error of depth, angle between normals in degrees, or 1 - best IoU of the instance.
    """
    match layer:
        case "depth" | "metric":
            found = agreement.aligned_depth(exact, estimated) if layer == "depth" else estimated
            compared = (exact > 0) & (found > 0)
            return np.where(compared, np.abs(found - exact) / np.where(compared, exact, 1), np.nan), 0.5
        case "normal":
            return agreement.angles_deg(exact, estimated), 60.0
        case _:
            errors = np.full(exact.shape, np.nan)
            for label, iou in agreement.best_ious(exact, estimated).items():
                errors[exact == label] = 1.0 - iou
            return errors, 1.0
