"""Every sample becomes a row or a reject, in one commit, for any behavior of its stage."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.pipeline.engine.runner import (
    Damaged,
    Failed,
    Job,
    Outcome,
    Runner,
    Task,
    UnitSummary,
    load_samples,
    tasks_of,
)
from spatialdata_builder.pipeline.store.layers import LayerStore, PartName, versions
from spatialdata_builder.pipeline.store.parts import read_part, write_part
from spatialdata_builder.pipeline.store.plan import Plan
from spatialdata_builder.shards.sample import Result, Row, Sample
from tests.pipeline.toys import Judge, Make, Measure, Scenes, calls, key, scenes_plan, toy_plan


class Bench:
    def __init__(self, out: Path, make: Make | None = None) -> None:
        self.store = LayerStore(str(out))
        self.plan: Plan = scenes_plan(self.store) if isinstance(make, Scenes) else toy_plan(self.store)
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


class Interrupted(Bench):
    """The first unit of scenes, whose first three of five are kept; `keys` are those of the first sample of each."""

    def __init__(self, out: Path, **options: Any) -> None:
        super().__init__(out, Scenes(**options))
        self.keys = self.plan.keys(0)[::2]
        self.layer_dir = self.tasks["pair"].layer_dir
        stopped = self.resumed(ills={self.keys[3]: "fatal"}, **options).do(Job("pair", 0))
        assert isinstance(stopped, Failed)
        self.parts = self.store.parts(self.layer_dir)
        assert [(part.unit, part.first, part.samples) for part in self.parts] == [(0, 0, 2), (0, 2, 2), (0, 4, 2)]

    def resumed(self, **options: Any) -> Runner:
        """A runner of a later run."""
        return Runner(self.store, self.plan, tasks_of([Scenes(**options)]))

    def file(self, part: int) -> Path:
        return self.store.local(self.store.part_name(self.layer_dir, self.parts[part]))

    def computed(self, job: Job, marks: Path, **options: Any) -> set[str]:
        """Do the job, and return the samples that it computed, without the suffix of inverses."""
        marks.mkdir()
        assert isinstance(self.resumed(marks=str(marks), **options).do(job), UnitSummary)
        return {name.removesuffix("-inv") for name in calls(marks)}


def content(bench: Bench) -> bytes:
    return bench.store.read_file(bench.store.data_name(bench.tasks["pair"].layer_dir, 0))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The layer file of the first unit of scenes, computed by one job."""
    bench = Bench(tmp_path_factory.mktemp("scenes"), Scenes())
    bench.runner.do(Job("pair", 0))
    return content(bench)


def test_a_resumed_unit_takes_what_was_kept(tmp_path: Path, scenes: bytes):
    bench = Interrupted(tmp_path, seconds=0.01)
    assert bench.computed(Job("pair", 0), tmp_path / "marks", seconds=0.01) == {*bench.keys[3:]}
    assert content(bench) == scenes
    record = bench.record("pair")
    assert (record.rows, record.counts, record.rejects) == (10, {"tried": 10}, ())
    assert record.seconds > 10 * 0.01
    assert record.cpu_seconds > 0
    assert bench.store.parts(bench.layer_dir) == []
    assert bench.store.done_units(bench.layer_dir) == [0]
    bench.store.check(bench.layer_dir, 0)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "folder", "foreign", "record"])
def test_damaged_and_foreign_parts_are_computed_again(tmp_path: Path, scenes: bytes, damage: str):
    bench = Interrupted(tmp_path)
    file = bench.file(1)
    data = file.read_bytes()
    if damage == "folder":
        file.unlink()
        file.mkdir()
    elif damage == "foreign":  # of other samples of this unit
        file.write_bytes(bench.file(0).read_bytes())
    elif damage == "record":  # of another unit
        other = PartName(1, 2, 2)
        part = read_part(bench.store, bench.layer_dir, bench.parts[1], versions())
        assert part is not None
        write_part(bench.store, bench.layer_dir, other, part, versions())
        bench.store.local(bench.store.part_name(bench.layer_dir, other)).replace(file)
    else:
        changed = {"cut": data[:-9], "flip": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "empty": b""}
        file.write_bytes(changed[damage])
    assert bench.computed(Job("pair", 0), tmp_path / "marks") == {bench.keys[1], *bench.keys[3:]}
    assert content(bench) == scenes
    assert bench.store.parts(bench.layer_dir) == []


