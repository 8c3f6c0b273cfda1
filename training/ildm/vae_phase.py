"""Phase `vae`: the base VAE learns to encode all maps of an image in one latent of the base's size.

Invariant: each map of each image is set to 0 with probability `zero_mask`, independently, so that the VAE also handles
missing maps. The reconstruction target is the masked stack. A saved VAE holds the scale of its own latents: the one
of the weights saved with it, measured on the same training samples at every save.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...shards.errors import BadInput, SpatialdataError
from ..recipe import Batch, Inputs, StepRng
from .checkpoint import load_vae, read_options, save_vae
from .encoders import latent_factor
from .maps import MapLayout
from .models import base_of, freeze
from .options import IldmOptions
from .views import Views

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .nets import IntrinsicVae


@dataclass(frozen=True)
class VaePhase:
    """See `training.recipe.TrainingRecipe` for the contracts of the methods."""

    options: IldmOptions
    module: "IntrinsicVae"
    device: "torch.device"
    probe: Batch | None
    """Training samples on which `save` measures the scale of the latents."""

    @classmethod
    def build(
        cls, options: IldmOptions, device: "torch.device", dtype: "torch.dtype", probe: Batch | None = None
    ) -> "VaePhase":
        import torch

        from .nets import IntrinsicVae, Perceptual, widen

        vae = widen(base_of(options).vae(torch.float32), options.layout)
        perceptual = Perceptual(freeze(lpips(), device), options.layout) if options.lpips_weight else None
        module = IntrinsicVae(vae, options.reconstruction, options.kl_weight, perceptual, options.lpips_weight)
        return cls(options, module.to(device), device, probe)

    def prepare(self, batch: Batch, rng: StepRng) -> Inputs:
        import torch

        views = Views(batch, self.options)
        factor = latent_factor(self.module.vae)
        height, width = views.check_size(factor)
        maps = torch.from_numpy(views.maps())
        maps *= zero_mask(views, rng, self.options.layout, self.options.zero_mask)
        channels = cast(int, self.module.vae.config.latent_channels)  # pyright: ignore[reportAttributeAccessIssue]
        noise = views.normal(rng, (channels, height // factor, width // factor), "posterior")
        found = {"maps": maps, "noise": noise}
        return {name: value.to(self.device) for name, value in found.items()}

    def save(self, module: "nn.Module", folder: Path) -> None:
        if self.probe is None:
            raise SpatialdataError("recipe ildm has no samples to measure the scale of the latents: call see first")
        views = Views(self.probe, self.options)
        valid = np.tile(np.asarray(self.probe["valid"]), len(self.options.views))
        save_vae(cast("IntrinsicVae", module), folder, views.maps()[valid])

    def begin(self, module: "nn.Module", source: Path) -> Sequence[str]:
        saved = read_options(source)
        if saved.layout != self.options.layout:
            raise BadInput(f"{source} encodes other maps: {saved.layout}, here {self.options.layout}")
        load_vae(cast("IntrinsicVae", module), source)
        return ("vae",)

    def load(self, module: "nn.Module", folder: Path) -> None:
        load_vae(cast("IntrinsicVae", module), folder)

    def sample(self, module: "nn.Module", batch: Batch, seed: int) -> Mapping[str, Any]:
        """The maps of the last view: reconstructions `depth`, ... and inputs `given_depth`, ..."""
        import torch

        if missing := set(self.options.members) - set(batch):
            raise BadInput(f"phase vae reconstructs maps, and images alone lack {min(missing)}: remove validate_images")
        vae = cast("IntrinsicVae", module).vae
        given = self.options.layout.pack(batch, self.options.views[-1])
        with torch.no_grad():
            latent = vae.encode(torch.from_numpy(given).to(self.device)).latent_dist.mode()  # pyright: ignore[reportAttributeAccessIssue]
            back = vae.decode(latent).sample.float().cpu().numpy()  # pyright: ignore[reportAttributeAccessIssue]
        shown = self.options.layout.pictures
        return {**{f"given_{name}": image for name, image in shown(given).items()}, **shown(back)}


def lpips() -> "nn.Module":
    """LPIPS with VGG-16 (Zhang et al. 2018, arXiv 1801.03924), as in LDM. Raises BadInput if its package or its weights
    are missing."""
    try:
        from lpips import LPIPS  # pyright: ignore[reportMissingImports]

        return LPIPS(net="vgg", verbose=False)  # pyright: ignore[reportUnknownVariableType]
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision built for another torch
        raise BadInput(
            f"recipe.lpips_weight needs LPIPS ({error}): run `pip install lpips torchvision`, or set "
            "recipe.lpips_weight: 0"
        ) from error
    except OSError as error:
        raise BadInput(
            f'the VGG-16 weights of LPIPS cannot be fetched ({error}): run `python -c "import lpips; '
            "lpips.LPIPS(net='vgg')\"` on a machine with network and copy its torch hub cache, or set "
            "recipe.lpips_weight: 0"
        ) from error


def zero_mask(views: Views, rng: StepRng, layout: MapLayout, probability: float) -> "torch.Tensor":
    """float32 (n, channels, 1, 1): 0 in all channels of a masked map, else 1."""
    import torch

    columns: list[torch.Tensor] = []
    for name, where in layout.slices.items():
        keeps = views.draw(rng.uniform, f"mask {name}") >= probability
        columns += [keeps.float()] * (where.stop - where.start)
    return torch.stack(columns, dim=1)[..., None, None]
