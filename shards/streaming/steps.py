"""An order, cut into the batches of one rank.

Invariant: at the same step all ranks stand at the same position, and every rank has the same number of steps. Samples
are drawn many steps ahead, since a draw of a thousand costs hardly more than one; where a stream stands is not.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .order import Order

_DRAWN: Final = 1024
"""Samples that are drawn at once."""


Position = int | tuple[int, ...]
"""Draws of an epoch; of each bucket, where there are several."""


@dataclass(frozen=True)
class Step:
    """One batch of this rank, and where the stream stands behind it."""

    epoch: int
    numbers: list[int]
    valid: NDArray[np.bool_]
    """False for what only fills the batch: samples from the epoch's start."""
    position: Position
    """Draws of the epoch that all ranks together have had when this batch is out."""
    bucket: int = 0
    """Whose samples they are, where there are several (`shards.streaming.walk`)."""


@dataclass(frozen=True)
class Share:
    """What one rank has of each step."""

    size: int
    rank: int
    world: int
    pad: bool
    """Whether the last step of an epoch is filled; else what does not fill one is dropped."""

    @property
    def together(self) -> int:
        return self.size * self.world

    @property
    def least(self) -> int:
        """Draws that make another step."""
        return 1 if self.pad else self.together

    def count(self, draws: int) -> int:
        """Steps of so many draws."""
        return -(-draws // self.together) if self.pad else draws // self.together


def start(order: Order, share: Share, epoch: int, position: int) -> tuple[int, int]:
    """Where the next step is taken from: here, or at the next epoch's start where less than a step is left."""
    return (epoch, position) if order.length - position >= share.least else (epoch + 1, 0)


def steps(order: Order, share: Share, epoch: int, position: int, epochs: int | None) -> Generator[Step]:
    """The rest of an epoch, of which there must be some, and the epochs after it; `epochs` in all, or without end."""
    while epochs is None or epochs > 0:
        yield from _of_epoch(order, share, epoch, position)
        epoch, position = epoch + 1, 0
        epochs = None if epochs is None else epochs - 1


def _of_epoch(order: Order, share: Share, epoch: int, position: int) -> Generator[Step]:
    length, together = order.length, share.together
    count, at_once = share.count(length - position), max(1, _DRAWN // share.size)
    for first in range(0, count, at_once):
        starts = position + together * np.arange(first, min(first + at_once, count))
        wanted = starts[:, None] + share.rank * share.size + np.arange(share.size)
        numbers = order.draw(epoch, (wanted % length).ravel()).reshape(wanted.shape)
        for row, valid, begun in zip(numbers, wanted < length, starts, strict=True):
            yield Step(epoch, row.tolist(), valid, min(int(begun) + together, length))
