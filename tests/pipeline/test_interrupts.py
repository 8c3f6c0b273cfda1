"""One Ctrl-C is enough at any time: exit code 130, no traceback, and the same command resumes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from spatialdata_builder.pipeline import interrupts
from spatialdata_builder.pipeline.interrupts import give_up, interruptible
from spatialdata_builder.shards.errors import SpatialdataError, Stopped
from tests.pipeline.releases import CHECKOUT, build_arguments, files_of, spatialdata, write_release

COMMAND = """
import sys
sys.argv[0] = "spatialdata"  # as the console script
import spatialdata_builder.pipeline.start
print("up", flush=True)
from spatialdata_builder.pipeline.cli import main
main()
"""
"""Prints a line once our code runs: everything before is the start of the interpreter."""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), 40)


@pytest.fixture(scope="module")
def whole(release: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An uninterrupted build of it in units of one sample, and the seconds that it took."""
    out = tmp_path_factory.mktemp("whole") / "out"
    began = time.monotonic()
    assert spatialdata(*build_arguments(release, out, "unit_size=1")).returncode == 0
    return out, time.monotonic() - began


def interrupted(arguments: list[str], after_s: float, number: signal.Signals) -> tuple[int, str, float]:
    """Exit code and stderr of a command that gets one signal, and the seconds until it ended."""
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", COMMAND, *arguments]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    time.sleep(after_s)
    process.send_signal(number)
    began = time.monotonic()
    try:
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, stderr, time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_at_any_moment_of_a_build(release: Path, whole: tuple[Path, float], tmp_path: Path, number: signal.Signals):
    out = tmp_path / "out"
    arguments = build_arguments(release, out, "unit_size=1")
    finished, length = whole
    # Densely during the start, then over the whole build; each run resumes the one before.
    moments = [0.0, *(0.004 * n for n in range(1, 12)), *(length * n / 12 for n in range(1, 8))]
    for moment in moments:
        code, stderr, _ = interrupted(arguments, moment, number)
        if code == 0:  # the earlier runs left little to do
            break
        assert code == 130, (moment, stderr)
        assert "Traceback" not in stderr and "internal error" not in stderr, (moment, stderr)
        assert stderr.splitlines()[-1:] == ["stopped; rerun the command to resume"], (moment, stderr)
    assert spatialdata(*arguments).returncode == 0
    assert files_of(out / "shards") == files_of(finished / "shards")


@pytest.mark.parametrize("after_s", [1.5, 4.0])
@pytest.mark.ray
def test_on_ray(release: Path, tmp_path: Path, after_s: float):
    """While Ray starts, and about when its workers start."""
    code, stderr, _ = interrupted(build_arguments(release, tmp_path, "engine.kind=ray"), after_s, signal.SIGINT)
    assert code == 130, stderr
    assert "Traceback" not in stderr and stderr.splitlines()[-1] == "stopped; rerun the command to resume"


def test_a_swallowed_interrupt_is_raised_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interrupts, "AGAIN_S", 0.05)
    swallowed = 0
    with pytest.raises(Stopped), interruptible():
        while True:
            try:
                if not swallowed:
                    os.kill(os.getpid(), signal.SIGINT)
                time.sleep(30)
            except KeyboardInterrupt:
                swallowed += 1
                if swallowed == 3:
                    raise


@pytest.mark.parametrize("error", [ImportError("a C module that swallowed it"), SystemExit(1)])
def test_an_interrupt_that_became_another_error(error: BaseException):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped), interruptible(), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        except KeyboardInterrupt:
            raise error from None
    assert signal.getsignal(signal.SIGINT) == before


def test_work_that_ended_despite_an_interrupt():
    with pytest.raises(Stopped), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)
        except KeyboardInterrupt:
            pass


def test_cleanup_is_not_interrupted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interrupts, "AGAIN_S", 0.02)
    cleaned = False
    with pytest.raises(Stopped), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)
        finally:
            for _ in range(10):  # half a second of signals: repeated ones, and those of an impatient user
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
            cleaned = True
    assert cleaned


def test_a_thread_ends_the_work():
    why = SpatialdataError("the cluster is gone")
    with pytest.raises(SpatialdataError, match="the cluster is gone"), interruptible():
        threading.Timer(0.1, give_up, (why,)).start()
        time.sleep(30)


def test_a_system_exit_is_kept():
    with pytest.raises(SystemExit), interruptible():
        raise SystemExit(3)
