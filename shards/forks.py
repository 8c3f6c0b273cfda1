"""Lets the process fork only while no thread is inside OpenCV.

OpenCV keeps data for each thread. A lock protects it when a thread calls OpenCV for the first time, and when that
thread ends. A fork at such a moment copies the taken lock, which nobody releases in the child: its next call of OpenCV
never returns. `torch.utils.data.DataLoader` forks its workers on Linux, often while another stream decodes.
"""

import os
import threading
import time
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_LONGEST_WAIT_S: Final = 10.0
"""A fork or an ending thread waits no longer, so that a thread that hangs in OpenCV does not block the process."""
_POLL_S: Final = 0.0005


class _Gate:
    """Counts the threads inside, and closes for a fork once all of them have left."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._closed = False

    def enter(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._closed, _LONGEST_WAIT_S)
            self._inside += 1

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._inside, _LONGEST_WAIT_S)

    def open(self) -> None:
        with self._changed:
            self._closed = False
            self._changed.notify_all()


_gate = _Gate()


def _new_gate() -> None:
    """In a forked child, whose only thread is the one that forked."""
    global _gate
    _gate = _Gate()


os.register_at_fork(
    before=lambda: _gate.close(), after_in_parent=lambda: _gate.open(), after_in_child=lambda: _new_gate()
)


@contextmanager
def no_fork() -> Generator[None]:
    """The process does not fork inside this context; a fork that has begun is waited for."""
    gate = _gate
    gate.enter()
    try:
        yield
    finally:
        gate.leave()


class ThreadPool(ThreadPoolExecutor):
    """Threads that call OpenCV. The process does not fork while they end."""

    def __init__(self, threads: int, name: str) -> None:
        self._native_ids: list[int] = []
        self._process = os.getpid()
        super().__init__(threads, name, initializer=lambda: self._native_ids.append(threading.get_native_id()))

    def end(self, futures: Iterable[Future[Any]]) -> None:
        """Cancel `futures`, those that may still run, and wait until the threads have exited."""
        if self._process != os.getpid():
            return  # a forked process has no such threads
        futures = list(futures)
        for future in futures:
            future.cancel()
        wait(futures)  # outside `no_fork`, which decoding needs
        with no_fork():
            self.shutdown()
            _wait_for_exit(self._native_ids)


def _wait_for_exit(threads: Iterable[int]) -> None:
    """Wait until threads that were joined have exited.

    `Thread.join` returns when the thread's Python code has ended, which is before the system frees its data.

    Args:
        threads: native ids. Where the system does not list threads in `/proc`, this returns at once.
    """
    end = time.monotonic() + _LONGEST_WAIT_S
    for thread in threads:
        while Path(f"/proc/self/task/{thread}").exists() and time.monotonic() < end:
            time.sleep(_POLL_S)
