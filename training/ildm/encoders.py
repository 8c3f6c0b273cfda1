"""The conditions and latents of a batch: frozen encoders with their disk cache, and the sizes of images.

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
from .backbones import Backbone
from .maps import Floats
from .models import Base, freeze
from .options import IldmOptions
from .texts import TextModel

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
    """A frozen text model with its cache."""

    model: TextModel
    cached: Cached

    def __call__(self, texts: Sequence[str]) -> Tensors:
        """The conditions of n texts by name, (n, ...) each, on the model's device."""
        distinct = list(dict.fromkeys(texts))
        found = self.cached(distinct, self.embed)
        rows = [distinct.index(text) for text in texts]
        return {name: value[rows] for name, value in found.items()}

    def embed(self, texts: Sequence[str]) -> Tensors:
        """`context` (n, tokens, width) of n texts."""
        import torch

        with torch.no_grad():
            return self.model.embed(texts)


def vae_encoder(vae: "AutoencoderKL", options: IldmOptions, model: str, device: "torch.device") -> VaeEncoder:
    """A frozen VAE with the cache of the options. `model` names the weights; the revision is their digest."""
    freeze(vae, resting_place(options, device))
    return VaeEncoder(vae, _cached(vae, options, model, "[-1, 1] to mean and std", device))


def text_encoder(base: Base, options: IldmOptions, device: "torch.device", dtype: "torch.dtype") -> TextEncoder:
    model = base.backbone.text(base, dtype)
    freeze(model.module, resting_place(options, device))
    return TextEncoder(model, _cached(model.module, options, options.base, model.transform, device))


def size_conditions(backbone: Backbone, count: int, height: int, width: int, device: "torch.device") -> Tensors:
    """The condition `size` of `count` images of this size in pixels, float32; none where the network has none."""
    import torch

    if "size" not in backbone.conditions:
        return {}
    return {"size": torch.tensor([backbone.size(height, width)] * count, device=device, dtype=torch.float32)}


def resting_place(options: IldmOptions, device: "torch.device") -> "torch.device":
    """Where a frozen model is while it is not used."""
    import torch

    return torch.device("cpu") if options.unload_encoders else device


def scaling(vae: "AutoencoderKL") -> float:
    """The VAE's scaling factor of latents; phase vae measures that of an intrinsic VAE (`latent_scale`)."""
    return float(vae.config.scaling_factor)  # pyright: ignore[reportAttributeAccessIssue]


def latent_scale(vae: "AutoencoderKL", maps: Floats) -> float:
    """1 / the standard deviation of the sampled latents of `maps`, over all their elements: scaled by it, they have
    unit deviation (Rombach et al. 2022, appendix G).

    A latent is mean + std · noise, so its variance is Var[mean] + E[std²], without drawing noise.

    Args:
        maps: float32 (n, channels, H, W) in [-1, 1], encoded one by one.
    """
    import torch

    sums = torch.zeros(3, dtype=torch.float64)  # of mean, mean² + std², 1
    with torch.no_grad():
        for each in maps:
            stack = torch.from_numpy(each[None]).to(vae.device, vae.dtype)
            posterior: Any = vae.encode(stack).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
            mean, std = posterior.mean.double(), posterior.std.double()
            sums += torch.stack([mean.sum(), (mean.square() + std.square()).sum(), mean.new_tensor(mean.numel())]).cpu()
    first, second = (sums[:2] / sums[2]).tolist()
    return float((second - first**2) ** -0.5)


def latent_factor(vae: "AutoencoderKL") -> int:
    """Downsampling factor of the VAE: pixels per latent along one side."""
    return 2 ** (len(vae.config.block_out_channels) - 1)  # pyright: ignore[reportAttributeAccessIssue]


def _cached(module: "nn.Module", options: IldmOptions, model: str, transform: str, device: "torch.device") -> Cached:
    dtype = str(next(module.parameters()).dtype)
    # The digest of the weights identifies the model, since a branch or a folder may change: half a second per GB.
    spec = CacheSpec(model, module_revision(module) if options.cache else "", dtype, transform)
    return Cached(TensorCache(options.cache, options.cache_bytes), spec, module, device)
