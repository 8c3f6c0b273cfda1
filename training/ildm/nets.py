"""The networks of I-LDM: cross-domain attention in the base network, and the intrinsic VAE derived from the base VAE.

Invariant: the rows of a batch are [images; their intrinsics] in the same order. Image rows use only the base weights,
intrinsic rows use base and LoRA. The two halves exchange information only through the keys and values of
self-attention.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from .backbones import Backbone, Conditions
from .maps import MapLayout
from .schedules import Constant, Drop, Gaussian

ADAPTER = "default"
TARGETS = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")


class CrossDomainAttention:
    """Self-attention over both domains (eq. 1, 4, 5), as an attention processor of diffusers.

    With keys K = [K_x; K_i] and values V = [V_x; V_i] of an image and its intrinsics in the same layer, image rows are
    softmax(Q_x Kᵀ/√d + [0; log w]) V, intrinsic rows are softmax(Q_i Kᵀ/√d) V.

    Args:
        block: number of the block of the network, see `training.ildm.schedules`.
    """

    def __init__(self, block: int) -> None:
        self.block = block
        self.weight = 1.0

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """(2n, tokens, width) to the same shape."""
        half = len(hidden_states) // 2
        names = ["__base__"] * half + [ADAPTER] * half
        query, key, value = (
            _heads(layer(hidden_states, adapter_names=names), attn.heads) for layer in (attn.to_q, attn.to_k, attn.to_v)
        )
        mixed = _rows(self._attend(query, key, value))
        return attn.to_out[1](attn.to_out[0](mixed, adapter_names=names))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(n, heads, 2 tokens, d) each, image tokens first, to the same shape."""
        if self.weight == 1:
            return F.scaled_dot_product_attention(query, key, value)
        tokens = query.shape[2] // 2
        if self.weight == 0:  # log 0 = -inf: intrinsic columns have no weight, so leave them out
            own_query, own_key, own_value = (part[:, :, :tokens] for part in (query, key, value))
            picture = F.scaled_dot_product_attention(own_query, own_key, own_value)
        else:
            bias = query.new_zeros(1, 1, 1, 2 * tokens)
            bias[..., tokens:] = math.log(self.weight)
            picture = F.scaled_dot_product_attention(
                query[:, :, :tokens], key, value, attn_mask=bias.expand(len(query), 1, tokens, -1)
            )
        intrinsic = F.scaled_dot_product_attention(query[:, :, tokens:], key, value)
        return torch.cat([picture, intrinsic], dim=2)


