"""Batches through a model: what the CPU does before and after overlaps with what the model does.

Invariant: one result for each item, in order, whatever the batch size; running out of memory halves the batch and goes
on, for good. Needs no torch at import.
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
"""Batches that are prepared before the model asks for them."""
_NO_MEMORY = ("can't allocate memory", "out of memory", "Failed to allocate memory", "_STATUS_ALLOC_FAILED")
"""What torch, ONNX Runtime, cuBLAS and cuDNN say."""


class Batches(Generic[Item, Ready, Raw, Done]):
    """Three steps: `prepare` an item (threads), run the model on a batch (this thread), `finish` an item (threads).

    Args:
        size: items of one batch at most.
        threads: how many prepare and finish; OpenCV, Pillow and numpy release the interpreter's lock.
        whole: fill what is left over up to a whole batch, with its last item again: a compiled model is compiled anew
            for each number of items, and not at all after a few.
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
            bucket: items with equal values may share a batch (images of one size); all by default.

        Raises what `prepare`, `forward` or `finish` raise; SpatialdataError where one item alone exceeds the memory,
        WorkerLost where CUDA failed for good.
        """
        try:
            return self._all(items, bucket)
        except Exception as error:  # CUDA tells in any of the three steps what went wrong in one before
            if device_lost(error):
                raise WorkerLost(
                    f"the GPU no longer answers this worker ({_first_line(error)}): run the same command again; where "
                    "it comes back, look at `nvidia-smi` and `dmesg`"
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
                        f"one image alone exceeds the memory of the device ({_first_line(error)}): give the stage a "
                        "larger share of the GPU, a smaller model or dtype bfloat16"
                    ) from error
                self.size = max(1, len(filled) // 2)
            # Only here: while the exception lives, so do the frames that hold what the failed batch allocated.
            _free()
        return done


def device_lost(error: BaseException) -> bool:
    """Whether CUDA is in an error that stays for as long as the process lives: every later call fails, too."""
    text = str(error)
    return not out_of_memory(error) and any(sign in text for sign in ("CUDA error: ", "CUDA failure "))


def out_of_memory(error: BaseException) -> bool:
    """Whether torch, on a GPU or on the CPU, or ONNX Runtime says that memory ran out."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    # ONNX Runtime's own exceptions derive from Exception alone.
    told = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return isinstance(error, MemoryError) or (told and any(sign in text for sign in _NO_MEMORY))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _free() -> None:
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
