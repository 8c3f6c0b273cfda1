"""Metric3D v2 (Hu et al. 2024, arXiv 2404.15506): metric depth and normals from a single image, with two backends.

Invariant: pre- and post-processing are those of the authors (`hubconf.py` and `mono/utils/do_test.py`):

- The image is resized to fit the canvas, keeping its aspect ratio, and centered on the mean color (`Frame`).
- The model predicts for a camera with a focal length of 1000 px. Depth in meters is the prediction times
  f * scale / 1000, where `scale` is that of the resizing and f = (fx + fy) / 2 of the original image: the paper's
  canonical camera transformation of labels (CSTM label).
- Depth is planar z, like all depth here: the authors unproject it by z * inverse(K) (u, v, 1).
- Normals are in the convention of `docs/formats.md`, OpenCV axes and pointing to the camera: the authors convert their
  training normals from OpenGL axes by diag(1, -1, -1) and orient them to a negative product with the visible point.
- Both are resized bilinearly, with pixel centers aligned; normals are then normalized to length one.

If the focal length is not exact, the `estimator` of the depth map says so.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import cv2
import numpy as np

from ..shards.codecs import (
    F32,
    U8,
    encode_confidence,
    encode_metric,
    encode_normals,
    map_info,
)
from ..shards.errors import BadInput
from ..shards.sample import Columns, Reject, Result, Row, Sample
from ..shards.stage import Stage
from .batches import Batches
from .estimated import EstimatedMap, Map, Picture, ViewName
from .metric3d_backends import MEAN, Backend, BackendOptions, Prediction
from .metric3d_hub import load_hub
from .metric3d_onnx import load_onnx

Focal = Literal["auto", "exact", "assumed"]

_MODELS: Final = {"onnx": "onnx-community/metric3d-vit-large", "hub": "yvanyin/metric3d"}
_CANONICAL_FOCAL: Final = 1000.0
_FOV_DEG: Final = 50.0
_MAX_DEPTH: Final = 300.0
"""Meters. The authors clamp depth to this value."""


@dataclass(frozen=True)
class Frame:
    """Placement of an image in the canvas: centered, as large as fits."""

    canvas: tuple[int, int]
    """Height and width."""
    size: tuple[int, int]
    """Width and height of the image."""

    @property
    def scale(self) -> float:
        """Canvas pixels per image pixel."""
        return min(self.canvas[0] / self.size[1], self.canvas[1] / self.size[0])

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height of the image in the canvas."""
        # Truncated, as the authors do; the small summand keeps rounding errors from turning 616 into 615.
        width, height = (max(1, int(side * self.scale + 1e-6)) for side in self.size)
        return (self.canvas[1] - width) // 2, (self.canvas[0] - height) // 2, width, height

    def place(self, rgb: U8) -> F32:
        """Place an image, H x W x 3, on the canvas, 3 x H x W float32 0..255."""
        left, top, width, height = self.box
        small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
        right, bottom = self.canvas[1] - width - left, self.canvas[0] - height - top
        canvas = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=MEAN)
        return np.ascontiguousarray(canvas.transpose(2, 0, 1), np.float32)

    def extract(self, values: F32) -> F32:
        """Crop values of the canvas (H x W, or H x W x C) and resize them to the image."""
        left, top, width, height = self.box
        inside = np.ascontiguousarray(values[top : top + height, left : left + width])
        return np.asarray(cv2.resize(inside, self.size, interpolation=cv2.INTER_LINEAR), np.float32)


@dataclass(frozen=True)
class _Ready:
    """A picture placed on the canvas."""

    frame: Frame
    canvas: F32
    focal: float
    """Focal length in pixels of the picture."""
    exact: bool


@dataclass(frozen=True)
class _FocalRule:
    """Chooses the focal length of a picture."""

    focal: Focal
    fov_deg: float

    def of(self, picture: Picture) -> tuple[float, bool] | None:
        """Focal length in pixels, and whether it is exact; None if an exact one is required and not known."""
        view = picture.camera
        known = (view.K[0] + view.K[4]) / 2
        if self.focal != "assumed" and view.focal == "exact" and known > 0:
            return known, True
        if self.focal == "exact":
            return None
        if self.focal == "auto" and view.focal == "assumed" and known > 0:
            return known, False
        return max(picture.size) / 2 / math.tan(math.radians(self.fov_deg) / 2), False


