"""An object store on this machine."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, object]]:
    """Options for a bucket `bucket` on moto's server."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client("s3", "us-east-1", endpoint_url=url, aws_access_key_id="k", aws_secret_access_key="s")
    client.create_bucket(Bucket="bucket")
    yield {"key": "k", "secret": "s", "endpoint_url": url}
    server.stop()
