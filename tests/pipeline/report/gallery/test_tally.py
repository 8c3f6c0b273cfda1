"""Bins agree with numpy's histogram, plus one at each end; unknown values are not binned."""

import numpy as np
import pytest

from spatialdata_builder.pipeline.report.gallery.facts import Facts
from spatialdata_builder.pipeline.report.gallery.measures import MEASURES
from spatialdata_builder.pipeline.report.gallery.samples import ACCEPTED, REJECTED, STATES, WAITING, GallerySample
from spatialdata_builder.pipeline.report.gallery.tally import Spread, Tally


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_bins(measure):
    low, high = measure.edges[0], measure.edges[-1]
    values = np.random.default_rng(0).uniform(low - (high - low) / 5, high + (high - low) / 5, 20_000)
    values = np.concatenate([values, measure.edges])
    spread = Spread(measure)
    for value in values.tolist():
        spread.add(REJECTED, value)
    counts = spread.counts[REJECTED]
    assert counts[1:-1] == np.histogram(values, measure.edges)[0].tolist()
    assert (counts[0], counts[-1]) == ((values < low).sum(), (values > high).sum())
    assert sum(spread.counts[ACCEPTED]) == sum(spread.counts[WAITING]) == 0
    assert all(low <= tick <= high for tick in measure.ticks)
    assert list(measure.edges) == sorted(set(measure.edges))


def test_unknown_values_are_counted_and_not_binned():
    spread = Spread(MEASURES[0])
    for value in (None, float("nan"), 0.0):
        spread.add(ACCEPTED, value)
    assert spread.unknown == [2, 0, 0]
    assert sum(spread.counts[ACCEPTED]) == 1


def test_round_numbers_are_in_the_middle_of_their_bins():
    by_name = {measure.name: measure for measure in MEASURES}
    for name, value in {"rotation": 45, "scale": 1, "zoom": 2, "pitch": -15, "words": 12, "yaw": 180}.items():
        edges = by_name[name].edges
        (index,) = by_name[name].bins_of([value]).tolist()
        assert edges[index - 1] < value < edges[index]


def test_samples_without_a_pair_count_only_as_planned():
    tally = Tally()
    facts = Facts("remove", "mug", "red", "depth renderer", {"words": 5.0})
    camera = Facts("camera", None, "", "no depth", {"yaw": 45.0})
    tally.add(
        [
            GallerySample("remove", "train", ACCEPTED, facts),
            GallerySample("remove", "train", REJECTED, facts),
            GallerySample("remove", "test", REJECTED, None),
            GallerySample("camera", "val", WAITING, camera),
        ]
    )
    found = tally.to_json()
    assert found["samples"] == dict(zip(STATES, (1, 2, 1), strict=True))
    assert found["pairs"] == dict(zip(STATES, (1, 1, 1), strict=True))
    assert found["categories"] == [{"name": "mug", "accepted": 1, "pairs": 2}]
    assert found["coverage"] == [{"edit": "remove", "category": "mug", "depth": "depth renderer", "accepted": 1}]
    assert {"edit": "remove", "split": "test", "accepted": 0, "planned": 1} in found["edits_by_split"]
    assert sum(found["histograms"]["yaw"]["counts"]["waiting"]) == 1
