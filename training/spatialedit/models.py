"""The models of a run, loaded from the folder of a diffusers pipeline, and the adapter on the transformer.

Invariant: model parameters come from the configuration of the checkpoint (RoPE theta is 256 in some, 10000 in others),
never from class defaults.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...shards.errors import BadInput
from ..quantization import Quantization, is_quantized, quantized_loading
from ..weights import find_folder, first_line

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel

    from .nets import EditPipeline

ENCODERS: Final = ("vae", "text_encoder")
"""The models that are used only to encode and decode."""
PARTS: Final = ("processor", "scheduler", "text_encoder", "tokenizer", "transformer", "vae")
TARGETS: Final = ("img_attn_proj", "img_attn_qkv", "txt_attn_proj", "txt_attn_qkv")


def folder_of(model: str, revision: str) -> Path:
    """The folder of a pipeline's weights: the given folder, or the local hub snapshot, downloaded if necessary.

    Raises BadInput that names the id and how to get it.
    """
    path = find_folder(model, revision)
    missing = [part for part in PARTS if not (path / part).is_dir()]
    if missing:
        raise BadInput(
            f"{path} lacks {', '.join(missing)}: give a folder in diffusers' layout, such as `hf download "
            "jdopensource/JoyAI-Image-Edit-Diffusers` creates"
        )
    return path


def load_models(
    folder: Path,
    device: "torch.device",
    dtype: "torch.dtype",
    weights: str = "",
    theta: int = 0,
    *,
    without: Collection[str] = (),
    quantize: Quantization = "",
) -> "EditPipeline":
    """The models of a pipeline, frozen, on a device.

    Args:
        weights, theta: of the transformer, see `weights.load_transformer`; default: the folder's own.
        quantize: of the folder's own transformer.
        without: models that are not loaded; they are None in the pipeline.

    Raises BadInput if a part cannot be loaded.
    """
    from .weights import load_transformer

    found = {part: load_part(folder, part, dtype) for part in PARTS if part not in (*without, "transformer")}
    transformer: Any = None
    if "transformer" not in without:
        transformer = (
            load_transformer(folder / "transformer", Path(weights).expanduser(), theta, dtype)
            if weights
            else load_part(folder, "transformer", dtype, **quantized_loading(quantize, device, dtype))
        )
    return assemble({**dict.fromkeys(PARTS), **found, "transformer": transformer}, device)


def load_part(folder: Path, part: str, dtype: "torch.dtype", **changes: Any) -> Any:
    """One of `PARTS`, on the CPU unless it is quantized. Raises BadInput if it cannot be loaded.

    Args:
        changes: arguments of `from_pretrained`.
    """
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
    from diffusers.models.transformers.transformer_joyimage import JoyImageEditTransformer3DModel
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
    from transformers.models.auto.image_processing_auto import AutoImageProcessor
    from transformers.models.auto.tokenization_auto import AutoTokenizer
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLForConditionalGeneration

    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "vae": (AutoencoderKLWan, {"torch_dtype": dtype}),
        "text_encoder": (Qwen3VLForConditionalGeneration, {"dtype": dtype}),
        "tokenizer": (AutoTokenizer, {}),
        "processor": (AutoImageProcessor, {"backend": "pil"}),
        "transformer": (JoyImageEditTransformer3DModel, {"torch_dtype": dtype}),
        "scheduler": (FlowMatchEulerDiscreteScheduler, {}),
    }
    kind, options = kinds[part]
    try:
        return kind.from_pretrained(folder / part, **{**options, **changes})
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{folder / part} cannot be loaded: {first_line(error)}") from error


def assemble(parts: Mapping[str, Any], device: "torch.device") -> "EditPipeline":
    """A pipeline that edits at the size of the input image. Its models are on a device, frozen and in eval mode.

    Args:
        parts: `PARTS` by name; `processor` is Qwen3-VL's image processor. Models may be None.
    """
    from .nets import EditPipeline, ImageTextProcessor, NativeSize

    processor: Any = ImageTextProcessor(
        image_processor=parts["processor"], tokenizer=parts["tokenizer"], video_processor=None
    )
    pipeline = EditPipeline(**{**parts, "processor": processor})
    pipeline.vae_image_processor = NativeSize(vae_scale_factor=pipeline.vae_scale_factor_spatial)
    pipeline.set_progress_bar_config(disable=True)
    for name in (*ENCODERS, "transformer"):
        if parts[name] is not None:
            freeze(parts[name], device)
    return pipeline


def freeze(model: Any, device: "torch.device") -> Any:
    """Move a model to a device (a quantized one is there) and freeze it (no gradients, eval mode); returns it."""
    frozen = model.requires_grad_(False).eval()
    return frozen if is_quantized(frozen) else frozen.to(device)


def lora_config(layers: int, rank: int, alpha: int) -> "LoraConfig":
    """LoRA on the attention projections of image and text.

    Excludes `txt_attn_proj` of the last block: its output is unused, so it has no gradient, and DDP would fail.
    """
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(TARGETS),
        exclude_modules=[f"double_blocks.{layers - 1}.attn.txt_attn_proj"],
    )


def add_lora(transformer: Any, rank: int, alpha: int, model: str = "") -> "PeftModel":
    """The transformer with a trainable adapter in float32, for any dtype of the frozen weights."""
    from peft import get_peft_model

    adapted: Any = get_peft_model(transformer, lora_config(len(transformer.double_blocks), rank, alpha))
    adapted.peft_config["default"].base_model_name_or_path = model or None
    return adapted
