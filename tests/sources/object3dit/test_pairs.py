import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spatialdata_builder.shards.codecs import decode_image, decode_labels, decode_mask
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.schema import PairFacts
from spatialdata_builder.shards.stage import Stage
from spatialdata_builder.sources.object3dit import ReadPairs, scan
from tests.sources.object3dit.conftest import labels_of, pair_files, png


def read(root, tmp_path, **options):
    """Results by key."""
    rows = list(scan(str(root), str(tmp_path / "idx")).rows)
    stage = ReadPairs(root=str(root), indexes=str(tmp_path / "idx"), **options)
    results = stage(stage.setup(), [Sample(row.key, row.split, row.spec) for row in rows])
    return {row.key: result for row, result in zip(rows, results, strict=True)}


def facts_of(result):
    return PairFacts.model_validate_json(result.columns["facts"])


def write(tmp_path, files, task="translate"):
    root = tmp_path / "one"
    folder = root / task / "train" / "a"
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return root


def test_it_is_a_stage():
    assert isinstance(ReadPairs(root="x"), Stage)


def test_folders_and_archives_give_the_same_rows(release, packed, tmp_path):
    rows = read(release, tmp_path)
    assert rows == read(packed, tmp_path)
    assert all(isinstance(result, Row) for result in rows.values())


def test_facts_of_a_translation(release, tmp_path):
    (release / "objaverse_cat_descriptions_64k.json").write_text(json.dumps({"aaa": {"description": "the mug"}}))
    row = read(release, tmp_path)["translate-train-t1"]
    facts = facts_of(row)
    assert (facts.edit.kind, facts.edit.known, facts.edit.object) == ("translate", False, 1)
    assert facts.edit.box == [24, 12, 38, 28]
    first, second = facts.objects
    assert (first.id, first.asset, first.category, first.name) == (1, "aaa", "mug", "mug")
    assert (first.source_box, first.target_box) == ([8, 10, 20, 24], [24, 12, 38, 28])
    assert second.source_box == second.target_box == [40, 40, 52, 56]
    assert not first.known
    assert facts.description == "the mug"
    view = facts.camera.source
    assert (view.known, view.focal, view.world_from_camera) == (False, "assumed", [0.0] * 16)
    assert view.K == [70.0, 0.0, 32.0, 0.0, 70.0, 32.0, 0.0, 0.0, 1.0]
    assert facts.measures.displacement_px == pytest.approx(np.hypot(17, 3), abs=1e-3)
    assert row.columns["metric"] == row.columns["source_normal"] == b""
    np.testing.assert_array_equal(decode_labels(row.columns["source_instances"]), labels_of((8, 10, 20, 24)))


def test_noise_is_replaced_outside_the_changed_region(release, release_files, tmp_path):
    row = read(release, tmp_path)["translate-train-t1"]
    source, target = decode_image(row.columns["source"]), decode_image(row.columns["target"])
    region = decode_mask(row.columns["changed"])
    np.testing.assert_array_equal(source, decode_image(release_files["translate/train/t1/1.png"]))
    released = decode_image(release_files["translate/train/t1/2.png"])
    np.testing.assert_array_equal(target[~region], source[~region])
    edited = (labels_of((8, 10, 20, 24)) == 1) | (labels_of((24, 12, 38, 28)) == 1)
    np.testing.assert_array_equal(target[edited], released[edited])
    # From there the target fades into the source, and never differs more from the released image than the source does.
    away = np.abs(target.astype(int) - released)
    assert (away <= np.abs(source.astype(int) - released)).all()
    assert region[10:24, 8:20].all()
    assert region[12:28, 24:38].all()
    assert 0.05 < region.mean() < 0.5
    assert 40 < facts_of(row).measures.psnr_unchanged < 60


def test_pixels_can_be_kept_as_released(release, release_files, tmp_path):
    row = read(release, tmp_path, unchanged="keep")["translate-train-t1"]
    source, target = decode_image(row.columns["source"]), decode_image(row.columns["target"])
    np.testing.assert_array_equal(target, decode_image(release_files["translate/train/t1/2.png"]))
    region = decode_mask(row.columns["changed"])
    np.testing.assert_array_equal(source[~region], target[~region])


