"""Each recipe on two processes through its command: the losses equal those of one process with twice the batch size."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.checkpoint import read_facts
from spatialdata_builder.training.command import run_train
from spatialdata_builder.training.metrics import read_metrics
from tests.shards.factory import make_sample, make_split
from tests.training.test_processes import ROOT, start

SIDE = 32
KEYS = [f"sample-{number}" for number in range(8)]
SMALL = {
    "spatialdiff": (),
    "ildm": (),
    "spatialedit": (f"recipe.side={SIDE}",),
}
"""Settings that adapt the preset `tiny` of each recipe to this image side."""


def shards_for(recipe: str, folder: Path) -> str:
    """Eight real samples, packed for the recipe."""
    members = {key: make_sample(key, side=SIDE) for key in KEYS}
    make_split(str(folder), [KEYS], recipe=get_recipe(recipe), changes=members)
    return str(folder)


def curve(out: Path, name: str = "loss") -> list[float]:
    return [line[name] for line in read_metrics(out)]


def test_documented_accelerate_launch_command_trains_and_resumes(tmp_path: Path):
    """The command of docs/training.md for two processes on a CPU, twice."""
    shards = shards_for("spatialdiff", tmp_path / "shards")
    launch = [str(Path(sys.executable).with_name("accelerate")), "launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--main_process_port", str(free_port())]
    arguments = ["--preset", "tiny", "--shards", shards, "--out", str(tmp_path / "run"), "--json"]
    for setting in ("batch_size=2", "save_every=2", *SMALL["spatialdiff"]):
        arguments += ["--set", setting]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    for steps, resumed in ((2, 0), (3, 2)):
        command = [
            *launch,
            "-m",
            "spatialdata_builder.training.cli",
            "spatialdiff",
            *arguments,
            "--set",
            f"steps={steps}",
        ]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (summary,) = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
        assert (summary["step"], summary["resumed"]) == (steps, resumed)
        assert [line["step"] for line in read_metrics(tmp_path / "run")] == list(range(1, steps + 1))
        assert read_facts(tmp_path / "run" / "checkpoints" / str(steps)).samples_per_step == 4


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# The other recipes on unsharded weights: test_run.py of each.
@pytest.mark.parametrize(("recipe", "sharded"), [("spatialdiff", False), *((recipe, True) for recipe in sorted(SMALL))])
def test_two_processes_match_one_with_twice_the_batch(recipe: str, sharded: bool, tmp_path: Path):
    shards = shards_for(recipe, tmp_path / "shards")
    settings = ("steps=4", "log=none", "validate_every=0", *SMALL[recipe])
    run_train(recipe, [shards], tmp_path / "one", preset="tiny", overrides=[*settings, "batch_size=4"])
    chosen = [*settings, "batch_size=2", f"sharded={str(sharded).lower()}"]
    overrides = [word for setting in chosen for word in ("--set", setting)]
    command = [recipe, "--preset", "tiny", "--shards", shards, "--out", str(tmp_path / "two"), *overrides]
    done = start(command, processes=2, module="spatialdata_builder.training.cli")
    assert done.returncode == 0, done.stderr
    for name in ("loss", "grad_norm"):
        assert curve(tmp_path / "two", name) == pytest.approx(curve(tmp_path / "one", name), rel=1e-3)
