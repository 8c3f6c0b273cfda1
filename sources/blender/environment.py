"""Python environments of scripts that run Blender (bpy). Each is created once on each machine from the inline metadata
of its script (PEP 723).

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
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...shards.errors import BadInput
from ...shards.extras import install_command

_PYTHON = Path("bin", "python")
_READY = "ready"
"""File that is written when an environment is complete."""
_METADATA = re.compile(r"^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", re.MULTILINE)
INSTALL_TIMEOUT_S = 1800.0
"""The first start on a machine downloads about 360 MB, that of Infinigen 720 MB."""


@dataclass(frozen=True)
class Need:
    """What runs in an environment, for the messages of errors."""

    name: str
    otherwise: str = ""
    """What a user without the environment can do, if anything."""


BLENDER = Need("Blender", "name an executable (render.blender: /path)")


def requirements(script: Path) -> tuple[str, list[str]]:
    """The Python version and the packages that a script requires in its inline metadata."""
    content = _metadata(script)
    return content["requires-python"], content["dependencies"]


def _metadata(script: Path) -> dict[str, Any]:
    match = _METADATA.search(script.read_text())
    if match is None:
        raise BadInput(f"{script}: no inline metadata (PEP 723)")
    lines = (line[2:] if line.startswith("# ") else line[1:] for line in match["content"].splitlines())
    return tomllib.loads("\n".join(lines))


def find_uv(need: Need = BLENDER) -> str:
    """Path of uv: of the installed package, else on PATH. Raises BadInput if there is neither."""
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
        if found is None:
            raise BadInput(
                f"{need.name} needs uv, which is not installed: run `{install_command('build')}`{_or(need)}"
            ) from None
        return found


def _or(need: Need) -> str:
    return f", or {need.otherwise}" if need.otherwise else ""


def environment_of(script: Path, need: Need = BLENDER) -> tuple[Path, bool]:
    """The folder of the environment of `script`, and whether it is complete."""
    python, packages = requirements(script)
    wanted: list[Any] = [python, packages, sys.platform, platform.machine()]
    if overrides := _overrides(script):
        wanted.append(overrides)
    digest = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:12]
    home = cache_folder() / f"{need.name.lower()}-{digest}"
    return home, (home / _READY).exists() and (home / _PYTHON).exists()


def python_of(script: Path, need: Need = BLENDER) -> Path:
    """The Python that can run `script`. Its environment is created if it does not exist.

    `tool.uv.override-dependencies` of the metadata replaces requirements of the packages.

    uv looks for the Python version of the script on PATH and downloads it if it is not there, so it may differ from
    the version that runs this.

    Raises BadInput, with the message of uv if that fails.
    """
    home, complete = environment_of(script, need)
    interpreter = home / _PYTHON
    if not complete:
        uv = find_uv(need)
        with _locked(home.with_suffix(".lock")):
            if not environment_of(script, need)[1]:
                _install(uv, script, home, need)
    return interpreter


def _install(uv: str, script: Path, home: Path, need: Need) -> None:
    python, packages = requirements(script)
    need_python = f"put Python {python} on PATH, or let uv download it (uv python install '{python}')"
    _uv([uv, "venv", "--clear", "--python", python, str(home)], need_python, need)
    overrides: list[str] = []
    if lines := _overrides(script):
        file = home / "overrides.txt"
        file.write_text("\n".join(lines))
        overrides = ["--overrides", str(file)]
    command = [uv, "pip", "install", "--python", str(home / _PYTHON), *overrides, *packages]
    _uv(command, "give uv access to a package index", need)
    (home / _READY).write_text(json.dumps(packages))


def _overrides(script: Path) -> list[str]:
    return _metadata(script).get("tool", {}).get("uv", {}).get("override-dependencies", [])


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


def _uv(command: Sequence[str], hint: str, need: Need) -> None:
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
        raise BadInput(_failed(f"uv {command[1]} took more than {INSTALL_TIMEOUT_S:.0f} s", hint, need)) from None
    if done.returncode:
        raise BadInput(
            _failed(" | ".join(line.strip() for line in done.stderr.splitlines() if line.strip()), hint, need)
        )


def _failed(why: str, hint: str, need: Need) -> str:
    return f"{need.name}'s Python environment cannot be created: {why}; {hint}{_or(need)}"
