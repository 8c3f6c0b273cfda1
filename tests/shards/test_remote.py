"""Shards on an object store: written, found, read and verified."""

from spatialdata_builder.shards.index import read_manifest
from spatialdata_builder.shards.layout import find_shards, join
from spatialdata_builder.shards.reader import read_samples
from spatialdata_builder.shards.verify import verify_folder
from spatialdata_builder.shards.writer import publish_bytes
from tests.shards.factory import make_sample, make_split


def test_shards_on_s3(bucket, tmp_path):
    folder = join(bucket, "shards", "full", "train")
    manifest = make_split(folder, [["a", "b"], ["c"]])
    assert manifest == make_split(str(tmp_path), [["a", "b"], ["c"]]) == read_manifest(folder)
    shards = find_shards(bucket, recipe="full")
    assert shards == [join(folder, entry.name) for entry in manifest.shards]
    assert [sample.key for shard in shards for sample in read_samples(shard)] == ["a", "b", "c"]
    assert verify_folder(bucket).problems == ()

    data = bytearray((tmp_path / manifest.shards[0].name).read_bytes())
    data[data.index(make_sample("b")["source.webp"]) + 500] ^= 1
    publish_bytes(bytes(data), shards[0])
    (problem,) = verify_folder(bucket).problems
    assert (problem.shard, problem.key, problem.member) == (manifest.shards[0].name, "b", "source.webp")
    publish_bytes(bytes(data[:9000]), shards[0])
    (problem,) = verify_folder(bucket).problems
    assert (problem.kind, problem.key) == ("truncated", "a")
