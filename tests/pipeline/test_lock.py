"""One run at a time on one OUT; a dead run's lock falls."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import lock as lock_module
from pipeline.lock import LOCK, RunLock, wait_for_lock
from pipeline.store import LayerStore
from shards.errors import BadInput, SpatialdataError

HOLD = (
    "import sys, time; from pipeline.lock import RunLock; from pipeline.store import LayerStore\n"
    "with RunLock(LayerStore(sys.argv[1])): print('held', flush=True); time.sleep(600)"
)


def hold(out: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("kind", ["local", "memory", "s3"])
def test_held_and_released(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    url = str(tmp_path) if kind == "local" else f"{kind}://bucket/{tmp_path.name}"
    store = LayerStore(url, **(request.getfixturevalue("s3") if kind == "s3" else {}))
    with RunLock(store) as lock:
        lock.check()
        with pytest.raises(BadInput, match=f"in use by process {os.getpid()} on .* since"), RunLock(store):
            raise AssertionError
        assert store.exists(LOCK)
    assert not store.exists(LOCK)
    with RunLock(store):
        pass


def test_the_second_run_is_told_and_a_killed_one_gives_way(tmp_path: Path):
    first = hold(tmp_path)
    try:
        with pytest.raises(BadInput, match=f"process {first.pid} on"), RunLock(LayerStore(str(tmp_path))):
            raise AssertionError
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    with RunLock(LayerStore(str(tmp_path))) as lock:
        lock.check()


def test_a_shared_folder_is_waited_for(tmp_path: Path):
    first = hold(tmp_path)
    told: list[str] = []

    def end(line: str) -> None:
        told.append(line)
        first.kill()
        first.wait()

    try:
        with wait_for_lock(LayerStore(str(tmp_path)), end, poll_s=0.01) as lock:
            lock.check()
    finally:
        end("")
    assert f"waiting for process {first.pid} on" in told[0]
    assert told[0].endswith(f"which works in {tmp_path}")
    assert len(told) == 2
    assert not (tmp_path / LOCK).exists()


def _elsewhere(store: LayerStore, beat: float) -> None:
    with RunLock(store):
        text = json.loads(store.read_file(LOCK))
    store.write_file(LOCK, json.dumps(text | {"host": "far", "machine": "far", "beat": beat, "token": "t"}).encode())


def test_a_lock_from_another_machine_falls_when_it_is_not_renewed(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    _elsewhere(store, time.time() - 30)
    with pytest.raises(BadInput, match="on far since"), RunLock(store):
        raise AssertionError
    _elsewhere_again(store)
    with RunLock(store) as lock:
        lock.check()


def _elsewhere_again(store: LayerStore) -> None:
    text = json.loads(store.read_file(LOCK))
    store.write_file(LOCK, json.dumps(text | {"beat": time.time() - 61}).encode())


def test_it_is_renewed_and_a_lost_lock_is_noticed(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    with RunLock(store, beat_s=0.02) as lock:
        first = json.loads(store.read_file(LOCK))["beat"]
        deadline = time.monotonic() + 20
        while json.loads(store.read_file(LOCK))["beat"] == first:
            assert time.monotonic() < deadline
        foreign = replace(lock._me, token="other", host="thief")
        while lock._lost == "":
            store.write_file(LOCK, json.dumps(lock_module.asdict(foreign)).encode())
            time.sleep(0.02)
            assert time.monotonic() < deadline
        with pytest.raises(SpatialdataError, match=r"taken over by process .* on thief"):
            lock.check()
    assert store.exists(LOCK)


def test_a_cut_off_lock_does_not_hold(tmp_path: Path):
    (tmp_path / LOCK).write_text('{"host"')
    with RunLock(LayerStore(str(tmp_path))):
        pass


def test_out_not_writable(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="not writable"), RunLock(LayerStore(str(tmp_path / "file"))):
        raise AssertionError
