"""Near-neighbor search: equal to brute force, and a million hashes in bounded time and memory."""

import time
import tracemalloc

import numpy as np
import pytest

from spatialdata_builder.pipeline.packing.hamming import U64, distances, first_near, first_twins, parse_hashes


def hashes_with_twins(count: int, twins: int, flips: int, seed: int = 0) -> tuple[U64, np.ndarray, np.ndarray]:
    """Random hashes, and positions of originals and of their copies, in which up to `flips` bits are flipped."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, (count, 4), dtype=np.uint64)
    originals = rng.choice(count // 2, twins, replace=False)
    copies = count // 2 + rng.choice(count // 2, twins, replace=False)
    for original, copy in zip(originals, copies, strict=True):
        hashes[copy] = hashes[original]
        for bit in rng.choice(256, rng.integers(0, flips + 1), replace=False):
            hashes[copy, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return hashes, originals, copies


def first_of(close: np.ndarray) -> np.ndarray:
    """Position of the first true column of each row; -1 if there is none."""
    return np.where(close.any(axis=1), close.argmax(axis=1), -1)


def all_distances(first: U64, second: U64) -> np.ndarray:
    return np.bitwise_count(first[:, None] ^ second[None]).sum(axis=2)


def test_parse_hashes():
    texts = [f"{value:064x}" for value in (0, 1, 2**255, 2**64 + 5)]
    assert parse_hashes(texts).tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [2**63, 0, 0, 0], [0, 0, 1, 5]]
    assert parse_hashes([]).shape == (0, 4)
    assert distances(parse_hashes(["0" * 64]), parse_hashes(["f" * 64])).tolist() == [256]


@pytest.mark.parametrize("limit", [0, 1, 3, 12, 16])
def test_results_equal_brute_force(limit: int):
    hashes, _, _ = hashes_with_twins(1200, 400, 20)
    close = all_distances(hashes, hashes) <= limit
    earlier = first_of(close & np.tri(len(hashes), k=-1, dtype=bool))
    assert first_near(hashes[500:], hashes[:500], limit).tolist() == first_of(close[500:, :500]).tolist()
    found = first_twins([hashes], [limit])
    assert ((found >= 0) == (earlier >= 0)).all()
    roots = earlier.copy()
    while (chained := (roots >= 0) & (earlier[roots] >= 0)).any():
        roots[chained] = earlier[roots[chained]]
    assert found.tolist() == roots.tolist()


def test_a_twin_is_near_in_all_hashes():
    first, _, _ = hashes_with_twins(600, 300, 8, seed=1)
    second, _, _ = hashes_with_twins(600, 300, 30, seed=1)
    close = (all_distances(first, first) <= 6) & (all_distances(second, second) <= 14)
    expected = (close & np.tri(600, k=-1, dtype=bool)).any(axis=1)
    assert 10 < expected.sum() < 290
    assert ((first_twins([first, second], [6, 14]) >= 0) == expected).all()


def test_equal_rows_have_the_first_as_their_twin():
    hashes = np.zeros((50_000, 4), np.uint64)  # more than a billion pairs
    assert first_twins([hashes, hashes], [12, 12]).tolist() == [-1] + [0] * 49_999
    assert set(first_near(hashes, hashes, 12).tolist()) == {0}


def test_twins_are_transitive():
    chain = parse_hashes([f"{(1 << 10 * i) - 1:064x}" for i in range(6)])  # each 10 bits from the next
    assert first_twins([chain], [10]).tolist() == [-1, 0, 0, 0, 0, 0]
    assert first_twins([chain], [9]).tolist() == [-1] * 6


def test_rows_that_are_kept_apart_are_twins_only_if_they_are_equal():
    hashes = parse_hashes([f"{value:064x}" for value in (0, 1, 0, 1 << 70, 3)])
    assert first_twins([hashes], [4]).tolist() == [-1, 0, 0, 0, 0]
    assert first_twins([hashes], [4], np.array([7, 7, 7, 7, -1])).tolist() == [-1, -1, 0, -1, 0]
    assert first_twins([hashes], [4], np.array([7, 8, 7, 9, 7])).tolist() == [-1, 0, 0, 0, 0]


def test_empty_arrays():
    some, none = parse_hashes(["0" * 64]), parse_hashes([])
    assert first_near(some, none, 12).tolist() == [-1]
    assert first_near(none, some, 12).tolist() == []
    assert first_twins([none], [12]).tolist() == []


@pytest.mark.slow
def test_a_million_hashes_in_bounded_time_and_memory():
    hashes, originals, copies = hashes_with_twins(1_000_000, 2000, 12)
    tracemalloc.start()
    began = time.process_time()
    twins = first_twins([hashes, hashes, hashes], [12, 12, 24])
    seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.flatnonzero(twins >= 0).tolist() == sorted(copies.tolist())
    assert twins[copies].tolist() == originals.tolist()
    assert seconds < 20
    assert peak < 600 << 20
