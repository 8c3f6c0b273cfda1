"""Each recipe on two processes through its command: the losses equal those of one process with twice the batch size."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.checkpoint import read_facts
from spatialdata_builder.training.command import run_train
from spatialdata_builder.training.metrics import read_metrics
from tests.shards.factory import make_sample, make_split
from tests.training.runs import newest
from tests.training.test_processes import ROOT, start

SIDE = 32
KEYS = [f"sample-{number}" for number in range(8)]
SMALL = {
    "spatialdiff": (),
    "ildm": (),
    "spatialedit": (f"recipe.side={SIDE}",),
    "spatialfusion": ("recipe.teacher=any",),
}
"""Settings that adapt the preset `tiny` of each recipe to this image side."""


def shards_for(recipe: str, folder: Path) -> str:
    """Eight real samples, packed for the recipe."""
    members = {key: make_sample(key, side=SIDE) for key in KEYS}
    make_split(str(folder), [KEYS], recipe=get_recipe(recipe), changes=members)
    return str(folder)


def curve(out: Path, name: str = "loss") -> list[float]:
    return [line[name] for line in read_metrics(out)]


@pytest.mark.parametrize("recipe", sorted(SMALL))
def test_a_launch_by_accelerate_that_is_killed_resumes_as_if_undisturbed(recipe: str, tmp_path: Path):
    """The command of docs/training.md for two processes on a CPU, killed with all its processes."""
    shards = shards_for(recipe, tmp_path / "shards")
    settings = ("save_every=2", "log=none", "validate_every=0", *SMALL[recipe])
    overrides = [word for setting in (*settings, "batch_size=2") for word in ("--set", setting)]
    arguments = ["--preset", "tiny", "--shards", shards, "--out", str(tmp_path / "two"), "--json", *overrides]
    killed = launch(recipe, [*arguments, "--set", "steps=100000"], tmp_path)
    while killed.poll() is None and len(read_metrics(tmp_path / "two")) < 3:
        time.sleep(0.05)
    assert killed.poll() is None, killed.communicate()
    for process in (*psutil.Process(killed.pid).children(recursive=True), killed):  # they are in sessions of their own
        process.kill()
    killed.communicate()
    step = int(newest(tmp_path / "two").name)
    again = launch(recipe, [*arguments, "--set", f"steps={step + 2}"], tmp_path)
    out, err = again.communicate()
    assert again.returncode == 0, err
    (summary,) = (json.loads(line) for line in out.splitlines() if line.startswith("{"))
    assert (summary["step"], summary["resumed"]) == (step + 2, step)
    assert read_facts(newest(tmp_path / "two")).samples_per_step == 4
    one = [*settings, "batch_size=4", f"steps={step + 2}"]
    run_train(recipe, [shards], tmp_path / "one", preset="tiny", overrides=one)
    for name in ("loss", "grad_norm"):
        assert curve(tmp_path / "two", name) == pytest.approx(curve(tmp_path / "one", name), rel=2e-3)


def launch(recipe: str, arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    accelerate = [str(Path(sys.executable).with_name("accelerate")), "launch", "--multi_gpu", "--num_processes", "2"]
    command = [*accelerate, "--main_process_port", str(free_port()), "-m", "spatialdata_builder.training.cli", recipe]
    return subprocess.Popen(
        [*command, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("recipe", sorted(SMALL))
def test_sharded_on_two_processes_matches_one_with_twice_the_batch(recipe: str, tmp_path: Path):
    shards = shards_for(recipe, tmp_path / "shards")
    settings = ("steps=4", "log=none", "validate_every=0", *SMALL[recipe])
    run_train(recipe, [shards], tmp_path / "one", preset="tiny", overrides=[*settings, "batch_size=4"])
    chosen = [*settings, "batch_size=2", "sharded=true"]
    overrides = [word for setting in chosen for word in ("--set", setting)]
    command = [recipe, "--preset", "tiny", "--shards", shards, "--out", str(tmp_path / "two"), *overrides]
    done = start(command, processes=2, module="spatialdata_builder.training.cli")
    assert done.returncode == 0, done.stderr
    for name in ("loss", "grad_norm"):
        assert curve(tmp_path / "two", name) == pytest.approx(curve(tmp_path / "one", name), rel=1e-3)


def test_ctrl_c_at_a_launcher_saves_the_finished_step(tmp_path: Path):
    shards = shards_for("spatialdiff", tmp_path / "shards")
    settings = [word for setting in ("steps=100000", "batch_size=2") for word in ("--set", setting)]
    arguments = ["--preset", "tiny", "--shards", shards, "--out", str(tmp_path / "run"), *settings]
    process = launch("spatialdiff", arguments, tmp_path)
    while process.poll() is None and len(read_metrics(tmp_path / "run")) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert f"trained to step {newest(tmp_path / 'run').name} " in out, err
    assert err.count("stopped by SIGINT before the last step: rerun the command to resume") == 1
