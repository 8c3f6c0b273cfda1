"""Shards on an object store: ranged reads, a cache that processes share, faults that pass and faults that stay."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from shards import stream
from shards.errors import SpatialdataError
from shards.layout import join
from shards.reader import ShardError
from shards.streaming.cache import ShardCache
from shards.streaming.places import open_set
from shards.streaming.retry import retried
from shards.writer import publish_bytes
from tests.shards.factory import make_split

KEYS = [["a", "b"], ["c", "d"], ["e"]]


def batches(url: str, **options: object) -> dict[str, np.ndarray]:
    return {batch["key"][0]: batch["source"][0] for batch in stream(url, recipe="spatialdiff", **options).batches(1)}


def test_ranged_reads_and_the_cache_give_the_local_pixels(bucket: str, tmp_path: Path):
    folder = join(bucket, "shards", "full", "train")
    make_split(folder, KEYS)
    make_split(str(tmp_path / "local"), KEYS)
    local = batches(str(tmp_path / "local"))
    assert sorted(local) == ["a", "b", "c", "d", "e"]
    for found in (batches(bucket), batches(folder, cache=str(tmp_path / "cache"))):
        assert list(found) == list(local), "the order does not depend on where the shards lie"
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
    with pytest.raises(ShardError, match="sha256 is not the manifest's"):
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


def test_processes_share_a_cache(tmp_path: Path):
    """Four processes at once: each finds whole files, and each shard was written once."""
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


def test_passing_faults_are_tried_again():
    calls: list[int] = []

    def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("connection reset")
        return "bytes"

    assert retried(flaky, "s3://x", first_s=0.001) == "bytes"
    assert len(calls) == 3

    def broken() -> str:
        raise OSError("connection refused")

    with pytest.raises(SpatialdataError, match="s3://x cannot be read after 3 attempts: connection refused"):
        retried(broken, "s3://x", attempts=3, first_s=0.001)

    def missing() -> str:
        calls.append(1)
        raise FileNotFoundError("s3://x")

    calls.clear()
    with pytest.raises(FileNotFoundError):
        retried(missing, "s3://x")
    assert len(calls) == 1
