"""The frozen encoders with their disk cache: images and maps to latent moments, captions to embeddings.

Invariant: a cache entry is the deterministic output of the model for one content (mean and standard deviation, never a
sampled latent).
"""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
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
    """One model with its cache.

    Args:
        device: of its work and its results. With `unload_encoders`, the model is on the CPU until it is used.
    """

    cache: TensorCache
    spec: CacheSpec
    module: "nn.Module"
    device: "torch.device"

    def __call__(self, contents: Sequence[ContentT], make: Make[ContentT]) -> Tensors:
        """Tensors (n, ...) of n contents, on the device; `make` encodes `spec.rows` contents."""
        return stacked(self.cache.each(contents, self.spec, self._on_device(make)), self.device)

    def fill(self, contents: Sequence[ContentT], make: Make[ContentT]) -> None:
        """Encode what is not in the cache."""
        self.cache.fill(contents, self.spec, self._on_device(make))

    def prefetch(self, contents: Sequence[ContentT]) -> None:
        """Read entries now, in another thread than the one that will encode."""
        self.cache.prefetch(contents, self.spec)

    def _on_device(self, make: Make[ContentT]) -> Make[ContentT]:
        def move_and_make(contents: Sequence[ContentT]) -> Mapping[str, "torch.Tensor"]:
            if self._where.type != self.device.type:
                name = type(self.module).__name__
                logging.getLogger(__name__).warning("loading %s: not all that it encodes is in the cache", name)
                self.module.to(self.device)
            return make(contents)

        return move_and_make

    @contextmanager
    def used(self) -> Generator[None]:
        """Inside, the model is on the device; afterwards it is where it was."""
        before = self._where
        self.module.to(self.device)
        try:
            yield
        finally:
            self.module.to(before)

    @property
    def _where(self) -> "torch.device":
        return next(self.module.parameters()).device


@dataclass(frozen=True)
class VaeEncoder:
    """A frozen VAE, of images or of maps."""

    vae: "AutoencoderKL"
    cached: Cached

    def latents(self, pictures: Floats, noise: "torch.Tensor") -> "torch.Tensor":
        """float32 (n, channels, H, W) in [-1, 1] to scaled latents float32 (n, 4, h, w), sampled with `noise`."""
        moments = self.cached(list(pictures), self.moments)
        mean, std = (moments[name].to(noise.device).float() for name in ("mean", "std"))
        return (mean + std * noise) * scaling(self.vae)

    def moments(self, pictures: Sequence[Floats]) -> Tensors:
        """`mean` and `std` (n, 4, h, w) of n pictures, not scaled."""
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
        found = self.cached(distinct, self.embed)["context"]
        return found[[distinct.index(text) for text in texts]]

    def embed(self, texts: Sequence[str]) -> Tensors:
        """`context` (n, tokens, width) of n texts."""
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


def vae_encoder(vae: "AutoencoderKL", options: IldmOptions, model: str, device: "torch.device") -> VaeEncoder:
    """A frozen VAE with the cache of the options. `model` names the weights; the revision is their digest."""
    freeze(vae, resting_place(options, device))
    return VaeEncoder(vae, _cached(vae, options, model, "[-1, 1] to mean and std", device))


def text_encoder(base: Base, options: IldmOptions, device: "torch.device", dtype: "torch.dtype") -> TextEncoder:
    model = freeze(base.text_encoder(dtype), resting_place(options, device))
    tokenizer = base.tokenizer()
    transform = f"{type(tokenizer).__name__}, {len(tokenizer)} words, padded to {tokenizer.model_max_length}"
    return TextEncoder(model, tokenizer, _cached(model, options, options.base, transform, device))


def resting_place(options: IldmOptions, device: "torch.device") -> "torch.device":
    """Where a frozen model is while it is not used."""
    import torch

    return torch.device("cpu") if options.unload_encoders else device


def scaling(vae: "AutoencoderKL") -> float:
    """The VAE's scaling factor of latents."""
    return float(vae.config.scaling_factor)  # pyright: ignore[reportAttributeAccessIssue]


def latent_factor(vae: "AutoencoderKL") -> int:
    """Downsampling factor of the VAE: pixels per latent along one side."""
    return 2 ** (len(vae.config.block_out_channels) - 1)  # pyright: ignore[reportAttributeAccessIssue]


def _cached(module: "nn.Module", options: IldmOptions, model: str, transform: str, device: "torch.device") -> Cached:
    dtype = str(next(module.parameters()).dtype)
    # The digest of the weights identifies the model, since a branch or a folder may change: half a second per GB.
    spec = CacheSpec(model, module_revision(module) if options.cache else "", dtype, transform)
    return Cached(TensorCache(options.cache, options.cache_bytes), spec, module, device)
