"""The accelerator of a run, for the processes that `accelerate launch` or `torchrun` started."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..shards.errors import BadInput
from .config import TrainConfig
from .recipe import TrainingRecipe

if TYPE_CHECKING:
    from accelerate import Accelerator


def open_accelerator(recipe: TrainingRecipe, config: TrainConfig, folder: Path) -> "Accelerator":
    """Join the other processes, if any. Raises BadInput for a launch configuration that does not work here."""
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, DistributedType

    _check_launch()
    unused = bool(getattr(recipe, "find_unused_parameters", False))
    accelerator = Accelerator(
        mixed_precision=config.precision,
        log_with=None if config.log == "none" else config.log,
        project_dir=folder,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=unused)],
    )
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise BadInput(
            f"accelerate is configured for {accelerator.distributed_type.value}: launch with only --multi_gpu, and set "
            "sharded: true in the training configuration"
        )
    return accelerator


def _check_launch() -> None:
    """Raises BadInput if `accelerate launch` was asked for several processes but started one.

    It does so without GPUs and without MPI. It then sets the rendezvous address, but not the number of processes.
    """
    env = os.environ
    launched = "ACCELERATE_MIXED_PRECISION" in env and env.get("MASTER_ADDR") == "127.0.0.1"
    if launched and not any(name in env for name in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE")):
        raise BadInput(
            "accelerate launch was asked for several processes but started one, as it does with --cpu or without a "
            "second GPU: use --multi_gpu instead of --cpu, and on CPUs set ACCELERATE_USE_CPU=true in the environment"
        )
