"""Reads the cache entries of coming batches while a step runs.

Invariant: the stream's order and its state in checkpoints are those without reading ahead.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from ..shards.forks import ThreadPool
from .recipe import Batch, Batches
from .wrapped import WrappedBatches

_AHEAD: Final = 16
"""Most batches that are read ahead, to limit memory."""


@dataclass(frozen=True)
class _Drawn:
    batch: Batch
    state: Mapping[str, Any]
    """Of the stream after this batch."""
    read: "Future[None]"


class ReadAhead(WrappedBatches):
    """A stream whose next batches are drawn one step ahead, and passed to `prefetch` in another thread.

    Args:
        prefetch: reads what a batch will need from caches.
    """

    def __init__(self, stream: Batches, prefetch: Callable[[Batch], None]) -> None:
        super().__init__(stream)
        self._prefetch = prefetch
        self._state: Mapping[str, Any] | None = None
        """Of the last batch that was given out."""

    def batches(self, size: int, *, epochs: int | None = 1, accumulate: int = 1) -> Generator[Mapping[str, Any]]:
        ahead: deque[_Drawn] = deque()
        pool = ThreadPool(1, "prefetch")
        try:
            with closing(self._stream.batches(size, epochs=epochs, accumulate=accumulate)) as batches:
                for batch in batches:
                    ahead.append(_Drawn(batch, self._stream.state_dict(), pool.submit(self._prefetch, batch)))
                    if len(ahead) > min(accumulate, _AHEAD):
                        yield self._first(ahead)
                while ahead:
                    yield self._first(ahead)
            self._state = None  # the stream is at the start of its next epoch
        finally:
            pool.end(each.read for each in ahead)

    def _first(self, ahead: deque[_Drawn]) -> Batch:
        drawn = ahead.popleft()
        drawn.read.result()
        self._state = drawn.state
        return drawn.batch

    def state_dict(self) -> dict[str, Any]:
        return dict(self._state) if self._state is not None else self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._state = None

    def begin(self, epoch: int) -> None:
        super().begin(epoch)
        self._state = None


def read_ahead(recipe: Any, stream: Batches) -> Batches:
    """The stream, read ahead if the recipe has a cache and the method `prefetch`."""
    prefetch = getattr(recipe, "prefetch", None)
    return ReadAhead(stream, prefetch) if prefetch and recipe.options.cache else stream
