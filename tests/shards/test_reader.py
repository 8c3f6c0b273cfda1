import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.layout import SplitFolder, find_shards, find_splits
from spatialdata_builder.shards.reader import ShardError, read_samples
from spatialdata_builder.shards.writer import write_shard
from tests.shards.factory import make_split, out_of

KEYS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    path = tmp_path_factory.mktemp("reader") / "a.tar"
    write_shard(path, [(key, {"json": key.encode() * 700, "source.webp": b"x" * 100}) for key in KEYS])
    return path.read_bytes()


def read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("read") / "shard.tar"
    path.write_bytes(data)
    return [sample.key for sample in read_samples(str(path))]


@given(size=st.integers(0, 8703))
def test_a_truncated_shard_is_always_an_error(tmp_path_factory, shard, size):
    assert len(shard) == 8704
    with pytest.raises(ShardError, match=r"shard .*shard\.tar") as caught:
        read(tmp_path_factory, shard[:size])
    # The error names the sample being read, or the last complete one if the shard ends between two samples.
    assert caught.value.key in {"", *KEYS[: size // 2560 + 1]}


@pytest.mark.slow
@given(position=st.integers(0, 511), flip=st.integers(1, 255), header=st.sampled_from([0, 1536, 2560, 7680]))
def test_a_damaged_header_is_an_error_or_changes_nothing(tmp_path_factory, shard, position, flip, header):
    data = bytearray(shard)
    data[header + position] ^= flip
    try:
        assert read(tmp_path_factory, bytes(data)) == KEYS
    except ShardError as error:
        assert any(text in str(error) for text in ("damaged", "not a regular file", "not a member name"))


def tar_of(files, **fields):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tar_of([("a.json", b"1"), ("b.depth.png", b"2")]), "sample b: its members differ.*depth.png, json"),
        (tar_of([("a.json", b"1"), ("b.json", b"2"), ("a.json", b"3")]), "sample a: the key occurs twice"),
        (tar_of([("a.json", b"1"), ("a.json", b"2")]), "a member occurs twice"),
        (tar_of([("a.json", b"1"), ("../b.json", b"2")]), "sample a: '../b.json' is not a member name"),
        (tar_of([("a.tiff", b"1")]), "not a member name"),
        (tar_of([("a.json", b"")], type=tarfile.SYMTYPE, linkname="/etc/passwd"), "not a regular file"),
        (b"", "the shard is empty"),
        (b"not a tar".ljust(512), "damaged"),
    ],
)
def test_invalid_tars_are_errors(tmp_path_factory, data, words):
    with pytest.raises(ShardError, match=words):
        read(tmp_path_factory, data)


def test_tars_of_other_tools_are_read(tmp_path_factory):
    assert read(tmp_path_factory, tar_of([("a.json", b"1"), ("b.json", b"2")])) == ["a", "b"]


def test_shards_are_found_from_any_parent_folder(tmp_path):
    for split in ("train", "test"):
        make_split(out_of(tmp_path, split), [["a"], ["b"]], split=split)
    (tmp_path / "layers" / "pair-0").mkdir(parents=True)
    train = SplitFolder("full", "train", f"{tmp_path}/shards/full/train")
    test = SplitFolder("full", "test", f"{tmp_path}/shards/full/test")
    for folder in (tmp_path, tmp_path / "shards", tmp_path / "shards" / "full"):
        assert find_splits(str(folder)) == [test, train]
    assert find_splits(train.url) == [train]
    assert find_splits(f"file://{tmp_path}", recipe="full", split="train") == [train]
    assert [url.rpartition("/")[2] for url in find_shards(str(tmp_path), split="test")] == [
        "trial-test-00000-of-00002.tar",
        "trial-test-00001-of-00002.tar",
    ]
    with pytest.raises(BadInput, match="no shards of ildm/any split"):
        find_splits(str(tmp_path), recipe="ildm")
    with pytest.raises(BadInput, match="not a folder"):
        find_splits(str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="cannot open"):
        find_splits("nosuchprotocol://x")
