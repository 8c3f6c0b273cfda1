"""The stream in torch's loaders: the same order with any number of workers, and exact resume."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatialdata_builder.shards import codecs, stream
from spatialdata_builder.shards.streaming.loader import tensors, torch_dataset
from tests.shards.factory import make_sample, make_split, out_of

torch = pytest.importorskip("torch", reason="torch is not installed")
from torch.utils.data import DataLoader  # noqa: E402

KEYS = [[f"s-{shard}-{i}" for i in range(5)] for shard in range(4)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = out_of(tmp_path_factory.mktemp("set"))
    make_split(folder, KEYS)
    return folder


def dataset(url: str) -> Any:
    return torch_dataset(stream(url, members=("segment", "changed"), seed=2, threads=1), 3)


def expected(url: str) -> list[list[str]]:
    return [batch["key"] for batch in stream(url, members=("changed",), seed=2).batches(3)]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_loader_keeps_the_order(shards: str, workers: int):
    loader = DataLoader(dataset(shards), batch_size=None, num_workers=workers)
    batches = list(loader)
    assert [batch["key"] for batch in batches] == expected(shards)
    assert batches[0]["segment"].dtype == torch.int32
    assert batches[0]["changed"].dtype == torch.bool


def test_workers_can_be_spawned(shards: str):
    loader = DataLoader(dataset(shards), batch_size=None, num_workers=2, multiprocessing_context="spawn")
    assert [batch["key"] for batch in loader] == expected(shards)


def test_tensors_share_memory(shards: str):
    batch = next(stream(shards, recipe="spatialdiff").batches(2))
    made = tensors(batch)
    made["source"][0, 0, 0, 0] = 7
    assert batch["source"][0, 0, 0, 0] == 7
    source = codecs.decode_image(make_sample(batch["key"][1])["source.webp"])
    np.testing.assert_array_equal(made["source"][1].numpy(), source)


def test_a_dataset_resumes_exactly(shards: str):
    first = dataset(shards)
    run = iter(first)
    begun = [next(run)["key"] for _ in range(2)]
    second = dataset(shards)
    second.load_state_dict(first.state_dict())
    assert begun + [batch["key"] for batch in second] == expected(shards)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_resumes_exactly(shards: str, workers: int):
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")
    first = stateful.StatefulDataLoader(dataset(shards), batch_size=None, num_workers=workers)
    run = iter(first)
    begun = [next(run)["key"] for _ in range(3)]
    state = first.state_dict()
    second = stateful.StatefulDataLoader(dataset(shards), batch_size=None, num_workers=workers)
    second.load_state_dict(state)
    assert begun + [batch["key"] for batch in second] == expected(shards)


def test_each_iteration_is_the_next_epoch(shards: Path):
    first = dataset(str(shards))
    keys = [[batch["key"] for batch in first] for _ in range(3)]
    assert keys[0] != keys[1] != keys[2]
    assert len(keys[0]) == len(keys[1]) == len(expected(str(shards)))


@pytest.mark.parametrize("persistent", [False, True])
def test_each_iteration_is_the_next_epoch_in_workers(shards: str, persistent: bool):
    """New workers start with a copy of the main process's stream, which never moves: they must not repeat its epoch."""
    plain = dataset(shards)
    epochs = [[batch["key"] for batch in plain] for _ in range(3)]
    loader = DataLoader(dataset(shards), batch_size=None, num_workers=2, persistent_workers=persistent)
    assert [[batch["key"] for batch in loader] for _ in range(3)] == epochs
    assert len(loader) == len(epochs[0])


def test_a_loaded_state_overrides_the_epoch_of_the_workers(shards: str):
    made = dataset(shards)
    state = made.state_dict()
    loader = DataLoader(made, batch_size=None, num_workers=2)
    first = [[batch["key"] for batch in loader] for _ in range(2)]
    made.load_state_dict(state)
    assert [[batch["key"] for batch in loader] for _ in range(2)] == first


def test_tensors_share_the_storage_of_the_allocator(shards: str):
    """Stands in for `pinned`, which needs a GPU: torch's allocator tracks copies only from the storage it allocated."""
    given: list[Any] = []

    def allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        given.append(torch.empty(count, dtype=torch.uint8))
        return given[-1].numpy().view(dtype).reshape(shape)

    ds = stream(shards, members=("source", "depth", "changed"), images="float", allocate=allocate, prefetch=0)
    batches = [tensors(batch) for batch in ds.batches(2)]
    assert len(given) == 3 * len(batches), "every batch has its own buffers"
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage()._cdata for each in given}
    plain = list(stream(shards, members=("source", "depth", "changed"), images="float").batches(2))
    for batch, expected in zip(batches, plain, strict=True):
        for name in ("source", "depth", "changed"):
            assert batch[name].untyped_storage()._cdata == storages[batch[name].untyped_storage().data_ptr()]
            np.testing.assert_array_equal(batch[name].numpy(), expected[name])
