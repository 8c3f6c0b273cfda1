"""A build of furnished scenes and open ones, from nothing to shards, and its resumption."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.shards.codecs import decode_image, decode_labels, decode_mask
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from spatialdata_builder.shards.schema import SUPPORT_VERSION
from tests.needs import needs
from tests.pipeline.command_line import assert_fails, run
from tests.pipeline.releases import CHECKOUT, files_of, spatialdata

SETTINGS = (
    "samples=5",
    "unit_size=1",
    "source.variants=3",
    "edits={translate: 1, remove: 1}",
    "scene.kinds={open: 1, room: 1, tabletop: 2, garden: 1}",
    "render.resolution=[96, 96]",
    "render.samples=4",
    "engine.kind=inline",
    "shard.splits={train: 1, val: 0, test: 0}",
)
pytestmark = pytest.mark.slow


def arguments(out: Path, *more: str) -> list[str]:
    return ["build", "--out", str(out), *(part for text in (*SETTINGS, *more) for part in ("--set", text))]


@pytest.fixture(scope="module")
@needs("blender")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rooms") / "out"
    done = spatialdata(*arguments(out))
    assert done.returncode == 0, done.stderr
    return out


def test_samples_are_accepted_and_only_the_edited_object_changes(out: Path):
    stored = [sample for shard in find_shards(str(out), recipe="full") for sample in read_samples(shard)]
    assert len(stored) >= 4
    raised = 0
    kinds = set[str]()
    for sample in stored:
        record = read_record(sample.members["json"])
        kinds.add(record.scene)
        assert record.instruction.verified
        source, target = (decode_image(sample.members[name]) for name in ("source", "target"))
        changed = decode_mask(sample.members["changed"])
        np.testing.assert_array_equal(source[~changed], target[~changed])
        seen = set(np.unique(decode_labels(sample.members["source_instances"])).tolist()) - {0}
        assert record.edit.object in seen
        assert record.schema_version == SUPPORT_VERSION
        by_id = {item.id: item for item in record.objects}
        for item in record.objects:
            for state in ("source", "target"):
                pose, on = getattr(item, f"{state}_pose"), getattr(item, f"{state}_support")
                if on.kind in ("", "floor", "under"):
                    assert (on.kind == "under") == (on.object > 0)
                    assert on.kind == "" or pose[11] == 0
                else:
                    base = np.reshape(getattr(by_id[on.object], f"{state}_pose"), (4, 4))
                    height = np.linalg.norm(base[:3, 2]) * by_id[on.object].size_m[2]
                    # The center of the base of what leans or lies is above the surface.
                    raised_by = 0.001 if np.allclose(pose[8:10], 0) else max(item.size_m) / 2
                    assert base[2, 3] < pose[11] <= base[2, 3] + height + raised_by
                    raised += 1
        gone = by_id[record.edit.object].target_support
        assert (gone.kind == "") == (record.edit.kind == "remove")
        along = {record.edit.object}
        while more := {item.id for item in record.objects if item.source_support.object in along} - along:
            along |= more
        for item in record.objects:
            assert item.id in along or item.source_pose == item.target_pose
    assert raised  # some things stand on furniture
    assert len(kinds) >= 3


def test_a_lost_layer_and_lost_supports_come_back_as_they_were(out: Path, tmp_path: Path):
    copy = shutil.copytree(out, tmp_path / "out")
    before = files_of(copy / "shards")
    shutil.rmtree(copy / "layers" / open_build(str(copy)).layers["pair"])
    shutil.rmtree(copy / "shards")
    (copy / "plan" / "supports.parquet").unlink()
    done = spatialdata(*arguments(copy))
    assert done.returncode == 0, done.stderr
    assert files_of(copy / "shards") == before


@pytest.mark.blender
@pytest.mark.ray
def test_a_killed_build_gives_the_same_shards(out: Path, tmp_path: Path):
    """Killed in one process and resumed on Ray: the packed bytes depend neither on the stop nor on the engine."""
    copy = tmp_path / "out"
    driver = subprocess.Popen(
        [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *arguments(copy)],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while len(list(copy.glob("layers/pair-*/*.json"))) < 2:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    done = spatialdata(*arguments(copy, "engine.kind=ray"))
    assert done.returncode == 0, done.stderr
    assert files_of(copy / "shards") == files_of(out / "shards")


def test_another_mix_of_kinds_is_another_plan(out: Path):
    assert_fails(run(*arguments(out, "scene.kinds={open: 1}")), "scene.kinds: ", "another --out")


def test_mistakes_in_the_weights(tmp_path: Path):
    assert_fails(run(*arguments(tmp_path / "out", "scene.kinds={room: 0}")), "scene.kinds", "open, room, tabletop")
    assert_fails(run(*arguments(tmp_path / "out", "scene.kinds={cave: 1}")), "scene.kinds", "cave")
    assert not list(tmp_path.iterdir())
