"""`spatialdata assets infinigen`: errors, what a rerun does, and a real run that is killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spatialdata_builder.sources.assets.glb import header_error
from spatialdata_builder.sources.infinigen.cache import RECORDS, AssetCache, AssetRecord, AssetTerms
from spatialdata_builder.sources.infinigen.factories import FACTORIES
from spatialdata_builder.sources.infinigen.generate import DOWNLOAD, is_installed
from spatialdata_builder.sources.models.catalog import list_models
from tests.pipeline.command_line import CommandResult, assert_fails, run
from tests.pipeline.releases import CHECKOUT
from tests.sources.models import box, glb

CHAIR = FACTORIES["ChairFactory"]


def infinigen(*arguments: object) -> CommandResult:
    return run("assets", "infinigen", *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--factories", "ChiarFactory"), ("no factory 'ChiarFactory'", "did you mean ChairFactory")),
        (("--factories", "MonitorFactory"), ("MonitorFactory is not used", "bakes to a gray area")),
        (("--license", "bsd-3-clause"), ("--license bsd-3-clause: not known", "allowed: cc0, by")),
    ],
)
def test_bad_arguments_create_nothing(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]):
    assert_fails(infinigen("--to", tmp_path / "cache", *arguments), *words)
    assert not (tmp_path / "cache").exists()


def test_the_folder_must_be_given():
    told = infinigen("--seeds", 2)
    assert told.code == 2 and "--to CACHE is missing" in told.err


def test_the_list_has_every_factory():
    found = json.loads(infinigen("--list", "--json").out)
    assert {factory["name"]: factory["category"] for factory in found["factories"]} == {
        name: factory.category for name, factory in FACTORIES.items()
    }
    shown = infinigen("--list").out
    assert all(name in shown for name in (*FACTORIES, "MonitorFactory"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A chair of seed 0, and one of seed 1 that failed."""
    cache = AssetCache(tmp_path / "cache")
    cache.unfinished("ChairFactory", 0).write_bytes(glb(box(0.5, 0.9, 0.5)))
    terms = AssetTerms("cc0", "Infinigen")
    cache.add(CHAIR, AssetRecord("ChairFactory", 0, 2.0, size_m=(0.5, 0.5, 0.9), triangles=12), terms)
    cache.add(CHAIR, AssetRecord("ChairFactory", 1, reason="cpu_limit", detail="more than 9 CPU seconds"), terms)
    cache.close()
    return cache.root


def test_a_rerun_generates_nothing_and_reports_failures(cache: Path):
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    told = infinigen("--to", cache, "--factories", "chair", "--seeds", 2)
    assert told.code == 0
    assert "1 asset in" in told.out and "0 of them generated now" in told.out
    assert "ChairFactory 1: cpu_limit: more than 9 CPU seconds" in told.out and "--retry-failed" in told.out
    assert {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()} == before
    found = json.loads(infinigen("--to", cache, "--factories", "chair", "--seeds", 2, "--json").out)
    assert (found["complete"], found["generated"]) == (1, 0)
    assert [(failure["seed"], failure["reason"]) for failure in found["failures"]] == [(1, "cpu_limit")]


def test_without_any_asset_the_command_fails(cache: Path):
    assert infinigen("--to", cache, "--factories", "chair", "--first-seed", 1).code == 1


def test_a_folder_of_other_files_is_rejected(tmp_path: Path):
    (tmp_path / "models.csv").write_text("file\n")
    assert_fails(infinigen("--to", tmp_path), "holds other files (models.csv)")


def test_a_folder_in_use_is_rejected(cache: Path):
    held = AssetCache(cache)
    assert_fails(infinigen("--to", cache), "another process writes into it")
    held.close()


@pytest.fixture
def installed() -> None:
    if not is_installed():
        pytest.skip(
            f"Infinigen is not installed ({DOWNLOAD}): `spatialdata assets infinigen --to CACHE --factories plate` "
            "installs it"
        )


def started(cache: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "spatialdata_builder.pipeline.cli", "assets", "infinigen", "--to", str(cache)]
    return subprocess.Popen(
        [*command, "--texture", "64", "--jobs", "1", "--json", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.blender
@pytest.mark.usefixtures("installed")
def test_a_killed_run_resumes(tmp_path: Path):
    cache = tmp_path / "cache"
    wanted = ("--factories", "MattressFactory,PalletFactory", "--seeds", "2")
    process = started(cache, *wanted)
    while not list(cache.glob("*/*.glb")):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in cache.glob("*/*.glb")}
    assert 0 < len(kept) < 4
    for file in kept:
        assert not header_error(file)
    done = started(cache, *wanted)
    out, _ = done.communicate()
    assert done.returncode == 0
    found = json.loads(out)
    assert (found["complete"], found["failures"]) == (4, [])
    recorded = [json.loads(line) for line in (cache / RECORDS).read_text().splitlines()]
    for record in recorded[: len(kept) - 1]:  # the last one may have had no record yet
        file = cache / record["factory"] / f"{record['seed']}.glb"
        assert file.stat().st_mtime_ns == kept[file]
    entries = list_models(cache, "", "", print)
    assert [entry.category for entry in entries] == ["mattress"] * 2 + ["pallet"] * 2
    # The same assets in another process and order have the same bytes.
    other = tmp_path / "other"
    done = started(other, "--factories", "PalletFactory", "--first-seed", "1")
    done.communicate()
    assert (other / "PalletFactory/1.glb").read_bytes() == (cache / "PalletFactory/1.glb").read_bytes()
