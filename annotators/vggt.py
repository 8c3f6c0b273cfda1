"""Planar depth with confidence from VGGT, a network for the geometry of one or many views.

Invariant: a unit of metres is written only where something known in metres set the scale. VGGT's depth is up to scale:
its scenes are trained with the mean distance of their points at one (Wang et al., VGGT, 2025, arXiv:2503.11651, section
3.3), so `align: none` leaves MapInfo's `unit` empty, and `align: exact` says so in `estimator`.

Each image is a scene of its own, since an edit contradicts the static world that VGGT sees in several views.
"""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
from PIL import Image

from ..shards.codecs import F32, U8, encode_confidence, encode_metric
from ..shards.errors import BadInput
from ..shards.extras import require
from ..shards.sample import Reject
from .batches import Batches
from .checkpoint import Checkpoint, find_checkpoint
from .device import autocast, pick_device, ready_model, to_device, to_host
from .estimated import EstimatedMap, Map, Picture

if TYPE_CHECKING:
    import torch

INSTALL: Final = "pip install --no-deps einops git+https://github.com/facebookresearch/vggt"
_PATCH: Final = 14


@dataclass(frozen=True)
class VggtMetric(EstimatedMap):
    """Its confidence is VGGT's own, 1 and more, in no unit: larger where the depth is more certain."""

    layer: ClassVar[str] = "metric"
    version: ClassVar[int] = 2

    model: str = "facebook/VGGT-1B"
    side: int = 518
    """Of the longer side, in pixels, at which the network sees an image; a multiple of 14."""
    align: Literal["none", "exact"] = "none"
    """`none`: VGGT's own unit, and an empty `unit` in MapInfo. `exact`: metres, by one factor for each image, the
    median of exact over estimated depth; for renders, which know it, and then no test of the estimator's scale."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < _PATCH or self.side % _PATCH:
            raise BadInput(f"layers.{self.layer}.side: {self.side} is not a multiple of {_PATCH} pixels")

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        exact = [name for view, name in (("source", "source_metric"), ("target", "metric")) if view in self.views]
        return {"pair": ("facts", *self.views, *(exact if self.align == "exact" else ()))}

    def setup(self) -> "VggtEstimator":
        """Raises BadInput for a missing package (which no package index holds) or checkpoint."""
        require("torch", "annotators")
        vggt = _package()
        device = pick_device(self.layer, self.gpus)
        checkpoint = find_checkpoint(self.model, self.revision, files=["config.json", "model.safetensors"])
        network = ready_model(_load_network(vggt, checkpoint), device, compiled=self.compile)
        return VggtEstimator(self, checkpoint, network, device)


class VggtEstimator:
    """A loaded checkpoint: for each picture its depth and its confidence, at the picture's size."""

    def __init__(self, stage: VggtMetric, checkpoint: Checkpoint, network: Any, device: "torch.device") -> None:
        self._stage, self._checkpoint, self._network, self._device = stage, checkpoint, network, device
        self._batches = Batches(
            self._prepare,
            self._forward,
            self._finish,
            size=stage.batch_size,
            threads=stage.threads,
            whole=stage.compile,
        )

    def __call__(self, pictures: Sequence[Picture]) -> list[Mapping[str, Map] | Reject]:
        return self._batches(pictures, bucket=lambda picture: picture.size)

    def _prepare(self, picture: Picture) -> "_Ready":
        rgb = picture.rgb
        height, width = rgb.shape[:2]
        size = network_size(width, height, self._stage.side)
        return _Ready(np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC)), (height, width))

    def _forward(self, ready: list["_Ready"]) -> list[Callable[[], F32]]:
        """For each image depth and confidence, float32 (2, H, W)."""
        import torch

        pixels = to_device([one.pixels for one in ready], self._device)
        with torch.inference_mode():
            images = (pixels.permute(0, 3, 1, 2).float() / 255)[:, None].contiguous()
            with autocast(self._device, self._stage.dtype):
                seen = self._network(images)
            maps = torch.stack([seen["depth"][:, 0, ..., 0], seen["depth_conf"][:, 0]], dim=1).float()
            whole = torch.nn.functional.interpolate(maps, ready[0].shape, mode="bilinear", align_corners=False)
        return to_host(whole)

    def _finish(self, picture: Picture, ready: "_Ready", raw: Callable[[], F32]) -> Mapping[str, Map] | Reject:
        depth, confidence = raw()
        maker = {"estimator": self._checkpoint.name, "revision": self._checkpoint.revision}
        certain = encode_confidence(confidence, **maker)
        if self._stage.align == "none":
            data, info = encode_metric(depth, **maker)
            return {"metric": (data, info.model_copy(update={"unit": ""})), "confidence": certain}
        factor = metres_per_unit(depth, picture.exact_metric)
        if not factor:
            return Reject(
                "no_exact_map", detail=f"no exact metric depth of the {picture.view} image: set align to none"
            )
        maker["estimator"] += "+exact_scale"
        return {"metric": encode_metric(depth * np.float32(factor), **maker), "confidence": certain}


class _Ready(NamedTuple):
    pixels: U8
    shape: tuple[int, int]
    """Height and width of the picture itself."""


def network_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height at which the network sees an image: the longer side `side`, both multiples of 14, all of it."""
    scale = side / max(width, height)
    across, down = (max(1, round(length * scale / _PATCH)) * _PATCH for length in (width, height))
    return across, down


def metres_per_unit(depth: F32, exact: F32 | None) -> float:
    """Median of exact (H, W; metres, 0 where there is none) over estimated depth (H, W); 0 where none is known."""
    if exact is None or not (known := (exact > 0) & (depth > 0)).any():
        return 0.0
    return float(np.median(exact[known] / depth[known]))


def _package() -> Any:
    if importlib.util.find_spec("vggt") is None:
        raise BadInput(f"package 'vggt' is not installed, and no package index holds it: {INSTALL}")
    try:
        return importlib.import_module("vggt.models.vggt").VGGT
    except ImportError as error:
        raise BadInput(f"package 'vggt' cannot be imported ({error}): {INSTALL}") from None


def _load_network(vggt: Any, checkpoint: Checkpoint) -> Any:
    """The aggregator and the depth head alone. Raises BadInput where weights of theirs are missing or do not fit."""
    safetensors = require("safetensors", "annotators")
    weights = checkpoint.folder / "model.safetensors"
    try:
        # The hub's loader says on standard output what it loads.
        with contextlib.redirect_stdout(sys.stderr):
            network = vggt.from_pretrained(str(checkpoint.folder))
        with safetensors.safe_open(str(weights), framework="pt") as file:
            stored = set(file.keys())
    except (safetensors.SafetensorError, OSError, RuntimeError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise BadInput(
            f"checkpoint '{checkpoint.model}' cannot be loaded by package 'vggt' ({reason}): give facebook/VGGT-1B or "
            "a folder with its config.json and model.safetensors"
        ) from None
    for head in ("camera_head", "point_head", "track_head"):
        setattr(network, head, None)
    if missing := sorted(set(network.state_dict()) - stored):
        raise BadInput(f"checkpoint '{checkpoint.model}' lacks {len(missing)} weights, such as {missing[0]}")
    return network
