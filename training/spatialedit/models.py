"""The models of a run, loaded from the folder of a diffusers pipeline, and the adapter on the transformer.

Invariant: model parameters come from the configuration of the checkpoint (RoPE theta is 256 in some, 10000 in others),
never from class defaults.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...shards.errors import BadInput
from ..weights import find_folder, first_line

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel

    from .nets import EditPipeline

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
    folder: Path, device: "torch.device", dtype: "torch.dtype", weights: str = "", theta: int = 0
) -> "EditPipeline":
    """All models of a pipeline, frozen, on a device.

    Args:
        weights, theta: of the transformer, see `weights.load_transformer`; default: the folder's own.

    Raises BadInput if a part cannot be loaded.
    """
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
    from diffusers.models.transformers.transformer_joyimage import JoyImageEditTransformer3DModel
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
    from transformers.models.auto.image_processing_auto import AutoImageProcessor
    from transformers.models.auto.tokenization_auto import AutoTokenizer
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLForConditionalGeneration

    from .weights import load_transformer

    part = ""
    try:
        part = "vae"
        vae = AutoencoderKLWan.from_pretrained(folder / part, torch_dtype=dtype)
        part = "text_encoder"
        text_encoder = Qwen3VLForConditionalGeneration.from_pretrained(folder / part, dtype=dtype)
        part = "tokenizer"
        tokenizer: Any = AutoTokenizer.from_pretrained(folder / part)
        part = "processor"
        images = AutoImageProcessor.from_pretrained(folder / part, backend="pil")
        part = "transformer"
        if weights:
            transformer = load_transformer(folder / part, Path(weights).expanduser(), theta, dtype)
        else:
            transformer: Any = JoyImageEditTransformer3DModel.from_pretrained(folder / part, torch_dtype=dtype)
        part = "scheduler"
        scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / part)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{folder / part} cannot be loaded: {first_line(error)}") from error
    return assemble(scheduler, vae, text_encoder, tokenizer, transformer, images, device)


def assemble(
    scheduler: Any,
    vae: Any,
    text_encoder: Any,
    tokenizer: Any,
    transformer: Any,
    images: Any,
    device: "torch.device",
) -> "EditPipeline":
    """A pipeline that edits at the size of the input image. Its models are on a device, frozen and in eval mode.

    Args:
        images: Qwen3-VL's image processor.
    """
    from .nets import EditPipeline, ImageTextProcessor, NativeSize

    processor = ImageTextProcessor(image_processor=images, tokenizer=tokenizer, video_processor=None)
    pipeline = EditPipeline(scheduler, vae, text_encoder, tokenizer, transformer, processor)
    pipeline.vae_image_processor = NativeSize(vae_scale_factor=pipeline.vae_scale_factor_spatial)
    pipeline.set_progress_bar_config(disable=True)
    for model in (vae, text_encoder, transformer):
        model.requires_grad_(False).eval().to(device)
    return pipeline


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
