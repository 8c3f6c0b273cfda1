"""Memory and time of a training step of each recipe in its real size, computed without a GPU and without weights.

    python benchmarks/training_memory.py [--only spatialdiff]

Each network is built on torch's meta device, where tensors have shapes but no content, and takes a step there: forward
and backward pass of `forward` as the trainer calls it, with the types that autocast chooses on a GPU. What is counted:

- activations: the largest total size of all tensors that exist at one time in the step, less weights and gradients.
  With gradient checkpointing that is about (blocks + 1) x tokens x width x 2 bytes for the kept inputs of the blocks,
  and the inner activations of the one block that is computed again.
- weights: 2 bytes per frozen weight (bfloat16), 4 per trained one (float32). Gradients: 4 bytes per trained weight.
- optimizer: 8 bytes per trained weight (AdamW), 2 (adamw8bit). Average (`ema`): 4.
- quantized linear layers of the frozen denoiser: 1 byte per weight (int8, fp8), 0.5 + 4 / 64 (nf4, with one float32
  scale for 64 weights).
- operations: 2 per multiplication and addition of matrix products, convolutions and attention, with recomputation. For
  a frozen network of P weights and T tokens that is about 2PT each for the forward pass, the gradients of its inputs,
  and the recomputation; 2PT more for the gradients of trained weights.

Not counted: CUDA's context, buffers of kernels and fragmentation (1 to 3 GB); buckets of several processes (gradients a
second time); work of encoders, which a filled cache avoids. Seconds assume 40 % of a GPU's peak.
"""

import gc
import sys
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.pixart_transformer_2d import PixArtTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.models.transformers.transformer_joyimage import JoyImageEditTransformer3DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLConfig, Qwen3VLTextConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLForConditionalGeneration, Qwen3VLTextModel
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.t5.modeling_t5 import T5EncoderModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spatialdata_builder.training.ildm.backbones import PixArt, StableDiffusion, StableDiffusionXL
from spatialdata_builder.training.ildm.nets import IntrinsicVae, TwoDomains, widen
from spatialdata_builder.training.ildm.options import IldmOptions
from spatialdata_builder.training.run import checkpoint_gradients
from spatialdata_builder.training.spatialdiff.build import make_net
from spatialdata_builder.training.spatialdiff.options import SpatialDiffOptions
from spatialdata_builder.training.spatialedit.models import add_lora
from spatialdata_builder.training.spatialedit.nets import EditNet
from spatialdata_builder.training.spatialfusion.nets import (
    DepthAdapter,
    DepthDecoder,
    FluxBackbone,
    JoyAiBackbone,
    SpatialBranch,
    SpatialFusionNet,
)

META = torch.device("meta")
CARDS = (24, 48, 80, 141)
"""GB of memory: RTX 4090, L40S, A100 and H100, H200."""
USABLE = 0.92
"""Share of a card's memory that tensors can fill."""
PEAKS = {"H100": 989e12, "A100": 312e12}
"""Dense bfloat16 operations per second, by the data sheets."""
UTILIZATION = 0.4
LOWER = ("linear", "conv2d", "conv_transpose2d")
UPPER = ("layer_norm", "group_norm")
OPTIMIZERS = {"adamw": 8, "adamw8bit": 2}
"""Bytes of state per trained weight."""
QUANTIZED = {"": 2.0, "int8": 1.0, "fp8": 1.0, "nf4": 0.5 + 4 / 64}
"""Bytes per weight of a frozen linear layer."""
Inputs = dict[str, torch.Tensor]
Encoders = Mapping[str, int]
"""Weights of each frozen model beside the network."""


@dataclass(frozen=True)
class Case:
    """One run.

    Args:
        make: (samples) -> the network and the inputs of a step.
        unloadable: frozen models that `recipe.unload_encoders` removes. stays: those that it does not.
    """

    name: str
    batch: int
    make: Callable[[int], tuple[nn.Module, Inputs]]
    unloadable: Encoders = field(default_factory=dict[str, int])
    stays: Encoders = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Cost:
    """Of one process; weights in numbers, the rest in bytes and operations."""

    trained: int
    frozen: int
    linear: int
    """Frozen weights in linear layers, which quantization makes smaller."""
    activations: int
    operations: int

    def bytes(self, encoders: int, *, quantize: str = "", optimizer: str = "adamw") -> float:
        """The memory with so many weights of encoders on the GPU."""
        weights = 4 * self.trained + 2 * (self.frozen - self.linear + encoders) + QUANTIZED[quantize] * self.linear
        return weights + self.trained * (4 + OPTIMIZERS[optimizer]) + self.activations


