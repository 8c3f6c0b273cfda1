"""Every sample becomes a row or a reject, in one commit, for any behavior of its stage."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.engine.runner import (
    Damaged,
    Failed,
    Job,
    Runner,
    Task,
    UnitSummary,
    load_samples,
    tasks_of,
)
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import Plan
from spatialdata_builder.shards.sample import Result, Row, Sample
from tests.pipeline.toys import Judge, Make, Measure, key, toy_plan


class Bench:
    def __init__(self, out: Path, make: Make | None = None) -> None:
        self.store = LayerStore(str(out))
        self.plan: Plan = toy_plan(self.store)
        self.tasks = {task.layer: task for task in tasks_of([make or Make(), Measure(), Judge()])}
        self.runner = Runner(self.store, self.plan, list(self.tasks.values()))

    def record(self, layer: str, unit: int = 0):
        return self.store.record(self.tasks[layer].layer_dir, unit)


def test_an_exception_costs_one_sample(tmp_path: Path):
    bench = Bench(tmp_path, Make(ills={key(3): "raise", key(5): "reject"}))
    done = bench.runner.do(Job("pair", 0, attempt=2))
    assert isinstance(done, UnitSummary)
    assert (done.rows, done.rejects) == (6, {"error": 1, "too_dark": 1})
    record = bench.record("pair")
    rejects = {reject.key: reject for reject in record.rejects}
    assert rejects[key(3)].reason == "error"
    assert rejects[key(3)].detail.endswith("ValueError: cannot make scene-00000003")
    assert (rejects[key(5)].reason, rejects[key(5)].score) == ("too_dark", 0.25)
    assert record.counts == {"tried": 6 + 3}
    assert record.attempts == 2
    assert record.versions["numpy"]
    assert record.host


def test_a_rejected_sample_does_not_reach_the_next_stage(tmp_path: Path):
    bench = Bench(tmp_path, Make(ills={key(5): "reject"}))
    bench.runner.do(Job("pair", 0))
    samples = load_samples(bench.store, bench.plan, bench.tasks["metric"], 0)
    assert [sample.key for sample in samples] == [key(number) for number in range(8) if number != 5]
    assert set(samples[0]["pair"]) == {"image"}
    assert samples[0].spec == bench.plan.rows(0)[0].spec
    bench.runner.do(Job("metric", 0))
    assert bench.record("metric").rows == 7
    assert bench.record("metric").rejects == ()


def test_quarantined_samples_are_skipped(tmp_path: Path):
    bench = Bench(tmp_path, Make(ills={key(2): "exit"}))
    done = bench.runner.do(Job("pair", 0, quarantined={key(2): "it kills its worker"}))
    assert isinstance(done, UnitSummary)
    (reject,) = bench.record("pair").rejects
    assert (reject.key, reject.reason, reject.detail) == (key(2), "quarantined", "it kills its worker")


def test_a_trial_commits_nothing(tmp_path: Path):
    bench = Bench(tmp_path, Make(ills={key(2): "exit"}))
    bench.runner.do(Job("pair", 0, keys=(key(0), key(1))))
    assert bench.store.done_units(bench.tasks["pair"].layer_dir) == []


def test_a_committed_unit_is_not_recomputed(tmp_path: Path):
    bench = Bench(tmp_path)
    first = bench.runner.do(Job("pair", 0))
    again = Bench(tmp_path, Make(ills={key(0): "fatal"}))
    assert again.runner.do(Job("pair", 0)) == first


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_do_not_change_the_bytes(tmp_path: Path, batch_size: int):
    one, two = Bench(tmp_path / "one"), Bench(tmp_path / "two", Make())
    task = two.tasks["pair"]
    stage = Make(batch_size=batch_size)
    two.runner = Runner(two.store, two.plan, [Task(stage, task.layer_dir, {})])
    one.runner.do(Job("pair", 1))
    two.runner.do(Job("pair", 1))
    assert one.record("pair", 1).sha256 == two.record("pair", 1).sha256


def test_a_damaged_needed_layer_is_set_aside_and_reported(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.runner.do(Job("pair", 0))
    file = tmp_path / bench.store.data_name(bench.tasks["pair"].layer_dir, 0)
    file.write_bytes(file.read_bytes()[:-1])
    found = bench.runner.do(Job("metric", 0))
    assert isinstance(found, Damaged)
    assert (found.layer_dir, found.unit) == (bench.tasks["pair"].layer_dir, 0)
    assert not file.exists()


Call = Callable[[Make, str, Sequence[Sample]], object]


def no_result(self: Make, model: str, samples: Sequence[Sample]) -> Sequence[Result]:
    return [Row({"x": 1})] * (len(samples) - 1)


def not_a_result(self: Make, model: str, samples: Sequence[Sample]) -> list[object]:
    return [{"x": 1} for _ in samples]


def full_disk(self: Make, model: str, samples: Sequence[Sample]) -> Sequence[Result]:
    raise OSError(28, "No space left on device", "/tmp/render.exr")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (no_result, "stage Make (layer 'pair') returned 3 results for 4 samples"),
        (not_a_result, "returned a dict for sample 'scene-00000000'"),
        (full_disk, "the disk is full: cannot write in /tmp"),
    ],
)
def test_a_broken_stage_or_machine_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, message: str
):
    monkeypatch.setattr(Make, "__call__", call)
    bench = Bench(tmp_path)
    found = bench.runner.do(Job("pair", 0))
    assert isinstance(found, Failed)
    assert message in found.message
    assert bench.store.done_units(bench.tasks["pair"].layer_dir) == []


def test_a_missing_column_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Measure, "columns", {"pair": ("mask",)})
    bench = Bench(tmp_path)
    bench.runner.do(Job("pair", 0))
    found = bench.runner.do(Job("metric", 0))
    assert isinstance(found, Failed)
    assert "has no column 'mask' (it has edit, image, mean)" in found.message
