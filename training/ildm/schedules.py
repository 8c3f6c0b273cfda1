"""Weight schedules for the attention from the image domain to the intrinsic domain while sampling: I-LDM, eq. 2 and 3.

Invariant: a weight w ≥ 0 scales the attention of image queries to intrinsic columns (log w is added to the logits). 1
is the attention of training, 0 that of the base model. Time runs from 1000 (noise) to 0.

Blocks are numbered from 1. Those of a UNet: down, middle, up. SD2.1 has nine: down 1-4, middle 5, up 6-9. The paper
gives L = {3..7} without defining the numbering; with this one, L is the inner blocks, symmetric around the middle. Our
reading for other networks: L leaves out the same share, 2/9, at each end. That is {3, 4, 5} of SDXL's seven blocks, and
{7..22} of PixArt's 28 transformer blocks.
"""

import math
from typing import Annotated, Literal

from pydantic import Field

from ...shards.options import Options


class Drop(Options):
    """Eq. 2: only inner blocks attend to the intrinsics, and only at times up to τ, when the layout is settled."""

    kind: Literal["drop"] = "drop"
    tau: float = 900
    blocks: tuple[int, ...] | None = None
    """L; null: {3..7} of nine blocks, and the same share of any other number."""

    def weight(self, block: int, time: float, blocks: int) -> float:
        """w = 1 if block ∈ L and t ≤ τ, else 0. `blocks` is the number of blocks of the network."""
        return (
            1.0 if block in (inner_blocks(blocks) if self.blocks is None else self.blocks) and time <= self.tau else 0.0
        )


class Gaussian(Options):
    """Eq. 3: all blocks attend to the intrinsics, with a Gaussian weight around time τ."""

    kind: Literal["gaussian"] = "gaussian"
    alpha: float = Field(default=1, ge=0)
    tau: float = 800
    sigma: float = Field(default=100, gt=0)

    def weight(self, block: int, time: float, blocks: int) -> float:
        """w = α · exp(−(t − τ)² / σ²)."""
        return self.alpha * math.exp(-(((time - self.tau) / self.sigma) ** 2))


class Constant(Options):
    """A constant weight: 1 as in training, 0 for images of the base model."""

    kind: Literal["constant"] = "constant"
    value: float = Field(default=1, ge=0)

    def weight(self, block: int, time: float, blocks: int) -> float:
        return self.value


def inner_blocks(blocks: int) -> range:
    """All of 1..blocks but the outer 2/9 at each end: {3..7} of nine."""
    outer = round(blocks * 2 / 9)
    return range(1 + outer, blocks - outer + 1)


Schedule = Annotated[Drop | Gaussian | Constant, Field(discriminator="kind")]
