"""Flow matching along straight lines, as both the SpatialDiff and the SpatialEdit recipe train it.

Invariant: t = 0 is the picture and t = 1 the noise, everywhere; so t is also the sigma of diffusers' flow schedulers,
and the models' time step is t or 1000 t, as each model has it.
"""

from typing import TYPE_CHECKING, Literal

from ..shards.errors import BadInput

if TYPE_CHECKING:
    import torch

    from .recipe import Chance

TimeLaw = Literal["uniform", "logit_normal"]


def interpolate(x: "torch.Tensor", noise: "torch.Tensor", t: "torch.Tensor") -> "torch.Tensor":
    """x_t = (1 - t) x + t eps: a point of the line (Lipman et al. 2023, eq. 22 with sigma_min = 0, time reversed;
    Esser et al. 2024, eq. 13).

    Args:
        x, noise: (B, ...). t: (B,) in [0, 1].
    """
    share = _beside(t, x)
    return (1 - share) * x + share * noise


def velocity(x: "torch.Tensor", noise: "torch.Tensor") -> "torch.Tensor":
    """v = dx_t / dt = eps - x, what the model learns (Lipman et al. 2023, eq. 23, time reversed)."""
    return noise - x


def denoised(x_t: "torch.Tensor", v: "torch.Tensor", t: "torch.Tensor") -> "torch.Tensor":
    """x = x_t - t v: the picture that a velocity at t (B,) points back to."""
    return x_t - _beside(t, x_t) * v


def draw_times(
    chance: "Chance", law: TimeLaw = "logit_normal", *, mean: float = 0.0, std: float = 1.0, shift: float = 1.0
) -> "torch.Tensor":
    """A time t for each sample, float32 (B,) in [0, 1], on the CPU.

    Args:
        law: `uniform`, or `logit_normal`: t = 1 / (1 + exp(-u)), u ~ N(mean, std) (Esser et al. 2024, eq. 19).
        shift: as in `shifted`, after the draw.
    """
    drawn = chance.uniform("time") if law == "uniform" else (mean + std * chance.normal((), "time")).sigmoid()
    return shifted(drawn, shift)


def shifted(sigma: "torch.Tensor", shift: float) -> "torch.Tensor":
    """sigma' = s sigma / (1 + (s - 1) sigma): more time at high noise for s > 1 (Esser et al. 2024, eq. 23, with
    s = sqrt(m / n)). Keeps 0 and 1. Raises BadInput for s <= 0."""
    if shift <= 0:
        raise BadInput(f"shift {shift:g}: it must be above 0 (1 leaves the times as they are)")
    return shift * sigma / (1 + (shift - 1) * sigma)


def flow_loss(predicted: "torch.Tensor", target: "torch.Tensor", valid: "torch.Tensor | None" = None) -> "torch.Tensor":
    """E |v - v_theta|^2 in float32: the mean over a sample's elements, then over the valid (B,) samples."""
    each = (predicted.float() - target.float()).square().flatten(1).mean(1)
    return each.mean() if valid is None else (each * valid).sum() / valid.sum().clamp(min=1)


def _beside(t: "torch.Tensor", x: "torch.Tensor") -> "torch.Tensor":
    """(B,) as (B, 1, ...), with the dimensions and the dtype of x."""
    return t.to(x).view(-1, *[1] * (x.ndim - 1))
