"""Implementation of `spatialdata train`: training from a configuration file, and images sampled from a checkpoint."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..shards.errors import BadInput
from ..shards.extras import require_all
from .checkpoint import best_weights, find_checkpoint, read_facts
from .config import TrainConfig, load_config, parse_config
from .data import Shards, first_batch, open_batches, open_held_out, take
from .encode import Encoded, OnProgress, encode
from .errors import explain_out_of_memory
from .loop import OnStep, Summary, train
from .recipe import Batch, Batches, TrainingRecipe
from .registry import get_recipe
from .sheets import write_sheet

if TYPE_CHECKING:
    import torch
    from torch import nn

_PACKAGES: Final = ("torch", "diffusers", "peft", "accelerate", "safetensors")


def run_train(
    name: str,
    shards: Sequence[str],
    out: str | Path,
    *,
    config: str | Path | None = None,
    preset: str = "",
    overrides: Sequence[str] = (),
    on_step: OnStep | None = None,
) -> Summary:
    """Train a recipe until its last step, resuming from the newest checkpoint in `out`; see `training.loop.train`.

    Raises BadInput for a configuration, shards or a checkpoint that cannot be used.
    """
    recipe, settings = read_run(name, config, preset, overrides)
    return train(recipe, settings, _one_or_more(shards), out, on_step)


def run_encode(
    name: str,
    shards: Sequence[str],
    out: str | Path,
    *,
    config: str | Path | None = None,
    preset: str = "",
    overrides: Sequence[str] = (),
    on_progress: OnProgress | None = None,
) -> Encoded:
    """Fill the cache that a run of these settings will read; see `training.encode.encode`.

    Raises BadInput for a configuration or shards that cannot be used, or a configuration without a cache.
    """
    recipe, settings = read_run(name, config, preset, overrides)
    return encode(recipe, settings, _one_or_more(shards), out, on_progress)


def read_run(
    name: str, config: str | Path | None = None, preset: str = "", overrides: Sequence[str] = ()
) -> tuple[TrainingRecipe, TrainConfig]:
    """A recipe by name and its configuration. Raises BadInput."""
    _check_packages()
    recipe_type = get_recipe(name)
    settings = load_config(recipe_type, config, preset, overrides)
    return _create(recipe_type, settings), settings


def run_sample(
    out: str | Path,
    shards: Sequence[str],
    *,
    to: str | Path = "",
    step: int | None = None,
    count: int = 8,
    split: str = "",
    seed: int = 0,
) -> Path:
    """Write an image with one row per sample: source, target, depth, and the predictions of a checkpoint's model.

    Uses the averaged weights if the checkpoint has them.

    Args:
        out: folder of the run.
        to: PNG to write; default: a file in samples/ of `out`.
        step: step of the checkpoint; default: the newest.
        split: split of the shards; default: that of the run's validation images.

    Raises BadInput if there is no such checkpoint, or the shards have no such split.
    """
    import torch

    _check_packages()
    folder = find_checkpoint(Path(out), step)
    facts = read_facts(folder)
    recipe_type = get_recipe(facts.recipe)
    settings = parse_config(recipe_type, facts.config, str(folder))
    recipe = _create(recipe_type, settings)
    batch = first_batch(_open_split(recipe, settings, _one_or_more(shards), split), count)
    if see := getattr(recipe, "see", None):
        see(partial(_first_of, batch))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with explain_out_of_memory(recipe, settings, "while sampling", "--count 1"):
        module = _load_trained(recipe, settings, folder, device)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            predictions = recipe.sample(module, batch, seed)
    path = Path(to) if to else Path(out) / "samples" / f"{facts.step:08d}-seed{seed}.png"
    write_sheet(path, batch, predictions)
    return path


def _first_of(batch: Batch, count: int) -> Batch:
    return take(batch, range(min(count, len(batch["key"]))))


def _open_split(recipe: TrainingRecipe, settings: TrainConfig, shards: Shards, split: str) -> Batches:
    if split:
        return open_batches(recipe, settings, shards, split, order="stored")
    found = open_held_out(recipe, settings, shards, order="stored")
    if found is None:
        raise BadInput(
            f"the shards have no split {settings.data.validate_split}: give the folder above the splits, or `--split "
            "train` for samples that the model was trained on"
        )
    return found


def _load_trained(recipe: TrainingRecipe, settings: TrainConfig, folder: Path, device: "torch.device") -> "nn.Module":
    import torch

    module = recipe.build(device, torch.bfloat16 if settings.precision == "bf16" else torch.float32)
    recipe.load(module, best_weights(folder))
    return module.to(device).eval()


def _create(recipe_type: type[TrainingRecipe], settings: TrainConfig) -> TrainingRecipe:
    options: Any = recipe_type.options_type.model_validate(settings.recipe)
    return recipe_type(options)


def _one_or_more(shards: Sequence[str]) -> Shards:
    if not shards:
        raise BadInput("no shards given: add --shards URL")
    return shards[0] if len(shards) == 1 else list(shards)


def _check_packages() -> None:
    require_all("training", _PACKAGES, "train")
