"""Batch buffers that are used again as soon as nobody holds the batch any more: fresh memory costs a page fault a page.

For ordinary memory alone. From page-locked memory a GPU still copies when the batch is long dropped: torch's own
allocator waits for such copies, this one could not know of them.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Allocate = Callable[[tuple[int, ...], Any], NDArray[Any]]
"""(shape, dtype) -> array with any content."""
_IDLE: Final = 8
"""Buffers of one shape that are kept for later; more are freed."""


class BufferPool:
    """Arrays of one shape each; a free one is handed out before a new one is made.

    Invariant: a buffer whose array (or a view, or a tensor over it) somebody still holds is never handed out: whoever
    keeps a batch keeps its pixels.
    """

    def __init__(self) -> None:
        self._idle: dict[tuple[object, ...], list[NDArray[Any]]] = {}

    def __call__(self, shape: Sequence[int], dtype: Any) -> NDArray[Any]:
        """An array with any content."""
        idle = self._idle.setdefault((*shape, np.dtype(dtype).str), [])
        try:
            buffer = idle.pop()
        except IndexError:
            buffer = np.empty(tuple(shape), dtype)
        return np.asarray(_Lease(buffer, idle))


class _Lease:
    """What an array and all views of it have as their base, so that it ends with the last of them."""

    def __init__(self, buffer: NDArray[Any], idle: list[NDArray[Any]]) -> None:
        self._buffer = buffer
        self._idle = idle
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self) -> None:
        if len(self._idle) < _IDLE:
            self._idle.append(self._buffer)
