"""Flow matching along straight lines, used by the recipes SpatialDiff and SpatialEdit.

Invariant: t = 0 is the image and t = 1 the noise, everywhere. So t equals sigma of the diffusers flow schedulers; the
time step that a model expects is t or 1000 t, depending on the model.
"""

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..shards.errors import BadInput

if TYPE_CHECKING:
    import torch

    from .recipe import StepRng

TimeDistribution = Literal["uniform", "logit_normal"]


def interpolate(x: "torch.Tensor", noise: "torch.Tensor", t: "torch.Tensor") -> "torch.Tensor":
    """x_t = (1 - t) x + t eps: a point on the line (Lipman et al. 2023, eq. 22 with sigma_min = 0, time reversed;
    Esser et al. 2024, eq. 13).

    Args:
        x, noise: (B, ...). t: (B,) in [0, 1].
    """
    t = _broadcast(t, x)
    return (1 - t) * x + t * noise


def velocity(x: "torch.Tensor", noise: "torch.Tensor") -> "torch.Tensor":
    """v = dx_t / dt = eps - x, the model's target (Lipman et al. 2023, eq. 23, time reversed)."""
    return noise - x


def denoised(x_t: "torch.Tensor", v: "torch.Tensor", t: "torch.Tensor") -> "torch.Tensor":
    """x = x_t - t v: the image estimate from the velocity v at t (B,)."""
    return x_t - _broadcast(t, x_t) * v


def draw_times(
    rng: "StepRng",
    distribution: TimeDistribution = "logit_normal",
    *,
    mean: float = 0.0,
    std: float = 1.0,
    shift: float = 1.0,
) -> "torch.Tensor":
    """One time t per sample, float32 (B,) in [0, 1], on the CPU.

    Args:
        distribution: `uniform`, or `logit_normal`: t = 1 / (1 + exp(-u)), u ~ N(mean, std) (Esser et al. 2024, eq. 19).
        shift: see `shifted`; applied after the draw.

    Where `rng.time` is set, it is the time of all samples.
    """
    if rng.time is not None:
        import torch

        return torch.full((len(rng.keys),), rng.time)
    drawn = rng.uniform("time") if distribution == "uniform" else (mean + std * rng.normal((), "time")).sigmoid()
    return shifted(drawn, shift)


def shifted(sigma: "torch.Tensor", shift: float) -> "torch.Tensor":
    """sigma' = s sigma / (1 + (s - 1) sigma): moves times toward high noise for s > 1 (Esser et al. 2024, eq. 23, with
    s = sqrt(m / n)). 0 and 1 stay fixed. Raises BadInput for s <= 0."""
    if shift <= 0:
        raise BadInput(f"shift must be above 0 (got {shift:g}); 1 leaves the times unchanged")
    return shift * sigma / (1 + (shift - 1) * sigma)


def resolution_shift(tokens: int) -> float:
    """The shift of FLUX's schedules for an image of this many tokens: e^mu, where mu is linear in the number of tokens,
    0.5 for 256 and 1.15 for 4096 (the defaults of `calculate_shift` in diffusers)."""
    from diffusers.pipelines.flux.pipeline_flux_kontext import calculate_shift

    return math.exp(calculate_shift(tokens))


def flow_loss(
    predicted: "torch.Tensor", target: "torch.Tensor", weight: "torch.Tensor | None" = None
) -> "torch.Tensor":
    """|v - v_theta|^2, the mean over each sample's elements: float32 (B,).

    Args:
        weight: of the elements, broadcast to (B, ...); of mean 1 in each sample, see `edit_weights`.
    """
    errors = (predicted.float() - target.float()).square()
    return (errors if weight is None else errors * weight).flatten(1).mean(1)


def edit_weights(changed: "torch.Tensor", weight: float) -> "torch.Tensor":
    """Weights (B, ...) of mean 1 in each sample, proportional to 1 + (`weight` - 1) * changed.

    Args:
        changed: (B, ...) in [0, 1]: the share of each element that the edit changed.
    """
    weights = 1 + (weight - 1) * changed.float()
    return weights / weights.flatten(1).mean(1).view(-1, *[1] * (changed.ndim - 1))


def changed_shares(masks: Any, side: int) -> "torch.Tensor":
    """Masks of the edit, bool (B, H, W), as the shares of changed pixels of each cell of `side` pixels: float32
    (B, H / side, W / side), on the CPU."""
    import torch
    import torch.nn.functional as F

    return F.avg_pool2d(torch.as_tensor(np.asarray(masks), dtype=torch.float32)[:, None], side)[:, 0]


def _broadcast(t: "torch.Tensor", x: "torch.Tensor") -> "torch.Tensor":
    """t (B,) as (B, 1, ...), with the number of dimensions, dtype and device of x."""
    return t.to(x).view(-1, *[1] * (x.ndim - 1))
