"""What differs between the architectures that I-LDM trains: Stable Diffusion, SDXL and PixArt.

Invariant: a backbone calls its network exactly as the base's own pipeline in diffusers does. It describes a base and
holds no weights; a condition is a tensor with one row per image, by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ...shards.errors import BadInput
from ..weights import sort_metadata
from .texts import T5_TOKENS, ClipText, Parts, T5Text, TextModel, TwoClipTexts

if TYPE_CHECKING:
    import torch


Conditions = Mapping[str, "torch.Tensor"]
_LORA: Final = "pytorch_lora_weights.safetensors"
_PEFT_LORA: Final = "adapter_model.safetensors"
_PEFT_PREFIX: Final = "base_model.model."


class Backbone(Protocol):
    """One architecture."""

    @property
    def folder(self) -> str:
        """The folder of the network in diffusers' layout."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """Glob patterns of the base's files that are used."""
        ...

    @property
    def conditions(self) -> tuple[str, ...]:
        """The names of the conditions: those of the text encoder and, where the network knows the size, `size`."""
        ...

    @property
    def lora_file(self) -> str: ...

    @property
    def lora_prefix(self) -> str:
        """Precedes the network's names in the LoRA file."""
        ...

    def network_type(self) -> type[Any]: ...

    def text(self, base: Parts, dtype: "torch.dtype") -> TextModel: ...

    def size(self, height: int, width: int) -> tuple[float, ...]:
        """One row of the condition `size` for images of this size in pixels; empty where the network has none."""
        ...

    def multiple(self, network: Any) -> int:
        """Sides of latents must be multiples of this."""
        ...

    def blocks(self, network: Any) -> int:
        """Number of blocks that `training.ildm.schedules` distinguishes."""
        ...

    def block(self, network: Any, processor: str) -> int:
        """The block of an attention processor, from 1, by the processor's name."""
        ...

    def predict(
        self, network: Any, latents: "torch.Tensor", times: "torch.Tensor", conditions: Conditions
    ) -> "torch.Tensor":
        """Predicted noise or v for noisy latents (n, 4, h, w) at times (n,), in the dtype of the network."""
        ...

    def save_lora(self, network: Any, folder: Path) -> None:
        """Write the LoRA weights with their settings. Equal weights give equal bytes."""
        ...


