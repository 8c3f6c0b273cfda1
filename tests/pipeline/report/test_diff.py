"""Comparison of two builds: exactly the differences are reported."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.pipeline.report.diff.verdicts import QUANTILES
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from tests.pipeline.command_line import assert_fails, build, run

STRICTER = (
    "layers.checks.min_object_change=0.99",
    "layers.checks.min_outline_change=9",
    "layers.instruction.variants=2",
)


@pytest.fixture(scope="module")
def stricter(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished build, with stricter checks of rotations and fewer variants of instructions."""
    out = tmp_path_factory.mktemp("stricter") / "out"
    assert build(release, out, *STRICTER).code == 0
    return out


def diff(first: Path, second: Path) -> dict:
    result = run("diff", first, second, "--json")
    assert result.code == 0, result
    return json.loads(result.out)


def test_a_build_and_itself(finished):
    found = diff(finished, finished)
    assert found["configuration"] == []
    assert all(layer["same"] and not layer["changes"] for layer in found["layers"])
    assert found["keys"]["gone"]["count"] == found["keys"]["added"]["count"] == 0
    samples = found["first"]["samples"]
    assert found["samples"]["accepted_in_both"] == found["keys"]["common"] == samples
    assert all(sides["first"] == sides["second"] for sides in found["scores"].values())
    result = run("diff", finished, finished)
    assert "configuration: identical" in result.out and "accepted only in the" not in result.out


@pytest.mark.slow
def test_changed_settings_and_their_effects(finished, stricter):
    found = diff(finished, stricter)
    assert {entry["key"]: (entry["first"], entry["second"]) for entry in found["configuration"]} == {
        "layers.checks": (None, {"stage": "", "options": {"min_object_change": 0.99, "min_outline_change": 9}}),
        "layers.instruction": (None, {"stage": "", "options": {"variants": 2}}),
    }
    changed = {layer["layer"]: layer["changes"] for layer in found["layers"] if not layer["same"]}
    assert changed == {
        "instruction": ["variants 4 -> 2"],
        "checks": ["min_object_change 0.06 -> 0.99", "min_outline_change 1.15 -> 9.0"],
    }
    status = json.loads(run("status", stricter, "--json").out)
    reasons = {f"checks: {reason}": count for reason, count in status["layers"]["checks"]["rejects"].items()}
    lost = found["samples"]["only_in_first"]
    assert lost["reasons"] == reasons and lost["count"] == sum(reasons.values()) > 0
    assert all(key.startswith("rotate") for key in lost["some"])
    assert found["samples"]["only_in_second"]["count"] == 0
    assert found["edits"]["rotate"][0] - found["edits"]["rotate"][1] == lost["count"]
    swapped = diff(stricter, finished)
    assert swapped["samples"]["only_in_second"] == lost
    result = run("diff", finished, stricter).out
    assert f"accepted only in the first: {lost['count']}" in result and "turned_too_little" in result


@pytest.mark.slow
def test_scores_are_those_of_the_samples(finished, stricter):
    found = diff(finished, stricter)["scores"]
    for out, side in ((finished, "first"), (stricter, "second")):
        records = [read_record(s.members["json"]) for url in find_shards(str(out)) for s in read_samples(url)]
        for name, sides in found.items():
            values = [getattr(r.scores, name) for r in records if getattr(r.scores, name) != -1]
            spread = sides[side]
            assert spread["samples"] == len(values)
            assert spread["mean"] == pytest.approx(np.mean(values), abs=1e-5)
            quantiles = [spread[f"p{percent}"] for percent in QUANTILES]
            assert quantiles == pytest.approx(np.percentile(values, QUANTILES).tolist(), abs=1e-5)


@pytest.mark.slow
def test_removed_and_added_keys(finished, release, tmp_path):
    out = tmp_path / "fewer"
    assert build(release, out, "samples=10").code == 0
    found = diff(finished, out)
    kept = found["second"]["samples"]
    assert (kept, found["keys"]["common"]) == (10, 10)
    assert found["keys"]["gone"]["count"] == found["first"]["samples"] - 10
    assert not set(found["keys"]["gone"]["some"]) & set(open_keys(out))
    changes = {layer["layer"]: layer["changes"] for layer in found["layers"]}
    assert changes.pop("pair") == ["of another plan"]
    assert changes.pop("checks") == ["computed from another pair and instruction"]
    assert set(map(tuple, changes.values())) == {("computed from another pair",)}
    assert diff(out, finished)["keys"]["added"] == found["keys"]["gone"]


def open_keys(out: Path) -> list[str]:
    opened = open_build(str(out))
    return [row.key for unit in range(opened.plan.units) for row in opened.plan.rows(unit)]


def test_a_build_in_progress(finished, out):
    opened = open_build(str(out))
    opened.store.discard(opened.layers["checks"], 1)
    found = diff(finished, out)
    size = opened.plan.size(1)
    assert (found["second"]["pending"], found["samples"]["undecided"]) == (size, size)
    assert found["samples"]["only_in_first"]["count"] == 0
    checks = next(layer for layer in found["layers"] if layer["layer"] == "checks")
    assert checks["same"] and checks["units"] == [[opened.plan.units] * 2, [opened.plan.units - 1, opened.plan.units]]
    assert "not computed yet" in run("diff", finished, out).out


def test_layers_that_are_missing_or_damaged(finished, out):
    opened = open_build(str(out))
    (out / opened.store.record_name(opened.layers["screen"], 0)).write_text("{")
    file = out / opened.store.data_name(opened.layers["checks"], 2)
    file.write_bytes(file.read_bytes()[:-5])
    found = diff(finished, out)
    assert (found["second"]["damaged"], found["second"]["pending"]) == (1, opened.plan.size(0))
    first, second = (found["scores"]["instruction_check"][side]["samples"] for side in ("first", "second"))
    assert first - second == opened.plan.size(2)
    shutil.rmtree(out / "layers")
    found = diff(finished, out)
    assert found["second"]["pending"] == found["first"]["samples"]
    assert all(sides["second"] is None for sides in found["scores"].values())
    assert run("diff", out, finished).code == 0


def test_no_build(finished, tmp_path):
    assert_fails(run("diff", finished, tmp_path), "no build in", str(tmp_path))
