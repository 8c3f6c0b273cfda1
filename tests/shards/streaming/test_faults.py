"""Failures of real training jobs: killed and forked processes, interrupted iterations, changed or damaged sets."""

import gc
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.shards import codecs, stream
from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.shards.index import parquet_name
from spatialdata_builder.shards.reader import ShardError
from spatialdata_builder.shards.recipes import get_recipe
from tests.shards.factory import make_sample, make_split, out_of

KEYS = [[f"s-{shard}-{i}" for i in range(count)] for shard, count in enumerate((5, 3, 6, 4))]
ALL = sorted(key for keys in KEYS for key in keys)
CHEAP = ("changed",)

JOB = """
import json, os, sys
from spatialdata_builder.shards import stream
url, log = sys.argv[1:]
ds = stream(url, members=("changed",), seed=9, rank=0, world=1, threads=2, last="pad")
lines = open(log).read().splitlines()
if lines:
    ds.load_state_dict(json.loads(lines[-1])["state"])
with open(log, "a") as file:
    for batch in ds.batches(2):
        keys = [key for key, valid in zip(batch["key"], batch["valid"]) if valid]
        file.write(json.dumps({"keys": keys, "state": ds.state_dict()}) + "\\n")
        file.flush()
        print("step", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = out_of(tmp_path_factory.mktemp("set"))
    make_split(folder, KEYS)
    return folder


@pytest.fixture
def copy(shards: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "train"))


def tar_of(folder: Path, shard: int) -> Path:
    return sorted(folder.glob("*.tar"))[shard]


def parquet_of(folder: Path, shard: int) -> Path:
    return folder / parquet_name(tar_of(folder, shard).name)


def count(url: Path | str, **options: object) -> int:
    return sum(int(batch["valid"].sum()) for batch in stream(url, members=CHEAP, last="pad", **options).batches(4))


@pytest.mark.slow
def test_a_killed_job_resumes_with_the_next_batch(shards: str, tmp_path: Path):
    """SIGKILL after 3 and then after 2 steps; the third run finishes. Keys and state are written as one line, like a
    checkpoint."""
    log = tmp_path / "log"
    log.touch()
    for steps in (3, 2, len(ALL)):
        job = subprocess.Popen(
            [sys.executable, "-c", JOB, shards, str(log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert job.stdin is not None
        assert job.stdout is not None
        for step in range(steps):
            if not job.stdout.readline():
                break
            if step == steps - 1:
                job.send_signal(signal.SIGKILL)
            else:
                job.stdin.write("\n")
                job.stdin.flush()
        job.communicate()
    assert sorted(key for line in log.read_text().splitlines() for key in json.loads(line)["keys"]) == ALL


def test_an_iteration_ends_when_another_one_starts(shards: str):
    ds = stream(shards, members=CHEAP)
    first = ds.batches(2)
    next(first)
    state = ds.state_dict()
    second = ds.batches(2)
    expected = next(second)["key"]
    after = ds.state_dict()
    with pytest.raises(SpatialdataError, match="use one at a time"):
        next(first)
    assert ds.state_dict() == after
    ds.load_state_dict(state)
    with pytest.raises(SpatialdataError, match="a state was loaded"):
        next(second)
    assert next(ds.batches(2))["key"] == expected


@pytest.mark.parametrize("change", [{"position": 19}, {"position": "3"}, {"epoch": -1}, {"epoch": None}])
def test_a_damaged_state_is_bad_input(shards: str, change: dict[str, object]):
    ds = stream(shards, members=CHEAP)
    with pytest.raises(BadInput, match="damaged"):
        ds.load_state_dict({**ds.state_dict(), **change})
    with pytest.raises(BadInput, match="format is None"):
        ds.load_state_dict({})


@pytest.mark.slow
def test_no_threads_remain(shards: str):
    before = threading.active_count()
    ds = stream(shards, members=CHEAP)
    for _ in ds.batches(2):
        break
    with pytest.raises(RuntimeError, match="mine"):
        for _ in ds.batches(2):
            raise RuntimeError("mine")
    gc.collect()
    assert threading.active_count() == before


def test_the_state_after_an_error_is_that_of_the_last_batch(copy: Path):
    """Prefetched batches that were not returned do not count."""
    ds = stream(copy, members=CHEAP, order="stored", prefetch=9, threads=2)
    tar = tar_of(copy, 1)
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-2048])
    keys: list[str] = []
    with pytest.raises(ShardError, match="truncated"):
        for batch in ds.batches(2):
            keys += batch["key"]
    assert keys == ["s-0-0", "s-0-1", "s-0-2", "s-0-3"]
    assert ds.state_dict()["position"] == 4
    tar.write_bytes(whole)
    assert next(ds.batches(2))["key"] == ["s-0-4", "s-1-0"]


def test_a_forked_process_can_read(shards: str):
    """A fork during an iteration, whose threads, locks and files the child does not have."""
    ds = stream(shards, members=CHEAP, seed=5)
    run = ds.batches(2)
    next(run)
    expected = [batch["key"] for batch in _continued(shards, ds.state_dict())]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps([batch["key"] for batch in ds.batches(2)]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    ready = select.select([reader], [], [], 60)[0]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert ready, "the child hangs"
    with os.fdopen(reader) as file:
        assert json.load(file) == expected
    assert [batch["key"] for batch in run] == expected


def _continued(url: str, state: dict[str, object]) -> list[dict[str, list[str]]]:
    ds = stream(url, members=CHEAP, seed=5)
    ds.load_state_dict(state)
    return list(ds.batches(2))


@pytest.mark.parametrize("size", [1, 4])
def test_a_missing_shard_is_skipped_with_any_batch_size(copy: Path, size: int):
    """A completely damaged batch contains other samples of the epoch, none of which is valid."""
    tar_of(copy, 0).unlink()
    with pytest.raises(ShardError, match=r"trial-train-00000.*the shard is missing"):
        count(copy)
    ds = stream(copy, members=CHEAP, on_error="skip", order="shard", last="pad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batches = list(ds.batches(size))
    assert len(batches) == -(-len(ALL) // size)
    assert ds.skips == 5
    valid = [key for batch in batches for key, ok in zip(batch["key"], batch["valid"], strict=True) if ok]
    assert sorted(valid) == [key for key in ALL if not key.startswith("s-0")]
    for batch in batches:
        for key, changed in zip(batch["key"], batch["changed"], strict=True):
            np.testing.assert_array_equal(changed, codecs.decode_mask(make_sample(key)["changed.png"]))


def test_a_set_without_any_intact_sample_is_an_error(copy: Path):
    for tar in copy.glob("*.tar"):
        tar.unlink()
    with pytest.raises(SpatialdataError, match=r"damaged: shard .*missing"):
        count(copy, on_error="skip")


def test_the_index_of_another_shard_is_detected(copy: Path):
    parquet_of(copy, 0).write_bytes(parquet_of(copy, 1).read_bytes())
    with pytest.raises(
        ShardError, match=r"trial-train-00000-of-00004.parquet is damaged, or not the one in the manifest"
    ):
        count(copy)
    with pytest.warns(UserWarning, match="parquet is damaged"):
        assert count(copy, on_error="skip") == len(ALL) - 5


def test_a_missing_index_is_rebuilt_with_a_warning(copy: Path):
    parquet_of(copy, 2).unlink()
    with pytest.warns(UserWarning, match="has no parquet: scanning"):
        assert count(copy) == len(ALL)
    other = copy.parent / "other"
    make_split(str(other), [["x"]])
    tar_of(copy, 2).write_bytes(tar_of(other, 0).read_bytes())
    with pytest.raises(ShardError, match=r"truncated|newer"):
        count(copy)


@pytest.mark.parametrize("check", [True, False])
def test_a_shard_with_other_names_at_the_same_offsets_is_detected(copy: Path, check: bool):
    """Sizes and offsets are the same: only names and CRC-32s differ."""
    tar = tar_of(copy, 3)
    tar.write_bytes(tar.read_bytes().replace(b".changed.png\0", b".changer.png\0"))
    with pytest.raises(ShardError, match=r"damaged|newer"):
        count(copy, check=check)


def test_sets_may_have_different_image_formats(tmp_path: Path):
    """Two sets of one recipe, webp and png: the fields differ, the members are the same."""
    make_split(str(tmp_path / "webp"), [["a", "b"]])
    recipe = get_recipe("spatialdiff")
    from spatialdata_builder.shards.index import pack_shard, write_manifest

    fields = recipe.fields("png")
    members = make_sample("c")
    images = {
        f"{name}.png": codecs.encode_image(codecs.decode_image(members[f"{name}.webp"]), "png")
        for name in ("source", "target")
    }
    chosen = {field: (members | images)[field] for field in fields}
    folder = str(tmp_path / "png")
    entry = pack_shard(folder, "trial-train-00000-of-00001.tar", [("c", chosen)])
    write_manifest(folder, name="trial", recipe=recipe.name, split="train", members=fields, shards=[entry])
    with pytest.raises(BadInput, match="have different members"):
        stream([folder, str(tmp_path / "webp")], recipe="spatialdiff")
    make_split(str(tmp_path / "diff"), [["a", "b"]], recipe=recipe)
    ds = stream([folder, tmp_path / "diff"], recipe="spatialdiff")
    found = {key: source for batch in ds.batches(1) for key, source in zip(batch["key"], batch["source"], strict=True)}
    assert sorted(found) == ["a", "b", "c"]
    for key, source in found.items():
        np.testing.assert_array_equal(source, codecs.decode_image(make_sample(key)["source.webp"]))


def test_a_set_without_records_is_bad_input(tmp_path: Path):
    import tarfile

    (tmp_path / "train").mkdir()
    with tarfile.open(tmp_path / "train" / "a.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        path = tmp_path / "picture"
        path.write_bytes(make_sample("a")["source.webp"])
        tar.add(path, "a.source.webp")
    with pytest.raises(BadInput, match="lacks json"), pytest.warns(UserWarning, match="no manifest"):
        stream(tmp_path / "train", members=["source"])


def test_a_relative_folder_survives_a_change_of_the_working_directory(
    shards: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(Path(shards).parent)
    ds = stream("train", members=CHEAP)
    monkeypatch.chdir(tmp_path)
    assert sum(len(batch["key"]) for batch in ds.batches(1)) == len(ALL)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.slow
def test_open_files_and_memory_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("spatialdata_builder.shards.streaming.fetch._OPEN_FILES", 8)
    make_split(out_of(tmp_path), [[f"k-{i}"] for i in range(40)])
    before = open_files()
    allocated: list[int] = []
    ds = stream(tmp_path, members=("source", *CHEAP), threads=2)
    for batch in ds.batches(4, epochs=3):
        assert open_files() - before <= 8 + 2 + 1  # each of two threads may hold one more
        allocated.append(batch["source"].ctypes.data)
    assert len(set(allocated)) <= 8, "buffers are reused"
