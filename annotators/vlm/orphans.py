"""No process outlives the one that started it: vLLM's engine would keep its GPU's memory from whoever comes next.

A process that is killed cannot end its children, and vLLM's engine does not notice that nobody asks any more. So a
small process of its own waits at a pipe that closes with the parent, however that ends, and then kills them.

Run as a script: `orphans.py PID:START ...` waits for the end of its standard input.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path


def end_with_me() -> None:
    """See to it that the processes that multiprocessing started here end with this one. On Linux."""
    children = [f"{child.pid}:{_start(child.pid)}" for child in multiprocessing.active_children() if child.pid]
    if not children or not sys.platform.startswith("linux"):
        return
    # Its end of the pipe stays open for as long as this process lives: nobody else holds it.
    subprocess.Popen(
        [sys.executable, __file__, *children],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _start(pid: int) -> str:
    """When a process began, in ticks, which tells it from a later one of the same number; empty where there is none."""
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
