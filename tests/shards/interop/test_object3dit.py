import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from spatialdata_builder.shards.codecs import decode_image, decode_labels
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.interop import object3dit
from spatialdata_builder.shards.sample import Row, Sample
from spatialdata_builder.shards.schema import PairFacts
from spatialdata_builder.shards.writer import encode_record
from spatialdata_builder.sources.object3dit import ReadPairs, scan
from tests.shards.interop.conftest import edited, pack, record_of, supported


def read_back(root, tmp_path):
    rows = list(scan(str(root), str(tmp_path / "idx")).rows)
    stage = ReadPairs(root=str(root), indexes=str(tmp_path / "idx"), unchanged="keep")
    results = stage(stage.setup(), [Sample(row.key, row.split, row.spec) for row in rows])
    assert all(isinstance(result, Row) for result in results), results
    return {row.key: result.columns for row, result in zip(rows, results, strict=True)}


def packed(folders, root):
    root.mkdir()
    for task in ("translate", "rotate", "remove"):
        with tarfile.open(root / f"{task}.tar.gz", "w:gz") as tar:
            tar.add(folders / task, task)
    (root / object3dit.CAPTIONS).write_bytes((folders / object3dit.CAPTIONS).read_bytes())
    return root


def test_layout_and_counts(built, tmp_path):
    result = object3dit.export(built[0], str(tmp_path / "o3"))
    assert result.written == {
        "remove/train": 2,
        "rotate/train": 1,
        "translate/test/unseen": 1,
        "translate/train": 1,
    }
    assert result.skipped == {"no_task_for_camera": 1, "no_task_for_scale": 1, "no_task_for_swap": 1}
    assert result.samples == 5
    folder = tmp_path / "o3/translate/test/unseen/s-held"
    assert sorted(path.name for path in folder.iterdir()) == sorted(object3dit.FILES)
    marker = json.loads((tmp_path / "o3/export.json").read_text())
    assert (marker["complete"], marker["samples"]) == (True, 5)


def test_samples_with_an_asset_of_train_are_seen(tmp_path):
    """As in shards of released pairs, where val shares objects with train."""
    pack(tmp_path / "out", {"s-1": edited("s-1", "translate")})
    shared = edited("s-2", "translate", "val")
    record = record_of(shared)
    asset = record_of(edited("s-1", "translate")).objects[0].asset
    objects = [record.objects[0].model_copy(update={"asset": asset}), *record.objects[1:]]
    shared["json"] = encode_record(record.model_copy(update={"objects": objects}))
    pack(tmp_path / "out", {"s-2": shared, "s-3": edited("s-3", "translate", "val")}, "val")
    result = object3dit.export(str(tmp_path / "out"), str(tmp_path / "o3"))
    assert result.written == {"translate/train": 1, "translate/val/seen": 1, "translate/val/unseen": 1}
    assert (tmp_path / "o3/translate/val/seen/s-2/metadata.json").is_file()
    # Without train in the export, no sample is seen.
    only_val = object3dit.export(str(tmp_path / "out/shards/full/val"), str(tmp_path / "only-val"))
    assert only_val.written == {"translate/val/unseen": 2}
    next((tmp_path / "out/shards/full/train").glob("*.parquet")).unlink()
    with pytest.raises(BadInput, match=r"parquet of .*trial-train-00000-of-00001\.tar .*`spatialdata verify`"):
        object3dit.export(str(tmp_path / "out"), str(tmp_path / "again"))


