"""Loading the models of I-LDM: from a folder or repository in diffusers' layout, or small random ones (`tiny`).

Invariant: a base of an architecture that I-LDM does not support is an error before any of its weights is fetched. A
repository is resolved to a folder once, so that all parts are of one snapshot.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from ...shards.errors import BadInput
from ..weights import find_folder, first_line, seeded
from .backbones import Backbone, backbone_of
from .options import TINY, IldmOptions
from .tiny import tiny_part

if TYPE_CHECKING:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from torch import nn

    from .nets import TwoDomains

Model = TypeVar("Model")
_INDEX: Final = "model_index.json"


@dataclass(frozen=True)
class Base:
    """The parts of a latent diffusion model, each loaded on demand.

    Raises BadInput for an unsupported architecture, or for missing weights; the message names the id and how to get it.
    """

    name: str
    revision: str = "main"

    @cached_property
    def index(self) -> Mapping[str, Any]:
        """The content of `model_index.json`."""
        if self.name == TINY:
            return {"_class_name": "StableDiffusionPipeline"}
        path = find_folder(self.name, self.revision, files=[_INDEX]) / _INDEX
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(
                f"base {self.name} has no readable {_INDEX} ({first_line(error)}): give a folder or hub repository "
                "that was saved by a pipeline of diffusers"
            ) from error

    @cached_property
    def backbone(self) -> Backbone:
        return backbone_of(self.name, self.index)

    @property
    def folder(self) -> Path:
        return self._snapshot

    @cached_property
    def _snapshot(self) -> Path:
        return find_folder(self.name, self.revision, files=[_INDEX, *self.backbone.files])

    def network(self, dtype: "torch.dtype") -> Any:
        """The denoiser: a UNet or a transformer."""
        return self.part(self.backbone.network_type(), self.backbone.folder, dtype)

    def vae(self, dtype: "torch.dtype") -> "AutoencoderKL":
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        return self.part(AutoencoderKL, "vae", vae_dtype(dtype))

    def scheduler(self, kind: type[Any]) -> Any:
        """A diffusers scheduler of the given class with the base's noise schedule.

        Latents are never clipped to [-1, 1]. That is the default of DDPM and DDIM, which would apply to bases whose own
        scheduler has no such option (PixArt).
        """
        found = self.part(kind, "scheduler")
        return kind.from_config(found.config, clip_sample=False)

    def part(self, kind: type[Any], name: str, dtype: "torch.dtype | None" = None) -> Any:
        """The part in folder `name`, as a class of diffusers or transformers."""
        if self.name == TINY:
            found = tiny_part(name)
            return found if dtype is None else _cast(found, dtype)
        options = {} if dtype is None else {"torch_dtype" if "diffusers" in kind.__module__ else "dtype": dtype}
        try:
            return kind.from_pretrained(self.folder, subfolder=name, **options)
        except (OSError, ValueError, ImportError) as error:
            raise BadInput(f"base {self.name} has no usable {name}/ in {self.folder} ({first_line(error)})") from error


def base_of(options: IldmOptions) -> Base:
    """The base of the options. Raises BadInput at once if I-LDM does not support its architecture."""
    base = Base(options.base, options.revision)
    backbone_of(base.name, base.index)
    return base


def freeze(model: Model, device: "torch.device") -> Model:
    """Move a model to a device and freeze it (no gradients, eval mode); returns it."""
    cast("nn.Module", model).to(device).requires_grad_(False).eval()
    return model


def load_intrinsic_vae(folder: str | Path, dtype: "torch.dtype") -> "AutoencoderKL":
    """The VAE saved by phase `vae`. Raises BadInput if there is none."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    try:
        return AutoencoderKL.from_pretrained(folder, torch_dtype=vae_dtype(dtype))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"no intrinsic VAE in {folder} ({first_line(error)}): train one with phase: vae, and set intrinsic_vae to "
            "the folder that it saved"
        ) from error


def vae_dtype(dtype: "torch.dtype") -> "torch.dtype":
    """float32 in place of float16, in which SDXL's VAE overflows; bfloat16 has the range of float32."""
    import torch

    return torch.float32 if dtype == torch.float16 else dtype


def make_module(options: IldmOptions, device: "torch.device", dtype: "torch.dtype") -> "TwoDomains":
    """The base network with new LoRA weights, equal in every process."""
    from .nets import TwoDomains

    base = base_of(options)
    network = base.network(dtype)
    with seeded(0):
        module = TwoDomains(
            network, base.backbone, options.rank, options.alpha, options.intrinsic_weight, options.train_base
        )
    return module.to(device)


def _cast(model: Any, dtype: "torch.dtype") -> Any:
    """`model.to(dtype)` without diffusers' warning about models that keep parts in float32, which these do not."""
    from torch import nn

    return nn.Module.to(model, dtype)
