"""What a run says when it cannot go on: which samples, or which knobs."""

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
def memory_watched(recipe: TrainingRecipe, config: TrainConfig, where: str, first: str = "") -> Generator[None]:
    """Raises SpatialdataError where memory runs out: what to change, in the order to try.

    Args:
        where: behind "out of memory".
        first: what to try before all else.
    """
    import torch

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        knobs = [*([first] if first else []), *_knobs_of_this_run(config)]
        knobs += [f"{knob} (with another --out)" for knob in _knobs_of_another(recipe, config)]
        raise SpatialdataError(f"out of memory {where}. Try, in this order: {'; '.join(knobs)}") from error


def _knobs_of_this_run(config: TrainConfig) -> list[str]:
    """The run goes on with these from its last checkpoint."""
    knobs: list[str] = []
    if not config.gradient_checkpointing:
        knobs.append("gradient_checkpointing: true")
    if config.batch_size > 1:
        part = next(part for part in range(2, config.batch_size + 1) if config.batch_size % part == 0)
        smaller, more = config.batch_size // part, config.accumulate * part
        knobs.append(f"batch_size: {smaller} with accumulate: {more} (as many samples a step)")
    if not config.sharded:
        knobs.append("sharded: true, on more GPUs")
    return knobs


def _knobs_of_another(recipe: TrainingRecipe, config: TrainConfig) -> list[str]:
    knobs = ["precision: bf16"] if config.precision == "no" else []
    knobs += ["ema: 0"] if config.ema else []
    return [*knobs, *getattr(recipe, "memory_knobs", ())]
