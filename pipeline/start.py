"""The command's first and last moments, when nothing is at work yet or any more: a signal ends the process at once.

Imported before all else by what a user starts, so that Ctrl-C in the middle of an import is no traceback. In a process
that is not ours (a test, a notebook, a Ray worker) it does nothing.
"""

import atexit
import os
import signal
import sys
from typing import NoReturn

STOPPED = 130
"""Exit code of what Ctrl-C or SIGTERM has ended: no error."""
STOPPED_TEXT = "stopped; rerun the command to resume"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PROGRAMS = ("spatialdata", "cli.py", "build.py")


def exit_at_once(*_: object) -> NoReturn:
    """Say so and end: no exception, which the interrupted code might swallow."""
    end_with(STOPPED_TEXT, STOPPED)


def end_with(text: str, code: int) -> NoReturn:
    """End this process now, whatever it does."""
    try:
        os.write(2, f"{text}\n".encode())
    finally:
        os._exit(code)


def work_is_done() -> None:
    """From here on a signal ends the process without a word: there is nothing to go on with."""
    for number in SIGNALS:
        if signal.getsignal(number) is exit_at_once:
            signal.signal(number, _exit_silently)


def end_if_command(code: int) -> None:
    """End this process where it is the command's, once all has been done that was to be done at its end.

    What the interpreter does after that takes a while, in which a signal has no handler any more, and in which
    libraries that were interrupted may crash.
    """
    if signal.getsignal(signal.SIGINT) is _exit_silently:
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_silently(*_: object) -> NoReturn:
    os._exit(STOPPED)


if os.path.basename(sys.argv[0] if sys.argv else "") in _PROGRAMS:  # noqa: PTH119  pathlib would be an import more
    for _number in SIGNALS:
        if signal.getsignal(_number) in (signal.default_int_handler, signal.SIG_DFL):  # nohup's choice stays
            signal.signal(_number, exit_at_once)
