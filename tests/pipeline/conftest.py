"""Shared fixtures: an object store on this machine, a small release and a finished build of it."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import needs
from tests.pipeline.command_line import build
from tests.pipeline.plugged import CANNY, NAME, OWN, write_package
from tests.pipeline.releases import write_release


@pytest.fixture(scope="session")
@needs("s3")
def s3() -> Iterator[dict[str, object]]:
    """Storage options for a bucket named `bucket` on moto's server."""
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


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), 12)


@pytest.fixture(scope="session")
def finished(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build. Tests that change it use a copy (`out`)."""
    out = tmp_path_factory.mktemp("finished") / "out"
    assert build(release, out).code == 0
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished build that a test may damage."""
    return shutil.copytree(finished, tmp_path / "out")


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a user's package (`tests.pipeline.plugged`), only on the path of this process."""
    root = write_package(tmp_path_factory.mktemp("user"))
    sys.path.insert(0, str(root))
    yield root
    sys.path.remove(str(root))
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def owned(release: Path, package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build with a user's own line layer and other own layers. Tests change a copy."""
    out = tmp_path_factory.mktemp("owned") / "out"
    result = build(release, out, f"layers.line={CANNY}", *OWN)
    assert result.code == 0, result
    return out
