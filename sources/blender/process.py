"""Finds, starts, calls and kills a Blender process.

The process never outlives its client, and a request never takes longer than its timeout. Requests and replies are JSON
lines. The last lines that Blender prints are kept for error messages.
"""

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...shards.errors import BadInput
from ..scratch import SHARED, LockedFolder
from .environment import clean_environment, python_of

SCRIPT = Path(__file__).with_name("worker.py")
LOG_LINES = 40
IGNORED_LINES = re.compile(rb"^Fra:|\| INFO: |\| Saved: ")
"""Lines that Blender prints at every step of every scene."""
PREFIX = "spatialdata-blender-"
MIN_SHARED_BYTES = 256 * 2**20
"""Shared memory is used if at least this much is free. A pair of 1024 x 1024 views takes about half."""


class ProcessDied(Exception):
    """Blender ended without a reply."""


class ProcessTimeout(Exception):
    """Blender did not reply in time."""


def command(blender: str) -> list[str]:
    """The command line that runs the worker: an installed Blender, or the bpy package in an environment created by uv.

    Raises BadInput with what is missing and how to fix it.
    """
    if blender:
        executable = shutil.which(Path(blender).expanduser())
        if executable is None:
            raise BadInput(
                f"render.blender: {blender} is not an executable; use the path of the executable of Blender 5, "
                "or an empty value for the bpy package"
            )
        return [executable, "--background", "--factory-startup", "-noaudio", "--python", str(SCRIPT), "--"]
    return [str(python_of(SCRIPT)), "-I", str(SCRIPT), "--"]


def _exchange() -> LockedFolder:
    """A folder for arrays, in shared memory if there is enough."""
    enough = SHARED.is_dir() and os.access(SHARED, os.W_OK) and shutil.disk_usage(SHARED).free >= MIN_SHARED_BYTES
    return LockedFolder(PREFIX, SHARED if enough else Path(tempfile.gettempdir()))


class BlenderProcess:
    """A running worker. `close` may be called at any time and more than once."""

    def __init__(self, arguments: Sequence[str], device: str, threads: int) -> None:
        """Start the script of `arguments`, such as those of `command`, with one more: its options as JSON."""
        self._folder = _exchange()
        # Temporary files that Blender leaves behind when it is killed are in a folder that `sweep` removes.
        self._temporary = LockedFolder(PREFIX, Path(tempfile.gettempdir()))
        options = {"folder": str(self._folder.path), "device": device, "threads": threads}
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._replies: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._sent = 0
        try:
            self._process = subprocess.Popen(
                [*arguments, json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=clean_environment() | {"TMPDIR": str(self._temporary.path)},
                start_new_session=True,  # a process group of its own, which can be killed as a whole
            )
        except OSError as error:
            self._folder.remove()
            self._temporary.remove()
            raise BadInput(f"Blender cannot be started: {arguments[0]}: {error.strerror}") from error
        self._readers = [threading.Thread(target=f, daemon=True) for f in (self._read_replies, self._read_log)]
        for reader in self._readers:
            reader.start()

    @property
    def folder(self) -> Path:
        """Folder in which arrays are exchanged."""
        return self._folder.path

    @property
    def pid(self) -> int:
        """Process id of the leader of the process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """The last lines that Blender printed."""
        return "\n".join(self._log)

    def _read_replies(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b'{"id":'):
                self._replies.put(json.loads(line))
            else:  # an installed Blender prints its version before it runs the worker
                self._log.append(line.decode(errors="replace").rstrip())
        self._replies.put(None)

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if not IGNORED_LINES.search(line):
                self._log.append(line.decode(errors="replace").rstrip())

    def ask(self, op: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its reply.

        Raises ProcessDied or ProcessTimeout. Close the process after either.
        """
        assert self._process.stdin is not None
        self._sent += 1
        deadline = time.monotonic() + timeout_s
        try:
            self._process.stdin.write(json.dumps({"id": self._sent, "op": op, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise ProcessDied(self._exit_reason()) from None
        while True:
            try:
                reply = self._replies.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise ProcessTimeout(f"no reply to {op} within {timeout_s:.0f} s") from None
            if reply is None:
                raise ProcessDied(self._exit_reason())
            if reply["id"] == self._sent:
                return reply

    def _exit_reason(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        for reader in self._readers:  # its last output may not have been read yet
            reader.join(1)
        code = self._process.poll()
        return f"killed by signal {-code}" if code is not None and code < 0 else f"exited with code {code}"

    def close(self) -> None:
        """Kill the process group and remove the folders."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._folder.remove()
        self._temporary.remove()
