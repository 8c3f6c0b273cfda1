"""The adapter on disk: in PEFT's format (`PeftModel.from_pretrained` reads it), with a description of its base.

Invariant: equal weights give equal files. Weights are written in float32, as they are trained.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...shards.errors import BadInput
from ..weights import first_line
from .weights import renamed

if TYPE_CHECKING:
    from peft import PeftModel

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
_PREFIX: Final = "base_model.model."
DESCRIPTION: Final = "spatialedit.json"
"""The base model and the options that the adapter was trained with."""


def save_adapter(transformer: "PeftModel", folder: Path, description: Mapping[str, Any]) -> None:
    """Write weights, PEFT's configuration and the description."""
    transformer.save_pretrained(str(folder), save_embedding_layers=False)  # otherwise every save queries the hub
    config = folder / CONFIG
    content = json.loads(config.read_text())
    for name in ("target_modules", "exclude_modules"):  # PEFT holds sets, whose order changes from run to run
        content[name] = sorted(content[name])
    config.write_text(json.dumps(content, indent=2, sort_keys=True))
    (folder / DESCRIPTION).write_text(json.dumps(dict(description), indent=2, sort_keys=True))


def load_adapter(transformer: "PeftModel", folder: Path, description: Mapping[str, Any]) -> None:
    """Load the weights. Raises BadInput if they are missing or the description differs; the message names what."""
    try:
        saved = json.loads((folder / DESCRIPTION).read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder} holds no adapter of recipe spatialedit ({error})") from error
    names = [name for name in sorted({*saved, *description}) if saved.get(name) != description.get(name)]
    if names:
        listed = ", ".join(f"{name} is {saved.get(name)!r}, here {description.get(name)!r}" for name in names)
        raise BadInput(f"{folder} was saved with another configuration: {listed}")
    load_weights(transformer, folder / WEIGHTS)


def load_weights(transformer: "PeftModel", path: Path) -> None:
    """Load a LoRA file in PEFT's format, with diffusers' or the published names.

    Raises BadInput if it cannot be read or is of another model.
    """
    from peft import set_peft_model_state_dict
    from peft.utils import get_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        read = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} cannot be read as a LoRA file ({first_line(error)})") from error
    weights = {_PREFIX + renamed(name.removeprefix(_PREFIX)): value for name, value in read.items()}
    if {name: each.shape for name, each in weights.items()} != {
        name: each.shape for name, each in get_peft_model_state_dict(transformer, save_embedding_layers=False).items()
    }:
        raise BadInput(f"{path} does not fit the model: names or shapes of the weights differ")
    set_peft_model_state_dict(transformer, weights)