def test_insert_is_remove_reversed(release, tmp_path):
    rows = read(release, tmp_path, unchanged="keep")
    remove, insert = rows["remove-train-m1"].columns, rows["insert-train-m1"].columns
    for one, other in (("source", "target"), ("source_instances", "target_instances"), ("changed", "changed")):
        assert (remove[one], remove[other]) == (insert[other], insert[one])
    facts = facts_of(rows["insert-train-m1"])
    assert facts.edit.known
    assert facts.edit.box == facts.objects[0].target_box == [8, 10, 20, 24]
    assert facts.objects[0].source_box == [0, 0, 0, 0]
    assert facts_of(rows["remove-train-m1"]).edit.box == [0, 0, 0, 0]


@pytest.mark.parametrize(("released", "angle"), [(90, 90.0), (315, -45.0), (180, 180.0), (225.5, -134.5), (0, 0.0)])
def test_rotation_angle(tmp_path, released, angle):
    rows = read(write(tmp_path, pair_files("rotate", angle=released), "rotate"), tmp_path)
    edit = facts_of(rows["rotate-train-a"]).edit
    assert (edit.known, edit.rotation_deg) == (True, angle)


def gray(value):
    return png(np.full((64, 64, 3), value, np.uint8))


def metadata(**values):
    whole = json.loads(pair_files("rotate")["metadata.json"])
    return {"metadata.json": json.dumps(whole | values).encode()}


def bomb():
    stream = io.BytesIO()
    Image.new("1", (20000, 20000)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"2_mask.png": None}, "missing_file", "rotate/train/a: no 2_mask.png"),
        ({"1.png": None, "metadata.json": None}, "missing_file", "no 1.png, metadata.json"),
        ({"1.png": b"no image"}, "unreadable_image", "1.png"),
        ({"2.png": pair_files("rotate")["2.png"][:-900]}, "unreadable_image", "2.png"),
        ({"2.png": b""}, "unreadable_image", "2.png"),
        ({"1.png": png(np.zeros((32, 64, 3), np.uint8))}, "size_mismatch", "1.png 64 x 32"),
        ({"1.png": bomb()}, "image_too_large", "1.png: 20000 x 20000 pixels, over 4096"),
        ({"1.png": png(np.zeros((2, 5000, 3), np.uint8))}, "image_too_large", "1.png: 5000 x 2 pixels, over 4096"),
        ({"metadata.json": b"{"}, "bad_metadata", "not JSON"),
        ({"metadata.json": b"[1]"}, "bad_metadata", "not a JSON object"),
        ({"metadata.json": b"[" * 100_000}, "bad_metadata", "not JSON"),
        (metadata(object_data=[]), "bad_metadata", "no object_data"),
        (metadata(object_data=[{"category": "mug"}]), "bad_metadata", "object_data[0] has no uid"),
        (metadata(object_data=[{"uid": "u" * 10_000_000}]), "bad_metadata", "over 128 characters"),
        (metadata(object_data=[{"uid": "u", "category": "mug " * 50_000}]), "bad_metadata", "over 128 characters"),
        (metadata(object_data=[{"uid": "a\x1bb"}]), "bad_metadata", "odd ones"),
        (metadata(rotation_angle=None), "bad_metadata", "no rotation_angle"),
        (metadata(object_data=[{"uid": str(n)} for n in range(9)]), "bad_metadata", "9 objects"),
        ({"1_mask.png": gray(0)}, "bad_mask", "1_mask.png: 4096 of 4096 pixels"),
        ({"2_mask.png": png(np.tile(np.uint8([228, 26, 28]), (64, 64, 1)))}, "no_edited_object", "2_mask.png"),
    ],
)
def test_broken_samples_are_rejected_with_a_reason(tmp_path, changes, reason, detail):
    files = {name: data for name, data in (pair_files("rotate") | changes).items() if data is not None}
    result = read(write(tmp_path, files, "rotate"), tmp_path)["rotate-train-a"]
    assert isinstance(result, Reject)
    assert result.reason == reason
    assert detail in result.detail


