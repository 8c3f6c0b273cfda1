"""Saving and loading the results of the two phases.

Invariant: `ildm.json` beside the weights holds the options of the run, and weights are loaded only into a module of the
same shape. The formats are those of diffusers: an intrinsic VAE is a folder of `AutoencoderKL`, LoRA is what
`load_lora_weights` of the Stable Diffusion pipelines reads, a trained base is a folder `unet/`.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ...shards.errors import BadInput
from .options import IldmOptions

if TYPE_CHECKING:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from .nets import IntrinsicVae, TwoDomainUNet

_OPTIONS = "ildm.json"
_LORA = "pytorch_lora_weights.safetensors"
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


def save_vae(module: "IntrinsicVae", folder: Path) -> None:
    module.vae.save_pretrained(folder)


def load_vae(module: "IntrinsicVae", folder: Path) -> None:
    """Raises BadInput for missing weights, or weights of another model."""
    _load(module.vae, _read(folder / _WEIGHTS), folder)


def save_unet(module: "TwoDomainUNet", folder: Path, train_base: bool) -> None:
    """Write LoRA, and the base weights if they train too."""
    from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    config = next(iter(module.unet.peft_config.values())).to_dict()
    # The order of a set differs between processes: sort it, so that the same LoRA has the same metadata.
    metadata = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    lora: dict[str, Any] = get_peft_model_state_dict(module.unet)
    StableDiffusionLoraLoaderMixin.save_lora_weights(folder, unet_lora_layers=lora, unet_lora_adapter_metadata=metadata)
    if train_base:
        module.unet.save_config(folder / "unet")
        base = {name: value.contiguous() for name, value in _base_weights(module.unet).items()}
        save_file(base, folder / "unet" / _WEIGHTS, metadata={"format": "pt"})


def load_unet(module: "TwoDomainUNet", folder: Path, train_base: bool = False) -> None:
    """Raises BadInput for missing weights, or weights of another model."""
    import torch
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

    found = {name.removeprefix("unet."): value for name, value in _read(folder / _LORA).items()}
    expected = get_peft_model_state_dict(module.unet)
    _check_shapes(expected, found, folder)
    set_peft_model_state_dict(module.unet, found)
    if train_base:
        base, weights = _base_weights(module.unet), _read(folder / "unet" / _WEIGHTS)
        _check_shapes(base, weights, folder)
        with torch.no_grad():
            for name, value in weights.items():
                base[name].copy_(value)


def _base_weights(unet: "UNet2DConditionModel") -> "dict[str, torch.Tensor]":
    """The base weights under their names without LoRA; views, not copies."""
    state = unet.state_dict()
    return {name.replace(".base_layer.", "."): value for name, value in state.items() if ".lora_" not in name}


def _load(model: Any, weights: "dict[str, torch.Tensor]", folder: Path) -> None:
    _check_shapes(model.state_dict(), weights, folder)
    model.load_state_dict(weights)


def _check_shapes(expected: "dict[str, torch.Tensor]", found: "dict[str, torch.Tensor]", folder: Path) -> None:
    here = {name: tuple(value.shape) for name, value in expected.items()}
    saved = {name: tuple(value.shape) for name, value in found.items()}
    names = sorted(name for name in {*here, *saved} if here.get(name) != saved.get(name))
    if names:
        raise BadInput(
            f"the weights in {folder} are of another model: {names[0]} has shape {saved.get(names[0], 'absent')}, here "
            f"{here.get(names[0], 'absent')} ({len(names)} weights differ): use the same base"
        )


def _read(path: Path) -> "dict[str, torch.Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} is missing or damaged ({error}): use another checkpoint or train again") from error
