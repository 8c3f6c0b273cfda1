"""The options of SpatialFusion.

Only the paper's abstract is public (arXiv 2604.26341). So every value here is our choice, unless it names its source.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from ...shards.options import Options
from ..flow import TimeDistribution
from ..quantization import Quantization

Teacher = Literal["exact", "vggt", "any"]
TINY: Final = "tiny"
"""Model id of random models of the real classes, created in memory."""


class DecoderSection(Options):
    """The DPT decoder of depth and confidence. Defaults are those of VGGT's depth head."""

    features: int = Field(default=256, ge=2, multiple_of=2, description="channels of its fusion blocks")
    channels: tuple[int, int, int, int] = Field(
        default=(256, 512, 1024, 1024), description="channels of its four inputs, from the finest to the coarsest"
    )


class FluxSection(Options):
    """The backbone `flux-kontext`."""

    base: str = Field(
        default="black-forest-labs/FLUX.1-Kontext-dev", description="hub id, folder in diffusers' layout, or `tiny`"
    )
    revision: str = ""
    mllm: str = Field(default="Qwen/Qwen3-VL-8B-Instruct", description="hub id or folder of a Qwen3-VL, or `tiny`")
    mllm_revision: str = ""
    rank: int = Field(default=64, ge=1)
    alpha: float = Field(default=64, gt=0)
    times: TimeDistribution = "uniform"
    time_shift: Literal["resolution"] | Annotated[float, Field(gt=0)] = Field(
        default="resolution", description="as for recipe spatialdiff: FLUX's, from the number of tokens"
    )
    guidance: float = Field(default=1.0, ge=0, description="input of the guidance-distilled base in training")
    text_tokens: int = Field(default=512, ge=1, description="sequence length of T5")
    sample_steps: int = Field(default=28, ge=1)
    sample_guidance: float = Field(default=2.5, ge=0)


class JoyAiSection(Options):
    """The backbone `joyai`. Its text encoder, a Qwen3-VL, is also the MLLM of the branch."""

    model: str = Field(
        default="jdopensource/JoyAI-Image-Edit-Diffusers",
        min_length=1,
        description="hub id, folder in diffusers' layout, or `tiny`",
    )
    revision: str = ""
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=16, ge=1)
    times: TimeDistribution = "logit_normal"
    time_shift: float = Field(default=1.5, gt=0)
    sample_steps: int = Field(default=40, ge=1)
    sample_guidance: float = Field(default=4.0, ge=1)


class SpatialFusionOptions(Options):
    """The section `recipe` of a configuration."""

    stage: Literal[1, 2] = Field(
        default=2, description="1 trains the depth branch alone; 2 trains it jointly with adapter and LoRA"
    )
    backbone: Literal["flux-kontext", "joyai"] = Field(
        default="flux-kontext", description="the editing model; in stage 1 it only decides which MLLM is read"
    )
    flux: FluxSection = FluxSection()
    joyai: JoyAiSection = JoyAiSection()
    decoder: DecoderSection = DecoderSection()
    width: int = Field(
        default=512, ge=0, multiple_of=16, description="width of the shards' images, in pixels; 0: as they are"
    )
    height: int = Field(default=512, ge=0, multiple_of=16)
    teacher: Teacher = Field(
        default="exact",
        description="whose depth supervises the branch: `exact` from the renderer; `vggt`, as in the paper; `any`",
    )
    text: Literal["instruction", "caption"] = Field(
        default="instruction", description="text of the models: the edit's instruction, or the target's caption"
    )
    instruction: Literal["text", "any"] = Field(
        default="text", description="for `text: instruction`: the instruction, or any of its variants"
    )
    text_drop: float = Field(
        default=0.1, ge=0, le=1, description="stage 2: probability that the editing model gets no text, for guidance"
    )
    depth_weight: float = Field(default=0.1, ge=0, description="stage 2: weight of the depth loss")
    confidence_weight: float = Field(
        default=0.2, ge=0, description="alpha: weight of the log confidence in the depth loss, as in DUSt3R"
    )
    quantize: Quantization = Field(
        default="", description="stage 2: nf4, int8 or fp8, quantization of the frozen editing model"
    )
    cache: str = Field(default="", description="cache folder for latents and text embeddings; empty: no cache")
    cache_bytes: int = Field(default=100 << 30, ge=1)

    @property
    def tiny(self) -> bool:
        """Whether the chosen models are random."""
        return (self.flux.base if self.backbone == "flux-kontext" else self.joyai.model) == TINY


TINY_RECIPE: Final[Mapping[str, Any]] = {
    "width": 0,
    "height": 0,
    "decoder": {"features": 16, "channels": [16, 16, 16, 16]},
    "flux": {"base": TINY, "mllm": TINY, "rank": 16, "alpha": 16, "text_tokens": 128, "sample_steps": 4},
    "joyai": {"model": TINY, "sample_steps": 4},
}
"""The section `recipe` of the preset `tiny`."""
