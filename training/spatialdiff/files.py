"""A folder with what a run trained: LoRA as diffusers reads it, connector and head as safetensors, and their options.

Invariant: what is read back is what was written, to the last bit, or refused by name: a folder of another stage,
ablation or shape fills no network half.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...shards.errors import BadInput
from .options import SpatialDiffOptions

if TYPE_CHECKING:
    from torch import nn

LORA: Final = "pytorch_lora_weights.safetensors"
DESCRIPTION: Final = "spatialdiff.json"
_PARTS: Final = ("connector", "head")
_FORMAT: Final = 1
_DECISIVE: Final = ("stage", "ablation", "width", "height", "connector", "lora")
"""Options without which equal files mean another network."""


def save_folder(module: Any, options: SpatialDiffOptions, folder: Path) -> None:
    """Write LoRA (stage 2), connector and head (where there are any), and `spatialdiff.json`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for name in _PARTS:
        part = getattr(module, name)
        if part is not None:
            tensors = {key: value.detach().cpu().contiguous() for key, value in part.state_dict().items()}
            save_file(tensors, folder / f"{name}.safetensors")
    if options.stage == 2:
        _save_lora(module.transformer, folder)
    text = {"recipe": "spatialdiff", "format": _FORMAT, "options": options.model_dump(mode="json")}
    (folder / DESCRIPTION).write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")


def _save_lora(transformer: Any, folder: Path) -> None:
    """In diffusers' format, with its metadata, of which peft keeps a set: sorted here, so that equal runs make equal
    files."""
    from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline
    from peft.utils import get_peft_model_state_dict

    config = transformer.peft_config["default"].to_dict()
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    FluxKontextPipeline.save_lora_weights(
        folder,
        transformer_lora_layers=dict(get_peft_model_state_dict(transformer)),
        transformer_lora_adapter_metadata=config,
    )
    _order_metadata(folder / LORA)


def _order_metadata(path: Path) -> None:
    """safetensors writes its metadata in an order of chance: sort it, in the same bytes."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        if len(ordered) == length:
            file.seek(8)
            file.write(ordered)


def read_options(folder: Path) -> SpatialDiffOptions:
    """The options of the run that wrote a folder. Raises BadInput where none of this recipe did."""
    path = folder / DESCRIPTION
    try:
        text = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder} holds no result of spatialdiff: {DESCRIPTION} cannot be read ({error})") from error
    if text.get("recipe") != "spatialdiff" or text.get("format") != _FORMAT:
        raise BadInput(f"{path}: made by recipe {text.get('recipe')!r}, format {text.get('format')!r}, not by this one")
    try:
        return SpatialDiffOptions.model_validate(text["options"])
    except (ValueError, KeyError) as error:
        raise BadInput(f"{path}: its options cannot be read ({str(error).splitlines()[0]})") from error


def load_folder(module: Any, options: SpatialDiffOptions, folder: Path) -> None:
    """Read `save_folder`'s back. Raises BadInput saying what differs, or what is missing."""
    theirs, mine = read_options(folder).model_dump(mode="json"), options.model_dump(mode="json")
    wrong = [f"{name} is {theirs[name]}, here {mine[name]}" for name in _DECISIVE if theirs[name] != mine[name]]
    if wrong:
        raise BadInput(f"{folder} is of another configuration: {'; '.join(wrong)}")
    for name in _PARTS:
        if getattr(module, name) is not None:
            load_part(getattr(module, name), folder, name)
    if options.stage == 2:
        _load_lora(module.transformer, folder)


def load_part(part: "nn.Module", folder: Path, name: str) -> None:
    """Fill connector or head. Raises BadInput for a missing file, or another shape."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / f"{name}.safetensors"
    try:
        part.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} cannot be read ({error}): give a folder that a run of spatialdiff saved") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{path} is of another {name} than this configuration's ({reason})") from error


def _load_lora(transformer: Any, folder: Path) -> None:
    from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline
    from peft.utils import set_peft_model_state_dict

    if not (folder / LORA).is_file():
        raise BadInput(f"{folder / LORA} is missing: give a folder that stage 2 of spatialdiff saved")
    state: Any = FluxKontextPipeline.lora_state_dict(str(folder), weight_name=LORA)
    state = {key.removeprefix("transformer."): value for key, value in state.items()}
    result = set_peft_model_state_dict(transformer, state, adapter_name="default")
    lacking = [key for key in result.missing_keys if "lora" in key]
    if result.unexpected_keys or lacking:
        raise BadInput(f"{folder / LORA} is of another transformer: {[*result.unexpected_keys, *lacking][0]} fits none")
