"""Choice of the samples in a gallery with a limit: short runs of consecutive samples, spread evenly. A run holds whole
families, so that the page of a family is complete.

Runs instead of single samples, because a row of a layer file is read together with its neighbors.
"""

from collections.abc import Iterator
from typing import Final

RUN: Final = 16
"""Maximum length of a run, unless a family is longer: the rows in one row group of a layer file."""
PLACES: Final = 64
"""Minimum number of runs, if there are enough samples."""


def spread(samples: int, limit: int, family: int = 1) -> Iterator[range]:
    """Runs of positions in `range(samples)`, in order: `limit` positions in total, or all if there are fewer.

    Args:
        family: number of consecutive samples that share a scene; only the last run may end within a family.
    """
    if limit >= samples:
        yield range(samples)
        return
    size = max(1, min(RUN, limit // PLACES) // family) * family
    runs, wanted = -(-samples // size), -(-limit // size)
    left = limit
    for index in range(min(wanted, runs)):
        start = index * runs // wanted * size
        run = range(start, min(start + size, samples, start + left))
        left -= len(run)
        yield run


def by_unit(runs: Iterator[range], unit_size: int) -> Iterator[tuple[int, list[int]]]:
    """The same positions as rows of units: (unit, its rows in order)."""
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
