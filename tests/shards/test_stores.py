"""Access to a silent store fails after the configured timeout, with one line; a slow store does not time out."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.store.storage import Storage
from spatialdata_builder.shards import stores, stream
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.layout import join, open_url
from spatialdata_builder.shards.stores import DEFAULT_TIMEOUT_S, TIMEOUT_VARIABLE, StoreTimeout, store_timeout
from spatialdata_builder.shards.verify import verify_folder
from tests.needs import needs
from tests.shards.factory import make_split
from tests.shards.slow_servers import silent_server, slow_server, web_server

LIMIT_S = 2.0
KEYS = [["a", "b"], ["c"]]


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, str(LIMIT_S))
    stores._host.cache_clear()


@pytest.fixture
@needs("s3")
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket at an endpoint that accepts connections and never responds."""
    s3fs = pytest.importorskip("s3fs", reason="needs the extra s3")
    with silent_server() as endpoint:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        s3fs.S3FileSystem.clear_instance_cache()
        yield "s3://silent/set/train"
        s3fs.S3FileSystem.clear_instance_cache()


def timeout_error(act) -> str:  # type: ignore[no-untyped-def]
    """The error message of an action that must time out after about LIMIT_S seconds."""
    began = time.monotonic()
    with pytest.raises(StoreTimeout) as error:
        act()
    spent = time.monotonic() - began
    assert 0.9 * LIMIT_S < spent < LIMIT_S + 20, "retries and backoff on a busy machine, not minutes"
    text = str(error.value)
    assert "\n" not in text
    assert "did not respond for" in text
    assert TIMEOUT_VARIABLE in text
    return text


@pytest.mark.parametrize(
    "act",
    [
        lambda url: stream(url),
        lambda url: verify_folder(url),
        lambda url: Storage(url).read_file("plan.json"),
        lambda url: Storage(url).exists("plan.json"),
        lambda url: Storage(url).write_file("a", b"1"),
        lambda url: Storage(url).create_file("a", b"1"),
    ],
    ids=["stream", "verify", "read", "exists", "write", "create"],
)
def test_a_silent_bucket_times_out(s3: str, act) -> None:  # type: ignore[no-untyped-def]
    assert "s3://silent/set/train" in timeout_error(lambda: act(s3))


@pytest.mark.parametrize("act", [stream, verify_folder], ids=["stream", "verify"])
def test_a_silent_web_server_times_out(act) -> None:  # type: ignore[no-untyped-def]
    with silent_server() as address:
        assert timeout_error(lambda: act(f"{address}/set/train")).startswith(f"{address}/set/train")


def test_the_error_contains_no_password_and_no_signature() -> None:
    with silent_server() as address:
        url = f"{address.replace('//', '//user:secret@')}/a.json?X-Amz-Signature=secret"
        assert "secret" not in timeout_error(lambda: Storage(url).read_file(""))


def test_a_warning_is_logged_while_waiting(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(stores, "WARNING_AFTER_S", 0.3)
    with silent_server() as address, caplog.at_level(logging.WARNING, "spatialdata_builder.shards.stores"):
        timeout_error(lambda: stream(f"{address}/set"))
    warnings = [record.getMessage() for record in caplog.records if record.name == "spatialdata_builder.shards.stores"]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"waiting for {address}/set/manifest.json to respond (")


@pytest.mark.slow
def test_a_slow_web_server_does_not_time_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_split(str(tmp_path / "set"), KEYS)
    with web_server(tmp_path) as working, slow_server(working, chunk=2000, pause=0.15) as slow:
        began = time.monotonic()
        ds = stream(f"{slow}/set", members=("changed",), order="stored", threads=1)
        keys = [key for batch in ds.batches(1) for key in batch["key"]]
        assert time.monotonic() - began > LIMIT_S, "slower than the limit in total"
    assert keys == ["a", "b", "c"]
    assert not caplog.records


def test_a_slow_bucket_does_not_time_out(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import s3fs

    folder = join(bucket, "full", "train")
    make_split(folder, [["a"]])
    with slow_server(os.environ["AWS_ENDPOINT_URL"], chunk=1500, pause=0.15) as slow:
        monkeypatch.setenv("AWS_ENDPOINT_URL", slow)
        s3fs.S3FileSystem.clear_instance_cache()
        began = time.monotonic()
        assert next(stream(folder).batches(1))["key"] == ["a"]
        assert time.monotonic() - began > LIMIT_S


@pytest.mark.parametrize("act", ["stream", "file"])
def test_silence_within_a_response_times_out(tmp_path: Path, act: str) -> None:
    make_split(str(tmp_path / "set"), KEYS)
    with web_server(tmp_path) as working, slow_server(working, pause=0, silent_after=4000) as slow:
        began = time.monotonic()
        with pytest.raises((SpatialdataError, OSError), match=r"did not respond for|stopped responding"):
            if act == "stream":
                list(stream(f"{slow}/set", threads=1).batches(1))
            else:
                open_url(f"{slow}/set/trial-train-00000-of-00002.tar").read()
        assert time.monotonic() - began < 6 * LIMIT_S + 20


def test_silence_within_a_response_of_a_bucket_times_out(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import s3fs

    folder = join(bucket, "stalls", "full", "train")
    make_split(folder, [["a"]])
    with slow_server(os.environ["AWS_ENDPOINT_URL"], pause=0, silent_after=3000) as slow:
        monkeypatch.setenv("AWS_ENDPOINT_URL", slow)
        s3fs.S3FileSystem.clear_instance_cache()
        began = time.monotonic()
        with pytest.raises(StoreTimeout, match=r"s3://of-shards/.*did not respond"):
            list(stream(folder).batches(1))
        assert time.monotonic() - began < 3 * LIMIT_S + 20


def test_commands_print_one_line(s3: str) -> None:
    for command in (["status", "s3://silent/OUT"], ["stream", s3]):
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *command], capture_output=True, text=True
        )
        assert done.returncode == 1
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: s3://silent/")
        assert "did not respond for" in lines[0]
        assert time.monotonic() - began < LIMIT_S + 40


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan", "inf"])
def test_an_invalid_timeout_is_bad_input(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, text)
    with pytest.raises(BadInput, match=f"{TIMEOUT_VARIABLE}={text}: must be a number of seconds above 0"):
        stream("http://127.0.0.1:9/set")


def test_there_is_a_default_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TIMEOUT_VARIABLE)
    assert store_timeout() == DEFAULT_TIMEOUT_S
