"""Temporary folders of killed processes are swept, and no others."""

import subprocess
import sys
from pathlib import Path

from sources.objaverse.scratch import HeldFolder

LEFT = """
import sys
from pathlib import Path
from sources.objaverse.scratch import HeldFolder
folder = HeldFolder("held-", Path(sys.argv[1]))
print(folder.path, flush=True)
input()
"""
ASSETS = """
from sources.objaverse.assets import AssetFiles
from sources.procedural import catalogue
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
