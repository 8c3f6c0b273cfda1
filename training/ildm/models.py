"""Loading the models of I-LDM: from a folder or repository in diffusers' layout, or small random ones (`tiny`).

Invariant: `tiny` has the same weights every time and in every process. A repository is resolved to a folder once, so
that all parts are of one snapshot.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ...shards.errors import BadInput
from ..weights import find_folder, first_line
from .options import TINY, IldmOptions

if TYPE_CHECKING:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import nn

    from .nets import TwoDomainUNet

Model = TypeVar("Model")
_FILES = [
    "*/config.json",
    "*/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "tokenizer/*",
    "scheduler/*",
]


@dataclass(frozen=True)
class Base:
    """The parts of a latent diffusion model, each loaded on demand.

    Raises BadInput for missing weights; the message names the id and how to get it.
    """

    name: str
    revision: str = "main"

    @cached_property
    def folder(self) -> Path:
        return find_folder(self.name, self.revision, files=_FILES)

    def unet(self, dtype: "torch.dtype") -> "UNet2DConditionModel":
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        return _cast(_tiny_unet(), dtype) if self.name == TINY else self._part(UNet2DConditionModel, "unet", dtype)

    def vae(self, dtype: "torch.dtype") -> "AutoencoderKL":
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        return _cast(_tiny_vae(), dtype) if self.name == TINY else self._part(AutoencoderKL, "vae", dtype)

    def text_encoder(self, dtype: "torch.dtype") -> "nn.Module":
        from transformers.models.clip.modeling_clip import CLIPTextModel

        return _cast(_tiny_text(), dtype) if self.name == TINY else self._part(CLIPTextModel, "text_encoder", dtype)

    def tokenizer(self) -> Any:
        from transformers.models.clip.tokenization_clip import CLIPTokenizer

        return _tiny_tokenizer() if self.name == TINY else self._part(CLIPTokenizer, "tokenizer")

    def scheduler(self, kind: type[Any]) -> Any:
        """A diffusers scheduler of the given class with the base's noise schedule."""
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

        if self.name == TINY:
            return kind.from_config(_tiny_schedule(DDPMScheduler).config)
        return self._part(kind, "scheduler")

    def _part(self, kind: type[Any], part: str, dtype: "torch.dtype | None" = None) -> Any:
        options = {} if dtype is None else {"torch_dtype" if "diffusers" in kind.__module__ else "dtype": dtype}
        try:
            return kind.from_pretrained(self.folder, subfolder=part, **options)
        except (OSError, ValueError) as error:
            raise BadInput(f"base {self.name} has no usable {part}/ in {self.folder} ({first_line(error)})") from error


def freeze(model: Model, device: "torch.device") -> Model:
    """Move a model to a device and freeze it (no gradients, eval mode); returns it."""
    cast("nn.Module", model).to(device).requires_grad_(False).eval()
    return model


def load_intrinsic_vae(folder: str | Path, dtype: "torch.dtype") -> "AutoencoderKL":
    """The VAE saved by phase `vae`. Raises BadInput if there is none."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    try:
        return AutoencoderKL.from_pretrained(folder, torch_dtype=dtype)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"no intrinsic VAE in {folder} ({first_line(error)}): train one with phase: vae, and set intrinsic_vae to "
            "the folder that it saved"
        ) from error


def make_module(options: IldmOptions, device: "torch.device", dtype: "torch.dtype") -> "TwoDomainUNet":
    """The base UNet with new LoRA weights, equal in every process."""
    import torch

    from .nets import TwoDomainUNet

    unet = Base(options.base, options.revision).unet(dtype)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = TwoDomainUNet(unet, options.rank, options.alpha, options.intrinsic_weight, options.train_base)
    return module.to(device)


def _cast(model: Any, dtype: "torch.dtype") -> Any:
    """`model.to(dtype)` without diffusers' warning about models that keep parts in float32, which these do not."""
    from torch import nn

    return nn.Module.to(model, dtype)


def _tiny_unet() -> Any:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet2DConditionModel(
            sample_size=16,
            layers_per_block=1,
            block_out_channels=(32, 64),
            norm_num_groups=4,
            cross_attention_dim=16,
            attention_head_dim=cast(Any, (2, 4)),
            use_linear_projection=True,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        )


def _tiny_vae() -> Any:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return AutoencoderKL(
            down_block_types=cast(Any, ("DownEncoderBlock2D",) * 4),
            up_block_types=cast(Any, ("UpDecoderBlock2D",) * 4),
            block_out_channels=cast(Any, (8, 16, 32, 32)),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=32,
        )


def _tiny_text() -> "nn.Module":
    import torch
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    tokenizer = _tiny_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return CLIPTextModel(config)


def _tiny_tokenizer() -> Any:
    """A CLIP tokenizer for printable ASCII, one token per character."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=77)


def _tiny_schedule(kind: type[Any]) -> Any:
    """The noise schedule of SD2.1."""
    return kind(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        steps_offset=1,
    )
