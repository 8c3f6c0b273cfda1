"""Image editing with a trained SpatialDiff: Kontext's sampling, conditioned on the source's geometry.

Invariant: inputs are a source image and an instruction; no depth. The only model beyond Kontext and the trained parts
is the geometry encoder.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from ..recipe import StepRng
from .build import build_net
from .files import load_folder, read_options
from .frozen import PATCH, Frozen, depth_image, unpatchify
from .options import SpatialDiffOptions

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Edited:
    """uint8 (B, H, W, 3) each. `depth` is the head's prediction in the last step; None without a head."""

    images: np.ndarray[Any, Any]
    depth: np.ndarray[Any, Any] | None


class SpatialDiffPipeline:
    """Source images and instructions to target images.

    Args:
        net: a `nets.SpatialDiffNet`, possibly wrapped (DDP).
        frozen: the frozen models.
    """

    def __init__(self, net: Any, frozen: Frozen) -> None:
        self.net = net
        self.frozen = frozen

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        device: "str | torch.device" = "",
        dtype: "torch.dtype | None" = None,
        **changes: Any,
    ) -> Self:
        """Load the result folder of a run, with the base and the encoder that it names.

        Args:
            device: default: a GPU if available.
            dtype: default: bfloat16 on GPUs, float32 on CPUs.
            changes: options to override, such as `base` for a local folder of the same weights.

        Raises BadInput if the folder is not a result of this recipe, or for missing weights or packages.
        """
        import torch

        saved = read_options(Path(folder)).model_dump() | {"cache": "", "unload_encoders": False}
        options = SpatialDiffOptions.model_validate(saved | changes)
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        net, frozen = build_net(options, where, dtype or (torch.float32 if where.type == "cpu" else torch.bfloat16))
        load_folder(net, options, Path(folder))
        return cls(net.eval(), frozen)

    def __call__(self, image: Image.Image, instruction: str, *, seed: int = 0, **options: Any) -> Image.Image:
        """Edit one image. It is resized to the training size, ignoring its aspect ratio, and back afterwards. With
        `any_size`, it keeps its aspect ratio, up to multiples of 16, and gets the area of the training size.

        Args:
            options: `steps`, `guidance` of `edit`.
        """
        fitted = image.convert("RGB").resize(self.size_for(image), Image.Resampling.LANCZOS)
        edited = self.edit(np.asarray(fitted)[None], [instruction], seed=seed, **options)
        return Image.fromarray(edited.images[0]).resize(image.size, Image.Resampling.LANCZOS)

    def size_for(self, image: Image.Image) -> tuple[int, int]:
        """Width and height in which an image is edited."""
        options = self.frozen.options
        if not options.any_size:
            return options.width, options.height
        scale = math.sqrt(options.width * options.height / (image.width * image.height))
        width, height = (max(1, round(side * scale / PATCH)) * PATCH for side in image.size)
        return width, height

    def edit(
        self,
        images: Any,
        instructions: Sequence[str],
        *,
        seed: int = 0,
        keys: Sequence[str] = (),
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Edited:
        """Edit a batch of source images, uint8 (B, H, W, 3) in the training size.

        Args:
            seed, keys: determine the initial noise of each image; default keys: the indices in the batch.
            steps, guidance: default: the values of the configuration.
        """
        import torch

        options = self.frozen.options
        rng = StepRng(seed, 0, tuple(keys) or tuple(map(str, range(len(instructions)))))
        training = self.net.training
        self.net.eval()
        try:
            with torch.no_grad(), self._autocast():
                inputs = self.frozen.condition(
                    images, instructions, options.sample_guidance if guidance is None else guidance
                )
                latents, depth = self._denoise(inputs, rng, steps or options.sample_steps)
        finally:
            self.net.train(training)
        height = np.shape(images)[1]
        shown = None if depth is None else self._depth_images(depth, height)
        return Edited(self.frozen.images(latents, height).numpy(), shown)

    def _denoise(
        self, inputs: dict[str, "torch.Tensor"], rng: StepRng, steps: int
    ) -> tuple["torch.Tensor", "torch.Tensor | None"]:
        """Denoise to packed latents (B, N, C), float32, with the sampling of `FluxKontextPipeline`."""
        from diffusers.pipelines.flux.pipeline_flux_kontext import calculate_shift

        latents = rng.normal(inputs["source"].shape[1:]).to(self.frozen.device)
        scheduler = deepcopy(self.frozen.base.scheduler)
        names = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
        mu = calculate_shift(latents.shape[1], *(scheduler.config[name] for name in names))
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), device=self.frozen.device, mu=mu)
        depth = None
        for time in scheduler.timesteps:
            sigma = (time / 1000).expand(len(latents))
            predicted = self.net({**inputs, "noisy": latents, "sigma": sigma})
            latents = scheduler.step(predicted["velocity"].float(), time, latents, return_dict=False)[0]
            depth = predicted.get("depth")
        return latents, depth

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        dtype = self.frozen.dtype
        return torch.autocast(self.frozen.device.type, dtype, enabled=dtype != torch.float32)

    def _depth_images(self, depth: "torch.Tensor", height: int) -> np.ndarray[Any, Any]:
        if self.frozen.options.depth_loss == "latent":
            return self.frozen.images(depth, height).numpy()
        return depth_image(unpatchify(depth, PATCH, height)[:, 0]).numpy()
