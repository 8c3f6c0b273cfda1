"""The networks of SpatialFusion: the spatial branch, the depth decoder, the depth adapter, and their losses.

Invariant: information flows from the MLLM to the branch, from there to depth, and from depth to the editing model;
never back. The editing model and its LoRA are those of the recipes `spatialdiff` and `spatialedit`: the adapter only
adds to the output of its image embedding, and adds zero before training.

Shapes: B samples, H x W pixels, N = H/16 * W/16 tokens of the latent grid in row order, L tokens of the MLLM's prompt
(padded), d the MLLM's width.
"""

import copy
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.models.depth_anything.configuration_depth_anything import DepthAnythingConfig
from transformers.models.depth_anything.modeling_depth_anything import DepthAnythingNeck
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextDecoderLayer, Qwen3VLTextRotaryEmbedding

from ..spatialdiff.frozen import PATCH
from ..spatialdiff.nets import SpatialDiffNet
from ..spatialedit.nets import EditNet

_TAPS: Final = 4
"""Layers of the branch that the decoder reads."""


class _Joined:
    """What a decoder layer of transformers uses of a cache: the layer's keys and values follow those of the MLLM.

    Args:
        keys, values: (B, layers, key heads, L, head size).
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._keys = keys
        self._values = values

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        first, second = self._keys[:, layer].to(keys.dtype), self._values[:, layer].to(values.dtype)
        return torch.cat([first, keys], -2), torch.cat([second, values], -2)


class SpatialBranch(nn.Module):
    """Learnable spatial queries in a stack that parallels the MLLM's (a mixture of transformers, Liang et al. 2024,
    arXiv 2411.04996): its own projections, norms and MLPs, initialized from the MLLM's, and joint self-attention.

    In layer i the queries attend to the MLLM's tokens before layer i (through the MLLM's keys and values of that layer)
    and to each other, in both directions. The MLLM's tokens do not attend to the queries.

    Args:
        language_model: a `Qwen3VLTextModel`, which is copied, in float32.
        rows, columns: the latent grid.
    """

    grid: Tensor
    """(3, 1, N): time, row and column of each query."""

    def __init__(self, language_model: Any, rows: int, columns: int) -> None:
        super().__init__()
        config = copy.deepcopy(language_model.config)
        config._attn_implementation = "sdpa"  # takes a mask that is not causal
        self.queries = nn.Parameter(torch.randn(rows * columns, config.hidden_size) * 0.02)
        self.rotary = Qwen3VLTextRotaryEmbedding(config)
        with torch.device("meta"):
            layers = [Qwen3VLTextDecoderLayer(config, index) for index in range(config.num_hidden_layers)]
        for layer, original in zip(layers, language_model.layers, strict=True):
            weights = {
                name: value.detach().to(torch.float32, copy=True) for name, value in original.state_dict().items()
            }
            layer.load_state_dict(weights, assign=True)
        self.layers = nn.ModuleList(layers)
        grid = torch.stack(torch.meshgrid(torch.arange(1), torch.arange(rows), torch.arange(columns), indexing="ij"))
        self.register_buffer("grid", grid.flatten(1)[:, None], persistent=False)
        self.taps = tapped_layers(len(layers))
        self.gradient_checkpointing = False

    def enable_gradient_checkpointing(self) -> None:
        self.gradient_checkpointing = True

    def forward(self, keys: Tensor, values: Tensor, length: Tensor, start: Tensor) -> list[Tensor]:
        """Outputs (B, N, d) of four layers; the last one is that of the last layer.

        Args:
            keys, values: (B, layers, key heads, L, head size), of the MLLM.
            length: (B,) number of the L tokens that are not padding.
            start: (B,) first position after the prompt. The queries continue there as the tokens of an image would:
                (start, start + row, start + column) (our reading).
        """
        hidden = self.queries.expand(len(keys), -1, -1)
        known = torch.arange(keys.shape[-2], device=keys.device) < length[:, None]
        mask = F.pad(known, (0, hidden.shape[1]), value=True)[:, None, None]
        rotary = self.rotary(hidden, self.grid + start[:, None])
        shared: Any = {"position_embeddings": rotary, "attention_mask": mask, "past_key_values": _Joined(keys, values)}
        outputs: list[Tensor] = []
        for layer in self.layers:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(layer, hidden, use_reentrant=False, **shared)
            else:
                hidden = layer(hidden, **shared)
            outputs.append(hidden)
        return [outputs[index] for index in self.taps]


def tapped_layers(count: int) -> tuple[int, ...]:
    """Indices of the four layers that the decoder reads: evenly spaced, with the last one. Some repeat in a stack of
    fewer than four layers."""
    return tuple(-(-count * part // _TAPS) - 1 for part in range(1, _TAPS + 1))


class DepthDecoder(nn.Module):
    """A DPT decoder (Ranftl et al. 2021, section 3) from four layers of the branch to depth and confidence.

    As in VGGT's head, the tokens of all layers pass one LayerNorm first, and the computation is in float32.
    """

    def __init__(self, hidden: int, rows: int, columns: int, features: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        config = DepthAnythingConfig(
            reassemble_hidden_size=hidden,
            reassemble_factors=[4, 2, 1, 0.5],
            neck_hidden_sizes=list(channels),
            fusion_hidden_size=features,
        )
        self.norm = nn.LayerNorm(hidden)
        self.neck = DepthAnythingNeck(config)
        # The first fusion block has nothing to fuse. Weights that are never used would stop distributed training.
        self.neck.fusion_stage.layers[0].residual_layer1 = nn.Identity()
        self.before = nn.Conv2d(features, features // 2, 3, padding=1)
        self.after = nn.Sequential(nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 2, 1))

    def forward(self, layers: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Four times (B, N, d) to depth = exp(a) in meters and confidence = 1 + exp(b) (DUSt3R, Wang et al. 2024,
        section 3.2), (B, H, W) float32 each."""
        with torch.autocast(layers[0].device.type, enabled=False):
            tokens = [
                F.pad(self.norm(layer.float()), (0, 0, 1, 0)) for layer in layers
            ]  # the neck drops the first token
            fused = self.neck(tokens, self.rows, self.columns)[-1]
            size = (self.rows * PATCH, self.columns * PATCH)
            raw = F.interpolate(self.before(fused), size, mode="bilinear", align_corners=True)
            log_depth, log_confidence = self.after(raw).unbind(1)
            return log_depth.exp(), 1 + log_confidence.exp()


