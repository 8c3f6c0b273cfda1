"""Scenes with derived samples: their content, checked independently of how they are computed."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.report.forecast.forecast import run_forecast
from spatialdata_builder.pipeline.report.why.why import why_of
from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import StoredSample, read_record, read_samples
from spatialdata_builder.shards.schema import EDIT_KINDS, TWO_OBJECT_KINDS, SampleRecord
from spatialdata_builder.sources.edits.registry import composed_kind, inverse_kind
from tests.needs import needs
from tests.pipeline.command_line import run

KINDS = [kind for kind in EDIT_KINDS if kind not in TWO_OBJECT_KINDS]
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


SCENES = ("source.variants=6", "render.resolution=[128, 96]", "render.samples=4", "engine.kind=inline")
SCENES += ("shard.splits={train: 0.5, val: 0, test: 0.5}",)


def build_scenes(out: Path, *settings: str) -> Path:
    done = run("build", "--out", out, *(part for text in (*SCENES, *settings) for part in ("--set", text)))
    assert done.code == 0, done
    return out


@pytest.fixture(scope="module")
@needs("blender")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two edits per scene, of each kind except removals, and all samples derived from them."""
    weights = ", ".join(f"{kind}: 1" for kind in KINDS if kind != "remove")
    edits = f"edits={{{weights}, invert: true, compose: true}}"
    return build_scenes(tmp_path_factory.mktemp("scenes") / "out", "samples=10", "unit_size=4", "seed=3", edits)


@pytest.fixture(scope="module")
@needs("blender")
def removals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Removals, each with a translation of the same object; and a last sample with its own scene."""
    edits = "edits={translate: 1, remove: 1, invert: true, compose: true}"
    return build_scenes(tmp_path_factory.mktemp("removals") / "out", "samples=5", "unit_size=4", "seed=4", edits)


@pytest.fixture(scope="module")
@needs("blender")
def sixes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six edits per scene, and the samples between all their states."""
    edits = "edits={translate: 3, rotate: 2, remove: 1, insert: 1, per_scene: 6}"
    settings = ("samples=12", "unit_size=6", "seed=7", edits)
    return build_scenes(tmp_path_factory.mktemp("sixes") / "out", *settings)


@pytest.fixture(scope="module")
def built(scenes: Path, removals: Path, sixes: Path) -> Built:
    return samples_of(scenes) | samples_of(removals) | samples_of(sixes)


def inverses(built: Built) -> list[tuple[tuple[StoredSample, SampleRecord], tuple[StoredSample, SampleRecord]]]:
    pairs = [(key.removesuffix("-inv"), key) for key in built if key.endswith("-inv")]
    found = [(built[origin], built[key]) for origin, key in pairs if origin in built]
    assert len(found) >= 5
    return found


def composed(built: Built) -> list[tuple[tuple[StoredSample, SampleRecord], ...]]:
    """First sample, second sample, and the composed one between their targets."""
    keys = [
        (*record.provenance.origin.split(), key) for key, (_, record) in built.items() if re.search(r"-comp\d*$", key)
    ]
    found = [tuple(built[key] for key in three) for three in keys if all(key in built for key in three)]
    assert len(found) >= 6
    return found


def test_an_inverse_has_the_swapped_bytes_of_its_origin(built: Built):
    for (here, one), (there, other) in inverses(built):
        for source, target in SWAPPED:
            assert here.members[source] == there.members[target]
            assert here.members[target] == there.members[source]
        assert one.split == other.split
        assert other.provenance.derived == "invert" and other.provenance.origin == one.key
        assert one.provenance.derived == ("compose" if "-comp" in one.key else "")
        assert other.edit.kind == inverse_kind(one.edit.kind)
        for name in ("metric", "normal", "depth", "segment", "line"):
            assert getattr(one.maps, name) == getattr(other.maps, f"source_{name}")


def test_a_composed_sample_has_the_bytes_of_two_targets_of_one_source(built: Built):
    for (first, one), (second, two), (sample, record) in composed(built):
        assert first.members["source"] == second.members["source"]
        for source, target in SWAPPED[:-1]:
            assert sample.members[source] == first.members[target]
            assert sample.members[target] == second.members[target]
        assert one.split == two.split == record.split
        assert record.provenance.derived == "compose"
        assert record.edit.kind == composed_kind(one.edit.kind, two.edit.kind)
        assert record.edit.object == one.edit.object == two.edit.object
        changed, *either = (codecs.decode_mask(member.members["changed"]) for member in (sample, first, second))
        source, target = (codecs.decode_image(sample.members[name]) for name in ("source", "target"))
        assert (source == target)[~changed].all()
        assert not (changed & ~either[0] & ~either[1]).any()
        if record.edit.object:
            assert not changed.all()
            for name in ("source_instances", "target_instances"):
                assert changed[codecs.decode_labels(sample.members[name]) == record.edit.object].all()


