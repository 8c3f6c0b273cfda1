"""The result folder of a run.

`branch`, `decoder` and `adapter` are safetensors files, `spatialfusion.json` holds the options, and `lora/` the editing
model's LoRA as its own recipe writes it: `spatialdiff` in diffusers' format, `spatialedit` in PEFT's.

Invariant: loading restores the saved weights bit for bit, or raises an error that names the mismatch.
"""

import json
from pathlib import Path
from typing import Any, Final

from ...shards.errors import BadInput
from ..spatialdiff.files import load_part
from .options import SpatialFusionOptions

DESCRIPTION: Final = "spatialfusion.json"
LORA: Final = "lora"
_STAGE_1: Final = ("branch", "decoder")
_FORMAT: Final = 1
_NETWORK_OPTIONS: Final = ("stage", "backbone", "width", "height", "decoder")
"""Options that define the network, besides those of the LoRA; they must match on load."""


def save_parts(module: Any, options: SpatialFusionOptions, folder: Path) -> None:
    """Write all trained weights except the LoRA, and `spatialfusion.json`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for name in _parts(options):
        weights = getattr(module, name).state_dict()
        save_file(
            {key: value.detach().cpu().contiguous() for key, value in weights.items()}, folder / f"{name}.safetensors"
        )
    content = {"recipe": "spatialfusion", "format": _FORMAT, "options": options.model_dump(mode="json")}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_options(folder: Path) -> SpatialFusionOptions:
    """The options of the run that wrote a folder. Raises BadInput if it is not a folder of this recipe."""
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text())
        if (content["recipe"], content["format"]) != ("spatialfusion", _FORMAT):
            raise ValueError(f"recipe {content['recipe']!r}, format {content['format']!r}; expected format {_FORMAT}")
        return SpatialFusionOptions.model_validate(content["options"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise BadInput(f"{folder} is not a result folder of recipe spatialfusion: {DESCRIPTION} ({reason})") from error


def load_parts(module: Any, options: SpatialFusionOptions, folder: Path) -> None:
    """Load what `save_parts` wrote. Raises BadInput that names what differs or is missing."""
    _check_network(options, folder, _NETWORK_OPTIONS)
    for name in _parts(options):
        load_part(getattr(module, name), folder, name)


def load_shared(module: Any, options: SpatialFusionOptions, folder: Path) -> tuple[str, ...]:
    """Load the parts, except the LoRA, that a result folder of any stage and this network share; returns their names.

    Raises BadInput if the folder is of a network of another shape.
    """
    _check_network(options, folder, _NETWORK_OPTIONS[1:])
    names = tuple(name for name in _parts(options) if (folder / f"{name}.safetensors").is_file())
    for name in names:
        load_part(getattr(module, name), folder, name)
    return names


def _check_network(options: SpatialFusionOptions, folder: Path, names: tuple[str, ...]) -> None:
    saved, here = read_options(folder).model_dump(mode="json"), options.model_dump(mode="json")
    wrong = [f"{name} is {saved[name]}, here {here[name]}" for name in names if saved[name] != here[name]]
    if wrong:
        raise BadInput(f"{folder} was saved with another configuration: {'; '.join(wrong)}")


def _parts(options: SpatialFusionOptions) -> tuple[str, ...]:
    return _STAGE_1 if options.stage == 1 else (*_STAGE_1, "adapter")
