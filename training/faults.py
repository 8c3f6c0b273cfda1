"""What a run says when it cannot go on: which samples, or which knobs."""

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from shards.errors import SpatialdataError
from training.config import TrainConfig
from training.recipe import TrainingRecipe

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

_KEYS_SHOWN: Final = 16


def no_number(
    accelerator: "Accelerator",
    step: int,
    what: str,
    losses: "Sequence[Mapping[str, torch.Tensor]]",
    keys: Sequence[Sequence[str]],
) -> SpatialdataError:
    """Names the samples of the forward passes whose loss is no number; of the whole step where it is the gradient.

    To be called by all processes, since each knows its own samples alone.
    """
    from accelerate.utils import gather_object

    odd = [what == "gradient" or not all(math.isfinite(float(each)) for each in some.values()) for some in losses]
    named = [key for some, bad in zip(keys, odd, strict=True) if bad for key in some]
    if accelerator.num_processes > 1:
        named = list(gather_object(named))
    more = f" and {len(named) - _KEYS_SHOWN} more" if len(named) > _KEYS_SHOWN else ""
    return SpatialdataError(
        f"the {what} of step {step} is no finite number; its samples: {', '.join(named[:_KEYS_SHOWN])}{more}. Nothing "
        "of this step is saved, the last checkpoint is kept: look at these samples; or lower lr, raise warmup or set "
        "precision: no, with another --out"
    )


@contextmanager
def memory_watched(recipe: TrainingRecipe, config: TrainConfig, step: int) -> Generator[None]:
    """Raises SpatialdataError where memory runs out: what to change, in the order to try."""
    import torch

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        knobs = "; ".join(_memory_knobs(recipe, config))
        raise SpatialdataError(f"out of memory in step {step}. Try, in this order: {knobs}") from error


def _memory_knobs(recipe: TrainingRecipe, config: TrainConfig) -> list[str]:
    knobs: list[str] = []
    if not config.gradient_checkpointing:
        knobs.append("gradient_checkpointing: true")
    if config.batch_size > 1:
        half, twice = config.batch_size // 2, config.accumulate * 2
        knobs.append(f"batch_size: {half} with accumulate: {twice} (as many samples a step)")
    if config.precision == "no":
        knobs.append("precision: bf16 (with another --out)")
    if config.ema:
        knobs.append("ema: 0 (with another --out)")
    knobs += getattr(recipe, "memory_knobs", ())
    return knobs if config.sharded else [*knobs, "sharded: true, with more GPUs"]
