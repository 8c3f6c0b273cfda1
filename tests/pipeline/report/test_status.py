"""Status counts samples as they are finished, also in units that are not committed."""

import json
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.engine import part_counts
from spatialdata_builder.pipeline.opened import Build, open_build
from spatialdata_builder.pipeline.planning.configurations import BUILD
from spatialdata_builder.pipeline.planning.samples import plan_build
from spatialdata_builder.pipeline.report.status.watch import Watcher, read_state
from spatialdata_builder.pipeline.store.layers import LayerStore, PartName, Record
from spatialdata_builder.pipeline.store.lock import LockWatcher, RunLock
from spatialdata_builder.pipeline.store.parts import Part, write_part
from tests.pipeline.command_line import run


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A planned build of rendered scenes, of which nothing is rendered."""
    store = LayerStore(str(tmp_path))
    config = load_config(None, ["samples=20", "unit_size=8", "edits.invert=true", "engine.kind=inline"])
    plan_build(config, store, lambda _: None, True)
    store.write_file(BUILD, config.model_dump_json().encode())
    return open_build(str(tmp_path))


def keep(build: Build, unit: int, first: int) -> None:
    """Keep one scene: a sample and its inverse."""
    write_part(build.store, build.layers["pair"], PartName(unit, first, 2), Part({"a": {"n": 1}}), {})


def commit(build: Build, unit: int, started: str = "") -> None:
    build.store.write(build.layers["pair"], unit, {}, Record(unit, build.layers["pair"], seconds=4, started=started))
    build.store.remove_parts(build.layers["pair"], unit)


def test_status_counts_samples_in_parts(build: Build):
    assert (build.plan.units, build.plan.samples) == (3, 40)
    for place in ((0, 0), (0, 2), (2, 4)):
        keep(build, *place)
    found = json.loads(run("status", build.store, "--json").out)
    pair = found["layers"]["pair"]
    assert (pair["done"], pair["samples_done"], pair["samples"]) == (0, 6, 0)
    assert {layer["samples_done"] for name, layer in found["layers"].items() if name != "pair"} == {0}
    lines = run("status", build.store).out.splitlines()
    assert next(line for line in lines if line.startswith("pair ")).split()[1] == "6/40"
    commit(build, 2)  # the last unit is smaller
    pair = json.loads(run("status", build.store, "--json").out)["layers"]["pair"]
    assert (pair["done"], pair["samples_done"]) == (1, 12)
    commit(build, 0)
    commit(build, 1)
    pair = json.loads(run("status", build.store, "--json").out)["layers"]["pair"]
    assert (pair["done"], pair["samples_done"]) == (3, 40)


def test_a_watcher_sees_scenes_and_their_pace(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(part_counts, "LOCAL_S", 0.0)
    out, watcher = str(build.store), Watcher(LockWatcher(build.store))
    with RunLock(build.store):
        keep(build, 0, 0)
        seen = read_state(out, watcher)
        pair = seen.to_json()["stages"]["pair"]
        assert (pair["done"], pair["samples_done"], pair["samples_planned"]) == (0, 2, 40)
        assert (pair["samples_per_second"], pair["seconds_left"]) == (0.0, None)
        keep(build, 0, 2)
        (view,) = (stage for stage in read_state(out, watcher).stages if stage.layer == "pair")
        assert (view.samples_done, view.samples) == (4, 40)
        assert view.left_s is not None
        assert view.left_s * view.pace == pytest.approx(36)
    assert read_state(out, watcher).stages[0].pace == 0


def test_the_first_look_knows_the_pace_from_commits(build: Build):
    with RunLock(build.store):
        commit(build, 0, "2026-01-01T00:00:00+00:00")
        commit(build, 1, "2026-01-01T00:00:10+00:00")
        keep(build, 2, 0)
        (view,) = (stage for stage in read_state(str(build.store)).stages if stage.layer == "pair")
        assert (view.done, view.samples_done) == (2, 34)
        assert view.left_s is not None
        assert view.left_s * view.pace == pytest.approx(6)