class DepthAdapter(nn.Module):
    """Depth to tokens that are added to those of the noised target. The last layer is zero before training, so that
    the editing model is then unchanged.

    Args:
        width: of the editing model's tokens.
    """

    def __init__(self, width: int, channels: int = 128) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, channels, 4, 4),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 4, 4),
            nn.SiLU(),
        )
        self.out = nn.Linear(channels, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, depth: Tensor) -> Tensor:
        """(B, H, W) in meters to (B, N, width)."""
        return self.out(self.encoder(depth.log()[:, None]).flatten(2).transpose(1, 2))


class FluxBackbone(nn.Module):
    """FLUX.1-Kontext with LoRA.

    Args:
        net: of the recipe `spatialdiff`, without connector and head.
    """

    def __init__(self, net: SpatialDiffNet) -> None:
        super().__init__()
        self.net = net
        self.width: int = net.transformer.inner_dim

    def forward(self, inputs: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        with self.conditioned(tokens):
            return self.net(inputs)["loss"]

    def conditioned(self, tokens: Tensor) -> AbstractContextManager[None]:
        def add(embedded: Tensor) -> Tensor:  # (B, 2N, width): target, source
            target, source = embedded.split(tokens.shape[1], 1)
            return torch.cat([target + tokens.to(target.dtype), source], 1)

        return _changed_output(self.net.transformer.x_embedder, add)


class JoyAiBackbone(nn.Module):
    """JoyAI-Image-Edit with LoRA.

    Args:
        net: of the recipe `spatialedit`.
    """

    def __init__(self, net: EditNet) -> None:
        super().__init__()
        self.net = net
        self.width: int = self._transformer.hidden_size

    @property
    def _transformer(self) -> Any:
        return self.net.transformer.get_base_model()

    def forward(self, inputs: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        """One sample at a time, since the network divides a batch by the lengths of its texts."""
        losses: list[Tensor] = []
        for index in range(len(tokens)):
            one = slice(index, index + 1)
            with self.conditioned(tokens[one]):
                losses.append(self.net({name: value[one] for name, value in inputs.items()})["loss"])
        return torch.cat(losses)

    def conditioned(self, tokens: Tensor) -> AbstractContextManager[None]:
        def add(embedded: Tensor) -> Tensor:  # (B, width, items, H/16, W/16); the network puts the target first
            target, source = embedded[:, :, :1], embedded[:, :, 1:]
            added = tokens.transpose(1, 2).unflatten(2, target.shape[2:])
            return torch.cat([target + added.to(target.dtype), source], 2)

        return _changed_output(self._transformer.img_in, add)


@contextmanager
def _changed_output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Generator[None]:
    """Inside, `change` is applied to the output of a module."""

    def apply(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return change(output)

    hook = module.register_forward_hook(apply)
    try:
        yield
    finally:
        hook.remove()


class SpatialFusionNet(nn.Module):
    """Branch and decoder and, in stage 2, adapter and editing model.

    Args:
        adapter, backbone: None in stage 1.
        depth_weight, confidence_weight: see `SpatialFusionOptions`.
    """

    def __init__(
        self,
        branch: SpatialBranch,
        decoder: DepthDecoder,
        adapter: DepthAdapter | None,
        backbone: FluxBackbone | JoyAiBackbone | None,
        depth_weight: float,
        confidence_weight: float,
    ) -> None:
        super().__init__()
        self.branch = branch
        self.decoder = decoder
        self.adapter = adapter
        self.backbone = backbone
        self.depth_weight = depth_weight
        self.confidence_weight = confidence_weight

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses of a batch.

        Args:
            inputs: as for `depth`. `teacher` (B, H, W): the teacher's depth, 0 where there is none. `metric` (B,) bool:
                whether it is in meters. In stage 2 also the inputs of the backbone's network.

        Returns:
            (B,) each: `loss`, `depth` and, in stage 2, `flow`. loss = depth in stage 1, flow + depth_weight * depth in
            stage 2.
        """
        depth, confidence = self.depth(inputs)
        supervised = depth_loss(depth, confidence, inputs["teacher"], inputs["metric"], self.confidence_weight)
        if self.backbone is None or self.adapter is None:
            return {"loss": supervised, "depth": supervised}
        # The editing model sees the predicted depth, as in inference, and its loss also trains the branch (our choice).
        flow = self.backbone(inputs, self.adapter(depth))
        return {"loss": flow + self.depth_weight * supervised, "flow": flow, "depth": supervised}

    def depth(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The target's depth in meters and its confidence, float32 (B, H, W).

        Args:
            inputs: `mllm_keys`, `mllm_values`, `mllm_length`, `mllm_start`: see `SpatialBranch.forward`.
        """
        return self.decoder(self.branch(*(inputs[f"mllm_{name}"] for name in ("keys", "values", "length", "start"))))


def depth_loss(depth: Tensor, confidence: Tensor, teacher: Tensor, metric: Tensor, alpha: float) -> Tensor:
    """VGGT's depth loss (Wang et al. 2025, section 3.4, L_depth): |c (d' - d)| + |c (grad d' - grad d)| - alpha log c.

    Each term is a mean over the pixels of a sample with known depth. grad is the difference to the next pixel to the
    right and below, where both are known.

    Args:
        depth, confidence: (B, H, W), the prediction d' and c.
        teacher: (B, H, W), d; 0 or not finite where it is unknown.
        metric: (B,) whether d is in meters. If not, d is divided by its mean, as VGGT normalizes its scenes, and d'
            multiplied by the median of d / d' (our choice), without a gradient through the factor.

    Returns:
        float32 (B,); 0 for a sample without known depth.
    """
    known = (teacher > 0) & teacher.isfinite()
    teacher = teacher.where(known, 0)
    scale = median_ratio(depth.detach(), teacher, known)
    mean = _mean(teacher, known).clamp(min=1e-6)
    target = torch.where(metric, 1, 1 / mean)[:, None, None] * teacher
    predicted = torch.where(metric, 1, scale / mean)[:, None, None] * depth
    error = (predicted - target).where(known, 0)
    total = _mean(confidence * error.abs(), known) - alpha * _mean(confidence.log(), known)
    for axis in (1, 2):
        size = known.shape[axis] - 1
        both = known.narrow(axis, 0, size) & known.narrow(axis, 1, size)
        total = total + _mean(confidence.narrow(axis, 0, size) * error.diff(dim=axis).abs(), both)
    return total


def median_ratio(depth: Tensor, teacher: Tensor, known: Tensor) -> Tensor:
    """(B,) median of teacher / depth over the known pixels of each sample; 1 without any."""
    ratio = (teacher / depth).where(known, torch.nan).flatten(1)
    return ratio.nanmedian(1).values.nan_to_num(1.0)


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """(B,) mean over the known pixels (B, H, W); 0 without any."""
    return values.where(known, 0).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
