"""Builds with samples that are derived from others: what they show, and that no interruption changes them."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.report.why import why_of
from shards import codecs
from shards.layout import find_shards
from shards.reader import StoredSample, read_record, read_samples
from shards.schema import EDIT_KINDS, SampleRecord
from sources.derived import INVERSE
from tests.pipeline.commands import run
from tests.pipeline.releases import CHECKOUT, build_arguments, files_of, spatialdata, write_release

Built = dict[str, tuple[StoredSample, SampleRecord]]
SWAPPED = (
    ("source", "target"),
    ("source_instances", "target_instances"),
    ("source_metric", "metric"),
    ("source_normal", "normal"),
    ("source_depth", "depth"),
    ("source_segment", "segment"),
    ("source_line", "line"),
    ("changed", "changed"),
)


def samples_of(out: Path) -> Built:
    stored = [sample for shard in find_shards(str(out), recipe="full") for sample in read_samples(shard)]
    return {sample.key: (sample, read_record(sample.members["json"])) for sample in stored}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), 24)


@pytest.fixture(scope="module")
def undisturbed(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    done = spatialdata(*build_arguments(release, out, "edits.invert=true"))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "out"
    settings = ("samples=12", "unit_size=6", "source.variants=6", "render.resolution=[128, 96]", "render.samples=4")
    settings += ("seed=3", "edits.invert=true", "engine.kind=inline", "shard.splits={train: 0.5, val: 0, test: 0.5}")
    done = spatialdata("build", "--out", str(out), *(part for text in settings for part in ("--set", text)))
    assert done.returncode == 0, done.stderr
    return out


def inverses(built: Built) -> list[tuple[tuple[StoredSample, SampleRecord], tuple[StoredSample, SampleRecord]]]:
    found = [(built[key.removesuffix("-inv")], built[key]) for key in built if key.endswith("-inv")]
    assert len(found) >= 5
    return found


def test_an_inverse_has_its_origin_s_bytes_the_other_way_round(scenes: Path):
    for (here, one), (there, other) in inverses(samples_of(scenes)):
        for source, target in SWAPPED:
            assert here.members[source] == there.members[target]
            assert here.members[target] == there.members[source]
        assert one.split == other.split
        assert other.provenance.derived == "invert" and other.provenance.origin == one.key
        assert one.provenance.derived == "" and one.provenance.origin == ""
        assert other.edit.kind == INVERSE[one.edit.kind]
        for name in ("metric", "normal", "depth", "segment", "line"):
            assert getattr(one.maps, name) == getattr(other.maps, f"source_{name}")
        assert one.source_caption.split() and other.caption.split()


def test_an_inverse_s_numbers_are_those_of_its_own_poses_and_pixels(scenes: Path):
    """Measured from what the record and the members say, not from how it was made."""
    for _, (sample, record) in inverses(samples_of(scenes)):
        edit = record.edit
        if edit.kind == "camera":
            assert record.camera.source != record.camera.target
            continue
        assert record.camera.source == record.camera.target
        thing = next(item for item in record.objects if item.id == edit.object)
        before, after = (np.reshape(pose, (4, 4)) for pose in (thing.source_pose, thing.target_pose))
        labels = codecs.decode_labels(sample.members["target_instances"])
        rows, columns = np.nonzero(labels == edit.object)
        if edit.kind == "remove":
            assert not len(rows) and edit.box == [0, 0, 0, 0] and thing.target_visible == 0 < thing.source_visible
            continue
        assert edit.box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        if edit.kind == "insert":
            assert thing.source_visible == 0 < thing.target_visible
            continue
        np.testing.assert_allclose(after[:3, 3] - before[:3, 3], edit.translation, atol=3e-6)
        turn = np.deg2rad(edit.rotation_deg)
        spun = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
        np.testing.assert_allclose(spun @ before[:3, :3] * edit.scale, after[:3, :3], atol=1e-5)


def test_every_kind_is_there_checked_and_counted(scenes: Path):
    built = samples_of(scenes)
    assert {record.edit.kind for _, (_, record) in inverses(built)} == set(EDIT_KINDS)
    assert all(record.instruction.verified for _, record in built.values())
    told = run("status", scenes, "--json")
    assert json.loads(told.out)["samples"] == 24
    assert json.loads(run("verify", scenes, "--json").out)["problems"] == []
    card = (scenes / "shards/full/README.md").read_text()
    count = sum(key.endswith("-inv") for key in built)
    assert f"{count} of the {len(built)} samples were derived from others" in card
    splits = Counter(record.split for _, record in built.values())
    assert set(splits) == {"train", "test"}


def test_why_names_the_origin(scenes: Path):
    key = next(key for key in samples_of(scenes) if key.endswith("-inv"))
    assert why_of(str(scenes), key)["plan"]["origin"] == [key.removesuffix("-inv")]
    assert f"derived by invert from {key.removesuffix('-inv')}" in run("why", scenes, key).out


def test_rebuilding_an_inverse_changes_nothing(undisturbed: Path, tmp_path: Path):
    key = next(key for key in samples_of(undisturbed) if key.endswith("-inv"))
    told = run("rebuild", undisturbed, key, "--json")
    assert told.code == 0, told
    assert json.loads(told.out)["changed"] == []


def test_released_pairs_are_read_backwards(undisturbed: Path):
    built = samples_of(undisturbed)
    for (here, one), (there, other) in inverses(built):
        assert here.members["source"] == there.members["target"]
        assert here.members["target"] == there.members["source"]
        assert here.members["changed"] == there.members["changed"]
        assert other.edit.kind == INVERSE[one.edit.kind]
        assert other.edit.known == one.edit.known
        assert (other.edit.rotation_deg + one.edit.rotation_deg) % 360 == 0
    # A removal read backwards is an insertion: it is not planned a second time.
    assert not any(key.startswith("insert-") for key in built)
    assert Counter(record.edit.kind for _, record in built.values())["insert"] > 0


def test_a_killed_build_goes_on_to_the_same_bytes(release: Path, undisturbed: Path, tmp_path: Path):
    out = tmp_path / "out"
    arguments = build_arguments(release, out, "edits.invert=true", "unit_size=4")
    driver = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("layers/pair-*/*.json"))) < 2:
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    done = spatialdata(*arguments)
    assert done.returncode == 0, done.stderr
    assert files_of(out / "shards") == files_of(undisturbed / "shards")


def test_engines_agree(release: Path, undisturbed: Path, tmp_path: Path):
    done = spatialdata(*build_arguments(release, tmp_path / "out", "edits.invert=true", "engine.kind=ray"))
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "out" / "shards") == files_of(undisturbed / "shards")


def test_what_its_origin_lost_is_refused_and_named(release: Path, tmp_path: Path):
    root = write_release(tmp_path / "release", 3)
    image = root / "translate/train/uid000/2.png"
    image.write_bytes(image.read_bytes()[:300])
    done = spatialdata(*build_arguments(root, tmp_path / "out", "edits.invert=true"), "--json")
    found = json.loads(done.stdout)
    assert found["samples"] == 6
    assert found["rejects"]["pair: unreadable_image"] == found["rejects"]["pair: origin_rejected"] == 1
    story = why_of(str(tmp_path / "out"), "translate-train-uid000-inv")
    assert story["because"] == "layer pair: origin_rejected"
    refused = next(layer["reject"] for layer in story["layers"] if layer["state"] == "refused")
    assert "translate-train-uid000: unreadable_image" in refused["detail"]
