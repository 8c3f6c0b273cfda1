"""Line drawings by the informative-drawings generator, with its own weights or those of ControlNet's LineartDetector.

Invariant: a drawing has the size of its image and is dark on white, as the generator draws it (ControlNet inverts it
afterwards).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from ..shards.codecs import F32, U8, encode_lines, map_info
from ..shards.errors import BadInput
from .batches import Batches
from .checkpoint import find_file
from .device import autocast, pick_device, ready_model, to_device, to_host
from .drawing_network import MIN_SIDE, STRIDE, load_generator
from .estimated import EstimatedMap, Map, Picture

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class InformativeDrawings(EstimatedMap):
    """Layer `line` by the generator with released weights: fine lines by default, coarse ones with `sk_model2.pth`."""

    layer: ClassVar[str] = "line"

    model: str = "lllyasviel/Annotators"
    """A checkpoint file, or a folder or hub repository that contains `file`."""
    file: str = "sk_model.pth"
    resolution: int = 0
    """Length in pixels of the shorter side of the generator's input (256 by its authors, 512 in ControlNet). Smaller
    values give fewer and bolder lines. 0: the image's own size."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution and self.resolution < MIN_SIDE:
            raise BadInput(
                f"layers.line.resolution is {self.resolution}: give 0 (the image's size), or {MIN_SIDE} pixels or more"
            )

    def setup(self) -> "Drawer":
        device = pick_device(self.layer, self.gpus)
        checkpoint = find_file(self.model, self.file, self.revision)
        network = ready_model(load_generator(checkpoint.folder), device, compiled=self.compile)
        return Drawer(self, network, device, f"informative-drawings/{checkpoint.folder.name}", checkpoint.revision)


class Drawer:
    """The loaded generator, an `annotators.estimated.Estimator`."""

    def __init__(
        self, stage: InformativeDrawings, network: Any, device: "torch.device", estimator: str, revision: str
    ) -> None:
        self._stage, self._network, self._device = stage, network, device
        self._info = map_info("lines", estimator=estimator, revision=revision)
        self._batches = Batches(
            self._prepare,
            self._forward,
            self._finish,
            size=stage.batch_size,
            threads=stage.threads,
            whole=stage.compile,
        )

    def __call__(self, pictures: Sequence[Picture]) -> Sequence[Mapping[str, Map]]:
        return self._batches(pictures, bucket=lambda picture: picture.size)

    def _prepare(self, picture: Picture) -> U8:
        rgb = picture.rgb
        width, height = self._input_size(picture.size)
        if (width, height) != picture.size:
            shrinks = width < rgb.shape[1]
            rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        return np.pad(rgb, ((0, _padding(height)), (0, _padding(width)), (0, 0)), mode="reflect").astype(np.uint8)

    def _forward(self, ready: list[U8]) -> Sequence[Callable[[], F32]]:
        import torch

        with torch.inference_mode(), autocast(self._device, self._stage.dtype):
            batch = to_device(ready, self._device).permute(0, 3, 1, 2).float() / 255
            return to_host(self._network(batch)[:, 0].float())

    def _finish(self, picture: Picture, ready: U8, drawn: Callable[[], F32]) -> Mapping[str, Map]:
        width, height = self._input_size(picture.size)
        lines = np.clip(np.rint(drawn()[:height, :width] * 255), 0, 255).astype(np.uint8)
        if (width, height) != picture.size:
            shrinks = picture.size[0] < width
            lines = cv2.resize(lines, picture.size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return {"line": (encode_lines(lines.astype(np.uint8, copy=False)), self._info)}

    def _input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the generator's input, before padding."""
        width, height = size
        scale = self._stage.resolution / min(size) if self._stage.resolution else 1.0
        return round(width * scale), round(height * scale)


def _padding(side: int) -> int:
    """Number of pixels to add at the end of a side."""
    return max(MIN_SIDE, -(-side // STRIDE) * STRIDE) - side
