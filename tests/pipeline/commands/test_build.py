"""Counts of a build, stopping it, and opening it again."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from spatialdata_builder.pipeline.config import Config, EngineOptions, load_config
from spatialdata_builder.pipeline.engine.run import run
from spatialdata_builder.pipeline.opened import Build, open_build, rejects_of
from spatialdata_builder.pipeline.planning.configurations import BUILD
from spatialdata_builder.pipeline.planning.samples import pair_arguments
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import write_plan
from spatialdata_builder.shards.sample import Reject, Result, Sample
from tests.pipeline.releases import CHECKOUT
from tests.pipeline.toys import EDITS, SPLITS, Judge, Make, Measure, key, toy_plan


@dataclass(frozen=True)
class RejectAll(Judge):
    """Rejects every sample."""

    layer: ClassVar[str] = "line"

    def __call__(self, model: None, samples: Sequence[Sample]) -> Sequence[Result]:
        return [Reject("no_line") for _ in samples]


def test_a_sample_that_two_layers_rejected_is_counted_once(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    plan = toy_plan(store)
    stages = (Make(ills={key(5): "reject"}), Measure(), Judge(), RejectAll())
    run(stages, store, plan, EngineOptions(kind="inline"), plan_hash=plan.hash)
    found = rejects_of(Build(store, Config(), plan, stages))
    divisible = found.reasons["checks: divisible"]
    assert divisible > 0
    assert found.reasons == {"checks: divisible": divisible, "line: no_line": 39, "pair: too_dark": 1}
    assert found.samples == plan.samples == 40


def test_a_timeout_changes_no_layer_and_is_stored(tmp_path: Path):
    def folders(*settings: str) -> dict[str, str]:
        config = load_config(None, settings)
        store.write_file(BUILD, config.model_dump_json().encode())
        found = open_build(str(tmp_path))
        assert found.config == config, "build.json differs from the requested configuration"
        stages = build_stages(config, pair_arguments(config, store, plan))
        assert found.layers == Build(store, config, plan, tuple(stages)).layers
        return found.layers

    store = LayerStore(str(tmp_path))
    plan = write_plan(store, {"assets": ""}, plan_scenes(40, 1, EDITS, SPLITS), 8)
    usual = folders()
    assert folders("render.timeout_s=900", "render.recycle=3") == usual
    assert folders("render.samples=33") != usual


def blocked(arguments: Sequence[str], started: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A command that blocks at its first line on stderr, which is full. Returns once the file `started` exists."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, fcntl.fcntl(writing, fcntl.F_GETFL) | os.O_NONBLOCK)
    for size in (4096, 1):
        try:
            while True:
                os.write(writing, b"." * size)
        except BlockingIOError:
            pass
    fcntl.fcntl(writing, fcntl.F_SETFL, fcntl.fcntl(writing, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    command = [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *arguments]
    process = subprocess.Popen(command, cwd=CHECKOUT, stderr=writing, stdout=subprocess.DEVNULL)
    os.close(writing)
    deadline = time.monotonic() + 60
    while not started.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process, reading


@pytest.mark.parametrize(
    ("doing", "engine", "number"),
    [
        ("planning", "inline", signal.SIGTERM),
        ("planning", "inline", signal.SIGINT),
        # Ray would turn it into an exit of its own.
        pytest.param("planning", "ray", signal.SIGTERM, marks=pytest.mark.ray),
        ("packing", "inline", signal.SIGTERM),
        ("packing", "inline", signal.SIGINT),
    ],
)
@pytest.mark.slow
def test_a_stopped_command_releases_the_lock(
    out: Path, tmp_path: Path, doing: str, engine: str, number: signal.Signals
):
    if doing == "planning":
        out = tmp_path / "new"
        settings = ["--set", f"engine.kind={engine}", "--set", "source.variants=1"]
        process, stderr = blocked(["build", "--out", str(out), *settings], out / "plan" / "assets.parquet")
        assert not (out / "plan.json").exists()
    else:
        settings = ["--set", "shard.samples_per_shard=1"]
        process, stderr = blocked(["shard", str(out), "--recipe", "spatialedit", *settings], out / "shards/spatialedit")
    assert (out / "run.lock").exists()
    process.send_signal(number)
    with os.fdopen(stderr, "rb") as stream:
        lines = stream.read().decode().lstrip(".").splitlines()
    assert process.wait(60) == 130
    assert lines[-1] == "stopped; rerun the command to resume"
    assert not (out / "run.lock").exists()


@pytest.mark.slow
def test_stopped_before_it_holds_a_lock(tmp_path: Path):
    fifo = tmp_path / "config.yaml"
    os.mkfifo(fifo)
    command = [
        sys.executable,
        "-m",
        "spatialdata_builder.pipeline.cli",
        "build",
        "--config",
        str(fifo),
        "--out",
        str(tmp_path / "out"),
    ]
    # If the tests run in a background job of a shell, their child processes would ignore SIGINT.
    process = subprocess.Popen(
        command,
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    writing = None
    while writing is None:  # there is a reader once the command opens its configuration
        assert process.poll() is None
        assert time.monotonic() < deadline
        with contextlib.suppress(OSError):
            writing = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    os.close(writing)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "stopped; rerun the command to resume"
    assert "Traceback" not in stderr