def test_numbers_agree_with_poses_and_pixels(built: Built):
    """Checked against the record and the members, not against how they are computed."""
    derived = [found for found in built.values() if found[1].provenance.derived]
    for sample, record in derived:
        edit = record.edit
        if edit.kind == "camera":
            poses = [
                np.reshape(view.world_from_camera, (4, 4)) for view in (record.camera.source, record.camera.target)
            ]
            check_orbit(*poses, edit.yaw_deg, edit.pitch_deg, edit.zoom)
            continue
        assert record.camera.source == record.camera.target
        edited = next(item for item in record.objects if item.id == edit.object)
        before, after = (np.reshape(pose, (4, 4)) for pose in (edited.source_pose, edited.target_pose))
        labels = codecs.decode_labels(sample.members["target_instances"])
        rows, columns = np.nonzero(labels == edit.object)
        if edit.kind == "remove":
            assert not len(rows) and edit.box == [0, 0, 0, 0] and edited.target_visible == 0 < edited.source_visible
            continue
        assert edit.box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        if edit.kind == "insert":
            assert edited.source_visible == 0 < edited.target_visible
            continue
        if edit.kind == "translate":
            np.testing.assert_allclose(after[:3, 3] - before[:3, 3], edit.translation, atol=3e-6)
        else:  # its support does not move: one point of its base is at the same place in both poses
            gap = before - after
            stays = np.linalg.solve(gap[:2, :2], -gap[:2, 3])
            assert (np.abs(stays) <= np.array(edited.size_m[:2]) / 2 + 1e-4).all()
            assert edit.translation == [0, 0, 0] and abs(gap[2, 3]) < 3e-6
        turn = np.deg2rad(edit.rotation_deg)
        spun = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
        np.testing.assert_allclose(spun @ before[:3, :3] * edit.scale, after[:3, :3], atol=1e-5)


def test_seven_states_of_a_scene_give_many_pairs(sixes: Path):
    """Each ordered pair of states that differ by one edit; few are rejected, and no two have the same images."""
    built = samples_of(sixes)
    assert len(built) >= 0.75 * 48
    images = Counter((sample.members["source"], sample.members["target"]) for sample, _ in built.values())
    assert max(images.values()) == 1
    for first in {record.provenance.seed for _, record in built.values()}:
        family = [pair for pair, found in zip(images, built.values(), strict=True) if found[1].provenance.seed == first]
        assert len({image for pair in family for image in pair}) <= 7
        assert {pair[::-1] for pair in family} & {*family}


def check_orbit(source: np.ndarray, target: np.ndarray, yaw_deg: float, pitch_deg: float, zoom: float) -> None:
    """Check directions by the angles, and the zoom by the crossing of the lines of sight if they are not parallel."""
    ahead = [pose[:3, 2] for pose in (source, target)]
    bearing, rise = (
        [np.rad2deg(np.arctan2(-a[1], -a[0])) for a in ahead],
        [np.rad2deg(np.arcsin(-a[2])) for a in ahead],
    )
    assert abs((bearing[1] - bearing[0] - yaw_deg + 180) % 360 - 180) < 1e-3
    assert abs(rise[1] - rise[0] - pitch_deg) < 1e-3
    if np.linalg.norm(np.cross(*ahead)) > 1e-3:
        eyes = [pose[:3, 3] for pose in (source, target)]
        far = np.linalg.lstsq(np.stack([ahead[0], -ahead[1]], axis=1), eyes[1] - eyes[0], rcond=None)[0]
        assert far[0] / far[1] == pytest.approx(zoom, rel=1e-3)


def test_every_kind_is_derived_checked_and_counted(built: Built, scenes: Path, removals: Path, sixes: Path):
    derived = {record.key: record for _, record in built.values() if record.provenance.derived}
    assert {record.edit.kind for record in derived.values()} == set(KINDS)
    # Derived samples are checked like others: geometry checked their instructions.
    assert all(record.instruction.verified and record.scores.instruction_check == 1 for record in derived.values())
    for out, planned in ((scenes, 30), (removals, 14), (sixes, 48)):
        assert json.loads(run("status", out, "--json").out)["samples"] == planned
        assert json.loads(run("verify", out, "--json").out)["problems"] == []
    here = [key for key in derived if key in samples_of(scenes)]
    assert f"{len(here)} of the {len(samples_of(scenes))} samples were derived from others" in card_of(scenes)
    assert {record.split for record in derived.values()} == {"train", "test"}


def card_of(out: Path) -> str:
    return (out / "shards/full/README.md").read_text()


def test_why_names_the_origins(built: Built, scenes: Path):
    key = next(key for key in samples_of(scenes) if key.endswith("-comp"))
    origins = why_of(str(scenes), key)["plan"]["origin"]
    assert origins == built[key][1].provenance.origin.split() and len(origins) == 2
    assert f"derived by compose from {' and '.join(origins)}" in run("why", scenes, key).out


def test_a_forecast_counts_derived_samples(scenes: Path):
    config = load_config(None, [*SCENES, "unit_size=4", "edits.invert=true", "edits.compose=true"])
    found = run_forecast(config, str(scenes), 100, 1, 2.0, 0.0, "")
    assert (found["samples"], found["derived"], found["units"]) == (300, 200, 25)
    assert not any("derived" in note or "unit_size" in note for note in found["notes"])
    rendered = run_forecast(load_config(None, [*SCENES, "unit_size=4"]), str(scenes), 100, 1, 2.0, 0.0, "")
    assert any("67% derived samples" in note for note in rendered["notes"])


def test_rebuilding_a_family_changes_nothing(removals: Path):
    key = next(key for key in samples_of(removals) if key.endswith("-comp"))
    result = run("rebuild", removals, key, "--json")
    assert result.code == 0, result
    assert json.loads(result.out)["changed"] == []
