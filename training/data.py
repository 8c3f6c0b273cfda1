"""The batches of a run: the training stream, the held-out samples, and the user's own images."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from ..shards import stream
from ..shards.errors import BadInput
from ..shards.options import Options
from ..shards.streaming.places import has_split
from .config import OwnImage, TrainConfig
from .recipe import Batch, Batches, TrainingRecipe

OptionsT = TypeVar("OptionsT", bound=Options)
Shards = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_PASSED_ON: Final = ("threads", "prefetch", "on_error", "cache", "cache_bytes", "buckets", "one_per_family")


def open_batches(
    recipe: TrainingRecipe, config: TrainConfig, shards: Shards, split: str = "train", **options: Any
) -> Batches:
    """The stream of a recipe; `options` are further options of `shards.stream`.

    Raises BadInput if the shards lack members of the recipe (and `changed`, for `loss.changed_weight`); the message
    names them and what to build.
    """
    import torch

    chosen: dict[str, Any] = {
        "seed": config.seed,
        **config.data.model_dump(include={*_PASSED_ON}),
        **recipe.stream_options,
        **options,
    }
    if config.loss.changed_weight != 1:
        chosen["members"] = (*_members(recipe), "changed")
    if torch.cuda.is_available():
        from ..shards.streaming.loader import pinned

        chosen["allocate"] = pinned
    if opens := getattr(recipe, "open_stream", None):
        return opens(shards, split, chosen)
    return stream(shards, recipe.shards, split=split, **chosen)


def _members(recipe: TrainingRecipe) -> tuple[str, ...]:
    """The members of a recipe that can weigh edits. Raises BadInput for another recipe."""
    if not getattr(recipe, "weighs_edits", False):
        raise BadInput(f"recipe {recipe.name} cannot weigh what an edit changed: remove loss.changed_weight")
    return tuple(recipe.stream_options["members"])


def open_held_out(recipe: TrainingRecipe, config: TrainConfig, shards: Shards, **options: Any) -> Batches | None:
    """The stream of the split `data.validate_split`; None if no shards have it. Training samples are never among it.

    Of several sets, those without the split are left out.
    """
    split = config.data.validate_split
    urls = [shards] if isinstance(shards, str | os.PathLike) else list(shards)
    has = getattr(recipe, "has_split", None) or partial(has_split, recipe=recipe.shards)
    found = [os.fspath(url) for url in urls if has(os.fspath(url), split=split)]
    return open_batches(recipe, config, found if len(found) > 1 else found[0], split, **options) if found else None


def first_batch(data: Batches, count: int) -> Batch:
    """The first samples of a stream. All have one image size: there are fewer than `count` if no size has that many."""
    with closing(data.batches(min(count, data.largest_bucket))) as batches:
        return next(batches)


def first_training_samples(recipe: TrainingRecipe, config: TrainConfig, shards: Shards, count: int) -> Batch:
    """The first samples of the training order, the same in every process and after a resume; see `first_batch`."""
    return first_batch(open_batches(recipe, config, shards), count)


def sized(options: OptionsT, first: Callable[[int], Batch], multiple: int) -> OptionsT:
    """Options with the `width` and `height` of the images of a batch where they are 0.

    Raises BadInput if the images are no multiple of `multiple`.
    """
    given = options.model_dump(include={"width", "height"})
    if all(given.values()):
        return options
    height, width = first(1)["source"].shape[1:3]
    if height % multiple or width % multiple:
        raise BadInput(
            f"images of the shards are {width} x {height}, but this model needs multiples of {multiple}: build shards "
            "of such a size"
        )
    found = {"width": width, "height": height}
    return options.model_copy(update={name: value or found[name] for name, value in given.items()})


def own_batch(images: Sequence[OwnImage], size: tuple[int, int]) -> Batch:
    """A batch of the user's images, resized to cover `size` (height, width) and center-cropped to it.

    It holds `source`, `instruction` and `caption` (the same text), `key` (the file's name) and `valid`. Raises BadInput
    for a file that cannot be read.
    """
    from PIL import Image, ImageOps

    height, width = size
    sources: list[Any] = []
    for each in images:
        try:
            with Image.open(Path(each.image).expanduser()) as opened:
                upright = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, Image.DecompressionBombError) as error:
            raise BadInput(f"validate_images: {each.image} cannot be read as an image ({error})") from None
        sources.append(np.asarray(ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS)))
    texts = [each.instruction for each in images]
    keys = [Path(each.image).name for each in images]
    return {
        "source": np.stack(sources),
        "instruction": texts,
        "caption": texts,
        "key": keys,
        "valid": np.ones(len(keys), bool),
    }


def take(batch: Batch, rows: Sequence[int]) -> Mapping[str, Any]:
    """Some samples of a batch, in this order."""
    return {
        name: value[list(rows)] if isinstance(value, np.ndarray) else [value[row] for row in rows]
        for name, value in batch.items()
    }
