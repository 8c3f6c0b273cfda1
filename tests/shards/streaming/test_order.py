"""The order is a permutation, depends only on its key, and keeps proportions exactly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialdata_builder.shards.streaming.order import Permutation, UnweightedOrder, WeightedOrder, make_order

FIRST = [2, 5, 8, 3, 4, 0, 1, 7, 9, 6]
MIXED = [4, 7, 5, 2, 0, 1, 3, 2, 0, 3, 4, 1]


@given(st.integers(1, 5000), st.integers(0, 2**40), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_permutation_contains_every_number_once(n: int, seed: int, epoch: int):
    found = Permutation(n, seed, epoch)(np.arange(n))
    assert sorted(found.tolist()) == list(range(n))


def test_orders_do_not_change_between_versions():
    """A state saved by an older version must select the same samples: these numbers must never change."""
    assert Permutation(10, 7, 3)(np.arange(10)).tolist() == FIRST
    mixed = make_order([[5], [3, 2]], [3.0, 1.0], "global", 1)
    assert mixed.draw(0, np.arange(12)).tolist() == MIXED


@pytest.mark.slow
def test_a_permutation_looks_random():
    """The mean distance of neighbors is as for random draws, and all positions are equally likely."""
    n = 20_000
    found = Permutation(n, 1, 0)(np.arange(n))
    distance = np.abs(np.diff(found)).mean()
    assert abs(distance / (n / 3) - 1) < 0.03  # the mean distance of two uniform draws
    counts = np.zeros((10, 10))
    for seed in range(2000):
        counts[np.arange(10), Permutation(10, seed, 0)(np.arange(10))] += 1
    chi2 = ((counts - 200) ** 2 / 200).sum()
    assert chi2 < 81 + 4 * np.sqrt(2 * 81)


def test_epochs_and_seeds_differ():
    orders = {tuple(Permutation(50, seed, epoch)(np.arange(50))) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_shard_order_reads_each_shard_sequentially():
    counts = (4, 1, 7, 3)
    order = UnweightedOrder(counts, "shard", 5)
    firsts = np.cumsum([0, *counts[:-1]])
    runs = {tuple(range(first, first + count)) for first, count in zip(firsts, counts, strict=True)}
    for epoch in range(4):
        drawn = order.draw(epoch, np.arange(order.length)).tolist()
        assert sorted(drawn) == list(range(15))
        found, rest = [], drawn
        while rest:
            run = next(run for run in runs if tuple(rest[: len(run)]) == run)
            found.append(run)
            rest = rest[len(run) :]
        assert set(found) == runs
    assert order.draw(0, np.arange(15)).tolist() != order.draw(1, np.arange(15)).tolist()


@pytest.mark.parametrize("weights", [[1.0, 3.0], [0.2, 0.5, 0.3], [1e-6, 1.0]])
def test_a_mixture_keeps_its_proportions_and_omits_no_sample(weights: list[float]):
    sizes = [37, 11, 23][: len(weights)]
    order = make_order([[size] for size in sizes], weights, "global", 3)
    assert isinstance(order, WeightedOrder)
    drawn = order.draw(0, np.arange(1000)).tolist()
    ends = np.cumsum(sizes)
    owners = Counter(int(np.searchsorted(ends, sample, side="right")) for sample in drawn)
    for i, weight in enumerate(weights):
        assert abs(owners[i] - 1000 * weight / sum(weights)) <= 1
        # Each set has its own epochs: no sample occurs twice before all have occurred once.
        first = 0 if i == 0 else int(ends[i - 1])
        mine = [sample - first for sample in drawn if first <= sample < ends[i]]
        for start in range(0, len(mine) - sizes[i] + 1, sizes[i]):
            assert sorted(mine[start : start + sizes[i]]) == list(range(sizes[i]))
    assert order.draw(1, np.arange(5)).tolist() == order.draw(0, order.length + np.arange(5)).tolist()
