"""Helpers of the I-LDM tests: real batches, tiny recipes, a minimal training loop."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from spatialdata_builder.shards import stream
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.ildm.options import PRESETS, IldmOptions
from spatialdata_builder.training.ildm.recipe import Ildm
from spatialdata_builder.training.ildm.tiny import tiny_part
from spatialdata_builder.training.recipe import StepRng
from tests.shards.factory import make_sample, make_split

torch.set_num_threads(1)
SIDE = 32
CPU = torch.device("cpu")


def tiny(**changes: Any) -> IldmOptions:
    both = {"views": ("source", "target")}
    return IldmOptions.model_validate({**PRESETS["tiny"]["recipe"], **both, **changes})


def make_shards(folder: Path, count: int = 8) -> str:
    """A folder with `count` training samples and two held-out ones."""
    for split, number in (("train", count), ("val", 2)):
        keys = [f"{split}-{index}" for index in range(number)]
        samples = {key: make_sample(key, side=SIDE, split=split) for key in keys}
        make_split(str(folder / split), [keys], split=split, recipe=get_recipe("ildm"), changes=samples)
    return str(folder)


def first_batch(url: str, recipe: Ildm, size: int) -> dict[str, Any]:
    return next(stream(url, recipe.shards, **recipe.stream_options).batches(size))


def first_of(url: str, recipe: Ildm) -> Callable[[int], dict[str, Any]]:
    """What the loop gives `Ildm.see`, of a few samples."""
    return lambda count: first_batch(url, recipe, min(count, 4))


def save_tiny(folder: Path, **parts: Any) -> None:
    """The base `tiny` as a folder in diffusers' layout; `parts` replace its own."""
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        parts.get(name, tiny_part(name)).save_pretrained(folder / name)


def rng_of(batch: dict[str, Any], step: int = 0) -> StepRng:
    return StepRng(0, step, tuple(batch["key"]))


def train(recipe: Ildm, batch: dict[str, Any], steps: int, lr: float) -> tuple[Any, list[float]]:
    """Train on one batch with fixed noise; returns the module and the loss of each step."""
    module = recipe.build(CPU, torch.float32)
    inputs = recipe.prepare(batch, rng_of(batch))
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr)
    losses: list[float] = []
    for _ in range(steps):
        loss = module(inputs)["loss"].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return module, losses
