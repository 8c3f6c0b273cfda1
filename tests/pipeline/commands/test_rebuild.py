"""A rebuilt sample is identical to before, or its changes are reported; a failed rebuild loses nothing."""

import json
import shutil
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.lock import RunLock
from tests.pipeline.command_line import assert_fails, build, run
from tests.pipeline.releases import files_of, write_release

KEY = "translate-train-uid000"


def test_only_its_unit_is_recomputed(out: Path):
    before = files_of(out)
    times = {file: file.stat().st_mtime_ns for file in out.glob("layers/*/*")}
    result = run("rebuild", out, KEY, "--json")
    assert result.code == 0, result
    found = json.loads(result.out)
    assert found["changed"] == []
    assert files_of(out) == before
    rewritten = {file.stem for file, when in times.items() if file.stat().st_mtime_ns != when}
    assert rewritten == {f"{found['unit']:08d}"}
    assert run("verify", out).code == 0


@pytest.mark.slow
def test_a_repaired_source_changes_its_unit_and_names_the_recipes_to_pack(tmp_path: Path):
    root, out = write_release(tmp_path / "release", 9), tmp_path / "out"
    image = root / "translate/train/uid000/2.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:300])
    assert build(root, out).code == 0
    image.write_bytes(whole)
    result = run("rebuild", out, KEY)
    assert result.code == 0, result
    assert "changed: pair" in result.out
    assert f"spatialdata shard {out} --recipe full" in result.out
    assert run("shard", out, "--recipe", "full").code == 0
    other = tmp_path / "other"
    assert build(root, other).code == 0
    assert files_of(out / "shards") == files_of(other / "shards")


@pytest.mark.slow
def test_nothing_is_removed_if_it_cannot_be_recomputed(release: Path, finished: Path, tmp_path: Path):
    root, out = shutil.copytree(release, tmp_path / "release"), tmp_path / "out"
    assert build(root, out).code == 0
    before = files_of(out)
    with RunLock(LayerStore(str(out))):
        assert_fails(run("rebuild", out, KEY), "in use")
    shutil.rmtree(root)
    assert_fails(run("rebuild", out, KEY), str(root))
    assert files_of(out) == before
