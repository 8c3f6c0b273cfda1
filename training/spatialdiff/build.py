"""The network of a run, assembled from its options: the frozen base, and the parts that train.

Invariant: stage and ablation decide which parts exist; a part that exists beside the frozen base trains.
"""

from typing import TYPE_CHECKING, Any, Final

from ...shards.errors import BadInput
from ..weights import seeded
from .frozen import PATCH, Frozen, load_base
from .options import SpatialDiffOptions

if TYPE_CHECKING:
    import torch
    from torch import nn

_PROJECTIONS: Final = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


def build_net(options: SpatialDiffOptions, device: "torch.device", dtype: "torch.dtype") -> "tuple[nn.Module, Frozen]":
    """A `nets.SpatialDiffNet` on a device (the base in `dtype`, what trains in float32), and the frozen models.

    Raises BadInput for missing weights or packages, or options that do not fit the base.
    """
    transformer, frozen = load_base(options, device, dtype)
    width = frozen.geometry.width if frozen.geometry else 0
    return make_net(transformer, options, width).to(device), frozen


def make_net(transformer: Any, options: SpatialDiffOptions, geometry_width: int) -> "nn.Module":
    """A `SpatialDiffNet` around a frozen transformer. New parts are initialized from a fixed seed, in float32.

    Stage 1 adds the connector. Stage 2 adds LoRA and, depending on the ablation, connector and head.
    """
    import torch

    from .nets import Connector, SpatialDecodeHead, SpatialDiffNet

    width, connector, head = transformer.inner_dim, None, None
    if width % options.connector.heads:
        raise BadInput(
            f"recipe.connector.heads must divide the transformer's width {width} (got {options.connector.heads})"
        )
    with seeded(2):
        if options.spatial:
            connector = Connector(
                rows=options.height // PATCH,
                columns=options.width // PATCH,
                width=width,
                geometry_width=geometry_width,
                **options.connector.model_dump(),
            )
        if options.depth_loss:
            channels = transformer.config.in_channels if options.depth_loss == "latent" else PATCH * PATCH
            head = SpatialDecodeHead(width, channels)
        if options.stage == 2:
            _add_lora(transformer, options)
    for value in transformer.parameters():
        if value.requires_grad:
            value.data = value.data.to(torch.float32)
    return SpatialDiffNet(transformer, connector, head, options.depth_weight)


def _add_lora(transformer: Any, options: SpatialDiffOptions) -> None:
    from peft import LoraConfig

    # By their full names: the transformer's last layer has the same one.
    outputs = [f"single_transformer_blocks.{i}.proj_out" for i in range(len(transformer.single_transformer_blocks))]
    transformer.add_adapter(
        LoraConfig(
            r=options.lora.rank,
            lora_alpha=options.lora.alpha,  # pyright: ignore[reportArgumentType]
            init_lora_weights="gaussian",
            target_modules=[f"attn.{name}" for name in _PROJECTIONS] + (outputs if options.lora.proj_out else []),
        )
    )
