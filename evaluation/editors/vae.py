"""Images through the VAEs of diffusers, and through other sizes."""

from typing import Any, Final

import numpy as np
from PIL import Image

from ...shards.codecs import U8

GRID: Final = 32
"""Sides become multiples of this many pixels, by repeating the border: VAEs halve images up to five times."""


def encode_and_decode(vae: Any, image: U8) -> U8:
    """An image (H, W, 3) through a VAE (the mode of its posterior), in the same size."""
    import torch

    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % GRID), (0, -width % GRID), (0, 0)), mode="edge")
    weight = next(vae.parameters())
    pixels = torch.from_numpy(padded).to(weight.device, weight.dtype).permute(2, 0, 1)[None] / 127.5 - 1
    video = any(isinstance(module, torch.nn.Conv3d) for module in vae.modules())  # Wan, Qwen-Image: (B, C, T, H, W)
    with torch.no_grad():
        latents = vae.encode(pixels[:, :, None] if video else pixels).latent_dist.mode()
        decoded = vae.decode(latents).sample.float()
    decoded = decoded[:, :, 0] if video else decoded
    found = ((decoded[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(found[:height, :width])


def resized(image: U8, size: tuple[int, int]) -> U8:
    """An image (H, W, 3) in another size (width, height), with Lanczos; the same array where the size is its own."""
    if image.shape[1::-1] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
