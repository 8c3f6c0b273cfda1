"""Validation of a run on held-out samples: the loss at fixed times and noise, and images of predictions.

Invariant: the work is divided over the processes, and the results do not depend on their number. Only samples of the
split `data.validate_split` and images of the user's are used, never training samples.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Generator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shards.errors import BadInput
from .config import TrainConfig
from .data import Shards, first_batch, open_batches, open_held_out, own_batch, take
from .metrics import show_picture
from .recipe import Batch, Batches, StepRng, TrainingRecipe
from .run import Run, ema_weights
from .sharding import unsharded_module
from .sheets import write_sheet

if TYPE_CHECKING:
    from accelerate import Accelerator

Row = tuple[str, str, float]
"""Name of a value, `edit` kind of its sample, and the value."""


@dataclass(frozen=True)
class Validation:
    """What a run is validated on.

    Args:
        held_out: stream of this process's share; None without a held-out loss.
        pictures: batches of validation images by the suffix of their files.
    """

    held_out: Batches | None
    pictures: Mapping[str, Batch]


def open_validation(
    accelerator: "Accelerator", recipe: TrainingRecipe, config: TrainConfig, shards: Shards
) -> Validation:
    """Open the held-out samples. A set without that split is logged, since it has no held-out loss.

    Raises BadInput for a key that the split lacks, or an image that cannot be read.
    """
    if not config.validate_every:
        return Validation(None, {})
    pictures: dict[str, Batch] = {}
    if config.validate_images and not getattr(recipe, "timed", True):
        raise BadInput("this phase reconstructs maps, and images alone have none: remove validate_images")
    if config.validate_images:
        height, width = first_batch(open_batches(recipe, config, shards, order="stored"), 1)["source"].shape[1:3]
        pictures["-own"] = own_batch(config.validate_images, (height, width))
    stored = open_held_out(recipe, config, shards, order="stored")
    if stored is None:
        if accelerator.is_main_process:
            logging.getLogger(__name__).warning(
                "the shards have no split %s: there is no held-out loss and there are no validation images of samples; "
                "give the folder above the splits, or build with shard.splits",
                config.data.validate_split,
            )
        return Validation(None, pictures)
    if config.validate_keys:
        pictures[""] = stored.pick(config.validate_keys)
    elif config.validate_samples:
        pictures[""] = first_batch(stored, config.validate_samples)
    rank, world = accelerator.process_index, accelerator.num_processes
    wanted = bool(config.validate_loss_samples)
    return Validation(open_loss_samples(recipe, config, shards, rank, world) if wanted else None, pictures)


def held_out_losses(run: Run, data: Batches) -> dict[str, float]:
    """The losses of held-out samples, averaged over samples and times; collective.

    Times are (k + 0.5) / n for n = `validate_times`. Noise depends only on the seed and the sample. With an average of
    the weights, they are the averaged ones.

    Returns:
        `val/loss` and its parts; `val/loss/t=0.1`, ... by time; `val/loss/translate`, ... by edit kind; and the means
        of the recipe's `validation_metrics`.
    """
    import torch
    from accelerate.utils import gather_object

    config, accelerator = run.config, run.accelerator
    count = config.validate_times if getattr(run.recipe, "timed", True) else 1
    rows: list[Row] = []
    run.module.eval()
    drawn = first_loss_samples(data, config, config.batch_size, accelerator.process_index, accelerator.num_processes)
    with torch.no_grad(), ema_weights(run), closing(drawn):
        for batch, kept in drawn:
            for time in ((k + 0.5) / count for k in range(count)):
                inputs = run.recipe.prepare(batch, StepRng(config.seed, 0, tuple(batch["key"]), time))
                inputs.pop("changed", None)  # the held-out loss has no weights, so that runs can be compared
                with accelerator.autocast():
                    losses = run.module(inputs)
                values = {name: value.float().view(-1, len(kept)).mean(0) for name, value in losses.items()}
                rows += _rows({f"val/{name}": value.tolist() for name, value in values.items()}, batch, kept)
                if count > 1:
                    rows += _rows({f"val/loss/t={time:g}": values["loss"].tolist()}, batch, kept, kinds=False)
            measured = _rows(_recipe_metrics(run, batch), batch, kept, kinds=False)
            rows += [row for row in measured if not math.isnan(row[2])]  # such as errors of depth that is not known
    run.module.train()
    if accelerator.num_processes > 1:
        rows = gather_object(rows)
    found: defaultdict[str, list[float]] = defaultdict(list)
    for name, kind, value in sorted(rows):  # sorted: the order of a sum must not depend on the number of processes
        found[name].append(value)
        if name == "val/loss" and kind:
            found[f"val/loss/{kind}"].append(value)
    return {name: float(np.mean(found[name])) for name in sorted(found)}


def open_loss_samples(
    recipe: TrainingRecipe, config: TrainConfig, shards: Shards, rank: int, world: int, **options: Any
) -> Batches | None:
    """The stream for `first_loss_samples`; None if the shards have no held-out samples.

    The order of buckets depends on the number of processes, so there each process reads all samples.
    """
    share = {"rank": 0, "world": 1} if config.data.buckets else {"rank": rank, "world": world}
    return open_held_out(recipe, config, shards, last="pad", **share, **options)


def first_loss_samples(
    data: Batches, config: TrainConfig, size: int, rank: int, world: int
) -> Generator[tuple[Batch, list[bool]]]:
    """A process's batches of the first `validate_loss_samples` of a stream, and which of their samples count.

    All processes get equally many batches, and together the same samples for every `size` and number of processes.
    """
    samples, before = config.validate_loss_samples, 0
    data.begin(0)
    with closing(data.batches(1 if config.data.buckets else size)) as batches:
        while before < samples:
            if config.data.buckets:
                group = list(islice(batches, min(world, samples - before)))
                if not group:
                    return
                yield group[rank % len(group)], [rank < len(group)]
                before += len(group)
                continue
            batch = next(batches, None)
            if batch is None:
                return
            numbers = before + rank * size + np.arange(size)
            yield batch, (np.asarray(batch["valid"]) & (numbers < samples)).tolist()
            before += size * world


def _rows(values: Mapping[str, Any], batch: Batch, kept: list[bool], *, kinds: bool = True) -> list[Row]:
    edits = batch["edit"] if kinds else [""] * len(kept)
    return [
        (name, edit, float(value))
        for name, each in values.items()
        for edit, value, keep in zip(edits, each, kept, strict=True)
        if keep
    ]


def _recipe_metrics(run: Run, batch: Batch) -> dict[str, Any]:
    measure = getattr(run.recipe, "validation_metrics", None)
    if measure is None:
        return {}
    with run.accelerator.autocast(), unsharded_module(run.module) if run.sharded else nullcontext():
        return {f"val/{name}": values for name, values in measure(run.plain, batch, run.config.seed).items()}


def write_pictures(run: Run, pictures: Mapping[str, Batch], folder: Path) -> None:
    """Write images of predictions to samples/; collective: each process predicts some of the samples."""
    import torch

    run.module.eval()
    unsharded = unsharded_module(run.module) if run.sharded else nullcontext()
    with torch.no_grad(), run.accelerator.autocast(), ema_weights(run), unsharded:
        predicted = {suffix: _predict(run, batch) for suffix, batch in pictures.items()}
    run.module.train()
    if run.accelerator.is_main_process:
        for suffix, predictions in predicted.items():
            picture = write_sheet(folder / "samples" / f"{run.step:08d}{suffix}.png", pictures[suffix], predictions)
            show_picture(run.accelerator, picture, f"samples{suffix}", run.step)


def _predict(run: Run, batch: Batch) -> dict[str, Any]:
    from accelerate.utils import gather_object

    rank, world, count = run.accelerator.process_index, run.accelerator.num_processes, len(batch["key"])
    share = -(-count // world)  # the same in all processes, since a sharded module needs them all in each call
    rows = [(rank * share + i) % count for i in range(share)]
    own = dict(run.recipe.sample(run.plain, take(batch, rows), run.config.seed))
    parts: list[dict[str, Any]] = gather_object([own]) if world > 1 else [own]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts])[:count] for name in own}
