"""A whole build on an object store: the same commands, the same bytes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.pipeline.store.storage import Storage
from spatialdata_builder.shards.errors import BadInput
from tests.pipeline.releases import build_arguments, files_of, spatialdata, write_release

PREFIX = "a whole/set"
OUT = f"s3://bucket/{PREFIX}"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), 9)


@pytest.fixture(scope="module")
def account(s3: dict[str, object]) -> dict[str, str]:
    """The environment variables of an object store's user."""
    return {
        "AWS_ENDPOINT_URL": str(s3["endpoint_url"]),
        "AWS_ACCESS_KEY_ID": str(s3["key"]),
        "AWS_SECRET_ACCESS_KEY": str(s3["secret"]),
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def connect(s3: dict[str, object]) -> Any:
    import boto3

    return boto3.client(
        "s3",
        "us-east-1",
        endpoint_url=s3["endpoint_url"],
        aws_access_key_id=s3["key"],
        aws_secret_access_key=s3["secret"],
    )


def objects(s3: dict[str, object], folder: str) -> dict[str, bytes]:
    """All objects under a folder of the bucket, by relative name."""
    client, prefix = connect(s3), f"{PREFIX}/{folder}/"
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
    names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    found = {name: client.get_object(Bucket="bucket", Key=name)["Body"].read() for name in names}
    return {name.removeprefix(prefix): data for name, data in found.items()}


def test_a_whole_build(release: Path, account: dict[str, str], s3: dict[str, object], tmp_path: Path):
    local = tmp_path / "out"
    assert spatialdata(*build_arguments(release, local)).returncode == 0
    arguments = [OUT if part == str(local) else part for part in build_arguments(release, local)]

    done = spatialdata(*arguments, **account)
    assert done.returncode == 0, done.stderr
    assert "12 of 12 samples accepted" in done.stdout
    assert objects(s3, "shards") == files_of(local / "shards")

    # A rerun computes nothing.
    before = {name: data for name, data in objects(s3, "layers").items() if name.endswith(".json")}
    done = spatialdata(*arguments, "--json", **account)
    assert done.returncode == 0, done.stderr
    assert all(stage["samples"] == 0 and stage["found"] == 3 for stage in json.loads(done.stdout)["stages"].values())
    after = objects(s3, "layers")
    assert {name: data for name, data in after.items() if name.endswith(".json")} == before

    # A lost layer file is recomputed.
    lost = next(name for name in sorted(after) if name.startswith("pair-") and name.endswith("1.parquet"))
    connect(s3).delete_object(Bucket="bucket", Key=f"{PREFIX}/layers/{lost}")
    done = spatialdata(*arguments, **account)
    assert done.returncode == 0, done.stderr
    assert "set aside, recomputing it" in done.stderr
    assert objects(s3, "layers")[lost] == after[lost]

    # The other commands read it.
    found = json.loads(spatialdata("verify", OUT, "--json", **account).stdout)
    assert (found["ok"], found["samples"]) == (True, 12)
    found = json.loads(spatialdata("status", OUT, "--json", **account).stdout)
    assert (found["finished"], found["samples"]) == (True, 12)
    for out in (OUT, str(local)):
        done = spatialdata("shard", out, "--recipe", "spatialedit", **account)
        assert done.returncode == 0, done.stderr
    assert objects(s3, "shards") == files_of(local / "shards")


def test_no_such_bucket(release: Path, account: dict[str, str], tmp_path: Path):
    arguments = ["s3://nobody/set" if part == str(tmp_path) else part for part in build_arguments(release, tmp_path)]
    done = spatialdata(*arguments, **account)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: s3://nobody/set is not writable")


def test_no_credentials(release: Path, account: dict[str, str], tmp_path: Path):
    without = account | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    without |= {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    arguments = [OUT if part == str(tmp_path) else part for part in build_arguments(release, tmp_path)]
    done = spatialdata(*arguments, **without)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "Unable to locate credentials" in line
    assert line.startswith(f"error: cannot use {OUT}")
    assert "check the credentials" in line
    assert "AWS_PROFILE" in line


CALLS: dict[str, Callable[[Storage], object]] = {
    "exists": lambda storage: storage.exists("a"),
    "size": lambda storage: storage.size("a"),
    "read": lambda storage: storage.read_file("a"),
    "open": lambda storage: storage.open_file("a"),
    "list": lambda storage: storage.names(""),
    "write": lambda storage: storage.write_file("a", b""),
    "create": lambda storage: storage.create_file("a", b""),
    "move": lambda storage: storage.move("a", "b"),
    "remove": lambda storage: storage.remove("a"),
}


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_reports_missing_credentials(
    call: Callable[[Storage], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nobody = Storage("s3://bucket/set", endpoint_url="http://127.0.0.1:1", skip_instance_cache=True)
    with pytest.raises(BadInput, match=r"cannot use s3://bucket/set \(Unable to locate credentials\): check"):
        call(nobody)
