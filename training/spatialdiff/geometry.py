"""The frozen encoder of the source's geometry: VGGT's aggregator without its heads.

Invariant: it reads only the source image, in training and in editing. Tokens are recomputed and never cached, since
they take 5.6 MB per sample in bfloat16 at 518 x 518.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...shards.errors import BadInput
from ..weights import find_folder
from .options import TINY, GeometrySection

if TYPE_CHECKING:
    import torch

PATCH = 14
_PACKAGE = "pip install --no-deps git+https://github.com/facebookresearch/vggt"
_FILES = ("model.safetensors", "model.pt", "vggt_1B_commercial.pt")
_PREFIX = "aggregator."


class GeometryEncoder(Protocol):
    """Encodes images to geometry tokens."""

    @property
    def width(self) -> int:
        """Token width d'."""
        ...

    def __call__(self, images: "torch.Tensor") -> "torch.Tensor":
        """uint8 (B, H, W, 3) to (B, l', d'), on the device of the encoder's weights, without gradients."""
        ...


@dataclass(frozen=True)
class AggregatorEncoder:
    """The last layer's output of VGGT's aggregator: camera token, four register tokens, patch tokens.

    Args:
        aggregator: (B, S, 3, H, W) in [0, 1] to (list of (B, S, 5 + P, d'), 5).
        width: token width d'.
        side: longer side of its input, in pixels.
        dtype: dtype of its matrix multiplications; weights and norms are float32.
    """

    aggregator: Any
    width: int
    side: int
    dtype: "torch.dtype"

    def __call__(self, images: "torch.Tensor") -> "torch.Tensor":
        import torch

        device = next(self.aggregator.parameters()).device
        low = self.dtype != torch.float32
        with torch.no_grad(), torch.autocast(device.type, self.dtype, enabled=low):
            layers, _ = self.aggregator(fit(images.to(device), self.side)[:, None])
        return layers[-1][:, 0].to(self.dtype)


def fit(images: "torch.Tensor", side: int) -> "torch.Tensor":
    """Resize for VGGT: uint8 (B, H, W, 3) to float32 (B, 3, h, w) in [0, 1], bicubic with antialiasing. The longer side
    becomes `side`, the other the multiple of 14 closest to the aspect ratio."""
    import torch.nn.functional as F

    height, width = images.shape[1:3]
    scale = side / max(height, width)
    h, w = (max(PATCH, round(length * scale / PATCH) * PATCH) for length in (height, width))
    pixels = images.movedim(-1, 1).float() / 255
    return F.interpolate(pixels, (h, w), mode="bicubic", antialias=True).clamp(0, 1)


def load_geometry(options: GeometrySection, device: "torch.device", dtype: "torch.dtype") -> AggregatorEncoder:
    """VGGT, or a tiny random encoder. Raises BadInput for a missing package or missing weights."""
    if options.model == TINY:
        from ..weights import seeded
        from .nets import TinyAggregator

        with seeded(1):
            aggregator: Any = TinyAggregator()
        width = 64
    else:
        aggregator = _vggt(options)
        width = 2 * aggregator.camera_token.shape[-1]
    aggregator = aggregator.eval().requires_grad_(False).to(device)
    return AggregatorEncoder(aggregator, width, options.side, dtype)


def _vggt(options: GeometrySection) -> Any:
    if importlib.util.find_spec("vggt") is None:
        raise BadInput(f"package 'vggt', the encoder of the source's geometry, is not installed: run `{_PACKAGE}`")
    from vggt.models.aggregator import Aggregator  # pyright: ignore[reportMissingImports]

    aggregator = Aggregator()
    problems = aggregator.load_state_dict(aggregator_weights(_weights_file(options)), strict=False)
    if problems.missing_keys:
        raise BadInput(f"weights of '{options.model}' lack {problems.missing_keys[0]}: they are not VGGT-1B's")
    return aggregator


def _weights_file(options: GeometrySection) -> Path:
    path = Path(options.model).expanduser()
    if path.is_file():
        return path
    folder = find_folder(options.model, options.revision, files=_FILES)
    for name in _FILES:
        if (folder / name).is_file():
            return folder / name
    raise BadInput(f"{options.model} holds none of {', '.join(_FILES)}: set recipe.geometry.model to VGGT's weights")


def aggregator_weights(file: Path) -> Mapping[str, "torch.Tensor"]:
    """The aggregator's part of VGGT's weights, without the prefix. Raises BadInput if there is none."""
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, framework="pt") as opened:
            names = [name for name in opened.keys() if name.startswith(_PREFIX)]  # noqa: SIM118
            found = {name.removeprefix(_PREFIX): opened.get_tensor(name) for name in names}
    else:
        import torch

        weights = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        found = {name.removeprefix(_PREFIX): value for name, value in weights.items() if name.startswith(_PREFIX)}
    if not found:
        raise BadInput(f"{file} holds no aggregator weights ({_PREFIX}*): it is not VGGT's")
    return found
