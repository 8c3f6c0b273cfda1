"""How much the image domain looks at the intrinsic one while sampling: the weight schedules of I-LDM, eq. 2 and 3.

Invariant: a weight w ≥ 0 multiplies the attention that image queries pay to intrinsic columns (log w is added to their
logits): 1 is training's attention, 0 is the base model's. Time runs from 1000 (noise) to 0.

Blocks of the UNet are numbered from 1, down, middle, up. SD2.1 has nine: down 1-4, middle 5, up 6-9. The paper says
L = {3..7} without saying what is counted; so read, L is the inner blocks, symmetric about the middle.
"""

import math
from typing import Annotated, Literal

from pydantic import Field

from ...shards.options import Options


class Drop(Options):
    """Eq. 2: the inner blocks look at the intrinsics, once the layout stands."""

    kind: Literal["drop"] = "drop"
    tau: float = 900
    blocks: tuple[int, ...] = (3, 4, 5, 6, 7)

    def weight(self, block: int, time: float) -> float:
        """w = 1 if block ∈ L and t ≤ τ, else 0."""
        return 1.0 if block in self.blocks and time <= self.tau else 0.0


class Gaussian(Options):
    """Eq. 3: all blocks, most of all about one time."""

    kind: Literal["gaussian"] = "gaussian"
    alpha: float = Field(default=1, ge=0)
    tau: float = 800
    sigma: float = Field(default=100, gt=0)

    def weight(self, block: int, time: float) -> float:
        """w = α · exp(−(t − τ)² / σ²)."""
        return self.alpha * math.exp(-(((time - self.tau) / self.sigma) ** 2))


class Constant(Options):
    """One weight throughout: 1 as in training, 0 for images of the base model."""

    kind: Literal["constant"] = "constant"
    value: float = Field(default=1, ge=0)

    def weight(self, block: int, time: float) -> float:
        return self.value


Schedule = Annotated[Drop | Gaussian | Constant, Field(discriminator="kind")]
