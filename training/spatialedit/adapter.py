"""The adapter on disk: as PEFT writes it (`PeftModel.from_pretrained` reads it anywhere), beside what it belongs to.

Invariant: same weights, same files; the weights are written as they are trained, in float32.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...shards.errors import BadInput

if TYPE_CHECKING:
    from peft import PeftModel

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
BELONGS: Final = "spatialedit.json"
"""What the adapter was trained on and with."""


def save_adapter(transformer: "PeftModel", folder: Path, belongs: Mapping[str, Any]) -> None:
    """Write weights, PEFT's configuration, and what they belong to."""
    transformer.save_pretrained(str(folder), save_embedding_layers=False)  # else it asks the hub, at each save
    config = folder / CONFIG
    written = json.loads(config.read_text())
    for name in ("target_modules", "exclude_modules"):  # PEFT holds sets, whose order changes from run to run
        written[name] = sorted(written[name])
    config.write_text(json.dumps(written, indent=2, sort_keys=True))
    (folder / BELONGS).write_text(json.dumps(dict(belongs), indent=2, sort_keys=True))


def load_adapter(transformer: "PeftModel", folder: Path, belongs: Mapping[str, Any]) -> None:
    """Read the weights back. Raises BadInput where they are missing, or belong to something else (says what)."""
    from peft import set_peft_model_state_dict
    from peft.utils import get_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = json.loads((folder / BELONGS).read_text())
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise BadInput(f"{folder} holds no adapter of recipe spatialedit ({error})") from error
    odd = [name for name in sorted({*found, *belongs}) if found.get(name) != belongs.get(name)]
    if odd:
        told = ", ".join(f"{name} {found.get(name)!r}, here {belongs.get(name)!r}" for name in odd)
        raise BadInput(f"{folder} belongs to another configuration: {told}")
    if {name: each.shape for name, each in weights.items()} != {
        name: each.shape for name, each in get_peft_model_state_dict(transformer, save_embedding_layers=False).items()
    }:
        raise BadInput(f"{folder / WEIGHTS} does not fit the model: it is of another size, or damaged")
    set_peft_model_state_dict(transformer, weights)
