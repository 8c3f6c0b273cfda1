"""Ctrl-C and SIGTERM while there is work: one signal is enough, whenever it comes.

Invariant: once a signal has come, the outermost `interruptible` ends with Stopped. The KeyboardInterrupt that a signal
raises may be swallowed (by an import, a callback, a finalizer) or turned into another error, so it is raised again
until the stack unwinds; while it does, further signals leave the cleaning up alone.
"""

import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from pipeline.start import SIGNALS, STOPPED, STOPPED_TEXT, exit_at_once
from shards.errors import SpatialdataError

AGAIN_S = 0.5
"""After which a KeyboardInterrupt that did not end the work is raised again."""
GRACE_S = 30.0
"""For the cleaning up of the command (a store that does not answer, a Ray that does not end); then it just ends."""


class Stopped(SpatialdataError):
    """A person or the system asked the run to stop; everything committed is kept."""

    exit_code = STOPPED

    def __init__(self) -> None:
        super().__init__(STOPPED_TEXT)


class _Watch:
    """What an outermost `interruptible` knows of signals. No lock is taken: the handler runs anywhere."""

    def __init__(self) -> None:
        self.asked = 0
        """The signal that came."""
        self.closing = False
        self._ended = threading.Event()
        self._is_command = signal.getsignal(signal.SIGINT) is exit_at_once
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._insist, name="interrupts", daemon=True)
        self._thread.start()

    def on_signal(self, number: int, _: object) -> None:
        self.asked = number
        if not self.closing and not _unwinds(sys.exc_info()[1]):
            raise KeyboardInterrupt

    def _insist(self) -> None:
        since = 0.0
        while not self._ended.wait(AGAIN_S):
            if not self.asked:
                continue
            since = since or time.monotonic()
            if self._is_command and time.monotonic() - since > GRACE_S:
                exit_at_once()
            signal.pthread_kill(self._main, self.asked)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


_watch: _Watch | None = None


@contextmanager
def interruptible() -> Generator[None]:
    """Ctrl-C and SIGTERM inside become Stopped. May be nested, and be entered again where a library set handlers."""
    global _watch
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    outermost, watch = _watch is None, _watch or _Watch()
    hook, old = sys.unraisablehook, {number: signal.getsignal(number) for number in SIGNALS}
    try:
        _watch = watch
        sys.unraisablehook = _quiet_hook(hook)
        for number in SIGNALS:
            signal.signal(number, watch.on_signal)
        yield
    except BaseException as error:
        if isinstance(error, Stopped) or not (watch.asked or isinstance(error, KeyboardInterrupt)):
            raise
        if isinstance(error, SystemExit) and error.code == STOPPED:
            raise
        raise Stopped from None
    finally:
        if outermost:
            watch.closing = True
        for number, handler in old.items():
            signal.signal(number, handler)
        if outermost:
            _watch = None
            sys.unraisablehook = hook
            watch.end()
    if watch.asked:
        raise Stopped


def _unwinds(error: BaseException | None) -> bool:
    """Whether the code that was interrupted is cleaning up after an interrupt."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | Stopped):
            return True
        error = error.__context__
    return False


def _quiet_hook(hook: Any) -> Any:
    """Of the interrupts that a finalizer swallowed, nothing is said: they come again."""

    def told(found: Any) -> None:
        if not isinstance(found.exc_value, KeyboardInterrupt):
            hook(found)

    return told
