"""Saving and loading the results of the two phases.

Invariant: `ildm.json` beside the weights holds the options of the run, and weights are loaded only into a module of the
same shape. The formats are those of the libraries: an intrinsic VAE is a folder of `AutoencoderKL` of diffusers, LoRA
is what `load_lora_weights` of the base's pipeline reads (PixArt: `PeftModel.from_pretrained`), a trained base is a
folder `unet/` or `transformer/`. Equal runs write equal files.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ...shards.errors import BadInput
from .encoders import latent_scale
from .maps import Floats
from .models import freeze, load_intrinsic_vae
from .options import IldmOptions

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .nets import IntrinsicVae, TwoDomains

_OPTIONS = "ildm.json"
_WEIGHTS = "diffusion_pytorch_model.safetensors"


def read_options(folder: Path) -> IldmOptions:
    """The options of a saved folder. Raises BadInput if the folder was not saved by recipe ildm."""
    try:
        content = json.loads((folder / _OPTIONS).read_text())
        return IldmOptions.model_validate(content["options"])
    except FileNotFoundError:
        raise BadInput(f"{folder} holds no {_OPTIONS}: it was not saved by recipe ildm") from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise BadInput(
            f"{folder / _OPTIONS} cannot be read ({type(error).__name__}): use another checkpoint or train again"
        ) from error


def write_options(folder: Path, options: IldmOptions) -> None:
    content = {"recipe": "ildm", "options": options.model_dump(mode="json")}
    (folder / _OPTIONS).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def check_fits(folder: Path, options: IldmOptions) -> None:
    """Raises BadInput that names the differences between a saved folder and this run."""
    saved, here = read_options(folder).identity(), options.identity()
    names = sorted(name for name in {*saved, *here} if saved.get(name) != here.get(name))
    if names:
        listed = ", ".join(f"{name} is {saved.get(name)}, here {here.get(name)}" for name in names)
        raise BadInput(
            f"{folder} was saved with another configuration: {listed}; restore these values, or start a new run"
        )


def save_vae(module: "IntrinsicVae", folder: Path, maps: Floats) -> None:
    """Write the VAE with the scale of its latents, measured on `maps`, as `scaling_factor` in its configuration."""
    import torch

    module.vae.save_pretrained(folder)
    # Measured with a copy: of a sharded module, this process cannot use the layers without the others.
    saved = freeze(load_intrinsic_vae(folder, torch.float32), next(module.parameters()).device)
    saved.register_to_config(scaling_factor=latent_scale(saved, maps))
    saved.save_config(folder)


def load_vae(module: "IntrinsicVae", folder: Path) -> None:
    """Raises BadInput for missing weights, or weights of another model."""
    _load(module.vae, _read(folder / _WEIGHTS), folder)


def save_denoiser(module: "TwoDomains", folder: Path, train_base: bool) -> None:
    """Write LoRA, and the base weights if they train too."""
    from safetensors.torch import save_file

    module.backbone.save_lora(module.network, folder)
    if train_base:
        part = folder / module.backbone.folder
        module.network.save_config(part)
        base = {name: value.contiguous() for name, value in _base_weights(module.network).items()}
        save_file(base, part / _WEIGHTS, metadata={"format": "pt"})


def load_denoiser(module: "TwoDomains", folder: Path, train_base: bool = False) -> None:
    """Raises BadInput for missing weights, or weights of another model."""
    import torch

    backbone, network = module.backbone, module.network
    load_lora(module, folder / backbone.lora_file)
    if train_base:
        base, weights = _base_weights(network), _read(folder / backbone.folder / _WEIGHTS)
        _check_shapes(base, weights, folder)
        with torch.no_grad():
            for name, value in weights.items():
                base[name].copy_(value)


def load_lora(module: "TwoDomains", path: Path) -> None:
    """Load a file that `save_denoiser` wrote. Raises BadInput if it is missing, damaged, or of another model."""
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

    prefix = module.backbone.lora_prefix
    found = {name.removeprefix(prefix): value for name, value in _read(path).items()}
    _check_shapes(get_peft_model_state_dict(module.network), found, path)
    set_peft_model_state_dict(module.network, found)


def _base_weights(network: "nn.Module") -> "dict[str, torch.Tensor]":
    """The base weights under their names without LoRA; views, not copies."""
    state = network.state_dict()
    return {name.replace(".base_layer.", "."): value for name, value in state.items() if ".lora_" not in name}


def _load(model: Any, weights: "dict[str, torch.Tensor]", folder: Path) -> None:
    _check_shapes(model.state_dict(), weights, folder)
    model.load_state_dict(weights)


def _check_shapes(expected: "dict[str, torch.Tensor]", found: "dict[str, torch.Tensor]", source: Path) -> None:
    here = {name: tuple(value.shape) for name, value in expected.items()}
    saved = {name: tuple(value.shape) for name, value in found.items()}
    names = sorted(name for name in {*here, *saved} if here.get(name) != saved.get(name))
    if names:
        raise BadInput(
            f"the weights in {source} are of another model: {names[0]} has shape {saved.get(names[0], 'absent')}, here "
            f"{here.get(names[0], 'absent')} ({len(names)} weights differ): use the same base"
        )


def _read(path: Path) -> "dict[str, torch.Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} is missing or damaged ({error}): use another checkpoint or train again") from error
