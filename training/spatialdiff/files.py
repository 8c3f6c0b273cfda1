"""The result folder of a run: LoRA in diffusers' format, connector and head as safetensors, and the options.

Invariant: loading restores the saved weights bit for bit, or raises an error that names the mismatch. Options are
compared first, so that a folder of another stage, ablation or shape is never loaded partially.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...shards.errors import BadInput
from ..weights import check_alpha, first_line, sort_metadata
from .options import SpatialDiffOptions

if TYPE_CHECKING:
    from torch import nn

LORA: Final = "pytorch_lora_weights.safetensors"
DESCRIPTION: Final = "spatialdiff.json"
_PARTS: Final = ("connector", "head")
_FORMAT: Final = 1
_NETWORK_OPTIONS: Final = ("stage", "ablation", "width", "height", "connector", "lora")
"""Options that define the network; they must match on load."""


def save_folder(module: Any, options: SpatialDiffOptions, folder: Path) -> None:
    """Write LoRA (stage 2), connector and head (if the network has them), and `spatialdiff.json`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for name in _PARTS:
        part = getattr(module, name)
        if part is not None:
            tensors = {key: value.detach().cpu().contiguous() for key, value in part.state_dict().items()}
            save_file(tensors, folder / f"{name}.safetensors")
    if options.stage == 2:
        _save_lora(module.transformer, folder)
    content = {"recipe": "spatialdiff", "format": _FORMAT, "options": options.model_dump(mode="json")}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _save_lora(transformer: Any, folder: Path) -> None:
    """Write LoRA in diffusers' format, with its metadata. PEFT keeps sets, sorted here so that equal runs write equal
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
    sort_metadata(folder / LORA)


def read_options(folder: Path) -> SpatialDiffOptions:
    """The options of the run that wrote a folder. Raises BadInput if it is not a folder of this recipe."""
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{folder} is not a result folder of recipe spatialdiff: {DESCRIPTION} cannot be read ({error})"
        ) from error
    recipe, version = content.get("recipe"), content.get("format")
    if recipe != "spatialdiff" or version != _FORMAT:
        raise BadInput(
            f"{path} was written by recipe {recipe!r}, format {version!r}; expected 'spatialdiff', format {_FORMAT}"
        )
    try:
        return SpatialDiffOptions.model_validate(content["options"])
    except (ValueError, KeyError) as error:
        raise BadInput(f"{path}: the options cannot be read ({str(error).splitlines()[0]})") from error


def load_folder(module: Any, options: SpatialDiffOptions, folder: Path) -> None:
    """Load what `save_folder` wrote. Raises BadInput that names what differs or is missing."""
    saved, here = read_options(folder).model_dump(mode="json"), options.model_dump(mode="json")
    wrong = [f"{name} is {saved[name]}, here {here[name]}" for name in _NETWORK_OPTIONS if saved[name] != here[name]]
    if wrong:
        raise BadInput(f"{folder} was saved with another configuration: {'; '.join(wrong)}")
    for name in _PARTS:
        if getattr(module, name) is not None:
            load_part(getattr(module, name), folder, name)
    if options.stage == 2:
        _load_lora(module.transformer, folder / LORA)


def load_parts(module: Any, options: SpatialDiffOptions, source: Path) -> tuple[str, ...]:
    """Load the parts that a result folder and this network share, or a LoRA file; returns their names.

    Raises BadInput if there is none, or one has another shape.
    """
    if source.is_file():
        if options.stage == 1:
            raise BadInput(f"{source} is a LoRA file, but stage 1 trains only the connector: set recipe.stage to 2")
        _load_lora(module.transformer, source)
        check_alpha(source, options.lora.alpha, "recipe.lora.alpha")
        return ("lora",)
    read_options(source)
    parts = [name for name in _PARTS if getattr(module, name) is not None]
    loaded = [name for name in parts if (source / f"{name}.safetensors").is_file()]
    for name in loaded:
        load_part(getattr(module, name), source, name)
    if options.stage == 2 and (source / LORA).is_file():
        _load_lora(module.transformer, source / LORA)
        check_alpha(source / LORA, options.lora.alpha, "recipe.lora.alpha")
        loaded.append("lora")
    if not loaded:
        raise BadInput(f"{source} holds nothing that this run trains ({', '.join(parts) or 'lora'}): give another run")
    return tuple(loaded)


def load_part(part: "nn.Module", folder: Path, name: str) -> None:
    """Load the weights of connector or head. Raises BadInput for a missing file or another shape."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / f"{name}.safetensors"
    try:
        part.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} cannot be read ({error}): give the result folder of a run") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{path} does not fit the {name} of this configuration ({reason})") from error


def _load_lora(transformer: Any, path: Path) -> None:
    """Load a LoRA file in diffusers' format. Raises BadInput if it is missing, damaged, or of another transformer."""
    from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline
    from peft.utils import set_peft_model_state_dict
    from safetensors import SafetensorError

    if not path.is_file():
        raise BadInput(f"{path} is missing: give a folder saved by stage 2 of spatialdiff")
    try:
        state: Any = FluxKontextPipeline.lora_state_dict(str(path.parent), weight_name=path.name)
        state = {key.removeprefix("transformer."): value for key, value in state.items()}
        result = set_peft_model_state_dict(transformer, state, adapter_name="default")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadInput(f"{path} is no LoRA of this transformer ({first_line(error)})") from error
    missing = [key for key in result.missing_keys if "lora" in key]
    if result.unexpected_keys or missing:
        raise BadInput(f"{path} is of another transformer: {[*result.unexpected_keys, *missing][0]} does not match")
