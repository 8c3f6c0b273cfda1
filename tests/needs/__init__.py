"""What a test may need beyond the base packages: the markers, and the log of what it really used.

A test is marked by what it is: a module whose import loads torch is `torch`, a test that asks for a fixture declared
with `@needs(...)` has the fixture's markers; only other tests carry their markers themselves. The log finds a marker
that is missing: `hook/sitecustomize.py` writes it, in this process and in every Python that a test starts.
"""

import ast
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

NEEDS = {
    "blender": "starts Blender",
    "browser": "opens pages in Chromium",
    "ray": "starts Ray",
    "readers": "runs foreign readers of shards, in .venv-readers",
    "s3": "starts an S3 server on this machine",
    "torch": "imports torch",
    "vllm": "runs vLLM, in .venv-vllm",
}
LOAD_TORCH = {"accelerate", "diffusers", "peft", "safetensors.torch", "torch", "transformers", "webdataset", "wids"}
"""Modules of others that load torch, most of them when they are imported."""
ROOT = Path(__file__).resolve().parents[2]
HOOK = Path(__file__).with_name("hook")
F = TypeVar("F", bound=Callable[..., object])


def needs(*names: str) -> Callable[[F], F]:
    """Declare the markers of a fixture, below `@pytest.fixture`: all tests that ask for it get them."""
    assert set(names) <= set(NEEDS)

    def declare(function: F) -> F:
        function.needs = names  # type: ignore[attr-defined]
        return function

    return declare


class Log:
    """What this process and its children used since the last `read`."""

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(prefix="spatialdata-needs-")
        self._path, self._file = Path(name), os.fdopen(handle)
        os.environ["SPATIALDATA_NEEDS_LOG"] = name
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HOOK), os.environ.get("PYTHONPATH")]))
        from tests.needs.hook import sitecustomize

        self._seen = sitecustomize.SEEN

    def read(self) -> dict[str, str]:
        """Need: how it was used."""
        self._seen.clear()
        return dict(line.rstrip("\n").split("\t", 1) for line in self._file)

    def remove(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


@cache
def loads_torch(path: Path) -> bool:
    """Whether a module of the tests, or one of the checkout that it imports, imports torch or what loads it."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    found, left = {name}, [name]
    while left:
        fresh = set(_imports(left.pop())) - found
        found |= fresh
        left += fresh
    return any(module in LOAD_TORCH or module.partition(".")[0] in LOAD_TORCH for module in found)


@cache
def _imports(name: str) -> tuple[str, ...]:
    """Modules that a module of the checkout imports when it is imported; of another module, none."""
    # No import system: to ask it for a thousand modules takes longer than to parse them.
    parts = name.split(".")
    path = ROOT.joinpath(*parts[1:] if parts[0] == "spatialdata_builder" and len(parts) > 1 else parts)
    for file, package in ((path / "__init__.py", name), (path.with_suffix(".py"), name.rpartition(".")[0])):
        if file.is_file():
            return tuple(_names(ast.parse(file.read_bytes()).body, package))
    return ()


def _names(statements: list[ast.stmt], package: str) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            base = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in statement.names)
        elif isinstance(statement, ast.Assign | ast.Expr):  # pytest.importorskip("torch")
            for call in ast.walk(statement):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.importorskip":
                    yield ast.literal_eval(call.args[0])
        elif isinstance(statement, ast.Try | ast.With):
            yield from _names(statement.body, package)
