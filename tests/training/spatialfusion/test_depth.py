"""Whose depth it is, how good a prediction is, and how it looks."""

import numpy as np
import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.rendered.facts import ESTIMATOR
from spatialdata_builder.training.spatialfusion.depth import RENDERER, depth_metrics, depth_picture, metric_units


def record(estimator: str = RENDERER, kind: str = "metric", unit: str = "m") -> dict:
    numbers = {"scale": 1.0, "offset": 0.0, "min": 0.0, "max": 1.0}
    return {"maps": {"metric": {"estimator": estimator, "revision": "1", "kind": kind, "unit": unit, **numbers}}}


def test_exact_depth_is_that_of_the_renderer():
    assert RENDERER == ESTIMATOR


@pytest.mark.parametrize(
    ("teacher", "accepted"),
    [
        ("exact", {"renderer"}),
        ("vggt", {"facebook/VGGT-1B", "VGGT-1B-Commercial+exact_scale"}),
        ("any", {"renderer", "facebook/VGGT-1B", "VGGT-1B-Commercial+exact_scale", "metric3d"}),
    ],
)
def test_only_the_teachers_depth_is_accepted(teacher: str, accepted: set):
    units = {"renderer": "m", "facebook/VGGT-1B": "", "VGGT-1B-Commercial+exact_scale": "m", "metric3d": "m"}
    for name, unit in units.items():
        if name in accepted:
            assert metric_units(["a"], [record(name, unit=unit)], teacher) == [unit == "m"]
            continue
        change = r"build layer metric .*, or set recipe\.teacher"
        with pytest.raises(BadInput, match=rf"sample b .*estimator {name.replace('+', '.')}\).* {teacher}: {change}"):
            good = sorted(accepted)[0]
            metric_units(["a", "b"], [record(good, unit=units[good]), record(name, unit=unit)], teacher)


def test_another_kind_or_unit_is_an_error_for_every_teacher():
    for wrong, message in (
        (record(kind="relative_inverse", unit=""), "relative_inverse depth without a unit"),
        (record(unit="mm"), "metric depth in mm"),
    ):
        for teacher in ("exact", "any"):
            with pytest.raises(BadInput, match=f"sample a has {message}"):
                metric_units(["a"], [wrong], teacher)


def test_metrics_are_those_of_eigen_et_al_over_known_pixels():
    generator = np.random.default_rng(0)
    exact, predicted = 1 + generator.random((3, 5, 4)), 1 + generator.random((3, 5, 4))
    known = generator.random((3, 5, 4)) < 0.7
    known[2] = False
    exact[~known] = 0
    found = depth_metrics(predicted.astype(np.float32), exact, known)
    for row in range(2):
        d, other = exact[row][known[row]], predicted[row][known[row]]
        assert found["abs_rel"][row] == pytest.approx(np.mean(np.abs(other - d) / d))
        close = [max(a / b, b / a) < 1.25 for a, b in zip(d, other, strict=True)]
        assert found["delta1"][row] == pytest.approx(np.mean(close))
    assert np.isnan(found["abs_rel"][2])
    assert np.isnan(found["delta1"][2])
    perfect = depth_metrics(exact + ~known, exact, known)
    assert perfect["abs_rel"][:2].tolist() == [0, 0]
    assert perfect["delta1"][:2].tolist() == [1, 1]


def test_pictures_show_near_as_bright_in_the_range_of_another_map():
    depth = np.array([[[1.0, 2.0, 4.0, 0.0]]])
    assert depth_picture(depth)[0, 0, :, 0].tolist() == [255, 85, 0, 0]
    assert depth_picture(depth, np.array([[[2.0, 4.0, 0.0, 3.0]]]))[0, 0, :, 0].tolist() == [255, 255, 0, 0]
    assert depth_picture(np.zeros((1, 2, 2))).tolist() == np.zeros((1, 2, 2, 3)).tolist()
    assert depth_picture(np.ones((2, 8, 6))).shape == (2, 8, 6, 3)