def test_parts_of_other_versions_are_computed_again(tmp_path: Path, scenes: bytes):
    """The record of a unit names the versions that all its rows were made with."""
    bench = Interrupted(tmp_path)
    part = read_part(bench.store, bench.layer_dir, bench.parts[0], versions())
    assert part is not None
    write_part(bench.store, bench.layer_dir, bench.parts[0], part, {**versions(), "numpy": "1.0"})
    assert bench.computed(Job("pair", 0), tmp_path / "marks") == {bench.keys[0], *bench.keys[3:]}
    assert content(bench) == scenes


def test_parts_of_other_batches_are_taken(tmp_path: Path, scenes: bytes):
    bench = Interrupted(tmp_path)
    assert bench.computed(Job("pair", 0), tmp_path / "marks", batch_size=2) == {*bench.keys[3:]}
    assert content(bench) == scenes


def test_a_quarantined_sample_is_not_taken_from_a_part(tmp_path: Path):
    bench = Interrupted(tmp_path)
    job = Job("pair", 0, quarantined={bench.keys[1]: "it kills its worker"})
    assert bench.computed(job, tmp_path / "marks") == {bench.keys[1], *bench.keys[3:]}
    assert set(calls(tmp_path / "marks")) >= {f"{bench.keys[1]}-inv"}
    assert bench.keys[1] not in calls(tmp_path / "marks")
    (reject,) = bench.record("pair").rejects
    assert (reject.key, reject.reason) == (bench.keys[1], "quarantined")
    assert bench.store.parts(bench.layer_dir) == []


def test_a_family_without_a_quarantined_sample_is_not_kept(tmp_path: Path):
    """Its other samples may have other results once the sample is no longer quarantined."""
    bench = Interrupted(tmp_path)
    job = Job("pair", 0, quarantined={bench.keys[3]: "it kills its worker"})
    assert isinstance(bench.resumed(ills={bench.keys[4]: "fatal"}).do(job), Failed)
    assert bench.store.parts(bench.layer_dir) == bench.parts


def test_trials_take_and_keep_whole_families(tmp_path: Path, scenes: bytes):
    bench = Interrupted(tmp_path)
    keys = bench.plan.keys(0)
    assert bench.computed(Job("pair", 0, keys=tuple(keys[4:9])), tmp_path / "trial") == {*bench.keys[3:]}
    assert [part.first for part in bench.store.parts(bench.layer_dir)] == [0, 2, 4, 6]
    assert bench.store.done_units(bench.layer_dir) == []
    assert bench.computed(Job("pair", 0), tmp_path / "marks") == {bench.keys[4]}
    assert content(bench) == scenes


def test_two_jobs_of_one_unit_may_race(tmp_path: Path, scenes: bytes):
    """A second job takes the first one's parts and commits, while the first one computes."""
    bench = Bench(tmp_path, Scenes())
    seconds: list[Outcome] = []

    def race() -> None:
        if not seconds:
            seconds.append(bench.runner.do(Job("pair", 0)))

    first = Runner(bench.store, bench.plan, tasks_of([Scenes()]), on_part=race).do(Job("pair", 0))
    assert isinstance(first, UnitSummary)
    assert [first] == seconds
    assert content(bench) == scenes
    bench.store.check(bench.tasks["pair"].layer_dir, 0)
    assert bench.store.parts(bench.tasks["pair"].layer_dir) == []


def test_what_a_restart_may_change_is_not_kept(tmp_path: Path, scenes: bytes):
    bench = Bench(tmp_path, Scenes())
    keys = bench.plan.keys(0)
    broken = Scenes(ills={keys[0]: "raise", keys[2]: "reject", keys[4]: "fatal"})
    assert isinstance(Runner(bench.store, bench.plan, tasks_of([broken])).do(Job("pair", 0)), Failed)
    assert [part.first for part in bench.store.parts(bench.tasks["pair"].layer_dir)] == [2]
    done = bench.runner.do(Job("pair", 0))
    assert isinstance(done, UnitSummary)
    assert done.rejects == {"too_dark": 1}


def test_an_object_store_keeps_parts(tmp_path: Path, scenes: bytes, s3: dict[str, Any]):
    store = LayerStore(f"s3://bucket/{tmp_path.name}", **s3)
    plan = scenes_plan(store)
    task = tasks_of([Scenes()])[0]
    fatal = Scenes(ills={plan.keys(0)[6]: "fatal"})
    assert isinstance(Runner(store, plan, tasks_of([fatal])).do(Job("pair", 0)), Failed)
    assert [part.first for part in store.parts(task.layer_dir)] == [0, 2, 4]
    assert store.done_units(task.layer_dir) == []
    Runner(store, plan, [task]).do(Job("pair", 0))
    assert store.read_file(store.data_name(task.layer_dir, 0)) == scenes
    assert store.parts(task.layer_dir) == []