@dataclass(frozen=True)
class StableDiffusion:
    """Stable Diffusion 1 and 2: a UNet with one CLIP text encoder. Blocks are numbered down, middle, up."""

    folder: str = "unet"
    lora_file: str = _LORA
    lora_prefix: str = "unet."
    conditions: tuple[str, ...] = ("context",)
    files: tuple[str, ...] = (
        *("unet/config.json", "unet/diffusion_pytorch_model.safetensors"),
        *("vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
        *("text_encoder/config.json", "text_encoder/model.safetensors"),
        *("tokenizer/*", "scheduler/*"),
    )

    def network_type(self) -> type[Any]:
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        return UNet2DConditionModel

    def text(self, base: Parts, dtype: "torch.dtype") -> TextModel:
        from transformers.models.clip.modeling_clip import CLIPTextModel
        from transformers.models.clip.tokenization_clip import CLIPTokenizer

        return ClipText(base.part(CLIPTextModel, "text_encoder", dtype), base.part(CLIPTokenizer, "tokenizer"))

    def size(self, height: int, width: int) -> tuple[float, ...]:
        return ()

    def multiple(self, network: Any) -> int:
        return 2 ** (len(network.down_blocks) - 1)

    def blocks(self, network: Any) -> int:
        return len(network.down_blocks) + 1 + len(network.up_blocks)

    def block(self, network: Any, processor: str) -> int:
        place, number = processor.split(".")[:2]
        downs = len(network.down_blocks)
        if place == "mid_block":
            return downs + 1
        return int(number) + (1 if place == "down_blocks" else downs + 2)

    def predict(
        self, network: Any, latents: "torch.Tensor", times: "torch.Tensor", conditions: Conditions
    ) -> "torch.Tensor":
        return network(latents, times, conditions["context"].to(latents.dtype), return_dict=False)[0]

    def save_lora(self, network: Any, folder: Path) -> None:
        """In the format that `load_lora_weights` of the base's pipeline reads."""
        from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
        from peft.utils import get_peft_model_state_dict

        weights: dict[str, Any] = get_peft_model_state_dict(network)
        StableDiffusionLoraLoaderMixin.save_lora_weights(
            folder, unet_lora_layers=weights, unet_lora_adapter_metadata=_lora_config(network).to_dict()
        )
        sort_metadata(folder / _LORA)


@dataclass(frozen=True)
class StableDiffusionXL(StableDiffusion):
    """SDXL (arXiv 2307.01952): two CLIP text encoders, and the size and crop of an image as conditions.

    Args:
        zero_empty: see `TwoClipTexts`.
    """

    zero_empty: bool = True
    conditions: tuple[str, ...] = ("context", "pooled", "size")
    files: tuple[str, ...] = (
        *StableDiffusion.files,
        *("text_encoder_2/config.json", "text_encoder_2/model.safetensors", "tokenizer_2/*"),
    )

    def text(self, base: Parts, dtype: "torch.dtype") -> TextModel:
        from torch import nn
        from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
        from transformers.models.clip.tokenization_clip import CLIPTokenizer

        first = base.part(CLIPTextModel, "text_encoder", dtype)
        second = base.part(CLIPTextModelWithProjection, "text_encoder_2", dtype)
        tokenizers = base.part(CLIPTokenizer, "tokenizer"), base.part(CLIPTokenizer, "tokenizer_2")
        return TwoClipTexts(nn.ModuleList([first, second]), tokenizers, self.zero_empty)

    def size(self, height: int, width: int) -> tuple[float, ...]:
        """Original size, top left of the crop, target size (section 2.2). Our reading: an image of the shards is its
        own original, uncropped, in training as in sampling."""
        return (height, width, 0, 0, height, width)

    def predict(
        self, network: Any, latents: "torch.Tensor", times: "torch.Tensor", conditions: Conditions
    ) -> "torch.Tensor":
        context, pooled = (conditions[name].to(latents.dtype) for name in ("context", "pooled"))
        added = {"text_embeds": pooled, "time_ids": conditions["size"]}
        return network(latents, times, context, added_cond_kwargs=added, return_dict=False)[0]


@dataclass(frozen=True)
class PixArt:
    """PixArt-α and PixArt-Σ (arXiv 2310.00426, 2403.04692): a transformer with T5, whose blocks are numbered in order.
    The size of an image is a condition of the networks for 1024 pixels only."""

    tokens: int
    folder: str = "transformer"
    lora_file: str = _PEFT_LORA
    lora_prefix: str = _PEFT_PREFIX
    conditions: tuple[str, ...] = ("context", "mask", "size")
    files: tuple[str, ...] = (
        *("transformer/config.json", "transformer/diffusion_pytorch_model.safetensors"),
        *("vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
        *("text_encoder/config.json", "text_encoder/model.safetensors*", "text_encoder/model-*.safetensors"),
        *("tokenizer/*", "scheduler/*"),
    )

    def network_type(self) -> type[Any]:
        from diffusers.models.transformers.pixart_transformer_2d import PixArtTransformer2DModel

        return PixArtTransformer2DModel

    def text(self, base: Parts, dtype: "torch.dtype") -> TextModel:
        from transformers.models.t5.modeling_t5 import T5EncoderModel
        from transformers.models.t5.tokenization_t5 import T5Tokenizer

        if not (base.folder / "tokenizer" / "tokenizer.json").is_file() and not find_spec("sentencepiece"):
            raise BadInput(
                f"the tokenizer of base {base.name} is a SentencePiece model: run `pip install sentencepiece protobuf`"
            )
        return T5Text(
            base.part(T5EncoderModel, "text_encoder", dtype), base.part(T5Tokenizer, "tokenizer"), self.tokens
        )

    def size(self, height: int, width: int) -> tuple[float, ...]:
        """Height, width, height / width."""
        return (height, width, height / width)

    def multiple(self, network: Any) -> int:
        return network.config.patch_size

    def blocks(self, network: Any) -> int:
        return len(network.transformer_blocks)

    def block(self, network: Any, processor: str) -> int:
        return int(processor.split(".")[1]) + 1

    def predict(
        self, network: Any, latents: "torch.Tensor", times: "torch.Tensor", conditions: Conditions
    ) -> "torch.Tensor":
        """Networks that also predict a variance have twice the channels: the noise is in the first half."""
        size = conditions["size"] if network.use_additional_conditions else None
        return network(
            latents,
            encoder_hidden_states=conditions["context"].to(latents.dtype),
            encoder_attention_mask=conditions["mask"],
            timestep=times,
            added_cond_kwargs={
                "resolution": None if size is None else size[:, :2],
                "aspect_ratio": None if size is None else size[:, 2:],
            },
            return_dict=False,
        )[0][:, : latents.shape[1]]

    def save_lora(self, network: Any, folder: Path) -> None:
        """In the format that `PeftModel.from_pretrained(transformer, folder)` reads: diffusers has no LoRA format for
        PixArt."""
        from peft.utils import get_peft_model_state_dict
        from safetensors.torch import save_file

        weights: dict[str, Any] = get_peft_model_state_dict(network)
        prefixed = {_PEFT_PREFIX + name: value.contiguous() for name, value in weights.items()}
        save_file(prefixed, folder / _PEFT_LORA, metadata={"format": "pt"})
        _lora_config(network).save_pretrained(str(folder))


def backbone_of(name: str, index: Mapping[str, Any]) -> Backbone:
    """The backbone of a base, by the pipeline in its `model_index.json`. Raises BadInput that lists the supported
    pipelines."""
    pipeline = index.get("_class_name")
    if pipeline == "StableDiffusionPipeline":
        return StableDiffusion()
    if pipeline == "StableDiffusionXLPipeline":
        return StableDiffusionXL(zero_empty=bool(index.get("force_zeros_for_empty_prompt", True)))
    if pipeline in T5_TOKENS:
        return PixArt(tokens=T5_TOKENS[pipeline])
    supported = ", ".join(("StableDiffusionPipeline", "StableDiffusionXLPipeline", *T5_TOKENS))
    raise BadInput(f"base {name} is of {pipeline or 'no pipeline'}; I-LDM supports bases of {supported}: choose one")


def _lora_config(network: Any) -> Any:
    """The settings of the adapter, with lists for PEFT's sets, whose order differs between processes."""
    from copy import copy

    config = copy(next(iter(network.peft_config.values())))
    for name, value in vars(config).items():
        if isinstance(value, set):
            setattr(config, name, sorted(value))
    config.inference_mode = True
    return config
