# pyright: basic
"""The loop of a script that a `BlenderProcess` runs: one request a line on stdin, one reply a line."""

import json
import os
import queue
import resource
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO


def serve(folder: Path, replies: TextIO, answer: Callable[[dict], dict]) -> None:
    """Answer requests until the client ends. Then the folder is removed, and the process ends at once.

    Args:
        folder: where arrays are exchanged.
        answer: makes the fields of the reply from the fields of a request, without `id`.
    """
    requests: queue.SimpleQueue[dict] = queue.SimpleQueue()

    def listen() -> None:
        """Runs in a thread, so that the end of the client is noticed during a render, too."""
        for line in sys.stdin:
            requests.put(json.loads(line))
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        request = requests.get()
        reply = {"id": request.pop("id"), **answer(request), "cpu_s": time.process_time()}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def limit_cpu_time(seconds: int) -> None:
    """Let the process be killed (SIGXCPU) when it takes more CPU time from now on, also inside of Blender."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + seconds + 1, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no core file
