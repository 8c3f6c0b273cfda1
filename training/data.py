"""The batches of a run: the training stream, and the fixed samples for validation images."""

import os
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from ..shards import stream
from ..shards.errors import BadInput
from .config import TrainConfig
from .recipe import Batch, Batches, TrainingRecipe

Shards = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_PASSED_ON: Final = ("threads", "prefetch", "on_error", "cache", "cache_bytes", "buckets", "one_per_family")


def open_batches(
    recipe: TrainingRecipe, config: TrainConfig, shards: Shards, split: str = "train", **options: Any
) -> Batches:
    """The stream of a recipe; `options` are further options of `shards.stream`.

    Raises BadInput if the shards lack members of the recipe; the message names them and what to build.
    """
    import torch

    chosen: dict[str, Any] = {
        "seed": config.seed,
        **config.data.model_dump(include={*_PASSED_ON}),
        **recipe.stream_options,
        **options,
    }
    if torch.cuda.is_available():
        from ..shards.streaming.loader import pinned

        chosen["allocate"] = pinned
    if opens := getattr(recipe, "open_stream", None):
        return opens(shards, split, chosen)
    return stream(shards, recipe.shards, split=split, **chosen)


def fixed_batch(recipe: TrainingRecipe, config: TrainConfig, shards: Shards, count: int, split: str = "") -> Batch:
    """The first samples of a split; default: `data.validate_split`, or `train` if the shards lack that split.

    All have one image size. There are fewer than `count` if no size has that many.
    """
    try:
        found = open_batches(recipe, config, shards, split or config.data.validate_split, order="stored")
    except BadInput:
        if split:
            raise
        found = open_batches(recipe, config, shards, order="stored")
    return _first(found, count)


def probe_batch(recipe: TrainingRecipe, config: TrainConfig, shards: Shards, count: int) -> Batch:
    """The first samples of the training order, the same in every process and after a resume; see `fixed_batch`."""
    return _first(open_batches(recipe, config, shards), count)


def _first(batches: Batches, count: int) -> Batch:
    with closing(batches.batches(min(count, batches.largest_bucket))) as found:
        return next(found)
