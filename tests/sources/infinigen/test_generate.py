"""Limits and failures of the processes that generate assets, with a toy in place of Infinigen."""

import sys
from pathlib import Path

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.infinigen.cache import AssetCache, AssetRecord
from spatialdata_builder.sources.infinigen.factories import FACTORIES
from spatialdata_builder.sources.infinigen.generate import Limits, Task, generate, worker_command
from tests.needs import ROOT
from tests.sources.infinigen.toy_worker import DEAD, SPINNING, WAITING, WRONG

TOY = [sys.executable, "-m", "tests.sources.infinigen.toy_worker", "--"]
CHAIR = FACTORIES["ChairFactory"]

pytestmark = pytest.mark.slow


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AssetCache:
    monkeypatch.chdir(ROOT)
    return AssetCache(tmp_path / "cache")


def records(
    cache: AssetCache, *seeds: int, jobs: int = 1, cpu_s: int = 60, seconds: float = 60
) -> dict[int, AssetRecord]:
    tasks = [Task(CHAIR, seed) for seed in seeds]
    found = generate(TOY, cache, tasks, Limits(cpu_s, seconds, 20000, 64), jobs)
    return {task.seed: record for task, record in filter(None, found)}


def test_a_failure_does_not_stop_the_others(cache: AssetCache):
    found = records(cache, 5, WRONG, 6, DEAD, 7)
    assert {seed: record.reason for seed, record in found.items()} == {
        5: "",
        WRONG: "failed",
        6: "",
        DEAD: "crashed",
        7: "",
    }
    assert found[WRONG].detail == "ValueError('no legs')"
    assert "killed by signal 9: out of paint" in found[DEAD].detail
    assert found[7].size_m == pytest.approx((0.8, 0.8, 0.8)) and found[7].texture == 64


@pytest.mark.parametrize(
    ("seed", "limit", "reason"),
    [(SPINNING, {"cpu_s": 1}, "cpu_limit"), (WAITING, {"seconds": 2}, "time_limit")],
)
def test_an_asset_above_its_limit_is_stopped(cache: AssetCache, seed: int, limit: dict[str, int], reason: str):
    found = records(cache, seed, 6, **limit)
    assert (found[seed].reason, found[6].reason) == (reason, "")
    assert f"more than {next(iter(limit.values()))} " in found[seed].detail


def test_processes_share_the_assets(cache: AssetCache):
    found = records(cache, *range(5, 15), jobs=3)
    assert sorted(found) == list(range(5, 15))
    assert {int(file.stem.partition("-")[2]) for file in (cache.root / ".unfinished").iterdir()} == set(found)


def test_a_caller_that_leaves_ends_the_processes(cache: AssetCache):
    tasks = [Task(CHAIR, seed) for seed in (5, WAITING)]
    found = generate(TOY, cache, tasks, Limits(60, 600, 20000, 64), 1, wake_s=0.1)
    first = next(filter(None, found))
    assert first[0].seed == 5
    assert next(found) is None, "the second one waits without end"
    found.close()  # returns: threads and processes have ended


def test_a_program_that_does_not_start_is_reported(cache: AssetCache):
    command = [sys.executable, "-c", "raise SystemExit('no license')"]
    with pytest.raises(BadInput, match=r"Infinigen does not start \(exited with code 1\): no license"):
        list(generate(command, cache, [Task(CHAIR, 0)], Limits(60, 60, 20000, 64), 1))


def test_without_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(BadInput, match=r"Infinigen's Python environment cannot be created: .*infinigen.*package index"):
        worker_command()


def test_without_uv_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "uv", None)
    with pytest.raises(BadInput, match=r"Infinigen needs uv, which is not installed: run `.*`$"):
        worker_command()
