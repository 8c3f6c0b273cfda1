"""A batch of pairs as a batch of pictures: the chosen views one after the other, each with its caption and maps.

Invariant: what is random is drawn for each picture from its own sample's generators, with the view in the purpose. So
the source of a pair and its target have noise of their own, and neither depends on its neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...shards.errors import BadInput
from ..recipe import Batch, Chance
from .maps import Floats, ViewName
from .options import IldmOptions

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Views:
    """The pictures of one batch: n = views x pairs rows, in the order of `options.views`."""

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
        """One a picture. Raises BadInput for an empty one, unless those are trained without text."""
        found: list[str] = []
        for view in self.options.views:
            name = "caption" if view == "target" else "source_caption"
            for key, text in zip(self.batch["key"], self.batch[name], strict=True):
                if not text.strip() and self.options.empty_captions == "refuse":
                    raise BadInput(
                        f"sample {key} has no {name}: build captions (layer instruction), leave view '{view}' out, or "
                        "set empty_captions: unconditional to train such pictures without text"
                    )
                found.append(text)
        return found

    def valid(self) -> "torch.Tensor":
        """float32 (n,): 0 where a slot was padded or skipped."""
        import torch

        return torch.from_numpy(np.asarray(self.batch["valid"], np.float32)).repeat(len(self.options.views))

    def draw(self, one: "Callable[[str], torch.Tensor]", purpose: str) -> "torch.Tensor":
        """`one` is a drawing of `Chance` for a purpose: its numbers (n, ...) for all pictures."""
        import torch

        return torch.cat([one(f"{purpose} {view}") for view in self.options.views])

    def normal(self, chance: Chance, shape: tuple[int, ...], purpose: str) -> "torch.Tensor":
        """Standard normal float32 (n, *shape), on the CPU."""
        return self.draw(lambda named: chance.normal(shape, named), purpose)

    def check_size(self, multiple: int) -> tuple[int, int]:
        """Height and width. Raises BadInput where pictures have not the configured size, or one that models take."""
        member = f"{'source_' if self.options.views[0] == 'source' else ''}{self.options.maps[0]}"
        height, width = np.asarray(self.batch[member]).shape[1:3]
        side = self.options.resolution
        if side and (height, width) != (side, side):
            raise BadInput(
                f"pictures of the shards are {width} x {height}, resolution is {side}: set resolution to their side (0 "
                "takes any), or build shards of that size"
            )
        if height % multiple or width % multiple:
            raise BadInput(f"pictures are {width} x {height}: this model takes sides that are multiples of {multiple}")
        return height, width

    def _member(self, view: ViewName) -> object:
        if view not in self.batch:
            raise BadInput(f"I-LDM needs {view}: pack recipe ildm, or leave the view out of its options")
        return self.batch[view]
