"""The one training loop: batches of a stream through a recipe's module, with accelerate for precision and processes.

Invariant: what a run has learned after a step follows from recipe, configuration, shards and that step's number alone.
So a run that is stopped anywhere and started again equals the undisturbed one bit for bit (on CPU; on a GPU, where its
kernels do), and processes x batch_size x accumulate may be divided in any way without another loss curve.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shards.errors import BadInput, SpatialdataError
from .accelerator import open_accelerator
from .checkpoint import Checkpoints, only_run, read_facts
from .config import TrainConfig
from .data import Shards, fixed_batch, open_batches
from .faults import memory_watched, no_number
from .metrics import Metrics, check_logger, show_picture, start_trackers
from .pictures import write_sheet
from .recipe import Batch, Chance, TrainingRecipe
from .run import Run, averaged, samples_per_step, save_run, seed_of, start_run
from .sharding import delayed_sums, usable

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

OnStep = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class Summary:
    """What a run came to."""

    step: int
    resumed: int
    """The step that it went on from; 0 for a new run."""
    checkpoint: Path
    samples: int = 0
    """That it trains on."""
    left_out: int = 0
    """Samples of the shards whose edits the recipe does not take."""


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
        SpatialdataError: a loss that is no number (nothing is saved of that step), memory or disk that ran out.
    """
    from accelerate.state import AcceleratorState

    check_logger(config.log)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--out {out} cannot be made: {error}") from error
    accelerator = open_accelerator(recipe, config, folder)
    try:
        with only_run(folder) if accelerator.is_main_process else nullcontext():
            summary = _train(accelerator, recipe, config, shards, folder, on_step)
    except BaseException as error:
        for tracker in accelerator.trackers:
            tracker.finish()
        if isinstance(error, OSError):
            raise SpatialdataError(f"{folder}: {error}: free space and run the same command again") from error
        raise
    else:
        accelerator.end_training()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)  # pyright: ignore[reportPrivateUsage]
    return summary


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
        facts.check(recipe.name, config.model_dump(mode="json"), samples_per_step(config, accelerator), found)
    data = open_batches(recipe, config, shards, rank=accelerator.process_index, world=accelerator.num_processes)
    if facts:
        data.load_state_dict(facts.data)
    fixed = fixed_batch(recipe, config, shards, config.validate_samples) if config.validate_every else {}
    resumed = facts.step if facts else 0
    start_trackers(accelerator, recipe.name, config, folder, resumed)  # before minutes of loading: it may be refused
    with memory_watched(recipe, config, "while models were loaded"):
        run = start_run(accelerator, recipe, config, data, found, resumed)
    with (
        Metrics(folder, resumed, write=accelerator.is_main_process) as metrics,
        closing(data.batches(config.batch_size, epochs=None)) as batches,
    ):
        while run.step < config.steps:
            with memory_watched(recipe, config, f"in step {run.step + 1}"):
                values = _one_step(run, batches)
            metrics.write(values)
            accelerator.log(values, step=run.step)
            if on_step and accelerator.is_main_process:
                on_step(values)
            last = run.step == config.steps
            if last or run.step % config.save_every == 0:
                save_run(run, checkpoints)
            if fixed and (last or run.step % config.validate_every == 0):
                with memory_watched(recipe, config, "in validation images", "validate_samples: 1"):
                    _validate(run, fixed, folder)
    return Summary(run.step, resumed, checkpoints.of(run.step), data.samples, sum(data.left_out.values()))


def _one_step(run: Run, batches: Iterator[Batch]) -> dict[str, float]:
    """One step of the optimizer, and what it came to."""
    from accelerate.utils import set_seed

    config, accelerator, step = run.config, run.accelerator, run.step + 1
    began, waited = time.perf_counter(), 0.0
    set_seed(seed_of(config.seed, step, accelerator.process_index))
    run.optimizer.zero_grad(set_to_none=True)
    losses: list[dict[str, torch.Tensor]] = []
    keys: list[list[str]] = []
    for turn in range(config.accumulate):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        keys.append(batch["key"])
        with nullcontext() if turn == config.accumulate - 1 else _without_sums(run):
            losses.append(_backward(run, batch, step))
    means = _means(accelerator, losses)
    if not all(np.isfinite(value) for value in means.values()):
        raise no_number(accelerator, step, "loss", losses, keys)
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


def _without_sums(run: Run) -> AbstractContextManager[None]:
    """Inside, backward passes leave gradients apart: they are summed over the processes once a step, with its last."""
    return delayed_sums(run.module) if run.sharded else run.accelerator.no_sync(run.module)


def _backward(run: Run, batch: Batch, step: int) -> "dict[str, torch.Tensor]":
    """The losses of one forward pass, without their graph."""
    import torch

    with torch.no_grad():
        inputs = run.recipe.prepare(batch, Chance(run.config.seed, step, tuple(batch["key"])))
    with run.accelerator.autocast():
        losses = run.module(inputs)
    # Not `accelerator.backward`: it divides once more where accelerate was set up to accumulate.
    (losses["loss"] / run.config.accumulate).backward()
    return {name: value.detach().float() for name, value in losses.items()}


def _means(accelerator: "Accelerator", losses: "Sequence[Mapping[str, torch.Tensor]]") -> dict[str, float]:
    """Each loss over forward passes and processes."""
    import torch

    names = sorted(losses[0], key=lambda name: (name != "loss", name))
    table = torch.stack([torch.stack([each[name] for name in names]) for each in losses]).mean(0)
    together: Any = accelerator.reduce(table, "mean")
    return dict(zip(names, together.tolist(), strict=True))


def _peak_memory(accelerator: "Accelerator") -> dict[str, float]:
    import torch

    if accelerator.device.type != "cuda":
        return {}
    return {"memory_gb": torch.cuda.max_memory_allocated() / 1e9}


def _validate(run: Run, batch: Batch, folder: Path) -> None:
    """Images of the fixed samples, in samples/. All processes take part, since a module may lie in parts on them."""
    import torch

    run.module.eval()
    ready = usable(run.module) if run.sharded else nullcontext()
    with torch.no_grad(), run.accelerator.autocast(), averaged(run), ready:
        made = run.recipe.sample(run.plain, batch, run.config.seed)
    run.module.train()
    if run.accelerator.is_main_process:
        picture = write_sheet(folder / "samples" / f"{run.step:08d}.png", batch, made)
        show_picture(run.accelerator, picture, run.step)
