"""Loading weights with the names that SpatialEdit and JoyAI published. The network is that of diffusers, where the
attention of a block is a separate module.

Invariant: a file must contain every weight of the network; otherwise loading raises an error.
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
"""Patterns from published to diffusers' names, for `re.sub` and PEFT's `key_mapping`. diffusers' names do not match."""
_UNUSED: Final = "repa"
"""Name prefix of a head that is used only in pre-training."""


def renamed(name: str) -> str:
    """The diffusers name of a weight."""
    for pattern, replacement in PUBLISHED.items():
        name = re.sub(pattern, replacement, name)
    return name


def load_transformer(config: Path, weights: Path, theta: int, dtype: "torch.dtype") -> Any:
    """The network of a folder's configuration with the weights of a file (safetensors or torch).

    Args:
        theta: of the rotary embedding, which is not in the file.

    Raises BadInput for a file that cannot be read or is of another network.
    """
    from accelerate import init_empty_weights
    from diffusers.models.transformers.transformer_joyimage import JoyImageEditTransformer3DModel

    found = {renamed(name): value for name, value in _read(weights).items() if not name.startswith(_UNUSED)}
    settings: Any = JoyImageEditTransformer3DModel.load_config(config)
    with init_empty_weights():
        network: Any = JoyImageEditTransformer3DModel.from_config(settings, theta=theta)
    expected = network.state_dict()
    names = [
        name
        for name in sorted({*found, *expected})
        if name not in found or name not in expected or found[name].shape != expected[name].shape
    ]
    if names:
        raise BadInput(
            f"{weights} does not fit the network in {config}: {len(names)} weights differ, such as {names[0]}"
        )
    for name, value in found.items():
        keep_fp32 = any(part in name for part in network._keep_in_fp32_modules)  # as in from_pretrained
        found[name] = value.float() if keep_fp32 else value.to(dtype)
    network.load_state_dict(found, assign=True)
    return network


def merge_adapter(transformer: Any, folder: Path) -> Any:
    """Merge a PEFT adapter (with diffusers' or published names) into the transformer. Raises BadInput if it does not
    fit."""
    from peft import PeftModel
    from peft.utils import get_peft_model_state_dict
    from peft.utils.save_and_load import load_peft_weights
    from safetensors import SafetensorError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # checked below
            adapted: Any = PeftModel.from_pretrained(transformer, str(folder), key_mapping=PUBLISHED)
        found = load_peft_weights(str(folder), device="cpu", key_mapping=PUBLISHED)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadInput(f"{folder} holds no adapter for this model: {str(error).splitlines()[0]}") from error
    # PEFT ignores weights that it does not find.
    names = sorted({*found} ^ {*get_peft_model_state_dict(adapted, save_embedding_layers=False)})
    if names:
        raise BadInput(f"{folder} is an adapter of another network: {len(names)} weights differ, such as {names[0]}")
    return adapted.merge_and_unload()


def _read(path: Path) -> "dict[str, torch.Tensor]":
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return content.get("model", content)
    except (OSError, RuntimeError, AttributeError, pickle.UnpicklingError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"{path} holds no weights ({reason}): give a .safetensors file or a file of torch.save"
        ) from error
