"""Computes linear layers of float32 models on a CPU with oneDNN instead of MKL.

torch multiplies float32 matrices with MKL, which uses only AVX2 on processors of other makers than Intel. oneDNN uses
all that the processor supports, and applies GELU while a product is still in the cache. The operators are those that
`torch.compile` substitutes for linear layers; if torch does not have them, the layers are unchanged.

Invariant: same weights, dtype and function; results differ only by float32 rounding.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def speed_up_linears(network: "torch.nn.Module") -> None:
    """Replace, in place, the forward of a CPU model's float32 linear layers; for inference only."""
    import torch

    operators: Any = torch.ops.mkldnn
    if not (torch.backends.mkldnn.is_available() and hasattr(operators, "_linear_pointwise")):
        return
    with_gelu = {id(first) for module in network.modules() if (first := _absorb_gelu(module)) is not None}
    linears: list[Any] = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    for linear in linears:
        if linear.weight.dtype == torch.float32:
            linear.forward = _onednn_forward(linear, gelu=id(linear) in with_gelu)


def _absorb_gelu(module: "torch.nn.Module") -> "torch.nn.Module | None":
    """Remove the exact GELU of an MLP (with transformers' names), and return the linear layer that is to apply it."""
    import torch

    first, activation = getattr(module, "fc1", None), getattr(module, "activation_fn", None)
    exact = (
        type(activation).__name__ == "GELUActivation" and getattr(activation, "act", None) is torch.nn.functional.gelu
    )
    if not (exact and isinstance(first, torch.nn.Linear)):
        return None
    module.activation_fn = torch.nn.Identity()
    return first


def _onednn_forward(linear: "torch.nn.Linear", *, gelu: bool) -> "Callable[[torch.Tensor], torch.Tensor]":
    import torch

    operators: Any = torch.ops.mkldnn
    bias = linear.bias
    weight = operators._reorder_linear_weight(linear.weight.detach(), None)
    # "none" is the algorithm of the exact GELU (by erf); the alternative is "tanh".
    post_op = ("gelu", [], "none") if gelu else ("none", [], "")

    def forward(x: "torch.Tensor") -> "torch.Tensor":
        return operators._linear_pointwise(x, weight, bias, *post_op)

    return forward
