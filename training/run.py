"""The state of a run: created new or restored from a checkpoint, and saved.

Invariant: `start_run` restores what `save_run` wrote bit for bit, for any number of processes, sharded or not.
"""

import hashlib
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from .checkpoint import EMA, MODEL, Checkpoints, Facts, read_state, weights_at, write_state
from .config import TrainConfig
from .optimizers import make_optimizer
from .recipe import Batches, TrainingRecipe
from .sharding import (
    full_parameters,
    full_tensors,
    layers_of,
    load_optimizer_state,
    optimizer_state,
    reshard,
    shard_like,
    shard_module,
)

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from torch import Tensor, nn


class WeightAverage(Protocol):
    """What a run uses of the EMAModel of diffusers.

    EMAModel declares no types: to infer them, pyright would read all models of transformers.
    """

    shadow_params: "list[Tensor]"

    def step(self, parameters: "Iterable[nn.Parameter]") -> None: ...
    def store(self, parameters: "Iterable[nn.Parameter]") -> None: ...
    def copy_to(self, parameters: "Iterable[nn.Parameter]") -> None: ...
    def restore(self, parameters: "Iterable[nn.Parameter]") -> None: ...
    def to(self, device: "torch.device") -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


@dataclass
class Run:
    accelerator: "Accelerator"
    recipe: TrainingRecipe
    config: TrainConfig
    module: "nn.Module"
    """The trained module; wrapped in DDP if there are several processes and it is not sharded."""
    optimizer: Any
    schedule: Any
    ema: WeightAverage | None
    stream: Batches
    step: int = 0
    loaded: Sequence[str] = ()
    """The parts that a new run has from `init_from`."""

    @property
    def sharded(self) -> bool:
        return self.config.sharded and self.accelerator.num_processes > 1

    @property
    def plain(self) -> "nn.Module":
        return self.accelerator.unwrap_model(self.module)

    @property
    def parameters(self) -> "list[nn.Parameter]":
        """The trainable parameters."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]


def start_run(
    accelerator: "Accelerator",
    recipe: TrainingRecipe,
    config: TrainConfig,
    stream: Batches,
    checkpoint: Path | None,
    step: int = 0,
) -> Run:
    """Create everything that a step needs: restored from the checkpoint of that step, or new."""
    import torch
    from accelerate.utils import set_seed
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    set_seed(seed_of(config.seed, 0))
    module = recipe.build(accelerator.device, torch.bfloat16 if config.precision == "bf16" else torch.float32)
    loaded = () if checkpoint else _initial_weights(recipe, module, config.init_from)
    if checkpoint:
        recipe.load(module, checkpoint / MODEL)
    module.train().to(accelerator.device)
    if config.gradient_checkpointing:
        checkpoint_gradients(module)
    if config.compile:
        for layer in layers_of(module):
            layer.compile()
    if config.tf32:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    run = Run(accelerator, recipe, config, module, None, None, None, stream, step, loaded)
    if run.sharded:
        shard_module(module, accelerator.device, accelerator.num_processes)
    else:
        run.module = accelerator.prepare(module)
    optimizer = make_optimizer(
        config.optimizer, run.parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
    )
    run.optimizer = accelerator.prepare(optimizer)
    name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    run.schedule = get_scheduler(name, optimizer, num_warmup_steps=config.warmup, num_training_steps=config.steps)
    run.ema = cast("Any", EMAModel)(run.parameters, decay=config.ema) if config.ema else None
    if checkpoint:
        _restore(run, checkpoint)
    return run


def _initial_weights(recipe: TrainingRecipe, module: "nn.Module", init_from: str) -> Sequence[str]:
    """Load `init_from`, if given; returns the names of the loaded parts."""
    source = weights_at(Path(init_from).expanduser()) if init_from else None
    if begin := getattr(recipe, "begin", None):
        return begin(module, source)
    if source is None:
        return ()
    recipe.load(module, source)
    return ("all weights",)


def _restore(run: Run, checkpoint: Path) -> None:
    state = read_state(checkpoint)
    load_optimizer_state(run.plain, run.optimizer.optimizer, state["optimizer"])
    run.schedule.load_state_dict(state["schedule"])
    if run.ema:
        run.ema.load_state_dict(state["ema"])
        run.ema.to(run.accelerator.device)
        if run.sharded:
            run.ema.shadow_params = shard_like(run.ema.shadow_params, run.parameters)


def save_run(run: Run, checkpoints: Checkpoints) -> None:
    """Write a checkpoint of this step. Collective: the main process writes, the others wait."""
    facts = Facts(
        run.recipe.name,
        run.config.model_dump(mode="json"),
        samples_per_step(run.config, run.accelerator),
        run.step,
        run.stream.state_dict(),
    )
    state = {"schedule": run.schedule.state_dict()}
    state["optimizer"] = optimizer_state(run.plain, run.optimizer.optimizer)
    if run.ema:
        state["ema"] = {**run.ema.state_dict(), "shadow_params": full_tensors(run.ema.shadow_params)}
    main = run.accelerator.is_main_process
    with checkpoints.writing(facts) if main else nullcontext() as folder:
        _save_weights(run, folder / MODEL if folder else None)
        if run.ema:
            with ema_weights(run):
                _save_weights(run, folder / EMA if folder else None)
        if folder:
            write_state(state, folder)
    run.accelerator.wait_for_everyone()


def _save_weights(run: Run, folder: Path | None) -> None:
    """Save the recipe's weights to a folder. `folder` is None on other processes, which only take part in gathering."""
    with full_parameters(run.module) if run.sharded else nullcontext():
        if folder:
            folder.mkdir()
            run.recipe.save(run.plain, folder)


@contextmanager
def ema_weights(run: Run) -> Generator[None]:
    """Inside, the module has its averaged weights, if the run keeps an average."""
    if run.ema is None:
        yield
        return
    if run.sharded:
        reshard(run.module)
    run.ema.store(run.parameters)
    run.ema.copy_to(run.parameters)
    try:
        yield
    finally:
        if run.sharded:
            reshard(run.module)
        run.ema.restore(run.parameters)


def checkpoint_gradients(module: "nn.Module") -> None:
    """Enable gradient checkpointing in all submodules that support it."""
    for part in module.modules():
        # The libraries define the method in the base class, so also for models that do not support it.
        supported = getattr(part, "supports_gradient_checkpointing", True)
        supported = getattr(part, "_supports_gradient_checkpointing", supported)
        if supported and callable(enable := getattr(part, "enable_gradient_checkpointing", None)):
            enable()


def samples_per_step(config: TrainConfig, accelerator: "Accelerator") -> int:
    return config.batch_size * config.accumulate * accelerator.num_processes


def seed_of(seed: int, step: int, process: int = 0) -> int:
    """Seed of the global generators in one step (dropout, initial weights): 32 bits, as numpy requires."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {process}".encode()).digest()[:4], "big")
