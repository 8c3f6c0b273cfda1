from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.evaluation.aggregate import bootstrap, differences, failures, normalized, table
from spatialdata_builder.evaluation.evaluate import Item, Judged
from spatialdata_builder.evaluation.metrics.metric import METRICS


def item(key: str, value: float | None, *, failure: str = "", other: float = 10.0, family: str = "") -> Item:
    judged = [Judged({"center_px": each}, failure if each is None else "") for each in (value, other)]
    return Item(key, "Move it.", {"kind": "translate"}, family or key, (300, 400), {"center_px": 100.0},
                {"center_px": 0.0}, tuple(judged))  # fmt: skip


def test_failures_count_as_worst_or_are_left_out():
    items = [item("a", 10.0), item("b", 30.0), item("c", None, failure="missing"), item("d", None)]
    cell = table(items, 0)["center_px"]
    assert (cell.keys, cell.failures) == (4, 2)
    assert cell.worst.mean == pytest.approx((10 + 30 + 250 + 250) / 4)  # half of the diagonal, 500 px
    assert cell.without is not None and cell.without.mean == pytest.approx(20)
    assert cell.normalized == pytest.approx(1 - 135 / 100)
    assert failures(items, 0) == {"missing": 1}


def test_intervals_hold_the_mean_and_are_repeatable():
    values = np.random.default_rng(0).normal(5, 2, 400)
    keys = [str(number) for number in range(400)]
    mean = bootstrap(values, keys)
    assert mean == bootstrap(values, keys)
    half = 1.96 * values.std() / np.sqrt(400)
    assert mean.low == pytest.approx(values.mean() - half, abs=0.05)
    assert mean.high == pytest.approx(values.mean() + half, abs=0.05)


def test_whole_scenes_are_drawn():
    """Twenty equal values of each of 10 scenes know as much as 10 values."""
    scenes = np.random.default_rng(1).normal(0, 1, 10)
    repeated = bootstrap(np.repeat(scenes, 20), [str(k) for k in np.repeat(np.arange(10), 20)])
    single = bootstrap(scenes, [str(k) for k in range(10)])
    assert repeated.high - repeated.low == pytest.approx(single.high - single.low)
    apart = bootstrap(np.repeat(scenes, 20), [str(k) for k in range(200)])
    assert apart.high - apart.low < 0.5 * (single.high - single.low)


def test_differences_are_paired():
    items = [item(str(k), float(k), other=k + 5.0) for k in range(20)]
    found = differences(items)["center_px"]
    assert (found.mean, found.low, found.high) == pytest.approx((-5, -5, -5))


def test_decibels_are_normalized_as_errors():
    found = METRICS["psnr"].normalized(np.array([40.0]), np.array([20.0]), np.array([99.0]))
    assert found == pytest.approx(1 - 0.01 / 0.1, abs=1e-3)


def test_nothing_is_normalized_where_copy_equals_oracle():
    assert METRICS["preserved_ssim"].normalized(np.array([0.5]), np.array([0.99999]), np.array([1.0])) is None
    assert normalized(item("a", 25.0), 0) == {"center_px": pytest.approx(0.75)}


def test_every_metric_names_its_ends():
    for metric in METRICS.values():
        assert (metric.best > metric.worst) == (metric.better == "higher"), metric.name
    text = (Path(__file__).parents[2] / "docs/evaluation.md").read_text()
    assert not [name for name in METRICS if f"`{name}`" not in text]
