"""Streaming from an object store: ranged reads, a cache shared by processes, transient and permanent errors."""

import fcntl
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.layout import join
from spatialdata_builder.shards.reader import ShardError
from spatialdata_builder.shards.streaming.cache import ShardCache
from spatialdata_builder.shards.streaming.places import open_set
from spatialdata_builder.shards.streaming.remote import file_at
from spatialdata_builder.shards.streaming.retry import call_with_retries
from spatialdata_builder.shards.writer import publish_bytes
from tests.shards.factory import make_split

KEYS = [["a", "b"], ["c", "d"], ["e"]]


def batches(url: str, **options: object) -> dict[str, np.ndarray]:
    return {batch["key"][0]: batch["source"][0] for batch in stream(url, recipe="spatialdiff", **options).batches(1)}


def test_ranged_reads_and_the_cache_return_the_same_pixels(bucket: str, tmp_path: Path):
    folder = join(bucket, "shards", "full", "train")
    make_split(folder, KEYS)
    make_split(str(tmp_path / "local"), KEYS)
    local = batches(str(tmp_path / "local"))
    assert sorted(local) == ["a", "b", "c", "d", "e"]
    for found in (batches(bucket), batches(folder, cache=str(tmp_path / "cache"))):
        assert list(found) == list(local), "the order does not depend on the location of the shards"
        for key, pixels in local.items():
            np.testing.assert_array_equal(found[key], pixels)
    assert len(list((tmp_path / "cache").glob("*.tar"))) == 3


def test_the_cache_is_bounded_and_checks_digests(bucket: str, tmp_path: Path):
    folder = join(bucket, "bounded", "full", "train")
    manifest = make_split(folder, KEYS)
    largest = max(shard.bytes for shard in manifest.shards)
    cache = tmp_path / "cache"
    assert len(batches(folder, cache=str(cache), cache_bytes=2 * largest)) == 5
    assert sum(path.stat().st_size for path in cache.glob("*.tar")) <= 2 * largest
    shard = open_set(folder, "full", "train").shards[0]
    publish_bytes(bytes(shard.bytes), shard.url)
    with pytest.raises(ShardError, match="sha256 differs from the manifest"):
        ShardCache(str(tmp_path / "other"), 1 << 30).open(shard)
    left = [path.name for path in (tmp_path / "other").iterdir() if not path.name.endswith(".lock")]
    assert left == []


def test_a_damaged_remote_member_is_named(bucket: str):
    folder = join(bucket, "damaged", "full", "train")
    make_split(folder, [["a"]])
    shard = open_set(folder, "full", "train").shards[0]
    import fsspec

    data = bytearray(fsspec.open(shard.url, "rb").open().read())
    data[data.index(b"WEBP") + 40] ^= 1
    publish_bytes(bytes(data), shard.url)
    with pytest.raises(ShardError, match="sample a: member source is damaged"):
        batches(folder)


def _fetch(folder: str, cache: str, done: "multiprocessing.Queue[int]") -> None:
    set_ = open_set(folder, "full", "train")
    kept = ShardCache(cache, 1 << 30)
    done.put(sum(os.fstat(kept.open(shard)).st_size for shard in set_.shards))


