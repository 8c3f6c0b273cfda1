"""A build followed from another terminal: its holder, its progress, and its end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.report.status.watch import read_state, watch
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.lock import RunLock
from spatialdata_builder.shards.errors import BadInput
from tests.pipeline.command_line import run
from tests.pipeline.releases import CHECKOUT, build_arguments

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT)}


def start(release: Path, out: Path) -> "subprocess.Popen[bytes]":
    """A build with units of one sample, paused once it has committed something."""
    command = [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *build_arguments(release, out, "unit_size=1")]
    driver = subprocess.Popen(command, cwd=CHECKOUT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(out.glob("layers/*/*.json"))) < 6:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    driver.send_signal(signal.SIGSTOP)
    return driver


def test_running_stopped_resumed_finished(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    driver = start(release, out)
    try:
        seen = read_state(str(out))
        assert seen.holder is not None
        assert seen.holder.pid == driver.pid
        assert seen.state.startswith(f"running: process {driver.pid} on ")
        assert seen.quiet_s is not None
        done = {stage.layer: stage.done for stage in seen.stages}
        assert done == {
            layer.name.rpartition("-")[0]: len(list(layer.glob("????????.json"))) for layer in out.glob("layers/*")
        } | {name: 0 for name, number in done.items() if not number}
        assert max(done.values()) < 16
    finally:
        driver.kill()
        driver.wait()
    seen = read_state(str(out))
    assert (seen.holder, seen.finished) == (None, False)
    assert seen.state.startswith("stopped: no run holds it, the last unit was committed ")
    assert all(stage.pace == 0 for stage in seen.stages)
    assert run(*build_arguments(release, out, "unit_size=1")).code == 0
    seen = read_state(str(out))
    assert (seen.finished, seen.state) == (True, "finished: 16 of 16 samples are accepted")


def test_it_watches_until_the_build_is_finished(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    driver = start(release, out)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        """The first state is of a paused build; then the build runs to its end."""
        pauses.append(seconds)
        driver.send_signal(signal.SIGCONT)
        assert driver.wait() == 0

    watch(str(out), as_json=True, pause=pause)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["finished"] for line in lines] == [False, True]
    assert lines[0]["running"]["pid"] == driver.pid
    assert lines[1]["running"] is None
    assert {stage["done"] for stage in lines[1]["stages"].values()} == {16}
    assert len(pauses) == 1


def test_an_interrupt_ends_it_silently(release: Path, tmp_path: Path):
    out = tmp_path / "out"
    driver = start(release, out)
    try:
        command = [sys.executable, "-m", "spatialdata_builder.pipeline.cli", "status", str(out), "--watch"]
        watcher = subprocess.Popen(
            command, cwd=CHECKOUT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert watcher.stdout is not None
        assert watcher.stdout.readline().startswith("running: process ")
        watcher.send_signal(signal.SIGINT)
        assert watcher.communicate(timeout=60) == ("", "")
        assert watcher.returncode == 130
    finally:
        driver.kill()
        driver.wait()


def test_a_packing_build_is_not_finished(out: Path):
    with RunLock(LayerStore(str(out))):
        seen = read_state(str(out))
    assert not seen.finished
    assert seen.state == f"packing: {seen.holder}"
    result = run("status", out, "--watch")
    assert (result.code, result.out.partition(":")[0]) == (0, "finished")


def test_nothing_to_watch(tmp_path: Path):
    with pytest.raises(BadInput, match="no build"):
        watch(str(tmp_path))