@pytest.mark.parametrize("name", ["1.png", "metadata.json"])
@pytest.mark.parametrize("kind", ["link", "folder link", "pipe", "device"])
def test_no_file_outside_the_release_is_read(tmp_path, name, kind):
    files = pair_files("rotate")
    root = write(tmp_path / "release", files, "rotate")
    secret = tmp_path / "secret"
    secret.write_bytes(files[name])
    place = root / "rotate" / "test" / "seen" / "b" / name
    place.parent.mkdir(parents=True)
    for other, data in files.items():
        (place.parent / other).write_bytes(data)
    place.unlink()
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to({"link": secret, "folder link": tmp_path, "device": Path("/dev/zero")}[kind])
    rows = read(root, tmp_path)
    assert isinstance(rows["rotate-train-a"], Row)
    result = rows["rotate-test-seen-b"]
    assert isinstance(result, Reject) and result.reason == "unreadable" and name in result.detail


def test_links_within_the_release_are_followed(tmp_path):
    root = write(tmp_path / "release", pair_files("rotate"), "rotate")
    (root / "rotate" / "val" / "seen").mkdir(parents=True)
    (root / "rotate" / "val" / "seen" / "b").symlink_to(root / "rotate" / "train" / "a")
    assert all(isinstance(row, Row) for row in read(root, tmp_path).values())


def test_long_captions_name_nothing(tmp_path):
    root = write(tmp_path, pair_files(categories=("mug", "coffee mug")))
    long = {"aaa": {"description": "a red mug " * 100_000}, "bbb": {"description": "a green mug"}}
    (root / "objaverse_cat_descriptions_64k.json").write_text(json.dumps(long))
    assert facts_of(read(root, tmp_path)["translate-train-a"]).objects[0].name == "left mug"


def test_a_removal_that_removes_nothing_is_rejected(tmp_path):
    files = pair_files("remove")
    files["2_mask.png"] = files["1_mask.png"]
    rows = read(write(tmp_path, files, "remove"), tmp_path)
    assert {result.reason for result in rows.values()} == {"bad_mask"}


@pytest.mark.parametrize(
    ("captions", "name"),
    [
        ({}, "left mug"),
        ({"aaa": {"description": "A red mug."}, "bbb": {"description": "a green mug"}}, "red mug"),
        ({"aaa": {"description": "a mug"}, "bbb": {"description": "a mug"}}, "left mug"),
        ({"aaa": {"description": "a red mug"}, "bbb": {"description": "a shiny red mug"}}, "left mug"),
        ({"aaa": {"description": "a cup"}, "bbb": {"description": "a coffee cup"}}, "left mug"),
    ],
)
def test_an_object_has_a_unique_name(tmp_path, captions, name):
    root = write(tmp_path, pair_files(categories=("mug", "coffee mug")))
    (root / "objaverse_cat_descriptions_64k.json").write_text(json.dumps(captions))
    assert facts_of(read(root, tmp_path)["translate-train-a"]).objects[0].name == name


def test_the_root_and_its_captions_must_be_readable(release, tmp_path):
    (release / "objaverse_cat_descriptions_64k.json").write_text("{")
    with pytest.raises(BadInput, match="is not JSON"):
        ReadPairs(root=str(release)).setup()
    with pytest.raises(BadInput, match="does not exist"):
        ReadPairs(root=str(tmp_path / "nowhere")).setup()


@pytest.mark.slow
def test_the_real_pairs_are_read(shared_assets, tmp_path):
    root = shared_assets / "object3dit"
    if not root.is_dir():
        pytest.skip("no OBJECT-3DIT trial pairs")
    rows = read(root, tmp_path)
    assert len(rows) == 48
    for key, row in rows.items():
        assert isinstance(row, Row), (key, row)
        measures = facts_of(row).measures
        assert measures.psnr_unchanged > 50  # `changed` leaves out what differs by less than three levels
        assert measures.changed_fraction < 0.55


def test_any_url_can_be_the_root(packed, tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(packed), "/o3-release", recursive=True)
    try:
        rows = list(scan("memory://o3-release", "memory://o3-idx").rows)
        stage = ReadPairs(root="memory://o3-release", indexes="memory://o3-idx")
        results = stage(stage.setup(), [Sample(row.key, row.split, row.spec) for row in rows])
        local = read(packed, tmp_path)
        assert dict(zip([row.key for row in rows], results, strict=True)) == local
    finally:
        memory.store.clear()
