"""The order of samples: computed from (seed, epoch, position), never stored.

Invariant: the order depends only on seed, epoch and the sets, not on ranks, threads or machines; within an epoch every
sample of an unweighted stream occurs exactly once, or exactly one of each family. So a state is two numbers, and any
world size can resume from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
OrderName = Literal["global", "shard", "stored"]

_ROUNDS: Final = 6
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MEMBERS: Final = 2
"""Separates the random numbers that choose a sample of a family from those of the order."""
_BLOCK: Final = 1000
"""Number of draws in which a weighted stream has its exact proportions: weights are rounded to thousandths."""


def mix(values: U64) -> U64:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that scatters 64-bit integers."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hash(*numbers: int) -> np.uint64:
    state = np.zeros(1, np.uint64)
    for number in numbers:
        state = mix(state + np.uint64(number % (1 << 64)) + _GOLDEN)
    return state[0]


def hash_below(n: int, *numbers: int) -> int:
    """A pseudo-random number in 0..n-1, uniformly distributed, that depends only on `numbers`."""
    return int(_hash(*numbers)) % n


class Permutation:
    """A pseudo-random permutation of 0..n-1 in constant memory: a Feistel network with cycle walking.

    (Luby and Rackoff 1988; Black and Rogaway 2002, section 3.) Equal keys give equal permutations on every machine.
    """

    def __init__(self, n: int, *key: int) -> None:
        self.n = n
        self._half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
        self._mask = (np.uint64(1) << self._half) - np.uint64(1)
        self._keys = [_hash(*key, n, turn) for turn in range(_ROUNDS)]

    def __call__(self, positions: I64) -> I64:
        """The elements at these positions (any shape, each in 0..n-1)."""
        values = self._once(positions.astype(np.uint64))
        outside = values >= self.n
        while outside.any():  # fewer than four times on average: the network's domain is at most 4 n
            values[outside] = self._once(values[outside])
            outside = values >= self.n
        return values.astype(np.int64)

    def _once(self, values: U64) -> U64:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (mix(right + key) & self._mask)
        return (left << self._half) | right


@dataclass(frozen=True)
class UnweightedOrder:
    """One pass over all samples per epoch: shuffled globally, shard by shard in shuffled order, or as stored."""

    counts: tuple[int, ...]
    """Number of samples in each shard."""
    kind: OrderName
    seed: int

    @cached_property
    def length(self) -> int:
        """Number of draws in one epoch."""
        return sum(self.counts)

    @property
    def samples(self) -> int:
        """Number of samples that epochs have together."""
        return self.length

    def draw(self, epoch: int, positions: I64) -> I64:
        """The samples at these positions of an epoch, as numbers 0..samples-1 over all shards."""
        if self.kind == "stored":
            return positions
        if self.kind == "global":
            return Permutation(self.length, self.seed, epoch)(positions)
        shards, ends, firsts = _shard_order(self.counts, self.seed, epoch)
        turn = np.searchsorted(ends, positions, side="right")
        return positions - (ends[turn] - np.asarray(self.counts)[shards[turn]]) + firsts[shards[turn]]


@lru_cache(maxsize=4)
def _shard_order(counts: tuple[int, ...], seed: int, epoch: int) -> tuple[I64, I64, I64]:
    """Shards in the epoch's order, the position where each of them ends, and each shard's first sample."""
    sizes = np.asarray(counts, np.int64)
    shards = Permutation(len(counts), seed, epoch)(np.arange(len(counts)))
    return shards, np.cumsum(sizes[shards]), np.cumsum(sizes) - sizes


@dataclass(frozen=True)
class FamilyOrder:
    """One sample of each family per epoch, and another one in the next: all n of a family in every n epochs."""

    of: UnweightedOrder
    """The order of the families."""
    sizes: I64
    """(families,): number of samples of each family. Samples are numbered family by family."""

    @property
    def length(self) -> int:
        return self.of.length

    @property
    def samples(self) -> int:
        return int(self.sizes.sum())

    def draw(self, epoch: int, positions: I64) -> I64:
        """Like `UnweightedOrder.draw`. The sample depends on seed, epoch and family, not on the position."""
        families = self.of.draw(epoch, positions)
        start = mix(families.astype(np.uint64) * _GOLDEN + _hash(self.of.seed, _MEMBERS))
        sizes = self.sizes[families]
        turn = ((start % sizes.astype(np.uint64)).astype(np.int64) + epoch) % sizes
        return self._firsts[families] + turn

    @cached_property
    def _firsts(self) -> I64:
        return np.cumsum(self.sizes) - self.sizes


@dataclass(frozen=True)
class WeightedOrder:
    """Several streams in given proportions, exact over every `_BLOCK` draws; each stream has its own epochs.

    An epoch has as many draws as it takes on average to see every set completely once.
    """

    parts: tuple[UnweightedOrder | FamilyOrder, ...]
    weights: tuple[float, ...]
    seed: int
    draws: int = 0
    """Number of draws in one epoch; 0: derived from the parts."""

    @cached_property
    def length(self) -> int:
        if self.draws:
            return self.draws
        quotas = _quotas(self.weights)
        return max(-(-part.length * _BLOCK // quota) for part, quota in zip(self.parts, quotas, strict=True))

    def draw(self, epoch: int, positions: I64) -> I64:
        """Like `UnweightedOrder.draw`, as numbers over the shards of all sets."""
        blocks, slots = np.divmod(positions + epoch * self.length, _BLOCK)
        owners, counts = np.empty_like(blocks), np.empty_like(blocks)
        for block in np.unique(blocks).tolist():
            here = blocks == block
            owner_of, before = _slots(self.weights, self.seed, block)
            owners[here], counts[here] = owner_of[slots[here]], before[slots[here]]
        counts += blocks * np.asarray(_quotas(self.weights))[owners]
        found, first = np.empty_like(blocks), 0
        for i, part in enumerate(self.parts):
            indices = np.flatnonzero(owners == i)
            epochs, places = np.divmod(counts[indices], part.length)
            for each in np.unique(epochs).tolist():
                now = epochs == each
                found[indices[now]] = first + part.draw(each, places[now])
            first += part.samples
        return found


@dataclass(frozen=True)
class SubsetOrder:
    """An order over a subset of the samples."""

    of: UnweightedOrder | FamilyOrder | WeightedOrder
    numbers: I64
    """For each sample in `of`, its number over all shards."""

    @property
    def length(self) -> int:
        return self.of.length

    def draw(self, epoch: int, positions: I64) -> I64:
        """Like `UnweightedOrder.draw`."""
        return self.numbers[self.of.draw(epoch, positions)]


Order = UnweightedOrder | FamilyOrder | WeightedOrder | SubsetOrder
"""An endless sequence of sample numbers, epoch after epoch."""


@lru_cache(maxsize=64)
def _quotas(weights: tuple[float, ...]) -> tuple[int, ...]:
    """Number of draws from each set in a block, by largest remainder; at least one for a weight above 0."""
    shares = np.asarray(weights) / sum(weights) * _BLOCK
    quotas = np.maximum(np.floor(shares).astype(int), (shares > 0).astype(int))
    while quotas.sum() < _BLOCK:
        quotas[np.argmax(shares - quotas)] += 1
    while quotas.sum() > _BLOCK:
        quotas[np.argmin(np.where(quotas > 1, shares - quotas, np.inf))] -= 1
    return tuple(quotas.tolist())


@lru_cache(maxsize=16)
def _slots(weights: tuple[float, ...], seed: int, block: int) -> tuple[I64, I64]:
    """For each slot of a block: the set that it draws from, and how often that set was drawn earlier in the block."""
    quotas = _quotas(weights)
    owners = np.repeat(np.arange(len(quotas)), quotas)[Permutation(_BLOCK, seed, block, 1)(np.arange(_BLOCK))]
    before = np.empty(_BLOCK, np.int64)
    for owner in range(len(quotas)):
        mask = owners == owner
        before[mask] = np.arange(int(mask.sum()))
    return owners, before


def make_order(
    counts: Sequence[Sequence[int]],
    weights: Sequence[float] | None,
    kind: OrderName,
    seed: int,
    draws: int = 0,
    families: Sequence[I64] = (),
) -> UnweightedOrder | FamilyOrder | WeightedOrder:
    """The order over sets of shards with these sample counts. Raises BadInput for more than `_BLOCK` weighted sets.

    Args:
        draws: number of draws in an epoch of weighted sets; 0: until every set was seen completely.
        families: sizes of the families of each set; then `counts` counts families. Empty: all samples are drawn.
    """
    if weights is not None and len(weights) > _BLOCK:
        raise BadInput(
            f"{len(weights)} weighted sets: at most {_BLOCK} are possible, since weights are rounded to thousandths"
        )
    if weights is None:
        return _unweighted([count for shards in counts for count in shards], kind, seed, families)
    parts = tuple(_unweighted(shards, kind, seed + 7919 * i, families[i : i + 1]) for i, shards in enumerate(counts))
    return WeightedOrder(parts, tuple(float(weight) for weight in weights), seed, draws)


def _unweighted(
    counts: Sequence[int], kind: OrderName, seed: int, families: Sequence[I64]
) -> UnweightedOrder | FamilyOrder:
    order = UnweightedOrder(tuple(counts), kind, seed)
    return FamilyOrder(order, np.concatenate(families)) if families else order


def make_orders(
    buckets: Sequence[Sequence[Sequence[int]]],
    weights: Sequence[float] | None,
    kind: OrderName,
    seed: int,
    families: Sequence[Sequence[I64]],
) -> list[UnweightedOrder | FamilyOrder | WeightedOrder]:
    """The order of each bucket over its samples of the sets' shards. A single bucket contains all samples.

    The proportions of weighted sets hold over all buckets together: a bucket's share of a set's draws is its share of
    the set's samples (or families). Raises BadInput like `make_order`, and for a weighted set without samples.

    Args:
        families: of each bucket, as in `make_order`.
    """
    if weights is None or len(buckets) == 1:
        return [
            make_order(counts, weights, kind, seed, families=sizes)
            for counts, sizes in zip(buckets, families, strict=True)
        ]
    held = np.array([[sum(shards) for shards in counts] for counts in buckets], float)
    shares = held / held.sum(axis=0) * (np.asarray(weights) / sum(weights))
    whole = make_order([[int(samples)] for samples in held.sum(axis=0)], weights, kind, seed).length
    lengths = np.maximum(1, np.ceil(whole * shares.sum(axis=1))).astype(int)
    return [
        make_order(counts, share.tolist(), kind, seed, int(length), sizes)
        for counts, share, length, sizes in zip(buckets, shares, lengths, families, strict=True)
    ]
