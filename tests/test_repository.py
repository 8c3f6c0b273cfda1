"""The files that hosts, editors and contributors read: they parse, and name what exists."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from spatialdata_builder import __version__

ROOT = Path(__file__).resolve().parents[1]
HOOKS = ROOT / ".pre-commit-config.yaml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def load(path: Path) -> dict[str, Any]:
    # BaseLoader: YAML 1.1 reads the key `on` as a boolean.
    found = yaml.load(path.read_text(), yaml.BaseLoader)
    assert isinstance(found, dict), path
    return found


def commands() -> list[str]:
    """Every shell command of the workflows, the hook and the continuous integration."""
    steps = [step for path in WORKFLOWS for job in load(path)["jobs"].values() for step in job["steps"]]
    hooks = [hook["entry"] for repo in load(HOOKS)["repos"] for hook in repo["hooks"]]
    return [*(step["run"] for step in steps if "run" in step), *hooks, (ROOT / ".ci" / "run").read_text()]


@pytest.mark.slow
def test_every_make_target_exists():
    pages = [path.read_text() for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md")]
    typed = [
        line
        for page in pages
        for block in re.findall(r"^```\w*\n(.*?)^```", page, re.S | re.M)
        for line in block.splitlines()
    ]
    named = {match for text in [*commands(), *typed] for match in re.findall(r"^(?:exec )?make ([\w-]+)", text, re.M)}
    assert {"check", "test", "style", "wheel"} <= named
    done = subprocess.run(["make", "--dry-run", *named], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_complete(path: Path):
    found = load(path)
    assert {"name", "on", "permissions", "jobs"} <= set(found)
    for name, job in found["jobs"].items():
        assert job["runs-on"], name
        assert set(job) >= {"steps"}
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            # An action without a version changes under us.
            assert "uses" not in step or re.fullmatch(r"[\w.-]+/[\w.-]+@[\w./-]+", step["uses"])
        for needed in [job["needs"]] if "needs" in job else []:
            assert needed in found["jobs"]


def test_the_hook_needs_no_network():
    repos = load(HOOKS)["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    assert all({"id", "name", "entry", "language"} <= set(hook) for repo in repos for hook in repo["hooks"])


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_issue_forms_are_complete(path: Path):
    found = load(path)
    assert {"name", "description", "body"} <= set(found)
    for entry in found["body"]:
        assert entry["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        assert entry["attributes"]["label"]
    ids = [entry["id"] for entry in found["body"]]
    assert len(ids) == len(set(ids))


def test_the_citation_is_of_this_version():
    found = load(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    assert (found["cff-version"], found["type"], found["license"]) == ("1.2.0", "software", "Apache-2.0")
    assert found["version"] == __version__


def test_the_changelog_has_this_version():
    heads = re.findall(r"^## \[(.*)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert heads[0] == "Unreleased"
    assert __version__ in heads
