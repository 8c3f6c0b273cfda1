"""Runs commands and checks how they end."""

import contextlib
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from spatialdata_builder.pipeline.cli import main
from tests.pipeline.releases import CHECKOUT, build_arguments

PROGRESS = ("packed ", "looking at ")


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command; `errors` is stderr without progress lines."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        lines = [line for line in self.err.splitlines() if not line.startswith(PROGRESS)]
        return [line for line in lines if line.startswith("error") or not re.search(r" units?\b| assets ", line)]


def run(*arguments: object) -> CommandResult:
    """Run a command in this process: only the start of the interpreter differs from a real command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    return CommandResult(code, out.getvalue(), err.getvalue())


def assert_fails(result: CommandResult, *words: str, code: int = 2) -> str:
    """Assert that a command failed with one error line that contains `words`; returns the line."""
    assert result.code == code, result
    assert len(result.errors) == 1, result
    (line,) = result.errors
    assert line.startswith("error: ")
    assert "Traceback" not in result.err
    assert "internal error" not in line
    for word in words:
        assert word in line
    return line


def build(root: object, out: object, *settings: str) -> CommandResult:
    return run(*build_arguments(Path(str(root)), Path(str(out)), *settings))


def build_assets(root: Path, out: Path, *settings: str) -> CommandResult:
    chosen = ["source.kind=objaverse", f"source.root={root}", "samples=3", "unit_size=2", "engine.kind=inline"]
    return run("build", "--out", out, *(part for text in (*chosen, *settings) for part in ("--set", text)))


def python(*arguments: str) -> CommandResult:
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)
    return CommandResult(done.returncode, done.stdout, done.stderr)