@pytest.mark.slow
def test_processes_share_a_cache(tmp_path: Path):
    """Four processes at once: each gets complete files, and each shard is written once."""
    manifest = make_split(str(tmp_path / "set"), KEYS)
    cache = tmp_path / "cache"
    context = multiprocessing.get_context("spawn")
    done: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=_fetch, args=(str(tmp_path / "set"), str(cache), done)) for _ in range(4)]
    for worker in workers:
        worker.start()
    sizes = [done.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert sizes == [manifest.bytes] * 4
    assert len(list(cache.glob("*.tar"))) == 3
    assert not list(cache.glob("*.tmp"))


def test_transient_errors_are_retried():
    calls: list[int] = []

    def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("connection reset")
        return "bytes"

    assert call_with_retries(flaky, "s3://x", first_s=0.001) == "bytes"
    assert len(calls) == 3

    def broken() -> str:
        raise OSError("connection refused")

    with pytest.raises(SpatialdataError, match="s3://x cannot be read after 3 attempts: connection refused"):
        call_with_retries(broken, "s3://x", attempts=3, first_s=0.001)

    def missing() -> str:
        calls.append(1)
        raise FileNotFoundError("s3://x")

    calls.clear()
    with pytest.raises(FileNotFoundError):
        call_with_retries(missing, "s3://x")
    assert len(calls) == 1


def test_a_sample_takes_one_request(bucket: str, monkeypatch: pytest.MonkeyPatch):
    """With any number of threads: one request for size and index of a shard, one for adjacent members of a sample."""
    import s3fs

    folder = join(bucket, "counted", "full", "train")
    make_split(folder, KEYS)
    requests: Counter[str] = Counter()
    call = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        requests[f"{method} {kwargs.get('Key', '').rpartition('.')[2]}"] += 1
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    ds = stream(folder, recipe="spatialdiff", threads=8)
    assert sum(requests.values()) <= 2, "opening reads the manifest and lists nothing"
    requests.clear()
    list(ds.batches(5))
    assert requests["head_object tar"] == 3
    assert requests["get_object parquet"] == 3
    assert requests["get_object tar"] == 5 + 1  # the first sample is also read to learn the shapes
    requests.clear()
    list(ds.batches(5))
    assert requests == {"get_object tar": 5}


def test_threads_share_one_connection_pool(bucket: str):
    folder = join(bucket, "shards", "full", "train")
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(file_at(join(folder, "a.tar")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(fs) for fs, _ in found}) == 1
    assert {path for _, path in found} == {folder.removeprefix("s3://") + "/a.tar"}


def test_an_outage_is_not_skipped_as_damage(bucket: str, monkeypatch: pytest.MonkeyPatch):
    """`skip` must not skip samples of a store that is down: the epoch would be empty without any error."""
    folder = join(bucket, "outage", "full", "train")
    make_split(folder, KEYS)
    ds = stream(folder, recipe="spatialdiff", on_error="skip", prefetch=0)
    run = ds.batches(1)
    next(run)
    monkeypatch.setattr("spatialdata_builder.shards.streaming.retry.time.sleep", lambda seconds: None)

    def down(*args: Any, **kwargs: Any) -> bytes:
        raise ConnectionResetError("connection reset by peer")

    monkeypatch.setattr(file_at(join(folder, "any.tar"))[0], "cat_file", down)
    with pytest.raises(SpatialdataError, match=r"cannot be read after 6 attempts: connection reset"):
        list(run)
    assert ds.skips == 0


def test_files_of_a_killed_process_are_replaced(tmp_path: Path):
    """A partial file is deleted, and a truncated shard in the cache is fetched again."""
    make_split(str(tmp_path / "set"), KEYS)
    shards = open_set(str(tmp_path / "set"), "full", "train").shards
    cache = ShardCache(str(tmp_path / "cache"), 1 << 30)
    os.close(cache.open(shards[0]))
    kept = next((tmp_path / "cache").glob("*.tar"))
    abandoned = kept.with_name(f"{kept.name}.tmp")
    abandoned.write_bytes(bytes(1000))
    busy = kept.with_name("0-other.tar.tmp")
    busy.write_bytes(bytes(1000))
    kept.write_bytes(kept.read_bytes()[:-512])
    with kept.with_name("0-other.tar.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.close(cache.open(shards[0]))
        assert busy.exists(), "another process fetches it"
    assert kept.stat().st_size == shards[0].bytes
    os.close(cache.open(shards[1]))
    assert not abandoned.exists()
    assert not busy.exists()


def test_an_unusable_cache_folder_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_split(str(tmp_path / "set"), KEYS)
    shard = open_set(str(tmp_path / "set"), "full", "train").shards[0]
    cache = ShardCache(str(tmp_path / "cache"), 1 << 30)

    def full(self: Path, *args: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        patch.setattr(
            "spatialdata_builder.shards.streaming.retry.time.sleep",
            lambda seconds: pytest.fail("it must not be retried"),
        )
        with pytest.raises(SpatialdataError, match=r"cache folder .*No space left.*use another folder"):
            cache.open(shard)
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be created"):
        ShardCache(str(tmp_path / "file" / "cache"), 1)


def test_deleted_cache_files_do_not_stay_open(bucket: str, tmp_path: Path):
    """The size limit holds for used disk space, not only for the files in the folder."""
    folder = join(bucket, "deleted", "full", "train")
    make_split(folder, [[f"k-{i}"] for i in range(8)])
    ds = stream(folder, members=("changed",), order="shard", cache=tmp_path / "cache", cache_bytes=1, threads=1)
    for _ in ds.batches(1):
        assert sum(".tar (deleted)" in link for link in open_files()) <= 2


def open_files() -> Iterator[str]:
    """Targets of this process's file descriptors; other threads may close some while they are listed."""
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            yield str(path.readlink())


def test_permission_errors_are_not_retried():
    calls: list[int] = []

    def forbidden() -> str:
        calls.append(1)
        raise PermissionError("Access Denied")

    with pytest.raises(PermissionError):
        call_with_retries(forbidden, "s3://x")
    assert len(calls) == 1
