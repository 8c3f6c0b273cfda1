"""Errors that stop a run: a non-finite loss with its samples, or out of memory with the options to change."""

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ..shards.errors import SpatialdataError
from .config import TrainConfig
from .recipe import TrainingRecipe

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

_KEYS_SHOWN: Final = 16


def nonfinite_error(
    accelerator: "Accelerator",
    step: int,
    what: str,
    losses: "Sequence[Mapping[str, torch.Tensor]]",
    keys: Sequence[Sequence[str]],
) -> SpatialdataError:
    """The error for a loss or gradient that is not finite.

    Names the samples of the forward passes with a non-finite loss; for a gradient, all samples of the step. Collective:
    all processes must call it, since each knows only its own samples.
    """
    from accelerate.utils import gather_object

    bad = [what == "gradient" or not all(math.isfinite(float(each)) for each in part.values()) for part in losses]
    named = [key for part, is_bad in zip(keys, bad, strict=True) if is_bad for key in part]
    if accelerator.num_processes > 1:
        named = list(gather_object(named))
    more = f" and {len(named) - _KEYS_SHOWN} more" if len(named) > _KEYS_SHOWN else ""
    return SpatialdataError(
        f"the {what} of step {step} is not finite; samples: {', '.join(named[:_KEYS_SHOWN])}{more}. Nothing of this "
        "step is saved; the last checkpoint is kept. Check these samples, or lower lr, raise warmup or set "
        "precision: no (with another --out)"
    )


@contextmanager
def explain_out_of_memory(recipe: TrainingRecipe, config: TrainConfig, where: str, first: str = "") -> Generator[None]:
    """Turns an out-of-memory error into a SpatialdataError that lists what to change, in the order to try.

    Args:
        where: follows "out of memory" in the message.
        first: what to try first.
    """
    import torch

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        knobs = [*([first] if first else []), *_resumable_knobs(config)]
        knobs += [f"{knob} (with another --out)" for knob in _new_run_knobs(recipe, config)]
        raise SpatialdataError(f"out of memory {where}. Try, in this order: {'; '.join(knobs)}") from error


def _resumable_knobs(config: TrainConfig) -> list[str]:
    """Options that may change when the run resumes from its last checkpoint."""
    knobs: list[str] = []
    if not config.gradient_checkpointing:
        knobs.append("gradient_checkpointing: true")
    if config.batch_size > 1:
        part = next(part for part in range(2, config.batch_size + 1) if config.batch_size % part == 0)
        smaller, more = config.batch_size // part, config.accumulate * part
        knobs.append(f"batch_size: {smaller} with accumulate: {more} (the same number of samples per step)")
    if not config.sharded:
        knobs.append("sharded: true, on more GPUs")
    return knobs


def _new_run_knobs(recipe: TrainingRecipe, config: TrainConfig) -> list[str]:
    """Options that need a new run."""
    knobs = ["precision: bf16"] if config.precision == "no" else []
    knobs += ["ema: 0"] if config.ema else []
    return [*knobs, *getattr(recipe, "memory_knobs", ())]
