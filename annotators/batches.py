"""Runs items through a model in batches, while threads prepare the next batch and finish the previous one.

Invariant: one result per item, in order, whatever the batch size. If memory runs out, the batch size is halved
permanently and the batch is retried. Importing this module does not import torch.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from ..shards.errors import SpatialdataError, WorkerLost

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Raw = TypeVar("Raw")
Done = TypeVar("Done")

_AHEAD = 2
"""Number of batches to prepare in advance."""
_NO_MEMORY = ("can't allocate memory", "out of memory", "Failed to allocate memory", "_STATUS_ALLOC_FAILED")
"""Messages of torch, ONNX Runtime, cuBLAS and cuDNN."""


class Batches(Generic[Item, Ready, Raw, Done]):
    """Three steps: `prepare` an item and `finish` an item (in threads), `forward` a batch (in the calling thread).

    Args:
        size: maximum batch size.
        threads: number of threads that prepare and finish items. OpenCV, Pillow and numpy release the GIL.
        whole: pad the last batch to the full size by repeating its last item. A compiled model is recompiled for each
            new batch size, and no longer compiled after a few.
    """

    def __init__(
        self,
        prepare: Callable[[Item], Ready],
        forward: Callable[[list[Ready]], Sequence[Raw]],
        finish: Callable[[Item, Ready, Raw], Done],
        *,
        size: int,
        threads: int = 2,
        whole: bool = False,
    ) -> None:
        self._prepare, self._forward, self._finish = prepare, forward, finish
        self.size = max(1, size)
        self._threads = max(1, threads)
        self._whole = whole

    def __call__(self, items: Sequence[Item], bucket: Callable[[Item], object] | None = None) -> list[Done]:
        """Results in the order of `items`.

        Args:
            bucket: only items with equal values share a batch (such as images of one size); by default, any do.

        Raises what `prepare`, `forward` or `finish` raise; SpatialdataError if a single item exceeds the memory;
        WorkerLost if CUDA has failed and cannot recover.
        """
        try:
            return self._all(items, bucket)
        except Exception as error:  # CUDA reports errors of earlier calls in any of the three steps
            if device_lost(error):
                raise WorkerLost(
                    f"the GPU no longer responds to this worker ({_first_line(error)}): rerun the same command; if it "
                    "fails again, check `nvidia-smi` and `dmesg`"
                ) from error
            raise

    def _all(self, items: Sequence[Item], bucket: Callable[[Item], object] | None) -> list[Done]:
        groups: dict[object, list[int]] = {}
        for index, item in enumerate(items):
            groups.setdefault(bucket(item) if bucket else None, []).append(index)
        results: dict[int, Future[Done]] = {}
        with ThreadPoolExecutor(self._threads) as threads:
            for batch, ready in self._prepared(items, groups, threads):
                for index, value, raw in zip(batch, ready, self._run(ready), strict=True):
                    results[index] = threads.submit(self._finish, items[index], value, raw)
            return [results[index].result() for index in range(len(items))]

    def _prepared(
        self, items: Sequence[Item], groups: dict[object, list[int]], threads: ThreadPoolExecutor
    ) -> Iterator[tuple[list[int], list[Ready]]]:
        todo = deque(
            group[first : first + self.size] for group in groups.values() for first in range(0, len(group), self.size)
        )
        waiting: deque[tuple[list[int], list[Future[Ready]]]] = deque()
        while todo or waiting:
            while todo and len(waiting) <= _AHEAD:
                batch = todo.popleft()
                waiting.append((batch, [threads.submit(self._prepare, items[index]) for index in batch]))
            batch, futures = waiting.popleft()
            yield batch, [future.result() for future in futures]

    def _run(self, ready: list[Ready]) -> list[Raw]:
        done: list[Raw] = []
        while len(done) < len(ready):
            part = ready[len(done) : len(done) + self.size]
            filled = part + part[-1:] * (self.size - len(part)) if self._whole else part
            try:
                done += self._forward(filled)[: len(part)]
                continue
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if len(filled) == 1:
                    raise SpatialdataError(
                        f"a single image exceeds the memory of the device ({_first_line(error)}): give the stage a "
                        "larger share of the GPU, a smaller model or dtype bfloat16"
                    ) from error
                self.size = max(1, len(filled) // 2)
            # Not in the except block: the exception's frames still hold what the failed batch allocated.
            _empty_cuda_cache()
        return done


def device_lost(error: BaseException) -> bool:
    """Whether CUDA is in an error state that lasts until the process ends, so every later call fails too."""
    text = str(error)
    return not out_of_memory(error) and any(sign in text for sign in ("CUDA error: ", "CUDA failure "))


def out_of_memory(error: BaseException) -> bool:
    """Whether the error of torch (on GPU or CPU) or ONNX Runtime means that memory ran out."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    # ONNX Runtime's exceptions derive directly from Exception.
    of_library = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return isinstance(error, MemoryError) or (of_library and any(sign in text for sign in _NO_MEMORY))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _empty_cuda_cache() -> None:
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
