"""An editor that is a command: `python my_editor.py {input} {prompt} {output}`.

Invariant: no shell takes part, so a prompt is one argument whatever it holds. A command gets a copy of the source, and
whatever it prints, at most `TAIL_BYTES` are held. It ends within its time limit, with all processes that it started.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from ...shards.codecs import U8, CodecError, decode_image
from ...shards.errors import BadInput
from ...shards.redact import redact
from .editor import Base, EditFailed, Task

PLACEHOLDERS: Final = ("input", "prompt", "output", "seed", "key")
REQUIRED: Final = ("input", "prompt", "output")
TAIL_BYTES: Final = 4096
"""The end of what a command prints, for its error."""
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_DRAIN_S: Final = 2.0


class Command(Base):
    """Runs a command for each sample.

    Args:
        template: split into words as a shell does; `{input}` (PNG), `{prompt}`, `{output}` (PNG, WebP or JPEG),
            `{seed}` and `{key}` are replaced in each word.
        timeout_s: seconds that one edit may take.

    Raises BadInput for a template that cannot be split, lacks a placeholder, or whose program is not found.
    """

    most_workers = 1024

    def __init__(self, template: str, timeout_s: float) -> None:
        try:
            self._words = shlex.split(template)
        except ValueError as error:
            raise BadInput(f"--with {template!r} is not a command ({error}): check its quotes") from None
        found = {name for word in self._words for name in _PLACEHOLDER.findall(word)}
        if missing := [name for name in REQUIRED if name not in found]:
            raise BadInput(f"--with {template!r} lacks {', '.join(f'{{{name}}}' for name in missing)}: add it")
        if unknown := sorted(found - {*PLACEHOLDERS}):
            raise BadInput(
                f"--with {template!r}: {{{unknown[0]}}} is unknown: use "
                f"{', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}"
            )
        if shutil.which(self._words[0]) is None:
            raise BadInput(f"--with {template!r}: there is no program {self._words[0]!r}: give its path")
        self.description = redact(template)
        self._timeout_s = timeout_s
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def edit(self, task: Task) -> U8:
        with tempfile.TemporaryDirectory(prefix="spatialdata-edit-", ignore_cleanup_errors=True) as scratch:
            source, output = Path(scratch) / "input.png", Path(scratch) / "output.png"
            shutil.copyfile(task.path, source)
            values = {
                "input": str(source),
                "prompt": task.instruction,
                "output": str(output),
                "seed": str(task.seed),
                "key": task.key,
            }
            printed = self._run([_filled(word, values) for word in self._words])
            try:
                return decode_image(output.read_bytes())
            except FileNotFoundError:
                raise EditFailed(f"the command wrote no image to {{output}}{printed}") from None
            except (OSError, CodecError) as error:
                raise EditFailed(f"the command wrote no readable image to {{output}} ({error}){printed}") from None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill(process)

    def _run(self, words: list[str]) -> str:
        """Run a command to its end; returns the last line that it printed. Raises EditFailed."""
        try:
            with self._lock:
                if self._closed:
                    raise EditFailed("the run was stopped")
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # so that what it starts can be killed with it
                )
                self._running.add(process)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the prompt
            raise EditFailed(f"the command cannot be started ({error})") from None
        assert process.stdout is not None
        tail = _Tail(process.stdout)
        try:
            code = process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.wait()
            raise EditFailed(f"the command took more than {self._timeout_s:g} s and was killed") from None
        finally:
            _kill(process)  # what it left behind
            with self._lock:
                self._running.discard(process)
            printed = tail.last_line()
        if code:
            reason = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise EditFailed(f"the command {reason}{printed}")
        return printed


class _Tail:
    """Reads a pipe to its end in a thread, and holds the last bytes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._held = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError), self._pipe:
            while part := os.read(self._pipe.fileno(), 1 << 16):
                self._held = (self._held + part)[-TAIL_BYTES:]

    def last_line(self) -> str:
        """`: <line>`, or nothing if nothing was printed."""
        self._thread.join(_DRAIN_S)  # a process in another session may keep the pipe open
        lines = [line for line in self._held.decode("utf-8", "replace").splitlines() if line.strip()]
        return f": {lines[-1].strip()}" if lines else ""


def _filled(word: str, values: Mapping[str, str]) -> str:
    """A word with its placeholders replaced, once: those that a prompt holds are text."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], word)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
