"""A stream as a torch `IterableDataset`, for code that is written around `DataLoader`.

The plain way needs no worker processes, since a stream decodes in threads:
`DataLoader(torch_dataset(stream(...), 4), batch_size=None)`. With workers each makes every n-th batch, so that the
loader's order is the stream's; `StatefulDataLoader` keeps and restores the state of each worker.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shards.streaming.dataset import Batch, Stream

if TYPE_CHECKING:
    import torch
    from torch.utils.data import IterableDataset


def torch_dataset(stream: Stream, size: int) -> "IterableDataset[dict[str, Any]]":
    """An iterable over the rest of the stream's epoch, then over one epoch each time.

    Batches hold tensors that share the arrays' memory (masks as bool, labels as int32); texts stay lists. It has
    `state_dict` and `load_state_dict`.
    """
    return _dataset_class()(stream, size)


def pinned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """`allocate` for `stream` on GPU machines: page-locked memory, from which copies to the GPU need not wait."""
    import torch

    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return torch.empty(count, dtype=torch.uint8, pin_memory=True).numpy().view(dtype).reshape(shape)


def tensors(batch: Batch) -> dict[str, Any]:
    """The arrays of a batch as tensors over the same memory; uint16 labels, which torch barely knows, as int32."""
    return {name: _tensor(value) if isinstance(value, np.ndarray) else value for name, value in batch.items()}


def _tensor(array: NDArray[Any]) -> "torch.Tensor":
    import torch

    return torch.from_numpy(array.astype(np.int32) if array.dtype == np.uint16 else array)


class _Batches:
    """What the dataset does, without torch's base class."""

    def __init__(self, stream: Stream, size: int) -> None:
        self.stream = stream
        self.size = size
        self._skip: int | None = None
        """Batches of other workers that come before the next of this one; None before the first iteration."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from torch.utils.data import get_worker_info

        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        skip = worker if self._skip is None else self._skip
        for batch in self.stream.batches(self.size, part=(skip, workers)):
            self._skip = workers - 1
            yield tensors(batch)
        self._skip = None

    def state_dict(self) -> dict[str, Any]:
        return {"stream": self.stream.state_dict(), "skip": -1 if self._skip is None else self._skip}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises BadInput where the state is of another stream."""
        self.stream.load_state_dict(state["stream"])
        self._skip = None if state["skip"] < 0 else int(state["skip"])


_CLASS = "TorchBatches"


def _dataset_class() -> Any:
    """A subclass of torch's `IterableDataset`, made when first asked for and found by pickle under its name."""
    if _CLASS not in globals():
        from torch.utils.data import IterableDataset

        made = type(_CLASS, (_Batches, IterableDataset), {"__module__": __name__, "__doc__": torch_dataset.__doc__})
        globals()[_CLASS] = made
    return globals()[_CLASS]


def __getattr__(name: str) -> Any:
    if name == _CLASS:
        return _dataset_class()
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
