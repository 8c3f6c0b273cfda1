"""Planar depth with confidence from VGGT, a network that estimates geometry from one or more views.

Invariant: the unit is meters only if exact depth gave the scale. VGGT's depth is up to scale: its training scenes are
scaled to a mean point distance of one (Wang et al., VGGT, 2025, arXiv:2503.11651, section 3.3). So `align: none` leaves
MapInfo's `unit` empty, and `align: exact` adds `+exact_scale` to `estimator`.

Each image is a separate scene: source and target do not show one static scene, which VGGT assumes for several views.
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
    """Layer `metric` by VGGT. `confidence` is VGGT's own, 1 or more, without a unit: larger is more certain."""

    layer: ClassVar[str] = "metric"
    version: ClassVar[int] = 2

    model: str = "facebook/VGGT-1B"
    side: int = 518
    """Length in pixels of the longer side of the network's input; a multiple of 14."""
    align: Literal["none", "exact"] = "none"
    """`none`: VGGT's own scale, and an empty `unit` in MapInfo. `exact`: meters, by one factor per image, the median of
    exact over estimated depth. This needs exact depth, and an audit then does not test the estimator's scale."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < _PATCH or self.side % _PATCH:
            raise BadInput(f"layers.{self.layer}.side: {self.side} is not a multiple of {_PATCH} pixels")

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        exact = [name for view, name in (("source", "source_metric"), ("target", "metric")) if view in self.views]
        return {"pair": ("facts", *self.views, *(exact if self.align == "exact" else ()))}

    def setup(self) -> "VggtEstimator":
        """Raises BadInput if the package (which is not on PyPI) or the checkpoint is missing."""
        require("torch", "annotators")
        vggt = _package()
        device = pick_device(self.layer, self.gpus)
        checkpoint = find_checkpoint(self.model, self.revision, files=["config.json", "model.safetensors"])
        network = ready_model(_load_network(vggt, checkpoint), device, compiled=self.compile)
        return VggtEstimator(self, checkpoint, network, device)


class VggtEstimator:
    """A loaded checkpoint. Gives depth and confidence of each picture, at the picture's size."""

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
        """Depth and confidence of each image, float32 (2, H, W)."""
        import torch

        pixels = to_device([one.pixels for one in ready], self._device)
        with torch.inference_mode():
            images = (pixels.permute(0, 3, 1, 2).float() / 255)[:, None].contiguous()
            with autocast(self._device, self._stage.dtype):
                predictions = self._network(images)
            maps = torch.stack([predictions["depth"][:, 0, ..., 0], predictions["depth_conf"][:, 0]], dim=1).float()
            resized = torch.nn.functional.interpolate(maps, ready[0].shape, mode="bilinear", align_corners=False)
        return to_host(resized)

    def _finish(self, picture: Picture, ready: "_Ready", raw: Callable[[], F32]) -> Mapping[str, Map] | Reject:
        depth, confidence = raw()
        origin = {"estimator": self._checkpoint.name, "revision": self._checkpoint.revision}
        encoded_confidence = encode_confidence(confidence, **origin)
        if self._stage.align == "none":
            data, info = encode_metric(depth, **origin)
            return {"metric": (data, info.model_copy(update={"unit": ""})), "confidence": encoded_confidence}
        factor = meters_per_unit(depth, picture.exact_metric)
        if not factor:
            return Reject(
                "no_exact_map", detail=f"no exact metric depth of the {picture.view} image: set align to none"
            )
        origin["estimator"] += "+exact_scale"
        return {"metric": encode_metric(depth * np.float32(factor), **origin), "confidence": encoded_confidence}


class _Ready(NamedTuple):
    pixels: U8
    shape: tuple[int, int]
    """Height and width of the original picture."""


def network_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height of the network's input for an image: longer side `side`, both multiples of 14, uncropped."""
    scale = side / max(width, height)
    across, down = (max(1, round(length * scale / _PATCH)) * _PATCH for length in (width, height))
    return across, down


def meters_per_unit(depth: F32, exact: F32 | None) -> float:
    """Median of exact depth (H, W; meters, 0 where there is none) over estimated depth (H, W); 0 if there is none."""
    if exact is None or not (known := (exact > 0) & (depth > 0)).any():
        return 0.0
    return float(np.median(exact[known] / depth[known]))


def _package() -> Any:
    if importlib.util.find_spec("vggt") is None:
        raise BadInput(f"package 'vggt' is not installed, and it is not on PyPI: {INSTALL}")
    try:
        return importlib.import_module("vggt.models.vggt").VGGT
    except ImportError as error:
        raise BadInput(f"package 'vggt' cannot be imported ({error}): {INSTALL}") from None


def _load_network(vggt: Any, checkpoint: Checkpoint) -> Any:
    """Load only the aggregator and the depth head. Raises BadInput if their weights are missing or do not fit."""
    safetensors = require("safetensors", "annotators")
    weights = checkpoint.folder / "model.safetensors"
    try:
        # The hub's loader prints to standard output.
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
