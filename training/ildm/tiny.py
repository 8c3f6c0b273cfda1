"""The base `tiny`: small random parts of SD2.1's architecture, which need no download.

Invariant: every part has the same weights every time and in every process.
"""

from typing import Any, cast

from ..weights import seeded


def tiny_part(name: str) -> Any:
    """A part by its folder in diffusers' layout: `unet`, `vae`, `text_encoder`, `tokenizer`, `scheduler`."""
    return _PARTS[name]()


def _unet() -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with seeded(0):
        return UNet2DConditionModel(
            sample_size=16,
            layers_per_block=1,
            block_out_channels=(32, 64),
            norm_num_groups=4,
            cross_attention_dim=16,
            attention_head_dim=cast(Any, (2, 4)),
            use_linear_projection=True,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        )


def _vae() -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    with seeded(1):
        return AutoencoderKL(
            down_block_types=cast(Any, ("DownEncoderBlock2D",) * 4),
            up_block_types=cast(Any, ("UpDecoderBlock2D",) * 4),
            block_out_channels=cast(Any, (8, 16, 32, 32)),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=32,
        )


def _text_encoder() -> Any:
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    tokenizer = _tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with seeded(2):
        return CLIPTextModel(config)


def _tokenizer() -> Any:
    """A CLIP tokenizer for printable ASCII, one token per character."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=77)


def _scheduler() -> Any:
    """The noise schedule of SD2.1."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        steps_offset=1,
    )


_PARTS = {
    "unet": _unet,
    "vae": _vae,
    "text_encoder": _text_encoder,
    "tokenizer": _tokenizer,
    "scheduler": _scheduler,
}