@contextmanager
def autocast() -> Generator[None]:
    """Inside, layers use the types of `torch.autocast("cuda", torch.bfloat16)`, which knows no meta tensors, and
    attention has no matrix of all scores, as on GPUs."""
    functions: dict[str, Any] = {name: _in_dtype(getattr(F, name), torch.bfloat16) for name in LOWER}
    functions |= {name: _in_dtype(getattr(F, name), torch.float32) for name in UPPER}
    functions["scaled_dot_product_attention"] = _attention
    former, original = {name: getattr(F, name) for name in functions}, torch.autocast

    @contextmanager
    def switched(device_type: str, *_: Any, enabled: bool = True, **__: Any) -> Generator[None]:
        """In place of `torch.autocast`, which a module may use to leave it."""
        assert device_type == META.type
        for name, function in (functions if enabled else former).items():
            setattr(F, name, function)
        try:
            yield
        finally:
            for name, function in functions.items():
                setattr(F, name, function)

    torch.autocast = switched
    try:
        with switched(META.type):
            yield
    finally:
        torch.autocast = original
        for name, function in former.items():
            setattr(F, name, function)


def _in_dtype(function: Callable[..., Any], dtype: torch.dtype) -> Callable[..., Any]:
    """The function with its floating-point arguments cast first."""

    @wraps(function)
    def cast(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = tree_map(lambda each: _to(each, dtype), (args, kwargs))
        return function(*args, **kwargs)

    return cast


def _attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, **options: Any
) -> torch.Tensor:
    assert not dropout_p
    if options.get("enable_gqa"):
        groups = query.shape[-3] // key.shape[-3]
        key, value = (each.repeat_interleave(groups, -3) for each in (key, value))
    query, key, value = (_to(each, torch.bfloat16) for each in (query, key, value))
    kept: dict[str, Any] = {"is_causal": options.get("is_causal", False), "scale": options.get("scale")}
    if attn_mask is None:
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, **kept)[0]
    mask = attn_mask if attn_mask.is_floating_point() else attn_mask.to(query.dtype)
    mask = mask.expand(*query.shape[:3], key.shape[2])
    return torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, mask, True, **kept)[0]


