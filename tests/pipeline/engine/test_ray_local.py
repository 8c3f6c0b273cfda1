"""A local Ray: the place and permissions of its sockets, and the errors if it does not start or dies."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

from spatialdata_builder.pipeline.engine import ray_health, ray_local
from spatialdata_builder.pipeline.engine.ray_local import session_folder, start_local
from spatialdata_builder.pipeline.interrupts import interruptible
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from tests.pipeline.releases import CHECKOUT, build_arguments, spatialdata, write_release

SLOW = "The current node timed out during startup. This could happen because the GCS has become overloaded."


@pytest.mark.ray
def test_a_long_tmpdir_works(tmp_path: Path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    arguments = build_arguments(write_release(tmp_path / "release", 3), tmp_path / "out", "engine.kind=ray")
    before = set(Path("/tmp").glob("spatialdata-ray-*"))
    done = spatialdata(*arguments, TMPDIR=str(long))
    assert done.returncode == 0, done.stderr
    assert set(Path("/tmp").glob("spatialdata-ray-*")) <= before


def test_the_session_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    with session_folder() as folder:
        folder.mkdir()
        folder.chmod(0o777)  # as Ray does
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as probe:  # the longest name that Ray gives a socket
            (sockets := folder / "session_2026-11-29_12-49-01_123456_4194304" / "sockets").mkdir(parents=True)
            probe.bind(str(sockets / "plasma_store.99"))
    assert not folder.parent.exists()


def test_no_place_for_sockets_is_an_error_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 100)))
    with (
        pytest.raises(BadInput, match=r"set RAY_TMPDIR to a folder with a short path"),
        session_folder(),
    ):
        raise AssertionError


def test_a_slow_start_is_retried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    waits: list[float] = []

    def slow(**_: object) -> None:
        began = time.monotonic()
        with pytest.raises(RuntimeError):
            ray_local.services.get_node("127.0.0.1:1", "none")
        waits.append(time.monotonic() - began)
        raise Exception(SLOW)

    def absent(*_: object) -> None:
        raise RuntimeError("no such node yet")

    monkeypatch.setattr(ray, "init", slow)
    monkeypatch.setattr(ray_local.services, "get_node", absent)
    monkeypatch.setattr(ray_local, "WAITS_S", (0.1, 0.6))
    with pytest.raises(SpatialdataError, match=r"did not start .*timed out.*when it is idle.*engine.kind=inline"):
        start_local(tmp_path, {})
    assert len(waits) == 2 and waits[1] > 0.5 > waits[0]


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
@pytest.mark.ray
def test_a_dead_ray_is_one_line_with_advice(tmp_path: Path, part: str):
    out = tmp_path / "out"
    arguments = build_arguments(write_release(tmp_path / "release", 60), out, "engine.kind=ray", "unit_size=1")
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *arguments]
    driver = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(out.glob("layers/*/*.json"))) < 10:
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    (victim,) = [pid for pid in children(driver.pid) if part in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]]
    os.kill(victim, signal.SIGKILL)
    stdout, stderr = driver.communicate(timeout=60)
    assert driver.returncode == 1 and stdout == ""
    (line,) = [line for line in stderr.splitlines() if not line.startswith(("after ", "80 samples"))]
    assert line.startswith("error: Ray's ") and line.endswith("rerun the command, finished units are kept")
    assert not (out / "run.lock").exists()


def children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def test_a_slow_answer_counts_as_alive(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = ("127.0.0.1", server.getsockname()[1])
        monkeypatch.setattr(ray_health, "_addresses", lambda: {"raylet": address})
        monkeypatch.setattr(ray_health, "EVERY_S", 0.05)
        with interruptible(), ray_health.watched(0.2):
            time.sleep(0.6)
        with pytest.raises(SpatialdataError, match="raylet died"), interruptible(), ray_health.watched(0.2):
            server.close()
            time.sleep(30)
