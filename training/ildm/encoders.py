"""The frozen encoders: pictures and maps to moments of latents, captions to embeddings, through the cache on disk.

Invariant: what is kept is what the model alone makes of one content (means and deviations, never a drawn latent).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..caches import Given, MadeBy, TensorCache, Tensors, module_revision
from .maps import Floats
from .models import Base, frozen
from .options import IldmOptions

if TYPE_CHECKING:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from torch import nn


@dataclass(frozen=True)
class Cached:
    """One model behind the cache. Without a folder, contents are computed together; with one, each alone."""

    cache: TensorCache | None
    made_by: MadeBy

    def __call__(self, contents: Sequence[Given], make: Callable[[Sequence[Given]], Tensors]) -> Tensors:
        """`make` gives tensors (n, ...) for n contents; so does this."""
        import torch

        if not self.cache:
            return make(contents)

        def alone(content: Given) -> Tensors:
            return {name: value[0] for name, value in make([content]).items()}

        found = self.cache.each(contents, self.made_by, alone)
        return {name: torch.stack([each[name] for each in found]) for name in found[0]}


@dataclass(frozen=True)
class VaeEncoder:
    """A frozen VAE, of pictures or of maps."""

    vae: "AutoencoderKL"
    cached: Cached

    def latents(self, pictures: Floats, noise: "torch.Tensor") -> "torch.Tensor":
        """float32 (n, channels, H, W) in [-1, 1] to scaled latents float32 (n, 4, h, w), drawn with `noise`."""
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
        """The last hidden states (n, tokens, width), padded to the tokenizer's length, as the base was trained."""
        distinct = list(dict.fromkeys(texts))
        found = self.cached(distinct, self._embed)["context"]
        device = next(self.model.parameters()).device
        return found[[distinct.index(text) for text in texts]].to(device)

    def _embed(self, texts: Sequence[str]) -> Tensors:
        import torch

        given = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            return {"context": self.model(given.input_ids.to(next(self.model.parameters()).device))[0]}


def vae_encoder(vae: "AutoencoderKL", options: IldmOptions, model: str) -> VaeEncoder:
    """Behind the cache of the options; `model` names the weights, whose digest is the revision."""
    return VaeEncoder(vae, _cached(vae, options, model, "[-1, 1] to mean and std"))


def text_encoder(base: Base, options: IldmOptions, device: "torch.device", dtype: "torch.dtype") -> TextEncoder:
    model = frozen(base.text_encoder(dtype), device)
    tokenizer = base.tokenizer()
    told = f"{type(tokenizer).__name__}, {len(tokenizer)} words, padded to {tokenizer.model_max_length}"
    return TextEncoder(model, tokenizer, _cached(model, options, options.base, told))


def scaling(vae: "AutoencoderKL") -> float:
    """What latents are multiplied by."""
    return float(vae.config.scaling_factor)  # pyright: ignore[reportAttributeAccessIssue]


def latent_factor(vae: "AutoencoderKL") -> int:
    """Pixels along a side of one latent."""
    return 2 ** (len(vae.config.block_out_channels) - 1)  # pyright: ignore[reportAttributeAccessIssue]


def _cached(module: "nn.Module", options: IldmOptions, model: str, transform: str) -> Cached:
    dtype = str(next(module.parameters()).dtype)
    if not options.cache:
        return Cached(None, MadeBy(model, "", dtype, transform))
    # The weights themselves, not a branch or a folder's name, say which model this is: half a second a billion bytes.
    made_by = MadeBy(model, module_revision(module), dtype, transform)
    return Cached(TensorCache(options.cache, options.cache_bytes), made_by)
