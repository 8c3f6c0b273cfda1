"""A store that keeps silent is given up after the time that is set, in one line; a slow one is waited for."""

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
from spatialdata_builder.shards.stores import DEFAULT_S, VARIABLE, Unanswered, store_timeout
from spatialdata_builder.shards.verify import verify_folder

from tests.shards.factory import make_split
from tests.shards.slow_servers import silent_server, slow_server, web_server

LIMIT_S = 2.0
KEYS = [["a", "b"], ["c"]]


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(LIMIT_S))
    stores._host.cache_clear()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket at an endpoint that accepts and never answers."""
    s3fs = pytest.importorskip("s3fs", reason="needs the extra s3")
    with silent_server() as endpoint:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        s3fs.S3FileSystem.clear_instance_cache()
        yield "s3://silent/set/train"
        s3fs.S3FileSystem.clear_instance_cache()


def given_up(act) -> str:  # type: ignore[no-untyped-def]
    """The error of what is given up in time."""
    began = time.monotonic()
    with pytest.raises(Unanswered) as told:
        act()
    spent = time.monotonic() - began
    assert 0.9 * LIMIT_S < spent < LIMIT_S + 20, "retries and backoff on a busy machine, not minutes"
    text = str(told.value)
    assert "\n" not in text
    assert f"did not answer for {spent:.0f}" in text or "did not answer for" in text
    assert VARIABLE in text
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
def test_a_silent_bucket_is_given_up(s3: str, act) -> None:  # type: ignore[no-untyped-def]
    assert "s3://silent/set/train" in given_up(lambda: act(s3))


@pytest.mark.parametrize("act", [stream, verify_folder], ids=["stream", "verify"])
def test_a_silent_web_server_is_given_up(act) -> None:  # type: ignore[no-untyped-def]
    with silent_server() as address:
        assert given_up(lambda: act(f"{address}/set/train")).startswith(f"{address}/set/train")


def test_no_password_and_no_signature_is_told() -> None:
    with silent_server() as address:
        url = f"{address.replace('//', '//user:secret@')}/a.json?X-Amz-Signature=secret"
        assert "secret" not in given_up(lambda: Storage(url).read_file(""))


def test_a_word_is_said_meanwhile(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(stores, "WORD_S", 0.3)
    with silent_server() as address, caplog.at_level(logging.WARNING, "spatialdata_builder.shards.stores"):
        given_up(lambda: stream(f"{address}/set"))
    said = [record.getMessage() for record in caplog.records if record.name == "spatialdata_builder.shards.stores"]
    assert len(said) == 1, "once"
    assert said[0].startswith(f"waiting for {address}/set/manifest.json to answer (")


def test_a_slow_web_server_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_split(str(tmp_path / "set"), KEYS)
    with web_server(tmp_path) as sound, slow_server(sound, chunk=2000, pause=0.15) as slow:
        began = time.monotonic()
        ds = stream(f"{slow}/set", members=("changed",), order="stored", threads=1)
        keys = [key for batch in ds.batches(1) for key in batch["key"]]
        assert time.monotonic() - began > LIMIT_S, "slower than the limit, in all"
    assert keys == ["a", "b", "c"]
    assert not caplog.records


def test_a_slow_bucket_is_waited_for(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_silence_within_an_answer_ends_too(tmp_path: Path, act: str) -> None:
    make_split(str(tmp_path / "set"), KEYS)
    with web_server(tmp_path) as sound, slow_server(sound, pause=0, silent_after=4000) as slow:
        began = time.monotonic()
        with pytest.raises((SpatialdataError, OSError), match=r"did not answer for|fell silent"):
            if act == "stream":
                list(stream(f"{slow}/set", threads=1).batches(1))
            else:
                open_url(f"{slow}/set/trial-train-00000-of-00002.tar").read()
        assert time.monotonic() - began < 6 * LIMIT_S + 20


def test_silence_within_an_answer_of_a_bucket_ends_too(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import s3fs

    folder = join(bucket, "stalls", "full", "train")
    make_split(folder, [["a"]])
    with slow_server(os.environ["AWS_ENDPOINT_URL"], pause=0, silent_after=3000) as slow:
        monkeypatch.setenv("AWS_ENDPOINT_URL", slow)
        s3fs.S3FileSystem.clear_instance_cache()
        began = time.monotonic()
        with pytest.raises(Unanswered, match=r"s3://of-shards/.*did not answer"):
            list(stream(folder).batches(1))
        assert time.monotonic() - began < 3 * LIMIT_S + 20


def test_commands_end_with_one_line(s3: str) -> None:
    for command in (["status", "s3://silent/OUT"], ["stream", s3]):
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "spatialdata_builder.pipeline.cli", *command], capture_output=True, text=True
        )
        assert done.returncode == 1
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: s3://silent/")
        assert "did not answer for" in lines[0]
        assert time.monotonic() - began < LIMIT_S + 40


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan", "inf"])
def test_a_limit_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(BadInput, match=f"{VARIABLE}={text}: give seconds above 0"):
        stream("http://127.0.0.1:9/set")


def test_without_the_variable_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    assert store_timeout() == DEFAULT_S
