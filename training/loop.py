"""The one training loop: batches of a stream through a recipe's module, with accelerate for precision and processes.

Invariant: what a run has learned after a step follows from recipe, configuration, shards and that step's number alone.
So a run that is stopped anywhere and started again equals the undisturbed one bit for bit (on CPU; on a GPU, where its
kernels do), and processes x batch_size x accumulate may be divided in any way without another loss curve.
"""

import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.errors import BadInput
from training.checkpoint import EMA, MODEL, STATE, Checkpoints, Facts, only_run, read_facts
from training.config import TrainConfig
from training.data import Shards, fixed_batch, open_batches
from training.faults import memory_watched, no_number
from training.metrics import Metrics, check_logger, start_trackers
from training.pictures import write_sheet
from training.recipe import Batch, Batches, Chance, TrainingRecipe
from training.sharding import gathered, load_optimizer_state, optimizer_state, shard_module, sync_gradients, usable

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from diffusers.training_utils import EMAModel
    from torch import nn

OnStep = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class Summary:
    """What a run came to."""

    step: int
    resumed: int
    """The step that it went on from; 0 for a new run."""
    checkpoint: Path


@dataclass
class _Run:
    """A run under way."""

    accelerator: "Accelerator"
    recipe: TrainingRecipe
    config: TrainConfig
    module: "nn.Module"
    """As accelerate has prepared it."""
    optimizer: Any
    schedule: Any
    ema: "EMAModel | None"
    stream: Batches
    step: int = 0

    @property
    def sharded(self) -> bool:
        return _is_sharded(self.config, self.accelerator)

    @property
    def plain(self) -> "nn.Module":
        return self.accelerator.unwrap_model(self.module)

    @property
    def parameters(self) -> "list[nn.Parameter]":
        """Those that train."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]


def train(
    recipe: TrainingRecipe, config: TrainConfig, shards: Shards, out: str | Path, on_step: OnStep | None = None
) -> Summary:
    """Train until `config.steps`, from the newest checkpoint in `out` where there is one.

    Args:
        shards: as `shards.stream` takes them.
        out: a local folder, or one that all machines share: metrics.jsonl, checkpoints, samples and logs go there.
        on_step: called by the main process with the metrics of each step.

    Raises:
        BadInput: shards without the recipe's members, a checkpoint of another recipe or configuration, missing weights.
        SpatialdataError: a loss that is no number (nothing is saved of that step), or memory that ran out.
    """
    from accelerate.state import AcceleratorState

    check_logger(config.log)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--out {out} cannot be made: {error}") from error
    accelerator = _accelerator(recipe, config, folder)
    try:
        with only_run(folder) if accelerator.is_main_process else nullcontext():
            summary = _train(accelerator, recipe, config, shards, folder, on_step)
    except BaseException:
        for tracker in accelerator.trackers:
            tracker.finish()
        raise
    else:
        accelerator.end_training()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)  # pyright: ignore[reportPrivateUsage]
    return summary


def _accelerator(recipe: TrainingRecipe, config: TrainConfig, folder: Path) -> "Accelerator":
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, DistributedType

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


def _train(
    accelerator: "Accelerator",
    recipe: TrainingRecipe,
    config: TrainConfig,
    shards: Shards,
    folder: Path,
    on_step: OnStep | None,
) -> Summary:
    checkpoints = Checkpoints(folder, config.keep)
    found = checkpoints.newest()
    facts = read_facts(found) if found else None
    if facts and found:
        facts.check(recipe.name, config.model_dump(mode="json"), _samples_per_step(config, accelerator), found)
    world = accelerator.num_processes
    data = open_batches(recipe, config, shards, rank=accelerator.process_index, world=world)
    fixed = fixed_batch(recipe, config, shards, config.validate_samples) if config.validate_every else {}
    run = _build(accelerator, recipe, config, data, found)
    if facts:
        data.load_state_dict(facts.data)
        run.step = facts.step
    resumed = run.step
    start_trackers(accelerator, recipe.name, config.log, run.step)
    with (
        Metrics(folder, run.step, write=accelerator.is_main_process) as metrics,
        closing(data.batches(config.batch_size, epochs=None)) as batches,
    ):
        while run.step < config.steps:
            values = _one_step(run, batches)
            metrics.write(values)
            accelerator.log(dict(values), step=run.step)
            if on_step and accelerator.is_main_process:
                on_step(values)
            last = run.step == config.steps
            if last or run.step % config.save_every == 0:
                _save(run, checkpoints)
            if fixed and (last or run.step % config.validate_every == 0):
                _validate(run, fixed, folder)
    return Summary(run.step, resumed, checkpoints.of(run.step))


def _build(
    accelerator: "Accelerator", recipe: TrainingRecipe, config: TrainConfig, data: Batches, checkpoint: Path | None
) -> _Run:
    """Everything that a step needs, as it was at the checkpoint."""
    import torch
    from accelerate.utils import set_seed
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    set_seed(_seed_of(config.seed, 0))
    module = recipe.build(accelerator.device, torch.bfloat16 if config.precision == "bf16" else torch.float32)
    module.train()
    if config.gradient_checkpointing:
        _checkpoint_gradients(module)
    if checkpoint:
        recipe.load(module, checkpoint / MODEL)
    module.to(accelerator.device)
    name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    if _is_sharded(config, accelerator):
        shard_module(module, accelerator.device, accelerator.num_processes)
    else:
        module = accelerator.prepare(module)
    training = [parameter for parameter in module.parameters() if parameter.requires_grad]
    made = torch.optim.AdamW(training, config.lr, config.betas, weight_decay=config.weight_decay)
    optimizer = accelerator.prepare(made)
    schedule = get_scheduler(name, optimizer.optimizer, num_warmup_steps=config.warmup, num_training_steps=config.steps)
    run = _Run(accelerator, recipe, config, module, optimizer, schedule, None, data)
    if config.ema:
        run.ema = EMAModel(run.parameters, decay=config.ema)
    if checkpoint:
        state = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
        load_optimizer_state(run.plain, optimizer.optimizer, state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        if run.ema:
            run.ema.load_state_dict(state["ema"])
            run.ema.to(accelerator.device)
    return run


def _checkpoint_gradients(module: "nn.Module") -> None:
    for part in module.modules():
        # Libraries have the method in every model's base class, also where the model cannot.
        able = getattr(part, "_supports_gradient_checkpointing", getattr(part, "supports_gradient_checkpointing", True))
        if able and callable(enable := getattr(part, "enable_gradient_checkpointing", None)):
            enable()


def _one_step(run: _Run, batches: Iterator[Batch]) -> dict[str, float]:
    """One step of the optimizer, and what it came to."""
    from accelerate.utils import set_seed

    config, accelerator, step = run.config, run.accelerator, run.step + 1
    began, waited = time.perf_counter(), 0.0
    set_seed(_seed_of(config.seed, step, accelerator.process_index))
    run.optimizer.zero_grad(set_to_none=True)
    losses: list[dict[str, torch.Tensor]] = []
    keys: list[list[str]] = []
    for turn in range(config.accumulate):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        keys.append(batch["key"])
        with memory_watched(run.recipe, config, step), _gathering(run, last=turn == config.accumulate - 1):
            losses.append(_backward(run, batch, step))
    means = _means(accelerator, losses)
    if not all(np.isfinite(value) for value in means.values()):
        raise no_number(accelerator, step, "loss", losses, keys)
    with memory_watched(run.recipe, config, step):
        norm = accelerator.clip_grad_norm_(run.parameters, config.clip or float("inf"))
        norm = float(norm) if norm is not None else 0.0
        if not np.isfinite(norm):
            raise no_number(accelerator, step, "gradient", losses, keys)
        rate = run.schedule.get_last_lr()[0]
        run.optimizer.step()
    run.schedule.step()
    if run.ema:
        run.ema.step(run.parameters)
    run.step = step
    seconds = time.perf_counter() - began
    told = {"step": step, **means, "lr": rate, "grad_norm": norm, "seconds": seconds, "waiting": waited / seconds}
    return told | _peak_memory(accelerator)


@contextmanager
def _gathering(run: _Run, *, last: bool) -> Generator[None]:
    """Gradients are averaged over the processes once a step, with its last forward pass."""
    if run.sharded:
        sync_gradients(run.module, last)
        yield
        return
    with nullcontext() if last else run.accelerator.no_sync(run.module):
        yield


def _backward(run: _Run, batch: Batch, step: int) -> "dict[str, torch.Tensor]":
    """The losses of one forward pass, without their graph."""
    import torch

    with torch.no_grad():
        inputs = run.recipe.prepare(batch, Chance(run.config.seed, step, tuple(batch["key"])))
    with run.accelerator.autocast():
        losses = run.module(inputs)
    run.accelerator.backward(losses["loss"] / run.config.accumulate)
    return {name: value.detach().float() for name, value in losses.items()}


def _means(accelerator: "Accelerator", losses: "Sequence[Mapping[str, torch.Tensor]]") -> dict[str, float]:
    """Each loss over forward passes and processes."""
    import torch

    names = sorted(losses[0], key=lambda name: (name != "loss", name))
    table = torch.stack([torch.stack([each[name] for name in names]) for each in losses]).mean(0)
    together: Any = accelerator.reduce(table, "mean")
    return dict(zip(names, together.tolist(), strict=True))


def _is_sharded(config: TrainConfig, accelerator: "Accelerator") -> bool:
    return config.sharded and accelerator.num_processes > 1


def _samples_per_step(config: TrainConfig, accelerator: "Accelerator") -> int:
    return config.batch_size * config.accumulate * accelerator.num_processes


def _peak_memory(accelerator: "Accelerator") -> dict[str, float]:
    import torch

    if accelerator.device.type != "cuda":
        return {}
    return {"memory_gb": torch.cuda.max_memory_allocated() / 1e9}


def _save(run: _Run, checkpoints: Checkpoints) -> None:
    """Write a checkpoint of this step, by the main process; the others wait for it."""
    import torch

    def fill(folder: Path) -> None:
        (folder / MODEL).mkdir()
        run.recipe.save(run.plain, folder / MODEL)
        if run.ema:
            (folder / EMA).mkdir()
            with _averaged(run):
                run.recipe.save(run.plain, folder / EMA)
        ema = {"ema": run.ema.state_dict()} if run.ema else {}
        states = {"optimizer": optimizer, "schedule": run.schedule.state_dict()}
        torch.save({**states, **ema}, folder / STATE)

    facts = Facts(
        run.recipe.name,
        run.config.model_dump(mode="json"),
        _samples_per_step(run.config, run.accelerator),
        run.step,
        run.stream.state_dict(),
    )
    optimizer = optimizer_state(run.plain, run.optimizer.optimizer)
    with gathered(run.module) if run.sharded else nullcontext():
        if run.accelerator.is_main_process:
            checkpoints.write(facts, fill)
    run.accelerator.wait_for_everyone()


@contextmanager
def _averaged(run: _Run) -> Generator[None]:
    """The module with its averaged weights, where the run has them."""
    if run.ema is None:
        yield
        return
    run.ema.store(run.parameters)
    run.ema.copy_to(run.parameters)
    try:
        yield
    finally:
        run.ema.restore(run.parameters)


def _validate(run: _Run, batch: Batch, folder: Path) -> None:
    """Images of the fixed samples, in samples/. All processes take part, since a module may lie in parts on them."""
    import torch

    run.module.eval()
    with torch.no_grad(), run.accelerator.autocast(), _averaged(run), _usable(run):
        made = run.recipe.sample(run.plain, batch, run.config.seed)
    run.module.train()
    if run.accelerator.is_main_process:
        write_sheet(folder / "samples" / f"{run.step:08d}.png", batch, made)


def _usable(run: _Run) -> AbstractContextManager[None]:
    return usable(run.module) if run.sharded else nullcontext()


def _seed_of(seed: int, step: int, process: int = 0) -> int:
    """Of the global generators in one step (dropout, a recipe's new weights): 32 bits, as numpy takes them."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {process}".encode()).digest()[:4], "big")
