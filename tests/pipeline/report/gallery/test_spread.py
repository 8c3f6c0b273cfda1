"""The samples in a gallery: all, or `limit` of them, spread evenly over the plan."""

import itertools

import pytest

from spatialdata_builder.pipeline.report.gallery.spread import RUN, by_unit, spread


@pytest.mark.parametrize("samples", [1, 5, 63, 64, 1000, 20_000])
@pytest.mark.parametrize("limit", [1, 7, 64, 999, 10_000])
def test_the_number_of_samples_and_even_spread(samples: int, limit: int):
    runs = list(spread(samples, limit))
    positions = [position for run in runs for position in run]
    assert len(positions) == min(samples, limit)
    assert positions == sorted(set(positions))
    assert positions[-1] < samples
    if limit < samples:
        assert all(len(run) <= RUN for run in runs)
        gaps = [after.start - before.stop for before, after in itertools.pairwise(runs)]
        longest = samples / len(runs)
        assert all(gap <= 2 * longest for gap in [*gaps, samples - positions[-1] - 1])


@pytest.mark.parametrize(("family", "limit"), [(2, 300), (3, 64), (24, 100), (126, 1000)])
def test_runs_hold_whole_families(family: int, limit: int):
    runs = list(spread(family * 400, limit, family))
    assert sum(map(len, runs)) == limit
    assert all(run.start % family == 0 for run in runs)
    assert all(len(run) % family == 0 for run in runs[:-1])
    assert all(len(run) <= max(RUN, family) for run in runs)


def test_rows_of_units():
    runs = iter([range(3), range(6, 9), range(15, 16)])
    assert list(by_unit(runs, 4)) == [(0, [0, 1, 2]), (1, [2, 3]), (2, [0]), (3, [3])]
