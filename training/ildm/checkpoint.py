"""What the two phases leave in a folder, and reading it back.

Invariant: `ildm.json` beside the weights says with which options they were made, and weights go only into a
module of the same shape. The formats are the libraries': an intrinsic VAE is a folder of `AutoencoderKL`,
LoRA is what `load_lora_weights` of diffusers' Stable Diffusion pipelines reads, a trained base is a folder `unet/`.
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
    """The options of a saved folder. Raises BadInput where it is none of I-LDM."""
    try:
        told = json.loads((folder / _OPTIONS).read_text())
        return IldmOptions.model_validate(told["options"])
    except FileNotFoundError:
        raise BadInput(f"{folder} holds no {_OPTIONS}: it was not saved by recipe ildm") from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise BadInput(f"{folder / _OPTIONS} cannot be read ({type(error).__name__}): save it again") from error


def write_options(folder: Path, options: IldmOptions) -> None:
    told = {"recipe": "ildm", "options": options.model_dump(mode="json")}
    (folder / _OPTIONS).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")


def check_fits(folder: Path, options: IldmOptions) -> None:
    """Raises BadInput naming what differs between a saved folder and this run."""
    saved, here = read_options(folder).identity(), options.identity()
    differing = sorted(name for name in {*saved, *here} if saved.get(name) != here.get(name))
    if differing:
        told = ", ".join(f"{name} {saved.get(name)} there, {here.get(name)} here" for name in differing)
        raise BadInput(
            f"{folder} is of another configuration: {told}; set these options to what they were, or start anew"
        )


def save_vae(module: "IntrinsicVae", folder: Path) -> None:
    module.vae.save_pretrained(folder)


def load_vae(module: "IntrinsicVae", folder: Path) -> None:
    """Raises BadInput for missing or other weights."""
    _fill(module.vae, _read(folder / _WEIGHTS), folder)


def save_unet(module: "TwoDomainUNet", folder: Path, train_base: bool) -> None:
    """LoRA alone, or with the base's weights where they trained too."""
    from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    config = next(iter(module.unet.peft_config.values())).to_dict()
    # A set has another order in each process: sorted, the same LoRA is told of in the same words.
    told = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    lora: dict[str, Any] = get_peft_model_state_dict(module.unet)
    StableDiffusionLoraLoaderMixin.save_lora_weights(folder, unet_lora_layers=lora, unet_lora_adapter_metadata=told)
    if train_base:
        module.unet.save_config(folder / "unet")
        base = {plain: value.contiguous() for plain, value in _base(module.unet).items()}
        save_file(base, folder / "unet" / _WEIGHTS, metadata={"format": "pt"})


def load_unet(module: "TwoDomainUNet", folder: Path, train_base: bool = False) -> None:
    """Raises BadInput for missing or other weights."""
    import torch
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

    found = {name.removeprefix("unet."): value for name, value in _read(folder / _LORA).items()}
    expected = get_peft_model_state_dict(module.unet)
    _same_shapes(expected, found, folder)
    set_peft_model_state_dict(module.unet, found)
    if train_base:
        mine, weights = _base(module.unet), _read(folder / "unet" / _WEIGHTS)
        _same_shapes(mine, weights, folder)
        with torch.no_grad():
            for name, value in weights.items():
                mine[name].copy_(value)


def _base(unet: "UNet2DConditionModel") -> "dict[str, torch.Tensor]":
    """The base's own weights, under the names that they have without LoRA; views, not copies."""
    state = unet.state_dict()
    return {name.replace(".base_layer.", "."): value for name, value in state.items() if ".lora_" not in name}


def _fill(model: Any, weights: "dict[str, torch.Tensor]", folder: Path) -> None:
    _same_shapes(model.state_dict(), weights, folder)
    model.load_state_dict(weights)


def _same_shapes(expected: "dict[str, torch.Tensor]", found: "dict[str, torch.Tensor]", folder: Path) -> None:
    mine = {name: tuple(value.shape) for name, value in expected.items()}
    theirs = {name: tuple(value.shape) for name, value in found.items()}
    odd = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
    if odd:
        raise BadInput(
            f"the weights in {folder} are of another model: {odd[0]} is {theirs.get(odd[0], 'absent')} there, "
            f"{mine.get(odd[0], 'absent')} here ({len(odd)} differ): is it the same base?"
        )


def _read(path: Path) -> "dict[str, torch.Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} is missing or damaged ({error}): save it again, or take another checkpoint") from error
