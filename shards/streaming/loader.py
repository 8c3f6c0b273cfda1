"""A stream as a torch `IterableDataset`, for code that is written around `DataLoader`.

The plain way needs no worker processes, since a stream decodes in threads:
`DataLoader(torch_dataset(stream(...), 4), batch_size=None)`. With workers each makes every n-th batch, so that the
loader's order is the stream's; `StatefulDataLoader` keeps and restores the state of each worker (for that number of
workers: the state of a stream that is read without workers is the one that any world can load).
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
    """An iterable over the rest of the stream's epoch, then over one epoch each time.

    Batches hold tensors that share the arrays' memory (masks as bool, labels as int32); texts stay lists. It has
    `state_dict`, `load_state_dict`, and for its length the batches of a whole epoch. A loader's new workers begin where
    the last ones ended.
    """
    return _dataset_class()(stream, size)


def pinned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """`allocate` for `stream` on GPU machines: page-locked memory, from which copies to the GPU need not wait.

    It is torch's own, which gives a block out again only when the copies from it are done (of tensors that `tensors`
    made, and their slices). Not for worker processes, from which tensors are sent in memory of another kind.
    """
    import torch

    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return torch.empty(count, dtype=torch.uint8, pin_memory=True).numpy().view(dtype).reshape(shape)


def tensors(batch: Batch) -> dict[str, Any]:
    """The arrays of a batch as tensors over the same memory; uint16 labels, which torch barely knows, as int32."""
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
        # Over the owner's storage, by which torch's allocator knows of copies from any slice.
        return owner.view(made.dtype).view(made.shape)
    return made


class _Batches:
    """What the dataset does, without torch's base class."""

    def __init__(self, stream: Stream, size: int) -> None:
        import torch

        self.stream = stream
        self.size = size
        self._skip: int | None = None
        """Batches of other workers that come before the next of this one; None before the first iteration."""
        self._own = False
        """Whether this process's stream knows where it stands: it was iterated here, or a state was loaded."""
        self._ended = torch.zeros(1, dtype=torch.int64).share_memory_()
        """For the next workers: which were the last ones to end an epoch, and the epoch behind it. One number, since
        one number is written at once."""

    def __len__(self) -> int:
        return self.stream.steps(self.size)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from torch.utils.data import get_worker_info

        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if info:
            self._follow(_generation(worker))
        skip = worker if self._skip is None else self._skip
        for batch in self.stream.batches(self.size, part=(skip, workers)):
            self._skip = workers - 1
            yield tensors(batch)
        self._skip = None
        if info and worker == 0:
            self._ended[0] = _generation(worker) << _EPOCH_BITS | self.stream.epoch

    def _follow(self, generation: int) -> None:
        """Begin where the workers before these ended: this process's copy of the stream is the main process's."""
        generation_ended, epoch = divmod(int(self._ended[0]), 1 << _EPOCH_BITS)
        if generation_ended == generation:
            epoch -= 1  # the first worker has ended while this one was still starting
        if not self._own and epoch > self.stream.epoch:
            self.stream.begin(epoch)
        self._own = True

    def state_dict(self) -> dict[str, Any]:
        return {"stream": self.stream.state_dict(), "skip": -1 if self._skip is None else self._skip}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises BadInput where the state is of another stream."""
        from torch.utils.data import get_worker_info

        self.stream.load_state_dict(state["stream"])
        self._skip = None if state["skip"] < 0 else int(state["skip"])
        if get_worker_info():
            self._own = True
        else:
            self._ended[0] = 0


def _generation(worker: int) -> int:
    """A number that the workers of one iteration have in common, and no others of this process's: workers are started
    one after another, and a process numbers its children in their names."""
    return int(re.sub(r".*?(\d*)$", r"\1", multiprocessing.current_process().name) or 0) - worker


_EPOCH_BITS: Final = 32
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
