"""The options of SpatialDiff.

Invariant: defaults are the paper's values. The paper trains with the code of UNO (Wu et al. 2025, arXiv 2504.02160), so
what the paper does not say follows UNO's training script; fields that neither specifies say so.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from ...shards.options import Options
from ..flow import TimeDistribution
from ..quantization import Quantization

Ablation = Literal["lora_only", "ism", "explicit_depth", "latent_depth"]
"""The rows of the paper's ablation: LoRA only; with spatial tokens; with a depth loss on pixels as well; with the depth
loss on latents instead, which is the full method."""
TINY: Final = "tiny"
"""Model id of a random model of the real class, created in memory."""


class GeometrySection(Options):
    """The frozen encoder that reads the source image."""

    model: str = "facebook/VGGT-1B"
    """Hub id, folder or file of VGGT's weights, or `tiny`. For commercial use `facebook/VGGT-1B-Commercial` (gated)."""
    revision: str = ""
    side: int = Field(default=518, ge=14, multiple_of=14)
    """Longer side of its input, in pixels. 518 gives 5 + 37 * 37 tokens for a square image."""


class ConnectorSection(Options):
    """Eq. 4-5. There is one query per token of the target: 1024 at 512 x 512."""

    layers: int = Field(default=8, ge=1)
    heads: int = Field(default=1, ge=1)
    """1 is exactly eq. 4. Must divide the transformer's width."""
    feed_forward: int = Field(default=0, ge=0)
    """Width of the MLP after each attention, in multiples of the transformer's width; 0: no MLP, as in the paper's
    equations."""


class LoraSection(Options):
    """LoRA on the eight projections of each attention layer of the transformer: 104.6 M weights at rank 64."""

    rank: int = Field(default=64, ge=1)
    alpha: float = Field(default=64, gt=0)
    proj_out: bool = False
    """Also on the output layer of the 38 single-stream blocks (attention and MLP), as in UNO: 149.4 M weights. UNO has
    119.5 M: there one LoRA serves query, key and value together."""


class SpatialDiffOptions(Options):
    """The recipe's own section of a training configuration."""

    base: str = "black-forest-labs/FLUX.1-Kontext-dev"
    """Hub id, folder in diffusers' layout, or `tiny`."""
    revision: str = ""
    stage: Literal[1, 2] = 2
    """1 trains only the connector (eq. 9); 2 trains connector, LoRA and depth head (eq. 10), from `init_from` the run
    of stage 1."""
    ablation: Ablation = "latent_depth"
    depth_weight: float = Field(default=0.01, ge=0)
    """Lambda of eq. 10."""
    width: int = Field(default=512, ge=0, multiple_of=16)
    height: int = Field(default=512, ge=0, multiple_of=16)
    """Size of the shards' images, in pixels; 0: the size that they have."""
    any_size: bool = False
    """Accept images of other sizes too, in multiples of 16 (with `data.buckets`, sets of several sizes). The queries of
    the connector are a grid for `width` x `height`, interpolated to that of the image (our choice)."""
    geometry: GeometrySection = GeometrySection()
    connector: ConnectorSection = ConnectorSection()
    lora: LoraSection = LoraSection()
    times: TimeDistribution = "uniform"
    """Distribution of t before the shift; uniform in UNO."""
    time_shift: Literal["resolution"] | Annotated[float, Field(gt=0)] = "resolution"
    """Shift of t toward noise, see `training.flow.shifted`. `resolution`: FLUX's, from the number of tokens, as in UNO:
    e^0.63 = 1.878 for 1024 tokens."""
    text_drop: float = Field(default=0.1, ge=0, le=1)
    """Probability of an empty instruction; UNO's."""
    guidance: float = Field(default=1.0, ge=0)
    """Guidance input of the guidance-distilled base in training; 1 in UNO."""
    instruction: Literal["text", "any"] = "text"
    """`text`: the sample's instruction. `any`: one of its variants, drawn again in each epoch."""
    text_tokens: int = Field(default=512, ge=1)
    """Sequence length of T5; longer instructions are truncated."""
    quantize: Quantization = ""
    """Quantization of the frozen transformer; see `training.quantization`."""
    cache: str = ""
    """Folder of the cache for latents and text embeddings; empty: no cache."""
    cache_bytes: int = Field(default=100 << 30, ge=1)
    unload_encoders: bool = False
    """Load VAE and text encoders only when something is not in the cache, and for validation images."""
    sample_steps: int = Field(default=28, ge=1)
    sample_guidance: float = Field(default=2.5, ge=0)

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.stage == 1 and self.ablation == "lora_only":
            raise ValueError("stage 1 trains the connector, but ablation lora_only has none: set stage to 2")
        if self.unload_encoders and not self.cache:
            raise ValueError("unload_encoders needs a cache: set cache to a folder")
        return self

    @property
    def spatial(self) -> bool:
        """Whether spatial tokens join the sequence."""
        return self.ablation != "lora_only"

    @property
    def depth_loss(self) -> Literal["", "explicit", "latent"]:
        """Depth supervision of the spatial tokens: none, on pixels (`explicit`), or on latents (`latent`)."""
        if self.stage == 1 or self.ablation not in ("explicit_depth", "latent_depth"):
            return ""
        return "explicit" if self.ablation == "explicit_depth" else "latent"


TINY_RECIPE: Final[Mapping[str, Any]] = {
    "base": TINY,
    "width": 0,
    "height": 0,
    "geometry": {"model": TINY, "side": 56},
    "lora": {"rank": 16, "alpha": 16},
    "text_tokens": 128,
    "sample_steps": 4,
}
"""The section `recipe` of the preset `tiny`: random models of the real classes that train on a CPU."""
