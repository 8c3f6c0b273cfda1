"""A small SAM 2 of the released architecture, with random weights, saved by transformers."""

from pathlib import Path
from typing import Any

SIDE = 128
"""Side in pixels of the encoder's input; its masks have a quarter of it."""


def tiny_config() -> Any:
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2VisionConfig
    from transformers.models.sam2 import Sam2MaskDecoderConfig, Sam2PromptEncoderConfig

    hiera = Sam2HieraDetConfig(
        hidden_size=16,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 8, 4],
        global_attention_blocks=[3],
    )
    vision = Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
        fpn_hidden_size=32,
    )
    return Sam2Config(
        vision_config=vision,
        prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=32, image_size=SIDE),
        mask_decoder_config=Sam2MaskDecoderConfig(
            hidden_size=32, mlp_dim=64, num_attention_heads=4, iou_head_hidden_dim=32
        ),
    )


def tiny_model(seed: int = 0) -> Any:
    """Weights are much larger than the library's initial ones, so that masks have outlines and prompts differ."""
    import torch
    from transformers import Sam2Model

    torch.manual_seed(seed)
    model = Sam2Model(tiny_config()).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                fan_in = weight[0].numel() if weight.ndim > 1 else 100
                weight.normal_(std=1.5 * fan_in**-0.5)
    return model


def save_tiny(folder: Path, seed: int = 0) -> Any:
    """Save a tiny model in `folder` and return it."""
    model = tiny_model(seed)
    model.save_pretrained(folder)
    return model
