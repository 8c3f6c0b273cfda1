import hashlib
import json

import jsonschema
import pytest

from spatialdata_builder.shards.errors import SpatialdataError
from spatialdata_builder.shards.index import (
    MANIFEST,
    SAMPLE_SCHEMA,
    WIDS_INDEX,
    pack_shard,
    read_manifest,
    read_rows,
    sample_schema,
    write_manifest,
)
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.schema import SCHEMA_VERSION, Scores
from spatialdata_builder.shards.writer import encode_record
from tests.shards.factory import make_sample, make_split, out_of


def test_the_manifest_describes_the_folder(tmp_path):
    folder = out_of(tmp_path)
    manifest = make_split(folder, [["a", "b"], ["c"]])
    assert read_manifest(folder) == manifest
    assert (manifest.recipe, manifest.split, manifest.samples) == ("full", "train", 3)
    assert manifest.members == get_recipe("full").fields()
    for entry in manifest.shards:
        data = (tmp_path / "shards/full/train" / entry.name).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        parquet = (tmp_path / "shards/full/train" / entry.parquet).read_bytes()
        assert entry.parquet_sha256 == hashlib.sha256(parquet).hexdigest()


def test_the_wids_index_has_the_expected_format(tmp_path):
    manifest = make_split(out_of(tmp_path), [["a", "b"], ["c"]])
    index = json.loads((tmp_path / "shards/full/train" / WIDS_INDEX).read_bytes())
    assert index["__kind__"] == "wids-shard-index-v1" and index["wids_version"] == 1
    assert index["shardlist"] == [
        {"url": entry.name, "nsamples": entry.samples, "filesize": entry.bytes, "md5sum": entry.md5}
        for entry in manifest.shards
    ]
    data = (tmp_path / "shards/full/train" / index["shardlist"][0]["url"]).read_bytes()
    assert index["shardlist"][0]["md5sum"] == hashlib.md5(data).hexdigest()


def test_parquet_rows_have_offsets_and_facts(tmp_path):
    folder = out_of(tmp_path)
    name = make_split(folder, [["a", "b"]]).shards[0].name
    tar = (tmp_path / "shards/full/train" / name).read_bytes()
    rows = read_rows(folder, name)
    assert [row["key"] for row in rows] == ["a", "b"]
    for row in rows:
        for field, data in make_sample(row["key"]).items():
            member = field.partition(".")[0]
            assert tar[row[f"{member}_offset"] :][: row[f"{member}_size"]] == data
    assert rows[1]["assets"] == "asset-b-1;asset-b-2" and rows[1]["licences"] == "cc0"
    assert (rows[1]["edit"], rows[1]["category"], rows[1]["instruction"]) == ("translate", "box", "Move it.")
    assert {f"score_{name}" for name in Scores.model_fields} <= set(rows[1])


def test_parquet_rows_list_only_visible_objects(tmp_path):
    record = read_record(make_sample("a")["json"])
    hidden = {"source_visible": 0.0, "target_visible": 0.0, "source_box": [0] * 4, "target_box": [0] * 4}
    first, second = record.objects
    seen = [first, second.model_copy(update={"licence": "by-nc", **hidden})]
    changes = {"a": {"json": encode_record(record.model_copy(update={"objects": seen}))}}
    name = make_split(out_of(tmp_path), [["a"]], changes=changes).shards[0].name
    (row,) = read_rows(out_of(tmp_path), name)
    assert (row["licences"], row["assets"]) == (first.licence, first.asset)


def test_the_same_samples_give_the_same_files_on_any_url(tmp_path):
    urls = [f"{tmp_path}/a", f"{tmp_path}/b", "memory://same/bytes"]
    manifests = [make_split(url, [["a", "b"], ["c"]]) for url in urls]
    assert manifests[0] == manifests[1] == manifests[2] == read_manifest(urls[2])
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 9
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_samples_match_the_published_schema_which_is_strict(tmp_path):
    make_split(out_of(tmp_path), [["a"]])
    schema = json.loads((tmp_path / "shards/full/train" / SAMPLE_SCHEMA).read_bytes())
    assert schema == json.loads(sample_schema(SCHEMA_VERSION))
    validator = jsonschema.Draft202012Validator(schema)
    record = json.loads(make_sample("a")["json"])
    validator.validate(record)
    assert set(schema["required"]) == set(record), "every key is required"
    for broken in (record | {"extra": 1}, {k: v for k, v in record.items() if k != "maps"}, record | {"key": "A.b"}):
        assert not validator.is_valid(broken)


def test_an_invalid_record_is_named_and_leaves_no_shard(tmp_path):
    for members, words in (
        (make_sample("a") | {"json": b"{}"}, "sample a: no valid json member"),
        ({"source.webp": b""}, "sample a: no valid json member"),
        (make_sample("b"), "sample a: its json names a different key, 'b'"),
    ):
        with pytest.raises(SpatialdataError, match=words):
            pack_shard(str(tmp_path), "x-train-00000-of-00001.tar", [("a", members)])
        assert list(tmp_path.iterdir()) == []


def test_an_invalid_manifest_is_an_error(tmp_path):
    folder = out_of(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_manifest(folder)
    manifest = make_split(folder, [["a"]])
    path = tmp_path / "shards/full/train" / MANIFEST
    good = json.loads(path.read_bytes())
    for broken, words in (
        (b"{", "manifest.json"),
        (json.dumps(good | {"samples": "1"}).encode(), "samples"),
        (json.dumps(good | {"extra": 1}).encode(), "extra"),
        (json.dumps(good | {"shards": [good["shards"][0] | {"name": "../x.tar"}]}).encode(), "shards.0.name"),
    ):
        path.write_bytes(broken)
        with pytest.raises(SpatialdataError, match=words):
            read_manifest(folder)
    write_manifest(folder, name="trial", recipe="full", split="train", members=manifest.members, shards=manifest.shards)
    assert json.loads(path.read_bytes()) == good