class _Estimator:
    """A loaded backend with pre- and post-processing; `layers` names the maps to compute of each picture."""

    def __init__(self, stage: "_Metric3DStage", backend: Backend, rule: _FocalRule, layers: Sequence[str]) -> None:
        self.backend, self._rule, self._layers = backend, rule, layers
        self._batches = Batches(
            self._prepare,
            self._predict,
            self._finish,
            size=stage.batch_size,
            threads=stage.threads,
            whole=stage.compile,
        )

    def __call__(self, pictures: Sequence[Picture]) -> Sequence[Mapping[str, Map] | Reject]:
        return self._batches(pictures)

    def _prepare(self, picture: Picture) -> _Ready | Reject:
        focal = self._rule.of(picture)
        if focal is None:
            detail = f"the camera of the {picture.view} image is not known: set layers.metric.focal to auto"
            return Reject("no_exact_focal", detail=f"{detail}, which assumes a field of view and says so")
        rgb = picture.rgb
        frame = Frame(self.backend.canvas, (rgb.shape[1], rgb.shape[0]))
        return _Ready(frame, frame.place(rgb), *focal)

    def _predict(self, batch: list[_Ready | Reject]) -> list[tuple[_Ready, Prediction] | Reject]:
        canvases = [ready.canvas for ready in batch if isinstance(ready, _Ready)]
        found = iter(self.backend(canvases) if canvases else ())
        return [(ready, next(found)) if isinstance(ready, _Ready) else ready for ready in batch]

    def _finish(
        self, picture: Picture, _: _Ready | Reject, found: tuple[_Ready, Prediction] | Reject
    ) -> Mapping[str, Map] | Reject:
        if isinstance(found, Reject):
            return found
        ready, prediction = found
        name, revision = f"metric3d:{self.backend.name}", self.backend.revision
        maps: dict[str, Map] = {}
        if "metric" in self._layers:
            depth = planar_depth(prediction.depth, ready.frame, ready.focal)
            if not depth.any():
                return Reject("no_depth", detail=f"{name} gives no depth above 0 m for the {picture.view} image")
            estimator = name if ready.exact else f"{name} (focal: assumed)"
            maps["metric"] = encode_metric(depth, estimator=estimator, revision=revision)
            if prediction.confidence is not None:
                confidence = ready.frame.extract(prediction.confidence)
                maps["confidence"] = encode_confidence(confidence, estimator=name, revision=revision)
        if "normal" in self._layers and prediction.normals is not None:
            normals = unit_normals(prediction.normals, ready.frame)
            maps["normal"] = encode_normals(normals), map_info("normal", estimator=name, revision=revision)
        return maps


def planar_depth(canonical: F32, frame: Frame, focal: float) -> F32:
    """Planar z in meters (H x W of the image) from canonical depth on the canvas; 0 where that is not finite.

    Args:
        focal: focal length of the image in pixels.
    """
    depth = frame.extract(canonical) * np.float32(focal * frame.scale / _CANONICAL_FOCAL)
    return np.where(np.isfinite(depth), np.clip(depth, 0, _MAX_DEPTH), np.float32(0))


def unit_normals(normals: F32, frame: Frame) -> F32:
    """Unit normals (H x W x 3 of the image) from the normals on the canvas (3 x H x W); zero where there is none."""
    resized = frame.extract(normals.transpose(1, 2, 0))
    length = np.linalg.norm(resized, axis=2, keepdims=True)
    valid = np.isfinite(length) & (length > 1e-4)
    return np.divide(resized, length, out=np.zeros_like(resized), where=valid)


