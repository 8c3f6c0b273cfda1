"""Who may import whom, what an import costs, and how long a file may be: the floors of the building."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("annotators", "pipeline", "shards", "sources", "training")
MAY_IMPORT = {
    "shards": {"shards"},
    "sources": {"sources", "shards"},
    "annotators": {"annotators", "shards"},
    "training": {"training", "shards"},
    "pipeline": {"pipeline", "shards", "sources", "annotators", "training"},  # training: its command alone
}
HEAVY = ("torch", "ray", "bpy", "vllm", "transformers", "diffusers", "objaverse", "webdataset")
SLOWEST_CPU_S = {"annotators": 0.7, "pipeline": 0.7, "shards": 0.7, "sources": 0.7, "training": 0.7}
PRINTS = {
    "sources/objaverse/blender_worker.py": "its replies to the caller",
}


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def trees(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for path in files(folder):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Top-level names of everything that is imported anywhere in a module, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], node.lineno


@pytest.mark.parametrize("package", PACKAGES)
def test_each_room_imports_only_the_floors_below(package: str):
    wrong = [
        f"{name}:{line} imports {other}"
        for name, tree in trees(package)
        for other, line in imported(tree)
        if (other in PACKAGES and other not in MAY_IMPORT[package]) or (other == "ray" and package != "pipeline")
    ]
    assert not wrong


def modules(package: str) -> list[str]:
    """Every module of a package but scripts of another interpreter, Ray's side of the engine, and networks, which are
    classes of torch: they are imported by what builds them."""
    found = (path.relative_to(ROOT).with_suffix("") for path in files(package))
    names = [".".join(path.parts).removesuffix(".__init__") for path in found]
    aside = [
        name for name in names if ".blender_" in name or name.startswith("pipeline.ray_") or name.endswith(".nets")
    ]
    return [name for name in names if name not in aside]


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_room_costs_little(package: str):
    """All modules of a room together load nothing heavy; the room itself takes milliseconds."""
    code = f"""
import importlib, json, sys, time
began = time.process_time()
importlib.import_module({package!r})
cost = time.process_time() - began
for name in {modules(package)!r}:
    importlib.import_module(name)
print(json.dumps([cost, [name for name in {HEAVY!r} if name in sys.modules]]))
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    cost, heavy = json.loads(done.stdout)
    assert not heavy
    assert cost < SLOWEST_CPU_S[package]


def test_help_is_instant():
    code = "import resource, sys\nfrom pipeline.cli import main\ntry:\n    main(['--help'])\nfinally:\n"
    code += "    spent = resource.getrusage(resource.RUSAGE_SELF); print(sum(spent[:2]), file=sys.stderr)"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "build" in done.stdout
    assert float(done.stderr.split()[-1]) < 1


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_prints_but_the_command(package: str):
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in trees(package)
        if name not in PRINTS
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong


def test_files_are_short():
    lengths = {path: len(path.read_text().splitlines()) for path in files(*PACKAGES, "benchmarks", "tests")}
    limits = {path: 500 if path.is_relative_to(ROOT / "tests") else 400 for path in lengths}
    assert not {path.relative_to(ROOT).as_posix(): size for path, size in lengths.items() if size > limits[path]}
