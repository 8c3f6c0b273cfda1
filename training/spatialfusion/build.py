"""The network of a run and the frozen models around it, from the options.

Invariant: stage 1 loads no editing model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...shards.errors import BadInput
from ..recipe import Inputs
from ..spatialdiff.frozen import PATCH
from ..weights import seeded
from .backbones import Editor, make_editor
from .mllm import Mllm, load_mllm
from .options import SpatialFusionOptions

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Frozen:
    """The frozen models of a run.

    Args:
        editor: None in stage 1.
    """

    options: SpatialFusionOptions
    mllm: Mllm
    editor: Editor | None
    device: "torch.device"
    dtype: "torch.dtype"

    def condition(self, images: Any, texts: Sequence[str]) -> Inputs:
        """The inputs of `SpatialFusionNet.depth` from source images uint8 (B, H, W, 3) and their texts.

        Raises BadInput if the images do not have the configured size.
        """
        import torch

        height, width = np.shape(images)[1:3]
        options = self.options
        if (height, width) != (options.height, options.width):
            raise BadInput(
                f"images are {width} x {height}, but recipe.width x recipe.height is {options.width} x "
                f"{options.height}: set them to the size of the shards' images (multiples of 16), or build shards of "
                "that size"
            )
        read = [self.mllm.read(np.asarray(image), text) for image, text in zip(images, texts, strict=True)]
        longest = max(one.keys.shape[-2] for one in read)

        def padded(tensors: "list[torch.Tensor]") -> "torch.Tensor":
            return torch.stack([torch.nn.functional.pad(one, (0, 0, 0, longest - one.shape[-2])) for one in tensors])

        return {
            "mllm_keys": padded([one.keys for one in read]),
            "mllm_values": padded([one.values for one in read]),
            "mllm_length": torch.tensor([one.keys.shape[-2] for one in read], device=self.device),
            "mllm_start": torch.tensor([one.start for one in read], device=self.device),
        }


def build_net(options: SpatialFusionOptions, device: "torch.device", dtype: "torch.dtype") -> tuple[Any, Frozen]:
    """A `nets.SpatialFusionNet` on a device (frozen weights in `dtype`, what trains in float32), and the frozen models.

    Raises BadInput for missing weights.
    """
    from .nets import DepthAdapter, DepthDecoder, SpatialBranch, SpatialFusionNet

    editor, backbone, adapter = None, None, None
    if options.stage == 1:
        mllm = load_mllm(options, device, dtype)
    else:
        editor = make_editor(options)
        backbone, mllm = editor.build(device, dtype)
    rows, columns = options.height // PATCH, options.width // PATCH
    with seeded(3):
        branch = SpatialBranch(mllm.language_model, rows, columns)
        hidden = branch.queries.shape[-1]
        decoder = DepthDecoder(hidden, rows, columns, options.decoder.features, options.decoder.channels)
        if backbone is not None:
            adapter = DepthAdapter(backbone.width)
    net = SpatialFusionNet(branch, decoder, adapter, backbone, options.depth_weight, options.confidence_weight)
    return net.to(device), Frozen(options, mllm, editor, device, dtype)
