"""Metric3D backend: the authors' torch code, loaded with torch.hub.

Invariant: `revision` identifies the loaded weights, whichever cache they come from. The code is that of the repository
or of a local clone; its weights come from torch.hub's cache (`$TORCH_HOME/hub/checkpoints`) and are downloaded into it
if missing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shards.codecs import F32
from ..shards.errors import BadInput
from ..shards.extras import require
from .device import Dtype, autocast, pick_device, ready_model, to_device
from .metric3d_backends import DEVIATION, MEAN, BackendOptions, Prediction, check_map_size, family_canvas, first_line

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HubBackend:
    """The authors' torch model."""

    module: Any
    """Canvases (B, 3, H, W) -> (B, 2 or 5, H, W): depth, confidence, then normals."""
    device: "torch.device"
    dtype: Dtype
    name: str
    revision: str
    canvas: tuple[int, int]

    def __call__(self, canvases: Sequence[F32]) -> list[Prediction]:
        import torch

        with torch.inference_mode(), autocast(self.device, self.dtype):
            maps: F32 = self.module(to_device(canvases, self.device)).float().cpu().numpy()
        check_map_size(self.name, maps.shape[-2:], self.canvas)
        return [Prediction(each[0], each[2:] if len(each) > 2 else None, each[1]) for each in maps]


def load_hub(options: BackendOptions, entry: str, dtype: Dtype, *, compiled: bool) -> HubBackend:
    """Load the authors' model from a local clone of `yvanyin/metric3d`, or from the repository through torch.hub.

    Raises BadInput if packages, the entry or normals are missing, or if the code cannot run on the device.
    """
    torch = require("torch", "annotators")
    device = pick_device(options.layer, options.gpus)
    local = Path(options.model).expanduser().is_dir()
    network = _load_network(torch, options, entry, local=local)
    canvas = options.canvas if any(options.canvas) else family_canvas(entry)
    module = ready_model(_with_normalization(torch, network), device, compiled=False)
    # The first batch must be a single image: the authors' decoders keep a table with one row per image of their first
    # batch, and only a table of one row broadcasts to other batch sizes. It also shows whether there are normals.
    prediction = _predict_blank(HubBackend(module, device, dtype, entry, "", canvas), options)
    if options.normals and prediction.normals is None:
        raise BadInput(
            f"{entry} of {options.model} gives no normals (`prediction_normal`): use an entry metric3d_vit_*"
        )
    return HubBackend(
        module=torch.compile(module, dynamic=False) if compiled else module,
        device=device,
        dtype=dtype,
        name=entry if local else f"{options.model}/{entry}",
        revision=_digest_of_weights(network),
        canvas=canvas,
    )


def _load_network(torch: Any, options: BackendOptions, entry: str, *, local: bool) -> Any:
    repository = str(Path(options.model).expanduser()) if local else options.model
    if not local and options.revision:
        repository += f":{options.revision}"
    source = "local" if local else "github"
    try:
        return torch.hub.load(repository, entry, source=source, pretrain=True, trust_repo=True, verbose=False)
    except Exception as error:  # downloads and the authors' code raise many kinds
        raise BadInput(f"torch.hub cannot load {entry} of {options.model} {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """The cause in parentheses, and what to do about it."""
    message, packages = first_line(error), ""
    first = error
    # The authors' code catches import errors and raises others that do not name the missing package.
    while first.__context__ is not None:
        first = first.__context__
    if isinstance(first, ModuleNotFoundError):
        message, packages = first_line(first), str(first.name).partition(".")[0]
    elif message.startswith("Missing dependencies: "):
        packages = message.partition(": ")[2].replace(",", "")
    if packages in ("mmcv", "mmengine"):
        packages = "mmcv-lite mmengine"
    advice = "see `entry`, set `model` to a local clone of yvanyin/metric3d, or use backend: onnx"
    return f"({message}): {f'pip install {packages}' if packages else advice}"


def _with_normalization(torch: Any, network: Any) -> Any:
    class Normalized(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
            self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

        def forward(self, rgb: Any) -> Any:
            depth, confidence, more = self.network.inference({"input": (rgb - self.mean) / self.deviation})
            normals = more.get("prediction_normal")
            # Some decoders give it at a lower resolution.
            confidence = torch.nn.functional.interpolate(confidence, depth.shape[-2:], mode="bilinear")
            return torch.cat([depth, confidence, *([] if normals is None else [normals[:, :3]])], dim=1)

    return Normalized()


def _predict_blank(backend: HubBackend, options: BackendOptions) -> Prediction:
    """The prediction for a black canvas."""
    try:
        return backend([np.zeros((3, *backend.canvas), np.float32)])[0]
    except (AssertionError, RuntimeError) as error:
        if backend.device.type == "cpu" and any(sign in str(error) for sign in ("CUDA", "NVIDIA")):
            raise BadInput(
                f"the code of {options.model} runs only on a GPU ({first_line(error)}): set engine.resources."
                f"{options.layer}.gpus, or use backend: onnx"
            ) from None
        raise


def _digest_of_weights(network: Any) -> str:
    """`sha256:` and 16 hex digits of a hash of the names, shapes and first values of all loaded weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().flatten()[:1024].float().cpu().numpy().tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"
