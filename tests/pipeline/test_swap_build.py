"""A build of swaps and moves, from nothing to shards: both objects are in the records, the exports, the stream."""

import json
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder import stream
from spatialdata_builder.shards.codecs import decode_image, decode_labels, decode_mask
from spatialdata_builder.shards.geometry import matrix4
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import StoredSample, read_record, read_samples
from spatialdata_builder.shards.schema import TWO_OBJECT_VERSION, SampleRecord
from tests.needs import needs
from tests.pipeline.command_line import run

SETTINGS = (
    "samples=4",
    "unit_size=4",
    "source.variants=6",
    "edits={swap: 1, translate: 1, invert: true}",
    "render.resolution=[128, 128]",
    "render.samples=4",
    "engine.kind=inline",
    "shard.splits={train: 1, val: 0, test: 0}",
)
Built = dict[str, tuple[StoredSample, SampleRecord]]


@pytest.fixture(scope="module")
@needs("blender")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swaps") / "out"
    done = run("build", "--out", out, *(part for text in SETTINGS for part in ("--set", text)))
    assert done.code == 0, done
    return out


@pytest.fixture(scope="module")
def samples(out: Path) -> Built:
    stored = [sample for shard in find_shards(str(out), recipe="full") for sample in read_samples(shard)]
    return {sample.key: (sample, read_record(sample.members["json"])) for sample in stored}


@pytest.fixture(scope="module")
def swaps(samples: Built) -> Built:
    found = {key: pair for key, pair in samples.items() if pair[1].edit.kind == "swap"}
    assert len(found) == 4 < len(samples), "a swap is rejected, or no move is there"
    return found


@pytest.mark.slow
def test_every_record_has_a_second_object(samples: Built):
    for stored, record in samples.values():
        content = json.loads(stored.members["json"])
        assert content["schema"] == TWO_OBJECT_VERSION
        known = {entry.id for entry in record.objects}
        second = content["edit"]["second_object"]
        assert second in known - {record.edit.object} if record.edit.kind == "swap" else second == 0


@pytest.mark.slow
def test_the_two_objects_exchange_places_and_nothing_else_moves(swaps: Built):
    for stored, record in swaps.values():
        poses = {
            entry.id: [matrix4(pose)[:3, 3] for pose in (entry.source_pose, entry.target_pose)]
            for entry in record.objects
        }
        one, other = record.edit.edited
        np.testing.assert_allclose(poses[one][1], poses[other][0], atol=1e-4)
        np.testing.assert_allclose(poses[other][1], poses[one][0], atol=1e-4)
        for id in poses.keys() - {one, other}:
            np.testing.assert_array_equal(*poses[id])
        source, target = (decode_image(stored.members[name]) for name in ("source", "target"))
        changed = decode_mask(stored.members["changed"])
        np.testing.assert_array_equal(source[~changed], target[~changed])
        for name in ("source_instances", "target_instances"):
            labels = decode_labels(stored.members[name])
            assert {one, other} <= set(np.unique(labels).tolist())
            assert changed[np.isin(labels, (one, other))].all()


@pytest.mark.slow
def test_instructions_name_both_objects_and_are_verified(swaps: Built):
    for _, record in swaps.values():
        assert record.instruction.verified and record.scores.instruction_check == 1
        names = [entry.name for entry in record.objects if entry.id in record.edit.edited]
        for text in (record.instruction.text, *record.instruction.variants):
            assert text.startswith(("Swap ", "Exchange ", "Switch ")) and all(name in text for name in names), text


@pytest.mark.slow
def test_the_inverse_of_a_swap_is_a_swap_of_the_same_objects(swaps: Built):
    forth = [key for key in swaps if not key.endswith("-inv")]
    assert len(forth) == 2
    for key in forth:
        (first, record), (second, inverse) = swaps[key], swaps[f"{key}-inv"]
        assert inverse.edit.edited == record.edit.edited
        assert inverse.edit.translation == pytest.approx([-value for value in record.edit.translation])
        assert first.members["source"] == second.members["target"]
        assert first.members["target"] == second.members["source"]


@pytest.mark.slow
def test_commands_read_it(out: Path, swaps: Built):
    assert json.loads(run("verify", out, "--json").out)["problems"] == []
    for layout in ("spatialedit", "object3dit"):
        there = out.parent / layout
        result = run("export", out, "--layout", layout, "--out", there, "--json")
        assert json.loads(result.out)["skipped"] == {"no_task_for_swap": 4}
        result = run("export", out, "--layout", layout, "--out", there)
        assert "4 samples left out: the layout does not support swap edits" in result.out
    card = (out / "shards/full/README.md").read_text()
    assert "| swap | 4 |" in card
    keys = {key for batch in stream(str(out), members=["source", "target"]).batches(2) for key in batch["key"]}
    assert swaps.keys() <= keys
