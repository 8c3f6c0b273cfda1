"""Editing images with a trained adapter: `load_pipeline` once, then `edit` for each image."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...shards.interop.spatialedit import draw_box
from .models import folder_of, load_models
from .options import TINY
from .weights import merge_adapter

if TYPE_CHECKING:
    import torch
    from diffusers.pipelines.joyimage.pipeline_joyimage_edit import JoyImageEditPipeline

U8 = NDArray[np.uint8]


def load_pipeline(
    model: str,
    *adapters: str | Path,
    revision: str = "",
    weights: str = "",
    theta: int = 0,
    device: "str | torch.device" = "cpu",
    dtype: "torch.dtype | None" = None,
) -> "JoyImageEditPipeline":
    """A diffusers pipeline of the base model with adapters merged into it.

    Args:
        model: id on the hub or folder, as the adapter was trained on (its `adapter_config.json` says it), or `tiny`.
        adapters: folders that training wrote, or SpatialEdit's own LoRA; merged in this order.
        weights, theta: of the transformer, in place of the model's own; see `SpatialEditOptions`.
        dtype: default: bfloat16 on GPUs, float32 on CPUs.

    Raises:
        BadInput: no such weights, or of another network.
    """
    import torch

    where = torch.device(device)
    kind = dtype or (torch.float32 if where.type == "cpu" else torch.bfloat16)
    if model == TINY:
        from .tiny import tiny_models

        pipeline = tiny_models(where, kind)
    else:
        pipeline = load_models(folder_of(model, revision), where, kind, weights, theta)
    for adapter in adapters:
        pipeline.transformer = merge_adapter(pipeline.transformer, Path(adapter))
    return pipeline


def edit(
    pipeline: "JoyImageEditPipeline",
    image: U8,
    instruction: str,
    *,
    box: list[int] | None = None,
    steps: int = 40,
    guidance: float = 4.0,
    generator: "torch.Generator | int" = 0,
) -> U8:
    """An edited image (H, W, 3), at the size of the given one, cut to multiples of 16.

    Args:
        image: sRGB (H, W, 3).
        instruction: in the words of SpatialEdit's bench, see `shards.interop.wording`.
        box: x0, y0, x1, y1: where a move or scaling puts the object; drawn in red, as those instructions ask for.
        generator: of the noise, or its seed.
    """
    import torch
    from PIL import Image

    source = draw_box(image, box) if box else image
    one = torch.Generator().manual_seed(generator) if isinstance(generator, int) else generator
    device = pipeline.vae.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(one.initial_seed())  # the pipeline draws the source's latent from torch's global numbers
        made: Any = pipeline(
            image=Image.fromarray(source),
            prompt=instruction,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=one,
            output_type="np",
        )
    return (np.clip(made.images[0], 0, 1) * 255).round().astype(np.uint8)
