"""Summaries always agree with the records of a build; the tests recount the text of the records."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spatialdata_builder.pipeline.config import EngineOptions
from spatialdata_builder.pipeline.engine import summaries
from spatialdata_builder.pipeline.engine.run import reopen_rejects, run
from spatialdata_builder.pipeline.engine.runner import summarize, tasks_of
from spatialdata_builder.pipeline.engine.summaries import (
    read_summary,
    summarize_layer,
    summarize_layers,
    summary_matches_records,
)
from spatialdata_builder.pipeline.engine.summary_keeper import SummaryKeeper
from spatialdata_builder.pipeline.store.layers import LayerStore, Record, Rejected
from spatialdata_builder.pipeline.store.plan import Plan
from tests.pipeline.command_line import build
from tests.pipeline.command_line import run as command
from tests.pipeline.toys import Judge, Make, Measure, key, toy_plan

pytestmark = pytest.mark.slow

BLOCK = 8
SAMPLES = 52
"""Of runs that are killed or watched: six blocks and a half."""
STAGES = [Make(ills={key(3): "reject", key(21): "reject", key(38): "raise"}), Measure(), Judge()]
CHECKOUT = Path(__file__).resolve().parents[3]
RUN = (
    "import sys; from spatialdata_builder.pipeline.engine import summaries; summaries.BLOCK = 8\n"
    f"from tests.pipeline.engine.test_summaries import resume; resume(sys.argv[1], {SAMPLES})"
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(summaries, "BLOCK", BLOCK)


def resume(out: Path | str, samples: int, stages: Any = STAGES) -> LayerStore:
    """Run, or resume, a build with units of one sample."""
    store = LayerStore(str(out))
    run(stages, store, toy_plan(store, samples, unit_size=1), EngineOptions(kind="inline"))
    return store


def layers_of(stages: Any = STAGES) -> dict[str, str]:
    return {task.layer: task.layer_dir for task in tasks_of(stages)}


def recount(out: Path | str, samples: int) -> tuple[dict[str, dict[str, Any]], int]:
    """The sums of each layer, and the accepted samples, from the text of the records only."""
    sums: dict[str, dict[str, Any]] = {}
    accepted = {key(number) for number in range(samples)}
    for layer, folder in layers_of().items():
        records = [json.loads(file.read_text()) for file in Path(out, "layers", folder).glob("????????.json")]
        rejects = [reject for record in records for reject in record["rejects"]]
        done = {key(record["unit"]) for record in records}
        accepted &= done - {reject["key"] for reject in rejects}
        sums[layer] = {
            "units": len(records),
            "samples": sum(record["rows"] for record in records),
            "bytes": sum(record["bytes"] for record in records),
            "seconds": pytest.approx(sum(record["seconds"] for record in records), abs=1e-6),
            "cpu_seconds": pytest.approx(sum(record["cpu_seconds"] for record in records), abs=1e-6),
            "gpu_seconds": 0.0,
            "rejects": dict(Counter(reject["reason"] for reject in rejects)),
            "counts": dict(sum((Counter(record["counts"]) for record in records), Counter[str]())),
        }
    return sums, len(accepted)


def totals(store: LayerStore, samples: int) -> tuple[dict[str, dict[str, Any]], int]:
    """The same, from summaries and records."""
    found = summarize_layers(store, toy_plan(store, samples, unit_size=1), layers_of())
    assert not any(layer.damaged for layer in found.layers.values())
    return {layer: part.totals.to_json() for layer, part in found.layers.items()}, found.accepted


def marks(out: Path) -> list[Path]:
    return list(out.glob("summaries/*/*.reopened"))


def test_whole_blocks_are_summed_and_their_records_not_read(tmp_path: Path):
    store = resume(tmp_path, 44)
    sums, accepted = recount(tmp_path, 44)
    assert totals(store, 44) == (sums, accepted)
    assert accepted == sums["checks"]["samples"]
    for folder in layers_of().values():
        kept = read_summary(store, folder, toy_plan(store, 44, unit_size=1))
        assert kept is not None
        assert sorted(kept.blocks) == [0, 1, 2, 3, 4]  # the last four units are not a whole block
        for unit in range(40):
            (tmp_path / store.record_name(folder, unit)).write_text("{")
    assert totals(store, 44) == (sums, accepted)
    for folder in layers_of().values():
        (tmp_path / store.summary_name(folder)).unlink()
    found = summarize_layers(store, toy_plan(store, 44, unit_size=1), layers_of())
    assert [len(layer.damaged) for layer in found.layers.values()] == [40, 40, 40]


def test_a_build_smaller_than_a_block_has_no_summary(tmp_path: Path):
    store = resume(tmp_path, 7)
    store.discard(layers_of()["checks"], 2)
    assert totals(store, 7) == recount(tmp_path, 7)
    assert not (tmp_path / "summaries").exists()


def test_a_build_without_summaries_is_counted_and_gets_them_from_its_next_run(tmp_path: Path):
    store = resume(tmp_path, 44)
    before = {file.name: file.read_bytes() for file in (tmp_path / "summaries").glob("*.json")}
    for name in before:
        (tmp_path / "summaries" / name).unlink()
    assert totals(store, 44) == recount(tmp_path, 44)
    resume(tmp_path, 44)
    assert sorted(file.name for file in (tmp_path / "summaries").glob("*.json")) == sorted(before)
    assert totals(store, 44) == recount(tmp_path, 44)


@pytest.mark.parametrize("wanted", [1, 10, 47, 88, 116])
@pytest.mark.slow
def test_a_killed_driver_loses_nothing_and_counts_nothing_twice(tmp_path: Path, wanted: int):
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    driver = subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("layers/*/*.json"))) < wanted:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    store = LayerStore(str(tmp_path))
    assert totals(store, SAMPLES) == recount(tmp_path, SAMPLES)
    resume(tmp_path, SAMPLES)
    sums, accepted = recount(tmp_path, SAMPLES)
    assert totals(store, SAMPLES) == (sums, accepted)
    assert sums["pair"]["units"] == SAMPLES
    assert all(
        summary_matches_records(store, toy_plan(store, SAMPLES, unit_size=1), *item) for item in layers_of().items()
    )


@pytest.mark.slow
def test_counts_during_a_run_match_the_records(tmp_path: Path):
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    store = LayerStore(str(tmp_path))
    plan = toy_plan(store, SAMPLES, unit_size=1)
    driver = subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    checks = 0
    while driver.poll() is None:
        for layer, folder in layers_of().items():
            before = len(store.done_units(folder))
            seen = summarize_layer(store, plan, layer, folder).totals.units
            assert before <= seen <= len(store.done_units(folder))
            checks += before > 0
            if not before:
                time.sleep(0.005)  # while it starts
    assert driver.wait() == 0
    assert checks


def test_reopened_units_are_counted_correctly_at_every_step(tmp_path: Path):
    store = resume(tmp_path, 44)
    folder = layers_of()["pair"]
    store.set_aside(folder, 5)
    assert totals(store, 44) == recount(tmp_path, 44)
    store.discard(folder, 21)
    assert totals(store, 44)[0]["pair"]["units"] == 42
    assert totals(store, 44) == recount(tmp_path, 44)
    assert len(marks(tmp_path)) == 2
    assert reopen_rejects(STAGES, store, ["too_dark"])["pair"] == 1
    assert totals(store, 44) == recount(tmp_path, 44)
    repaired = [Make(), *STAGES[1:]]
    resume(tmp_path, 44, repaired)
    assert totals(store, 44) == recount(tmp_path, 44)
    assert totals(store, 44)[0]["pair"]["rejects"] == {"error": 1}
    assert not marks(tmp_path)


def test_a_unit_that_a_worker_set_aside_is_recomputed_and_counted(tmp_path: Path):
    store = resume(tmp_path, 44, STAGES[:1])
    bad = tmp_path / store.data_name(layers_of()["pair"], 10)
    bad.write_bytes(bad.read_bytes()[:-1] + b"!")
    resume(tmp_path, 44)
    assert bad.with_name(f"{bad.name}.corrupt").exists()
    assert totals(store, 44) == recount(tmp_path, 44)
    assert not marks(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "changed", "other", "nothing"])
def test_a_damaged_summary_is_ignored(tmp_path: Path, damage: str):
    store = resume(tmp_path, 44)
    plan = toy_plan(store, 44, unit_size=1)
    layer, folder = next(iter(layers_of().items()))
    file = tmp_path / store.summary_name(folder)
    text = file.read_bytes()
    changes = {"cut": text[:-9], "changed": text.replace(b'"units":8', b'"units":9', 1), "other": b"[]", "nothing": b""}
    file.write_bytes(changes[damage])
    assert totals(store, 44) == recount(tmp_path, 44)
    assert not summary_matches_records(store, plan, layer, folder)
    resume(tmp_path, 44)
    assert summary_matches_records(store, plan, layer, folder)
    assert read_summary(store, folder, plan) is not None


def test_a_removed_record_is_noticed_by_verify_and_by_the_next_run(tmp_path: Path):
    store = resume(tmp_path, 44)
    plan = toy_plan(store, 44, unit_size=1)
    layer, folder = next(iter(layers_of().items()))
    (tmp_path / store.record_name(folder, 9)).unlink()
    assert not summary_matches_records(store, plan, layer, folder)
    SummaryKeeper(store, plan, layer, folder)
    assert summarize_layer(store, plan, layer, folder).totals.units == 43


def test_a_run_that_lost_its_lock_no_longer_writes_the_summary(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    plan = toy_plan(store, 44, unit_size=1)
    lost = SummaryKeeper(store, plan, "pair", "pair-0")
    lost.touch(0)
    owner = SummaryKeeper(store, plan, "pair", "pair-0")
    owner.touch(30)
    lost.touch(9)
    kept = read_summary(store, "pair-0", plan)
    assert kept is not None
    assert kept.touched == 4


@pytest.mark.slow
def test_verify_reports_and_repairs_a_wrong_summary(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert build(release, out, "unit_size=1").code == 0
    assert command("verify", out).code == 0
    (file,) = out.glob("summaries/line-*.json")
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"units":8', b'"units":7', 1))
    found = command("verify", out)
    assert (found.code, f"summaries/{file.stem}: is damaged" in found.out) == (1, True)
    repaired = command("verify", out, "--repair")
    assert (repaired.code, f"rebuilt summaries/{file.stem}" in repaired.out) == (0, True)
    assert json.loads(file.read_bytes())["blocks"] == json.loads(whole)["blocks"]


@pytest.mark.parametrize("kind", ["memory", pytest.param("s3", marks=pytest.mark.s3)])
def test_on_object_stores(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    options = request.getfixturevalue("s3") if kind == "s3" else {}
    store = LayerStore(f"{kind}://bucket/{tmp_path.name}", **options)
    plan = toy_plan(store, 20, unit_size=1)
    keeper = SummaryKeeper(store, plan, "pair", "pair-0")
    for unit in range(13):
        keeper.touch(unit)
        record = Record(unit, "pair-0", rejects=(Rejected(key(unit), "no"),) * (unit % 3 == 0))
        keeper.commit(summarize("pair", store.write("pair-0", unit, {}, record), plan))
    assert store.done_units("pair-0", range(8, 16)) == [8, 9, 10, 11, 12]
    store.discard("pair-0", 4)
    found = summarize_layer(store, plan, "pair", "pair-0")
    assert (found.totals.units, found.totals.rejects.total()) == (12, 5)
    kept = read_summary(store, "pair-0", plan)
    assert kept is not None
    assert list(kept.blocks) == [0]


class Model:
    """A layer of 27 units under a driver that commits, dies and starts again, beside workers that set units aside."""

    def __init__(self, out: Path) -> None:
        self.store = LayerStore(str(out))
        self.plan: Plan = toy_plan(self.store, 54, unit_size=2)
        self.keeper = SummaryKeeper(self.store, self.plan, "pair", "pair-0")
        self.done: dict[int, int] = {}
        self.version = 0

    def step(self, what: str, unit: int) -> None:
        if what == "restart":
            self.keeper = SummaryKeeper(self.store, self.plan, "pair", "pair-0")
        elif what == "discard":
            self.store.discard("pair-0", unit)
            if self.done.pop(unit, None) is not None:
                self.keeper.reopen(unit)
        elif what == "discard unseen":  # and the driver dies before it learns of it
            self.store.discard("pair-0", unit)
            self.done.pop(unit, None)
            self.keeper = SummaryKeeper(self.store, self.plan, "pair", "pair-0")
        elif unit not in self.done:
            self.version += 1
            self.keeper.touch(unit)
            rejects = (Rejected(key(2 * unit), "odd"),) if self.version % 2 else ()
            record = Record(unit, "pair-0", rejects, seconds=float(self.version), started="2026-01-01T00:00:00+00:00")
            committed = self.store.write("pair-0", unit, {}, record)
            self.done[unit] = self.version
            if what == "commit":
                self.keeper.commit(summarize("pair", committed, self.plan))
            else:  # "commit unseen": the driver dies before it learns of it
                self.keeper = SummaryKeeper(self.store, self.plan, "pair", "pair-0")


steps = st.lists(
    st.tuples(
        st.sampled_from(["commit"] * 12 + ["commit unseen", "restart", "discard", "discard unseen"]),
        st.integers(0, 26),
    ),
    max_size=150,
)


@given(steps)
@example([("discard", 0), ("commit", 0)])
@example([("discard", 0), ("commit unseen", 0)])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_any_history(tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, int]]):
    model = Model(tmp_path_factory.mktemp("history"))
    for what, unit in [("commit", unit) for unit in range(20)] + drawn:
        model.step(what, unit)
        found = summarize_layer(model.store, model.plan, "pair", "pair-0")
        odd = [unit for unit, version in model.done.items() if version % 2]
        assert found.totals.units == len(model.done)
        assert found.totals.seconds == sum(model.done.values())
        assert found.totals.rejects.total() == len(odd)
        accepted = 2 * len(model.done) - len(odd)
        assert sum(bin(byte).count("1") for byte in found.accepted_bits.tolist()) == accepted
        assert [commit.unit for commit in found.recent] == sorted(model.done, key=lambda unit: (model.done[unit], unit))
