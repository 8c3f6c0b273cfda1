"""Every architecture against the pipeline of diffusers for it, in loading, text, sampling, loss and LoRA files."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, PixArtTransformer2DModel
from peft import PeftModel
from safetensors.torch import load_file

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.ildm.backbones import PixArt, StableDiffusionXL
from spatialdata_builder.training.ildm.encoders import text_encoder
from spatialdata_builder.training.ildm.models import Base, base_of, make_module
from spatialdata_builder.training.ildm.nets import TwoDomains
from spatialdata_builder.training.ildm.options import IldmOptions
from spatialdata_builder.training.ildm.pipeline import IldmPipeline
from spatialdata_builder.training.ildm.recipe import Ildm
from spatialdata_builder.training.ildm.schedules import Constant, Drop
from spatialdata_builder.training.metrics import read_metrics
from tests.training.ildm.bases import ARCHITECTURES, make_pipeline, save_base
from tests.training.ildm.parts import CPU, SIDE, first_batch, first_of, make_shards, rng_of, tiny
from tests.training.launched import assert_same_after_a_kill, run_tiny

SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
PIXART = {"caption_channels": 4096, "sample_size": 64}
PROMPTS = ["A red box.", "Two boxes on a table."]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("shards"), 4)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The architecture and the folder of a base."""
    return request.param, save_base(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def options(base: tuple[str, str], shards: str, tmp_path_factory: pytest.TempPathFactory) -> IldmOptions:
    return unet_options(base[1], shards, tmp_path_factory.mktemp("vae"))


def unet_options(base: str, shards: str, folder: Path) -> IldmOptions:
    """Options of phase unet on a base, with an intrinsic VAE of that base, which is saved to `folder`."""
    recipe = Ildm(tiny(phase="vae", base=base))
    recipe.see(first_of(shards, recipe))
    recipe.save(recipe.build(CPU, torch.float32), folder)
    sampling = {"side": SIDE, "steps": 3, "guidance": 3.0, "schedule": {"kind": "constant", "value": 0}}
    return tiny(base=base, intrinsic_vae=str(folder), train_base=False, sampling=sampling)


def with_lora(module: TwoDomains, size: float = 0.3) -> TwoDomains:
    """Give the LoRA weights random values."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_B" in name:
                parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return module


def plain_prediction(architecture: str, network: Any, rows: torch.Tensor, inputs: Any) -> torch.Tensor:
    """The prediction of the base network, with the conditions of the inputs written out."""
    count, times = len(rows), inputs["timesteps"]
    if architecture == "sd":
        return network(rows, times, inputs["context"]).sample
    if architecture == "sdxl":
        ids = torch.tensor([[SIDE, SIDE, 0, 0, SIDE, SIDE]] * count, dtype=torch.float32)
        added = {"text_embeds": inputs["pooled"], "time_ids": ids}
        return network(rows, times, inputs["context"], added_cond_kwargs=added).sample
    size = {"resolution": torch.full((count, 2), float(SIDE)), "aspect_ratio": torch.ones(count, 1)}
    found = network(rows, inputs["context"], times, size, encoder_attention_mask=inputs["mask"]).sample
    return found.chunk(2, dim=1)[0]


def test_without_the_intrinsics_sampling_equals_the_pipeline_of_the_base(base: tuple[str, str], options: IldmOptions):
    """With weight 0, images are those of diffusers' pipeline: text, guidance, sizes, noise schedule and VAE."""
    module = with_lora(make_module(options, CPU, torch.float32)).eval()
    ours = IldmPipeline.of(options, module, CPU, torch.float32)
    noise = torch.randn(2, 4, SIDE // 8, SIDE // 8, generator=torch.Generator().manual_seed(2))
    theirs = make_pipeline(base[0])
    theirs.scheduler = DDIMScheduler.from_pretrained(base[1], subfolder="scheduler", clip_sample=False)
    theirs.set_progress_bar_config(disable=True)
    more = {"use_resolution_binning": False, "clean_caption": False} if base[0] == "pixart" else {}
    arguments = {"num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "np", "height": SIDE, "width": SIDE}
    expected = theirs(PROMPTS, latents=noise, **arguments, **more).images
    found = ours(PROMPTS, noise=noise)
    np.testing.assert_allclose(found.image, expected * 255, atol=1)
    assert np.ptp(found.image.reshape(2, -1).astype(float), axis=1).min() > 50


def test_lora_affects_only_the_intrinsic_half(base: tuple[str, str], options: IldmOptions, shards: str):
    recipe = Ildm(options)
    module: Any = recipe.build(CPU, torch.float32)
    batch = first_batch(shards, recipe, 1)
    inputs = recipe.prepare(batch, rng_of(batch))
    conditions = {name: inputs[name] for name in module.backbone.conditions}
    found: list[Any] = []
    for size in (0.0, 0.3):
        with_lora(module, size).set_intrinsic_attention(Constant(value=0), 0)
        with torch.no_grad():
            found.append(module.predict(inputs["image"], inputs["intrinsic"], inputs["timesteps"], conditions))
            module.set_intrinsic_attention(Constant(), 0)
            joint = module.predict(inputs["image"], inputs["intrinsic"], inputs["timesteps"], conditions)
    assert torch.equal(found[0][0], found[1][0])
    assert (found[0][1] - found[1][1]).abs().max() > 1e-4
    assert (joint[0] - found[1][0]).abs().max() > 1e-4
    assert found[0][0].shape == inputs["image"].shape


def test_the_loss_of_a_step_by_hand(base: tuple[str, str], options: IldmOptions, shards: str):
    """With weight 0, the prediction for the images is that of the base network."""
    recipe = Ildm(options.model_copy(update={"intrinsic_weight": 0.5}))
    module: Any = recipe.build(CPU, torch.float32)
    with_lora(module).set_intrinsic_attention(Constant(value=0), 0)
    batch = first_batch(shards, recipe, 2)
    inputs = recipe.prepare(batch, rng_of(batch))
    network = Base(base[1]).network(torch.float32).eval()
    conditions = {name: inputs[name] for name in module.backbone.conditions}
    with torch.no_grad():
        found = module(inputs)["loss"]
        image = plain_prediction(base[0], network, inputs["image"], inputs)
        intrinsic = module.predict(inputs["image"], inputs["intrinsic"], inputs["timesteps"], conditions)[1]
    errors = [
        (predicted - inputs[f"{name}_target"]).square().mean((1, 2, 3))
        for name, predicted in (("image", image), ("intrinsic", intrinsic))
    ]
    assert found.shape == (4,)
    torch.testing.assert_close(found, errors[0] + 0.5 * errors[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cached", [False, True])
def test_texts_are_encoded_as_in_the_pipeline_of_the_base(
    base: tuple[str, str], options: IldmOptions, tmp_path: Path, cached: bool
):
    options = options.model_copy(update={"cache": str(tmp_path / "cache") if cached else ""})
    encoder = text_encoder(base_of(options), options, CPU, torch.float32)
    encoder([*PROMPTS, ""])
    found = encoder(["", *PROMPTS])
    with torch.no_grad():  # texts and empty texts: context, and pooled or mask
        made: Any = make_pipeline(base[0]).encode_prompt(
            PROMPTS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
        )
    if base[0] == "sdxl":
        torch.testing.assert_close(found["pooled"], torch.cat([made[3][:1], made[2]]))
        assert not made[1].any()
    elif base[0] == "pixart":
        assert torch.equal(found["mask"], torch.cat([made[3][:1], made[1]]))
    texts, empty = made[0], made[2 if base[0] == "pixart" else 1]
    torch.testing.assert_close(found["context"], torch.cat([empty[:1], texts]), atol=1e-5, rtol=1e-5)


def test_a_run_trains_saves_and_samples(base: tuple[str, str], shards: str, tmp_path: Path):
    here = f"recipe.base={base[1]}"
    run_tiny("ildm", shards, tmp_path / "vae", ["steps=2", "recipe.phase=vae", here])
    vae = tmp_path / "vae" / "checkpoints" / "2" / "model"
    settings = [
        "steps=3",
        here,
        f"recipe.intrinsic_vae={vae}",
        "recipe.train_base=false",
        "gradient_checkpointing=true",
    ]
    done = run_tiny("ildm", shards, tmp_path / "lora", [*settings, "recipe.sampling.steps=2", "validate_every=3"])
    made = IldmPipeline.load(done.checkpoint / "model")(PROMPTS, side=SIDE)
    assert made.image.shape == (2, SIDE, SIDE, 3)
    assert np.isfinite(made.stack).all()
    assert list((tmp_path / "lora" / "samples").glob("*.png"))
    *_, last = read_metrics(tmp_path / "lora")
    assert {f"val/loss/t={time}" for time in (0.1, 0.3, 0.5, 0.7, 0.9)} <= last.keys()
    lora = load_file(next((done.checkpoint / "model").glob("*.safetensors")))
    assert all(value.any() for name, value in lora.items() if "lora_B" in name)


def test_a_killed_run_on_pixart_resumes_exactly(shards: str, tmp_path: Path):
    options = unet_options(save_base("pixart", tmp_path / "base"), shards, tmp_path / "vae")
    settings = [f"recipe.{name}={getattr(options, name)}" for name in ("base", "intrinsic_vae")]
    settings += ["recipe.train_base=false", "recipe.text_drop=0.3"]
    assert_same_after_a_kill("ildm", shards, tmp_path, settings, "adapter_model.safetensors")


@pytest.mark.parametrize("train_base", [False, True])
def test_trained_weights_are_restored_bit_for_bit(options: IldmOptions, tmp_path: Path, train_base: bool):
    options = options.model_copy(update={"train_base": train_base})
    recipe, again = Ildm(options), Ildm(options)
    module, fresh = (each.build(CPU, torch.float32) for each in (recipe, again))
    recipe.save(with_lora(module), tmp_path)  # pyright: ignore[reportArgumentType]
    again.load(fresh, tmp_path)
    assert all(torch.equal(one, two) for one, two in zip(module.parameters(), fresh.parameters(), strict=True))


def test_lora_loads_in_the_library_of_the_base(base: tuple[str, str], options: IldmOptions, tmp_path: Path):
    """`load_lora_weights` of diffusers, or `PeftModel` for PixArt; compared with LoRA merged by hand."""
    options = options.model_copy(update={"alpha": 2.0})
    recipe = Ildm(options)
    module: Any = recipe.build(CPU, torch.float32)
    recipe.save(with_lora(module), tmp_path)
    theirs, merged = make_pipeline(base[0]), Base(base[1]).network(torch.float32)
    if base[0] == "pixart":
        network: Any = PeftModel.from_pretrained(theirs.transformer, str(tmp_path))
    else:
        theirs.load_lora_weights(tmp_path)
        network = theirs.unet
    count = 0
    with torch.no_grad():
        for name, layer in module.network.named_modules():
            if name.endswith((".attn1.to_q", ".attn1.to_k", ".attn1.to_v", ".attn1.to_out.0")):
                update = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
                merged.get_submodule(name).weight.add_(2 / 4 * update)
                count += 1
        generator = torch.Generator().manual_seed(1)
        width = {"sd": 16, "sdxl": 40, "pixart": 20}[base[0]]
        inputs = {
            "timesteps": torch.tensor([5]),
            "context": torch.randn(1, 9, width, generator=generator),
            "pooled": torch.randn(1, 12, generator=generator),
            "mask": torch.tensor([[1] * 7 + [0] * 2]),
        }
        rows = torch.randn(1, 4, 4, 4, generator=generator)
        found, expected = (plain_prediction(base[0], each, rows, inputs) for each in (network, merged))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        unchanged = plain_prediction(base[0], Base(base[1]).network(torch.float32), rows, inputs)
    assert (unchanged - expected).abs().max() > 1e-4
    assert count == 4 * len(list(module.attentions()))


def test_blocks_are_numbered_and_drop_leaves_out_the_outer_ones(base: tuple[str, str], options: IldmOptions):
    module = make_module(options, CPU, torch.float32)
    module.set_intrinsic_attention(Drop(tau=500), 400)
    expected = {"sd": ({3}, {1, 3, 5}), "sdxl": ({3, 4, 5}, {2, 3, 4, 5, 6}), "pixart": ({2, 3}, {1, 2, 3, 4})}
    inner, every = expected[base[0]]
    assert {each.block for each in module.attentions()} == every
    assert {each.block for each in module.attentions() if each.weight} == inner


def test_pixart_without_size_conditions_and_variance(tmp_path: Path):
    """As PixArt for 256 and 512 pixels, and a network that predicts no variance."""
    theirs = make_pipeline("pixart")
    config = {**theirs.transformer.config, "sample_size": 8, "out_channels": 4}
    theirs.register_modules(transformer=PixArtTransformer2DModel.from_config(config))
    theirs.save_pretrained(tmp_path)
    module = make_module(tiny(base=str(tmp_path), train_base=False), CPU, torch.float32)
    module.set_intrinsic_attention(Constant(value=0), 0)
    rows, times = torch.randn(1, 4, 4, 4), torch.tensor([7])
    conditions = {"context": torch.randn(1, 9, 20), "mask": torch.ones(1, 9), "size": torch.ones(1, 3)}
    with torch.no_grad():
        found = module.predict(rows, rows, times, conditions)[0]
        none = {"resolution": None, "aspect_ratio": None}
        torch.testing.assert_close(
            found, theirs.transformer(rows, conditions["context"], times, none).sample, atol=1e-5, rtol=1e-5
        )


def test_a_sentencepiece_tokenizer_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As in the published PixArt repositories, whose tokenizer is only `spiece.model`."""
    base = Base(save_base("pixart", tmp_path))
    (tmp_path / "tokenizer" / "tokenizer.json").rename(tmp_path / "tokenizer" / "spiece.model")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(BadInput, match="pip install sentencepiece protobuf"):
        base.backbone.text(base, torch.float32)


@pytest.mark.parametrize("phase", ["vae", "unet"])
def test_an_unsupported_base_is_refused_before_its_weights_are_read(tmp_path: Path, phase: str):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(BadInput, match=r"is of FluxPipeline; I-LDM supports bases of StableDiffusionPipeline, Stable"):
        Ildm(IldmOptions.model_validate({"base": str(tmp_path), "phase": phase})).build(CPU, torch.float32)


def test_a_step_in_bfloat16(options: IldmOptions, shards: str):
    """As with precision: bf16. The trained weights stay in float32."""
    recipe = Ildm(options)
    module: Any = recipe.build(CPU, torch.bfloat16)
    batch = first_batch(shards, recipe, 1)
    inputs = recipe.prepare(batch, rng_of(batch))
    with torch.autocast("cpu", torch.bfloat16):
        loss = module(inputs)["loss"]
    loss.sum().backward()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    assert loss.dtype == torch.float32
    assert loss.isfinite().all()
    assert {parameter.dtype for parameter in trained} == {torch.float32}
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained)


@pytest.mark.parametrize(
    ("config", "backbone", "base", "lora"),
    [
        (SDXL, StableDiffusionXL(), 2_567_463_684, 4 * 2 * 32 * (10 * 640 + 60 * 1280)),
        (PIXART, PixArt(tokens=120), 610_856_096, 4 * 2 * 32 * 28 * 1152),
    ],
    ids=["sdxl", "pixart"],
)
def test_lora_of_the_published_sizes(config: dict[str, Any], backbone: Any, base: int, lora: int):
    """The networks of SDXL base and of PixArt-XL-2 for 512 pixels, without memory for their weights."""
    with torch.device("meta"):
        module = TwoDomains(backbone.network_type()(**config), backbone, rank=32, alpha=32, intrinsic_weight=1)
    assert sum(p.numel() for p in module.parameters() if not p.requires_grad) == base
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == lora


def test_vaes_are_never_in_float16(base: tuple[str, str], options: IldmOptions):
    pipeline = IldmPipeline.of(options, make_module(options, CPU, torch.float16), CPU, torch.float16)
    assert pipeline.vae.dtype == pipeline.intrinsic_vae.dtype == torch.float32
    assert pipeline.module.dtype == torch.float16