class TwoDomains(nn.Module):
    """The base network that denoises both domains in one pass.

    Args:
        network: the base UNet or transformer; changed in place.
        backbone: its architecture.
        train_base: train the base weights too.
        intrinsic_weight: λ.
    """

    def __init__(
        self,
        network: Any,
        backbone: Backbone,
        rank: int,
        alpha: float,
        intrinsic_weight: float,
        train_base: bool = False,
    ) -> None:
        super().__init__()
        network.requires_grad_(False)
        inject_adapter_in_model(
            LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=list(TARGETS)),  # pyright: ignore[reportArgumentType]
            network,
            ADAPTER,
        )
        processors = dict(network.attn_processors)
        for name in processors:
            if ".attn1." in name:
                processors[name] = CrossDomainAttention(backbone.block(network, name))
        network.set_attn_processor(processors)
        for parameter in network.parameters():  # trainable weights in float32: updates of 1e-4 vanish in bfloat16
            parameter.requires_grad_(parameter.requires_grad or train_base)
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        self.network = network
        self.backbone = backbone
        self.intrinsic_weight = intrinsic_weight

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the base weights."""
        return next(value.dtype for name, value in self.network.named_parameters() if ".lora_" not in name)

    def attentions(self) -> Iterator[CrossDomainAttention]:
        return (each for each in self.network.attn_processors.values() if isinstance(each, CrossDomainAttention))

    def set_intrinsic_attention(self, schedule: Drop | Gaussian | Constant, time: float) -> None:
        """Set the weight of the intrinsic columns in every block for this time. Training uses `Constant()`."""
        blocks = self.backbone.blocks(self.network)
        for attention in self.attentions():
            attention.weight = schedule.weight(attention.block, time, blocks)

    def predict(
        self, image: Tensor, intrinsic: Tensor, timesteps: Tensor, conditions: Conditions
    ) -> tuple[Tensor, Tensor]:
        """Predict noise or v for both domains, float32.

        Args:
            image, intrinsic: noisy latents (n, 4, h, w). timesteps: (n,). conditions: (n, ...) each, shared by both.
        """
        rows = torch.cat([image, intrinsic]).to(self.dtype)
        twice = {name: torch.cat([value, value]) for name, value in conditions.items()}
        found = self.backbone.predict(self.network, rows, torch.cat([timesteps, timesteps]), twice).float()
        return found[: len(image)], found[len(image) :]

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """L = w (‖image error‖² + λ‖intrinsic error‖²), averaged over the latent elements of each image: (n,). The
        parts `image` and `intrinsic` are without w.

        Args:
            inputs: `image`, `intrinsic`, `image_target`, `intrinsic_target` (n, 4, h, w), `timesteps` and
                `snr_weight` w (n,), and the conditions of the backbone.
        """
        conditions = {name: inputs[name] for name in self.backbone.conditions}
        image, intrinsic = self.predict(inputs["image"], inputs["intrinsic"], inputs["timesteps"], conditions)
        image_loss = row_means((image - inputs["image_target"]).square())
        intrinsic_loss = row_means((intrinsic - inputs["intrinsic_target"]).square())
        return {
            "loss": inputs["snr_weight"] * (image_loss + self.intrinsic_weight * intrinsic_loss),
            "image": image_loss,
            "intrinsic": intrinsic_loss,
        }


class IntrinsicVae(nn.Module):
    """A VAE of maps for training: all its weights train, in float32.

    Args:
        perceptual: an error of n stacks of maps, (n, channels, H, W) twice to (n,), see `Perceptual`. Not a part of the
            module: it is neither trained nor saved.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        reconstruction: str,
        kl_weight: float,
        perceptual: "Perceptual | None" = None,
        perceptual_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.vae = vae.float().requires_grad_(True)
        self.reconstruction = reconstruction
        self.kl_weight = kl_weight
        self.perceptual = perceptual
        self.perceptual_weight = perceptual_weight

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Reconstruction error + weight · perceptual error + kl_weight · KL divergence to the standard normal: (n,).

        The KL is the sum over the latent elements of an image, as in LDM (Rombach et al. 2022, appendix G; `kl()` of
        diffusers' posterior). The error is the mean over the elements of the stack, so the loss has the form and the
        weight of MONAI's latent diffusion tutorials: mean L1 + 1e-6 · summed KL. LDM's code (`LPIPSWithDiscriminator`)
        and diffusers' `train_autoencoderkl.py` also sum the error, with the same 1e-6. Relative to the error, their KL
        is weaker by the number of elements: divide kl_weight by channels · H · W for their ratio.

        Args:
            inputs: `maps` (n, channels, H, W), with masked maps already 0: a missing map is reconstructed as missing.
                `noise` (n, 4, h, w) for sampling the posterior.
        """
        maps = inputs["maps"]
        posterior = self.vae.encode(maps).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
        latent = posterior.mean + posterior.std * inputs["noise"]
        made = self.vae.decode(latent).sample.float()  # pyright: ignore[reportAttributeAccessIssue]
        error = row_means((made - maps).abs() if self.reconstruction == "l1" else (made - maps).square())
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        kl = ((mean.square() + log_variance.exp() - 1 - log_variance) / 2).flatten(1).sum(1)
        losses = {"loss": error + self.kl_weight * kl, "reconstruction": error, "kl": kl}
        if self.perceptual:
            losses["lpips"] = self.perceptual(made, maps)
            losses["loss"] = losses["loss"] + self.perceptual_weight * losses["lpips"]
        return losses


@dataclass(frozen=True)
class Perceptual:
    """A perceptual error of maps: the mean over the maps, each shown to the metric as an image (a one-channel map as a
    gray one).

    Args:
        metric: two batches of images (n, 3, H, W) in [-1, 1] to (n, 1, 1, 1), as `lpips.LPIPS`; frozen.
    """

    metric: nn.Module
    layout: MapLayout

    def __call__(self, made: Tensor, maps: Tensor) -> Tensor:
        """(n, channels, H, W) twice to float32 (n,)."""
        errors = [
            self.metric(made[:, where].expand(-1, 3, -1, -1), maps[:, where].expand(-1, 3, -1, -1)).float().flatten()
            for where in self.layout.slices.values()
        ]
        return torch.stack(errors).mean(0)


def widen(vae: AutoencoderKL, layout: MapLayout) -> AutoencoderKL:
    """Give an image VAE the channels of a layout, in place; returns the same VAE.

    Its initial weights come from the base: `conv_in` is the mean over maps of the base's `conv_in` applied to each map
    as an image (a one-channel map as a gray image). `conv_out` gives each map the base's output image (a one-channel
    map its mean over red, green and blue).
    """
    old_in, old_out = vae.encoder.conv_in, vae.decoder.conv_out
    first = _like(old_in, layout.channels, old_in.out_channels)
    last = _like(old_out, old_out.in_channels, layout.channels)
    with torch.no_grad():
        first.bias.copy_(old_in.bias)  # pyright: ignore[reportArgumentType, reportOptionalMemberAccess]
        for where in layout.slices.values():
            one = where.stop - where.start == 1
            kernel, weight, bias = old_in.weight, old_out.weight, old_out.bias
            assert bias is not None and last.bias is not None
            first.weight[:, where] = (kernel.sum(1, keepdim=True) if one else kernel) / len(layout.names)
            last.weight[where] = weight.mean(0, keepdim=True) if one else weight
            last.bias[where] = bias.mean() if one else bias
    vae.encoder.conv_in, vae.decoder.conv_out = first, last
    vae.register_to_config(in_channels=layout.channels, out_channels=layout.channels)
    return vae


def row_means(errors: Tensor) -> Tensor:
    """(n, ...) to float32 (n,)."""
    return errors.float().flatten(1).mean(1)


def _like(conv: nn.Conv2d, channels_in: int, channels_out: int) -> nn.Conv2d:
    size, padding = conv.kernel_size, conv.padding
    new = nn.Conv2d(channels_in, channels_out, size, padding=padding)  # pyright: ignore[reportArgumentType]
    return new.to(conv.weight.device, conv.weight.dtype)


def _heads(rows: Tensor, heads: int) -> Tensor:
    """(2n, tokens, heads * d) to (n, heads, 2 tokens, d): an image and its intrinsics become one sequence."""
    picture, intrinsic = rows.chunk(2)
    both = torch.cat([picture, intrinsic], dim=1)
    return both.unflatten(2, (heads, -1)).transpose(1, 2)


def _rows(heads: Tensor) -> Tensor:
    """The inverse of `_heads`."""
    return torch.cat(heads.transpose(1, 2).flatten(2).chunk(2, dim=1))
