"""Leaves out the samples whose crop loses the red box that their instruction asks for.

Invariant: such a sample keeps its place in the order and is only not valid. So the samples of a step do not change, and
depend neither on processes nor on batch size.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from ..recipe import Batch, Batches
from ..wrapped import WrappedBatches
from .pictures import loses_box


class BoxedStream(WrappedBatches):
    """A stream with records, in which a sample that loses its box when fitted to `side` pixels is not valid."""

    def __init__(self, stream: Batches, side: int) -> None:
        super().__init__(stream)
        self._side = side
        self._lost: set[str] = set()

    @property
    def lost(self) -> frozenset[str]:
        """Keys of the samples that lost their box, of those drawn so far by this process. The shards' index has no
        boxes, so samples that were not drawn are not known."""
        return frozenset(self._lost)

    def batches(self, size: int, *, epochs: int | None = 1, accumulate: int = 1) -> Generator[Mapping[str, Any]]:
        with closing(self._stream.batches(size, epochs=epochs, accumulate=accumulate)) as batches:
            for batch in batches:
                yield self._marked(batch)

    def pick(self, keys: Sequence[str]) -> Mapping[str, Any]:
        return self._marked(self._stream.pick(keys))

    def _marked(self, batch: Batch) -> Batch:
        height, width = batch["source"].shape[1:3]
        lost = np.array([loses_box(record, height, width, self._side) for record in batch["record"]])
        self._lost.update(key for key, each in zip(batch["key"], lost, strict=True) if each)
        return {**batch, "valid": batch["valid"] & ~lost}
