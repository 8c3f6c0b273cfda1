"""One package, one name for each module: in a checkout, for bare names, scripts, pickles and type checkers."""

import json
import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import spatialdata_builder
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.extras import EXTRA_OF, install_command, missing_package, require_all

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = ("shards", "shards.schema", "pipeline", "pipeline.store.plan", "annotators.templates", "training.registry")
READER = """
from spatialdata_builder import Report, StoredSample, Stream, read_samples, stream, verify_folder

opened: Stream = stream("train", recipe="full", seed=0)
batches = opened.batches(4)
report: Report = verify_folder("train")
samples: list[StoredSample] = list(read_samples("shard.tar"))
reveal_type(stream)
reveal_type(batches)
reveal_type(verify_folder)
reveal_type(read_samples)
wrong: int = stream("train")
"""


def python(*arguments: str, cwd: Path = ROOT, path: str = "") -> str:
    """What a Python of its own prints; `path` is its PYTHONPATH."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=env | ({"PYTHONPATH": path} if path else {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("bare_first", [True, False])
@pytest.mark.parametrize("name", MODULES)
def test_a_bare_name_is_the_same_module(name: str, bare_first: bool):
    names = [name, f"spatialdata_builder.{name}"]
    first, second = names if bare_first else names[::-1]
    code = f"""
import importlib, sys
first, second = importlib.import_module({first!r}), importlib.import_module({second!r})
assert first is second, (first, second)
assert sys.modules[{name!r}] is sys.modules['spatialdata_builder.{name}']
print(first.__name__, first.__spec__.name)
"""
    assert python("-c", code) == f"spatialdata_builder.{name} spatialdata_builder.{name}"


@pytest.mark.slow
@pytest.mark.parametrize("bare_first", [True, False])
def test_stream_is_one_object(bare_first: bool):
    lines = ["from shards import stream as bare", "from spatialdata_builder import stream as whole"]
    code = "\n".join(lines if bare_first else lines[::-1])
    assert python("-c", f"{code}\nassert bare is whole\nprint(whole.__module__)") == (
        "spatialdata_builder.shards.streaming.dataset"
    )


def test_the_public_names():
    """They exist, and importing the package loads none of them."""
    assert set(spatialdata_builder.__all__) == {"__version__", *spatialdata_builder._EXPORTS}
    for name, module in spatialdata_builder._EXPORTS.items():
        assert getattr(spatialdata_builder, name) is getattr(import_module(f"spatialdata_builder.{module}"), name)
    with pytest.raises(AttributeError, match="no attribute 'shuffle'"):
        _ = spatialdata_builder.shuffle
    code = "import sys, spatialdata_builder; print([n for n in sys.modules if n.startswith('spatialdata_builder.')])"
    assert python("-c", code) == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [
        ("-m", "pipeline.cli"),
        ("-m", "spatialdata_builder.pipeline.cli"),
        ("pipeline/build.py",),
        ("-m", "training.cli"),
        ("-m", "spatialdata_builder.training.cli"),
    ],
)
def test_ways_to_start_a_command(start: tuple[str, ...]):
    assert python(*start, "--help").startswith("Usage:")


@pytest.mark.parametrize("theirs_first", [True, False])
def test_a_package_of_the_user_stays_theirs(theirs_first: bool, tmp_path: Path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__init__.py").write_text("OWNER = 'user'\n")
    (tmp_path / "training" / "registry.py").write_text("OWNER = 'user'\n")
    lines = ["import training.registry", "import spatialdata_builder.training.registry as ours"]
    code = "\n".join(lines if theirs_first else lines[::-1])
    code += "\nprint(training.OWNER, training.registry.OWNER, 'spatialdiff' in ours.RECIPES, hasattr(ours, 'OWNER'))"
    assert python("-c", code, cwd=tmp_path, path=os.pathsep.join([str(tmp_path), str(ROOT)])) == "user user True False"


@pytest.mark.slow
def test_pickles_name_the_package(tmp_path: Path):
    """Of a stage that was imported by its bare name, for a worker that may know only the package's."""
    dump = """
import sys
from pathlib import Path
from ray import cloudpickle
from annotators.templates import TemplateInstruction
Path(sys.argv[1]).write_bytes(cloudpickle.dumps([TemplateInstruction, TemplateInstruction()]))
"""
    load = """
import sys
from pathlib import Path
from ray import cloudpickle
kind, stage = cloudpickle.loads(Path(sys.argv[1]).read_bytes())
assert 'annotators' not in sys.modules
from spatialdata_builder.annotators.templates import TemplateInstruction
assert type(stage) is kind is TemplateInstruction
print(kind.__module__)
"""
    python("-c", dump, str(tmp_path / "stage"))
    name = python("-c", load, str(tmp_path / "stage"), cwd=tmp_path, path=str(ROOT))
    assert name == "spatialdata_builder.annotators.templates"


@pytest.mark.slow
def test_a_type_checker_follows_the_public_import(tmp_path: Path):
    """pyright, strict, on a file of a user: every type is known, and a wrong one is found."""
    (tmp_path / "reader.py").write_text(READER)
    environment = {"venvPath": str(Path(sys.prefix).parent), "venv": Path(sys.prefix).name, "extraPaths": [str(ROOT)]}
    strict = {"typeCheckingMode": "strict", "include": ["reader.py"], "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(environment | strict))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--project", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [item for item in found if item["severity"] in ("error", "warning") and item.get("rule")]
    told = [item["message"] for item in found if item["severity"] == "information"]
    assert [item["rule"] for item in errors] == ["reportAssignmentType"]
    assert len(told) == 4
    assert not any("Unknown" in message for message in told), told
    assert "-> Stream" in told[0] and "-> Report" in told[2] and "-> Iterator[StoredSample]" in told[3]


def test_the_pins_are_within_the_ranges():
    """Each line of constraints.txt is the version of a requirement of pyproject.toml, within its range."""
    ranges = {
        canonicalize_name(one.name): one.specifier for one in map(Requirement, [*PROJECT["dependencies"], *extras()])
    }
    pins = [
        Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    ]
    assert pins
    for pin in pins:
        (version,) = pin.specifier
        assert version.operator == "==" and ranges[canonicalize_name(pin.name)].contains(version.version), pin


def extras() -> list[str]:
    return [text for texts in PROJECT["optional-dependencies"].values() for text in texts]


def test_the_extra_that_an_error_names_holds_the_package():
    for package, extra in EXTRA_OF.items():
        names = {canonicalize_name(Requirement(text).name) for text in PROJECT["optional-dependencies"][extra]}
        assert canonicalize_name(package) in names, (package, extra)


def test_an_error_names_a_command_that_works_in_a_checkout():
    command = "pip install -c constraints.txt -e '.[build]'"
    assert install_command("build") == command
    assert install_command() == "pip install -c constraints.txt -e '.'"
    with pytest.raises(BadInput, match=r"building needs no_such, nor_such, not installed here: run `pip .*\[build\]'`"):
        require_all("building", ("json", "no_such", "nor_such"), "build")
    lost = ModuleNotFoundError("No module named 'ray.data'", name="ray.data")
    assert missing_package(lost) == f"package 'ray' is not installed: run `{command}`"
    assert missing_package(ModuleNotFoundError("No module named 'ours'", name="spatialdata_builder.ours")) == ""
