"""How a stream walks through an epoch: along one order, or along several, of which each batch takes from one.

A bucket holds samples of one image size, in an order of its own. All ranks take a step from one bucket as long as any
has enough for a whole step; then each rank's batch may come from another bucket, so that little is left. Which bucket
is next follows from seed, epoch and position alone, in proportion to what is left of each.
Invariant: as for `shards.streaming.steps`: at one step all ranks stand at the same position, all have the same number
of steps, and any world can go on from a position: within an epoch no sample comes twice.
"""

from collections.abc import Generator, Sequence
from typing import Protocol

import numpy as np

from ..errors import BadInput
from .choice import Choice
from .options import StreamOptions
from .order import Chosen, Order, chance, make_orders
from .steps import Position, Share, Step, start, steps


class Walk(Protocol):
    """What the stream needs of either."""

    length: int
    """Draws of an epoch."""
    begin: Position
    orders: Sequence[Order]

    def count(self, share: Share) -> int:
        """Steps of a whole epoch."""
        ...

    def is_place(self, position: object) -> bool:
        """Whether this can be a position."""
        ...

    def start(self, share: Share, epoch: int, position: Position) -> tuple[int, Position]:
        """Where the next step is taken from: here, or at the next epoch's start where less than a step is left."""
        ...

    def steps(self, share: Share, epoch: int, position: Position, epochs: int | None) -> Generator[Step]:
        """The rest of an epoch, and the epochs after it; `epochs` in all, or without end."""
        ...


class Straight:
    """Along one order; a position is the number of draws that were had."""

    def __init__(self, order: Order) -> None:
        self.orders: Sequence[Order] = (order,)
        self.length = order.length
        self.begin: Position = 0

    def count(self, share: Share) -> int:
        return share.count(self.length)

    def is_place(self, position: object) -> bool:
        return isinstance(position, int) and 0 <= position <= self.length

    def start(self, share: Share, epoch: int, position: Position) -> tuple[int, Position]:
        assert isinstance(position, int)
        return start(self.orders[0], share, epoch, position)

    def steps(self, share: Share, epoch: int, position: Position, epochs: int | None) -> Generator[Step]:
        assert isinstance(position, int)
        return steps(self.orders[0], share, epoch, position, epochs)


class Buckets:
    """Along several orders; a position is the number of draws that were had of each.

    Args:
        stored: take the bucket whose next sample comes first in the sets, not one by chance.
    """

    def __init__(self, orders: Sequence[Order], seed: int, *, stored: bool) -> None:
        self.orders: Sequence[Order] = tuple(orders)
        self.length = sum(order.length for order in orders)
        self.begin: Position = (0,) * len(orders)
        self._seed = seed
        self._stored = stored

    def count(self, share: Share) -> int:
        together, size = share.together, share.size
        rests = [order.length % together for order in self.orders]
        batches = sum(-(-rest // size) if share.pad else rest // size for rest in rests)
        whole = sum(order.length // together for order in self.orders)
        return whole + (-(-batches // share.world) if share.pad else batches // share.world)

    def is_place(self, position: object) -> bool:
        return (
            isinstance(position, list | tuple)
            and len(position) == len(self.orders)  # pyright: ignore[reportUnknownArgumentType]
            and all(
                isinstance(had, int) and 0 <= had <= order.length
                for had, order in zip(position, self.orders, strict=True)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
            )
        )

    def start(self, share: Share, epoch: int, position: Position) -> tuple[int, Position]:
        assert isinstance(position, tuple)
        return (epoch, position) if self._taken(share, epoch, position) else (epoch + 1, self.begin)

    def steps(self, share: Share, epoch: int, position: Position, epochs: int | None) -> Generator[Step]:
        while epochs is None or epochs > 0:
            assert isinstance(position, tuple)
            while taken := self._taken(share, epoch, position):
                bucket, first, fills = taken[share.rank]
                behind = list(position)
                for other, begun, filling in taken:
                    if not filling:
                        behind[other] = max(behind[other], min(begun + share.size, self.orders[other].length))
                position = tuple(behind)
                yield self._step(share, epoch, bucket, first, fills, position)
            epoch, position = epoch + 1, self.begin
            epochs = None if epochs is None else epochs - 1

    def _step(self, share: Share, epoch: int, bucket: int, first: int, fills: bool, position: Position) -> Step:
        order = self.orders[bucket]
        wanted = first + np.arange(share.size)
        numbers = order.draw(epoch, wanted % order.length).tolist()
        return Step(epoch, numbers, (wanted < order.length) & (not fills), position, bucket)

    def _taken(self, share: Share, epoch: int, position: tuple[int, ...]) -> list[tuple[int, int, bool]]:
        """What the ranks take in the next step, in turn: bucket, first draw, and whether it only fills the step.

        Empty where less than a step is left.
        """
        left = [order.length - had for order, had in zip(self.orders, position, strict=True)]
        whole = [bucket for bucket, rest in enumerate(left) if rest >= share.together]
        if whole:
            bucket = self._next(epoch, position, left, whole)
            return [(bucket, position[bucket] + rank * share.size, False) for rank in range(share.world)]
        taken: list[tuple[int, int, bool]] = []
        for _ in range(share.world):
            bucket = max(range(len(left)), key=lambda bucket: (left[bucket], -bucket))
            if left[bucket] < (1 if share.pad else share.size):
                break
            taken.append((bucket, self.orders[bucket].length - left[bucket], False))
            left[bucket] -= min(share.size, left[bucket])
        if not taken or (len(taken) < share.world and not share.pad):
            return []
        return taken + [(taken[0][0], 0, True)] * (share.world - len(taken))

    def _next(self, epoch: int, position: tuple[int, ...], left: Sequence[int], among: Sequence[int]) -> int:
        if self._stored:
            return min(among, key=lambda bucket: int(self.orders[bucket].draw(epoch, np.array([position[bucket]]))[0]))
        ends = np.cumsum([left[bucket] for bucket in among])
        drawn = chance(int(ends[-1]), self._seed, epoch, *position)
        return among[int(np.searchsorted(ends, drawn, side="right"))]


def make_walk(choice: Choice, weights: Sequence[float] | None, options: StreamOptions) -> Walk:
    """Along one order, or one for each bucket of image sizes. Raises BadInput for a weighted set without samples."""
    if weights and not all(sum(sum(bucket.counts[i]) for bucket in choice.buckets) for i in range(len(weights))):
        raise BadInput("a weighted set has no sample that is drawn: leave it out, or choose another recipe")
    counts = [bucket.counts for bucket in choice.buckets]
    orders = [
        order if bucket.numbers is None else Chosen(order, bucket.numbers)
        for order, bucket in zip(make_orders(counts, weights, options.order, options.seed), choice.buckets, strict=True)
    ]
    return Buckets(orders, options.seed, stored=options.order == "stored") if options.buckets else Straight(orders[0])
