"""Phase `unet`: LoRA for the intrinsic domain of the base network, with cross-domain self-attention.

Invariant: an image and its intrinsics are noised to the same time step with independent noise, and both domains use the
same caption. The training target is the prediction type of the base's scheduler configuration.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...shards.errors import BadInput
from ..caches import CacheStats
from ..data import take
from ..recipe import Batch, Inputs, StepRng
from .checkpoint import load_denoiser, load_lora, save_denoiser
from .encoders import TextEncoder, VaeEncoder, latent_factor, size_conditions, text_encoder, vae_encoder
from .models import base_of, make_module
from .options import IldmOptions
from .pipeline import IldmPipeline, intrinsic_vae_of
from .views import Views

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .nets import TwoDomains


@dataclass(frozen=True)
class Encoders:
    """The frozen models of phase `unet`."""

    options: IldmOptions
    image_vae: VaeEncoder
    map_vae: VaeEncoder
    text: TextEncoder

    @classmethod
    def load(cls, options: IldmOptions, device: "torch.device", dtype: "torch.dtype") -> "Encoders":
        base = base_of(options)
        maps = intrinsic_vae_of(options, base, dtype)
        return cls(
            options=options,
            image_vae=vae_encoder(base.vae(dtype), options, options.base, device),
            map_vae=vae_encoder(maps, options, options.intrinsic_vae or options.base, device),
            text=text_encoder(base, options, device, dtype),
        )

    def prefetch(self, batch: Batch) -> None:
        """Read the cache entries of a batch now, in another thread than the one that will encode."""
        views = Views(batch, self.options)
        self.image_vae.cached.prefetch(list(views.pictures()))
        self.map_vae.cached.prefetch(list(views.maps()))
        self.text.cached.prefetch(views.captions())

    def encode(self, batch: Batch) -> CacheStats:
        """Fill the cache for the valid samples of a batch, with every text that a step may use."""
        rows = np.flatnonzero(batch["valid"]).tolist()
        if rows:
            views = Views(take(batch, rows), self.options)
            views.check_size(latent_factor(self.image_vae.vae))
            self.image_vae.cached.fill(list(views.pictures()), self.image_vae.moments)
            self.map_vae.cached.fill(list(views.maps()), self.map_vae.moments)
            empty = [""] if self.options.text_drop else []
            self.text.cached.fill([*views.captions(), *empty], self.text.embed)
        counts = [astuple(each.cached.cache.stats) for each in (self.image_vae, self.map_vae, self.text)]
        return CacheStats(*map(sum, zip(*counts, strict=True)))

    @contextmanager
    def used(self) -> Generator[None]:
        """Inside, all models are on the device."""
        with self.image_vae.cached.used(), self.map_vae.cached.used(), self.text.cached.used():
            yield


@dataclass(frozen=True)
class UnetPhase:
    """See `training.recipe.TrainingRecipe` for the contracts of the methods."""

    options: IldmOptions
    module: "TwoDomains"
    device: "torch.device"
    encoders: Encoders
    scheduler: Any
    """DDPM with the base's noise schedule."""
    sampler: Any
    """DDIM with the base's noise schedule."""

    @classmethod
    def build(cls, options: IldmOptions, device: "torch.device", dtype: "torch.dtype") -> "UnetPhase":
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

        base, encoders = base_of(options), Encoders.load(options, device, dtype)
        return cls(
            options=options,
            module=make_module(options, device, dtype),
            device=device,
            encoders=encoders,
            scheduler=base.scheduler(DDPMScheduler),
            sampler=base.scheduler(DDIMScheduler),
        )

    def prepare(self, batch: Batch, rng: StepRng) -> Inputs:
        import torch

        views = Views(batch, self.options)
        factor = latent_factor(self.encoders.image_vae.vae)
        height, width = views.check_size(factor * self.module.backbone.multiple(self.module.network))
        shape = (self._channels, height // factor, width // factor)

        def normal(purpose: str) -> "torch.Tensor":
            return views.normal(rng, shape, purpose).to(self.device)

        image = self.encoders.image_vae.latents(views.pictures(), normal("image posterior"))
        intrinsic = self.encoders.map_vae.latents(views.maps(), normal("intrinsic posterior"))
        steps = int(self.scheduler.config.num_train_timesteps)
        times = (views.draw(rng.uniform, "time") if rng.time is None else torch.full((len(image),), rng.time)) * steps
        times = times.long().clamp(max=steps - 1).to(self.device)
        noises = normal("image noise"), normal("intrinsic noise")
        return {
            "image": self.scheduler.add_noise(image, noises[0], times),
            "intrinsic": self.scheduler.add_noise(intrinsic, noises[1], times),
            "image_target": target(self.scheduler, image, noises[0], times),
            "intrinsic_target": target(self.scheduler, intrinsic, noises[1], times),
            "timesteps": times,
            "snr_weight": loss_weights(self.scheduler, times, self.options.min_snr),
            **self.encoders.text(self._texts(views, rng)),
            **size_conditions(self.module.backbone, len(image), height, width, self.device),
        }

    def save(self, module: "nn.Module", folder: Path) -> None:
        save_denoiser(cast("TwoDomains", module), folder, self.options.train_base)

    def begin(self, module: "nn.Module", source: Path) -> Sequence[str]:
        denoiser, base = cast("TwoDomains", module), source / cast("TwoDomains", module).backbone.folder
        if source.is_file():
            load_lora(denoiser, source)
            return ("lora",)
        whole = self.options.train_base and base.is_dir()
        load_denoiser(denoiser, source, whole)
        return ("lora", "base") if whole else ("lora",)

    def load(self, module: "nn.Module", folder: Path) -> None:
        load_denoiser(cast("TwoDomains", module), folder, self.options.train_base)

    def sample(self, module: "nn.Module", batch: Batch, seed: int) -> Mapping[str, Any]:
        """New images from the captions of the last view, in the training size: `prediction` and the maps."""
        last = replace(
            Views(batch, self.options), options=self.options.model_copy(update={"views": self.options.views[-1:]})
        )
        height, width = last.check_size(1)
        factor = latent_factor(self.encoders.image_vae.vae)
        noise = StepRng(seed, 0, tuple(batch["key"])).normal((self._channels, height // factor, width // factor))
        pipeline = IldmPipeline(
            module=cast("TwoDomains", module),
            vae=self.encoders.image_vae.vae,
            intrinsic_vae=self.encoders.map_vae.vae,
            text=self.encoders.text,
            scheduler=self.sampler,
            layout=self.options.layout,
            sampling=self.options.sampling,
            side=height,
        )
        with self.encoders.used():
            return pipeline(last.captions(), noise=noise).pictures()

    @property
    def _channels(self) -> int:
        return int(self.encoders.image_vae.vae.config.latent_channels)  # pyright: ignore[reportAttributeAccessIssue]

    def _texts(self, views: Views, rng: StepRng) -> list[str]:
        dropped = [drop for view in self.options.views for drop in rng.dropped(self.options.text_drop, f"text {view}")]
        return ["" if drop else text for text, drop in zip(views.captions(), dropped, strict=True)]


def target(scheduler: Any, latents: "torch.Tensor", noise: "torch.Tensor", times: "torch.Tensor") -> "torch.Tensor":
    """ε, or v = √ᾱ ε − √(1 − ᾱ) x. Raises BadInput for a base that predicts something else."""
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        return scheduler.get_velocity(latents, noise, times)
    raise BadInput(f"the base predicts {kind}: use a base whose prediction_type is epsilon or v_prediction")


def loss_weights(scheduler: Any, times: "torch.Tensor", gamma: float) -> "torch.Tensor":
    """Min-SNR-γ (Hang et al. 2023, arXiv 2303.09556, section 3.4): min(SNR, γ) / SNR for predicted ε, min(SNR, γ) /
    (SNR + 1) for predicted v, where SNR = ᾱ / (1 − ᾱ). float32 (n,); all 1 for γ = 0."""
    import torch
    from diffusers.training_utils import compute_snr

    if not gamma:
        return torch.ones(len(times), device=times.device)
    snr: torch.Tensor = compute_snr(scheduler, times)
    return snr.clamp(max=gamma) / (snr + (scheduler.config.prediction_type == "v_prediction"))
