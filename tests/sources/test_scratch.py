"""Temporary folders of killed processes are removed, and no others."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spatialdata_builder.sources.scratch import LockedFolder, sweep

HOLDER = """
import sys
from pathlib import Path
from spatialdata_builder.sources.scratch import LockedFolder
folder = LockedFolder("held-", Path(sys.argv[1]))
print(folder.path, flush=True)
input()
"""
ASSETS = """
from spatialdata_builder.sources.procedural import catalog
from spatialdata_builder.sources.registry import get_scene_source
models = get_scene_source("procedural").models("")
print(models(catalog(1)[0].path), flush=True)
input()
"""


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def printed_path(process: "subprocess.Popen[str]") -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_only_folders_of_killed_processes_are_removed(tmp_path: Path):
    processes = [start(HOLDER, tmp_path) for _ in range(2)]
    dead, alive = map(printed_path, processes)
    kill(processes[0])
    folder = LockedFolder("held-", tmp_path)
    assert not dead.exists() and alive.exists() and folder.path.exists()
    folder.remove()
    folder.remove()
    kill(processes[1])
    LockedFolder("held-", tmp_path).remove()
    assert list(tmp_path.iterdir()) == []


def test_sweep_removes_only_our_abandoned_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    processes = [start(HOLDER.replace("held-", "spatialdata-x-"), tmp_path) for _ in range(2)]
    dead, alive = map(printed_path, processes)
    kill(processes[0])
    for name in ("spatialdata-young", "spatialdata-old", "spatialdata-cache", "blender_a12345"):
        (tmp_path / name).mkdir()
    (tmp_path / "spatialdata-cache" / "wheel").touch()
    (tmp_path / "spatialdata-link").symlink_to(tmp_path / "spatialdata-cache")
    for name in ("spatialdata-old", "spatialdata-cache"):
        os.utime(tmp_path / name, (0, 0))
    foreign = tmp_path / "spatialdata-foreign"
    shutil.copytree(dead, foreign)
    if os.getuid() == 0:  # only root may change the owner
        os.chown(foreign, 12345, 12345)
    sweep()
    left = {path.name for path in tmp_path.iterdir()} - {foreign.name}
    # Kept: folders of other programs, such as the user's own Blender, and recent folders that may not be locked yet.
    assert left == {alive.name, "spatialdata-young", "spatialdata-cache", "spatialdata-link", "blender_a12345"}
    assert dead.name not in left and foreign.exists() == (os.getuid() == 0)
    kill(processes[1])


@pytest.mark.slow
def test_models_of_a_killed_worker_are_removed_by_the_next_one(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    first = start(ASSETS)
    left = printed_path(first)
    assert left.read_bytes()[:4] == b"glTF"
    kill(first)
    second = start(ASSETS)
    assert printed_path(second).is_file() and not left.exists()
    second.communicate("\n")
    assert list(tmp_path.iterdir()) == []
