"""Small random bases of the supported architectures, saved as folders by the pipelines of diffusers themselves."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from spatialdata_builder.training.ildm.tiny import tiny_part

ARCHITECTURES = ("sd", "sdxl", "pixart")


def make_pipeline(architecture: str) -> Any:
    """A pipeline of the architecture with seeded random weights."""
    torch.manual_seed(7)
    pipeline: Any = {"sd": _sd, "sdxl": _sdxl, "pixart": _pixart}[architecture]()
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipeline


def save_base(architecture: str, folder: Path) -> str:
    make_pipeline(architecture).save_pretrained(folder)
    return str(folder)


def _sd() -> StableDiffusionPipeline:
    parts = {name: tiny_part(name) for name in ("unet", "vae", "text_encoder", "tokenizer")}
    scheduler = DDIMScheduler.from_config(tiny_part("scheduler").config)
    return StableDiffusionPipeline(
        **parts, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def _sdxl() -> StableDiffusionXLPipeline:
    """Three levels of which the first has no attention, as SDXL; epsilon prediction."""
    unet = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 16, 32),
        norm_num_groups=4,
        cross_attention_dim=16 + 24,
        attention_head_dim=(1, 2, 4),
        transformer_layers_per_block=(1, 1, 2),
        use_linear_projection=True,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=12 + 6 * 8,
    )
    tokenizer = tiny_part("tokenizer")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=12,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    first: CLIPTextModel = tiny_part("text_encoder")
    return StableDiffusionXLPipeline(
        vae=_vae(0.13025),
        text_encoder=first,
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer=tokenizer,
        tokenizer_2=tiny_part("tokenizer"),
        unet=unet,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def _pixart() -> PixArtAlphaPipeline:
    """Learned variance and size conditions, as PixArt-alpha for 1024 pixels; epsilon prediction."""
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=8,
        num_layers=4,
        cross_attention_dim=24,
        sample_size=128,
        caption_channels=20,
    )
    characters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("\u2581", -2.0)]
    characters += [(chr(code), -3.0) for code in range(33, 127)]
    tokenizer = T5Tokenizer(vocab=characters, extra_ids=0)
    text = T5Config(vocab_size=len(tokenizer), d_model=20, d_kv=10, d_ff=24, num_layers=2, num_heads=2)
    scheduler = DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")
    return PixArtAlphaPipeline(tokenizer, T5EncoderModel(text), _vae(0.18215), transformer, scheduler)


def _vae(scaling: float) -> AutoencoderKL:
    vae: AutoencoderKL = tiny_part("vae")
    vae.register_to_config(scaling_factor=scaling)
    return vae
