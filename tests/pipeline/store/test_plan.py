"""A plan never changes, rejects another configuration, and gives each worker its own rows."""

import json
import pickle
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.store import plan as plan_module
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import Plan, PlanRow, read_plan, write_plan
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.schema import EDIT_KINDS, TWO_OBJECT_KINDS

KINDS = [kind for kind in EDIT_KINDS if kind not in TWO_OBJECT_KINDS]
EQUAL: dict[str, float] = dict.fromkeys(KINDS, 1.0)
SPLITS = {"train": 0.9, "val": 0.05, "test": 0.05}


def listed(count: int) -> Iterator[PlanRow]:
    return (PlanRow(f"k-{number}", "train", {"path": f"a/{number}", "n": number}) for number in range(count))


def scenes(count: int, seed: int = 0, weights: dict[str, float] = EQUAL) -> list[dict[str, str]]:
    return pa.Table.from_batches(list(plan_scenes(count, seed, weights, SPLITS))).to_pylist()


@pytest.mark.slow
def test_threads_share_a_plan(tmp_path: Path):
    plan = write_plan(LayerStore(f"memory://shared-{tmp_path.name}"), {}, listed(64 * 200), unit_size=1)
    units = [unit * 89 % plan.units for unit in range(800)]
    wrong: list[int] = []

    def read(own: list[int]) -> None:
        wrong.extend(unit for unit in own if plan.rows(unit)[0].key != f"k-{unit}")

    # Daemon threads: on a deadlock, the test fails instead of waiting forever.
    threads = [threading.Thread(target=read, args=(units[first::16],), daemon=True) for first in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


@pytest.mark.parametrize("url", ["local", "memory://planned"])
def test_each_unit_gives_its_rows(url: str, tmp_path: Path):
    store = LayerStore(str(tmp_path) if url == "local" else f"{url}-{tmp_path.name}")
    plan = write_plan(store, {"a": 1}, listed(1000), unit_size=3, seed=5)
    assert (plan.samples, plan.units, plan.seed) == (1000, 334, 5)
    found = [row for unit in range(plan.units) for row in plan.rows(unit)]
    assert found == list(listed(1000))
    assert len(plan.rows(333)) == plan.size(333) == 1
    again = read_plan(store)
    assert again == plan
    if url == "local":
        assert pickle.loads(pickle.dumps(plan)).rows(70) == plan.rows(70)
    with pytest.raises(SpatialdataError, match="334"):
        plan.rows(334)


def test_the_hash_identifies_the_content(tmp_path: Path):
    def plan(name: str, count: int = 10, **config: object) -> Plan:
        return write_plan(LayerStore(str(tmp_path / name)), config, listed(count), 4)

    assert plan("a", x=1).hash == plan("b", x=1).hash
    assert len({plan("a", x=1).hash, plan("c", x=2).hash, plan("d", 11, x=1).hash}) == 3
    files = {(tmp_path / name / "plan" / "units.parquet").read_bytes() for name in ("a", "b")}
    assert len(files) == 1


def test_another_plan_is_an_error_with_the_differing_keys(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    write_plan(store, {"render": {"samples": 32, "size": 512}, "edits": {"move": 1.0}}, listed(10), 4)
    with pytest.raises(BadInput) as caught:
        write_plan(store, {"render": {"samples": 64, "size": 512}, "edits": {"move": 1.0}, "new": 1}, listed(10), 4, 9)
    text = str(caught.value)
    assert "render.samples 32 -> 64" in text
    assert "new (none) -> 1" in text
    assert "seed 0 -> 9" in text
    assert "size" not in text.replace("unit_size", "")
    assert str(tmp_path) in text


def test_an_existing_plan_does_not_read_the_rows(tmp_path: Path):
    def never() -> Iterator[PlanRow]:
        raise AssertionError("rows were read")
        yield

    store = LayerStore(str(tmp_path))
    plan = write_plan(store, {"a": 1}, listed(10), 4)
    assert write_plan(store, {"a": 1}, never(), 4) == plan


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([PlanRow("A", "train", {})], "'A' is not a valid key"),
        ([PlanRow("a.b", "train", {})], "is not a valid key"),
        ([PlanRow("a", "trial", {})], "split 'trial'"),  # type: ignore[arg-type]
        ([PlanRow("a", "train", {}), PlanRow("b", "val", {}), PlanRow("a", "test", {})], "1 of 3 samples"),
        ([], "no samples"),
    ],
)
def test_bad_rows_leave_no_plan(tmp_path: Path, rows: list[PlanRow], message: str):
    store = LayerStore(str(tmp_path))
    with pytest.raises(BadInput, match=message):
        write_plan(store, {}, rows, 4)
    with pytest.raises(BadInput, match="no plan"):
        read_plan(store)
    assert list((tmp_path / "plan").iterdir()) == []


