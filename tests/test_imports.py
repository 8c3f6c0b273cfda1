"""Who may import whom, and what an import costs: the floors of the building."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "spatialdata_builder"
PACKAGES = ("annotators", "evaluation", "pipeline", "shards", "sources", "training")
MAY_IMPORT = {
    "shards": {"shards"},
    "sources": {"sources", "shards"},
    "annotators": {"annotators", "shards"},
    "training": {"training", "shards"},
    "evaluation": {"evaluation", "annotators", "shards", "sources", "training"},
    "pipeline": {"pipeline", "evaluation", "shards", "sources", "annotators", "training"},  # training: only its command
}
FLOORS = {
    "pipeline": (
        "start interrupts terminal secret_values",
        "config",
        "plug_ins",
        "registry store",
        "engine",
        "planning packing",
        "opened",
        "report",
        "commands",
        "cli",
        "build",
    ),
    "sources": (
        "scratch derived changed_region assets csv_rows",
        "scenes source registry procedural object3dit",
        "edits blender",
        "survey",
        "materials",
        "environments",
        "rendered",
        "objaverse models",
        "infinigen",
    ),
}
"""Of the folders and files of a package, the lowest first: each may import those of lower floors."""
HEAVY = ("torch", "ray", "bpy", "vllm", "transformers", "diffusers", "objaverse", "webdataset")
SLOWEST_CPU_S = dict.fromkeys(PACKAGES, 0.7)
PRINTS = {
    "sources/blender/worker.py": "its replies to the caller",
}


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def trees(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for path in files(folder):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in files(*PACKAGES)}


@cache
def imports(name: str) -> tuple[tuple[str, int], ...]:
    """What is imported anywhere in a module, with the line: our modules by their names, of others the top level."""
    path = MODULES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append((str(node.module), node.lineno))
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], *(node.module.split(".") if node.module else ())]
            wholes = [".".join([*base, alias.name]) for alias in node.names]
            found += [(whole if whole in MODULES else ".".join(base), node.lineno) for whole in wholes]
    return tuple(found)


def graph() -> dict[str, list[str]]:
    return {name: sorted({other for other, _ in imports(name)} - {name}) for name in MODULES}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_imports_only_those_below(package: str):
    wrong = [
        f"{name}:{line} imports {other}"
        for name in MODULES
        if name.partition(".")[0] == package
        for other, line in imports(name)
        if (other.partition(".")[0] in PACKAGES and other.partition(".")[0] not in MAY_IMPORT[package])
        or (other.partition(".")[0] == "ray" and package != "pipeline")
    ]
    assert not wrong


def test_our_modules_are_imported_relatively():
    """So that one module has one name, in a checkout as in a wheel; see spatialdata_builder.py."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and not node.level and str(node.module).partition(".")[0] in OURS)
        or (isinstance(node, ast.Import) and any(alias.name.partition(".")[0] in OURS for alias in node.names))
    ]
    assert not wrong


OURS = (*PACKAGES, PACKAGE)


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_each_folder_imports_only_lower_floors(package: str):
    floor_of = {room: number for number, rooms in enumerate(FLOORS[package]) for room in rooms.split()}
    rooms = {name.split(".")[1] for name in MODULES if name.startswith(f"{package}.")}
    assert rooms == set(floor_of)
    wrong = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in others
        if name.startswith(f"{package}.") and other.startswith(f"{package}.")
        if (mine := name.split(".")[1]) != (theirs := other.split(".")[1]) and floor_of[theirs] > floor_of[mine]
    ]
    assert not wrong


def test_there_are_no_import_circles():
    """Between files, imports inside functions and for type checkers included."""
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_folders_have_no_import_circles():
    """Between the folders and files of one package: floors hold rooms that do not know each other in a circle."""
    rooms: dict[str, set[str]] = {}
    for name, others in graph().items():
        mine = ".".join(name.split(".")[:2])
        same = {".".join(other.split(".")[:2]) for other in others if other.split(".")[0] == name.split(".")[0]}
        rooms.setdefault(mine, set()).update(same - {mine})
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def modules(package: str) -> list[str]:
    """Every module of a package but scripts of another interpreter, Ray's side of the engine, and networks, which are
    classes of torch: they are imported by what builds them."""
    names = [name for name in MODULES if name.partition(".")[0] == package]
    aside = [
        name
        for name in names
        if (name.startswith(("sources.blender.", "pipeline.engine.ray_")) and name not in CLIENTS)
        or name in ("sources.infinigen.baking", "sources.infinigen.worker")
        or name.endswith(".nets")
    ]
    return [name for name in names if name not in aside]


CLIENTS = tuple(f"sources.blender.{name}" for name in ("environment", "process", "render"))
"""Of Blender's process: they run in ours."""


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_room_costs_little(package: str):
    """All modules of a room together load nothing heavy; the room itself takes milliseconds."""
    code = f"""
import importlib, json, sys, time
began = time.process_time()
importlib.import_module({f"{PACKAGE}.{package}"!r})
cost = time.process_time() - began
for name in {modules(package)!r}:
    importlib.import_module(f'{PACKAGE}.{{name}}')
print(json.dumps([cost, [name for name in {HEAVY!r} if name in sys.modules]]))
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    cost, heavy = json.loads(done.stdout)
    assert not heavy
    assert cost < SLOWEST_CPU_S[package]


def test_help_is_instant():
    code = "import resource, sys\nfrom spatialdata_builder.pipeline.cli import main\n"
    code += "try:\n    main(['--help'])\nfinally:\n"
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
