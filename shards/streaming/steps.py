"""Divides an order into the batches of one rank.

A step is `accumulate` batches of every rank. Invariant: at the same step all ranks have the same position and all ranks
have the same number of steps; the samples of a step depend only on their number, not on how size, accumulate and ranks
divide them. Samples are drawn many steps ahead, since drawing a thousand costs hardly more than drawing one; positions
advance step by step.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .order import Order

_DRAWN: Final = 1024
"""Number of samples that are drawn at once."""


Position = int | tuple[int, ...]
"""Number of draws so far in an epoch; one number per bucket where there are several."""


@dataclass(frozen=True)
class Step:
    """One batch of this rank, and the position of the stream after it: within a step, that of the step's start."""

    epoch: int
    numbers: list[int]
    valid: NDArray[np.bool_]
    """False for padding: samples from the start of the epoch."""
    position: Position
    """Number of draws in the epoch, over all ranks, after this batch."""
    bucket: int = 0
    """The bucket of the samples, where there are several (`shards.streaming.walk`)."""


@dataclass(frozen=True)
class Share:
    """One rank's share of each step."""

    size: int
    rank: int
    world: int
    pad: bool
    """Whether the last step of an epoch is padded; otherwise an incomplete step is dropped."""
    accumulate: int = 1
    """Batches of each rank in a step."""

    @property
    def batches(self) -> int:
        """Batches of all ranks in a step."""
        return self.world * self.accumulate

    @property
    def global_size(self) -> int:
        """Samples of all ranks in a step."""
        return self.size * self.batches

    @property
    def own(self) -> range:
        """The batches of this rank among those of a step."""
        return range(self.rank, self.batches, self.world)

    @property
    def min_draws(self) -> int:
        """Minimum number of remaining draws for another step."""
        return 1 if self.pad else self.global_size

    def count(self, draws: int) -> int:
        """Number of steps in `draws` draws."""
        return -(-draws // self.global_size) if self.pad else draws // self.global_size


def start(order: Order, share: Share, epoch: int, position: int) -> tuple[int, int]:
    """Where the next step starts: here, or at the start of the next epoch if less than a step is left."""
    return (epoch, position) if order.length - position >= share.min_draws else (epoch + 1, 0)


def steps(order: Order, share: Share, epoch: int, position: int, epochs: int | None) -> Generator[Step]:
    """The rest of an epoch, which must not be empty, and the epochs after it: `epochs` in total, or endless (None)."""
    while epochs is None or epochs > 0:
        yield from _of_epoch(order, share, epoch, position)
        epoch, position = epoch + 1, 0
        epochs = None if epochs is None else epochs - 1


def _of_epoch(order: Order, share: Share, epoch: int, position: int) -> Generator[Step]:
    length, global_size = order.length, share.global_size
    count, at_once = share.count(length - position), max(1, _DRAWN // (share.size * share.accumulate))
    offsets = np.array(share.own)[:, None] * share.size + np.arange(share.size)
    for first in range(0, count, at_once):
        starts = position + global_size * np.arange(first, min(first + at_once, count))
        wanted = starts[:, None, None] + offsets
        numbers = order.draw(epoch, (wanted % length).ravel()).reshape(wanted.shape)
        for rows, valid, begin in zip(numbers, wanted < length, starts.tolist(), strict=True):
            for index, row in enumerate(rows):
                end = begin if index < share.accumulate - 1 else min(begin + global_size, length)
                yield Step(epoch, row.tolist(), valid[index], end)
