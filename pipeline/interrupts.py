"""Ctrl-C and SIGTERM during work: one signal is enough, at any time.

Invariant: after a signal, the outermost `interruptible` ends with Stopped; after a call of `give_up` in any thread, it
ends with the error given there. The KeyboardInterrupt that a signal raises may be swallowed (by an import, a callback,
a finalizer) or turned into another error, so it is raised again until the stack unwinds. Signals during the unwinding
do not interrupt the cleanup.
"""

import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ..shards.errors import SpatialdataError, Stopped
from ..shards.plain import sanitize
from .start import SIGNALS, STOPPED, STOPPED_TEXT, end_with, exit_at_once

AGAIN_S = 0.5
"""Seconds after which a KeyboardInterrupt that did not end the work is raised again."""
GRACE_S = 30.0
"""Seconds that cleanup may take (if a store does not answer, or Ray does not end); then the command exits."""


class _Interrupt(KeyboardInterrupt):
    """Distinct from KeyboardInterrupt: after a plain one in an `exec`, even a caught one, Python exits by SIGINT."""


class _Watch:
    """State of an outermost `interruptible`. Takes no lock, because the handler may run at any point."""

    def __init__(self) -> None:
        self.error: SpatialdataError | None = None
        """Why the work must end; None while it need not."""
        self.closing = False
        self._ended = threading.Event()
        self._is_command = signal.getsignal(signal.SIGINT) is exit_at_once
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._insist, name="interrupts", daemon=True)
        self._thread.start()

    def on_signal(self, *_: object) -> None:
        self.error = self.error or Stopped(STOPPED_TEXT)
        if not self.closing and not self._unwinds(sys.exc_info()[1]):
            raise _Interrupt

    def _insist(self) -> None:
        since = 0.0
        while not self._ended.wait(AGAIN_S):
            if self.error is None:
                continue
            since = since or time.monotonic()
            if self._is_command and time.monotonic() - since > GRACE_S:
                end_with(error_line(self.error), self.error.exit_code)
            signal.pthread_kill(self._main, signal.SIGINT)

    def _unwinds(self, error: BaseException | None) -> bool:
        """Whether the interrupted code is already cleaning up after an interrupt."""
        while error is not None:
            if isinstance(error, KeyboardInterrupt) or error is self.error:
                return True
            error = error.__context__
        return False

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


_watch: _Watch | None = None


@contextmanager
def interruptible() -> Generator[None]:
    """Turn Ctrl-C and SIGTERM inside into Stopped. May be nested, such as after a library has set its own handlers."""
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
        if isinstance(error, SystemExit) and error.code == STOPPED:
            raise
        if watch.error is not None and error is not watch.error:
            raise watch.error from None
        if isinstance(error, KeyboardInterrupt):
            raise Stopped(STOPPED_TEXT) from None
        raise
    finally:
        if outermost:
            watch.closing = True
        for number, handler in old.items():
            signal.signal(number, handler)
        if outermost:
            _watch = None
            sys.unraisablehook = hook
            watch.end()
    if watch.error is not None:
        raise watch.error


def error_line(error: SpatialdataError) -> str:
    """The line to print for an error."""
    kind = "" if isinstance(error, Stopped) else "error: "
    return sanitize(f"{kind}{' '.join(str(error).split())}")


def give_up(error: SpatialdataError) -> None:
    """End the work in the main thread with this error. May be called in any thread."""
    if _watch is not None and _watch.error is None:
        _watch.error = error


def _quiet_hook(hook: Any) -> Any:
    """Print nothing for an interrupt that a finalizer swallowed: it is raised again."""

    def quiet(found: Any) -> None:
        if not isinstance(found.exc_value, KeyboardInterrupt):
            hook(found)

    return quiet
