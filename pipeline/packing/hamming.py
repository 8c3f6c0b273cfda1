"""Near neighbours among millions of 256-bit hashes, without comparing all with all.

Invariant: exact. Two hashes at most d bits apart agree in at least one of d + 1 blocks (pigeonhole; Norouzi, Punjani
and Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing", 2014), so only those that share a block are
compared. What is equal is compared once, and pairs are looked at a few million at a time: memory does not grow with
their number.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

WORDS = 4
"""Of 64 bits each in a hash."""
_BITS = 64 * WORDS
_AT_ONCE = 1 << 21
"""Pairs that are compared at once: some 100 MB."""


def parse_hashes(texts: Sequence[str]) -> U64:
    """Hashes of 64 hex digits as words (n, 4)."""
    return np.frombuffer(bytes.fromhex("".join(texts)), ">u8").astype(np.uint64).reshape(-1, WORDS)


def distances(first: U64, second: U64) -> I64:
    """In how many bits the rows of two arrays (n, words) differ."""
    return np.bitwise_count(first ^ second).sum(axis=1, dtype=np.int64)


def first_near(queries: U64, references: U64, limit: int) -> I64:
    """For each query (n, 4) the first reference (m, 4) at most `limit` bits away, else -1."""
    distinct, group, _ = _distinct(queries)
    others, _, first = _distinct(references)
    found = np.full(len(distinct), len(references), np.int64)
    for query, other in _close(distinct, others, limit):
        np.minimum.at(found, query, first[other])
    found[found == len(references)] = -1
    return found[group]


def first_twins(hashes: Sequence[U64], limits: Sequence[int]) -> I64:
    """For each row the first row before it that is near in every one of its hashes, else -1.

    Likeness is passed on: a row whose twin has a twin of its own is given that one, so what is named has none.

    Args:
        hashes: arrays (n, 4); the first is the one that differs most from row to row.
        limits: bits by which each may differ.
    """
    rows, group, first = _distinct(np.concatenate(hashes, axis=1))
    parts = np.split(rows, len(hashes), axis=1)
    twin = first.copy()
    for one, other in _close(parts[0], parts[0], limits[0]):
        pair = np.stack([one, other])[:, first[other] < first[one]]
        for part, limit in zip(parts[1:], limits[1:], strict=True):
            pair = pair[:, distances(part[pair[0]], part[pair[1]]) <= limit]
        np.minimum.at(twin, pair[0], first[pair[1]])
    twins = twin[group]
    while (further := twins[twins] != twins).any():
        twins[further] = twins[twins[further]]
    twins[twins == np.arange(len(twins))] = -1
    return twins


def _distinct(rows: U64) -> tuple[U64, I64, I64]:
    """Different rows (k, words); of each of the n rows, which one it is; of each of the k, where it first stands."""
    order = np.lexsort(rows.T)
    ordered = rows[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    group = np.empty(len(rows), np.int64)
    group[order] = np.cumsum(new) - 1
    return ordered[new], group, order[new]


def _close(queries: U64, references: U64, limit: int) -> Iterator[tuple[I64, I64]]:
    """All pairs (query, reference) at most `limit` bits apart, in portions; some more than once."""
    cuts = np.linspace(0, _BITS, limit + 2).astype(int)
    columns = [[np.ascontiguousarray(rows[:, word]) for word in range(WORDS)] for rows in (queries, references)]
    for start, stop in pairwise(cuts):
        for query, reference in _sharing(*(_block(rows, int(start), int(stop)) for rows in (queries, references))):
            apart = np.zeros(len(query), np.uint8)
            for asked, held in zip(*columns, strict=True):
                apart += np.bitwise_count(asked[query] ^ held[reference])
                near = apart <= limit
                query, reference, apart = query[near], reference[near], apart[near]
            yield query, reference


def _block(rows: U64, start: int, stop: int) -> U64:
    """Bits start..stop of each row (n, 4), of which the first 64 at most: as a number."""
    word, offset = divmod(start, 64)
    width = min(stop - start, 64)
    bits = rows[:, word] << np.uint64(offset)
    if offset + width > 64:
        bits |= rows[:, word + 1] >> np.uint64(64 - offset)
    return bits >> np.uint64(64 - width)


def _sharing(asked: U64, held: U64) -> Iterator[tuple[I64, I64]]:
    """All pairs of positions with equal numbers, `_AT_ONCE` or the equals of one number at a time."""
    order = np.argsort(held, kind="stable")
    queries = np.argsort(asked, kind="stable")  # neighbours then look at the same references
    ordered: Any = held[order]
    low = np.searchsorted(ordered, asked[queries], "left")
    count = np.searchsorted(ordered, asked[queries], "right") - low
    ends = np.cumsum(count)
    first = 0
    while first < len(queries):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _AT_ONCE, "right")))
        part = count[first:last]
        begin = np.repeat(low[first:last] - (np.cumsum(part) - part), part)
        yield np.repeat(queries[first:last], part), order[begin + np.arange(len(begin))]
        first = last
