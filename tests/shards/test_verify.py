import json
import re
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.index import MANIFEST, SAMPLE_SCHEMA, WIDS_INDEX, pack_shard, read_rows, write_manifest
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.verify import verify_folder
from spatialdata_builder.shards.writer import write_shard
from tests.shards.factory import make_sample, make_split, out_of

KEYS = [["a", "b"], ["c", "d", "e"]]
SHARDS = ["trial-train-00000-of-00002.tar", "trial-train-00001-of-00002.tar"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    out = tmp_path_factory.mktemp("clean")
    make_split(out_of(out), KEYS)
    return out


@pytest.fixture
def out(clean, tmp_path):
    shutil.copytree(clean, tmp_path, dirs_exist_ok=True)
    return tmp_path


def train(out: Path) -> Path:
    return out / "shards" / "full" / "train"


def problems(out):
    return list(verify_folder(str(out)).problems)


def found(out):
    return [(p.kind, p.shard, p.key, p.member) for p in problems(out)]


def rewrite(out, changes, **options):
    """Pack the split again with changed members: wrong content with correct digests."""
    shutil.rmtree(train(out))
    make_split(out_of(out), KEYS, changes=changes, **options)


def test_a_clean_folder_has_no_problems(out):
    report = verify_folder(str(out))
    assert report.problems == ()
    assert (report.shards, report.samples) == (2, 5)
    assert report.bytes == sum((train(out) / shard).stat().st_size for shard in SHARDS)


@pytest.mark.parametrize("recipe", ["spatialdiff", "spatialedit"])
def test_shards_of_other_recipes_have_no_problems(tmp_path, recipe):
    make_split(out_of(tmp_path, recipe=recipe), [["a"], ["b"]], recipe=get_recipe(recipe))
    assert problems(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "pool", [lambda: ThreadPoolExecutor(2), lambda: ProcessPoolExecutor(1, mp_context=get_context("spawn"))]
)
def test_executors_and_remote_folders_give_the_same_report(out, pool):
    damage(out, SHARDS[1], "d", "source.webp")
    here = verify_folder(str(out))
    seen = []
    with pool() as executor:
        report = verify_folder(str(out), executor=executor, progress=lambda url, samples: seen.append((url, samples)))
    assert report == here and len(here.problems) == 1
    assert seen == [(f"{train(out)}/{SHARDS[0]}", 2), (f"{train(out)}/{SHARDS[1]}", 3)]
    memory = fsspec.filesystem("memory")
    memory.put(str(out), "/remote", recursive=True)
    remote = verify_folder("memory://remote")
    assert [replace(p, folder="") for p in remote.problems] == [replace(p, folder="") for p in here.problems]
    assert remote.problems[0].folder == "memory://remote/shards/full/train"


def damage(out, shard, key, field, where=0.5, part="data"):
    """Flip one bit in a member's bytes, header or padding."""
    row = next(row for row in read_rows(str(train(out)), shard) if row["key"] == key)
    member = field.partition(".")[0]
    offset, size = row[f"{member}_offset"], row[f"{member}_size"]
    position = {
        "data": offset + int(where * (size - 1)),
        "header": offset - 512 + int(where * 499),
        "padding": offset + size,
    }[part]
    path = train(out) / shard
    data = bytearray(path.read_bytes())
    data[position] ^= 16
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("where", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("field", get_recipe("full").fields())
def test_a_flipped_bit_names_sample_and_member(out, field, where):
    damage(out, SHARDS[1], "d", field, where)
    (problem,) = found(out)
    assert problem[0] in ("undecodable", "schema", "damaged")
    assert problem[1:] == (SHARDS[1], "d", field)


@pytest.mark.parametrize("part", ["header", "padding"])
@pytest.mark.parametrize("key", ["c", "d", "e"])
def test_damage_of_headers_and_padding_names_the_sample(out, key, part):
    damage(out, SHARDS[1], key, "depth.png", part=part)
    (problem,) = found(out)
    assert problem[:3] == ("damaged", SHARDS[1], key) and problem[3].startswith("depth")


@pytest.mark.slow
@settings(max_examples=30)
@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_every_changed_byte_is_found(clean, tmp_path_factory, position, flip):
    out = tmp_path_factory.mktemp("flip")
    shutil.copytree(clean, out, dirs_exist_ok=True)
    path = train(out) / SHARDS[0]
    data = bytearray(path.read_bytes())
    offset = int(position * len(data))
    data[offset] ^= flip
    path.write_bytes(data)
    places = read_rows(str(train(out)), SHARDS[0])
    second = min(value for name, value in places[1].items() if name.endswith("_offset")) - 512
    reported = found(out)
    assert reported and all(problem[1] == SHARDS[0] for problem in reported)
    assert {problem[2] for problem in reported} == {"a" if offset < second else "b"}


@pytest.mark.slow
@settings(max_examples=30)
@given(position=st.floats(0, 1, exclude_max=True))
def test_a_truncated_shard_names_the_first_lost_sample(clean, tmp_path_factory, position):
    out = tmp_path_factory.mktemp("cut")
    shutil.copytree(clean, out, dirs_exist_ok=True)
    path = train(out) / SHARDS[1]
    data = path.read_bytes()
    cut = int(position * len(data))
    path.write_bytes(data[:cut])
    rows = read_rows(str(train(out)), SHARDS[1])
    ends = [max(row[n] + row[n.replace("offset", "size")] for n in row if n.endswith("_offset")) for row in rows]
    (problem,) = found(out)
    lost = [row["key"] for row, end in zip(rows, ends, strict=True) if end > cut]
    assert problem == ("truncated", SHARDS[1], lost[0] if lost else "e", "")


def test_bytes_after_the_end_of_the_tar_are_found(out):
    with (train(out) / SHARDS[0]).open("ab") as file:
        file.write(bytes(512))
    assert found(out) == [("damaged", SHARDS[0], "", "")]


def test_missing_and_unexpected_members_and_samples_are_named(out):
    path = train(out) / SHARDS[1]
    samples = [(key, make_sample(key)) for key in KEYS[1]]
    without_lines = [(key, {f: d for f, d in members.items() if f != "line.png"}) for key, members in samples]
    write_shard(path, without_lines)
    assert set(found(out)) == {("missing_member", SHARDS[1], key, "line.png") for key in KEYS[1]}
    write_shard(path, samples[:2])
    assert found(out) == [("missing_sample", SHARDS[1], "e", "")]
    write_shard(path, [*samples, ("f", make_sample("f"))])
    assert ("parquet", SHARDS[1], "f", "") in found(out)
    write_shard(path, [(key, members | {"albedo.png": b""}) for key, members in samples])
    assert ("unexpected_member", SHARDS[1], "c", "albedo.png") in found(out)


def test_a_missing_member_of_one_sample_is_named(out):
    path = train(out) / SHARDS[1]
    data = path.read_bytes()
    row = read_rows(str(train(out)), SHARDS[1])[1]
    start = row["line_offset"] - 512
    path.write_bytes(data[:start] + data[row["line_offset"] + -(-row["line_size"] // 512) * 512 :])
    assert found(out) == [("missing_member", SHARDS[1], "d", "line.png")]


def test_a_key_that_occurs_twice_is_named(out):
    path = train(out) / SHARDS[1]
    data = path.read_bytes()
    path.write_bytes(data[:-1024] + data)
    assert ("duplicate_key", SHARDS[1], "c", "") in found(out)
    shutil.copy(train(out) / SHARDS[0], path)
    assert ("duplicate_key", SHARDS[1], "a", "") in found(out)


def test_an_invalid_key_is_found(out):
    path = train(out) / SHARDS[0]
    data = path.read_bytes().replace(b"b.changed.png", b"B.changed.png")
    path.write_bytes(data)
    (problem,) = found(out)
    assert problem[:3] == ("damaged", SHARDS[0], "b")


def labels(*values):
    pixels = np.zeros((24, 24), np.uint8)
    for index, (value, rows) in enumerate(values):
        pixels[6 * index : 6 * index + rows] = value
    return codecs.encode_labels(pixels)


@pytest.mark.parametrize(
    ("field", "data", "kind", "words"),
    [
        ("segment.png", labels((1, 3), (3, 2)), "labels", "label 2 of 1..3 is missing"),
        ("segment.png", labels((2, 3), (1, 2)), "labels", "larger areas"),
        ("source_instances.png", labels((1, 3), (7, 2)), "labels", r"\[7\] are not ids"),
        ("target_instances.png", codecs.encode_labels(np.full((24, 24), 300)), "labels", r"\[300\] are not ids"),
        ("changed.png", codecs.encode_mask(np.zeros((24, 24), bool)), "changed", "differ in .* x 2, y 4"),
        ("changed.png", codecs.encode_labels(np.full((24, 24), 9)), "undecodable", "other than 0 and 255"),
        ("line.png", codecs.encode_lines(np.zeros((24, 25), np.uint8)), "image_size", "25 x 24 pixels, target has 24"),
        ("depth.png", labels((1, 2)), "map", "16-bit"),
        ("normal.png", b"", "undecodable", "not a PNG"),
        ("source.webp", b"RIFFxxxxWEBP", "undecodable", "not a PNG"),
    ],
)
def test_wrong_content_with_correct_digests_is_named(out, field, data, kind, words):
    rewrite(out, {"d": {field: data}})
    (problem,) = problems(out)
    assert (problem.kind, problem.shard, problem.key, problem.member) == (kind, SHARDS[1], "d", field)
    assert re.search(words, problem.message)


def test_damage_and_wrong_content_are_both_found(out):
    rewrite(out, {"d": {"segment.png": labels((2, 3), (1, 2))}})
    path = train(out) / SHARDS[1]
    data = path.read_bytes()
    assert data.count(b"c.depth.png".ljust(100, b"\0") + b"0000644\0") == 1
    # A header's checksum may end in NUL and space or in space and NUL: the tar is read in the same way.
    start = data.index(b"c.depth.png") + 154
    path.write_bytes(data[:start] + b" \0" + data[start + 2 :])
    assert found(out) == [("labels", SHARDS[1], "d", "segment.png"), ("damaged", SHARDS[1], "c", "depth")]


def edit_json(key, change, split="train"):
    record = json.loads(make_sample(key, split=split)["json"])
    change(record)
    return {key: {"json": json.dumps(record).encode()}}


@pytest.mark.parametrize(
    ("change", "kind", "member"),
    [
        (lambda r: r.update(split="val"), "split", "json"),
        (lambda r: r["edit"].update(object=9), "objects", "json"),
        (lambda r: r["objects"][1].update(id=1), "objects", "json"),
        (lambda r: r["maps"]["depth"].update(kind=""), "map", "depth.png"),
        (lambda r: r["maps"]["metric"].update(scale=0.0), "map", "metric.png"),
        (lambda r: r["scores"].update(psnr_unchanged=float("inf")), "schema", "json"),
    ],
)
def test_an_inconsistent_record_is_named(out, change, kind, member):
    rewrite(out, edit_json("d", change))
    assert (kind, SHARDS[1], "d", member) in found(out)


def test_the_kind_and_bit_depth_of_confidence_are_checked(tmp_path):
    recipe = get_recipe("spatialfusion")
    folder = out_of(tmp_path, recipe="spatialfusion")
    make_split(folder, [["d"]], recipe=recipe)
    assert problems(tmp_path) == []
    narrow = {"d": {"confidence.png": make_sample("d")["line.png"]}}
    for change in (edit_json("d", lambda r: r["maps"]["confidence"].update(kind="metric")), narrow):
        shutil.rmtree(folder)
        make_split(folder, [["d"]], recipe=recipe, changes=change)
        assert [(p.kind, p.key, p.member) for p in problems(tmp_path)] == [("map", "d", "confidence.png")]


def test_a_camera_edit_may_change_every_pixel(tmp_path):
    members = make_sample("a", kind="camera")
    folder = out_of(tmp_path)
    entry = pack_shard(folder, "trial-train-00000-of-00001.tar", [("a", members)])
    write_manifest(folder, name="trial", recipe="full", split="train", members=list(members), shards=[entry])
    assert problems(tmp_path) == []


def test_unchanged_pixels_of_lossy_images_are_not_compared(tmp_path):
    members = {f: d for f, d in make_sample("a").items() if not f.endswith("webp")}
    for name in ("source", "target"):
        members[f"{name}.jpg"] = codecs.encode_image(codecs.decode_image(make_sample("a")[f"{name}.webp"]), "jpg")
    folder = out_of(tmp_path)
    entry = pack_shard(folder, "trial-train-00000-of-00001.tar", [("a", members)])
    write_manifest(folder, name="trial", recipe="full", split="train", members=list(members), shards=[entry])
    assert problems(tmp_path) == []


def test_missing_and_unexpected_files_are_named(out):
    (train(out) / SHARDS[0]).rename(train(out) / "other.tar")
    (train(out) / WIDS_INDEX).unlink()
    (train(out) / SAMPLE_SCHEMA).write_bytes(b"{}")
    (train(out) / SHARDS[1].replace(".tar", ".parquet")).unlink()
    (train(out) / ".left.tar.0.tmp").write_bytes(b"from a killed run")
    assert [(kind, shard) for kind, shard, _, _ in found(out)] == [
        ("index", ""),
        ("index", ""),
        ("missing_shard", SHARDS[0]),
        ("unexpected_shard", "other.tar"),
        ("parquet", SHARDS[1]),
    ]


def test_the_parquet_of_another_shard_is_found(out):
    path = train(out) / SHARDS[0].replace(".tar", ".parquet")
    shutil.copy(train(out) / SHARDS[1].replace(".tar", ".parquet"), path)
    assert found(out) == [("parquet", SHARDS[0], "", "")]


def test_without_its_parquet_a_damaged_shard_is_still_found(out):
    path = train(out) / SHARDS[0]
    path.write_bytes(path.read_bytes().replace(b'"creator":"nobody"', b'"creator":"noBody"'))
    damage(out, SHARDS[1], "d", "line.png", part="header")
    for shard in SHARDS:
        (train(out) / shard.replace(".tar", ".parquet")).unlink()
    assert [problem[:2] for problem in found(out)] == [
        ("parquet", SHARDS[0]),
        ("damaged", SHARDS[0]),
        ("parquet", SHARDS[1]),
        ("damaged", SHARDS[1]),
    ]


def test_without_a_manifest_shards_are_checked_by_their_parquet(out):
    (train(out) / MANIFEST).unlink()
    damage(out, SHARDS[0], "b", "source.webp")
    assert [problem[:3] for problem in found(out)] == [("manifest", "", ""), ("damaged", SHARDS[0], "b")]


def test_a_changed_manifest_is_found(out):
    path = train(out) / MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest["shards"][0]["samples"] += 1
    path.write_text(json.dumps(manifest))
    assert {("manifest", "", "", ""), ("manifest", SHARDS[0], "", ""), ("index", "", "", "")} == set(found(out))
    path.write_text("{")
    assert found(out) == [("manifest", "", "", "")]


def share_an_asset(out, dataset):
    make_split(out_of(out), [["a"]], asset="mug", dataset=dataset)
    make_split(out_of(out, "val"), [["b"]], split="val", asset="mug", dataset=dataset)
    make_split(out_of(out, "test"), [["c"], ["d"]], split="test", asset="mug", dataset=dataset)


def test_an_asset_in_two_splits_is_a_leak(tmp_path):
    share_an_asset(tmp_path, "procedural")
    test, val = ("leak", "trial-test-00000-of-00002.tar", "c", ""), ("leak", "trial-val-00000-of-00001.tar", "b", "")
    assert found(tmp_path) == [test, test, val]
    # Verifying one split reads the parquets of the others.
    problems = verify_folder(out_of(tmp_path, "test")).problems
    assert "2 assets are also in train, such as mug-1 in a of trial-train" in problems[0].message
    assert "2 assets are also in val, such as mug-1 in b of trial-val" in problems[1].message
    assert {problem.folder for problem in problems} == {out_of(tmp_path, "test")}
    assert found(out_of(tmp_path, "val")) == [test, val]
    assert found(out_of(tmp_path)) == [test, val]


def of_family(key: str, split: str, asset: str, family: str) -> dict[str, bytes]:
    record = json.loads(make_sample(key, split=split, asset=asset)["json"])
    for item in record["objects"]:
        item["family"] = family and f"{family}-{item['id']}"
    return {"json": json.dumps(record, separators=(",", ":")).encode()}


def test_one_shape_with_two_uids_is_a_leak(tmp_path):
    for split, key, asset, family in (("train", "a", "mug", "f"), ("test", "c", "cup", "f"), ("val", "b", "jug", "")):
        changes = {key: of_family(key, split, asset, family)}
        make_split(out_of(tmp_path, split), [[key]], split=split, asset=asset, changes=changes)
    assert found(tmp_path) == [("leak", "trial-test-00000-of-00001.tar", "c", "")]
    (problem,) = verify_folder(str(tmp_path)).problems
    assert "2 assets are also in train, such as shape f-1 (cup-1 and mug-1) in a of trial-train" in problem.message
    # For a single split, the families of the other one are read from its parquets.
    for split in ("test", "train"):
        (problem,) = verify_folder(out_of(tmp_path, split)).problems
        assert "2 assets are also in train, such as shape f-1 (" in problem.message


def test_released_val_pairs_may_share_assets(tmp_path):
    share_an_asset(tmp_path, "object3dit")
    expected = [("leak", "trial-test-00000-of-00002.tar", "c", "")]
    assert found(tmp_path) == found(out_of(tmp_path)) == found(out_of(tmp_path, "test")) == expected
    assert found(out_of(tmp_path, "val")) == []


def test_a_folder_without_shards_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="no shards"):
        verify_folder(str(tmp_path))


def test_different_image_sizes_are_reported_and_not_a_problem(tmp_path: Path):
    folder = out_of(tmp_path)
    make_split(folder, [["a", "b"], ["c"]], changes={"b": make_sample("b", side=32)})
    report = verify_folder(folder)
    assert not report.problems
    assert report.sizes == {(32, 32): 1, (24, 24): 2}
    path = Path(folder) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["shards"][0]["sizes"] = [[24, 24]]
    path.write_text(json.dumps(manifest))
    (problem,) = verify_folder(folder).problems
    assert (problem.kind, problem.shard) == ("manifest", "trial-train-00000-of-00002.tar")
    assert "it says images of 24 x 24, the shard has 24 x 24, 32 x 32" in problem.message
