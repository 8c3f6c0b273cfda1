"""The generator of informative-drawings (Chan, Durand and Isola 2022, "Learning to Generate Line Drawings that Convey
Geometry and Semantics"): from a photograph to a line drawing.

Invariant: weights have the names and shapes of the released checkpoints (`netG_A_latest.pth`, and `sk_model.pth` and
`sk_model2.pth` of ControlNet's annotators). A checkpoint loads completely or raises an error.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from ..shards.errors import BadInput
from ..shards.extras import require

if TYPE_CHECKING:
    import torch
    from torch import nn

STRIDE: Final = 4
"""Both sides of an input must be multiples of this: two downsampling steps halve them."""
MIN_SIDE: Final = 2 * STRIDE
"""Smallest side of an input at which all feature maps can be padded by reflection."""
_WIDTH: Final = 64
_BLOCKS: Final = 3


def make_generator() -> "nn.Module":
    """The network with random weights: float (N, 3, H, W), sRGB in 0..1, to (N, 1, H, W) in 0..1, dark lines on white.

    CycleGAN's ResNet generator (Johnson et al. 2016) with 4.3 million parameters: reflection padding, instance
    normalization without weights, two downsampling steps, three residual blocks, two upsampling steps, and a sigmoid.
    """
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
            other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
            self.conv_block = nn.Sequential(*half, nn.ReLU(inplace=True), *other)

        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            return x + self.conv_block(x)

    def active(convolution: nn.Module, width: int) -> list[nn.Module]:
        return [convolution, nn.InstanceNorm2d(width), nn.ReLU(inplace=True)]

    def down(width: int) -> list[nn.Module]:
        return active(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), 2 * width)

    def up(width: int) -> list[nn.Module]:
        wider = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
        return active(wider, width // 2)

    parts: OrderedDict[str, nn.Module] = OrderedDict(
        model0=nn.Sequential(nn.ReflectionPad2d(3), *active(nn.Conv2d(3, _WIDTH, 7), _WIDTH)),
        model1=nn.Sequential(*down(_WIDTH), *down(2 * _WIDTH)),
        model2=nn.Sequential(*(Residual(4 * _WIDTH) for _ in range(_BLOCKS))),
        model3=nn.Sequential(*up(4 * _WIDTH), *up(2 * _WIDTH)),
        model4=nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(_WIDTH, 1, 7), nn.Sigmoid()),
    )
    return nn.Sequential(parts)


def load_generator(path: Path) -> "nn.Module":
    """The network with the weights of a released checkpoint (`torch.save` of its state dict).

    Only tensors are unpickled. Raises BadInput if the file is not such a checkpoint; the message names the first weight
    that is missing, unexpected or of another shape.
    """
    torch = require("torch", "annotators")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types of errors, all meaning: not a file of weights
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise BadInput(f"{path} is not a checkpoint that torch can load safely ({reason}): fetch it again") from None
    network = make_generator()
    if problem := _misfit(network.state_dict(), weights):
        advice = "give sk_model.pth, sk_model2.pth or netG_A_latest.pth"
        raise BadInput(f"{path} is not a checkpoint of the informative-drawings generator: {problem}; {advice}")
    network.load_state_dict(weights)
    return network


def _misfit(wanted: Mapping[str, Any], found: object) -> str:
    """What is wrong with loaded weights; empty if they fit."""
    if not isinstance(found, Mapping):
        return f"it contains a {type(found).__name__}, not a dictionary of weights"
    weights = cast("Mapping[str, Any]", found)
    if missing := next((name for name in wanted if name not in weights), ""):
        return f"weight '{missing}' is missing"
    if unexpected := next((name for name in weights if name not in wanted), ""):
        return f"weight '{unexpected}' is unexpected"
    for name, tensor in wanted.items():
        shape = getattr(weights[name], "shape", None)
        if shape != tensor.shape:
            given = "no tensor" if shape is None else f"of shape {tuple(shape)}"
            return f"weight '{name}' is {given}, not of shape {tuple(tensor.shape)}"
    return ""
