"""Signals before and after the work of the command: a signal ends the process at once.

The entry points import this module first, so that Ctrl-C during an import prints no traceback. In other processes (a
test, a notebook, a Ray worker) it does nothing.
"""

import atexit
import os
import signal
import sys
from typing import NoReturn

STOPPED = 130
"""Exit code of a command that Ctrl-C or SIGTERM ended; not an error."""
STOPPED_TEXT = "stopped; rerun the command to resume"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PROGRAMS = ("spatialdata", "cli.py", "build.py")


def exit_at_once(*_: object) -> NoReturn:
    """Print STOPPED_TEXT and exit. Raises no exception, because the interrupted code could swallow it."""
    end_with(STOPPED_TEXT, STOPPED)


def end_with(text: str, code: int) -> NoReturn:
    """Print `text` on stderr and exit now, without cleanup."""
    try:
        os.write(2, f"{text}\n".encode())
    finally:
        os._exit(code)


def work_is_done() -> None:
    """Let later signals end the process silently, because there is nothing to resume."""
    for number in SIGNALS:
        if signal.getsignal(number) is exit_at_once:
            signal.signal(number, _exit_silently)


def end_if_command(code: int) -> None:
    """Run the exit handlers and exit, if this process is the command's.

    The interpreter's own shutdown takes a while. During it, signals have no handler, and libraries that were
    interrupted may crash.
    """
    if signal.getsignal(signal.SIGINT) is _exit_silently:
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_silently(*_: object) -> NoReturn:
    os._exit(STOPPED)


if os.path.basename(sys.argv[0] if sys.argv else "") in _PROGRAMS:  # noqa: PTH119  saves the import of pathlib
    for _number in SIGNALS:
        if signal.getsignal(_number) in (signal.default_int_handler, signal.SIG_DFL):  # keep the handlers of nohup
            signal.signal(_number, exit_at_once)
