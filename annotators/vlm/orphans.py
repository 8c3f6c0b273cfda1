"""Kill child processes when their parent ends: an orphaned vLLM engine would keep its GPU's memory.

A killed process cannot end its children, and vLLM's engine does not notice that its parent is gone. So a small separate
process reads from a pipe, which closes when the parent ends for any reason, and then kills the children.

Run as a script, `orphans.py PID:START ...` waits for the end of its standard input, then kills these processes.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path


def kill_children_on_exit() -> None:
    """Kill the processes that multiprocessing started here when this process ends. On Linux only."""
    children = [f"{child.pid}:{_start(child.pid)}" for child in multiprocessing.active_children() if child.pid]
    if not children or not sys.platform.startswith("linux"):
        return
    # Only this process has the other end of the pipe, which closes when this process ends.
    subprocess.Popen(
        [sys.executable, __file__, *children],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _start(pid: int) -> str:
    """When a process started, in ticks; empty if it is gone. A later process with its PID has another value."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _main(children: list[str]) -> None:
    sys.stdin.read()
    for pid, _, start in (child.partition(":") for child in children):
        if start and _start(int(pid)) == start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


if __name__ == "__main__":
    _main(sys.argv[1:])
