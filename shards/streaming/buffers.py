"""Batch buffers that are reused once a batch is released, since new memory costs a page fault for every page.

Only for ordinary memory. A GPU may still copy from page-locked memory after a batch is released: torch's own allocator
waits for such copies, this one does not know about them.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Allocate = Callable[[tuple[int, ...], Any], NDArray[Any]]
"""(shape, dtype) -> array with undefined content."""
_IDLE: Final = 8
"""Number of unused buffers of one shape to keep; others are freed."""


class BufferPool:
    """Allocates arrays, and reuses free buffers of the same shape and type.

    Invariant: a buffer is never reused while its array, or a view or tensor of it, is referenced, so the pixels of a
    batch do not change while the batch is in use.
    """

    def __init__(self) -> None:
        self._idle: dict[tuple[object, ...], list[NDArray[Any]]] = {}

    def __call__(self, shape: Sequence[int], dtype: Any) -> NDArray[Any]:
        """An array with undefined content."""
        idle = self._idle.setdefault((*shape, np.dtype(dtype).str), [])
        try:
            buffer = idle.pop()
        except IndexError:
            buffer = np.empty(tuple(shape), dtype)
        return np.asarray(_Lease(buffer, idle))


class _Lease:
    """The base object of an array and all its views; deleted with the last of them, it returns the buffer."""

    def __init__(self, buffer: NDArray[Any], idle: list[NDArray[Any]]) -> None:
        self._buffer = buffer
        self._idle = idle
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self) -> None:
        if len(self._idle) < _IDLE:
            self._idle.append(self._buffer)
