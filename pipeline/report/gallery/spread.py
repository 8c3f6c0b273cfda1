"""Which samples a gallery shows where not all of them fit: short runs of neighbours, evenly over the whole.

Runs and not single samples, since a row of a layer file is read with its neighbours.
"""

from collections.abc import Iterator
from typing import Final

RUN: Final = 16
"""Samples that follow each other, at most: the rows that a layer file keeps together."""
PLACES: Final = 64
"""Places that are looked at, at least, where there are as many."""


def spread(samples: int, limit: int) -> Iterator[range]:
    """Runs of positions in `range(samples)`, in order: `limit` positions in all, or all that there are."""
    if limit >= samples:
        yield range(samples)
        return
    size = max(1, min(RUN, limit // PLACES))
    runs, wanted = -(-samples // size), -(-limit // size)
    left = limit
    for index in range(min(wanted, runs)):
        start = index * runs // wanted * size
        run = range(start, min(start + size, samples, start + left))
        left -= len(run)
        yield run


def by_unit(runs: Iterator[range], unit_size: int) -> Iterator[tuple[int, list[int]]]:
    """The same positions as rows of units: unit, its rows in order."""
    unit, rows = -1, list[int]()
    for run in runs:
        for position in run:
            if position // unit_size != unit:
                if rows:
                    yield unit, rows
                unit, rows = position // unit_size, []
            rows.append(position % unit_size)
    if rows:
        yield unit, rows
