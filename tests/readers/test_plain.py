"""Python's own tarfile and json, with the manifest, the parquets and the offset index as in docs/formats.md."""

import hashlib
import json
import struct
import tarfile
from pathlib import Path

import pytest

from tests.readers.pixels import assert_same, pillow


def members_of(path):
    with tarfile.open(path, "r:") as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_tarfile(packed, split):
    manifest = json.loads((packed.folder / split / "manifest.json").read_bytes())
    found, records = {}, {}
    for shard in manifest["shards"]:
        path = packed.folder / split / shard["name"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == shard["sha256"]
        for name, data in members_of(path).items():
            key, _, field = name.partition(".")
            if field == "json":
                records[key] = json.loads(data)
            else:
                found.setdefault(key, {})[field.partition(".")[0]] = pillow(data)
    assert_same(found, records, packed.values[split])


def test_the_offset_index_has_start_and_end_of_samples(packed):
    for shard in packed.shards("train"):
        with tarfile.open(shard, "r:") as tar:
            infos = tar.getmembers()
            end = tar.offset
        firsts = [
            info for n, info in enumerate(infos) if not n or info.name.split(".")[0] != infos[n - 1].name.split(".")[0]
        ]
        data = Path(f"{shard}.idx").read_bytes()
        assert list(struct.unpack(f"<{len(data) // 8}Q", data)) == [*(info.offset for info in firsts), end]


def test_duckdb_finds_samples_and_their_bytes(packed):
    import duckdb

    members = sorted(packed.values["train"]["a-1"])
    places = ", ".join(f"{name}_offset, {name}_size" for name in [*members, "json"])
    query = f"select filename, key, {places} from read_parquet('{packed.folder}/train/*.parquet', filename=true)"
    rows = duckdb.sql(query).fetchall()
    found, records = {}, {}
    for filename, key, *numbers in rows:
        with Path(filename).with_suffix(".tar").open("rb") as tar:
            for number, name in enumerate([*members, "json"]):
                tar.seek(numbers[2 * number])
                data = tar.read(numbers[2 * number + 1])
                if name == "json":
                    records[key] = json.loads(data)
                else:
                    found.setdefault(key, {})[name] = pillow(data)
    assert_same(found, records, packed.values["train"])


def test_duckdb_counts_over_all_splits(packed):
    import duckdb

    table = f"read_parquet('{packed.folder}/*/*.parquet')"
    counted = dict(
        duckdb.sql(f"select split, count(*) from {table} where score_visible_target > 0.5 group by 1").fetchall()
    )
    assert counted == {"train": 8, "val": 2, "test": 1}
    licences = f"select unnest(string_split(licences, ';')) as licence, count(*) from {table} group by 1"
    assert duckdb.sql(licences).fetchall() == [("cc0", 11)]
