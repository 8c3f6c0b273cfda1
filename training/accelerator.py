"""The processes of a run, as `accelerate launch` or `torchrun` started them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..shards.errors import BadInput
from .config import TrainConfig
from .recipe import TrainingRecipe

if TYPE_CHECKING:
    from accelerate import Accelerator


def open_accelerator(recipe: TrainingRecipe, config: TrainConfig, folder: Path) -> "Accelerator":
    """Join the other processes, where there are some. Raises BadInput for a launch that is not what it looks like."""
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
            f"accelerate is set up for {accelerator.distributed_type.value}: launch with --multi_gpu alone, and set "
            "sharded: true in the configuration"
        )
    return accelerator


def _check_launch() -> None:
    """Without GPUs and without MPI, `accelerate launch` starts one process, whatever it was asked for.

    It leaves the address at which several would have met, and not how many there are.
    """
    given = os.environ
    launched = "ACCELERATE_MIXED_PRECISION" in given and given.get("MASTER_ADDR") == "127.0.0.1"
    if launched and not any(name in given for name in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE")):
        raise BadInput(
            "accelerate launch was asked for several processes and started one, as it does for --cpu and where there "
            "is no second GPU: give --multi_gpu in place of --cpu, and on CPUs set ACCELERATE_USE_CPU=true in the "
            "environment"
        )
