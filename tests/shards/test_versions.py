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
from spatialdata_builder.shards.index import MANIFEST, SAMPLE_SCHEMA, parquet_name
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.verify import verify_folder

from tests.shards.factory import make_sample, make_split, out_of


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
    set_version(earlier, 4)
    assert any("schema version 4" in problem.message for problem in verify_folder(str(earlier)).problems)
    with pytest.raises(BadInput, match="has schema version 4, but this version reads 1, 2, 3"):
        stream(str(earlier), members=("changed",))


def test_the_kind_of_derivation_is_in_the_parquet(tmp_path: Path):
    folder = Path(out_of(tmp_path))
    record = json.loads(make_sample("a-inv")["json"])
    record["provenance"] |= {"derived": "invert", "origin": "a"}
    manifest = make_split(str(folder), [["a", "a-inv"]], changes={"a-inv": {"json": json.dumps(record).encode()}})
    data = (folder / manifest.shards[0].parquet).read_bytes()
    assert pq.read_table(io.BytesIO(data))["derived"].to_pylist() == ["", "invert"]
