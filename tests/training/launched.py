"""Tiny runs of the recipes in separate processes, for tests that kill a run or use several processes.

As a program: `python -m tests.training.launched RECIPE SHARDS OUT K=V ...`; after step KILL_AFTER it kills itself.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from spatialdata_builder.training.command import run_train
from spatialdata_builder.training.loop import Summary
from spatialdata_builder.training.metrics import read_metrics

ROOT = Path(__file__).resolve().parents[2]
QUIET = ("log=none", "validate_every=0")


def run_tiny(recipe: str, shards: str, out: Path, settings: Sequence[str], kill_after: int = 0) -> Summary:
    def on_step(values: Mapping[str, float]) -> None:
        if values["step"] == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    return run_train(recipe, [shards], out, preset="tiny", overrides=[*QUIET, *settings], on_step=on_step)


def launch(
    recipe: str, shards: str, out: Path, settings: Sequence[str], *, processes: int = 1, kill_after: int = 0
) -> subprocess.CompletedProcess[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    env = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    env["KILL_AFTER"] = str(kill_after)
    command = [sys.executable, *torchrun, "-m", "tests.training.launched", recipe, shards, str(out), *settings]
    return subprocess.run(command, env=os.environ | env, cwd=ROOT, capture_output=True, text=True, check=False)


def assert_same_after_a_kill(recipe: str, shards: str, folder: Path, settings: Sequence[str], weights: str) -> None:
    """A run killed after its third step and resumed has the losses and weights of an uninterrupted run."""
    settings = ["steps=4", "save_every=2", *settings]
    run_tiny(recipe, shards, folder / "whole", settings)
    assert launch(recipe, shards, folder / "killed", settings, kill_after=3).returncode == -signal.SIGKILL
    assert run_tiny(recipe, shards, folder / "killed", settings).resumed == 2
    one, other = (load_file(folder / name / "checkpoints" / "4" / "model" / weights) for name in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert curve(folder / "whole") == curve(folder / "killed")


def assert_same_on_two_processes(recipe: str, shards: str, folder: Path, settings: Sequence[str]) -> None:
    """Two processes have the losses of one process with twice the batch size."""
    settings = ["steps=4", *settings]
    run_tiny(recipe, shards, folder / "one", [*settings, "batch_size=4"])
    done = launch(recipe, shards, folder / "two", [*settings, "batch_size=2"], processes=2)
    assert done.returncode == 0, done.stderr
    for name in ("loss", "grad_norm"):
        assert curve(folder / "two", name) == pytest.approx(curve(folder / "one", name), rel=1e-3)


def curve(out: Path, name: str = "loss") -> list[float]:
    return [line[name] for line in read_metrics(out)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_tiny(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:], int(os.environ["KILL_AFTER"]))
