"""Where a torch model runs and in which precision. Torch is imported by the functions that need it."""

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
    """The first GPU that the worker was given where the stage asks for one, else the CPU.

    Raises BadInput where the stage asks for a GPU and torch sees none.
    """
    torch = require("torch", "annotators")
    if gpus <= 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BadInput(
            f"layer '{layer}' asks for {gpus:g} GPU and torch sees none here: set engine.resources.{layer}.gpus to 0 "
            "to run it on the CPU, or install a CUDA build of torch"
        )
    return torch.device("cuda")


def autocast(device: "torch.device", dtype: Dtype) -> AbstractContextManager[Any]:
    """The context in which to call a float32 model."""
    import torch

    chosen = ("bfloat16" if device.type == "cuda" else "float32") if dtype == "auto" else dtype
    return torch.autocast(device.type, getattr(torch, chosen), enabled=chosen != "float32")


def ready_model(model: Any, device: "torch.device", *, compiled: bool) -> Any:
    """In evaluation mode, on the device, channels last on a GPU, compiled where asked."""
    import torch

    model = model.eval().requires_grad_(False).to(device)
    if device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    return torch.compile(model, dynamic=False) if compiled else model


def to_device(arrays: Sequence[NDArray[Any]], device: "torch.device") -> "torch.Tensor":
    """Stack arrays of one shape and dtype and move them; through pinned memory, without waiting, to a GPU."""
    import torch

    batch = torch.from_numpy(np.stack(arrays))
    if device.type == "cuda":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch


def to_host(batch: "torch.Tensor") -> list[Callable[[], NDArray[np.float32]]]:
    """Move a float32 batch (N, ...) off the device: one function for each item, which gives its array.

    Nothing waits here: from a GPU the functions wait for the copy, so that, called in another thread
    (`Batches.finish`), the next batch is on its way meanwhile.
    """
    import torch

    if batch.device.type != "cuda":
        return [partial(row.numpy) for row in batch]
    rows = batch.to("cpu", non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return [partial(_when, copied, row) for row in rows]


def _when(copied: "torch.cuda.Event", row: "torch.Tensor") -> NDArray[np.float32]:
    copied.synchronize()
    return row.numpy()
