"""What can be set of the SpatialEdit recipe, and its presets."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from ...shards.options import Options
from ..flow import TimeLaw

TINY: Final = "tiny"
"""The model that is made on the spot, with random weights."""


class SpatialEditOptions(Options):
    """The section `recipe` of a configuration."""

    model: str = Field(
        default="jdopensource/JoyAI-Image-Edit-Diffusers",
        min_length=1,
        description="a diffusers pipeline: its id on the hub or its folder; or `tiny`, which is random",
    )
    revision: str = Field(default="", description="of the hub's repository; empty: its main branch")
    weights: str = Field(
        default="",
        description="a file with the transformer's weights in place of the model's, such as SpatialEdit's own; under "
        "diffusers' names or the published ones",
    )
    theta: int = Field(
        default=0,
        ge=0,
        description="of `weights`, which do not tell the base of their rotary embedding: 256 for SpatialEdit's, 10000 "
        "for JoyAI's",
    )
    merge: str = Field(
        default="", description="a PEFT folder that is merged into the transformer first, such as SpatialEdit's LoRA"
    )
    layout: Literal["shards", "published"] = Field(
        default="shards", description="of the data: this project's, or tars as SpatialEdit published them"
    )
    side: int = Field(
        default=0,
        ge=0,
        multiple_of=16,
        description="images are scaled and cut to squares of this many pixels; 0: as stored",
    )
    wording: Literal["bench", "stored"] = Field(
        default="bench",
        description="of this project's shards: the bench's, with its red box on the source, or the stored instructions",
    )
    instruction: Literal["text", "any"] = Field(
        default="text", description="of stored instructions: the text, or any of its variants"
    )
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=16, ge=1)
    text_drop: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="share of samples with an empty instruction (the image stays), for guidance",
    )
    shift: float = Field(default=1.5, gt=0, description="of the time steps, towards noise")
    times: TimeLaw = "logit_normal"
    times_mean: float = Field(default=0.0, description="of the logit-normal law")
    times_std: float = Field(default=1.0, gt=0)
    cache: str = Field(default="", description="folder for latents and text embeddings; empty: none are kept")
    cache_bytes: int = Field(default=100 << 30, ge=1)
    sample_steps: int = Field(default=40, ge=1)
    guidance: float = Field(default=4.0, ge=1)

    @model_validator(mode="after")
    def _theta_of_weights(self) -> "SpatialEditOptions":
        if bool(self.weights) != bool(self.theta):
            raise ValueError("weights and theta go together: theta is 256 for SpatialEdit's file, 10000 for JoyAI's")
        return self


PRESETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "paper": {"lr": 1e-4, "betas": [0.9, 0.95], "warmup": 100, "clip": 1.0},
        TINY: {
            "steps": 40,
            "batch_size": 4,
            "precision": "no",
            "gradient_checkpointing": False,
            "lr": 5e-3,
            "warmup": 0,
            "validate_every": 0,
            "recipe": {"model": TINY, "side": 64, "sample_steps": 4},
        },
    }
)
