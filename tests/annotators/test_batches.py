"""Batches: order, halving on out of memory, overlap and errors, with torch's own out-of-memory error."""

import weakref
from collections.abc import Callable
from threading import Event

import pytest
import torch

from spatialdata_builder.annotators.batches import Batches, out_of_memory
from spatialdata_builder.shards.errors import SpatialdataError, WorkerLost


class Model:
    """Doubles numbers, at most `memory` at once."""

    def __init__(self, memory: int = 1000, error: Callable[[], Exception] = torch.OutOfMemoryError) -> None:
        self.memory, self.error = memory, error
        self.sizes: list[int] = []

    def __call__(self, ready: list[int]) -> list[int]:
        self.sizes.append(len(ready))
        if len(ready) > self.memory:
            raise self.error()
        return [2 * value for value in ready]


def batches(model: Callable[[list[int]], list[int]], size: int = 4) -> Batches[str, int, int, tuple[str, int, int]]:
    return Batches(int, model, lambda item, ready, raw: (item, ready, raw), size=size)


ITEMS = [str(value) for value in (5, 2, 9, 4, 4, 7, 1, 8, 3, 6, 0)]


@pytest.mark.parametrize("size", [1, 2, 3, 11, 64])
def test_one_result_for_each_item_in_order(size: int):
    model = Model()
    found = batches(model, size)(ITEMS)
    assert found == [(item, int(item), 2 * int(item)) for item in ITEMS]
    assert max(model.sizes) == min(size, len(ITEMS)) and sum(model.sizes) == len(ITEMS)


def test_buckets_never_share_a_batch_and_keep_the_order():
    seen: list[list[int]] = []

    def forward(ready: list[int]) -> list[int]:
        seen.append(ready)
        return [-value for value in ready]

    found = batches(forward, 3)(ITEMS, bucket=lambda item: int(item) % 2)
    assert [raw for _, _, raw in found] == [-int(item) for item in ITEMS]
    assert all(len({value % 2 for value in batch}) == 1 for batch in seen)
    assert sorted(map(len, seen)) == [2, 3, 3, 3]


def test_a_compiled_model_gets_only_whole_batches():
    seen: list[list[int]] = []

    def forward(ready: list[int]) -> list[int]:
        seen.append(ready)
        if len(ready) > 4:
            raise torch.OutOfMemoryError
        return [-value for value in ready]

    found = Batches(int, forward, lambda item, ready, raw: raw, size=8, whole=True)(ITEMS, bucket=len)
    assert found == [-int(item) for item in ITEMS]
    assert [len(ready) for ready in seen] == [8, 4, 4, 4]
    assert seen[-1] == [3, 6, 0, 0]


def test_no_items_give_no_results():
    assert batches(Model())([]) == []


@pytest.mark.parametrize(
    "error",
    [
        lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: ..."),
        lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        lambda: RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 512"),
        MemoryError,
    ],
)
def test_out_of_memory_halves_the_batch_for_good(error: Callable[[], Exception]):
    model = Model(memory=3, error=error)
    run = batches(model, 8)
    assert [raw for _, _, raw in run(ITEMS)] == [2 * int(item) for item in ITEMS]
    # Eight and four are too many; the smaller size is used for the rest and for the next call.
    assert model.sizes == [8, 4, 2, 2, 2, 2, 2, 1]
    assert run.size == 2
    model.sizes.clear()
    run(ITEMS[:4])
    assert model.sizes == [2, 2]


def test_tensors_of_a_failed_batch_are_freed_before_the_cache_is_emptied(monkeypatch: pytest.MonkeyPatch):
    allocated: list[weakref.ref[torch.Tensor]] = []
    still_allocated: list[bool] = []

    def forward(ready: list[int]) -> list[int]:
        batch = torch.zeros(len(ready))
        allocated.append(weakref.ref(batch))
        if len(ready) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ready

    monkeypatch.setattr(
        "spatialdata_builder.annotators.batches._empty_cuda_cache",
        lambda: still_allocated.append(allocated[-1]() is not None),
    )
    batches(forward, 8)(ITEMS)
    assert still_allocated == [False, False]


@pytest.mark.parametrize("step", ["forward", "finish"])
def test_a_lost_gpu_is_worker_lost(step: str):
    def fails(name: str) -> None:
        if name == step:
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore lines")

    def forward(ready: list[int]) -> list[int]:
        fails("forward")
        return ready

    def finish(item: str, ready: int, raw: int) -> int:
        fails("finish")
        return raw

    with pytest.raises(WorkerLost, match=r"illegal memory access was encountered\): rerun the same command"):
        Batches(int, forward, finish, size=4)(ITEMS)


def test_a_real_allocation_failure_on_the_cpu_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(caught.value)


def test_an_image_that_exceeds_the_memory_is_an_error_with_advice():
    with pytest.raises(SpatialdataError, match="a single image exceeds the memory") as caught:
        batches(Model(memory=0, error=lambda: torch.OutOfMemoryError("CUDA out of memory\nmore lines")), 4)(ITEMS)
    assert "\n" not in str(caught.value) and "smaller model" in str(caught.value)


def test_other_errors_are_raised_and_do_not_halve_the_batch():
    run = batches(Model(memory=0, error=lambda: RuntimeError("shapes do not match")), 4)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run(ITEMS)
    assert run.size == 4


def test_errors_in_prepare_and_finish_reach_the_caller():
    with pytest.raises(ValueError, match="invalid literal"):
        batches(Model())([*ITEMS, "not a number"])

    def finish(item: str, ready: int, raw: int) -> int:
        return 1 // ready

    with pytest.raises(ZeroDivisionError):
        Batches(int, Model(), finish, size=4)(ITEMS)


def test_the_next_batch_is_prepared_while_the_model_runs():
    count = 9
    prepared = [Event() for _ in range(count)]

    def prepare(item: str) -> int:
        prepared[int(item)].set()
        return int(item)

    def forward(ready: list[int]) -> list[int]:
        following = prepared[ready[0] + 1 : ready[0] + 2]
        assert all(event.wait(timeout=10) for event in following)
        return ready

    run = Batches(prepare, forward, lambda item, ready, raw: raw, size=1)
    assert run([str(value) for value in range(count)]) == list(range(count))
