"""Blender's Python environment. It is created once on each machine from the inline metadata of the worker script (PEP
723).

`uv run --script` is not used for one reason. The metadata of the bpy wheel names another Python version than its file
name, so uv considers the wheel incompatible and reinstalls it at every start, while other processes use it. Instead,
the environment is created under a lock, marked when complete, and never changed.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...shards.errors import BadInput
from ...shards.extras import install_command

_METADATA = re.compile(r"^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", re.MULTILINE)
INSTALL_TIMEOUT_S = 1800.0
"""The first start on a machine downloads about 360 MB."""


def requirements(script: Path) -> tuple[str, list[str]]:
    """The Python version and the packages that a script requires in its inline metadata."""
    match = _METADATA.search(script.read_text())
    if match is None:
        raise BadInput(f"{script}: no inline metadata (PEP 723)")
    lines = (line[2:] if line.startswith("# ") else line[1:] for line in match["content"].splitlines())
    content = tomllib.loads("\n".join(lines))
    return content["requires-python"], content["dependencies"]


def find_uv() -> str:
    """Path of uv: of the installed package, else on PATH. Raises BadInput if there is neither."""
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
        if found is None:
            raise BadInput(
                f"Blender needs uv, which is not installed: run `{install_command('build')}`, or name an executable "
                "(render.blender: /path)"
            ) from None
        return found


def python_of(script: Path) -> Path:
    """The Python that can run `script`. Its environment is created if it does not exist.

    uv looks for the Python version of the script on PATH and downloads it if it is not there, so it may differ from
    the version that runs this.

    Raises BadInput, with the message of uv if that fails.
    """
    python, packages = requirements(script)
    wanted = json.dumps([python, packages, sys.platform, platform.machine()])
    home = cache_folder() / f"blender-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    interpreter, ready = home / "bin" / "python", home / "ready"
    if not (ready.exists() and interpreter.exists()):
        uv = find_uv()
        with _locked(home.with_suffix(".lock")):
            if not (ready.exists() and interpreter.exists()):
                need_python = f"put Python {python} on PATH, or let uv download it (uv python install '{python}')"
                _uv([uv, "venv", "--clear", "--python", python, str(home)], need_python)
                _uv(
                    [uv, "pip", "install", "--python", str(interpreter), *packages], "give uv access to a package index"
                )
                ready.write_text(wanted)
    return interpreter


def clean_environment() -> dict[str, str]:
    """The environment variables, without those that make another Python import our packages."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if key not in hidden}


def cache_folder() -> Path:
    """The project's folder of the user's cache, in the temporary folder where that cannot be written."""
    wanted = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spatialdata"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        if os.access(wanted, os.W_OK):
            return wanted
    except OSError:
        pass
    fallback = Path(tempfile.gettempdir()) / f"spatialdata-{os.getuid()}"
    fallback.mkdir(exist_ok=True)
    return fallback


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold the lock of a file. Wait for another process that creates the environment."""
    deadline = time.monotonic() + INSTALL_TIMEOUT_S
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BadInput(
                        f"{path}: another process has held this lock for half an hour; stop that process"
                    ) from None
                time.sleep(0.2)
        yield


def _uv(command: list[str], hint: str) -> None:
    try:
        done = subprocess.run(
            command,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=INSTALL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise BadInput(_failed(f"uv {command[1]} took more than {INSTALL_TIMEOUT_S:.0f} s", hint)) from None
    if done.returncode:
        raise BadInput(_failed(" | ".join(line.strip() for line in done.stderr.splitlines() if line.strip()), hint))


def _failed(why: str, hint: str) -> str:
    return (
        f"Blender's Python environment cannot be created: {why}; {hint}, or name an executable (render.blender: /path)"
    )
