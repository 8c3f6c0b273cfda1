"""A build as a user runs it: from a released folder to verified shards, killed, changed, damaged and repaired."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spatialdata_builder.shards.interop.object3dit import FILES
from tests.pipeline.command_line import run
from tests.pipeline.releases import CHECKOUT, build_arguments, files_of, spatialdata, write_release

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def undisturbed(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    done = spatialdata(*build_arguments(release, out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def out(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the undisturbed build that a test may change."""
    return shutil.copytree(undisturbed, tmp_path / "out")


def shards_of(out: Path) -> dict[str, bytes]:
    return files_of(out / "shards")


def test_a_build_ends_in_valid_shards(undisturbed: Path):
    done = run("verify", undisturbed, "--json")
    found = json.loads(done.out)
    # A third of 24 pairs are removals, which also give insertions.
    assert (done.code, found["ok"], found["samples"]) == (0, True, 32)
    status = json.loads(run("status", undisturbed, "--json").out)
    assert status["finished"]
    assert {split["split"]: split["samples"] for split in status["shards"]} == {"train": 24, "test": 8}
    assert all(layer["samples"] == 32 for layer in status["layers"].values())


def test_a_killed_build_resumes_to_the_same_bytes(release: Path, undisturbed: Path, tmp_path: Path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *build_arguments(release, out)]
    for wanted in (1, 9, 20):  # records at which the run is killed: in the first layers, midway, near the end
        driver = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list(out.glob("layers/*/*.json"))) < wanted and driver.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        driver.send_signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (out / "shards").exists()
    done = spatialdata(*build_arguments(release, out))
    assert done.returncode == 0, done.stderr
    assert shards_of(out) == shards_of(undisturbed)
    assert not list(out.rglob("*.tmp"))


@pytest.mark.ray
def test_engines_agree(release: Path, undisturbed: Path, tmp_path: Path):
    out = tmp_path / "out"
    done = spatialdata(*build_arguments(release, out, "engine.kind=ray"))
    assert done.returncode == 0, done.stderr
    assert shards_of(out) == shards_of(undisturbed)


def test_only_a_changed_layer_is_recomputed(release: Path, out: Path):
    before = {path: path.stat().st_mtime_ns for path in out.glob("layers/*/*")}
    done = run(*build_arguments(release, out, "layers.instruction.variants=2"), "--json")
    assert done.code == 0, done
    stages = json.loads(done.out)["stages"]
    computed = {name: stage["samples"] for name, stage in stages.items() if stage["samples"]}
    dependents = {name for name in computed if name != "instruction"}
    assert computed["instruction"] == 32
    assert dependents <= {"checks"}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_plan_is_not_overwritten(release: Path, undisturbed: Path):
    before = files_of(undisturbed)
    done = run(*build_arguments(release, undisturbed, "seed=5", "edits={rotate: 1}"))
    assert done.code == 2
    assert "seed" in done.err or "edits" in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert files_of(undisturbed) == before


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damaged_shards_are_found_and_rebuilt(undisturbed: Path, out: Path, damage: str):
    shard = next(out.glob("shards/full/train/*.tar"))
    data = bytearray(shard.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 255
    shard.write_bytes(data[:-4000] if damage == "cut" else data)
    if damage == "gone":
        shard.unlink()
    done = run("verify", out)
    assert done.code == 1
    assert shard.name in done.out
    done = run("verify", out, "--repair")
    assert done.code == 0, done
    assert shards_of(out) == shards_of(undisturbed)


def test_a_damaged_layer_file_is_recomputed(undisturbed: Path, out: Path):
    layer = sorted(out.glob("layers/pair-*/*.parquet"))[2]
    content = bytearray(layer.read_bytes())
    content[1000] ^= 255
    layer.write_bytes(content)
    found = run("verify", out)
    assert found.code == 1
    assert "pair" in found.out
    assert run("verify", out, "--repair").code == 0
    assert shards_of(out) == shards_of(undisturbed)


def test_one_broken_pair_costs_one_pair(release: Path, tmp_path: Path):
    broken = tmp_path / "release"
    write_release(broken, 9)
    cut = broken / "translate/train/uid000/2.png"
    cut.write_bytes(cut.read_bytes()[:300])
    (broken / "rotate/train/uid001" / FILES[-1]).unlink()
    done = run(*build_arguments(broken, tmp_path / "out"), "--json")
    summary = json.loads(done.out)
    assert done.code == 0
    assert summary["rejected"] == 2
    assert summary["accepted"] == 10
    assert any("unreadable_image" in reason for reason in summary["rejects"])


def test_two_runs_at_once(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    first = subprocess.Popen(
        [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *build_arguments(release, out, "unit_size=1")],
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not (out / "run.lock").exists():
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGSTOP)  # pause the first, so that the second meets its lock
    try:
        second = spatialdata(*build_arguments(release, out, "unit_size=1"))
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert second.returncode == 2
    assert str(first.pid) in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    assert first.wait() == 0


def test_an_interrupted_build_prints_how_to_resume(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    driver = subprocess.Popen(
        [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *build_arguments(release, out, "unit_size=1")],
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(list(out.glob("layers/*/*.json"))) < 3:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    driver.send_signal(signal.SIGINT)
    _, stderr = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "rerun the command to resume" in stderr
    assert "Traceback" not in stderr


def test_rejects_are_retried_after_a_fix(release: Path, tmp_path: Path):
    root, out = tmp_path / "release", tmp_path / "out"
    write_release(root, 9)
    image = root / "translate/train/uid000/2.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:300])
    assert json.loads(run(*build_arguments(root, out), "--json").out)["rejected"] == 1
    image.write_bytes(whole)
    assert json.loads(run(*build_arguments(root, out), "--json").out)["rejected"] == 1
    done = run(*build_arguments(root, out), "--retry", "unreadable_image", "--json")
    assert json.loads(done.out)["rejected"] == 0
