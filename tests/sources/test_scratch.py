"""Temporary folders of killed processes are swept, and no others."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from spatialdata_builder.sources.scratch import HeldFolder, sweep

LEFT = """
import sys
from pathlib import Path
from spatialdata_builder.sources.scratch import HeldFolder
folder = HeldFolder("held-", Path(sys.argv[1]))
print(folder.path, flush=True)
input()
"""
ASSETS = """
from spatialdata_builder.sources.rendered.asset_files import AssetFiles
from spatialdata_builder.sources.procedural import catalogue
files = AssetFiles("procedural", "")
print(files.path(catalogue(1)[0]), flush=True)
input()
"""


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(process: "subprocess.Popen[str]") -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_what_killed_processes_have_left_is_swept_and_no_more(tmp_path: Path):
    processes = [start(LEFT, tmp_path) for _ in range(2)]
    dead, alive = map(told, processes)
    kill(processes[0])
    folder = HeldFolder("held-", tmp_path)
    assert not dead.exists() and alive.exists() and folder.path.exists()
    folder.remove()
    folder.remove()
    kill(processes[1])
    HeldFolder("held-", tmp_path).remove()
    assert list(tmp_path.iterdir()) == []


def test_a_run_sweeps_its_own_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    processes = [start(LEFT.replace("held-", "spatialdata-x-"), tmp_path) for _ in range(2)]
    dead, alive = map(told, processes)
    kill(processes[0])
    for name in ("spatialdata-young", "spatialdata-old", "spatialdata-cache", "blender_a12345"):
        (tmp_path / name).mkdir()
    (tmp_path / "spatialdata-cache" / "wheel").touch()
    (tmp_path / "spatialdata-link").symlink_to(tmp_path / "spatialdata-cache")
    for name in ("spatialdata-old", "spatialdata-cache"):
        os.utime(tmp_path / name, (0, 0))
    foreign = tmp_path / "spatialdata-foreign"
    shutil.copytree(dead, foreign)
    if os.getuid() == 0:  # nobody else may give a folder away
        os.chown(foreign, 12345, 12345)
    sweep()
    left = {path.name for path in tmp_path.iterdir()} - {foreign.name}
    # What another program made, be it a Blender of the user's own, stays; so does what has no lock but may get it yet.
    assert left == {alive.name, "spatialdata-young", "spatialdata-cache", "spatialdata-link", "blender_a12345"}
    assert dead.name not in left and foreign.exists() == (os.getuid() == 0)
    kill(processes[1])


@pytest.mark.slow
def test_a_killed_worker_leaves_no_models_for_long(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    first = start(ASSETS)
    left = told(first)
    assert left.read_bytes()[:4] == b"glTF"
    kill(first)
    second = start(ASSETS)
    assert told(second).is_file() and not left.exists()
    second.communicate("\n")
    assert list(tmp_path.iterdir()) == []
