"""Fills a recipe's cache before training: `spatialdata train RECIPE ... --encode-only`.

Every training sample, and those of the held-out loss, are encoded once, with all texts that a step may use, but nothing
is trained. So a run afterwards only reads the cache and, with `recipe.unload_encoders`, never loads the encoders for a
step. The pass can be stopped and rerun: what is in the cache is not encoded again. Each process encodes its share of
the samples.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..shards.errors import BadInput
from .accelerator import open_accelerator
from .caches import CacheStats
from .config import TrainConfig
from .data import Shards, first_training_samples, open_batches
from .errors import explain_out_of_memory
from .recipe import Batch, TrainingRecipe
from .validation import first_loss_samples, open_loss_samples

OnProgress = Callable[[int, int], None]
"""(samples done, training samples of this process)"""
_BATCH: Final = 8
"""Samples that are read together; their images share calls of the VAE."""


@dataclass(frozen=True)
class Encoded:
    """The result of a pass, over all processes."""

    samples: int
    encoded: int
    """Entries (images, maps and texts) that were computed."""
    cached: int
    """Entries that the cache already had."""
    evicted: int
    """Entries that were removed, since the cache reached `recipe.cache_bytes`."""
    bytes: int
    """Written to the cache."""


def encode(
    recipe: TrainingRecipe, config: TrainConfig, shards: Shards, out: str | Path, on_progress: OnProgress | None = None
) -> Encoded:
    """Encode what the training samples of a run need into `recipe.cache`.

    Args:
        shards, out: as for `training.loop.train`; nothing is written to `out`.
        on_progress: called by the main process after each batch, with the samples so far and all training samples of
            a process.

    Raises:
        BadInput: no cache folder, a recipe without encodings, or as for `train`.
        SpatialdataError: out of memory, or a full disk.
    """
    from accelerate.state import AcceleratorState

    method = getattr(recipe, "encode", None)
    options: Any = config.recipe
    if method is None:
        raise BadInput(f"recipe {recipe.name} cannot encode in advance: train without --encode-only")
    if not options.get("cache"):
        raise BadInput("--encode-only fills a cache, but recipe.cache is empty: add --set recipe.cache=FOLDER")
    accelerator = open_accelerator(recipe, config, Path(out))
    try:
        return _encode(accelerator, recipe, config, shards, on_progress)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)  # pyright: ignore[reportPrivateUsage]


def _encode(
    accelerator: Any, recipe: Any, config: TrainConfig, shards: Shards, on_progress: OnProgress | None
) -> Encoded:
    import torch

    rank, world = accelerator.process_index, accelerator.num_processes
    every: dict[str, Any] = {"records": True, "instruction": "text"}
    one_by_one: dict[str, Any] = {
        "order": "stored",
        "last": "pad",
        "one_per_family": False,
        "rank": rank,
        "world": world,
    }
    training = open_batches(recipe, config, shards, **every, **one_by_one)
    wanted = config.validate_every and config.validate_loss_samples
    held_out = open_loss_samples(recipe, config, shards, rank, world, **every) if wanted else None
    if see := getattr(recipe, "see", None):
        see(partial(first_training_samples, recipe, config, shards))
    with explain_out_of_memory(recipe, config, "while loading models"):
        recipe.build_encoders(accelerator.device, torch.bfloat16 if config.precision == "bf16" else torch.float32)
    samples, stats, total = 0, CacheStats(), -(-training.samples // world)

    def batches() -> Generator[Batch]:
        with closing(training.batches(_BATCH)) as found:
            yield from found
        if held_out:
            yield from (batch for batch, _ in first_loss_samples(held_out, config, _BATCH, rank, world))

    for batch in batches():
        with explain_out_of_memory(recipe, config, "while encoding"):
            stats = recipe.encode(batch)
        samples += int(np.count_nonzero(batch["valid"]))
        if on_progress and accelerator.is_main_process:
            on_progress(samples, total)
    counts = torch.tensor([samples, *asdict(stats).values()], device=accelerator.device)
    samples, hits, misses, evicted, written = accelerator.reduce(counts, "sum").tolist()
    return Encoded(samples, misses, hits, evicted, written)
