"""Exact near-neighbor search among millions of 256-bit hashes, without comparing all pairs.

Two hashes that differ in at most d bits are equal in at least one of d + 1 blocks (pigeonhole principle; Norouzi,
Punjani and Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing", 2014), so only hashes that share a
block are compared. Equal hashes are compared once. Pairs are compared a few million at a time, so memory does not grow
with their number.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

WORDS = 4
"""Words of 64 bits in a hash."""
_BITS = 64 * WORDS
_PAIRS_AT_ONCE = 1 << 21
"""Pairs that are compared at once: about 100 MB."""


def parse_hashes(texts: Sequence[str]) -> U64:
    """Parse hashes of 64 hex digits into words (n, 4)."""
    return np.frombuffer(bytes.fromhex("".join(texts)), ">u8").astype(np.uint64).reshape(-1, WORDS)


def distances(first: U64, second: U64) -> I64:
    """Number of bits (n,) in which the rows of two arrays (n, words) differ."""
    return np.bitwise_count(first ^ second).sum(axis=1, dtype=np.int64)


def first_near(queries: U64, references: U64, limit: int) -> I64:
    """For each query (n, 4) the index of the first reference (m, 4) that differs in at most `limit` bits, else -1."""
    distinct, group, _ = _distinct(queries)
    others, _, first = _distinct(references)
    found = np.full(len(distinct), len(references), np.int64)
    for query, other in _near_pairs(distinct, others, limit):
        np.minimum.at(found, query, first[other])
    found[found == len(references)] = -1
    return found[group]


def first_twins(hashes: Sequence[U64], limits: Sequence[int], apart: I64 | None = None) -> I64:
    """For each row the index of the first earlier row that is near in every hash, else -1.

    Twins are transitive: if the twin of a row has itself a twin, the row gets that one. So no returned row has a twin.

    Args:
        hashes: arrays (n, 4). For speed, the first should be the one that differs most between rows.
        limits: for each array, the number of bits by which near rows may differ.
        apart: (n,) rows with the same number, if it is not negative, are near only if they are equal.
    """
    rows, group, first = _distinct(np.concatenate(hashes, axis=1))
    codes = np.full(len(first), -1, np.int64) if apart is None else apart[first]
    parts = np.split(rows, len(hashes), axis=1)
    twin = first.copy()
    for one, other in _near_pairs(parts[0], parts[0], limits[0]):
        pair = np.stack([one, other])[:, first[other] < first[one]]
        pair = pair[:, (codes[pair[0]] < 0) | (codes[pair[0]] != codes[pair[1]])]
        for part, limit in zip(parts[1:], limits[1:], strict=True):
            pair = pair[:, distances(part[pair[0]], part[pair[1]]) <= limit]
        np.minimum.at(twin, pair[0], first[pair[1]])
    twins = twin[group]
    while (further := twins[twins] != twins).any():
        twins[further] = twins[twins[further]]
    twins[twins == np.arange(len(twins))] = -1
    return twins


def _distinct(rows: U64) -> tuple[U64, I64, I64]:
    """The k distinct rows (k, words), the index (n,) of each row among them, and the first position (k,) of each."""
    order = np.lexsort(rows.T)
    ordered = rows[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    group = np.empty(len(rows), np.int64)
    group[order] = np.cumsum(new) - 1
    return ordered[new], group, order[new]


def _near_pairs(queries: U64, references: U64, limit: int) -> Iterator[tuple[I64, I64]]:
    """Yield all pairs (query, reference) at most `limit` bits apart, in batches. Some pairs occur more than once."""
    cuts = np.linspace(0, _BITS, limit + 2).astype(int)
    columns = [[np.ascontiguousarray(rows[:, word]) for word in range(WORDS)] for rows in (queries, references)]
    for start, stop in pairwise(cuts):
        for query, reference in _equal_pairs(*(_block(rows, int(start), int(stop)) for rows in (queries, references))):
            distance = np.zeros(len(query), np.uint8)
            for query_words, reference_words in zip(*columns, strict=True):
                distance += np.bitwise_count(query_words[query] ^ reference_words[reference])
                near = distance <= limit
                query, reference, distance = query[near], reference[near], distance[near]
            yield query, reference


def _block(rows: U64, start: int, stop: int) -> U64:
    """Bits start..stop of each row (n, 4) as a number; at most the first 64 of them."""
    word, offset = divmod(start, 64)
    width = min(stop - start, 64)
    bits = rows[:, word] << np.uint64(offset)
    if offset + width > 64:
        bits |= rows[:, word + 1] >> np.uint64(64 - offset)
    return bits >> np.uint64(64 - width)


def _equal_pairs(queries: U64, references: U64) -> Iterator[tuple[I64, I64]]:
    """Yield all pairs of positions with equal numbers, `_PAIRS_AT_ONCE` or all pairs of one query at a time."""
    order = np.argsort(references, kind="stable")
    positions = np.argsort(queries, kind="stable")  # consecutive queries then read the same references
    ordered: Any = references[order]
    low = np.searchsorted(ordered, queries[positions], "left")
    count = np.searchsorted(ordered, queries[positions], "right") - low
    ends = np.cumsum(count)
    first = 0
    while first < len(positions):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, "right")))
        part = count[first:last]
        begin = np.repeat(low[first:last] - (np.cumsum(part) - part), part)
        yield np.repeat(positions[first:last], part), order[begin + np.arange(len(begin))]
        first = last
