"""A fork waits until no thread is inside OpenCV; a child that was forked beside decoding threads can decode."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.codecs import decode_image, encode_image
from spatialdata_builder.shards.forks import no_fork
from tests.shards.factory import make_split, out_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system lists no threads in /proc")
PNG = encode_image(np.zeros((8, 8, 3), np.uint8), "png")


def test_a_fork_waits_for_threads_inside():
    inside, leave, forked = threading.Event(), threading.Event(), threading.Event()

    def stay() -> None:
        with no_fork():
            inside.set()
            leave.wait()

    def fork() -> None:
        if (child := os.fork()) == 0:
            os._exit(0)
        forked.set()
        os.waitpid(child, 0)

    threads = [threading.Thread(target=stay), threading.Thread(target=fork)]
    threads[0].start()
    inside.wait()
    threads[1].start()
    assert not forked.wait(0.3)
    leave.set()
    assert forked.wait(30)
    for thread in threads:
        thread.join()


def test_threads_enter_again_after_a_fork():
    """In the parent and in the child, which forgets the threads that it does not have."""
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with no_fork():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=stay)
    if (child := os.fork()) == 0:
        thread.start()
        inside.wait()
        leave.set()
        thread.join()
        os._exit(0)
    assert exit_code(child) == 0
    thread.start()
    assert inside.wait(30)
    leave.set()
    thread.join()


def test_children_forked_beside_a_stream_can_decode(tmp_path: Path):
    """Each iteration starts and ends threads, which take OpenCV's lock."""
    folder = out_of(tmp_path)
    make_split(folder, [[f"k-{i}" for i in range(8)]])
    ds = stream(folder, members=("changed",), threads=4)
    stop = threading.Event()

    def iterate() -> None:
        while not stop.is_set():
            list(ds.batches(2))

    beside = threading.Thread(target=iterate)
    beside.start()
    try:
        for _ in range(60):
            assert exit_code(fork_and_decode()) == 0
    finally:
        stop.set()
        beside.join()


def test_children_forked_after_an_iteration_can_decode(tmp_path: Path):
    """As a `DataLoader` does after a stream was read, when its threads have ended but perhaps not exited."""
    folder = out_of(tmp_path)
    make_split(folder, [[f"k-{i}" for i in range(8)]])
    ds = stream(folder, members=("changed",), threads=4)
    for _ in range(100):
        list(ds.batches(2))
        assert exit_code(fork_and_decode()) == 0


def test_the_threads_of_an_iteration_exit_with_it(tmp_path: Path):
    folder = out_of(tmp_path)
    make_split(folder, [[f"k-{i}" for i in range(8)]])
    ds = stream(folder, members=("changed",), threads=4)
    list(ds.batches(2))  # Arrow starts threads of its own
    before = tasks()
    for _ in range(20):
        for _ in ds.batches(2):
            break
        list(ds.batches(2))
        assert tasks() <= before


def tasks() -> set[str]:
    return {path.name for path in Path("/proc/self/task").iterdir()}


def fork_and_decode() -> int:
    """A child process that decodes in a thread, as a stream does."""
    if (child := os.fork()) == 0:
        thread = threading.Thread(target=decode_image, args=(PNG,))
        thread.start()
        thread.join()
        os._exit(0)
    return child


def exit_code(child: int) -> int:
    """Exit code of a child; one that hangs is killed."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (found := os.waitpid(child, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(found[1])
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
