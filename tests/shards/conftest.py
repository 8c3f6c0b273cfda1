"""Hypothesis settings: the same examples on every machine, without deadlines. Fixture `bucket`: S3 on a moto server."""

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.needs import needs

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")


@pytest.fixture
@needs("s3")
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
        # moto has one account per process, so all tests share one bucket and each test has its own folder.
        s3fs.S3FileSystem().makedirs("of-shards", exist_ok=True)
        yield f"s3://of-shards/{uuid.uuid4().hex}"
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()
