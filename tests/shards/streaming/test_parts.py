"""Parts of a stream: steps, the cache of values, reused buffers, options."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.streaming.buffers import BufferPool
from spatialdata_builder.shards.streaming.handles import LazyCache
from spatialdata_builder.shards.streaming.options import StreamOptions
from spatialdata_builder.shards.streaming.order import UnweightedOrder, make_order
from spatialdata_builder.shards.streaming.steps import Share, Step, start, steps


@pytest.mark.slow
@given(
    length=st.integers(1, 60),
    position=st.integers(0, 59),
    size=st.integers(1, 7),
    world=st.integers(1, 4),
    pad=st.booleans(),
)
def test_all_ranks_have_the_same_steps_and_share_each_of_them(
    length: int, position: int, size: int, world: int, pad: bool
):
    """Compared with slices of the whole order, which do not draw in blocks."""
    order = UnweightedOrder((length,), "global", 3)
    shares = [Share(size, rank, world, pad) for rank in range(world)]
    if shares[0].min_draws > length or position > length:
        return
    first_step = start(order, shares[0], 2, position)
    assert first_step == ((2, position) if length - position >= shares[0].min_draws else (3, 0))
    ranks = [list(steps(order, share, *first_step, 2)) for share in shares]
    expected: list[tuple[int, int]] = []
    for epoch, first in (first_step, (first_step[0] + 1, 0)):
        ends = range(first + size * world, length + (size * world if pad else 1), size * world)
        expected += [(epoch, min(end, length)) for end in ends]
    for rank in ranks:
        assert [(step.epoch, step.position) for step in rank] == expected
    for rank_steps in zip(*ranks, strict=True):
        _check_slice(order, rank_steps, size * world)


def _check_slice(order: UnweightedOrder, rank_steps: tuple[Step, ...], count: int) -> None:
    whole = order.draw(rank_steps[0].epoch, np.arange(order.length)).tolist()
    valid = [bool(each) for step in rank_steps for each in step.valid]
    numbers = [number for step in rank_steps for number in step.numbers]
    real = sum(valid)
    end = rank_steps[0].position
    assert valid == [True] * real + [False] * (count - real)
    assert numbers[:real] == whole[end - real : end]
    assert numbers[real:] == [whole[i % order.length] for i in range(end, end + count - real)]


@pytest.mark.parametrize("kind", ["global", "shard"])
@pytest.mark.parametrize("weights", [None, [0.3, 0.7]])
def test_drawing_ahead_changes_nothing(kind: Any, weights: list[float] | None):
    order = make_order([[300, 41], [1500]], weights, kind, 1)
    positions = np.arange(min(order.length, 2000))
    one_by_one = [int(order.draw(1, positions[i : i + 1])[0]) for i in range(0, len(positions), 37)]
    assert order.draw(1, positions)[::37].tolist() == one_by_one
    drawn = [number for step in steps(order, Share(10, 0, 1, True), 1, 0, 1) for number in step.numbers]
    assert drawn[: len(positions)] == order.draw(1, positions).tolist()


def test_a_value_is_created_once_for_many_threads():
    created: list[int] = []
    asked: list[int] = []
    all_asked = threading.Event()

    def make(number: int) -> list[int]:
        created.append(number)
        assert all_asked.wait(30)
        return [number]

    cache = LazyCache(make, len, 3)

    def ask(thread: int) -> list[int]:
        asked.append(thread)
        if len(asked) == 8:
            all_asked.set()
        return cache(7)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert created == [7]
    assert all(value is found[0] for value in found)


def test_the_least_recently_used_value_is_evicted_and_errors_are_not_cached():
    created: list[int] = []

    def make(number: int) -> int:
        created.append(number)
        if number < 0:
            raise KeyError(number)
        return number

    cache = LazyCache(make, lambda value: 1, 2)
    for number in (1, 2, 1, 3, 1, 2):
        assert cache(number) == number
    assert created == [1, 2, 3, 2]
    for _ in range(2):
        with pytest.raises(KeyError):
            cache(-1)
    assert created[4:] == [-1, -1]
    cache.drop(lambda value: value == 2)
    cache(1), cache(2)
    assert created[6:] == [2]


def test_a_buffer_is_reused_after_its_last_view_is_deleted():
    pool = BufferPool()
    array = pool((4, 3), np.float32)
    address = array.ctypes.data
    row, flat = array[1:], array[2:].reshape(-1)
    row[:] = 1
    del array
    others = [pool((4, 3), np.float32) for _ in range(3)]
    for other in others:
        other[:] = 2
    assert (row == 1).all()
    del row
    assert pool((4, 3), np.float32).ctypes.data != address
    assert (flat == 1).all()
    del flat
    assert pool((4, 3), np.float32).ctypes.data == address
    assert pool((4, 3), np.bool_).dtype == np.bool_


def test_options_accept_numpy_integers_lists_and_paths():
    options = StreamOptions.of({"seed": np.int64(3), "members": ["depth"], "cache": Path("/tmp/x")})
    assert (options.seed, options.members, options.cache) == (3, ("depth",), "/tmp/x")
    assert type(options.seed) is int


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"order": "random"}, "one of global, shard, stored"),
        ({"last": "padd"}, "one of drop, pad"),
        ({"on_error": "ignore"}, "one of raise, skip"),
        ({"images": "float32"}, "one of uint8, float"),
        ({"members": "depth"}, "a list of names"),
        ({"seed": "1"}, "seed must be of type int .got '1'"),
        ({"check": 1}, "check must be of type bool .got 1"),
        ({"threads": -1}, "0 or more"),
        ({"rank": 2, "world": 2}, "rank 2 of world 2"),
        ({"sead": 3}, "no option 'sead'"),
    ],
)
def test_invalid_options_are_bad_input(given: dict[str, Any], words: str):
    with pytest.raises(BadInput, match=words):
        StreamOptions.of(given)


def test_too_many_weighted_sets_are_bad_input():
    with pytest.raises(BadInput, match="at most 1000"):
        make_order([[1]] * 1001, [1.0] * 1001, "global", 0)
