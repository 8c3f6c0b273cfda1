"""Metric3D v2 (Hu et al. 2024, arXiv 2404.15506): metric depth and normals of one image, by either backend.

Invariant: what is done around the model is the authors' own (their `hubconf.py` and `mono/utils/do_test.py`):

- The image is resized into the canvas with its ratio kept and centred on the mean colour (`Frame`).
- The model answers for a camera with a focal length of 1000 px. Depth in metres is its answer times f * scale / 1000,
  where `scale` is that of the resizing and f = (fx + fy) / 2 of the image as given: the paper's canonical camera
  transformation of labels (CSTM label).
- Depth is planar z, as ours: the authors unproject it by z * inverse(K) (u, v, 1).
- Normals are in our convention already, OpenCV axes and pointing to the camera: the authors turn their training normals
  from OpenGL axes by diag(1, -1, -1) and orient them to a negative product with the point that is seen.
- Both come back bilinearly, pixel centres on pixel centres, and normals to length one.

Which focal length was used is told: a depth map made with one that is not exact says so in its `estimator`.
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
from .metric3d_backends import MEAN, Backend, Prediction, Wish
from .metric3d_hub import load_hub
from .metric3d_onnx import load_onnx

Focal = Literal["auto", "exact", "assumed"]

_MODELS: Final = {"onnx": "onnx-community/metric3d-vit-large", "hub": "yvanyin/metric3d"}
_CANONICAL_FOCAL: Final = 1000.0
_FOV_DEG: Final = 50.0
_FARTHEST: Final = 300.0
"""Metres; the authors clamp there."""


@dataclass(frozen=True)
class Frame:
    """Where an image lies in the canvas: in its middle, as large as fits."""

    canvas: tuple[int, int]
    """Height and width."""
    size: tuple[int, int]
    """Width and height of the image."""

    @property
    def scale(self) -> float:
        """Canvas pixels to one of the image."""
        return min(self.canvas[0] / self.size[1], self.canvas[1] / self.size[0])

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height of the image in the canvas."""
        # Cut off, as the authors do; the small summand keeps 616 from becoming 615 by a last bit.
        width, height = (max(1, int(side * self.scale + 1e-6)) for side in self.size)
        return (self.canvas[1] - width) // 2, (self.canvas[0] - height) // 2, width, height

    def place(self, rgb: U8) -> F32:
        """The canvas, 3 x H x W float32 0..255, of an image H x W x 3."""
        left, top, width, height = self.box
        small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
        right, bottom = self.canvas[1] - width - left, self.canvas[0] - height - top
        filled = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=MEAN)
        return np.ascontiguousarray(filled.transpose(2, 0, 1), np.float32)

    def lift(self, values: F32) -> F32:
        """Values of the canvas (H x W, or H x W x C) at the image's pixels."""
        left, top, width, height = self.box
        inside = np.ascontiguousarray(values[top : top + height, left : left + width])
        return np.asarray(cv2.resize(inside, self.size, interpolation=cv2.INTER_LINEAR), np.float32)


@dataclass(frozen=True)
class _Ready:
    """A picture on its canvas."""

    frame: Frame
    canvas: F32
    focal: float
    """Pixels of the picture."""
    exact: bool


@dataclass(frozen=True)
class _FocalRule:
    """Which focal length a picture is taken to have."""

    focal: Focal
    fov_deg: float

    def of(self, picture: Picture) -> tuple[float, bool] | None:
        """Pixels, and whether that is exact; None where it must be and is not."""
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
    """A loaded backend with what is done around it; `layers` says which maps are made of each picture."""

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
            depth = metres(prediction.depth, ready.frame, ready.focal)
            if not depth.any():
                return Reject("no_depth", detail=f"{name} gives no depth above 0 m for the {picture.view} image")
            estimator = name if ready.exact else f"{name} (focal: assumed)"
            maps["metric"] = encode_metric(depth, estimator=estimator, revision=revision)
            if prediction.confidence is not None:
                certain = ready.frame.lift(prediction.confidence)
                maps["confidence"] = encode_confidence(certain, estimator=name, revision=revision)
        if "normal" in self._layers and prediction.normals is not None:
            normals = unit_normals(prediction.normals, ready.frame)
            maps["normal"] = encode_normals(normals), map_info("normal", estimator=name, revision=revision)
        return maps


def metres(canonical: F32, frame: Frame, focal: float) -> F32:
    """Planar z (H x W of the image) of canonical depth on the canvas; 0 where the model gives no finite number.

    Args:
        focal: of the image, in pixels.
    """
    depth = frame.lift(canonical) * np.float32(focal * frame.scale / _CANONICAL_FOCAL)
    return np.where(np.isfinite(depth), np.clip(depth, 0, _FARTHEST), np.float32(0))


