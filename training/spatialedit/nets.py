"""The trained module, and the library classes adapted to this recipe.

Invariant: the network never sees padded text, since its forward takes no text mask. Only samples whose texts have equal
length share a forward pass.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.joyimage.image_processor import JoyImageEditImageProcessor
from diffusers.pipelines.joyimage.pipeline_joyimage_edit import JoyImageEditPipeline
from numpy.typing import NDArray
from peft import PeftModel
from PIL import Image
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

from ..caches import ROWS, in_rows, stacked
from ..flow import flow_loss, interpolate, velocity

TRAIN_STEPS = 1000
"""The network's time step is sigma times this value."""
GRID = 16
"""Side of a patch in pixels: the VAE's factor 8 times the transformer's patch size 2."""


class EditNet(nn.Module):
    """Flow matching with two items per sample: the clean source, and the noised target, which is predicted."""

    def __init__(self, transformer: PeftModel) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            inputs: source, target, noise: (B, C, 1, h, w) float32, normalized latents. t: (B,) in [0, 1]. text:
                (B, L, D), of which the first length (B,) tokens are used. weight (optional): of the latents' elements,
                (B, 1, 1, h, w).

        Returns:
            loss: (B,) |v - v_theta|^2, v = noise - target, for the target item only.
        """
        noisy = interpolate(inputs["target"], inputs["noise"], inputs["t"])
        items = torch.stack([inputs["source"], noisy], dim=1)
        predicted = self.velocity(items, inputs["t"], inputs["text"], inputs["length"])
        return {"loss": flow_loss(predicted, velocity(inputs["target"], inputs["noise"]), inputs.get("weight"))}

    def velocity(self, items: Tensor, t: Tensor, text: Tensor, length: Tensor) -> Tensor:
        """v_theta of the last item, (B, C, 1, h, w), from items (B, 2, C, 1, h, w)."""
        groups = self._groups(length.tolist())
        predicted = torch.cat([self._predict_group(items, t, text, length, group) for group in groups])
        order = torch.tensor([index for group in groups for index in group], device=predicted.device)
        return predicted[order.argsort()]

    def _predict_group(self, items: Tensor, t: Tensor, text: Tensor, length: Tensor, group: list[int]) -> Tensor:
        dtype = self.dtype
        return self.transformer(
            hidden_states=items[group].to(dtype),
            timestep=t[group] * TRAIN_STEPS,
            encoder_hidden_states=text[group, : int(length[group[0]])].to(dtype),
            return_dict=False,
        )[0][:, -1]

    def _groups(self, lengths: list[int]) -> list[list[int]]:
        """Indices of samples that share a forward pass. Under FSDP each sample is its own group: every call gathers
        weights from all ranks, so all ranks must make the same number of calls."""
        if any(isinstance(module, FSDPModule) for module in self.modules()):
            return [[index] for index in range(len(lengths))]
        return [[i for i, each in enumerate(lengths) if each == length] for length in sorted(set(lengths))]

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the frozen weights."""
        base: Any = self.transformer.get_base_model()
        return base.img_in.weight.dtype


class ImageTextProcessor(Qwen3VLProcessor):
    """Qwen3-VL's processor for images and text. The library's class requires a video processor, which needs
    torchvision."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        if argument_name == "video_processor":
            return None
        return super().check_argument_for_proper_class(argument_name, argument)


class EditPipeline(JoyImageEditPipeline):
    """The library's pipeline with the source latents of training: the mode of the VAE's posterior, where the library
    draws a sample."""

    @torch.no_grad()
    def source_latents(self, pictures: Sequence[NDArray[np.uint8]]) -> dict[str, Tensor]:
        """`latent` float32 (n, C, 1, H / 8, W / 8) of n images (H, W, 3): the posterior's mode, (z - mean) / std per
        channel."""
        vae: Any = self.vae
        signed = torch.from_numpy(np.stack(pictures)).to(vae.device, vae.dtype) / 127.5 - 1
        z = vae.encode(signed.movedim(-1, 1)[:, :, None]).latent_dist.mode()
        return {"latent": self.normalize_latents(z.float())}

    @torch.no_grad()
    def prompt_embedding(self, picture: NDArray[np.uint8], words: str) -> Tensor:
        """(L, D): Qwen3-VL's embedding of a source (H, W, 3) and its instruction, without the first 34 tokens of the
        prompt template."""
        images: Any = Image.fromarray(picture)
        device: Any = self.text_encoder.device
        embeds, _ = self.encode_prompt_multiple_images(words, images=images, device=device)
        return embeds[0]

    def prepare_latents(
        self, batch_size: int, *args: Any, image: Sequence[Image.Image] | None = None, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        noise, _ = super().prepare_latents(batch_size, *args, image=None, **options)
        if image is None:
            return noise, None
        pictures = [np.asarray(each.convert("RGB")) for each in image]
        sources = stacked(in_rows(pictures, ROWS, self.source_latents), noise.device)["latent"]
        return noise, sources.repeat(batch_size // len(image), 1, 1, 1, 1)[:, None].to(noise)


class NativeSize(JoyImageEditImageProcessor):
    """Edits an image at its own size (cropped to whole patches) instead of the closest of the 1024-pixel sizes."""

    def get_default_height_width(
        self, image: Any, height: int | None = None, width: int | None = None
    ) -> tuple[int, int]:
        first = image[0] if isinstance(image, list) else image
        own_width, own_height = first.size
        return (height or own_height) // GRID * GRID, (width or own_width) // GRID * GRID
