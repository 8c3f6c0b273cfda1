"""Metric3D as its authors' torch code, through torch.hub.

Invariant: `revision` names the weights that were loaded, whichever cache they came from. The code of the repository
(or of a local clone) is run; its weights come from torch.hub's cache (`$TORCH_HOME/hub/checkpoints`), or are fetched
into it.
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
from .metric3d_backends import DEVIATION, MEAN, Prediction, Wish, expect_canvas, family_canvas, first_line

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
        expect_canvas(self.name, maps.shape[-2:], self.canvas)
        return [Prediction(each[0], each[2:] if len(each) > 2 else None, each[1]) for each in maps]


def load_hub(wish: Wish, entry: str, dtype: Dtype, *, compiled: bool) -> HubBackend:
    """The authors' code: a local clone of `yvanyin/metric3d`, or the repository itself through torch.hub.

    Raises BadInput for packages, an entry or normals that are missing, and where the code cannot run on the device.
    """
    torch = require("torch", "annotators")
    device = pick_device(wish.layer, wish.gpus)
    local = Path(wish.model).expanduser().is_dir()
    network = _load_network(torch, wish, entry, local=local)
    canvas = wish.canvas if any(wish.canvas) else family_canvas(entry)
    module = ready_model(_with_normalisation(torch, network), device, compiled=False)
    # The first batch must hold one image: the authors' decoders keep a table with one row for each image of their
    # first batch, and a larger batch would not fit it; one row fits all. It also shows what the model gives.
    made = _try_out(HubBackend(module, device, dtype, entry, "", canvas), wish)
    if wish.normals and made.normals is None:
        raise BadInput(f"{entry} of {wish.model} gives no normals (`prediction_normal`): use an entry metric3d_vit_*")
    return HubBackend(
        module=torch.compile(module, dynamic=False) if compiled else module,
        device=device,
        dtype=dtype,
        name=entry if local else f"{wish.model}/{entry}",
        revision=_digest_of_weights(network),
        canvas=canvas,
    )


def _load_network(torch: Any, wish: Wish, entry: str, *, local: bool) -> Any:
    repository = str(Path(wish.model).expanduser()) if local else wish.model
    if not local and wish.revision:
        repository += f":{wish.revision}"
    source = "local" if local else "github"
    try:
        return torch.hub.load(repository, entry, source=source, pretrain=True, trust_repo=True, verbose=False)
    except Exception as error:  # downloads and the authors' code raise many kinds
        raise BadInput(f"torch.hub cannot load {entry} of {wish.model} {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """Why a repository could not be loaded, in brackets, and what to do."""
    told, packages = first_line(error), ""
    first = error
    # The authors' code catches import errors and raises others that do not name the package.
    while first.__context__ is not None:
        first = first.__context__
    if isinstance(first, ModuleNotFoundError):
        told, packages = first_line(first), str(first.name).partition(".")[0]
    elif told.startswith("Missing dependencies: "):
        packages = told.partition(": ")[2].replace(",", "")
    if packages in ("mmcv", "mmengine"):
        packages = "mmcv-lite mmengine"
    mend = "see `entry`, set `model` to a local clone of yvanyin/metric3d, or use backend: onnx"
    return f"({told}): {f'pip install {packages}' if packages else mend}"


def _with_normalisation(torch: Any, network: Any) -> Any:
    class Normalised(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
            self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

        def forward(self, rgb: Any) -> Any:
            depth, confidence, more = self.network.inference({"input": (rgb - self.mean) / self.deviation})
            normals = more.get("prediction_normal")
            # Some of the decoders tell it more coarsely.
            confidence = torch.nn.functional.interpolate(confidence, depth.shape[-2:], mode="bilinear")
            return torch.cat([depth, confidence, *([] if normals is None else [normals[:, :3]])], dim=1)

    return Normalised()


def _try_out(backend: HubBackend, wish: Wish) -> Prediction:
    """What a canvas gives."""
    try:
        return backend([np.zeros((3, *backend.canvas), np.float32)])[0]
    except (AssertionError, RuntimeError) as error:
        if backend.device.type == "cpu" and any(sign in str(error) for sign in ("CUDA", "NVIDIA")):
            raise BadInput(
                f"the code of {wish.model} runs on a GPU alone ({first_line(error)}): set engine.resources."
                f"{wish.layer}.gpus, or use backend: onnx"
            ) from None
        raise


def _digest_of_weights(network: Any) -> str:
    """`sha256:` and 16 hex digits over names, shapes and the first values of all weights: what was truly loaded."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().flatten()[:1024].float().cpu().numpy().tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"
