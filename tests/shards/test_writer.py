import hashlib
import tarfile

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.layout import is_field, is_key, shard_name
from spatialdata_builder.shards.reader import read_members, read_samples
from spatialdata_builder.shards.writer import encode_record, publish, publish_bytes, replace_file, write_shard
from tests.shards.factory import make_sample

KEYS = st.lists(st.from_regex(r"[a-z0-9-]{1,70}", fullmatch=True), min_size=1, max_size=5, unique=True)
FIELDS = st.lists(st.sampled_from(["source.webp", "target.jpg", "depth.png", "json"]), min_size=1, unique=True)


@st.composite
def samples(draw):
    fields = draw(FIELDS)
    return [(key, {field: draw(st.binary(max_size=1500)) for field in fields}) for key in draw(KEYS)]


@given(samples())
def test_all_readers_return_what_was_written(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("shard") / "a.tar"
    info = write_shard(path, iter(written))
    data = path.read_bytes()
    assert (info.bytes, info.samples) == (len(data), len(written))
    assert info.sha256 == hashlib.sha256(data).hexdigest() and info.md5 == hashlib.md5(data).hexdigest()
    read = [
        (s.key, {m if m == "json" else f"{m}.{s.extensions[m]}": d for m, d in s.members.items()})
        for s in read_samples(str(path))
    ]
    assert read == written
    with tarfile.open(path) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
        assert all((m.mtime, m.uid, m.gid, m.mode, m.uname) == (0, 0, 0, 0o644, "") for m in tar.getmembers())
        names = [m.name for m in tar.getmembers()]
    assert files == {f"{key}.{field}": value for key, members in written for field, value in members.items()}
    for (key, members), start in zip(written, range(0, len(names), len(written[0][1])), strict=True):
        assert names[start : start + len(members)] == sorted(f"{key}.{field}" for field in members)
    for entry, (key, members) in zip(info.entries, written, strict=True):
        assert entry.key == key
        for place in entry.members:
            assert data[place.offset : place.offset + place.size] == members[place.field]


def test_webdataset_reads_a_shard(tmp_path):
    written = [(key, make_sample(key)) for key in ("a-1", "b-2")]
    write_shard(tmp_path / "a.tar", written)
    read = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in read] == ["a-1", "b-2"]
    for sample, (_, members) in zip(read, written, strict=True):
        assert {name: data for name, data in sample.items() if not name.startswith("__")} == members


def test_bytes_do_not_depend_on_the_order_of_members_or_on_the_run(tmp_path):
    members = make_sample("a")
    first = write_shard(tmp_path / "a.tar", [("a", members)])
    second = write_shard(tmp_path / "b.tar", [("a", dict(reversed(members.items())))])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert first.sha256 == second.sha256 and first.entries == second.entries


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ([("a", {"json": b""}), ("b", {"json": b"", "depth.png": b""})], "'b'.*depth.png"),
        ([("a", {"json": b"", "depth.png": b""}), ("b", {"json": b""})], "'b'.*depth.png"),
        ([("a", {"json": b""}), ("a", {"json": b""})], "'a'.*twice"),
        ([("a.b", {"json": b""})], "'a.b'.*not a valid key"),
        ([("A", {"json": b""})], "not a valid key"),
        ([("", {"json": b""})], "not a valid key"),
        ([("a", {"source.tiff": b""})], "not a member name"),
        ([("a", {"source": b""})], "not a member name"),
        ([("a" * 80, {"target_instances.png": b""})], "shorter keys"),
        ([], "no samples"),
    ],
)
def test_an_invalid_sample_is_named_and_leaves_no_file(tmp_path, written, words):
    (tmp_path / "a.tar").write_bytes(b"before")
    with pytest.raises(SpatialdataError, match=words):
        write_shard(tmp_path / "a.tar", written)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.tar", b"before")]


def test_an_error_in_the_input_leaves_no_file(tmp_path):
    def failing():
        yield "a", {"json": b"1"}
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_shard(tmp_path / "a.tar", failing())
    assert list(tmp_path.iterdir()) == []


def test_replaced_files_have_default_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with replace_file(tmp_path / "deep" / "file") as file:
        file.write(b"x")
    assert (tmp_path / "deep" / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("root", ["memory://published", "file://{tmp}/published", "{tmp}/published"])
def test_publishing_works_on_any_url(tmp_path, root):
    url = root.format(tmp=tmp_path)
    local = tmp_path / "a.tar"
    write_shard(local, [("a", {"json": b"{}"})])
    publish(local, f"{url}/x/a.tar")
    publish_bytes(local.read_bytes(), f"{url}/x/b.tar")
    for name in ("a", "b"):
        assert [m.data for m in read_members(f"{url}/x/{name}.tar")] == [b"{}"]
    assert local.exists()


def test_records_are_strict_json(tmp_path):
    from spatialdata_builder.shards.reader import read_record

    data = make_sample("a")["json"]
    record = read_record(data)
    assert encode_record(record) == data
    assert b'"schema":3' in data and b"null" not in data and b"[]" not in data
    scores = record.scores.model_copy(update={"psnr_unchanged": float("inf")})
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_record(record.model_copy(update={"scores": scores}))


def test_names():
    assert shard_name("spatial", "train", 3, 128) == "spatial-train-00003-of-00128.tar"
    for wrong in (("Spatial", "train", 0, 1), ("a.b", "train", 0, 1), ("a_b", "train", 0, 1), ("a", "train", 1, 1)):
        with pytest.raises(BadInput, match="is not a shard name"):
            shard_name(*wrong)
    assert is_key("a-1") and not is_key("a_1") and not is_key("a" * 81) and not is_key("a\n")
    assert is_field("json") and is_field("source_depth.png")
    assert not is_field("png") and not is_field("a.b.png") and not is_field("source.webp\n") and not is_field("x.yaml")
