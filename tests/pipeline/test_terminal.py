"""Output of untrusted text is harmless in any locale and to any stream, and causes no further error."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from spatialdata_builder.pipeline.report.why.text import print_why
from spatialdata_builder.pipeline.report.why.why import why_of
from spatialdata_builder.pipeline.terminal import say, terminal
from tests.pipeline.command_line import run
from tests.pipeline.releases import CHECKOUT
from tests.pipeline.report.test_why import keys_of

pytestmark = pytest.mark.slow

HOSTILE = "a\x1b[2J\x07\x9b31m\u202egnp.\u2066exe\u2028b\ud800"
COMMANDS = ("why OUT KEY", "status OUT", "audit OUT", "diff OUT OUT", "view OUT")
HARMFUL = set("\x1b\x07\x9b\u202e\u2066\u2028\ud800")


def shell(command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a shell command in which `spatialdata` is this checkout's command."""
    define = f'spatialdata() {{ "{sys.executable}" -m spatialdata_builder.pipeline.cli "$@"; }}; '
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), **environment}
    return subprocess.run(["bash", "-c", define + command], env=env, capture_output=True, text=True, check=False)


def test_lines_tables_and_errors(capsys: pytest.CaptureFixture[str]):
    say(HOSTILE)
    table = Table("name")
    table.add_row(HOSTILE)
    for console in (terminal(), terminal(stderr=True)):
        console.print(table)
        console.print(HOSTILE, markup=False)
    result = capsys.readouterr()
    assert result.out.count("gnp.exe") == 3 and result.err.count("gnp.exe") == 2
    assert not HARMFUL & set(result.out + result.err)
    assert "[31m" not in terminal(force_terminal=True).render_str("x").plain


@pytest.mark.parametrize(
    "arguments", [["status", HOSTILE[:-1]], [HOSTILE[:-1]], ["build", "--out", "x", "--set", HOSTILE[:-1]]]
)
def test_arguments_in_errors(arguments: list[str]):
    result = run(*arguments)
    assert result.code == 2
    assert "gnp" in result.err and not HARMFUL & set(result.err)


def test_all_output_goes_through_terminal():
    """`click.echo` and rich's own Console do not remove control characters."""
    for file in (CHECKOUT / "pipeline").rglob("*.py"):
        if file.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("click.echo", "Console", "print"), f"{file}:{node.lineno}"


@pytest.mark.parametrize("command", [*COMMANDS, pytest.param("doctor", marks=pytest.mark.blender)])
def test_an_ascii_locale(out: Path, command: str):
    key = keys_of(out)[0]
    line = command.replace("OUT", str(out)).replace("KEY", key)
    result = shell(f"spatialdata {line}", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert result.returncode == 0 or command == "doctor", result.stderr
    assert "codec" not in result.stderr and "internal error" not in result.stderr
    assert result.stdout.isascii()


def test_names_in_a_locale_without_their_characters(finished: Path):
    code = (
        "import sys; from spatialdata_builder.pipeline.terminal import prepare\n"
        "from spatialdata_builder.pipeline.report.why.why import why_of\n"
        "from spatialdata_builder.pipeline.report.why.text import print_why\n"
        "prepare(); found = why_of(*sys.argv[1:])\n"
        "found['assets'][0]['name'] = '\\u6570 \\udcff'; print_why(found)"
    )
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", code, str(finished), keys_of(finished)[0]]
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "\\u6570" in result.stdout


def test_a_name_equal_to_the_category_is_printed_once(finished: Path, capsys: pytest.CaptureFixture[str]):
    found = why_of(str(finished), keys_of(finished)[0])
    found["assets"] = [{**found["assets"][0], "name": "laptop", "category": "laptop"}]
    print_why(found)
    assert "laptop: " in (result := capsys.readouterr().out) and "(laptop)" not in result


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["status OUT", "verify OUT --json", "--help"])
def test_a_full_stdout(finished: Path, command: str):
    result = shell(f"spatialdata {command.replace('OUT', str(finished))} > /dev/full")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "to stdout (No space left on device)" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_stderr_does_not_stop_a_command(finished: Path):
    result = shell(f"spatialdata verify {finished} 2> /dev/full")
    assert (result.returncode, result.stderr) == (0, "")
    assert shell(f"spatialdata status {finished}/nothing 2> /dev/full").returncode == 2


def test_a_closed_pipe(finished: Path):
    result = shell(f"spatialdata status {finished} | true; exit ${{PIPESTATUS[0]}}")
    assert result.stderr == "" and result.returncode in (0, 1)
