"""Weights under the names that SpatialEdit and JoyAI published them with: the network is diffusers', but that there a
block's attention has a module of its own.

Invariant: every weight of the network comes from the file, or the file is refused.
"""

import pickle
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...shards.errors import BadInput

if TYPE_CHECKING:
    import torch

PUBLISHED: Final = {r"^(double_blocks\.\d+)\.((?:img|txt)_attn_)": r"\1.attn.\2"}
"""Published name to diffusers', as `re.sub` and PEFT's `key_mapping` take it; diffusers' own names stay as they are."""
_UNUSED: Final = "repa"
"""Begins the names of a head that served in pre-training alone."""


def renamed(name: str) -> str:
    """A weight's name in diffusers' network."""
    for pattern, replacement in PUBLISHED.items():
        name = re.sub(pattern, replacement, name)
    return name


def load_transformer(config: Path, weights: Path, theta: int, dtype: "torch.dtype") -> Any:
    """The network of a folder's configuration, with the weights of a file (safetensors, or torch's).

    Args:
        theta: of the rotary embedding, which such a file does not tell.

    Raises BadInput for a file that cannot be read or is of another network.
    """
    from accelerate import init_empty_weights
    from diffusers.models.transformers.transformer_joyimage import JoyImageEditTransformer3DModel

    found = {renamed(name): value for name, value in _read(weights).items() if not name.startswith(_UNUSED)}
    settings: Any = JoyImageEditTransformer3DModel.load_config(config)
    with init_empty_weights():
        network: Any = JoyImageEditTransformer3DModel.from_config(settings, theta=theta)
    expected = network.state_dict()
    odd = [
        name
        for name in sorted({*found, *expected})
        if name not in found or name not in expected or found[name].shape != expected[name].shape
    ]
    if odd:
        raise BadInput(f"{weights} is not of the network in {config}: {len(odd)} weights differ, such as {odd[0]}")
    for name, value in found.items():
        whole = any(part in name for part in network._keep_in_fp32_modules)  # as from_pretrained has it
        found[name] = value.float() if whole else value.to(dtype)
    network.load_state_dict(found, assign=True)
    return network


def merge_adapter(transformer: Any, folder: Path) -> Any:
    """The transformer with a PEFT adapter of either naming merged into it. Raises BadInput where it does not fit."""
    from peft import PeftModel
    from peft.utils import get_peft_model_state_dict
    from peft.utils.save_and_load import load_peft_weights
    from safetensors import SafetensorError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # told below, as an error
            adapted: Any = PeftModel.from_pretrained(transformer, str(folder), key_mapping=PUBLISHED)
        found = load_peft_weights(str(folder), device="cpu", key_mapping=PUBLISHED)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadInput(f"{folder} holds no adapter of this model: {str(error).splitlines()[0]}") from error
    # PEFT passes over what it does not find.
    odd = sorted({*found} ^ {*get_peft_model_state_dict(adapted, save_embedding_layers=False)})
    if odd:
        raise BadInput(f"{folder} is an adapter of another network: {len(odd)} weights differ, such as {odd[0]}")
    return adapted.merge_and_unload()


def _read(path: Path) -> "dict[str, torch.Tensor]":
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return held.get("model", held)
    except (OSError, RuntimeError, AttributeError, pickle.UnpicklingError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{path} holds no weights ({reason}): give a .safetensors file, or torch's") from error
