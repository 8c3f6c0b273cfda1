"""A stream as a torch `IterableDataset`, for code that uses `DataLoader`.

Worker processes are usually not needed, since a stream decodes in threads:
`DataLoader(torch_dataset(stream(...), 4), batch_size=None)`. With n workers, each reads every n-th batch, so the loader
keeps the order of the stream. `StatefulDataLoader` saves and restores the state of each worker, for the same number of
workers; only the state of a stream that is read without workers can be loaded by any world.
"""

import multiprocessing
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .dataset import Batch, Stream

if TYPE_CHECKING:
    import torch
    from torch.utils.data import IterableDataset


def torch_dataset(stream: Stream, size: int) -> "IterableDataset[dict[str, Any]]":
    """An iterable dataset: the first iteration yields the rest of the stream's epoch, each later one a whole epoch.

    Batches contain tensors that share the arrays' memory (masks as bool); labels are copied to int32, texts stay lists.
    The dataset has `state_dict` and `load_state_dict`; its length is the number of batches in a whole epoch. New
    workers of a loader start where the previous ones ended.
    """
    return _dataset_class()(stream, size)


def pinned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """`allocate` for `stream` on GPU machines: page-locked memory, for asynchronous copies to the GPU.

    Uses torch's allocator, which reuses a block only after all copies from it are finished (copies from tensors made by
    `tensors`, and from their slices). Not for worker processes, which send tensors in another kind of memory.
    """
    import torch

    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return torch.empty(count, dtype=torch.uint8, pin_memory=True).numpy().view(dtype).reshape(shape)


def tensors(batch: Batch) -> dict[str, Any]:
    """The arrays of a batch as tensors over the same memory; uint16 labels, which torch hardly supports, as int32."""
    return {name: _tensor(value) if isinstance(value, np.ndarray) else value for name, value in batch.items()}


def _tensor(array: NDArray[Any]) -> "torch.Tensor":
    import torch

    if array.dtype == np.uint16:
        return torch.from_numpy(array.astype(np.int32))
    made: Any = torch.from_numpy(array)
    owner: Any = array.base
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, torch.Tensor) and owner.data_ptr() == made.data_ptr() and owner.nbytes == made.nbytes:
        # A view of the owner's storage: this is how torch's allocator tracks copies from any slice.
        return owner.view(made.dtype).view(made.shape)
    return made


class _Batches:
    """The implementation of the dataset, without torch's base class."""

    def __init__(self, stream: Stream, size: int) -> None:
        import torch

        self.stream = stream
        self.size = size
        self._skip: int | None = None
        """Number of batches of other workers before the next one of this worker; None before the first iteration."""
        self._positioned = False
        """Whether the stream in this process has its own position: it was iterated here, or a state was loaded."""
        self._last_epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        """For later workers: the generation that last finished an epoch, and the next epoch. Packed into one number, so
        that it is written atomically."""

    def __len__(self) -> int:
        return self.stream.steps(self.size)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from torch.utils.data import get_worker_info

        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if info:
            self._continue_from_last_epoch(_generation(worker))
        skip = worker if self._skip is None else self._skip
        for batch in self.stream.batches(self.size, part=(skip, workers)):
            self._skip = workers - 1
            yield tensors(batch)
        self._skip = None
        if info and worker == 0:
            self._last_epoch[0] = _generation(worker) << _EPOCH_BITS | self.stream.epoch

    def _continue_from_last_epoch(self, generation: int) -> None:
        """Start where the previous workers ended: a worker copies the stream of the main process, which never moves."""
        last_generation, epoch = divmod(int(self._last_epoch[0]), 1 << _EPOCH_BITS)
        if last_generation == generation:
            epoch -= 1  # the first worker finished while this one was still starting
        if not self._positioned and epoch > self.stream.epoch:
            self.stream.begin(epoch)
        self._positioned = True

    def state_dict(self) -> dict[str, Any]:
        return {"stream": self.stream.state_dict(), "skip": -1 if self._skip is None else self._skip}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises BadInput where the state belongs to another stream."""
        from torch.utils.data import get_worker_info

        self.stream.load_state_dict(state["stream"])
        self._skip = None if state["skip"] < 0 else int(state["skip"])
        if get_worker_info():
            self._positioned = True
        else:
            self._last_epoch[0] = 0


def _generation(worker: int) -> int:
    """A number that is shared by the workers of one iteration, and different for other iterations of the same process.

    Workers are started one after another, and a process numbers its children in their names.
    """
    return int(re.sub(r".*?(\d*)$", r"\1", multiprocessing.current_process().name) or 0) - worker


_EPOCH_BITS: Final = 32
_CLASS = "TorchBatches"


def _dataset_class() -> Any:
    """A subclass of torch's `IterableDataset`, created on first use; pickle finds it by its name in this module."""
    if _CLASS not in globals():
        from torch.utils.data import IterableDataset

        made = type(_CLASS, (_Batches, IterableDataset), {"__module__": __name__, "__doc__": torch_dataset.__doc__})
        globals()[_CLASS] = made
    return globals()[_CLASS]


def __getattr__(name: str) -> Any:
    if name == _CLASS:
        return _dataset_class()
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
