"""The options of the SpatialEdit recipe, and its presets."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from ...shards.options import Options
from ..flow import TimeDistribution
from ..quantization import Quantization

TINY: Final = "tiny"
"""Model id of a small model with random weights, created in memory."""


class SpatialEditOptions(Options):
    """The section `recipe` of a configuration."""

    model: str = Field(
        default="jdopensource/JoyAI-Image-Edit-Diffusers",
        min_length=1,
        description="hub id or folder of a diffusers pipeline, or `tiny` for random weights",
    )
    revision: str = Field(default="", description="revision of the hub repository; empty: its main branch")
    weights: str = Field(
        default="",
        description="file with transformer weights to use instead of the model's, such as SpatialEdit's; with "
        "diffusers' or the published names",
    )
    theta: int = Field(
        default=0,
        ge=0,
        description="RoPE theta of `weights`, which is not in the file: 256 for SpatialEdit's, 10000 for JoyAI's",
    )
    merge: str = Field(
        default="", description="PEFT folder to merge into the transformer before training, such as SpatialEdit's LoRA"
    )
    layout: Literal["shards", "published"] = Field(
        default="shards", description="data layout: shards of this project, or tars in SpatialEdit's published layout"
    )
    side: int = Field(
        default=0,
        ge=0,
        multiple_of=16,
        description="resize and crop images to squares of this side in pixels; 0: as stored",
    )
    wording: Literal["bench", "stored"] = Field(
        default="bench",
        description="instructions for this project's shards: `bench` as in SpatialEdit's benchmark, with a red box on "
        "the source; `stored` as in the shards",
    )
    instruction: Literal["text", "any"] = Field(
        default="text", description="for stored instructions: the text, or any of its variants"
    )
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=16, ge=1)
    text_drop: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="probability of an empty instruction (the image is kept), for guidance",
    )
    shift: float = Field(default=1.5, gt=0, description="shift of the time steps toward noise")
    times: TimeDistribution = "logit_normal"
    times_mean: float = Field(default=0.0, description="mean of the logit-normal distribution")
    times_std: float = Field(default=1.0, gt=0)
    quantize: Quantization = Field(default="", description="nf4, int8 or fp8: quantization of the frozen transformer")
    cache: str = Field(default="", description="cache folder for latents and text embeddings; empty: no cache")
    cache_bytes: int = Field(default=100 << 30, ge=1)
    unload_encoders: bool = Field(
        default=False,
        description="load VAE and text encoder only when something is not in the cache, and for validation images",
    )
    sample_steps: int = Field(default=40, ge=1)
    guidance: float = Field(default=4.0, ge=1)

    @model_validator(mode="after")
    def _check_theta(self) -> "SpatialEditOptions":
        if bool(self.weights) != bool(self.theta):
            raise ValueError(
                "weights and theta must be set together: theta is 256 for SpatialEdit's file, 10000 for JoyAI's"
            )
        return self

    @model_validator(mode="after")
    def _check_cache(self) -> "SpatialEditOptions":
        if self.unload_encoders and not self.cache:
            raise ValueError("unload_encoders needs a cache: set cache to a folder")
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
