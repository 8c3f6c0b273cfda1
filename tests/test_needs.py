"""A test that uses what its markers do not name fails and names the marker; quick tests are those without markers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import ROOT, loads_torch

TESTS = """
import subprocess, sys
import pytest
from tests.needs import needs

def use() -> None:
    subprocess.run([sys.executable, "-c", "import vllm"], stderr=subprocess.DEVNULL)

def test_silent():
    use()

@pytest.mark.vllm
def test_marked():
    use()

@pytest.fixture(scope="module")
def engine():
    use()

def test_first(engine): pass

def test_second(engine): pass

@pytest.fixture(scope="module")
@needs("vllm")
def declared():
    use()

def test_declared(declared): pass

@pytest.mark.slow
def test_slow(): pass

def test_nothing(): pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the markers of this one."""
    tests = tmp_path / "tests"
    shutil.copytree(ROOT / "tests" / "needs", tests / "needs", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "conftest.py"):
        shutil.copy(ROOT / "tests" / name, tests)
    (tests / "test_uses.py").write_text(TESTS)
    return tmp_path


def outcomes(project: Path, *arguments: str) -> tuple[str, dict[str, str]]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--strict-markers", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    lines = [line.split() for line in done.stdout.splitlines() if "tests/test_uses.py::" in line]
    # A test whose teardown fails has passed, too: its last line counts.
    found = {words[1].partition("::test_")[2]: words[0] for words in lines if words[0] in ("PASSED", "ERROR")}
    return done.stdout, found


@pytest.mark.slow
def test_a_marker_that_is_missing_is_named(project: Path):
    said, found = outcomes(project)
    wrong = {"silent", "first", "second"}
    assert {name for name, outcome in found.items() if outcome == "ERROR"} == wrong, said
    assert set(found) == wrong | {"marked", "declared", "slow", "nothing"}
    message = "this test runs vLLM, in .venv-vllm (import vllm): mark it @pytest.mark.vllm, or the fixture"
    # Where CI is set, the summary repeats whole messages: only lines of the reports begin with it.
    assert sum(line.startswith(message) for line in said.splitlines()) == 3, said


@pytest.mark.slow
def test_quick_tests_have_no_markers(project: Path):
    (project / "tests" / "test_of_torch.py").write_text("from tests.network import layers\n\ndef test_layers(): pass\n")
    (project / "tests" / "network.py").write_text("import torch\n\nlayers = 3\n")
    said, found = outcomes(project, "--quick")
    assert set(found) == {"silent", "first", "second", "nothing"}, said
    assert "test_of_torch" not in said


def test_modules_that_load_torch_are_known():
    assert loads_torch(ROOT / "tests" / "annotators" / "test_vggt.py")
    assert loads_torch(ROOT / "tests" / "readers" / "test_webdataset.py")
    assert not loads_torch(ROOT / "tests" / "annotators" / "test_templates.py")