@pytest.mark.slow
def test_a_crash_while_planning_leaves_no_plan(tmp_path: Path):
    def crash() -> Iterator[PlanRow]:
        yield from listed(20_000)
        raise KeyboardInterrupt

    store = LayerStore(str(tmp_path))
    (tmp_path / "plan" / ".planning-old.tmp").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        write_plan(store, {}, crash(), 4)
    assert not store.exists(plan_module.PLAN)
    assert list((tmp_path / "plan").iterdir()) == []
    assert write_plan(store, {}, listed(20_000), 4).samples == 20_000


def test_a_damaged_plan_is_named(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    plan = write_plan(store, {}, listed(10), 4)
    (tmp_path / "plan" / "units.parquet").write_bytes(b"PAR1")
    with pytest.raises(SpatialdataError, match="damaged"):
        plan.rows(0)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(SpatialdataError, match=r"plan\.json"):
        read_plan(store)


def test_every_kind_appears_early_and_in_proportion_to_its_weight():
    kinds = [json.loads(row["spec"])["edit"] for row in scenes(24)]
    assert set(Counter(kinds).values()) == {4}
    weighted = [json.loads(row["spec"])["edit"] for row in scenes(1000, 0, {"remove": 3.0, "camera": 1.0, "scale": 0})]
    for length in (4, 10, 100, 999):
        assert abs(Counter(weighted[:length])["remove"] - 0.75 * length) <= 1
    assert "scale" not in weighted


@pytest.mark.slow
def test_samples_do_not_depend_on_their_number_or_the_order_of_weights():
    assert scenes(50) == scenes(300_000)[:50]
    assert scenes(50) == scenes(50, 0, dict(reversed(EQUAL.items())))
    other = scenes(50, seed=1)
    assert [row["key"] for row in other] == [row["key"] for row in scenes(50)]
    assert [row["spec"] for row in other] != [row["spec"] for row in scenes(50)]


@pytest.mark.slow
def test_seeds_differ_and_splits_are_even_in_every_kind():
    rows = scenes(60_000)
    assert len({row["spec"] for row in rows}) == 60_000
    specs = [json.loads(row["spec"]) for row in rows]
    assert all(0 <= spec["seed"] < 2**63 for spec in specs)
    shares = Counter((spec["edit"], row["split"]) for spec, row in zip(specs, rows, strict=True))
    for kind in KINDS:
        assert shares[kind, "val"] / 10_000 == pytest.approx(0.05, abs=0.003)
        assert shares[kind, "test"] / 10_000 == pytest.approx(0.05, abs=0.003)


def test_rows_do_not_depend_on_the_size_of_batches(monkeypatch: pytest.MonkeyPatch):
    whole = scenes(5000, 3, {"camera": 1.0, "remove": 0.3, "scale": 0.01})
    monkeypatch.setattr("spatialdata_builder.pipeline.planning.scene_rows._BATCH", 64)
    assert scenes(5000, 3, {"camera": 1.0, "remove": 0.3, "scale": 0.01}) == whole


def test_a_single_split():
    rows = pa.Table.from_batches(list(plan_scenes(1000, 0, EQUAL, {"train": 0, "val": 1, "test": 0}))).to_pylist()
    assert {row["split"] for row in rows} == {"val"}


@pytest.mark.parametrize("weights", [{}, {"camera": 0.0}, {"camera": -1.0}, {"camera": float("nan")}])
def test_weights_that_are_not_valid(weights: dict[str, float]):
    with pytest.raises(BadInput, match="edits"):
        scenes(10, 0, weights)
