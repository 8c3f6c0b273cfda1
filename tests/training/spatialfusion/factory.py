"""Shards with exact depth and tiny recipes, shared by the tests of SpatialFusion."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.codecs import encode_metric
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.schema import Split
from spatialdata_builder.shards.writer import encode_record
from spatialdata_builder.training.recipe import Batch, Inputs, StepRng
from spatialdata_builder.training.spatialfusion.options import TINY_RECIPE, SpatialFusionOptions
from spatialdata_builder.training.spatialfusion.recipe import SpatialFusion
from tests.shards.factory import make_sample, make_split

SIDE = 32
CPU = torch.device("cpu")
KEYS = [f"sample-{number}" for number in range(8)]
torch.set_num_threads(1)


def tiny(**changes: Any) -> SpatialFusionOptions:
    return SpatialFusionOptions.model_validate({**TINY_RECIPE, "width": SIDE, "height": SIDE, **changes})


def built(**changes: Any) -> tuple[SpatialFusion, Any]:
    """A recipe and the module that it trains."""
    recipe = SpatialFusion(tiny(**changes))
    return recipe, recipe.build(CPU, torch.float32)


def sample(
    key: str, side: int = SIDE, metric: Mapping[str, Any] | None = None, recipe: str = "spatialfusion", **update: Any
) -> dict[str, bytes]:
    """A sample with smooth exact depth of 1.5 to 4.5 m, and none in the two top rows.

    Args:
        metric: changes of the depth's MapInfo. update: changes of the record.
    """
    members = make_sample(key, side=side, recipe=get_recipe(recipe))
    record = read_record(members["json"])
    rows, columns = np.mgrid[:side, :side].astype(np.float32) / side
    number = sum(key.encode()) % 8
    z = 3 - 1.3 * rows + 0.2 * np.sin(number + 6 * columns) + 0.15 * number
    z[:2] = 0
    data, info = encode_metric(z.astype(np.float32), estimator="renderer", revision="1")
    maps = record.maps.model_copy(update={"metric": info.model_copy(update=dict(metric or {}))})
    return members | {"metric.png": data, "json": encode_record(record.model_copy(update={"maps": maps, **update}))}


def pack(folder: Path, recipe: str = "spatialfusion", side: int = SIDE, split: Split = "train", **changes: Any) -> Path:
    """Eight samples in one shard."""
    members = {key: sample(key, side, recipe=recipe, split=split, **changes) for key in KEYS}
    make_split(str(folder), [KEYS], split=split, recipe=get_recipe(recipe), changes=members)
    return folder


def batch_of(recipe: SpatialFusion, folder: Path, size: int = 2, **changes: Any) -> Batch:
    """Real samples, packed and streamed for the recipe."""
    if not folder.exists():
        pack(folder, **changes)
    return next(stream(str(folder), recipe.shards, order="stored", **recipe.stream_options).batches(size))


def inputs_of(recipe: SpatialFusion, batch: Batch, step: int = 0) -> Inputs:
    return recipe.prepare(batch, StepRng(0, step, tuple(batch["key"])))


def perturb(module: torch.nn.Module) -> None:
    """Perturb the trainable weights: adapter and LoRA are initialized to zero, which would hide their effect."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in module.parameters():
            if value.requires_grad:
                value.add_(0.05 * torch.randn(value.shape, generator=generator))
