"""The cache reader: the entries that it lists, and a clear message for every defect of a cache."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.sources.objaverse.cache import (
    plain_category,
    read_cache,
    resolve_root,
)
from spatialdata_builder.sources.survey.licenses import select_licenses
from tests.sources.models import box, glb, make_cache, write_gz

MODEL = glb(box(1, 1, 1))


def test_reads_entries_in_order(tmp_path: Path):
    root = make_cache(
        tmp_path,
        {"b": MODEL, "a": MODEL},
        a={"license": "CC BY-SA 4.0", "size_m": [0.1, 0.2, 0.3], "tags": [{"name": "x y"}], "faceCount": 12},
    )
    write_gz(root / "hf-objaverse-v1" / "lvis-annotations.json.gz", {"bow_(weapon)": ["a"], "coffee_maker": ["b"]})
    first, second = read_cache(root)
    assert (first.uid, first.path) == ("a", "hf-objaverse-v1/glbs/000-000/a.glb")
    assert (first.licence, first.creator, first.category) == ("by-sa", "maker of a", "bow")
    assert (first.size_m, first.tags, first.faces) == ((0.1, 0.2, 0.3), ("x y",), 12)
    assert (second.uid, second.category, second.size_m) == ("b", "coffee maker", None)
    assert json.loads(json.dumps(first.spec())) == first.spec()


def test_root_may_be_the_versioned_folder(tmp_path: Path):
    make_cache(tmp_path, {"a": MODEL})
    base = tmp_path / "hf-objaverse-v1"
    (entry,) = read_cache(base)
    assert (resolve_root(base) / entry.path).is_file()


def test_empty_root_is_the_package_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make_cache(tmp_path / ".objaverse", {"a": MODEL})
    assert [entry.uid for entry in read_cache("")] == ["a"]


def test_missing_root(tmp_path: Path):
    with pytest.raises(BadInput, match=r"no folder .*nowhere"):
        list(read_cache(tmp_path / "nowhere"))


def test_root_as_url():
    with pytest.raises(BadInput, match="local folder"):
        list(read_cache("s3://bucket/cache"))


def test_empty_root(tmp_path: Path):
    with pytest.raises(BadInput, match="not an Objaverse cache"):
        list(read_cache(tmp_path))


def test_index_without_models(tmp_path: Path):
    make_cache(tmp_path, {"a": None})
    with pytest.raises(BadInput, match="contains no models"):
        list(read_cache(tmp_path))


def test_models_without_index(tmp_path: Path):
    make_cache(tmp_path, {"a": MODEL})
    (tmp_path / "hf-objaverse-v1" / "object-paths.json.gz").unlink()
    assert [entry.uid for entry in read_cache(tmp_path)] == ["a"]


@pytest.mark.parametrize("name", ["object-paths.json.gz", "lvis-annotations.json.gz", "metadata/000-000.json.gz"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "not gzip", "not json", "not an object", "empty"])
def test_corrupt_gz_names_the_file(tmp_path: Path, name: str, damage: str):
    root = make_cache(tmp_path, {"a": MODEL})
    base = root / "hf-objaverse-v1"
    write_gz(base / "lvis-annotations.json.gz", {"mug": ["a"]})
    path = base / name
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[-6] ^= 255
    path.write_bytes(
        {
            "cut": bytes(data[: len(data) // 2]),
            "flipped": bytes(data),
            "not gzip": b"<html>no</html>",
            "not json": gzip.compress(b"{"),
            "not an object": gzip.compress(b"[1]"),
            "empty": b"",
        }[damage]
    )
    with pytest.raises(BadInput, match="delete it and fetch it again") as caught:
        list(read_cache(root))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "place",
    ["../../etc/passwd", "/etc/passwd", "glbs/../../x.glb", "..\\x.glb", "~/x.glb", "a\0b", "", 7, None, "x" * 5000],
)
def test_an_index_cannot_lead_out_of_the_cache(tmp_path: Path, place: Any):
    make_cache(tmp_path, {"a": MODEL})
    write_gz(tmp_path / "hf-objaverse-v1" / "object-paths.json.gz", {"a": place})
    with pytest.raises(BadInput, match="bad entry 'a'") as caught:
        list(read_cache(tmp_path))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("uid", ["../x", "a/b", "u" * 65, "", "a b", "a\n"])
def test_a_uid_is_a_plain_name(tmp_path: Path, uid: str):
    make_cache(tmp_path, {"a": MODEL})
    write_gz(tmp_path / "hf-objaverse-v1" / "object-paths.json.gz", {uid: "glbs/000-000/a.glb"})
    with pytest.raises(BadInput, match="bad entry"):
        list(read_cache(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["object-paths.json.gz", "lvis-annotations.json.gz", "metadata/000-000.json.gz"])
@pytest.mark.parametrize("content", [b" " * (129 * 2**20), b'{"a": [' + b"{}," * 6_100_000 + b"1]}"])
def test_a_table_that_is_too_large_when_decompressed_is_not_parsed(tmp_path: Path, name: str, content: bytes):
    base = make_cache(tmp_path, {"a": MODEL}) / "hf-objaverse-v1"
    (base / name).write_bytes(gzip.compress(content, 1))
    with pytest.raises(BadInput, match=f"{Path(name).name} is corrupt .*larger than any"):
        list(read_cache(tmp_path))


def test_long_metadata_is_dropped_or_truncated(tmp_path: Path):
    long = "a very long text " * 20_000
    tags = [{"name": "a long tag " * 50}] * 1000
    texts = {"name": long, "license": long, "description": long, "user": {"displayName": long}, "tags": tags}
    root = make_cache(
        tmp_path,
        {"a": MODEL, "b": MODEL, "c": MODEL},
        a=texts,
        b={"name": "a\x1b[31mb\ud800\u202ec", "license": "by", "description": "b" * 5000},
        c={"name": "c" * 201, "user": {"displayName": "d" * 5000}},
    )
    write_gz(root / "hf-objaverse-v1" / "lvis-annotations.json.gz", {"m" * 200_000: ["a"], "mug": ["b"]})
    a, b, c = read_cache(root)
    assert (a.name, a.category, a.creator, a.description, a.licence) == ("", "", "", "", "unknown")
    assert len(a.tags) == 64 and max(map(len, a.tags)) <= 80
    assert (b.name, b.category, len(b.description)) == ("a [31mb c", "mug", 1000)
    assert (c.name, c.creator) == ("", "d" * 200)


def test_uid_without_file_is_listed_for_the_survey_to_reject(tmp_path: Path):
    make_cache(tmp_path, {"a": MODEL, "b": None, "c": MODEL})
    assert [entry.uid for entry in read_cache(tmp_path)] == ["a", "b", "c"]
    assert [(entry.uid, bool(entry.path)) for entry in read_cache(tmp_path, ["b", "zzz"])] == [
        ("zzz", False),
        ("b", True),
    ]


def test_a_partial_download_lists_existing_files(tmp_path: Path):
    make_cache(tmp_path, {"a": MODEL, **{f"absent{n}": None for n in range(5)}})
    assert [entry.uid for entry in read_cache(tmp_path)] == ["a"]


def test_metadata_of_wrong_types_counts_as_missing(tmp_path: Path):
    wrong = {"license": None, "user": "me", "tags": 3, "size_m": [1, "x", 2], "faceCount": "many", "name": ["n"]}
    make_cache(tmp_path, {"a": MODEL}, a=wrong)
    (entry,) = read_cache(tmp_path)
    assert (entry.licence, entry.creator, entry.tags, entry.size_m, entry.faces) == ("unknown", "", (), None, 0)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ([60, 170, 60], (60, 170, 60)),
        ([0.1, 0, 2], (0.1, 0, 2)),
        ([0, 0, 0], None),
        ([-1, 2, 3], None),
        ([float("nan"), 1, 1], None),
        ([float("inf"), 1, 1], None),
        (["1", "2", "3"], None),
        ([True, True, True], None),
        ([1, 2], None),
        ("1 x 2 x 3", None),
        ({"x": 1}, None),
        ([10**400, 1, 1], None),
    ],
)
def test_invalid_sizes_count_as_missing(given: Any, size: Any, tmp_path: Path):
    make_cache(tmp_path, {"a": MODEL}, a={"size_m": given})
    assert next(read_cache(tmp_path)).size_m == size


def test_categories():
    assert plain_category("bow_(decorative_ribbons)") == "bow"
    assert plain_category("Christmas_tree") == "christmas tree"


def test_fetch_of_a_complete_cache_needs_no_network(tmp_path: Path):
    make_cache(tmp_path, {"a": MODEL})
    write_gz(tmp_path / "hf-objaverse-v1" / "lvis-annotations.json.gz", {})
    assert [entry.uid for entry in read_cache(tmp_path, ["a"], fetch=True)] == ["a"]


def test_fetch_deletes_a_corrupt_file_and_reports_why_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # no server listens there, as on a machine without a network
    make_cache(tmp_path, {"a": MODEL})
    write_gz(tmp_path / "hf-objaverse-v1" / "lvis-annotations.json.gz", {})
    metadata = tmp_path / "hf-objaverse-v1" / "metadata" / "000-000.json.gz"
    metadata.write_bytes(b"cut")
    with pytest.raises(SpatialdataError, match="check the network") as caught:
        list(read_cache(tmp_path, ["a"], fetch=True))
    assert not isinstance(caught.value, BadInput) and not metadata.exists()


def test_real_cache(shared_assets: Path):
    entries = list(read_cache(shared_assets / "objaverse"))
    assert len(entries) == 60
    assert all(entry.licence in ("by", "cc0") and entry.creator and entry.category for entry in entries)
    assert len(select_licenses(entries, ["cc0"])) == 13
