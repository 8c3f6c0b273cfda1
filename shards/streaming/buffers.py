"""Batch buffers that are allocated once and used again, as soon as nobody holds the batch any more."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Allocate = Callable[[tuple[int, ...], Any], NDArray[Any]]
_IDLE: Final = 2
"""References to a buffer that only the pool holds: its list, and the call that counts."""


class BufferPool:
    """Arrays of one shape each; a free one is handed out before a new one is made.

    Invariant: a buffer whose array (or a view, or a tensor over it) somebody still holds is never handed out: whoever
    keeps a batch keeps its pixels.

    Args:
        allocate: (shape, dtype) -> array; a GPU machine's gives pinned memory.
    """

    def __init__(self, allocate: Allocate = np.empty) -> None:
        self._allocate = allocate
        self._buffers: dict[tuple[object, ...], list[NDArray[Any]]] = {}

    def take(self, shape: Sequence[int], dtype: Any) -> NDArray[Any]:
        """An array with any content, as a view of its buffer."""
        kept = self._buffers.setdefault((*shape, np.dtype(dtype).str), [])
        for i in range(len(kept)):
            if sys.getrefcount(kept[i]) <= _IDLE:
                return kept[i][...]
        kept.append(self._allocate(tuple(shape), dtype))
        return kept[-1][...]
