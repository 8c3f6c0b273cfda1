"""The training loop of all recipes. accelerate provides mixed precision and multiple processes.

Invariant: the weights after a step depend only on recipe, configuration, shards and step number. So a run that is
stopped anywhere and resumed equals an uninterrupted run bit for bit (on CPU; on a GPU if its kernels are
deterministic), and the loss curve depends only on the product of processes, batch_size and accumulate.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shards.errors import BadInput, SpatialdataError, Stopped
from .accelerator import open_accelerator
from .ahead import read_ahead
from .checkpoint import Checkpoints, lock_run, read_facts, what_to_do
from .config import TrainConfig
from .data import Shards, first_training_samples, open_batches
from .errors import explain_out_of_memory, nonfinite_error
from .flow import edit_weights
from .metrics import Metrics, check_logger, start_trackers
from .recipe import Batch, Batches, StepRng, TrainingRecipe
from .run import Run, samples_per_step, save_run, seed_of, start_run
from .sharding import no_gradient_sync
from .stop import StopRequest
from .validation import held_out_losses, open_validation, write_pictures

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

OnStep = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class Summary:
    """The result of a run."""

    step: int
    resumed: int
    """The step that it resumed from; 0 for a new run."""
    checkpoint: Path
    samples: int = 0
    """Samples that it trains on."""
    left_out: int = 0
    """Samples of the shards whose edit kind the recipe does not use."""
    lost: int = 0
    """Samples of this run that the recipe could not use, such as those whose red box is outside the crop."""
    stopped: str = ""
    """What ended it before its last step: `max_hours` or the name of a signal; see `training.stop`."""


def train(
    recipe: TrainingRecipe, config: TrainConfig, shards: Shards, out: str | Path, on_step: OnStep | None = None
) -> Summary:
    """Train until `config.steps`, from the newest checkpoint in `out` if there is one.

    Args:
        shards: as for `shards.stream`.
        out: a local folder, or one that all machines share; holds metrics.jsonl, checkpoints, samples and logs.
        on_step: called by the main process with the metrics of each step.

    Raises:
        BadInput: shards without the recipe's members, a checkpoint of another recipe or configuration, missing weights.
        SpatialdataError: a loss that is not finite (nothing of that step is saved), out of memory, or a full disk.
        Stopped: by a signal, without a checkpoint of its last step; see `training.stop`. The message says what is kept.
    """
    from accelerate.state import AcceleratorState

    check_logger(config.log)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--out {out} cannot be created: {error}") from error
    accelerator = open_accelerator(recipe, config, folder)
    stop = StopRequest(config.max_hours)
    try:
        with lock_run(folder) if accelerator.is_main_process else nullcontext(), stop:
            summary = _train(accelerator, recipe, config, shards, folder, stop, on_step)
    except BaseException as error:
        for tracker in accelerator.trackers:
            tracker.finish()
        if isinstance(error, KeyboardInterrupt) and stop.signal:
            raise Stopped(_kept(stop.signal, folder)) from None
        if isinstance(error, OSError):
            raise SpatialdataError(f"{folder}: {error}: {what_to_do(error)}") from error
        raise
    else:
        accelerator.end_training()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)  # pyright: ignore[reportPrivateUsage]
    return summary


def _kept(signal: str, folder: Path) -> str:
    """The message for a run that a signal ended without a checkpoint of its last step."""
    newest = Checkpoints(folder, keep=1).newest()
    if newest is None:
        return f"stopped by {signal}: nothing saved yet; rerun the command to start again"
    return f"stopped by {signal}: the last checkpoint is {newest}; rerun the command to resume from it"


def _train(
    accelerator: "Accelerator",
    recipe: TrainingRecipe,
    config: TrainConfig,
    shards: Shards,
    folder: Path,
    stop: StopRequest,
    on_step: OnStep | None,
) -> Summary:
    checkpoints = Checkpoints(folder, config.keep)
    found = checkpoints.newest()
    facts = read_facts(found) if found else None
    if facts and found:
        facts.check(recipe.name, config.model_dump(mode="json"), samples_per_step(config, accelerator), found)
    opened = open_batches(recipe, config, shards, rank=accelerator.process_index, world=accelerator.num_processes)
    data = read_ahead(recipe, opened)
    if facts:
        _resume_data(data, facts.data, folder)
    validation = open_validation(accelerator, recipe, config, shards)
    if see := getattr(recipe, "see", None):
        see(partial(first_training_samples, recipe, config, shards))
    resumed = facts.step if facts else 0
    start_trackers(accelerator, recipe.name, config, folder, resumed)  # before minutes of loading models: it may fail
    with explain_out_of_memory(recipe, config, "while loading models"):
        run = start_run(accelerator, recipe, config, data, found, resumed)
    stopped = ""
    with (
        Metrics(folder, resumed, write=accelerator.is_main_process) as metrics,
        closing(data.batches(config.batch_size, epochs=None, accumulate=config.accumulate)) as batches,
    ):
        if run.loaded:
            metrics.write({"step": 0, "init_from": config.init_from, "loaded": list(run.loaded)})
        stop.wait_for_steps()
        while run.step < config.steps and not stopped:
            with explain_out_of_memory(recipe, config, f"in step {run.step + 1}"):
                values = _one_step(run, batches)
            stopped = stop.reason(accelerator)
            last = run.step == config.steps
            due = config.validate_every and run.step % config.validate_every == 0 and not stopped
            validates = (config.validate_every and last) or due
            if validates and validation.held_out:
                with explain_out_of_memory(recipe, config, "in the held-out loss", "validate_loss_samples: 0"):
                    values |= held_out_losses(run, validation.held_out)
            metrics.write(values)
            accelerator.log(values, step=run.step)
            if on_step and accelerator.is_main_process:
                on_step(values)
            if last or stopped or run.step % config.save_every == 0:
                save_run(run, checkpoints)
            if validates and validation.pictures:
                with explain_out_of_memory(recipe, config, "while making validation images", "validate_samples: 1"):
                    write_pictures(run, validation.pictures, folder)
    stopped = "" if run.step == config.steps else stopped
    left_out, lost = sum(data.left_out.values()), _count_lost(accelerator, data)
    return Summary(run.step, resumed, checkpoints.of(run.step), data.samples, left_out, lost, stopped)


def _count_lost(accelerator: "Accelerator", data: Batches) -> int:
    """Number of the samples that some process could not use."""
    from accelerate.utils import gather_object

    keys = sorted(getattr(data, "lost", ()))
    return len({*(gather_object(keys) if accelerator.num_processes > 1 else keys)})


def _resume_data(data: Batches, state: Mapping[str, Any], folder: Path) -> None:
    """Restore the position in the data. Raises BadInput if the shards are not those of the run."""
    try:
        data.load_state_dict(state)
    except BadInput as error:
        raise BadInput(
            f"{folder} cannot resume on these shards, since it began on others ({error}): give the same shards as "
            f"before, or train on the new ones from its weights, with another --out and `--set init_from={folder}`"
        ) from None


def _one_step(run: Run, batches: Iterator[Batch]) -> dict[str, float]:
    """Take one optimizer step; returns its metrics."""
    from accelerate.utils import set_seed

    config, accelerator, step = run.config, run.accelerator, run.step + 1
    began = time.perf_counter()
    set_seed(seed_of(config.seed, step, accelerator.process_index))
    run.optimizer.zero_grad(set_to_none=True)
    parts = list(islice(batches, config.accumulate))
    waited = time.perf_counter() - began
    valid = _count_valid(accelerator, parts)
    losses: list[dict[str, torch.Tensor]] = []
    for index, batch in enumerate(parts):
        with nullcontext() if index == config.accumulate - 1 else _no_gradient_sync(run):
            losses.append(_backward(run, batch, step, valid))
    means = _sums(accelerator, losses)
    keys = [batch["key"] for batch in parts]
    if not all(np.isfinite(value) for value in means.values()):
        raise nonfinite_error(accelerator, step, "loss", losses, keys)
    norm = accelerator.clip_grad_norm_(run.parameters, config.clip or float("inf"))
    norm = float(norm) if norm is not None else 0.0
    if not np.isfinite(norm):
        raise nonfinite_error(accelerator, step, "gradient", losses, keys)
    rate = run.schedule.get_last_lr()[0]
    run.optimizer.step()
    run.schedule.step()
    if run.ema:
        run.ema.step(run.parameters)
    run.step = step
    seconds = time.perf_counter() - began
    metrics = {"step": step, **means, "lr": rate, "grad_norm": norm, "seconds": seconds, "waiting": waited / seconds}
    return metrics | _peak_memory(accelerator)


def _no_gradient_sync(run: Run) -> AbstractContextManager[None]:
    """Inside, backward passes do not reduce gradients across processes; only the last pass of a step does."""
    return no_gradient_sync(run.module) if run.sharded else run.accelerator.no_sync(run.module)


def _count_valid(accelerator: "Accelerator", batches: Sequence[Batch]) -> int:
    """Number of valid samples of a step in all processes; at least 1."""
    import torch

    count = sum(int(np.count_nonzero(batch["valid"])) for batch in batches)
    reduced: Any = accelerator.reduce(torch.tensor(count, device=accelerator.device), "sum")
    return max(1, int(reduced))


def _backward(run: Run, batch: Batch, step: int, valid: int) -> "dict[str, torch.Tensor]":
    """One forward and backward pass; returns its part of the step's losses, detached.

    The part is the sum over the valid samples of this pass, divided by the `valid` samples of the step. So a step does
    not depend on how its samples are divided into passes and processes, nor on which of them are damaged.
    """
    import torch

    with torch.no_grad():
        inputs = run.recipe.prepare(batch, StepRng(run.config.seed, step, tuple(batch["key"])))
    if (changed := inputs.pop("changed", None)) is not None:
        inputs["weight"] = edit_weights(changed, run.config.loss.changed_weight)
    with run.accelerator.autocast():
        losses = run.module(inputs)
    parts = {name: valid_sum(value, batch["valid"]) / valid for name, value in losses.items()}
    # Not `accelerator.backward`: it divides again if accelerate is configured for gradient accumulation. Gradients are
    # averaged over the processes, not added.
    (parts["loss"] * run.accelerator.num_processes).backward()
    return {name: value.detach() for name, value in parts.items()}


def valid_sum(losses: "torch.Tensor", valid: Any) -> "torch.Tensor":
    """The sum of losses (B,) over the `valid` (B,) samples; of (k B,) over the means of the k rows of each sample."""
    import torch

    rows = losses.float().view(-1, len(valid)).mean(0)
    return rows.where(torch.as_tensor(np.array(valid), device=rows.device), 0).sum()


def _sums(accelerator: "Accelerator", losses: "Sequence[Mapping[str, torch.Tensor]]") -> dict[str, float]:
    """The sum of each loss over forward passes and processes."""
    import torch

    names = sorted(losses[0], key=lambda name: (name != "loss", name))
    table = torch.stack([torch.stack([each[name] for name in names]) for each in losses]).sum(0)
    reduced: Any = accelerator.reduce(table, "sum")
    return dict(zip(names, reduced.tolist(), strict=True))


def _peak_memory(accelerator: "Accelerator") -> dict[str, float]:
    import torch

    if accelerator.device.type != "cuda":
        return {}
    return {"memory_gb": torch.cuda.max_memory_allocated() / 1e9}
