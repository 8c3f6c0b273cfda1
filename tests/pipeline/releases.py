"""A small OBJECT-3DIT release on disk: real builds without Blender, fast enough to kill and repeat."""

import os
import subprocess
import sys
from pathlib import Path

from tests.sources.object3dit.conftest import pair_files

CHECKOUT = Path(__file__).resolve().parents[2]
TASKS = ("translate", "rotate", "remove")


def write_release(root: Path, pairs: int = 24) -> Path:
    """`pairs` pairs, two thirds of them training pairs, each with its own objects and floor."""
    for number in range(pairs):
        task = TASKS[number % 3]
        split = "train" if number % 9 < 6 else "test/unseen"
        folder = root / task / split / f"uid{number:03d}"
        folder.mkdir(parents=True)
        assets = (f"asset{number:03d}a", f"asset{number:03d}b")
        files = pair_files(task, assets, angle=15 * (number % 7 + 1), tiles=number + 1)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    return root


def spatialdata(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a separate process, like a user."""
    return subprocess.run(
        [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *arguments],
        cwd=cwd or CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def build_arguments(root: Path, out: Path, *settings: str) -> list[str]:
    """Arguments of a build of a released folder, inline, in units of four."""
    chosen = ["source.kind=object3dit", f"source.root={root}", "samples=all", "unit_size=4", "engine.kind=inline"]
    return ["build", "--out", str(out), *(part for text in (*chosen, *settings) for part in ("--set", text))]


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything under a folder except records and run files (times, hosts), by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not (path.suffix == ".json" and {"layers", "runs"} & set(path.relative_to(folder).parts))
    }
