"""Iteration over an epoch: along one order, or along several, where each batch comes from one of them.

A bucket contains samples of one image size and has its own order. While any bucket has enough samples for a whole step,
all ranks read a step from one bucket. After that, each batch of a step may come from a different bucket, so that few
samples are left over; only there the samples of a step depend on the batch size. The choice of the next bucket depends
only on seed, epoch and position, with probabilities in proportion to the remaining samples. Invariant, as in
`shards.streaming.steps`: at each step all ranks have the same position, all ranks have the same number of steps, and
any world can resume from a position without repeating a sample within an epoch.
"""

from collections.abc import Generator, Sequence
from typing import Protocol

import numpy as np

from ..errors import BadInput
from .choice import Choice
from .options import StreamOptions
from .order import Order, SubsetOrder, hash_below, make_orders
from .steps import Position, Share, Step, start, steps


class Walk(Protocol):
    """The interface of both kinds of iteration."""

    length: int
    """Number of draws in an epoch."""
    begin: Position
    orders: Sequence[Order]

    def count(self, share: Share) -> int:
        """Number of steps in a whole epoch."""
        ...

    def is_position(self, position: object) -> bool:
        """Whether this is a valid position."""
        ...

    def start(self, share: Share, epoch: int, position: Position) -> tuple[int, Position]:
        """Where the next step starts: here, or at the start of the next epoch if less than a step is left."""
        ...

    def steps(self, share: Share, epoch: int, position: Position, epochs: int | None) -> Generator[Step]:
        """The rest of an epoch, and the epochs after it: `epochs` in total, or endless (None)."""
        ...


class SingleWalk:
    """Iteration along one order; a position is the number of draws so far."""

    def __init__(self, order: Order) -> None:
        self.orders: Sequence[Order] = (order,)
        self.length = order.length
        self.begin: Position = 0

    def count(self, share: Share) -> int:
        return share.count(self.length)

    def is_position(self, position: object) -> bool:
        return isinstance(position, int) and 0 <= position <= self.length

    def start(self, share: Share, epoch: int, position: Position) -> tuple[int, Position]:
        assert isinstance(position, int)
        return start(self.orders[0], share, epoch, position)

    def steps(self, share: Share, epoch: int, position: Position, epochs: int | None) -> Generator[Step]:
        assert isinstance(position, int)
        return steps(self.orders[0], share, epoch, position, epochs)


class BucketWalk:
    """Iteration along several orders; a position is the number of draws so far from each.

    Args:
        stored: use the bucket whose next sample is first in the sets, not a random one.
    """

    def __init__(self, orders: Sequence[Order], seed: int, *, stored: bool) -> None:
        self.orders: Sequence[Order] = tuple(orders)
        self.length = sum(order.length for order in orders)
        self.begin: Position = (0,) * len(orders)
        self._seed = seed
        self._stored = stored

    def count(self, share: Share) -> int:
        global_size, size = share.global_size, share.size
        remainders = [order.length % global_size for order in self.orders]
        batches = sum(-(-remainder // size) if share.pad else remainder // size for remainder in remainders)
        whole = sum(order.length // global_size for order in self.orders)
        return whole + (-(-batches // share.batches) if share.pad else batches // share.batches)

    def is_position(self, position: object) -> bool:
        return (
            isinstance(position, list | tuple)
            and len(position) == len(self.orders)  # pyright: ignore[reportUnknownArgumentType]
            and all(
                isinstance(drawn, int) and 0 <= drawn <= order.length
                for drawn, order in zip(position, self.orders, strict=True)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
            )
        )

    def start(self, share: Share, epoch: int, position: Position) -> tuple[int, Position]:
        assert isinstance(position, tuple)
        return (epoch, position) if self._assign(share, epoch, position) else (epoch + 1, self.begin)

    def steps(self, share: Share, epoch: int, position: Position, epochs: int | None) -> Generator[Step]:
        while epochs is None or epochs > 0:
            assert isinstance(position, tuple)
            while assigned := self._assign(share, epoch, position):
                next_position = list(position)
                for other, begin, pads in assigned:
                    if not pads:
                        end = min(begin + share.size, self.orders[other].length)
                        next_position[other] = max(next_position[other], end)
                before, position = position, tuple(next_position)
                for index, number in enumerate(share.own):
                    end = position if index == share.accumulate - 1 else before
                    yield self._step(share, epoch, *assigned[number], end)
            epoch, position = epoch + 1, self.begin
            epochs = None if epochs is None else epochs - 1

    def _step(self, share: Share, epoch: int, bucket: int, first: int, is_padding: bool, position: Position) -> Step:
        order = self.orders[bucket]
        wanted = first + np.arange(share.size)
        numbers = order.draw(epoch, wanted % order.length).tolist()
        return Step(epoch, numbers, (wanted < order.length) & (not is_padding), position, bucket)

    def _assign(self, share: Share, epoch: int, position: tuple[int, ...]) -> list[tuple[int, int, bool]]:
        """The batches of the next step, of all ranks: bucket, first draw, and whether the batch is only padding.

        Empty where less than a step is left.
        """
        left = [order.length - drawn for order, drawn in zip(self.orders, position, strict=True)]
        whole = [bucket for bucket, count in enumerate(left) if count >= share.global_size]
        if whole:
            bucket = self._next(epoch, position, left, whole)
            return [(bucket, position[bucket] + number * share.size, False) for number in range(share.batches)]
        assigned: list[tuple[int, int, bool]] = []
        for _ in range(share.batches):
            bucket = max(range(len(left)), key=lambda bucket: (left[bucket], -bucket))
            if left[bucket] < (1 if share.pad else share.size):
                break
            assigned.append((bucket, self.orders[bucket].length - left[bucket], False))
            left[bucket] -= min(share.size, left[bucket])
        if not assigned or (len(assigned) < share.batches and not share.pad):
            return []
        return assigned + [(assigned[0][0], 0, True)] * (share.batches - len(assigned))

    def _next(self, epoch: int, position: tuple[int, ...], left: Sequence[int], candidates: Sequence[int]) -> int:
        if self._stored:
            return min(candidates, key=lambda i: int(self.orders[i].draw(epoch, np.array([position[i]]))[0]))
        ends = np.cumsum([left[bucket] for bucket in candidates])
        number = hash_below(int(ends[-1]), self._seed, epoch, *position)
        return candidates[int(np.searchsorted(ends, number, side="right"))]


def make_walk(choice: Choice, weights: Sequence[float] | None, options: StreamOptions) -> Walk:
    """Iteration along one order, or one per bucket of one size. Raises BadInput for a weighted set without samples."""
    if weights and not all(sum(sum(bucket.counts[i]) for bucket in choice.buckets) for i in range(len(weights))):
        raise BadInput("a weighted set has no sample to draw: leave the set out, or use another recipe")
    counts, families = [bucket.counts for bucket in choice.buckets], [bucket.families for bucket in choice.buckets]
    made = make_orders(counts, weights, options.order, options.seed, families)
    orders = [
        order if bucket.numbers is None else SubsetOrder(order, bucket.numbers)
        for order, bucket in zip(made, choice.buckets, strict=True)
    ]
    if options.buckets:
        return BucketWalk(orders, options.seed, stored=options.order == "stored")
    return SingleWalk(orders[0])
