"""Depth-Anything-V2: relative inverse depth, and planar depth in meters from its metric checkpoints.

Invariant: maps equal those of transformers' image processor, model and post-processing at the same precision. The
network's last layer computes in float32 even under autocast: bfloat16 has 8 bits of precision, too few for depth.
Model: Yang et al., Depth Anything V2, 2024 (arXiv:2406.09414), sections 3 and 7.2 (metric).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from PIL import Image

from ..shards.codecs import F32, U8, encode_metric, encode_relative
from ..shards.errors import BadInput
from ..shards.extras import require
from .batches import Batches
from .checkpoint import Checkpoint, find_checkpoint
from .device import autocast, pick_device, ready_model, to_device, to_host
from .estimated import EstimatedMap, Map, Picture
from .onednn import speed_up_linears

if TYPE_CHECKING:
    import torch

Kind = Literal["relative", "metric"]
_ENCODE = {"relative": encode_relative, "metric": encode_metric}


@dataclass(frozen=True)
class _DepthStage(EstimatedMap):
    kind: ClassVar[Kind]
    """The kind of depth that the checkpoint's configuration must name."""

    def setup(self) -> "DepthEstimator":
        torch = require("torch", "annotators")
        transformers = require("transformers", "annotators")
        device = pick_device(self.layer, self.gpus)
        checkpoint = find_checkpoint(self.model, self.revision, files=["*.json", "*.safetensors"])
        resizing = Resizing.load(checkpoint)
        _check_kind(transformers, checkpoint, self.layer, self.kind)
        network = _load_network(transformers, checkpoint, torch.float32)
        _fold_layer_scale(network)
        _keep_last_layer_in_float32(network, device)
        # Pixels arrive interleaved, so oneDNN's convolutions need no reordering.
        network = network.to(memory_format=torch.channels_last)
        network = ready_model(network, device, compiled=self.compile)
        if device.type == "cpu" and self.dtype in ("auto", "float32") and not self.compile:
            speed_up_linears(network)
        return DepthEstimator(self, checkpoint, network, resizing, device)


@dataclass(frozen=True)
class DepthAnything(_DepthStage):
    """Relative inverse depth (near = large), without a unit."""

    layer: ClassVar[str] = "depth"
    kind: ClassVar[Kind] = "relative"

    model: str = "depth-anything/Depth-Anything-V2-Large-hf"


@dataclass(frozen=True)
class DepthAnythingMetric(_DepthStage):
    """Planar depth in meters, up to the checkpoint's `max_depth` (20 m indoors, 80 m outdoors)."""

    layer: ClassVar[str] = "metric"
    version: ClassVar[int] = 2
    kind: ClassVar[Kind] = "metric"

    model: str = "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf"


