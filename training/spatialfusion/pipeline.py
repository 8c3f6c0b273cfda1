"""Image editing with a trained SpatialFusion: depth of the target first, then the target.

Invariant: inputs are a source image and an instruction; no depth.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...shards.errors import BadInput
from ..config import merged
from ..recipe import Inputs, StepRng
from .build import Frozen, build_net
from .depth import depth_picture
from .files import LORA, load_parts, read_options
from .options import SpatialFusionOptions

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Edited:
    """An edited image, and the depth that was predicted for it."""

    image: Image.Image
    depth: NDArray[np.float32]
    """(H, W) of the image, in meters (if the model was trained on depth in meters)."""

    @property
    def depth_picture(self) -> Image.Image:
        """Near is bright."""
        return Image.fromarray(depth_picture(self.depth[None])[0])


class SpatialFusionPipeline:
    """Source images and instructions to target images and their depth.

    Args:
        net: a `nets.SpatialFusionNet`.
        frozen: the frozen models.
    """

    def __init__(self, net: Any, frozen: Frozen) -> None:
        self.net = net
        self.frozen = frozen

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        device: "str | torch.device" = "",
        dtype: "torch.dtype | None" = None,
        **changes: Any,
    ) -> Self:
        """Load the result folder of a run, with the frozen models that it names.

        Args:
            device: default: a GPU if available.
            dtype: of the frozen models; default: bfloat16 on GPUs, float32 on CPUs.
            changes: options to override, such as `flux={"base": ...}` for a local folder of the same weights.

        Raises BadInput if the folder is not a result of this recipe, or for missing weights.
        """
        import torch

        saved = read_options(Path(folder)).model_dump() | {"cache": ""}
        options = SpatialFusionOptions.model_validate(merged(saved, changes))
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        net, frozen = build_net(options, where, dtype or (torch.float32 if where.type == "cpu" else torch.bfloat16))
        load_parts(net, options, Path(folder))
        if frozen.editor:
            frozen.editor.load(net.backbone, Path(folder) / LORA)
        return cls(net.eval(), frozen)

    def __call__(self, image: Image.Image, instruction: str, *, seed: int = 0) -> Edited:
        """Edit one image. It is resized to the training size, ignoring its aspect ratio, and back afterwards.

        Raises BadInput for the result of stage 1, which only predicts depth; see `depth`.
        """
        options = self.frozen.options
        fitted = image.convert("RGB").resize((options.width, options.height), Image.Resampling.LANCZOS)
        images, depth = self.edit(np.asarray(fitted)[None], [instruction], seed=seed)
        return Edited(
            Image.fromarray(images[0]).resize(image.size, Image.Resampling.LANCZOS),
            np.asarray(Image.fromarray(depth[0]).resize(image.size, Image.Resampling.BILINEAR)),
        )

    def edit(
        self, images: Any, instructions: Sequence[str], *, seed: int = 0, keys: Sequence[str] = ()
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Edit a batch of source images, uint8 (B, H, W, 3) in the training size.

        Args:
            seed, keys: determine the initial noise of each image; default keys: the indices in the batch.

        Returns:
            Images uint8 (B, H, W, 3), and depth float32 (B, H, W) in meters.
        """
        import torch

        if self.frozen.editor is None:
            raise BadInput("stage 1 trains only the depth branch: use `depth`, or give a folder saved by stage 2")
        rng = StepRng(seed, 0, tuple(keys) or tuple(map(str, range(len(instructions)))))
        depth = self._depth(self.frozen.condition(images, instructions))
        with torch.no_grad(), self._autocast():
            tokens = self.net.adapter(depth)
            edited = self.frozen.editor.edit(self.net.backbone, images, instructions, tokens, rng)
        return edited, depth.cpu().numpy()

    def depth(self, images: Any, instructions: Sequence[str]) -> NDArray[np.float32]:
        """The depth of the target, float32 (B, H, W) in meters, from source images uint8 (B, H, W, 3)."""
        return self._depth(self.frozen.condition(images, instructions)).cpu().numpy()

    def _depth(self, inputs: Inputs) -> "torch.Tensor":
        import torch

        with torch.no_grad(), self._autocast():
            return self.net.depth(inputs)[0]

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        dtype = self.frozen.dtype
        return torch.autocast(self.frozen.device.type, dtype, enabled=dtype != torch.float32)
