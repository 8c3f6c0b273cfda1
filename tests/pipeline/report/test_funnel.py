"""The funnel adds up: every planned sample is accepted or rejected, and costs agree with the records."""

import json
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.engine.runner import Job, Runner, summarize, tasks_of
from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.pipeline.report.funnel import funnel_of
from spatialdata_builder.pipeline.report.status.status import status_of
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import Plan
from tests.pipeline.command_line import build, run
from tests.pipeline.releases import write_release
from tests.pipeline.toys import Make, Measure, toy_plan


@pytest.fixture(scope="module")
def rejecting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of 16 pairs, two of them with a truncated image."""
    folder = tmp_path_factory.mktemp("rejecting")
    root = write_release(folder / "release", 12)
    for name in ("translate/train/uid000/2.png", "translate/train/uid003/1.png"):
        file = root / name
        file.write_bytes(file.read_bytes()[:300])
    assert build(root, folder / "out").code == 0
    return folder / "out"


@pytest.mark.slow
def test_every_sample_is_accounted_for(rejecting: Path):
    rows = {row["layer"]: row for row in funnel_of(open_build(str(rejecting)))}
    records = [json.loads(file.read_text()) for file in rejecting.glob("layers/*/????????.json")]
    assert next(iter(rows)) == "pair"
    assert rows["pair"]["samples_in"] == 16
    assert rows["pair"]["rejects"] == {"unreadable_image": 2}
    for layer, row in rows.items():
        mine = [record for record in records if record["layer"].startswith(f"{layer}-")]
        assert row["samples_out"] == row["samples_in"] - sum(row["rejects"].values())
        assert row["samples_out"] == sum(record["rows"] for record in mine)
        assert row["seconds"] == pytest.approx(sum(record["seconds"] for record in mine), abs=1e-3)
        assert row["cpu_seconds"] == pytest.approx(sum(record["cpu_seconds"] for record in mine), abs=1e-3)
        assert row["seconds_per_accepted"] == pytest.approx(row["seconds"] / 14, abs=1e-5)
    status = status_of(str(rejecting))
    assert status["accepted"] == 14
    assert status["funnel"] == list(rows.values())
    shards = [shard for shard in status["shards"] if shard["recipe"] == "full"]
    assert sum(shard["samples"] for shard in shards) == 14


@pytest.mark.slow
def test_it_is_printed_as_a_table(rejecting: Path):
    result = run("status", rejecting)
    lines = [line.split() for line in result.out.splitlines()]
    (pair,) = [line for line in lines if line[:2] == ["pair", "16/16"]]
    assert pair[2:5] == ["16", "14", "2"]
    (accepted,) = [line for line in lines if line[:1] == ["accepted"]]
    assert accepted[1:3] == ["16", "14"]
    assert "pair rejected: unreadable_image 2" in result.out


@pytest.mark.parametrize("width", [40, 56, 100])
def test_the_table_drops_columns_on_a_narrow_terminal(rejecting: Path, width: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = run("status", rejecting).out.splitlines()
    (pair,) = [line for line in lines if line.split()[:1] == ["pair"] and "rejected" not in line]
    assert len(pair) <= width and "…" not in pair
    assert {"16", "14", "2"} <= set(pair.split())
    assert ("16/16" in pair, "kB" in pair) == (width >= 56, width == 100)


def test_nothing_is_accepted_before_the_last_layer_is_computed(rejecting: Path, out: Path):
    for file in out.glob("layers/checks-*/*"):
        file.unlink()
    rows = funnel_of(open_build(str(out)))
    assert {row["seconds_per_accepted"] for row in rows} == {None}
    assert status_of(str(out))["accepted"] == 0
    result = run("status", out)
    assert (result.code, "not finished" in result.out) == (0, True)


@pytest.mark.parametrize("worker_gpus", [None, 0.25])
def test_gpu_seconds_count_the_gpus_of_the_worker(tmp_path: Path, worker_gpus: float | None):
    store = LayerStore(str(tmp_path))
    plan: Plan = toy_plan(store)
    tasks = tasks_of([Make(seconds=0.002, gpus=2), Measure()])
    runner = Runner(store, plan, tasks, worker_gpus)
    done = [runner.do(Job(layer, 0)) for layer in ("pair", "metric")]
    records = [store.record(task.layer_dir, 0) for task in tasks]
    gpus = [record.gpus for record in records]
    assert gpus == ([2, 0] if worker_gpus is None else [0.25, 0.25])
    for task, outcome, record in zip(tasks, done, records, strict=True):
        assert outcome == summarize(task.layer, record, plan)
        assert outcome.gpu_seconds == record.seconds * record.gpus
    assert records[0].seconds > 0
