"""The samples of an optimizer step are the same for every division into batches, passes and ranks."""

from collections.abc import Sequence
from itertools import islice

import numpy as np
import pytest

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.streaming.order import UnweightedOrder
from spatialdata_builder.shards.streaming.steps import Share
from spatialdata_builder.shards.streaming.walk import BucketWalk, SingleWalk, Walk
from tests.shards.factory import out_of
from tests.shards.streaming.test_buckets import make_mixed

DIVISIONS = [(8, 1, 1), (4, 2, 1), (2, 4, 1), (2, 2, 2), (1, 2, 4), (4, 1, 2)]
"""Samples of a batch, batches of a rank, ranks."""


def in_steps(walk: Walk, size: int, accumulate: int, world: int, *, pad: bool, epochs: int = 3) -> list[list[tuple]]:
    """(bucket, number, valid) of the samples of each step, over all ranks, and the position after it."""
    ranks = [
        list(walk.steps(Share(size, rank, world, pad, accumulate), 0, walk.begin, epochs)) for rank in range(world)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    assert all(len({each.position for each in row}) == 1 for row in zip(*ranks, strict=True))
    found: list[list[tuple]] = []
    for first in range(0, len(ranks[0]), accumulate):
        batches = [rank[first + part] for part in range(accumulate) for rank in ranks]
        samples = [
            (batch.bucket, number, bool(valid))
            for batch in batches
            for number, valid in zip(batch.numbers, batch.valid, strict=True)
        ]
        found.append([*samples, batches[-1].position])
    return found


@pytest.mark.parametrize("pad", [False, True])
def test_divisions_have_the_same_steps(pad: bool):
    expected = in_steps(SingleWalk(UnweightedOrder((11, 10), "global", 3)), *DIVISIONS[0], pad=pad)
    assert len(expected) == 3 * (3 if pad else 2)
    for division in DIVISIONS[1:]:
        assert in_steps(SingleWalk(UnweightedOrder((11, 10), "global", 3)), *division, pad=pad) == expected


def test_divisions_have_the_same_whole_steps_of_buckets():
    def walk() -> Walk:
        return BucketWalk([UnweightedOrder((count,), "global", 3) for count in (25, 19, 9)], 5, stored=False)

    expected = in_steps(walk(), *DIVISIONS[0], pad=False)
    assert len(expected) == 3 * 6
    for division in DIVISIONS[1:]:
        found = in_steps(walk(), *division, pad=False)
        share = Share(*division[:1], 0, division[2], False, division[1])
        assert len(found) == 3 * walk().count(share)
        for epoch in range(3):  # after the whole steps, batches of several buckets fill further ones
            count = len(found) // 3
            assert count >= 6
            assert found[epoch * count : epoch * count + 6] == expected[6 * epoch : 6 * epoch + 6]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_mixed(out_of(tmp_path_factory.mktemp("mixed")))


def keys_of(batches: Sequence[dict]) -> list[str]:
    return [key for batch in batches for key in batch["key"]]


def test_a_state_within_a_step_is_that_of_its_start(mixed: str):
    options = {"buckets": True, "seed": 4}
    whole = keys_of(list(stream(mixed, **options).batches(1, accumulate=3)))
    first = stream(mixed, **options)
    run = first.batches(1, accumulate=3)
    assert keys_of(list(islice(run, 4))) == whole[:4]
    again = stream(mixed, **options)
    again.load_state_dict(first.state_dict())
    assert keys_of(list(again.batches(1, accumulate=3))) == whole[3:]


def test_a_step_that_exceeds_an_epoch_is_an_error(mixed: str):
    with pytest.raises(BadInput, match="1 ranks x 10 batches x 2 samples exceed the 19 samples of an epoch"):
        next(stream(mixed, buckets=True).batches(2, accumulate=10))


def test_padding_is_valid_nowhere():
    *samples, _ = in_steps(SingleWalk(UnweightedOrder((5,), "stored", 0)), 2, 2, 2, pad=True, epochs=1)[0]
    assert [valid for _, _, valid in samples] == [True] * 5 + [False] * 3
    assert [number for _, number, _ in samples] == (np.arange(8) % 5).tolist()
