"""One run at a time on one OUT; the lock of a dead run expires."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.store import lock as lock_module
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.lock import LOCK, LockWatcher, RunLock, wait_for_lock
from spatialdata_builder.shards.errors import BadInput, SpatialdataError

HOLD = (
    "import sys, time\nfrom spatialdata_builder.pipeline.store.lock import RunLock\n"
    "from spatialdata_builder.pipeline.store.layers import LayerStore\n"
    "with RunLock(LayerStore(sys.argv[1])): print('held', flush=True); time.sleep(600)"
)


def hold(out: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("kind", ["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
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


@pytest.mark.slow
def test_a_second_run_is_an_error_until_the_first_is_killed(tmp_path: Path):
    first = hold(tmp_path)
    try:
        with pytest.raises(BadInput, match=f"process {first.pid} on"), RunLock(LayerStore(str(tmp_path))):
            raise AssertionError
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    with RunLock(LayerStore(str(tmp_path))) as lock:
        lock.check()


@pytest.mark.slow
def test_a_shared_folder_is_waited_for(tmp_path: Path):
    first = hold(tmp_path)
    lines: list[str] = []

    def end(line: str) -> None:
        lines.append(line)
        first.kill()
        first.wait()

    try:
        with wait_for_lock(LayerStore(str(tmp_path)), end, poll_s=0.01) as lock:
            lock.check()
    finally:
        end("")
    assert f"waiting for process {first.pid} on" in lines[0]
    assert lines[0].endswith(f"which holds {tmp_path}")
    assert len(lines) == 2
    assert not (tmp_path / LOCK).exists()


def _elsewhere(store: LayerStore, beat: float) -> None:
    holder = {"host": "far", "machine": "far", "pid": 7, "process": "1", "since": "2026-01-01T00:00:00", "token": "t"}
    store.write_file(LOCK, json.dumps(holder | {"beat": beat}).encode())


def test_a_lock_from_another_machine_expires_if_it_is_not_renewed(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    _elsewhere(store, time.time() - 30)
    with pytest.raises(BadInput, match="on far since"), RunLock(store):
        raise AssertionError
    lines: list[str] = []
    for beat in (time.time() - 61, time.time() + 1e6):  # also of a clock that is ahead
        text = json.loads(store.read_file(LOCK))
        store.write_file(LOCK, json.dumps(text | {"token": "t", "machine": "far", "beat": beat}).encode())
        with RunLock(store, stale_s=0.5, say=lines.append) as lock:
            lock.check()
            text = json.loads(store.read_file(LOCK))
        store.write_file(LOCK, json.dumps(text).encode())
    assert len(lines) == 2 and "watching its lock for" in lines[0]


@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0])
def test_a_run_with_a_wrong_clock_is_alive(tmp_path: Path, ahead_s: float):
    store = LayerStore(str(tmp_path))
    _elsewhere(store, time.time() + ahead_s)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.1):
            _elsewhere(store, time.time() + ahead_s)

    holder = threading.Thread(target=renew)
    seen = LockWatcher(store)
    assert seen.holder() is None  # the first check has only the clocks
    holder.start()
    try:
        with pytest.raises(BadInput, match="on far since"), RunLock(store, stale_s=5):
            raise AssertionError
        found = seen.holder()
        assert found is not None and found.host == "far"
    finally:
        ended.set()
        holder.join()
    with RunLock(store, stale_s=0.5) as lock:
        lock.check()


def test_a_watched_holder_is_dead_after_its_last_renewal(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    _elsewhere(store, time.time())
    seen = LockWatcher(store, stale_s=0.3)
    assert seen.holder() is not None
    deadline = time.monotonic() + 20
    while seen.holder() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_releasing_does_not_hide_an_error(tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(BadInput, match="the real one"), RunLock(LayerStore(str(out))):
        shutil.rmtree(out)
        out.write_text("not a folder")
        raise BadInput("the real one")


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


def test_a_truncated_lock_is_ignored(tmp_path: Path):
    (tmp_path / LOCK).write_text('{"host"')
    with RunLock(LayerStore(str(tmp_path))):
        pass


def test_out_not_writable(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="not writable"), RunLock(LayerStore(str(tmp_path / "file"))):
        raise AssertionError
