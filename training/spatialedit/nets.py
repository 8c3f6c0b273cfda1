"""The module that trains, and two classes of the libraries with what they lack here.

Invariant: no text is ever padded in front of the network, since its forward takes no mask of the text: samples go
through together only where their texts are equally long.
"""

from typing import Any

import torch
from diffusers.pipelines.joyimage.image_processor import JoyImageEditImageProcessor
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers import Qwen3VLProcessor

from ..flow import flow_loss, interpolate, velocity

TRAIN_STEPS = 1000
"""The network's time step is sigma times this."""
GRID = 16
"""Pixels of a patch: 8 of the VAE times 2 of the transformer."""


class EditNet(nn.Module):
    """Flow matching on the last of two items: the source as it is, the target with noise."""

    def __init__(self, transformer: PeftModel) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            inputs: source, target, noise: (B, C, 1, h, w) float32, normalised latents. t: (B,) in [0, 1]. text:
                (B, L, D), behind length (B,) whatever. valid: (B,) bool.

        Returns:
            loss: mean over the valid samples of |v - v_theta|^2, v = noise - target, on the target's item alone.
        """
        noisy = interpolate(inputs["target"], inputs["noise"], inputs["t"])
        items = torch.stack([inputs["source"], noisy], dim=1)
        predicted = self.velocity(items, inputs["t"], inputs["text"], inputs["length"])
        return {"loss": flow_loss(predicted, velocity(inputs["target"], inputs["noise"]), inputs["valid"])}

    def velocity(self, items: Tensor, t: Tensor, text: Tensor, length: Tensor) -> Tensor:
        """v_theta of the last item, (B, C, 1, h, w), from items (B, 2, C, 1, h, w)."""
        groups = self._groups(length.tolist())
        found = torch.cat([self._together(items, t, text, length, group) for group in groups])
        order = torch.tensor([index for group in groups for index in group], device=found.device)
        return found[order.argsort()]

    def _together(self, items: Tensor, t: Tensor, text: Tensor, length: Tensor, group: list[int]) -> Tensor:
        dtype = self.dtype
        return self.transformer(
            hidden_states=items[group].to(dtype),
            timestep=t[group] * TRAIN_STEPS,
            encoder_hidden_states=text[group, : int(length[group[0]])].to(dtype),
            return_dict=False,
        )[0][:, -1]

    def _groups(self, lengths: list[int]) -> list[list[int]]:
        """Samples that go through the network together. Under FSDP one by one: every call gathers weights from all
        ranks, so all must make the same number of calls."""
        if any(isinstance(module, FSDPModule) for module in self.modules()):
            return [[index] for index in range(len(lengths))]
        return [[i for i, each in enumerate(lengths) if each == length] for length in sorted(set(lengths))]

    @property
    def dtype(self) -> torch.dtype:
        """Of the frozen weights."""
        base: Any = self.transformer.get_base_model()
        return base.img_in.weight.dtype


class ImageTextProcessor(Qwen3VLProcessor):
    """Qwen3-VL's processor for images and text: the stock class insists on one for videos, which needs torchvision."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        if argument_name == "video_processor":
            return None
        return super().check_argument_for_proper_class(argument_name, argument)


class NativeSize(JoyImageEditImageProcessor):
    """Edits an image at its own size (cut to whole patches) instead of the nearest of the 1024-pixel sizes."""

    def get_default_height_width(
        self, image: Any, height: int | None = None, width: int | None = None
    ) -> tuple[int, int]:
        first = image[0] if isinstance(image, list) else image
        own_width, own_height = first.size
        return (height or own_height) // GRID * GRID, (width or own_width) // GRID * GRID
