"""Runs in separate processes: killed runs, two processes, sharded weights."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.metrics import read_metrics
from tests.shards.factory import make_split
from tests.shards.streaming.test_dataset import damage
from tests.training.linear import run
from tests.training.runs import SETTINGS, assert_same_run, newest

EMA = "ema=0.9"
ROOT = Path(__file__).resolve().parents[2]


def start(
    arguments: list[str], processes: int = 1, module: str = "tests.training.linear", **env: str
) -> subprocess.CompletedProcess[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    return subprocess.run(
        [sys.executable, *launch, "-m", module, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"} | env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_close(expected: Path, found: Path) -> None:
    for name in ("loss", "grad_norm"):
        curve = [line[name] for line in read_metrics(found)]
        assert curve == pytest.approx([line[name] for line in read_metrics(expected)], rel=1e-5)
    for part in ("model", "ema"):
        weights = load_file(newest(expected) / part / "net.safetensors")
        for name, value in load_file(newest(found) / part / "net.safetensors").items():
            torch.testing.assert_close(value, weights[name], rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def one_process(triplets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process with four samples per step."""
    out = tmp_path_factory.mktemp("one_process")
    run(triplets, out, "steps=6", "batch_size=4", EMA)
    return out


def test_killed_after_a_step_and_during_a_save_the_run_is_the_same(triplets: Path, tmp_path: Path, uninterrupted: Path):
    arguments = [str(triplets), str(tmp_path), *SETTINGS]
    assert start(arguments, KILL_AFTER="5").returncode == -signal.SIGKILL
    assert start(arguments, KILL_IN=".half-6").returncode == -signal.SIGKILL
    assert (tmp_path / "checkpoints" / ".half-6" / "model" / "begun").exists()
    assert newest(tmp_path).name == "3"
    assert run(triplets, tmp_path, *SETTINGS).resumed == 3
    assert_same_run(uninterrupted, tmp_path)
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_two_processes_match_one_with_twice_the_batch(triplets: Path, tmp_path: Path, one_process: Path):
    both = [str(triplets), str(tmp_path), "steps=5", "batch_size=2", EMA]
    done = start(both, processes=2)
    assert done.returncode == 0, done.stderr
    # One process resumes a run of two, since each step has the same samples.
    assert run(triplets, tmp_path, "steps=6", "batch_size=4", EMA).resumed == 5
    assert_close(one_process, tmp_path)


def test_two_accumulated_passes_match_one_with_twice_the_batch(triplets: Path, tmp_path: Path, one_process: Path):
    run(triplets, tmp_path, "steps=6", "batch_size=2", "accumulate=2", EMA)
    assert_close(one_process, tmp_path)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 samples in two shards: after two steps of eight samples, an epoch has five left."""
    folder = tmp_path_factory.mktemp("odd")
    keys = [[f"a{i:02}" for i in range(11)], [f"b{i:02}" for i in range(10)]]
    make_split(str(folder), keys, recipe=get_recipe("spatialdiff"))
    return folder


@pytest.fixture(scope="module")
def three_epochs(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("three_epochs")
    run(odd, out, "steps=6", "batch_size=8", EMA)
    return out


@pytest.mark.parametrize(("batch", "accumulate", "processes"), [(4, 2, 1), (2, 4, 1), (2, 2, 2)])
def test_the_curve_does_not_depend_on_how_a_step_is_divided(
    batch: int, accumulate: int, processes: int, odd: Path, three_epochs: Path, tmp_path: Path
):
    division = [EMA, f"batch_size={batch}", f"accumulate={accumulate}"]
    done = start([str(odd), str(tmp_path), "steps=6", *division], processes=processes)
    assert done.returncode == 0, done.stderr
    assert_close(three_epochs, tmp_path)


def test_a_run_resumes_as_another_division_within_an_epoch(odd: Path, three_epochs: Path, tmp_path: Path):
    run(odd, tmp_path, "steps=1", "batch_size=8", EMA)
    run(odd, tmp_path, "steps=3", "batch_size=2", "accumulate=4", EMA)
    done = start([str(odd), str(tmp_path), "steps=6", "batch_size=2", "accumulate=2", EMA], processes=2)
    assert done.returncode == 0, done.stderr
    assert_close(three_epochs, tmp_path)


@pytest.mark.parametrize(("batch", "accumulate", "processes"), [(4, 2, 1), (2, 2, 2)])
def test_damaged_samples_weigh_nothing_in_any_division(batch: int, accumulate: int, processes: int, tmp_path: Path):
    """Three of eight samples are damaged, unevenly over the passes: the step is the mean over the other five."""
    keys = [f"s{i}" for i in range(8)]
    manifest = make_split(str(tmp_path / "set"), [keys], recipe=get_recipe("spatialdiff"))
    for key in ("s1", "s2", "s6"):
        damage(tmp_path / "set" / manifest.shards[0].name, key, "target.webp")
    settings = ["steps=3", "data.on_error=skip", EMA]
    run(tmp_path / "set", tmp_path / "whole", *settings, "batch_size=8")
    division = [f"batch_size={batch}", f"accumulate={accumulate}"]
    done = start([str(tmp_path / "set"), str(tmp_path / "divided"), *settings, *division], processes=processes)
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path / "whole", tmp_path / "divided")


def test_sharded_training_matches_and_saves_full_weights(triplets: Path, tmp_path: Path, one_process: Path):
    run(triplets, tmp_path, "steps=2", "batch_size=4", EMA)
    parts = ["steps=5", "batch_size=1", "accumulate=2", EMA, "sharded=true", "validate_every=5"]
    done = start([str(triplets), str(tmp_path), *parts], processes=2)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["00000005.png"]
    assert run(triplets, tmp_path, "steps=6", "batch_size=4", EMA).resumed == 5
    assert_close(one_process, tmp_path)