@dataclass(frozen=True)
class _Metric3DStage(EstimatedMap):
    """Base of the stages that run the model."""

    backend: Literal["onnx", "hub"] = "onnx"
    """`onnx`: ONNX Runtime. `hub`: the authors' torch code (needs a GPU, mmcv-lite, mmengine, timm and torchvision)."""
    file: str = ""
    """onnx: the graph in a folder or hub repository. Empty: a folder's only graph, or `onnx/model.onnx` on the hub. The
    graph determines the precision: `onnx/model_fp16.onnx` is half precision."""
    entry: str = "metric3d_vit_large"
    """hub: metric3d_vit_small, _large, _giant2, or metric3d_convnext_tiny, _large (depth only)."""
    canvas: tuple[int, int] = (0, 0)
    """Height and width of the canvas. Zeros: the size that the model was trained at (616 x 1064, ConvNeXt 544 x 1216).
    Square images use only 58 % of that: [616, 616] is faster, with models that take any size."""

    def __post_init__(self) -> None:
        if not self.model:
            object.__setattr__(self, "model", _MODELS[self.backend])
        super().__post_init__()
        if self.backend == "onnx" and (self.dtype != "auto" or self.compile):
            raise BadInput(
                f"layers.{self.layer}: dtype and compile need backend: hub; an ONNX graph has a fixed precision: "
                "choose a graph with `file`"
            )
        if self.canvas != (0, 0) and min(self.canvas) < 1:
            raise BadInput(f"layers.{self.layer}.canvas: give height and width in pixels, not {list(self.canvas)}")

    def _estimator(self, rule: _FocalRule, layers: Sequence[str]) -> _Estimator:
        normals = "normal" in layers
        options = BackendOptions(
            self.layer, self.model, self.revision, normals, self.canvas, self.gpus, max(1, int(self.cpus))
        )
        if self.backend == "onnx":
            backend: Backend = load_onnx(options, self.file)
        else:
            backend = load_hub(options, self.entry, self.dtype, compiled=self.compile)
        return _Estimator(self, backend, rule, layers)


@dataclass(frozen=True)
class Metric3D(_Metric3DStage):
    """Planar depth in meters, 0..300, with the model's confidence if it gives one (backend `hub`)."""

    layer: ClassVar[str] = "metric"
    version: ClassVar[int] = 2

    focal: Focal = "auto"
    """`auto`: the exact focal length if the pair has it, else an assumed one. `exact`: pairs without it are rejected
    (`no_exact_focal`). `assumed`: always an assumed one, to measure what an exact one is worth."""
    assumed_fov_deg: float = _FOV_DEG
    """Field of view along the longer side of images whose camera is unknown. Objaverse's rendering scripts use 49.1."""
    normals: bool = False
    """Also keep the model's normals, for `normal: from_metric`: one forward pass instead of two."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.assumed_fov_deg <= 170:
            raise BadInput(f"layers.metric.assumed_fov_deg: give degrees from 1 to 170, not {self.assumed_fov_deg:g}")

    def setup(self) -> _Estimator:
        layers = ("metric", "normal") if self.normals else ("metric",)
        return self._estimator(_FocalRule(self.focal, self.assumed_fov_deg), layers)


@dataclass(frozen=True)
class Metric3DNormal(_Metric3DStage):
    """Normals in the camera frame, pointing to the camera. They do not depend on the focal length."""

    layer: ClassVar[str] = "normal"

    def setup(self) -> _Estimator:
        return self._estimator(_FocalRule("auto", _FOV_DEG), ("normal",))


@dataclass(frozen=True)
class NormalFromMetric(Stage):
    """The normals that the metric stage kept (`layers.metric.normals: true`): the same bytes, without a second pass."""

    layer: ClassVar[str] = "normal"
    # All columns are read: if one is missing, `_copy` names the option that produces it, which the store cannot.
    needs: ClassVar[tuple[str, ...]] = ("metric",)
    version: ClassVar[int] = 1

    views: tuple[ViewName, ...] = ("source", "target")
    batch_size: int = field(default=64, metadata={"fingerprint": False})
    cpus: float = field(default=1.0, metadata={"fingerprint": False})
    gpus: float = field(default=0.0, metadata={"fingerprint": False})

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) < len(self.views):
            raise BadInput("layers.normal.views: give source, target or both, each once")

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        """Raises BadInput if layer `metric` has no normals of a view."""
        return [self._copy(sample["metric"]) for sample in samples]

    def _copy(self, metric: Columns) -> Row:
        kept: dict[str, Any] = json.loads(str(metric.get("other_maps", "{}")))
        columns: dict[str, bytes] = {}
        for view in self.views:
            name = "normal" if view == "target" else "source_normal"
            data = metric.get(name)
            if not isinstance(data, bytes) or name not in kept:
                raise BadInput(
                    f"layer 'normal' (from_metric): layer 'metric' has no normals of the {view} image: use `metric: "
                    f"{{stage: metric3d, normals: true}}` with {view} in its views, or give layer 'normal' a model"
                )
            columns[name] = data
        return Row({**columns, "maps": json.dumps({name: kept[name] for name in columns}, sort_keys=True)})
