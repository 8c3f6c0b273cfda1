"""`render.device: auto` is resolved once for an OUT: the pixels of one layer come from one kind of device."""

from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.pipeline.config import Config, load_config
from spatialdata_builder.pipeline.engine.render_device import (
    DEVICE,
    check_device,
    choose,
    gpus_of,
    local_gpus,
    resolve_device,
    with_resolved_device,
)
from spatialdata_builder.pipeline.planning.samples import pair_arguments
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.fingerprints import layer_dirs
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.shards.errors import BadInput, SpatialdataError

LISTING = """GPU 0: NVIDIA H200 (UUID: GPU-1)
  MIG 1g.18gb     Device  0: (UUID: MIG-1)
GPU 1: NVIDIA H200 (UUID: GPU-2)
"""


def config(*settings: str) -> Config:
    return load_config(None, ["engine.kind=inline", *settings])


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(str(tmp_path))


@pytest.fixture
def started_on_gpu(store: LayerStore) -> LayerStore:
    store.write_file(DEVICE, b'{"device": "gpu"}')
    return store


@pytest.mark.parametrize(
    ("asked", "found", "kind"),
    [(None, 0, "cpu"), (None, 2, "gpu"), (0, 2, "cpu"), (0.5, 2, "gpu"), (1, 0, "gpu")],
)
def test_the_device_of_auto(asked: float | None, found: float, kind: str):
    assert choose(asked, found) == kind


@pytest.mark.parametrize(
    ("visible", "listing", "count"),
    [(None, LISTING, 2), ("1", LISTING, 2), ("", LISTING, 0), ("-1", LISTING, 0), (None, "", 0)],
)
def test_gpus_of_this_machine(visible: str | None, listing: str, count: int):
    assert local_gpus(visible, listing) == count


def test_auto_is_stored(store: LayerStore, monkeypatch: pytest.MonkeyPatch):
    assert with_resolved_device(config(), store).device == "auto"
    resolve_device(config("engine.resources.pair.gpus=1"), store)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    resolve_device(config(), store)
    assert with_resolved_device(config(), store).device == "gpu"
    assert with_resolved_device(config("render.device=cpu"), store).device == "cpu"
    assert with_resolved_device(config("render.device=optix"), store).device == "optix"


def test_an_explicit_device_is_not_stored(store: LayerStore):
    resolve_device(config("render.device=cpu"), store)
    assert not store.exists(DEVICE)


def pair(store: LayerStore, *settings: str) -> Any:
    chosen = config(*settings)
    return next(stage for stage in build_stages(chosen, pair_arguments(chosen, store)) if stage.layer == "pair")


def test_a_worker_on_a_gpu_requests_it(started_on_gpu: LayerStore):
    assert pair(started_on_gpu).gpus == 1
    assert pair(started_on_gpu, "engine.resources.pair.gpus=0.5").gpus == 0.5
    assert pair(started_on_gpu, "render.device=cpu").gpus == 0
    assert pair(started_on_gpu, "render.device=cuda").gpus == 1
    assert gpus_of(config("render.device=metal").render) == 0


def test_pixels_of_cpu_and_gpu_are_different_layers(started_on_gpu: LayerStore, tmp_path: Path):
    on_gpu, on_cpu = (
        layer_dirs([stage]) for stage in (pair(started_on_gpu), pair(started_on_gpu, "render.device=cpu"))
    )
    assert on_gpu != on_cpu
    assert layer_dirs([pair(started_on_gpu, "render.device=gpu")]) == on_gpu
    other = LayerStore(str(tmp_path / "other"))
    other.write_file(DEVICE, b'{"device": "cpu"}')
    assert layer_dirs([pair(other)]) == on_cpu


def test_resuming_without_a_gpu_is_an_error_before_work(started_on_gpu: LayerStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(BadInput, match=r"render\.device: auto is 'gpu'.* none is found here.*render\.device=cpu"):
        check_device(config(), started_on_gpu)
    with pytest.raises(BadInput, match=r"engine\.resources\.pair\.gpus is 0"):
        check_device(config("engine.resources.pair.gpus=0"), started_on_gpu)
    check_device(config("render.device=cpu"), started_on_gpu)


def test_a_damaged_device_file_is_named(store: LayerStore):
    store.write_file(DEVICE, b'{"device": "cp')
    with pytest.raises(SpatialdataError, match=r"plan/device\.json"):
        with_resolved_device(config(), store)
