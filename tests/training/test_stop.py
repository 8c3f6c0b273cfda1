"""Signals and the time limit of a run: its step is finished and saved, and the resumed run is the same."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from spatialdata_builder.shards.errors import Stopped
from spatialdata_builder.training import stop
from spatialdata_builder.training.metrics import read_metrics
from spatialdata_builder.training.stop import StopRequest, exit_code
from tests.training.linear import run
from tests.training.runs import SETTINGS, assert_same_run, newest
from tests.training.test_processes import ROOT
from tests.training.test_recipes_in_processes import shards_for

ENV = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


def start(arguments: Sequence[str], *launcher: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *launcher, *arguments],
        env=ENV,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(out: Path, steps: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and len(read_metrics(out)) < steps:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_saves_the_finished_step_and_the_resumed_run_is_the_same(name: str, triplets: Path, tmp_path: Path):
    settings = ("ema=0.9", "accumulate=2", "recipe.dropout=0.2", "steps=100000", "save_every=100000")
    process = start([str(triplets), str(tmp_path / "out"), *settings], "-m", "tests.training.linear")
    wait_for(tmp_path / "out", 2, process)
    process.send_signal(signal.Signals[name])
    assert process.wait() == 0, process.stderr.read()
    step = int(newest(tmp_path / "out").name)
    assert [line["step"] for line in read_metrics(tmp_path / "out")] == list(range(1, step + 1))
    until = (*settings[:3], f"steps={step + 2}")
    assert run(triplets, tmp_path / "out", *until, "save_every=100000").resumed == step
    run(triplets, tmp_path / "whole", *until, "save_every=100000")
    assert_same_run(tmp_path / "whole", tmp_path / "out")


def test_a_signal_to_one_of_two_processes_stops_both_after_the_same_step(triplets: Path, tmp_path: Path):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "tests.training.linear")
    process = start([str(triplets), str(tmp_path), "steps=100000", "save_every=100000", "batch_size=2"], *torchrun)
    wait_for(tmp_path, 2, process)
    workers = [each for each in psutil.Process(process.pid).children(recursive=True) if "linear" in str(each.cmdline())]
    workers[1].send_signal(signal.SIGTERM)
    assert process.wait() == 0, process.stderr.read()
    assert int(newest(tmp_path).name) == read_metrics(tmp_path)[-1]["step"] < 100_000


def test_the_time_limit_stops_with_a_checkpoint(triplets: Path, tmp_path: Path):
    done = run(triplets, tmp_path / "out", *SETTINGS, "max_hours=1e-9")
    assert (done.step, done.stopped) == (1, "max_hours")
    again = run(triplets, tmp_path / "out", *SETTINGS)
    assert (again.resumed, again.stopped) == (1, "")
    run(triplets, tmp_path / "whole", *SETTINGS)
    assert_same_run(tmp_path / "whole", tmp_path / "out")


def test_exit_codes():
    assert [exit_code(name) for name in ("", "max_hours", "SIGUSR1", "SIGTERM", "SIGINT")] == [0, 0, 0, 130, 130]


def test_before_the_first_step_a_signal_ends_the_run_and_tells_what_is_saved(
    triplets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from tests.training.linear import Linear

    build = Linear.build

    def build_and_interrupt(self, device: torch.device, dtype: torch.dtype):
        os.kill(os.getpid(), signal.SIGTERM)
        return build(self, device, dtype)

    with monkeypatch.context() as patched:
        patched.setattr(Linear, "build", build_and_interrupt)
        with pytest.raises(Stopped, match=r"^stopped by SIGTERM: nothing saved yet; rerun the command to start again$"):
            run(triplets, tmp_path, "steps=2")
    run(triplets, tmp_path, "steps=2")
    monkeypatch.setattr(Linear, "build", build_and_interrupt)
    with pytest.raises(Stopped, match=r"the last checkpoint is .*checkpoints/2; rerun the command to resume from it"):
        run(triplets, tmp_path, "steps=4")


def test_signals_close_to_the_first_count_as_one_and_a_later_ctrl_c_interrupts(monkeypatch: pytest.MonkeyPatch):
    before = signal.getsignal(signal.SIGINT)
    accelerator = Accelerator(cpu=True)
    try:
        with StopRequest() as request:
            assert request.reason(accelerator) == ""
            request.wait_for_steps()
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            assert request.reason(accelerator) == request.signal == "SIGINT"
            monkeypatch.setattr(stop, "AGAIN_S", 0.0)
            os.kill(os.getpid(), signal.SIGTERM)  # such as Slurm's after its warning
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    "launcher", [("spatialdata_builder.training.cli",), ("spatialdata_builder.pipeline.cli", "train")]
)
def test_the_command_exits_with_130_and_one_line(launcher: tuple[str, ...], tmp_path: Path):
    module, *words = launcher
    shards, out = shards_for("spatialdiff", tmp_path / "shards"), tmp_path / "out"
    overrides = ["--set", "steps=100000", "--set", "batch_size=2"]
    process = start([*words, "spatialdiff", "--preset", "tiny", "-s", shards, "-o", str(out), *overrides], "-m", module)
    wait_for(out, 1, process)
    process.send_signal(signal.SIGINT)
    said, err = process.communicate()
    step = int(newest(out).name)
    assert process.returncode == 130, err
    assert f"trained to step {step} " in said
    assert err.strip().splitlines()[-1] == "stopped by SIGINT before the last step: rerun the command to resume"
    assert "Traceback" not in err
