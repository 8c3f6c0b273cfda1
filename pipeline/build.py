#!/usr/bin/env python3
"""Entry point of a Ray job: `ray job submit --working-dir . -- pipeline/build.py --config ... --out ...`.

Takes the options of `spatialdata build`. Without any, it builds the defaults under the home folder, so that
`ray job submit pipeline/build.py` alone, on a cluster started in the checkout, shows that everything works.
"""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
__package__ = "spatialdata_builder.pipeline"  # a Ray job runs this file as a script
DEFAULT_OUT = Path.home() / "spatialdata" / "procedural"


def run() -> None:
    """Make the package importable (it need not be installed on a cluster), then run the command."""
    sys.path[:] = [str(ROOT), *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT / "pipeline")]
    try:
        import click  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import ray  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        _enter_environment()
    from .cli import main

    arguments = sys.argv[1:]
    if not any(argument in ("--out", "-o") or argument.startswith("--out=") for argument in arguments):
        arguments = [*arguments, "--out", str(DEFAULT_OUT)]
    if not any(argument in ("--config", "-c") or argument.startswith("--config=") for argument in arguments):
        arguments = [*arguments, "--config", str(ROOT / "examples" / "procedural.yaml")]
    main(["build", *arguments])


def _enter_environment() -> None:
    """A job starts with the PATH of `ray start`, whose python3 may not be the one that has our dependencies."""
    for python in (_ray_python(), ROOT / ".venv" / "bin" / "python"):
        if python and python.is_file() and Path(sys.prefix).resolve() != python.parents[1].resolve():
            os.execv(python, [str(python), *sys.argv])
    sys.exit(
        "error: click and ray are not installed for this python3: on every node, install what "
        "`pip install -c constraints.txt '.[build]'` installs in a checkout"
    )


def _ray_python() -> "Path | None":
    """The Python interpreter of this node's Ray workers, from the command line of the raylet, our ancestor process."""
    pid = os.getppid()
    try:
        while pid > 1:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if match := re.search(r"--python_worker_command=(\S+)", arguments):
                return Path(match.group(1))
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # not Linux
        pass
    return None


if __name__ == "__main__":
    run()