@dataclass(frozen=True)
class Resizing:
    """Preprocessing, as a checkpoint's image-processor configuration describes it; fields have the same names."""

    height: int
    width: int
    keep_aspect_ratio: bool
    multiple: int
    resample: int
    scale: tuple[float, ...]
    """For red, green, blue: network input = scale * byte + shift."""
    shift: tuple[float, ...]

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> "Resizing":
        """Raises BadInput if the checkpoint has no such configuration, or one that is not supported."""
        processors: Any = require("transformers.models.dpt.image_processing_pil_dpt", "annotators")
        try:
            loaded: Any = processors.DPTImageProcessorPil.from_pretrained(str(checkpoint.folder))
        except (OSError, ValueError) as error:
            raise BadInput(
                f"checkpoint '{checkpoint.model}' has no image-processor configuration ({_first_line(error)}): give "
                "one in transformers' layout, such as depth-anything/Depth-Anything-V2-Small-hf"
            ) from None
        if not loaded.do_resize or loaded.do_pad:
            raise BadInput(
                f"checkpoint '{checkpoint.model}': an image processor that pads, or does not resize, is not supported"
            )
        mean, std = (loaded.image_mean, loaded.image_std) if loaded.do_normalize else ((0.0,) * 3, (1.0,) * 3)
        factor = loaded.rescale_factor if loaded.do_rescale else 1.0
        return cls(
            height=loaded.size["height"],
            width=loaded.size["width"],
            keep_aspect_ratio=bool(loaded.keep_aspect_ratio),
            multiple=int(loaded.ensure_multiple_of),
            resample=int(loaded.resample),
            scale=tuple(factor / s for s in std),
            shift=tuple(-m / s for m, s in zip(mean, std, strict=True)),
        )

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the network's input for an image of this width and height.

        With `keep_aspect_ratio`, the scale of the side that changes less is used for both, so the other side may exceed
        its configured length.
        """
        across, down = self.width / width, self.height / height
        if self.keep_aspect_ratio:
            across = down = across if abs(1 - across) < abs(1 - down) else down
        sides = (round(across * width / self.multiple), round(down * height / self.multiple))
        return max(1, sides[0]) * self.multiple, max(1, sides[1]) * self.multiple

    def __call__(self, rgb: U8) -> U8:
        """Resize an image to uint8 H x W x 3, with Pillow as transformers does; floats would take four times the
        bytes."""
        size = self.size(rgb.shape[1], rgb.shape[0])
        return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling(self.resample)))


class DepthEstimator:
    """A loaded checkpoint. Takes pictures of any sizes and gives one depth map for each, at the picture's size."""

    def __init__(
        self, stage: _DepthStage, checkpoint: Checkpoint, network: Any, resizing: Resizing, device: "torch.device"
    ) -> None:
        import torch

        self._stage = stage
        self.checkpoint, self._network, self._resizing, self._device = checkpoint, network, resizing, device
        self._scale, self._shift = (
            torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)
            for values in (resizing.scale, resizing.shift)
        )
        # Batches bring no gain on a CPU: the data of one image does not stay in its caches.
        size = stage.batch_size if device.type == "cuda" else 1
        self._batches = Batches(
            self._prepare, self._forward, self._finish, size=size, threads=stage.threads, whole=stage.compile
        )

    def __call__(self, pictures: Sequence[Picture]) -> list[Mapping[str, Map]]:
        return self._batches(pictures, bucket=lambda picture: picture.size)

    def predict(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Network output, float32 (N, h, w), for resized images, uint8 (N, h, w, 3), on the device."""
        import torch

        with torch.inference_mode():
            values = pixels.permute(0, 3, 1, 2) * self._scale + self._shift
            with autocast(self._device, self._stage.dtype):
                return self._network(pixel_values=values).predicted_depth.float()

    def _prepare(self, picture: Picture) -> "_Ready":
        rgb = picture.rgb
        return _Ready(self._resizing(rgb), (rgb.shape[0], rgb.shape[1]))

    def _forward(self, ready: list["_Ready"]) -> list[Callable[[], F32]]:
        import torch

        depth = self.predict(to_device([one.pixels for one in ready], self._device))
        with torch.inference_mode():
            maps = torch.nn.functional.interpolate(depth[:, None], ready[0].shape, mode="bicubic", align_corners=False)
        return to_host(maps[:, 0])

    def _finish(self, picture: Picture, ready: "_Ready", raw: Callable[[], F32]) -> Mapping[str, Map]:
        encode = _ENCODE[self._stage.kind]
        return {self._stage.layer: encode(raw(), estimator=self.checkpoint.name, revision=self.checkpoint.revision)}


class _Ready(NamedTuple):
    pixels: U8
    shape: tuple[int, int]
    """Height and width of the original picture."""


def _check_kind(transformers: Any, checkpoint: Checkpoint, layer: str, kind: Kind) -> None:
    """Raises BadInput if the checkpoint is of another model or of the other kind."""
    try:
        config = transformers.AutoConfig.from_pretrained(str(checkpoint.folder))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"layers.{layer}.model: '{checkpoint.model}' is not a model folder ({_first_line(error)})"
        ) from None
    if config.model_type != "depth_anything":
        raise BadInput(
            f"layers.{layer}.model: '{checkpoint.model}' has model type '{config.model_type}', not depth_anything"
        )
    if config.depth_estimation_type != kind:
        other = {"relative": "Depth-Anything-V2-Large-hf", "metric": "Depth-Anything-V2-Metric-Indoor-Large-hf"}[kind]
        raise BadInput(
            f"layers.{layer}.model: '{checkpoint.model}' estimates {config.depth_estimation_type} depth, and layer "
            f"'{layer}' is {kind} depth: give a checkpoint such as depth-anything/{other}"
        )


def _load_network(transformers: Any, checkpoint: Checkpoint, dtype: Any) -> Any:
    """Raises BadInput if weights cannot be loaded or are missing (transformers would initialize them at random)."""
    damaged = require("safetensors", "annotators").SafetensorError
    try:
        network, loaded = transformers.AutoModelForDepthEstimation.from_pretrained(
            str(checkpoint.folder), dtype=dtype, output_loading_info=True
        )
    except (damaged, OSError, RuntimeError, ValueError) as error:
        raise BadInput(
            f"checkpoint '{checkpoint.model}' cannot be loaded ({_first_line(error)}): fetch it again"
        ) from None
    if missing := sorted(loaded["missing_keys"]):
        raise BadInput(
            f"checkpoint '{checkpoint.model}' lacks {len(missing)} weights, such as {missing[0]}: fetch it again"
        )
    return network


def _fold_layer_scale(network: "torch.nn.Module") -> None:
    """Multiply DINOv2's LayerScale into the preceding linear layer: the same function, with fewer memory accesses."""
    import torch

    for layer in network.modules():
        for scale, block, names in (
            ("layer_scale1", "attention", ("o_proj",)),
            ("layer_scale2", "mlp", ("fc2", "down_proj")),
        ):
            inner = getattr(layer, block, None)
            linear = next((getattr(inner, name) for name in names if hasattr(inner, name)), None)
            if hasattr(layer, scale) and isinstance(linear, torch.nn.Linear):
                factor: torch.Tensor = getattr(layer, scale).lambda1.detach()
                linear.weight.data *= factor[:, None]
                linear.bias.data *= factor
                setattr(layer, scale, torch.nn.Identity())


def _keep_last_layer_in_float32(network: Any, device: "torch.device") -> None:
    import torch

    convolution: Any = network.head.conv3
    inner = convolution.forward

    def forward(features: "torch.Tensor") -> "torch.Tensor":
        with torch.autocast(device.type, enabled=False):
            return inner(features.float())

    convolution.forward = forward


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
