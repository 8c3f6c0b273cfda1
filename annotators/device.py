"""Device and precision of torch models. Functions import torch when called."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..shards.errors import BadInput
from ..shards.extras import require

if TYPE_CHECKING:
    import torch

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""`auto`: bfloat16 on a GPU (autocast), float32 on the CPU."""


def pick_device(layer: str, gpus: float) -> "torch.device":
    """The worker's first GPU if the stage asks for one, else the CPU.

    Raises BadInput if the stage asks for a GPU and torch sees none.
    """
    torch = require("torch", "annotators")
    if gpus <= 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BadInput(
            f"layer '{layer}' asks for {gpus:g} GPU, but torch sees none here: set engine.resources.{layer}.gpus to 0 "
            "to run it on the CPU, or install a CUDA build of torch"
        )
    return torch.device("cuda")


def autocast(device: "torch.device", dtype: Dtype) -> AbstractContextManager[Any]:
    """The context in which to run a float32 model."""
    import torch

    chosen = ("bfloat16" if device.type == "cuda" else "float32") if dtype == "auto" else dtype
    return torch.autocast(device.type, getattr(torch, chosen), enabled=chosen != "float32")


def ready_model(model: Any, device: "torch.device", *, compiled: bool) -> Any:
    """Prepare a model for inference: evaluation mode, on the device, channels last on a GPU, optionally compiled."""
    import torch

    model = model.eval().requires_grad_(False).to(device)
    if device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    return torch.compile(model, dynamic=False) if compiled else model


def to_device(arrays: Sequence[NDArray[Any]], device: "torch.device") -> "torch.Tensor":
    """Stack arrays of one shape and dtype and move them to the device; to a GPU asynchronously, from pinned memory."""
    import torch

    batch = torch.from_numpy(np.stack(arrays))
    if device.type == "cuda":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch


def to_host(batch: "torch.Tensor") -> list[Callable[[], NDArray[np.float32]]]:
    """Copy a float32 batch (N, ...) to the host. Returns one function per item, which returns the item's array.

    The copy from a GPU is asynchronous, and the functions wait for it. Called in other threads (`Batches.finish`), they
    do not delay the next batch.
    """
    import torch

    if batch.device.type != "cuda":
        return [partial(row.numpy) for row in batch]
    rows = batch.to("cpu", non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return [partial(_wait_for_copy, copied, row) for row in rows]


def _wait_for_copy(copied: "torch.cuda.Event", row: "torch.Tensor") -> NDArray[np.float32]:
    copied.synchronize()
    return row.numpy()
