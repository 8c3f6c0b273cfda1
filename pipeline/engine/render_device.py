"""The render device of a build: `render.device: auto` is resolved once.

Invariant: the images of one layer come from one kind of device. The first build under an OUT resolves `auto` to `gpu`
or `cpu` and writes it to `plan/device.json`. Later commands on OUT read it from there, also on machines without a GPU,
and it is part of the pair layer's fingerprint. An explicit device is used as given and not stored.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Literal

from ...shards.errors import BadInput, SpatialdataError
from ...shards.layout import NotAFile
from ...sources.scenes.spec import RenderOptions
from ..config import Config, EngineOptions
from ..store.layers import LayerStore
from ..store.plan import damaged_plan

DEVICE = "plan/device.json"
COUNTED = ("gpu", "cuda", "optix", "hip")
"""Devices that Ray counts as `GPU`. A worker that renders on one must request it; else all would use the first."""
Kind = Literal["cpu", "gpu"]


def with_resolved_device(config: Config, store: LayerStore) -> RenderOptions:
    """`config.render` with `auto` replaced by the device stored in OUT; `auto` stays if none is stored yet.

    Raises SpatialdataError for a damaged `plan/device.json`.
    """
    kind = _remembered(store) if config.render.device == "auto" else None
    return config.render.model_copy(update={"device": kind}) if kind else config.render


def gpus_of(render: RenderOptions) -> float:
    """GPUs that one rendering worker requests, unless `engine.resources.pair.gpus` is set."""
    return 1.0 if render.device in COUNTED else 0.0


def resolve_device(config: Config, store: LayerStore, rendered: Callable[[], Kind | None] = lambda: None) -> None:
    """Resolve `auto` for this OUT and store the result, unless it is stored. Needs a `RunLock` and a connected engine.

    Args:
        rendered: the device of existing images, if any; called if the stored file is damaged.
    """
    if config.render.device != "auto":
        return
    try:
        if _remembered(store) is not None:
            return
        kind = None
    except SpatialdataError:
        kind = rendered()
    kind = kind or choose(_asked(config), gpus_found(config.engine))
    store.write_file(DEVICE, json.dumps({"device": kind}).encode())


def choose(asked: float | None, found: float) -> Kind:
    """The device that `auto` resolves to.

    Args:
        asked: `engine.resources.pair.gpus`; decides if set.
        found: GPUs of the cluster, or of this machine for the inline engine.
    """
    wanted = asked if asked is not None else found
    return "gpu" if wanted > 0 else "cpu"


def check_device(config: Config, store: LayerStore) -> None:
    """Raise BadInput if a build that started on GPUs cannot resume here. Called before work, not before reading."""
    if config.render.device != "auto" or _remembered(store) != "gpu":
        return
    started = f"render.device: auto is 'gpu' in {store}, because the build started on a GPU"
    cure = "set render.device=cpu to render all images again on the CPU"
    if _asked(config) == 0:
        raise BadInput(f"{started}, but engine.resources.pair.gpus is 0: remove that key, or {cure}")
    if gpus_found(config.engine) == 0:
        where = "the cluster has none" if config.engine.kind == "ray" else "none is found here"
        raise BadInput(f"{started}, but {where}: resume on a machine with a GPU, or {cure}")


def gpus_found(engine: EngineOptions) -> float:
    """Number of GPUs of the connected Ray cluster or, for the inline engine, of NVIDIA GPUs of this machine.

    Other devices are not detected: set them explicitly (`render.device: metal`).
    """
    if engine.kind == "ray":
        from .ray_cluster import read_cluster

        return read_cluster().gpus
    return local_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"), _nvidia_smi())


def local_gpus(visible: str | None, listing: str) -> int:
    """Number of GPUs in the output of `nvidia-smi -L`; 0 if CUDA_VISIBLE_DEVICES hides all of them."""
    if visible is not None and visible.strip() in ("", "-1", "NoDevFiles"):
        return 0
    return sum(line.startswith("GPU ") for line in listing.splitlines())


def _nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "-L"], capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _asked(config: Config) -> float | None:
    resources = config.engine.resources.get("pair")
    return resources.gpus if resources else None


def _remembered(store: LayerStore) -> Kind | None:
    try:
        kind = json.loads(store.read_file(DEVICE))["device"]
    except NotAFile:
        kind = None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        kind = None
    if kind not in ("cpu", "gpu"):
        raise SpatialdataError(damaged_plan(store, f"{DEVICE} names no device"))
    return kind