def unit_normals(normals: F32, frame: Frame) -> F32:
    """Normals (H x W x 3 of the image) of length one from those on the canvas (3 x H x W); zero where there is none."""
    lifted = frame.lift(normals.transpose(1, 2, 0))
    length = np.linalg.norm(lifted, axis=2, keepdims=True)
    there = np.isfinite(length) & (length > 1e-4)
    return np.divide(lifted, length, out=np.zeros_like(lifted), where=there)


@dataclass(frozen=True)
class _Metric3DStage(EstimatedMap):
    """What the stages that run the model share."""

    backend: Literal["onnx", "hub"] = "onnx"
    """`onnx`: ONNX Runtime; `hub`: the authors' torch code (wants a GPU, mmcv-lite, mmengine, timm, torchvision)."""
    file: str = ""
    """onnx: the graph in a folder or hub repository; empty: the only one, on the hub `onnx/model.onnx`. The graph
    settles the precision: `onnx/model_fp16.onnx` is half precision."""
    entry: str = "metric3d_vit_large"
    """hub: metric3d_vit_small, _large, _giant2, or metric3d_convnext_tiny, _large (depth alone)."""
    canvas: tuple[int, int] = (0, 0)
    """Height and width that images are resized into; zeros: what the model was trained at (616 x 1064, ConvNeXt
    544 x 1216). Square images waste 42 % of that: [616, 616] is faster, on models that take any size."""

    def __post_init__(self) -> None:
        if not self.model:
            object.__setattr__(self, "model", _MODELS[self.backend])
        super().__post_init__()
        if self.backend == "onnx" and (self.dtype != "auto" or self.compile):
            raise BadInput(
                f"layers.{self.layer}: dtype and compile are for backend: hub; an ONNX graph has its own precision: "
                "choose it with `file`"
            )
        if self.canvas != (0, 0) and min(self.canvas) < 1:
            raise BadInput(f"layers.{self.layer}.canvas: give height and width in pixels, not {list(self.canvas)}")

    def _estimator(self, rule: _FocalRule, layers: Sequence[str]) -> _Estimator:
        normals = "normal" in layers
        wish = Wish(self.layer, self.model, self.revision, normals, self.canvas, self.gpus, max(1, int(self.cpus)))
        if self.backend == "onnx":
            backend: Backend = load_onnx(wish, self.file)
        else:
            backend = load_hub(wish, self.entry, self.dtype, compiled=self.compile)
        return _Estimator(self, backend, rule, layers)


@dataclass(frozen=True)
class Metric3D(_Metric3DStage):
    """Planar depth in metres, 0..300, with the model's confidence where it tells of one (`hub`)."""

    layer: ClassVar[str] = "metric"
    version: ClassVar[int] = 2

    focal: Focal = "auto"
    """`auto`: the exact focal length where the pair knows it, else an assumed one; `exact`: pairs without are rejected
    (`no_exact_focal`); `assumed`: always assumed, as a measure of what knowing it is worth."""
    assumed_fov_deg: float = _FOV_DEG
    """Field of view along the longer side of an image of an unknown camera. Objaverse's rendering scripts have 49.1."""
    normals: bool = False
    """Keep the model's normals too, for `normal: from_metric`: one pass instead of two."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.assumed_fov_deg <= 170:
            raise BadInput(f"layers.metric.assumed_fov_deg: give degrees from 1 to 170, not {self.assumed_fov_deg:g}")

    def setup(self) -> _Estimator:
        layers = ("metric", "normal") if self.normals else ("metric",)
        return self._estimator(_FocalRule(self.focal, self.assumed_fov_deg), layers)


@dataclass(frozen=True)
class Metric3DNormal(_Metric3DStage):
    """Normals in the camera frame, pointing to the camera; they do not depend on the focal length that is told."""

    layer: ClassVar[str] = "normal"

    def setup(self) -> _Estimator:
        return self._estimator(_FocalRule("auto", _FOV_DEG), ("normal",))


@dataclass(frozen=True)
class NormalFromMetric(Stage):
    """The normals that the metric stage kept (`layers.metric.normals: true`): the same bytes, no second pass."""

    layer: ClassVar[str] = "normal"
    # All columns are read, for the store's own message on a missing one could not say which option makes it.
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
        """Raises BadInput where the metric layer holds no normals of a view."""
        return [self._copy(sample["metric"]) for sample in samples]

    def _copy(self, metric: Columns) -> Row:
        kept: dict[str, Any] = json.loads(str(metric.get("other_maps", "{}")))
        columns: dict[str, bytes] = {}
        for view in self.views:
            name = "normal" if view == "target" else "source_normal"
            data = metric.get(name)
            if not isinstance(data, bytes) or name not in kept:
                raise BadInput(
                    f"layer 'normal' (from_metric): layer 'metric' holds no normals of the {view} image: use `metric: "
                    f"{{stage: metric3d, normals: true}}` with {view} in its views, or give layer 'normal' a model"
                )
            columns[name] = data
        return Row({**columns, "maps": json.dumps({name: kept[name] for name in columns}, sort_keys=True)})
