"""Shards and tiny recipes, shared by the tests of SpatialDiff."""

from pathlib import Path
from typing import Any

import torch

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.recipe import Batch, Inputs, StepRng
from spatialdata_builder.training.spatialdiff.options import TINY_RECIPE, SpatialDiffOptions
from spatialdata_builder.training.spatialdiff.recipe import SpatialDiff
from tests.shards.factory import make_sample, make_split

SIDE = 32
CPU = torch.device("cpu")
torch.set_num_threads(1)


def tiny(**changes: Any) -> SpatialDiffOptions:
    return SpatialDiffOptions.model_validate({**TINY_RECIPE, "width": SIDE, "height": SIDE, **changes})


def built(**changes: Any) -> tuple[SpatialDiff, Any]:
    """A recipe and the module that it trains."""
    recipe = SpatialDiff(tiny(**changes))
    return recipe, recipe.build(CPU, torch.float32)


def batch_of(recipe: SpatialDiff, folder: Path, size: int = 2, side: int = SIDE) -> Batch:
    """Real samples, packed and streamed for the recipe."""
    keys = [f"sample-{number}" for number in range(8)]
    if not folder.exists():
        changes = {key: make_sample(key, side=side) for key in keys}
        make_split(str(folder), [keys], recipe=get_recipe("spatialdiff"), changes=changes)
    return next(stream(str(folder), recipe.shards, **recipe.stream_options).batches(size))


def inputs_of(recipe: SpatialDiff, batch: Batch, step: int = 0) -> Inputs:
    return recipe.prepare(batch, StepRng(0, step, tuple(batch["key"])))


def perturb(module: torch.nn.Module) -> None:
    """Perturb the trainable weights: LoRA is initialized to zero, which would hide its effect."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in module.parameters():
            if value.requires_grad:
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
