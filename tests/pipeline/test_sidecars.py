"""Packing writes the files of other readers beside the shards, keeps them correct, and repairs them."""

import json
import shutil
from pathlib import Path

import pytest

from spatialdata_builder.shards.sidecars import SIDECARS
from tests.pipeline.command_line import python, run
from tests.pipeline.releases import files_of


def public(folder: Path) -> dict[str, bytes]:
    """All files but the builder's own records."""
    return {name: data for name, data in files_of(folder).items() if not name.startswith(".made/")}


@pytest.mark.slow
def test_packing_again_keeps_them_correct(out: Path):
    folder = out / "shards" / "full"
    before = public(folder)
    assert {"README.md", "croissant.json", "_info.json", ".nv-meta/.info.json"} <= before.keys()
    indexes = {name for name in before if name.endswith(".tar.idx")}
    assert {name.removesuffix(".idx") for name in indexes} == {name for name in before if name.endswith(".tar")}
    result = run("shard", out, "--recipe", "full", "--set", "shard.samples_per_shard=2")
    assert result.code == 0, result
    after = public(folder)
    assert not indexes & after.keys()
    listed = json.loads(after[".nv-meta/.info.json"])["shard_counts"]
    assert set(listed) == {name for name in after if name.endswith(".tar")}
    assert run("verify", out).code == 0
    assert run("shard", out, "--recipe", "full").code == 0
    assert public(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["_info.json", ".nv-meta", "*/*.tar.idx"])
def test_missing_files_are_repaired(out: Path, finished: Path, name: str):
    lost = sorted((out / "shards" / "full").glob(name))[0]
    if lost.is_dir():
        shutil.rmtree(lost)
    else:
        lost.unlink()
    result = run("verify", out)
    assert result.code == 1
    assert " is missing" in result.out
    assert run("verify", out, "--repair").code == 0
    assert files_of(out / "shards") == files_of(finished / "shards")


@pytest.mark.slow
def test_a_failed_packing_leaves_no_list_of_shards(out: Path):
    folder = out / "shards" / "full"
    finer = ("shard", str(out), "--recipe", "full", "--set", "shard.samples_per_shard=1")
    limited = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); "
    assert python("-c", f"{limited}from spatialdata_builder.pipeline.cli import main; main({list(finer)})").code == 1
    assert not any((folder / name).exists() for name in SIDECARS)
    assert run(*finer).code == 0
    assert all((folder / name).exists() for name in SIDECARS)
    assert run("verify", out).code == 0