def test_metadata_and_masks_are_as_released(built, tmp_path):
    object3dit.export(built[0], str(tmp_path / "o3"))
    rotate = json.loads((tmp_path / "o3/rotate/train/s-rotate/metadata.json").read_text())
    assert rotate == {
        "object_data": [
            {"uid": "asset-s-rotate-2", "category": "box"},
            {"uid": "asset-s-rotate-1", "category": "box"},
        ],
        "rotation_category": "box",
        "rotation_angle": 315,
    }
    remove = json.loads((tmp_path / "o3/remove/train/s-remove/metadata.json").read_text())
    assert remove["removed_object_uid"] == "asset-s-remove-2"
    move = json.loads((tmp_path / "o3/translate/train/s-translate/metadata.json").read_text())
    assert move["translation_category"] == "box"
    assert all(0 < value < 1 for value in move["end_location_2d"])
    mask = np.array(Image.open(tmp_path / "o3/translate/train/s-translate/1_mask.png"))
    assert mask.shape == (64, 64, 4)
    assert tuple(mask[0, 0]) == (228, 26, 28, 255)
    assert tuple(mask[10, 32]) == (55, 126, 184, 255)
    assert tuple(mask[40, 10]) == (77, 175, 74, 255)
    assert Image.open(tmp_path / "o3/remove/train/s-remove/1_mask.png").mode == "RGB"


def test_locations_come_from_boxes_where_poses_are_unknown(tmp_path):
    members = edited("s-1", "translate")
    record = record_of(members)
    objects = [entry.model_copy(update={"known": False}) for entry in record.objects]
    members["json"] = encode_record(record.model_copy(update={"objects": objects}))
    pack(tmp_path / "out", {"s-1": members})
    object3dit.export(str(tmp_path / "out"), str(tmp_path / "o3"))
    move = json.loads((tmp_path / "o3/translate/train/s-1/metadata.json").read_text())
    assert move["start_location_2d"] == [round(35 / 64, 4), round(14 / 64, 4)]
    assert move["end_location_2d"] == [round(46 / 64, 4), round(19 / 64, 4)]


@pytest.mark.parametrize("archived", [False, True])
def test_the_object3dit_source_reads_an_export(built, tmp_path, archived):
    url, samples = built
    object3dit.export(url, str(tmp_path / "o3"))
    root = packed(tmp_path / "o3", tmp_path / "tars") if archived else tmp_path / "o3"
    rows = read_back(root, tmp_path)
    order = np.array([0, 2, 1], np.uint8)
    found = {
        "s-translate": "translate-train-s-translate",
        "s-held": "translate-test-unseen-s-held",
        "s-rotate": "rotate-train-s-rotate",
        "s-remove": "remove-train-s-remove",
        "s-insert": "insert-train-s-insert",
    }
    for exported_key, read_key in found.items():
        columns, members = rows[read_key], samples[exported_key]
        facts, record = PairFacts.model_validate_json(columns["facts"]), record_of(members)
        for view in ("source", "target"):
            np.testing.assert_array_equal(decode_image(columns[view]), decode_image(members[f"{view}.webp"]))
            labels = decode_labels(members[f"{view}_instances.png"])
            np.testing.assert_array_equal(decode_labels(columns[f"{view}_instances"]), order[labels])
        assert facts.edit.kind == record.edit.kind
        assert facts.edit.box == record.edit.box
        assert [entry.category for entry in facts.objects] == ["box", "box"]
        assert [entry.asset for entry in facts.objects] == [record.objects[1].asset, record.objects[0].asset]
        assert facts.description == "the box"
    rotate = PairFacts.model_validate_json(rows[found["s-rotate"]]["facts"])
    assert rotate.edit.rotation_deg == -45.0


FLOOR = {"kind": "floor", "object": 0, "shelf": 0, "shelves": 0}
"""`object` is a number in `object_data`, of which the carrier is the second."""
SHELF = {"kind": "shelf", "object": 2, "shelf": 2, "shelves": 3}
TOP = {"kind": "top", "object": 2, "shelf": 0, "shelves": 0}
ABSENT = {"kind": "", "object": 0, "shelf": 0, "shelves": 0}


