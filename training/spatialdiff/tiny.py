"""A small FLUX.1-Kontext of the real classes, with random weights that are equal in every process. Needs no files."""

from typing import Any

from ..weights import seeded

WIDTH = 32
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:;-'\"°%()"


def tiny_base() -> Any:
    """A `FluxKontextPipeline` with a VAE of factor 8, 4 latent channels, and a transformer of width 64."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
    from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    build_vae: Any = AutoencoderKL  # its type hints only allow tuples of length 1

    with seeded(0):
        transformer = FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=32,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(8, 12, 12),
        )
        vae = build_vae(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(4, 8, 8, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=2,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.1159,
            scaling_factor=0.3611,
        )
        return FluxKontextPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            vae=vae,
            transformer=transformer,
            **_clip(),
            **_t5(),
        )


def _clip() -> dict[str, Any]:
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    words = ["<|startoftext|>", "<|endoftext|>", *_CHARACTERS, *(f"{letter}</w>" for letter in _CHARACTERS)]
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    tokenizer = CLIPTokenizer({word: number for number, word in enumerate(words)}, [], model_max_length=77)
    return {"text_encoder": CLIPTextModel(config).eval(), "tokenizer": tokenizer}


def _t5() -> dict[str, Any]:
    from transformers.models.t5.configuration_t5 import T5Config
    from transformers.models.t5.modeling_t5 import T5EncoderModel
    from transformers.models.t5.tokenization_t5 import T5Tokenizer

    words = ["<pad>", "</s>", "<unk>", "\u2581", *_CHARACTERS, *_CHARACTERS.upper()[:26]]
    config = T5Config(vocab_size=len(words), d_model=WIDTH, d_kv=16, num_heads=2, num_layers=1, d_ff=WIDTH)
    tokenizer = T5Tokenizer([(word, 0.0 if len(word) > 2 else -2.0) for word in words], extra_ids=0)
    return {"text_encoder_2": T5EncoderModel(config).eval(), "tokenizer_2": tokenizer}
