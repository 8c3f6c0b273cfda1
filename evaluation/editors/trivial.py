"""Editors that show what a metric is worth: nothing done, everything right, and the loss of an editor's VAE."""

from typing import Any, Protocol

import numpy as np

from ...shards.codecs import U8, decode_image
from ...shards.errors import BadInput
from ..benchmarks import Benchmark
from .editor import Base, Editor, Task


class Copy(Base):
    """Returns the source: the score of doing nothing."""

    description = "copy"
    most_workers = 64

    def edit(self, task: Task) -> U8:
        return task.image


class Oracle(Base):
    """Returns the target: the best score that a metric gives."""

    description = "oracle"
    most_workers = 64

    def __init__(self, benchmark: Benchmark) -> None:
        self._benchmark = benchmark

    def edit(self, task: Task) -> U8:
        return decode_image(self._benchmark.member(task.key, "target"))


class HasVae(Protocol):
    """An editor that works in the latents of a VAE."""

    def vae(self) -> Any:
        """Its VAE, of diffusers; after `setup`. Raises BadInput if it has none."""
        ...


class Roundtrip(Base):
    """The source, encoded and decoded by an editor's VAE: the best preservation that this editor can reach."""

    def __init__(self, editor: Editor) -> None:
        if not hasattr(editor, "vae"):
            raise BadInput(
                f"{editor.description} has no VAE that can be used: give roundtrip: a diffusers pipeline, or a run of "
                "spatialdiff or spatialedit"
            )
        self._editor: Any = editor
        self.description = f"roundtrip of {editor.description}"

    def setup(self) -> None:
        self._editor.setup()
        self._vae = self._editor.vae()

    def edit(self, task: Task) -> U8:
        return encode_and_decode(self._vae, task.image)


GRID = 32
"""Sides become multiples of this many pixels, by repeating the border: VAEs halve images up to five times."""


def encode_and_decode(vae: Any, image: U8) -> U8:
    """An image (H, W, 3) through a VAE of diffusers (the mode of its posterior), in the same size."""
    import torch

    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % GRID), (0, -width % GRID), (0, 0)), mode="edge")
    weight = next(vae.parameters())
    pixels = torch.from_numpy(padded.copy()).to(weight.device, weight.dtype).permute(2, 0, 1)[None] / 127.5 - 1
    video = _is_video(vae)
    with torch.no_grad():
        latents = vae.encode(pixels[:, :, None] if video else pixels).latent_dist.mode()
        decoded = vae.decode(latents).sample.float()
    decoded = decoded[:, :, 0] if video else decoded
    found = ((decoded[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(found[:height, :width])


def _is_video(vae: Any) -> bool:
    """Whether it takes frames (B, C, T, H, W), as those of Wan and Qwen-Image do."""
    import torch

    return any(isinstance(module, torch.nn.Conv3d) for module in vae.modules())
