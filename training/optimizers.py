"""The optimizers of a run, by name: AdamW, and others from packages of the extra `optimizers`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..shards.errors import BadInput
from ..shards.extras import require

if TYPE_CHECKING:
    import torch
    from torch import nn

OptimizerName = Literal["adamw", "adamw8bit", "prodigy", "muon"]
_PRODIGY_LEAST = 0.1


def make_optimizer(
    name: OptimizerName,
    parameters: "Sequence[nn.Parameter]",
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> "torch.optim.Optimizer":
    """An optimizer over the trainable parameters.

    - `adamw` (Loshchilov and Hutter 2019), fused on GPUs.
    - `adamw8bit`: its moments in 8 bits (Dettmers et al. 2022), by bitsandbytes: a quarter of their memory.
    - `prodigy` (Mishchenko and Defazio 2024), by prodigyopt: estimates the step size; `lr` multiplies it, usually 1.
    - `muon` (Jordan et al. 2024), by pytorch-optimizer: orthogonal updates of matrices, as large as those of AdamW (Liu
      et al. 2025, eq. 4), so that `lr` is as for AdamW; AdamW for all other parameters.

    Raises BadInput for a missing package, or a rate that does not suit the optimizer.
    """
    import torch

    common: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
    match name:
        case "adamw":
            fused = all(parameter.device.type == "cuda" for parameter in parameters)
            return torch.optim.AdamW(parameters, betas=betas, fused=fused or None, **common)
        case "adamw8bit":
            return require("bitsandbytes", "optimizers").optim.AdamW8bit(parameters, betas=betas, **common)
        case "prodigy":
            if lr < _PRODIGY_LEAST:
                raise BadInput(
                    f"optimizer prodigy estimates the step size, and lr multiplies it: set lr: 1 (got {lr:g})"
                )
            return require("prodigyopt", "optimizers").Prodigy(parameters, betas=betas, **common)
        case "muon":
            matrices = [parameter for parameter in parameters if parameter.ndim == 2]
            others = [parameter for parameter in parameters if parameter.ndim != 2]
            groups = [{"params": matrices, "use_muon": True, **common}]
            if others:
                groups.append({"params": others, "use_muon": False, "betas": betas, **common})
            return require("pytorch_optimizer", "optimizers").Muon(groups, use_adjusted_lr=True)
