"""The networks of I-LDM: cross-domain attention in the base UNet, and the intrinsic VAE derived from the base VAE.

Invariant: the rows of a batch are [images; their intrinsics] in the same order. Image rows use only the base weights,
intrinsic rows use base and LoRA. The two halves exchange information only through the keys and values of
self-attention.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft import LoraConfig
from torch import Tensor, nn

from .maps import MapLayout
from .schedules import Constant, Drop, Gaussian

ADAPTER = "default"
TARGETS = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")


class CrossDomainAttention:
    """Self-attention over both domains (eq. 1, 4, 5), as an attention processor of diffusers.

    With keys K = [K_x; K_i] and values V = [V_x; V_i] of an image and its intrinsics in the same layer, image rows are
    softmax(Q_x Kᵀ/√d + [0; log w]) V, intrinsic rows are softmax(Q_i Kᵀ/√d) V.

    Args:
        block: number of the UNet block, see `training.ildm.schedules`.
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


class TwoDomainUNet(nn.Module):
    """The base UNet that denoises both domains in one pass.

    Args:
        unet: a UNet of SD2.1's architecture; changed in place.
        train_base: train the base weights too.
        intrinsic_weight: λ.
    """

    def __init__(
        self, unet: UNet2DConditionModel, rank: int, alpha: float, intrinsic_weight: float, train_base: bool = False
    ) -> None:
        super().__init__()
        unet.requires_grad_(False)
        unet.add_adapter(
            LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=list(TARGETS))  # pyright: ignore[reportArgumentType]
        )
        processors = dict(unet.attn_processors)
        for name in processors:
            if ".attn1." in name:
                processors[name] = CrossDomainAttention(_block(name, len(unet.down_blocks)))  # pyright: ignore[reportArgumentType]
        unet.set_attn_processor(processors)
        for parameter in unet.parameters():  # trainable weights in float32: updates of 1e-4 vanish in bfloat16
            parameter.requires_grad_(parameter.requires_grad or train_base)
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        self.unet = unet
        self.intrinsic_weight = intrinsic_weight

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the base weights."""
        return self.unet.conv_in.weight.dtype

    def attentions(self) -> Iterator[CrossDomainAttention]:
        return (each for each in self.unet.attn_processors.values() if isinstance(each, CrossDomainAttention))

    def set_intrinsic_attention(self, schedule: Drop | Gaussian | Constant, time: float) -> None:
        """Set the weight of the intrinsic columns in every block for this time. Training uses `Constant()`."""
        for attention in self.attentions():
            attention.weight = schedule.weight(attention.block, time)

    def predict(self, image: Tensor, intrinsic: Tensor, timesteps: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Predict noise or v for both domains.

        Args:
            image, intrinsic: noisy latents (n, 4, h, w). timesteps: (n,). context: (n, tokens, width).
        """
        rows = torch.cat([image, intrinsic]).to(self.dtype)
        twice = torch.cat([context, context]).to(self.dtype)
        found = self.unet(rows, torch.cat([timesteps, timesteps]), twice, return_dict=False)[0].float()
        return found[: len(image)], found[len(image) :]

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """L = ‖image error‖² + λ‖intrinsic error‖², averaged over the latent elements of each image: (n,).

        Args:
            inputs: `image`, `intrinsic`, `image_target`, `intrinsic_target` (n, 4, h, w), `timesteps` (n,), `context`
                (n, tokens, width).
        """
        image, intrinsic = self.predict(inputs["image"], inputs["intrinsic"], inputs["timesteps"], inputs["context"])
        image_loss = row_means((image - inputs["image_target"]).square())
        intrinsic_loss = row_means((intrinsic - inputs["intrinsic_target"]).square())
        return {
            "loss": image_loss + self.intrinsic_weight * intrinsic_loss,
            "image": image_loss,
            "intrinsic": intrinsic_loss,
        }


class IntrinsicVae(nn.Module):
    """A VAE of maps for training: all its weights train, in float32."""

    def __init__(self, vae: AutoencoderKL, reconstruction: str, kl_weight: float) -> None:
        super().__init__()
        self.vae = vae.float().requires_grad_(True)
        self.reconstruction = reconstruction
        self.kl_weight = kl_weight

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Reconstruction error and KL divergence to the standard normal, averaged over the elements of each image: (n,).

        Args:
            inputs: `maps` (n, channels, H, W), with masked maps already 0: a missing map is reconstructed as missing.
                `noise` (n, 4, h, w) for sampling the posterior.
        """
        posterior = self.vae.encode(inputs["maps"]).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
        latent = posterior.mean + posterior.std * inputs["noise"]
        error = self.vae.decode(latent).sample.float() - inputs["maps"]  # pyright: ignore[reportAttributeAccessIssue]
        error = row_means(error.abs() if self.reconstruction == "l1" else error.square())
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        kl = row_means((mean.square() + log_variance.exp() - 1 - log_variance) / 2)
        return {"loss": error + self.kl_weight * kl, "reconstruction": error, "kl": kl}


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


def _block(name: str, downs: int) -> int:
    """Block number of a processor, from 1: down, middle, up."""
    place, number = name.split(".")[:2]
    if place == "mid_block":
        return downs + 1
    return int(number) + (1 if place == "down_blocks" else downs + 2)


def _heads(rows: Tensor, heads: int) -> Tensor:
    """(2n, tokens, heads * d) to (n, heads, 2 tokens, d): an image and its intrinsics become one sequence."""
    picture, intrinsic = rows.chunk(2)
    both = torch.cat([picture, intrinsic], dim=1)
    return both.unflatten(2, (heads, -1)).transpose(1, 2)


def _rows(heads: Tensor) -> Tensor:
    """The inverse of `_heads`."""
    return torch.cat(heads.transpose(1, 2).flatten(2).chunk(2, dim=1))
