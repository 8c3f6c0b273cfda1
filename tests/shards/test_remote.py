"""The same on an object store: written, found, read, verified."""

from collections.abc import Iterator

import pytest

from shards.index import read_manifest
from shards.layout import find_shards, join
from shards.reader import read_samples
from shards.verify import verify_folder
from shards.writer import publish_bytes
from tests.shards.factory import make_sample, make_split


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("s3fs", reason="needs the extra s3")
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("of-shards")  # moto keeps one account a process: a name of our own
        yield "s3://of-shards/out"
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


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
