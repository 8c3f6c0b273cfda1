"""A batch of pairs as a batch of images: the chosen views one after the other, each with its caption and maps.

Invariant: random values are drawn for each image from the generators of its sample, with the view as part of the
purpose. So source and target of a pair have independent noise, which does not depend on other samples of the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...shards.errors import BadInput
from ..recipe import Batch, StepRng
from .maps import Floats, ViewName
from .options import IldmOptions

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Views:
    """The images of one batch: n = views x pairs rows, in the order of `options.views`."""

    batch: Batch
    options: IldmOptions

    def pictures(self) -> Floats:
        """float32 (n, 3, H, W) in [-1, 1]."""
        found = [np.asarray(self._member(view)) for view in self.options.views]
        stack = np.concatenate(found).astype(np.float32) / 127.5 - 1
        return np.ascontiguousarray(stack.transpose(0, 3, 1, 2))

    def maps(self) -> Floats:
        """float32 (n, channels, H, W) in [-1, 1]."""
        return np.concatenate([self.options.layout.pack(self.batch, view) for view in self.options.views])

    def captions(self) -> list[str]:
        """One caption per image. Raises BadInput for an empty one, unless `empty_captions` is `unconditional`."""
        found: list[str] = []
        for view in self.options.views:
            name = "caption" if view == "target" else "source_caption"
            for key, text in zip(self.batch["key"], self.batch[name], strict=True):
                if not text.strip() and self.options.empty_captions == "refuse":
                    raise BadInput(
                        f"sample {key} has no {name}: build captions (layer instruction), remove '{view}' from "
                        "recipe.views, or set recipe.empty_captions: unconditional to train such images without text"
                    )
                found.append(text)
        return found

    def draw(self, one: "Callable[[str], torch.Tensor]", purpose: str) -> "torch.Tensor":
        """Random numbers (n, ...) for all images; `one` draws them for a purpose, such as `StepRng.uniform`."""
        import torch

        return torch.cat([one(f"{purpose} {view}") for view in self.options.views])

    def normal(self, rng: StepRng, shape: tuple[int, ...], purpose: str) -> "torch.Tensor":
        """Standard normal float32 (n, *shape), on the CPU."""
        return self.draw(lambda named: rng.normal(shape, named), purpose)

    def check_size(self, multiple: int) -> tuple[int, int]:
        """Height and width. Raises BadInput if they do not match `resolution` or are not multiples of `multiple`."""
        member = f"{'source_' if self.options.views[0] == 'source' else ''}{self.options.maps[0]}"
        member = member if member in self.batch else "source"  # a batch of the user's own images has no maps
        height, width = np.asarray(self.batch[member]).shape[1:3]
        side = self.options.resolution
        if side and (height, width) != (side, side):
            raise BadInput(
                f"images of the shards are {width} x {height}, but recipe.resolution is {side}: set it to their side "
                "(0 accepts any), or build shards of that size"
            )
        if height % multiple or width % multiple:
            raise BadInput(
                f"images of the shards are {width} x {height}, but this model needs sides that are multiples of "
                f"{multiple}: build shards of such a size"
            )
        return height, width

    def _member(self, view: ViewName) -> object:
        if view not in self.batch:
            raise BadInput(f"I-LDM needs {view}: pack recipe ildm, or remove the view from recipe.views")
        return self.batch[view]
