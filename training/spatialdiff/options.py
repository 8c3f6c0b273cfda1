"""What a SpatialDiff run can be told.

Invariant: the defaults are the paper's, and where it is silent the field says so.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from ...shards.options import Options
from ..flow import TimeLaw

Ablation = Literal["lora_only", "ism", "explicit_depth", "latent_depth"]
"""The rows of the paper's ablation, each with what it adds to the one before: LoRA alone; the spatial tokens; a depth
loss on pixels; instead of it one on latents, which is the full method."""
TINY: Final = "tiny"
"""As a model's id: a random one of the real class, made in memory."""


class GeometrySection(Options):
    """The frozen encoder that reads the source image."""

    model: str = "facebook/VGGT-1B"
    """Hub id, folder or file of VGGT's weights, or `tiny`. For commercial use `facebook/VGGT-1B-Commercial` (gated)."""
    revision: str = ""
    side: int = Field(default=518, ge=14, multiple_of=14)
    """The longer side that it sees, pixels; 518 makes 5 + 37 * 37 tokens of a square image."""


class ConnectorSection(Options):
    """Eq. 4-5. Its queries are as many as the target has tokens: 1024 at 512 x 512."""

    layers: int = Field(default=8, ge=1)
    heads: int = Field(default=1, ge=1)
    """1 is eq. 4 to the letter; it must divide the transformer's width."""
    feed_forward: int = Field(default=0, ge=0)
    """Width of an MLP after each attention, in multiples of the transformer's; 0: none, as in the paper's equations."""


class LoraSection(Options):
    """On the eight projections of each attention of the transformer."""

    rank: int = Field(default=64, ge=1)
    alpha: float = Field(default=64, gt=0)


class SpatialDiffOptions(Options):
    """The recipe's own section of a training configuration."""

    base: str = "black-forest-labs/FLUX.1-Kontext-dev"
    """Hub id or folder in diffusers' layout, or `tiny`."""
    revision: str = ""
    stage: Literal[1, 2] = 2
    """1 trains the connector alone (eq. 9), 2 also LoRA and depth head (eq. 10)."""
    init: str = ""
    """For stage 2: the folder that stage 1 saved, for its connector."""
    ablation: Ablation = "latent_depth"
    depth_weight: float = Field(default=0.01, ge=0)
    """Lambda of eq. 10."""
    width: int = Field(default=512, ge=16, multiple_of=16)
    height: int = Field(default=512, ge=16, multiple_of=16)
    """Of the shards' images, pixels."""
    geometry: GeometrySection = GeometrySection()
    connector: ConnectorSection = ConnectorSection()
    lora: LoraSection = LoraSection()
    times: TimeLaw = "logit_normal"
    """How t is drawn; our choice."""
    time_shift: float = Field(default=1.0, gt=0)
    guidance: float = Field(default=1.0, ge=0)
    """What the guidance-distilled base is told in training; our choice."""
    instruction: Literal["text", "any"] = "text"
    """The sample's own instruction, or any of its variants, another each epoch."""
    text_tokens: int = Field(default=512, ge=1)
    """T5's length; longer instructions are cut."""
    cache: str = ""
    """Folder for latents and text embeddings; empty: none."""
    cache_bytes: int = Field(default=100 << 30, ge=1)
    sample_steps: int = Field(default=28, ge=1)
    sample_guidance: float = Field(default=2.5, ge=0)

    @model_validator(mode="after")
    def _something_trains(self) -> Self:
        if self.stage == 1 and self.ablation == "lora_only":
            raise ValueError("ablation lora_only has no connector, so stage 1 has nothing to train: set stage to 2")
        if self.stage == 1 and self.init:
            raise ValueError("init is the result of stage 1, for stage 2: set stage to 2, or leave init out")
        if self.init and not self.spatial:
            raise ValueError("init brings a connector, and ablation lora_only has none: leave init out")
        return self

    @property
    def spatial(self) -> bool:
        """Whether spatial tokens join the sequence."""
        return self.ablation != "lora_only"

    @property
    def depth_loss(self) -> Literal["", "explicit", "latent"]:
        """What the spatial tokens are held to: nothing, depth in pixels, or its latents."""
        if self.stage == 1 or self.ablation not in ("explicit_depth", "latent_depth"):
            return ""
        return "explicit" if self.ablation == "explicit_depth" else "latent"


TINY_RECIPE: Final[Mapping[str, Any]] = {
    "base": TINY,
    "width": 256,
    "height": 256,
    "geometry": {"model": TINY, "side": 56},
    "lora": {"rank": 16, "alpha": 16},
    "text_tokens": 128,
    "sample_steps": 4,
}
"""The section `recipe` of the preset `tiny`: random models of the real classes that train on a CPU."""
