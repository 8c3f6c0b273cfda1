"""Runs a reader in the environment that tests/readers/set_up.py creates."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.readers.set_up import FOLDER, ROOT

needs_environment = pytest.mark.skipif(
    not (FOLDER / ".made").is_file(), reason="no reader environment: create it with `python tests/readers/set_up.py`"
)


def run_apart(module: str, *arguments: object, env: dict[str, str] | None = None) -> None:
    """Run `python -m tests.readers.<module>` in that environment; show its output if it fails."""
    command = [str(FOLDER / "bin" / "python"), "-m", f"tests.readers.{module}", *map(str, arguments)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"} | (env or {})
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def load_pixels(path: Path) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Pixels by split, key and member, from arrays that a reader saved as `<split>/<key>/<member>`."""
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    with np.load(path) as arrays:
        for name in arrays.files:
            split, key, member = name.split("/")
            found.setdefault(split, {}).setdefault(key, {})[member] = arrays[name]
    return found