def _to(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


class Live(TorchDispatchMode):
    """Total size of the storages that exist, less `ignored`; `peak` is its maximum. Also the sum of the operations.

    Not with `FlopCounterMode`: that keeps what gradient checkpointing frees.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.ignored = self.operations = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if operations := flop_registry.get(func._overloadpacket):
            self.operations += int(operations(*args, **kwargs, out_val=made))
        for each in tree_leaves(made):
            if isinstance(each, torch.Tensor):
                self._note(each.untyped_storage())
        return made

    def ignore(self, tensors: Iterable[torch.Tensor]) -> None:
        """Do not count these tensors, which exist before the step."""
        self._known |= {each.untyped_storage()._cdata for each in tensors}

    def on_gradient(self, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        self.ignored += parameter.grad.untyped_storage().nbytes()

    def _note(self, storage: Any) -> None:
        name, size = storage._cdata, storage.nbytes()
        if name in self._known:
            return
        self._known.add(name)
        self.now += size
        weakref.finalize(storage, self._free, name, size)
        self.peak = max(self.peak, self.now - self.ignored)

    def _free(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.now -= size


def cost_of(case: Case, samples: int, *, checkpointing: bool) -> Cost:
    """Take a step on the meta device."""
    module, inputs = case.make(samples)
    module.train()
    if checkpointing:
        checkpoint_gradients(module)
    live = Live()
    parameters = list(module.parameters())
    live.ignore([*parameters, *module.buffers(), *inputs.values()])
    for each in parameters:
        if each.requires_grad:
            each.register_post_accumulate_grad_hook(live.on_gradient)
    with ExitStack() as stack:
        for context in (autocast(), live):
            stack.enter_context(context)
        module(inputs)["loss"].mean().backward()
    frozen = [part for part in module.modules() if isinstance(part, nn.Linear)]
    weights = {id(part.weight): part.weight.numel() for part in frozen if not part.weight.requires_grad}
    trained = sum(each.numel() for each in parameters if each.requires_grad)
    total = sum(each.numel() for each in parameters)
    assert all(each.grad is not None for each in parameters if each.requires_grad)
    found = Cost(trained, total - trained, sum(weights.values()), live.peak, live.operations)
    del module, inputs, parameters, frozen
    gc.collect()
    return found


def count(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device=META)


@contextmanager
def frozen() -> Generator[None]:
    """Inside, models are made on the meta device, in bfloat16."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        with META:
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def flux() -> Any:
    """FLUX.1-Kontext-dev."""
    with frozen():
        return FluxTransformer2DModel(guidance_embeds=True).requires_grad_(False)


def flux_inputs(samples: int, side: int, images: int) -> Inputs:
    """Of `SpatialDiffNet.forward`, for sequences of `images` images and 512 tokens of text."""
    tokens = (side // 16) ** 2
    return {
        **{name: empty(samples, tokens, 64) for name in ("noisy", "source", "velocity")},
        **{name: empty(samples) for name in ("sigma", "guidance")},
        "text": empty(samples, 512, 4096, dtype=torch.bfloat16),
        "pooled": empty(samples, 768, dtype=torch.bfloat16),
        "image_ids": empty(images * tokens, 3),
        "text_ids": empty(512, 3),
    }


def spatialdiff(stage: int) -> Callable[[int], tuple[nn.Module, Inputs]]:
    def make(samples: int) -> tuple[nn.Module, Inputs]:
        base, options = flux(), SpatialDiffOptions.model_validate({"stage": stage})
        with META:
            net = make_net(base, options, 2048)
        inputs = flux_inputs(samples, 512, 3) | {"geometry": empty(samples, 5 + 37 * 37, 2048)}
        return net, inputs | ({"depth": empty(samples, 1024, 64)} if stage == 2 else {})

    return make


def joyai_net() -> EditNet:
    """JoyAI-Image-Edit's transformer with LoRA; the sizes of its published configuration."""
    with frozen():
        transformer = JoyImageEditTransformer3DModel(
            hidden_size=4096,
            in_channels=16,
            num_attention_heads=32,
            num_layers=40,
            patch_size=[1, 2, 2],
            rope_dim_list=[16, 56, 56],
            text_dim=4096,
            theta=10000,
        ).requires_grad_(False)
    with META:
        return EditNet(add_lora(transformer, 16, 16))


def joyai_inputs(samples: int, side: int) -> Inputs:
    """The text has one token for 32 x 32 pixels of the source, and 64 words."""
    latents = {name: empty(samples, 16, 1, side // 8, side // 8) for name in ("source", "target", "noise")}
    length = (side // 32) ** 2 + 64
    text = empty(samples, length, 4096, dtype=torch.bfloat16)
    return latents | {"t": empty(samples), "text": text, "length": torch.full((samples,), length)}


def spatialedit(side: int) -> Callable[[int], tuple[nn.Module, Inputs]]:
    return lambda samples: (joyai_net(), joyai_inputs(samples, side))


def qwen_text() -> Qwen3VLTextConfig:
    """The language model of Qwen3-VL-8B-Instruct."""
    return Qwen3VLTextConfig(
        vocab_size=151936,
        hidden_size=4096,
        intermediate_size=12288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        rope_parameters={"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]},
    )


def spatialfusion(stage: int, backbone: str = "") -> Callable[[int], tuple[nn.Module, Inputs]]:
    def make(samples: int) -> tuple[nn.Module, Inputs]:
        with frozen():
            language = Qwen3VLTextModel(qwen_text())
        editor, adapter, extra = None, None, {}
        if backbone == "flux":
            base, options = flux(), SpatialDiffOptions(ablation="lora_only")
            with META:
                editor = FluxBackbone(make_net(base, options, 0))
            extra = flux_inputs(samples, 512, 2)
        elif backbone == "joyai":
            editor, extra = JoyAiBackbone(joyai_net()), joyai_inputs(samples, 512)
        with META:
            branch = SpatialBranch(language, 32, 32)
            decoder = DepthDecoder(4096, 32, 32, 256, (256, 512, 1024, 1024))
            adapter = DepthAdapter(editor.width) if editor else None
        length = 34 + 256 + 64
        keys = empty(samples, 36, 8, length, 128, dtype=torch.bfloat16)
        read = {"mllm_keys": keys, "mllm_values": keys, "mllm_length": torch.full((samples,), length, device=META)}
        read |= {"mllm_start": torch.full((samples,), 100, device=META), "teacher": empty(samples, 512, 512)}
        read |= {"metric": torch.ones(samples, dtype=torch.bool, device=META)}
        return SpatialFusionNet(branch, decoder, adapter, editor, 0.1, 0.2), read | extra

    return make


def image_vae(latent_channels: int = 4) -> Any:
    """The VAE of Stable Diffusion, SDXL and PixArt and, with 16 channels, of FLUX."""
    make: Any = AutoencoderKL  # its type hints only allow tuples of length 1
    return make(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=latent_channels,
        use_quant_conv=latent_channels == 4,
        use_post_quant_conv=latent_channels == 4,
    )


def ildm_vae(pairs: int) -> tuple[nn.Module, Inputs]:
    options = IldmOptions(phase="vae")
    with META:
        vae = widen(image_vae(), options.layout)
    net = IntrinsicVae(vae, options.reconstruction, options.kl_weight)
    return net, {"maps": empty(2 * pairs, options.layout.channels, 512, 512), "noise": empty(2 * pairs, 4, 64, 64)}


def ildm(kind: str, side: int) -> Callable[[int], tuple[nn.Module, Inputs]]:
    def make(pairs: int) -> tuple[nn.Module, Inputs]:
        rows, latent = 2 * pairs, side // 8
        inputs = {
            name: empty(rows, 4, latent, latent) for name in ("image", "intrinsic", "image_target", "intrinsic_target")
        }
        inputs |= {"timesteps": torch.full((rows,), 1, device=META), "snr_weight": empty(rows)}
        with frozen():
            if kind == "sd2":
                network: Any = UNet2DConditionModel(
                    sample_size=96,
                    attention_head_dim=(5, 10, 20, 20),
                    cross_attention_dim=1024,
                    use_linear_projection=True,
                )
                backbone: Any = StableDiffusion()
                inputs |= {"context": empty(rows, 77, 1024)}
            elif kind == "sdxl":
                network = UNet2DConditionModel(
                    sample_size=128,
                    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                    block_out_channels=(320, 640, 1280),
                    transformer_layers_per_block=(1, 2, 10),
                    attention_head_dim=(5, 10, 20),
                    cross_attention_dim=2048,
                    use_linear_projection=True,
                    addition_embed_type="text_time",
                    addition_time_embed_dim=256,
                    projection_class_embeddings_input_dim=2816,
                )
                backbone = StableDiffusionXL()
                inputs |= {"context": empty(rows, 77, 2048), "pooled": empty(rows, 1280), "size": empty(rows, 6)}
            else:
                network = PixArtTransformer2DModel(sample_size=latent, caption_channels=4096)
                backbone = PixArt(tokens=120)
                inputs |= {"context": empty(rows, 120, 4096), "mask": torch.ones(rows, 120, device=META)}
                inputs |= {"size": empty(rows, 3)}
        with META:
            return TwoDomains(network, backbone, 32, 32, 1.0), inputs

    return make


def encoder_sizes() -> dict[str, int]:
    """Numbers of weights of the frozen models, in their published sizes."""
    with META:
        t5 = T5Config(d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24, feed_forward_proj="gated-gelu")
        clip = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        open_clip = {"hidden_act": "gelu", "num_attention_heads": 16}
        huge = CLIPTextConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, **open_clip)
        giant = CLIPTextConfig(
            **{**open_clip, "num_attention_heads": 20},
            hidden_size=1280,
            intermediate_size=5120,
            num_hidden_layers=32,
            projection_dim=1280,
        )
        vision = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "patch_size": 16}
        vision |= {"out_hidden_size": 4096, "deepstack_visual_indexes": [8, 16, 24], "num_position_embeddings": 2304}
        qwen = Qwen3VLConfig(text_config=qwen_text().to_dict(), vision_config=vision, tie_word_embeddings=False)
        models = {
            "t5": T5EncoderModel(t5),
            "clip": CLIPTextModel(clip),
            "clip_huge": CLIPTextModel(huge),
            "clip_giant": CLIPTextModelWithProjection(giant),
            "vae": image_vae(),
            "flux_vae": image_vae(16),
            "wan_vae": AutoencoderKLWan(),
            "qwen": Qwen3VLForConditionalGeneration(qwen),
        }
        # VGGT's aggregator: DINOv2 ViT-L/14, and 24 pairs of blocks of the same width (Wang et al. 2025, section 3).
        block = nn.TransformerEncoderLayer(1024, 16, 4096, batch_first=True)
    return {name: count(model) for name, model in models.items()} | {"vggt": 304_000_000 + 48 * count(block)}


def cases() -> list[Case]:
    size = encoder_sizes()

    def of(*names: str) -> dict[str, int]:
        return {name: size[name] for name in names}

    flux_encoders = of("t5", "clip", "flux_vae")
    sd = {name: size[name] for name in ("clip_huge", "vae")} | {"map vae": size["vae"]}
    sdxl = of("clip", "clip_giant", "vae") | {"map vae": size["vae"]}
    pixart = of("t5", "vae") | {"map vae": size["vae"]}
    return [
        Case("spatialdiff, stage 1", 4, spatialdiff(1), flux_encoders, of("vggt")),
        Case("spatialdiff, stage 2", 4, spatialdiff(2), flux_encoders, of("vggt")),
        Case("ildm, phase vae", 4, ildm_vae),
        Case("ildm, SD2.1", 8, ildm("sd2", 512), sd),
        Case("ildm, SDXL at 1024", 8, ildm("sdxl", 1024), sdxl),
        Case("ildm, PixArt-512", 8, ildm("pixart", 512), pixart),
        Case("spatialedit", 1, spatialedit(512), of("qwen", "wan_vae")),
        Case("spatialedit at 1024", 1, spatialedit(1024), of("qwen", "wan_vae")),
        Case("spatialfusion, stage 1", 1, spatialfusion(1), stays=of("qwen")),
        Case("spatialfusion, FLUX", 1, spatialfusion(2, "flux"), stays={**flux_encoders, **of("qwen")}),
        Case("spatialfusion, JoyAI", 1, spatialfusion(2, "joyai"), stays=of("qwen", "wan_vae")),
    ]


def fits(size: float) -> str:
    """The smallest card that holds so many bytes, in GB."""
    return next((str(card) for card in CARDS if size <= USABLE * card * 1e9), "-")


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gb(size: float) -> str:
    return f"{size / 1e9:.1f}"


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--only", default="", help="Cases whose name begins so.")
def main(only: str) -> None:
    parts: list[list[str]] = []
    totals: list[list[str]] = []
    times: list[list[str]] = []
    for case in cases():
        if not case.name.startswith(only):
            continue
        one, plain = (cost_of(case, 1, checkpointing=each) for each in (True, False))
        batch = one if case.batch == 1 else cost_of(case, case.batch, checkpointing=True)
        loads, stays = sum(case.unloadable.values()), sum(case.stays.values())
        trained, kept = one.trained, one.frozen
        parts.append(
            [
                case.name,
                f"{kept / 1e6:,.0f}",
                f"{trained / 1e6:,.1f}",
                *(gb(each) for each in (2 * kept + 4 * trained, 4 * trained, 8 * trained, 2 * trained, 4 * trained)),
                *(gb(each.activations) for each in (one, plain)),
                f"{batch.activations / 1e9:.1f} ({case.batch})",
                *(gb(2 * each) for each in (loads, stays)),
            ]
        )
        sharded = (one.bytes(0) - one.activations) / 8 + one.activations + 2 * stays
        sizes = [batch.bytes(loads + stays), batch.bytes(stays), one.bytes(stays), sharded]
        sizes += [one.bytes(stays, quantize=each, optimizer="adamw8bit") for each in ("", "int8", "nf4")]
        totals.append([case.name, *(f"{gb(each)} ({fits(each)})" for each in sizes)])
        slow = [one.operations / (UTILIZATION * peak) for peak in PEAKS.values()]
        fast = [plain.operations / (UTILIZATION * peak) for peak in PEAKS.values()]
        numbers = [one.operations / 1e12, plain.operations / 1e12, *slow, *fast]
        times.append([case.name, *(f"{each:.1f}" if each >= 10 else f"{each:.2f}" for each in numbers)])
        click.echo(f"{case.name} done", err=True)
    heads = ["GB", "frozen M", "trained M", "weights", "gradients", "AdamW", "8-bit", "average"]
    heads += ["activations", "without checkpointing", "of the batch", "unloadable", "other frozen"]
    click.echo(table(heads, parts))
    heads = ["GB (card)", "batch, all loaded", "batch, unloaded", "1, unloaded", "1, unloaded, 8 GPUs sharded"]
    click.echo("\n" + table([*heads, "1, 8-bit optimizer", "int8 or fp8", "nf4"], totals))
    heads = ["a sample", "TFLOP", "without checkpointing", *(f"s, {name}" for name in PEAKS)]
    click.echo("\n" + table([*heads, *(f"s, {name}, without" for name in PEAKS)], times))


if __name__ == "__main__":
    main()
