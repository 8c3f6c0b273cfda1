"""Linear layers of float32 models on a CPU, through oneDNN instead of MKL.

torch multiplies float32 matrices with MKL, which takes its AVX2 path on processors that are not Intel's; oneDNN takes
what the processor has, and applies GELU to a product while it is in the cache. These are the operators that
`torch.compile` itself puts in place of linear layers; without them the layers stay as they are.

Invariant: same weights, same dtype, same function; results differ by float32 rounding alone.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def speed_up_linears(network: "torch.nn.Module") -> None:
    """Replace, in place, how the float32 linear layers of a model on the CPU compute; for inference alone."""
    import torch

    operators: Any = torch.ops.mkldnn
    if not (torch.backends.mkldnn.is_available() and hasattr(operators, "_linear_pointwise")):
        return
    followed_by_gelu = {id(first) for module in network.modules() if (first := _absorb_gelu(module)) is not None}
    linears: list[Any] = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    for linear in linears:
        if linear.weight.dtype == torch.float32:
            linear.forward = _packed(linear, gelu=id(linear) in followed_by_gelu)


def _absorb_gelu(module: "torch.nn.Module") -> "torch.nn.Module | None":
    """The first layer of a transformer's MLP (transformers' names), whose exact GELU it takes over."""
    import torch

    first, activation = getattr(module, "fc1", None), getattr(module, "activation_fn", None)
    exact = (
        type(activation).__name__ == "GELUActivation" and getattr(activation, "act", None) is torch.nn.functional.gelu
    )
    if not (exact and isinstance(first, torch.nn.Linear)):
        return None
    module.activation_fn = torch.nn.Identity()
    return first


def _packed(linear: "torch.nn.Linear", *, gelu: bool) -> "Callable[[torch.Tensor], torch.Tensor]":
    import torch

    operators: Any = torch.ops.mkldnn
    bias = linear.bias
    weight = operators._reorder_linear_weight(linear.weight.detach(), None)
    # "none" is the algorithm of the exact GELU (by erf); the alternative is "tanh".
    after = ("gelu", [], "none") if gelu else ("none", [], "")

    def forward(x: "torch.Tensor") -> "torch.Tensor":
        return operators._linear_pointwise(x, weight, bias, *after)

    return forward
