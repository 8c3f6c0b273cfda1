"""The frozen encoders with their disk cache: images and maps to latent moments, captions to embeddings.

Invariant: a cache entry is the deterministic output of the model for one content (mean and standard deviation, never a
sampled latent).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..caches import CacheSpec, ContentT, Make, TensorCache, Tensors, module_revision, stacked
from .maps import Floats
from .models import Base, freeze
from .options import IldmOptions

if TYPE_CHECKING:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from torch import nn


@dataclass(frozen=True)
class Cached:
    """One model with its cache."""

    cache: TensorCache
    spec: CacheSpec
    module: "nn.Module"

    def __call__(self, contents: Sequence[ContentT], make: Make[ContentT]) -> Tensors:
        """Tensors (n, ...) of n contents, on the model's device; `make` encodes `spec.rows` contents."""
        return stacked(self.cache.each(contents, self.spec, make), next(self.module.parameters()).device)


@dataclass(frozen=True)
class VaeEncoder:
    """A frozen VAE, of images or of maps."""

    vae: "AutoencoderKL"
    cached: Cached

    def latents(self, pictures: Floats, noise: "torch.Tensor") -> "torch.Tensor":
        """float32 (n, channels, H, W) in [-1, 1] to scaled latents float32 (n, 4, h, w), sampled with `noise`."""
        moments = self.cached(list(pictures), self._moments)
        mean, std = (moments[name].to(noise.device).float() for name in ("mean", "std"))
        return (mean + std * noise) * scaling(self.vae)

    def _moments(self, pictures: Sequence[Floats]) -> Tensors:
        import torch

        with torch.no_grad():
            stack = torch.from_numpy(np.stack(pictures)).to(self.vae.device, self.vae.dtype)
            posterior: Any = self.vae.encode(stack).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
        return {"mean": posterior.mean, "std": posterior.std}


@dataclass(frozen=True)
class TextEncoder:
    """A frozen CLIP text model with its tokenizer."""

    model: "nn.Module"
    tokenizer: Any
    cached: Cached

    def __call__(self, texts: Sequence[str]) -> "torch.Tensor":
        """The last hidden states (n, tokens, width), padded to the tokenizer's maximum length, as the base expects."""
        distinct = list(dict.fromkeys(texts))
        found = self.cached(distinct, self._embed)["context"]
        device = next(self.model.parameters()).device
        return found[[distinct.index(text) for text in texts]].to(device)

    def _embed(self, texts: Sequence[str]) -> Tensors:
        import torch

        encoded = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            return {"context": self.model(encoded.input_ids.to(next(self.model.parameters()).device))[0]}


def vae_encoder(vae: "AutoencoderKL", options: IldmOptions, model: str) -> VaeEncoder:
    """A VAE with the cache of the options. `model` names the weights; the revision is their digest."""
    return VaeEncoder(vae, _cached(vae, options, model, "[-1, 1] to mean and std"))


def text_encoder(base: Base, options: IldmOptions, device: "torch.device", dtype: "torch.dtype") -> TextEncoder:
    model = freeze(base.text_encoder(dtype), device)
    tokenizer = base.tokenizer()
    transform = f"{type(tokenizer).__name__}, {len(tokenizer)} words, padded to {tokenizer.model_max_length}"
    return TextEncoder(model, tokenizer, _cached(model, options, options.base, transform))


def scaling(vae: "AutoencoderKL") -> float:
    """The VAE's scaling factor of latents."""
    return float(vae.config.scaling_factor)  # pyright: ignore[reportAttributeAccessIssue]


def latent_factor(vae: "AutoencoderKL") -> int:
    """Downsampling factor of the VAE: pixels per latent along one side."""
    return 2 ** (len(vae.config.block_out_channels) - 1)  # pyright: ignore[reportAttributeAccessIssue]


def _cached(module: "nn.Module", options: IldmOptions, model: str, transform: str) -> Cached:
    dtype = str(next(module.parameters()).dtype)
    # The digest of the weights identifies the model, since a branch or a folder may change: half a second per GB.
    spec = CacheSpec(model, module_revision(module) if options.cache else "", dtype, transform)
    return Cached(TensorCache(options.cache, options.cache_bytes), spec, module)