def test_what_objects_stand_on_is_added_and_changes_nothing_else(tmp_path, tree):
    kinds = ("translate", "rotate", "remove", "insert")
    for name, make in (("plain", edited), ("room", supported)):
        pack(tmp_path / name, {f"s-{kind}": make(f"s-{kind}", kind) for kind in kinds})
        object3dit.export(str(tmp_path / name), str(tmp_path / f"{name}-o3"))
    plain, room = tree(tmp_path / "plain-o3"), tree(tmp_path / "room-o3")
    assert plain.keys() == room.keys()
    ends = {"translate": (SHELF, TOP), "rotate": (SHELF, TOP), "remove": (SHELF, ABSENT), "insert": (TOP, ABSENT)}
    for path in plain.keys() - {"export.json"}:
        if path.endswith("metadata.json"):
            assert b"_support" not in plain[path]
            found = json.loads(room[path])
            found_ends = [(entry.pop("source_support"), entry.pop("target_support")) for entry in found["object_data"]]
            # An insertion is written backwards: 1.png shows the object.
            assert found_ends == [ends[path.split("/")[2].removeprefix("s-")], (FLOOR, FLOOR)]
            assert json.dumps(found).encode() == plain[path]
        else:
            assert room[path] == plain[path]
    assert read_back(tmp_path / "room-o3", tmp_path) == read_back(tmp_path / "plain-o3", tmp_path)


def test_a_stopped_export_resumes_with_the_same_files(built, tmp_path, tree):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    object3dit.export(built[0], str(whole))
    object3dit.export(built[0], str(stopped))
    (stopped / "rotate/train/s-rotate/metadata.json").unlink()
    (stopped / "rotate/train/s-rotate/1.png").write_bytes(b"half")
    result = object3dit.export(built[0], str(stopped))
    assert result.samples == 5
    assert tree(stopped) == tree(whole)


def test_a_folder_with_other_content_is_bad_input(built, tmp_path):
    target = tmp_path / "o3"
    target.mkdir()
    (target / "mine.txt").write_text("keep me")
    with pytest.raises(BadInput, match="has other content"):
        object3dit.export(built[0], str(target))
    assert [path.name for path in target.iterdir()] == ["mine.txt"]
    pack(tmp_path / "other", {"s-9": edited("s-9", "rotate")})
    object3dit.export(str(tmp_path / "other"), str(tmp_path / "taken"))
    with pytest.raises(BadInput, match="has other content"):
        object3dit.export(built[0], str(tmp_path / "taken"))
    with pytest.raises(BadInput, match="is not a folder"):
        object3dit.export(built[0], str(target / "mine.txt"))


def test_unsuitable_or_missing_shards_are_bad_input(tmp_path):
    pack(tmp_path / "lean", {"s-1": edited("s-1", "rotate")}, recipe="spatialedit")
    with pytest.raises(BadInput, match="has no source_instances"):
        object3dit.export(str(tmp_path / "lean"), str(tmp_path / "o3"))
    with pytest.raises(BadInput):
        object3dit.export(str(tmp_path / "nowhere"), str(tmp_path / "o3"))


def test_a_damaged_shard_stops_the_export_and_is_named(built, tmp_path):
    shard = next((tmp_path / "out/shards/full/train").glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-5000])
    with pytest.raises(SpatialdataError, match=shard.name):
        object3dit.export(built[0], str(tmp_path / "o3"))
    assert not json.loads((tmp_path / "o3/export.json").read_text())["complete"]


def test_masks_of_released_pairs_round_trip(shared_assets, tmp_path):
    """Masks of released images: drawing the labels that were read gives the same pixels."""
    from spatialdata_builder.shards.interop.set1 import draw_mask, read_mask

    root = shared_assets / "object3dit" / "translate" / "train"
    if not root.is_dir():
        pytest.skip("no OBJECT-3DIT trial pairs")
    for path in sorted(root.glob("*/?_mask.png")):
        pixels = decode_image(path.read_bytes())
        np.testing.assert_array_equal(draw_mask(read_mask(pixels, 8)), pixels)


def test_any_url_can_be_the_destination(built, tmp_path, tree):
    import fsspec

    memory = fsspec.filesystem("memory")
    try:
        object3dit.export(built[0], "memory://o3-export")
        memory.get("/o3-export", str(tmp_path / "fetched"), recursive=True)
    finally:
        memory.store.clear()
    object3dit.export(built[0], str(tmp_path / "local"))
    assert tree(tmp_path / "fetched") == tree(tmp_path / "local")
