"""The frozen base in fewer bits: NF4 or int8 by bitsandbytes, float8 by torchao, through diffusers' own loading.

Invariant: only frozen weights are quantized; LoRA and all other trained weights stay in float32.
"""

from typing import TYPE_CHECKING, Any, Literal

from ..shards.errors import BadInput
from ..shards.extras import require_all

if TYPE_CHECKING:
    import torch

Quantization = Literal["", "nf4", "int8", "fp8"]
"""- `nf4`: 4-bit NormalFloat with doubly quantized scales, as in QLoRA (Dettmers et al. 2023).
- `int8`: LLM.int8() (Dettmers et al. 2022).
- `fp8`: weights in float8 e4m3; products are in the dtype of the activations."""


def quantized_loading(kind: Quantization, device: "torch.device", dtype: "torch.dtype") -> dict[str, Any]:
    """The arguments of diffusers' `from_pretrained` for a quantized model on a device; none for an empty `kind`.

    Args:
        dtype: of the products.

    Raises BadInput for a missing package, or a device that the kind does not run on.
    """
    import torch

    if not kind:
        return {}
    if kind == "fp8":
        require_all("recipe.quantize: fp8", ("torchao",), "quantization")
        from diffusers.quantizers.quantization_config import TorchAoConfig
        from torchao.quantization import Float8WeightOnlyConfig  # pyright: ignore[reportMissingImports]

        # torchao quantizes bfloat16 weights.
        return {"quantization_config": TorchAoConfig(Float8WeightOnlyConfig()), "torch_dtype": torch.bfloat16}
    require_all(f"recipe.quantize: {kind}", ("bitsandbytes",), "quantization")
    if device.type == "cpu":
        raise BadInput(f"recipe.quantize: {kind} needs a GPU: remove it, or use fp8")
    from diffusers.quantizers.quantization_config import BitsAndBytesConfig

    if kind == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return {"quantization_config": config, "device_map": {"": str(device)}}


def is_quantized(model: Any) -> bool:
    """Whether a model was loaded quantized. Such a model is on its device, and cannot change its dtype."""
    return getattr(model, "hf_quantizer", None) is not None
