"""Shards of earlier schema versions can be read, those of later versions cannot."""

import hashlib
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.index import (
    MANIFEST,
    SAMPLE_SCHEMA,
    parquet_name,
    read_manifest,
    sample_schema,
    write_manifest,
)
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.schema import (
    EDIT_KINDS,
    FAMILY_FIELDS,
    FAMILY_VERSION,
    FLOOR,
    SCHEMA_VERSION,
    SUPPORT_VERSION,
    TWO_OBJECT_KINDS,
    TWO_OBJECT_VERSION,
    SupportRef,
    objects_edited,
    schema_version,
)
from spatialdata_builder.shards.sidecars.card import features
from spatialdata_builder.shards.verify import verify_folder
from spatialdata_builder.shards.writer import encode_record
from tests.shards.factory import make_sample, make_split, out_of, with_family


def earlier_version(key: str, version: int) -> dict[str, bytes]:
    record = json.loads(make_sample(key)["json"])
    for item in record["objects"]:
        del item["family"]
    if version == 1:
        del record["provenance"]["derived"], record["provenance"]["origin"]
    return {"json": json.dumps(record | {"schema": version}, separators=(",", ":")).encode()}


@pytest.fixture(params=[1, 2])
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A split as packed with schema version 1 (no derived samples, no families) or 2 (no families)."""
    folder = Path(out_of(tmp_path))
    version: int = request.param
    manifest = make_split(str(folder), [["a", "b"]], changes={key: earlier_version(key, version) for key in "ab"})
    (shard,) = manifest.shards
    new = ["derived", "families"] if version == 1 else ["families"]
    table = pq.read_table(folder / parquet_name(shard.name)).drop_columns(new)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    (folder / parquet_name(shard.name)).write_bytes(sink.getvalue().to_pybytes())
    (folder / SAMPLE_SCHEMA).write_text("{}")
    set_version(folder, version, hashlib.sha256(sink.getvalue().to_pybytes()).hexdigest())
    return folder


def set_version(folder: Path, version: int, parquet_sha256: str = "") -> None:
    values = json.loads((folder / MANIFEST).read_text())
    values["schema_version"] = version
    if parquet_sha256:
        values["shards"][0]["parquet_sha256"] = parquet_sha256
    (folder / MANIFEST).write_text(json.dumps(values))


def test_an_earlier_version_is_verified_and_read(earlier: Path):
    assert verify_folder(str(earlier)).problems == ()
    (batch,) = stream(str(earlier), members=("changed",)).batches(2)
    assert sorted(batch["key"]) == ["a", "b"]
    record = read_record(earlier_version("a", 1)["json"])
    assert (record.provenance.derived, record.provenance.origin) == ("", "")
    assert {item.family for item in record.objects} == {""}


def test_a_later_version_is_an_error(earlier: Path):
    set_version(earlier, 7)
    assert any("schema version 7" in problem.message for problem in verify_folder(str(earlier)).problems)
    with pytest.raises(BadInput, match="has schema version 7, but this version reads 1, 2, 3, 4, 5, 6"):
        stream(str(earlier), members=("changed",))


def of_two_objects(key: str, second: int | None, version: int = TWO_OBJECT_VERSION) -> dict[str, bytes]:
    """A record of a set that may have edits of two objects: each says `second_object`."""
    record = json.loads(make_sample(key)["json"])
    if second is not None:
        record["edit"]["second_object"] = second
    return {"json": encode_record(read_record(json.dumps(record | {"schema": version}).encode()))}


def test_a_set_with_edits_of_two_objects_is_sound_and_read(tmp_path: Path):
    """All of its samples have the key, with 0 where an edit has one object, so that readers infer one schema."""
    folder = Path(out_of(tmp_path))
    changes = {"a": of_two_objects("a", 0), "b": of_two_objects("b", 2)}
    (shard,) = make_split(str(folder), [["a", "b"]], changes=changes).shards
    write_manifest(
        str(folder),
        name="trial",
        recipe="full",
        split="train",
        members=read_manifest(str(folder)).members,
        shards=[shard],
        version=TWO_OBJECT_VERSION,
    )
    assert verify_folder(str(folder)).problems == ()
    assert "second_object" in json.loads((folder / SAMPLE_SCHEMA).read_text())["$defs"]["Edit"]["properties"]
    one, two = (read_record(changes[key]["json"]) for key in "ab")
    assert (one.edit.edited, two.edit.edited) == ((1,), (1, 2))
    assert json.loads(changes["a"]["json"])["edit"]["second_object"] == 0
    (batch,) = stream(str(folder), members=("changed",)).batches(2)
    assert sorted(batch["key"]) == ["a", "b"]


SHELF = SupportRef(object=2, kind="shelf", shelf=2, shelves=3)


def with_supports(key: str, version: int = SUPPORT_VERSION) -> dict[str, bytes]:
    """A record that says what each object stands on: first on the floor, then on a shelf."""
    record = json.loads(make_sample(key)["json"])
    record |= {"schema": version, "scene": "room"}
    record["edit"]["second_object"] = 0
    for thing in record["objects"]:
        thing |= {"source_support": FLOOR.model_dump(), "target_support": SHELF.model_dump()}
    return {"json": encode_record(read_record(json.dumps(record).encode()))}


def test_a_set_that_says_what_objects_stand_on(tmp_path: Path):
    folder = Path(out_of(tmp_path))
    changes = {key: with_supports(key) for key in "ab"}
    (shard,) = make_split(str(folder), [["a", "b"]], changes=changes).shards
    members = read_manifest(str(folder)).members
    write_manifest(str(folder), name="trial", recipe="full", split="train", members=members, shards=[shard], version=5)
    assert verify_folder(str(folder)).problems == ()
    schema = json.loads((folder / SAMPLE_SCHEMA).read_text())["$defs"]
    assert "scene" in json.loads((folder / SAMPLE_SCHEMA).read_text())["properties"]
    assert set(schema["SupportRef"]["properties"]) == {"object", "kind", "shelf", "shelves"}
    record = read_record(changes["a"]["json"])
    assert {(thing.source_support, thing.target_support) for thing in record.objects} == {(FLOOR, SHELF)}
    (batch,) = stream(str(folder), members=("changed",)).batches(2)
    assert sorted(batch["key"]) == ["a", "b"]


def test_supports_where_the_version_has_none_and_none_where_it_has_some(tmp_path: Path):
    assert b"_support" not in make_sample("a")["json"] + sample_schema(TWO_OBJECT_VERSION)
    folder = Path(out_of(tmp_path))
    changes = {"a": with_supports("a", TWO_OBJECT_VERSION), "b": of_two_objects("b", 0, SUPPORT_VERSION)}
    make_split(str(folder), [["a", "b"]], changes=changes)
    problems = [(problem.key, problem.kind, problem.message) for problem in verify_folder(str(folder)).problems]
    must = "must be there from version 5, and not before; the record's is"
    names = ("scene", "objects.*_support")
    assert problems == [
        (key, "schema", f"{name}: {must} {version}") for key, version in (("a", 4), ("b", 5)) for name in names
    ]


def test_a_set_whose_scenes_have_many_edits(tmp_path: Path):
    """Records say which samples share a scene; the parquet has a column for it."""
    folder = Path(out_of(tmp_path))
    changes = {"a": with_family("a", "a"), "a-inv": with_family("a-inv", "a", "1 0")}
    (shard,) = make_split(str(folder), [list(changes)], changes=changes, version=FAMILY_VERSION).shards
    assert verify_folder(str(folder)).problems == ()
    record = read_record(changes["a-inv"]["json"])
    assert (record.provenance.family, record.provenance.states) == ("a", "1 0")
    schema = json.loads((folder / SAMPLE_SCHEMA).read_text())["$defs"]
    assert set(schema["Provenance"]["properties"]) == set(json.loads(changes["a"]["json"])["provenance"])
    table = pq.read_table(folder / parquet_name(shard.name))
    assert table["family"].to_pylist() == ["a", "a"]
    (batch,) = stream(str(folder), members=("changed",)).batches(2)
    assert sorted(batch["key"]) == ["a", "a-inv"]


def test_families_where_the_version_has_none_and_none_where_it_has_some(tmp_path: Path):
    plain = make_sample("a")["json"]
    assert b'"states"' not in plain + sample_schema(SUPPORT_VERSION)
    folder = Path(out_of(tmp_path))
    other = json.loads(with_supports("b")["json"]) | {"schema": FAMILY_VERSION}
    early = json.loads(with_family("c", "c")["json"]) | {"schema": SUPPORT_VERSION}
    changes = {record["key"]: {"json": json.dumps(record).encode()} for record in (other, early)}
    manifest = make_split(str(folder), [["a"], ["b"], ["c"]], changes=changes)
    problems = [(problem.key, problem.kind, problem.message) for problem in verify_folder(str(folder)).problems]
    must = "must be there from version 6, and not before; the record's is"
    names = ("provenance.family", "provenance.states")
    assert problems == [
        (key, "schema", f"{name}: {must} {version}") for key, version in (("b", 6), ("c", 5)) for name in names
    ]
    assert "family" not in pq.read_table(folder / manifest.shards[0].parquet).column_names


def test_other_sets_do_not_have_the_key(tmp_path: Path):
    assert b"second_object" not in make_sample("a")["json"] + sample_schema(SCHEMA_VERSION)
    folder = Path(out_of(tmp_path))
    changes = {"a": of_two_objects("a", 2, SCHEMA_VERSION), "b": of_two_objects("b", None)}
    make_split(str(folder), [["a", "b", "c"]], changes={**changes, "c": of_two_objects("c", 0)})
    problems = [(problem.key, problem.kind, problem.message) for problem in verify_folder(str(folder)).problems]
    must = "edit.second_object: must be there from version 4, and not before; the record's is"
    assert problems == [("a", "schema", f"{must} 3"), ("b", "schema", f"{must} 4")]


def test_types_for_hugging_face_name_families_from_their_version():
    written = json.loads(with_family("a", "a")["json"])
    for version, keys in ((SUPPORT_VERSION, set(written["provenance"]) - FAMILY_FIELDS), (6, written["provenance"])):
        (record,) = (column for column in features(["json"], version) if column["name"] == "json")
        assert {part["name"] for part in record["struct"]} == set(written)
        (provenance,) = (part for part in record["struct"] if part["name"] == "provenance")
        assert {part["name"] for part in provenance["struct"]} == set(keys)


@pytest.mark.parametrize("version", [1, 2, SCHEMA_VERSION, TWO_OBJECT_VERSION])
def test_types_for_hugging_face_are_those_of_the_version(version: int):
    (record,) = (column for column in features(["json"], version) if column["name"] == "json")
    (edit,) = (part for part in record["struct"] if part["name"] == "edit")
    written = json.loads(of_two_objects("a", 0 if version == TWO_OBJECT_VERSION else None, version)["json"])["edit"]
    assert {part["name"] for part in edit["struct"]} == set(written)
    assert ("second_object" in written) == (version == TWO_OBJECT_VERSION)


def test_the_version_follows_from_the_kinds():
    assert schema_version(EDIT_KINDS) == (TWO_OBJECT_VERSION if TWO_OBJECT_KINDS else SCHEMA_VERSION)
    assert tuple(kind for kind in EDIT_KINDS if objects_edited(kind) == 2) == TWO_OBJECT_KINDS
    assert schema_version(["translate", "camera"]) == SCHEMA_VERSION
    assert schema_version(["translate"], supports=True) == SUPPORT_VERSION
    assert schema_version(["translate"], families=True) == schema_version(EDIT_KINDS, True, True) == FAMILY_VERSION


def test_the_kind_of_derivation_is_in_the_parquet(tmp_path: Path):
    folder = Path(out_of(tmp_path))
    record = json.loads(make_sample("a-inv")["json"])
    record["provenance"] |= {"derived": "invert", "origin": "a"}
    manifest = make_split(str(folder), [["a", "a-inv"]], changes={"a-inv": {"json": json.dumps(record).encode()}})
    data = (folder / manifest.shards[0].parquet).read_bytes()
    assert pq.read_table(io.BytesIO(data))["derived"].to_pylist() == ["", "invert"]
