"""A build of one camera grid: its samples, the bytes that they share, its shards and its exports."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.geometry import matrix4, wrap_degrees
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import StoredSample, read_record, read_samples
from spatialdata_builder.shards.schema import SampleRecord
from spatialdata_builder.shards.views import orbit_views
from tests.needs import needs
from tests.pipeline.command_line import run
from tests.pipeline.releases import files_of
from tests.pipeline.scene_builds import changed_shards, without_pairs

VIEWS, PAIRS = 8, 20
SETTINGS = (
    "source.variants=3",
    "samples=7",
    "unit_size=7",
    "seed=8",
    "edits={orbit: {azimuths: 4, elevations: [-30, 30], distances: [1.0]}, pairs_per_scene: 20}",
    "render.resolution=[96, 96]",
    "render.samples=4",
    "engine.kind=inline",
    "layers={depth: none, segment: none, line: none}",
    "shard.splits={train: 1, val: 0, test: 0}",
)
Built = dict[str, tuple[StoredSample, SampleRecord]]


def build(out: Path) -> None:
    done = run("build", "--out", out, *(part for text in SETTINGS for part in ("--set", text)))
    assert done.code == 0, done


@pytest.fixture(scope="module")
@needs("blender")
def orbit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("orbit") / "out"
    build(out)
    return out


@pytest.fixture(scope="module")
def samples(orbit: Path) -> Built:
    stored = [sample for shard in find_shards(str(orbit), recipe="full") for sample in read_samples(shard)]
    found = {sample.key: (sample, read_record(sample.members["json"])) for sample in stored}
    assert len(found) >= 0.8 * PAIRS
    return found


def test_samples_of_a_state_have_the_same_image_and_camera(samples: Built):
    images: dict[str, set[bytes]] = {}
    cameras: dict[str, set[str]] = {}
    for stored, record in samples.values():
        assert record.provenance.family == "procedural-8-00000000" and record.edit.kind == "camera"
        for state, member, view in zip(
            record.provenance.states.split(),
            ("source", "target"),
            (record.camera.source, record.camera.target),
            strict=True,
        ):
            images.setdefault(state, set()).add(stored.members[member])
            cameras.setdefault(state, set()).add(view.model_dump_json())
    assert 6 <= len(images) <= VIEWS
    assert {len(found) for found in (*images.values(), *cameras.values())} == {1}
    assert len({image for found in images.values() for image in found}) == len(images)
    derived = Counter(record.provenance.derived for _, record in samples.values())
    assert derived[""] >= 5 and derived["compose"] >= 5


def test_numbers_and_words_follow_from_the_cameras(samples: Built):
    for _, record in samples.values():
        (thing,) = record.objects
        middle = matrix4(thing.target_pose)[:3, 3] + np.array([0, 0, thing.size_m[2] / 2])
        before, after = (
            matrix4(view.world_from_camera)[:3, 3] - middle for view in (record.camera.source, record.camera.target)
        )
        azimuths = [np.degrees(np.arctan2(way[1], way[0])) for way in (before, after)]
        assert abs(wrap_degrees(azimuths[1] - azimuths[0] - record.edit.yaw_deg)) < 1e-3
        views = orbit_views(record.edit, record.objects, record.camera)
        assert views is not None
        assert views[1].elevation_deg - views[0].elevation_deg == pytest.approx(record.edit.pitch_deg, abs=1e-3)
        assert views[1].distance == pytest.approx(1.0, abs=1e-4) == views[0].distance
        assert record.instruction.verified
        assert any(text.startswith("Show the ") for text in record.instruction.variants) == bool(record.edit.view)


def test_the_pedestal_belongs_to_the_surroundings(samples: Built):
    for stored, record in samples.values():
        labels = codecs.decode_labels(stored.members["target_instances"])
        assert set(np.unique(labels).tolist()) == {0, 1}
        x0, y0, x1, y1 = record.objects[0].target_box
        assert 0 < x0 < x1 < 96 and 0 < y0 < y1 < 96
        texts = (record.caption, record.instruction.text, *record.instruction.variants)
        assert not any(word in text for text in texts for word in ("pedestal", "board", "column"))


def test_the_same_views_are_rendered_again(orbit: Path, tmp_path: Path):
    copy = without_pairs(orbit, tmp_path / "copy")
    build(copy)
    layer = open_build(str(orbit)).layers["pair"]
    one, other = (files_of(out / "layers" / layer) for out in (orbit, copy))
    parquets = [name for name in one if name.endswith(".parquet")]
    assert parquets and all(one[name] == other[name] for name in parquets)
    assert not {name for name in changed_shards(orbit, copy) if name.endswith(".tar")}


@pytest.mark.parametrize("vocabulary", ["fal", "dx8152", "spatialedit"])
def test_shards_are_sound_and_can_be_exported(orbit: Path, samples: Built, vocabulary: str, tmp_path: Path):
    assert run("verify", orbit).code == 0
    done = run("export", orbit, "--layout", "angles", "--vocabulary", vocabulary, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done
    found = json.loads(done.out)
    assert found["samples"] + sum(found["skipped"].values()) == len(samples)
    captions = {path.stem: path.read_text() for path in (tmp_path / "out").glob("train/*.txt")}
    assert len(captions) == found["samples"]
    assert len(list((tmp_path / "out/train").glob("*.png"))) == 2 * len(captions)


def test_a_vocabulary_belongs_to_one_layout(orbit: Path, tmp_path: Path):
    done = run("export", orbit, "--layout", "angles", "--out", tmp_path / "out")
    assert done.code == 2 and "--vocabulary: one of fal, dx8152, spatialedit" in done.err
    done = run("export", orbit, "--layout", "object3dit", "--vocabulary", "fal", "--out", tmp_path / "out")
    assert done.code == 2 and "has its own wording" in done.err
