"""Image editing with a trained adapter: call `load_pipeline` once, then `edit` for each image."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...shards.errors import BadInput
from ...shards.interop.spatialedit import draw_box
from ..quantization import Quantization
from .models import folder_of, freeze, load_models, load_part
from .options import TINY
from .weights import merge_adapter

if TYPE_CHECKING:
    import torch

    from .nets import EditPipeline

U8 = NDArray[np.uint8]


def load_pipeline(
    model: str,
    *adapters: str | Path,
    revision: str = "",
    weights: str = "",
    theta: int = 0,
    device: "str | torch.device" = "cpu",
    dtype: "torch.dtype | None" = None,
    without: Collection[str] = (),
    quantize: Quantization = "",
) -> "EditPipeline":
    """A diffusers pipeline of the base model with adapters merged into it.

    Args:
        model: hub id or folder of the adapter's base model (named in its `adapter_config.json`), or `tiny`.
        adapters: folders written by training, or SpatialEdit's own LoRA; merged in this order.
        weights, theta: transformer weights to use instead of the model's; see `SpatialEditOptions`.
        dtype: default: bfloat16 on GPUs, float32 on CPUs.
        without: models that are not loaded: `vae`, `text_encoder`, or `transformer` if there are no adapters.
        quantize: quantization of the transformer, without `weights` and adapters.

    Raises:
        BadInput: the weights are missing, or of another network.
    """
    import torch

    device = torch.device(device)
    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    if quantize and (weights or adapters or model == TINY):
        raise BadInput("recipe.quantize needs the model's own weights: remove it, or weights and merge")
    if model == TINY:
        from .tiny import tiny_models

        pipeline = tiny_models(device, dtype)
        for name in without:
            setattr(pipeline, name, None)
    else:
        pipeline = load_models(
            folder_of(model, revision), device, dtype, weights, theta, without=without, quantize=quantize
        )
    for adapter in adapters:
        pipeline.transformer = merge_adapter(pipeline.transformer, Path(adapter))
    return pipeline


def load_encoder(model: str, revision: str, part: str, device: "torch.device", dtype: "torch.dtype") -> Any:
    """The `vae` or the `text_encoder` of a model, frozen, on a device; see `load_pipeline`."""
    if model == TINY:
        from .tiny import tiny_models

        return getattr(tiny_models(device, dtype), part)
    return freeze(load_part(folder_of(model, revision), part, dtype), device)


def edit(
    pipeline: "EditPipeline",
    image: U8,
    instruction: str,
    *,
    box: list[int] | None = None,
    steps: int = 40,
    guidance: float = 4.0,
    generator: "torch.Generator | int" = 0,
) -> U8:
    """The edited image (H, W, 3), in the size of the input cropped to multiples of 16.

    Args:
        image: sRGB (H, W, 3).
        instruction: in the wording of SpatialEdit's benchmark, see `shards.interop.wording`.
        box: x0, y0, x1, y1: the target box of a translation or scaling; drawn in red, as these instructions require.
        generator: generator of the noise, or its seed.
    """
    import torch
    from PIL import Image

    source = draw_box(image, box) if box else image
    noise = torch.Generator().manual_seed(generator) if isinstance(generator, int) else generator
    output: Any = pipeline(
        image=Image.fromarray(source),
        prompt=instruction,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=noise,
        output_type="np",
    )
    return (np.clip(output.images[0], 0, 1) * 255).round().astype(np.uint8)
