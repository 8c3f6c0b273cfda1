"""Text to image with depth, normals, segments and lines: both domains are denoised jointly.

Invariant: both domains start from the same noise and take the same steps. The weight of the intrinsics in the image's
attention follows the schedule at each step, and is reset to the training value afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...shards.errors import BadInput
from .backbones import Conditions
from .encoders import TextEncoder, latent_factor, scaling, size_conditions, text_encoder
from .maps import MapLayout
from .models import Base, base_of, freeze, load_intrinsic_vae, make_module
from .options import IldmOptions, SamplingOptions
from .schedules import Constant

if TYPE_CHECKING:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from .nets import TwoDomains


@dataclass(frozen=True)
class Generated:
    """Generated images and their maps."""

    image: NDArray[np.uint8]
    """(n, H, W, 3)."""
    stack: NDArray[np.float32]
    """Output of the intrinsic VAE, (n, channels, H, W)."""
    layout: MapLayout

    def maps(self) -> dict[str, NDArray[Any]]:
        """The maps by name; see `MapLayout.unpack`."""
        return self.layout.unpack(self.stack)

    def pictures(self) -> Mapping[str, NDArray[np.uint8]]:
        """`prediction` and each map as uint8 (n, H, W, 3)."""
        return {"prediction": self.image, **self.layout.pictures(self.stack)}


@dataclass(frozen=True)
class IldmPipeline:
    """The generator. `IldmPipeline.load(folder)` loads a trained one."""

    module: "TwoDomains"
    vae: "AutoencoderKL"
    intrinsic_vae: "AutoencoderKL"
    text: TextEncoder
    scheduler: Any
    """A DDIM scheduler with the base's noise schedule and prediction type."""
    layout: MapLayout
    sampling: SamplingOptions
    side: int
    """Default side of generated images, in pixels."""

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: "str | torch.device" = "cpu",
        dtype: "torch.dtype | None" = None,
        *,
        base: str = "",
        intrinsic_vae: str = "",
    ) -> "IldmPipeline":
        """Load a folder saved by phase `unet`. `base` and `intrinsic_vae` override locations that have changed.

        Raises BadInput if the folder was not saved by phase `unet`, or for missing weights.
        """
        import torch

        from .checkpoint import load_denoiser, read_options

        options = read_options(Path(folder))
        if options.phase != "unet":
            raise BadInput(f"{folder} holds an intrinsic VAE: give a folder saved by phase unet")
        moved = {name: given for name, given in (("base", base), ("intrinsic_vae", intrinsic_vae)) if given}
        options = options.model_copy(update={**moved, "unload_encoders": False})
        device, dtype = torch.device(device), dtype or torch.float32
        module = make_module(options, device, dtype)
        load_denoiser(module, Path(folder), options.train_base)
        return cls.of(options, module.eval(), device, dtype)

    @classmethod
    def of(
        cls, options: IldmOptions, module: "TwoDomains", device: "torch.device", dtype: "torch.dtype"
    ) -> "IldmPipeline":
        """A pipeline around a trained module, with the frozen models of the options."""
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        base = base_of(options)
        return cls(
            module=module,
            vae=freeze(base.vae(dtype), device),
            intrinsic_vae=freeze(intrinsic_vae_of(options, base, dtype), device),
            text=text_encoder(base, options, device, dtype),
            scheduler=base.scheduler(DDIMScheduler),
            layout=options.layout,
            sampling=options.sampling,
            side=options.sampling.side or options.resolution,
        )

    def __call__(
        self, prompts: Sequence[str], *, seed: int = 0, side: int = 0, noise: "torch.Tensor | None" = None
    ) -> Generated:
        """Generate one image per prompt.

        Args:
            seed: image k starts from the noise of seed + k.
            side: in pixels; 0: `sampling.side`, or the training resolution if that is 0.
            noise: float32 (n, 4, h, w), used instead of seed and side.

        Raises BadInput for a size that the model does not support.
        """
        import torch

        noise = self._noise(len(prompts), seed, side or self.side) if noise is None else noise
        guided = self.sampling.guidance > 1
        device = self.vae.device
        with torch.no_grad():
            texts = [*([""] * len(prompts) if guided else []), *prompts]
            height, width = (side * latent_factor(self.vae) for side in noise.shape[2:])
            sizes = size_conditions(self.module.backbone, len(texts), height, width, device)
            image, intrinsic = self._denoise(noise.to(device), {**self.text(texts), **sizes}, guided)
            pictures = _decode(self.vae, image).clamp(-1, 1).permute(0, 2, 3, 1)
            stack = _decode(self.intrinsic_vae, intrinsic)
        return Generated(
            image=((pictures + 1) * 127.5).round().to(torch.uint8).cpu().numpy(),
            stack=stack.cpu().numpy(),
            layout=self.layout,
        )

    def _denoise(
        self, noise: "torch.Tensor", conditions: Conditions, guided: bool
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        self.scheduler.set_timesteps(self.sampling.steps, device=noise.device)
        latents = torch.cat([noise, noise]) * self.scheduler.init_noise_sigma
        try:
            for time in self.scheduler.timesteps.tolist():
                self.module.set_intrinsic_attention(self.sampling.schedule, time)
                predicted = self._predict(latents, time, conditions, guided)
                latents = self.scheduler.step(predicted, time, latents, return_dict=False)[0]
        finally:
            self.module.set_intrinsic_attention(Constant(), 0)
        image, intrinsic = latents.chunk(2)
        return image, intrinsic

    def _predict(self, latents: "torch.Tensor", time: int, conditions: Conditions, guided: bool) -> "torch.Tensor":
        """Prediction for [images; intrinsics], with classifier-free guidance in both domains."""
        import torch

        image, intrinsic = latents.chunk(2)
        if guided:
            image, intrinsic = torch.cat([image, image]), torch.cat([intrinsic, intrinsic])
        times = torch.full((len(image),), time, device=image.device)
        domains = self.module.predict(image, intrinsic, times, conditions)
        if not guided:
            return torch.cat(domains)
        return torch.cat([_guide(each, self.sampling.guidance) for each in domains])

    def _noise(self, count: int, seed: int, side: int) -> "torch.Tensor":
        import torch

        factor, channels = latent_factor(self.vae), self.vae.config.latent_channels  # pyright: ignore[reportAttributeAccessIssue]
        multiple = factor * self.module.backbone.multiple(self.module.network)
        if not side or side % multiple:
            raise BadInput(
                f"the image side must be a positive multiple of {multiple} (got {side}): set `side`, or "
                "recipe.sampling.side for training"
            )
        shape = (channels, side // factor, side // factor)
        each = [torch.randn(shape, generator=torch.Generator().manual_seed(seed + k)) for k in range(count)]
        return torch.stack(each)


def intrinsic_vae_of(options: IldmOptions, base: Base, dtype: "torch.dtype") -> "AutoencoderKL":
    """The trained VAE of the options. Raises BadInput if none is set, or it is for other maps."""
    from .checkpoint import read_options
    from .nets import widen
    from .options import TINY

    if not options.intrinsic_vae:
        if options.base != TINY:
            raise BadInput("intrinsic_vae is empty: train one with phase: vae, and set it to the folder that it saved")
        return widen(base.vae(dtype), options.layout)
    folder = Path(options.intrinsic_vae)
    trained = read_options(folder)
    if trained.phase != "vae" or trained.layout != options.layout:
        raise BadInput(
            f"intrinsic_vae {folder} was saved by phase {trained.phase} with maps {', '.join(trained.maps)} "
            f"(segment_channels {trained.segment_channels}); needed is a VAE of phase vae with maps "
            f"{', '.join(options.maps)} (segment_channels {options.segment_channels})"
        )
    return load_intrinsic_vae(folder, dtype)


def _guide(rows: "torch.Tensor", scale: float) -> "torch.Tensor":
    """Classifier-free guidance: without text + scale · (with text - without text)."""
    without, with_text = rows.chunk(2)
    return without + scale * (with_text - without)


def _decode(vae: "AutoencoderKL", latents: "torch.Tensor") -> "torch.Tensor":
    scaled: Any = (latents / scaling(vae)).to(vae.dtype)
    return vae.decode(scaled, return_dict=False)[0].float()
