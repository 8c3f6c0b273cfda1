"""From shards to the inputs of a step; checkpoints."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import safe_open

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.ildm.models import Base
from spatialdata_builder.training.ildm.options import IldmOptions
from spatialdata_builder.training.ildm.recipe import Ildm
from spatialdata_builder.training.ildm.tiny import tiny_part
from spatialdata_builder.training.ildm.unet_phase import loss_weights, target
from spatialdata_builder.training.ildm.vae_phase import zero_mask
from spatialdata_builder.training.ildm.views import Views
from spatialdata_builder.training.recipe import StepRng
from tests.training.ildm.parts import CPU, SIDE, first_batch, first_of, make_shards, rng_of, tiny


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("shards"), 4)


def built(shards: str = "", **changes: Any) -> tuple[Ildm, torch.nn.Module]:
    """With `shards`, the recipe has seen their first samples."""
    recipe = Ildm(tiny(**changes))
    if shards:
        recipe.see(first_of(shards, recipe))
    return recipe, recipe.build(CPU, torch.float32)


def test_both_images_of_a_pair_have_their_own_maps_and_captions(shards: str):
    recipe = Ildm(tiny(segment_channels=1))
    batch = first_batch(shards, recipe, 2) | {"caption": ["a", "b"], "source_caption": ["c", "d"]}
    views = Views(batch, recipe.options)
    assert views.captions() == ["c", "d", "a", "b"]
    np.testing.assert_allclose(views.pictures()[1, :, 3, 5], batch["source"][1, 3, 5] / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(views.pictures()[2, :, 3, 5], batch["target"][0, 3, 5] / 127.5 - 1, atol=1e-6)
    maps = views.maps()
    np.testing.assert_allclose(maps[0, 5], batch["source_line"][0] / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(maps[3, 5], batch["line"][1] / 127.5 - 1, atol=1e-6)
    assert not np.array_equal(maps[1, 5], maps[3, 5])


def test_phase_vae_reads_no_images_and_a_single_view_only_its_own_members():
    assert set(tiny(phase="vae", views=("target",)).members) == {"depth", "normal", "segment", "line"}
    assert set(tiny(views=("source",), maps=("line",)).members) == {"source", "source_line"}


def test_what_a_run_says_of_itself():
    """The models of a card: the base, and in phase unet the VAE; only phase unet has time steps."""
    assert Ildm.models(tiny(base="a/b", intrinsic_vae="vae")) == ("a/b", "vae")
    assert Ildm.models(tiny(base="a/b", phase="vae", intrinsic_vae="vae")) == ("a/b",)
    assert [Ildm(tiny(phase=phase)).timed for phase in ("vae", "unet")] == [False, True]


def test_inputs_are_noised_latents_with_independent_noise_at_one_time(shards: str):
    recipe, _ = built()
    batch = first_batch(shards, recipe, 2)
    inputs = recipe.prepare(batch, rng_of(batch))
    assert inputs["image"].shape == inputs["intrinsic"].shape == (4, 4, SIDE // 8, SIDE // 8)
    vae = Base("tiny").vae(torch.float32)
    pictures = torch.from_numpy(np.concatenate([batch["source"], batch["target"]])).permute(0, 3, 1, 2) / 127.5 - 1
    bars = DDPMScheduler.from_config(Base("tiny").scheduler(DDPMScheduler).config).alphas_cumprod
    a, s = (each.sqrt()[inputs["timesteps"]].view(-1, 1, 1, 1) for each in (bars, 1 - bars))
    # Solve x_t = a x + s eps and v = a eps - s x for x and eps:
    latent, noise = a * inputs["image"] - s * inputs["image_target"], s * inputs["image"] + a * inputs["image_target"]
    with torch.no_grad():
        posterior = vae.encode(pictures).latent_dist
    drawn = (latent / 0.18215 - posterior.mean) / posterior.std
    assert abs(drawn.mean()) < 0.3 and 0.7 < drawn.std() < 1.3
    other = s * inputs["intrinsic"] + a * inputs["intrinsic_target"]
    for each in (noise, other):
        assert abs(each.mean()) < 0.25 and 0.8 < each.std() < 1.2
    assert abs((noise * other).mean()) < 0.25
    assert not torch.equal(noise[:2], noise[2:])


def test_inputs_of_a_sample_depend_neither_on_other_samples_nor_on_position(shards: str):
    recipe, _ = built(text_drop=0.5)
    batch = first_batch(shards, recipe, 4)
    reversed_batch = {
        name: value[::-1].copy() if isinstance(value, np.ndarray) else value[::-1] for name, value in batch.items()
    }
    one = recipe.prepare(batch, rng_of(batch))
    two = recipe.prepare(reversed_batch, rng_of(reversed_batch))
    order = [3, 2, 1, 0, 7, 6, 5, 4]
    for name, value in one.items():
        assert torch.equal(value, two[name][order]), name
    later = recipe.prepare(batch, rng_of(batch, step=1))
    assert not torch.equal(later["timesteps"], one["timesteps"])


def test_targets_are_noise_or_v_depending_on_the_scheduler():
    x, noise = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0)), torch.ones(2, 4, 3, 3)
    times = torch.tensor([0, 700])
    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    assert torch.equal(target(DDPMScheduler(**options), x, noise, times), noise)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    bar = (1 - betas).cumprod(0)[times].view(2, 1, 1, 1)
    found = target(DDPMScheduler(**options, prediction_type="v_prediction"), x, noise, times)
    torch.testing.assert_close(found, bar.sqrt() * noise - (1 - bar).sqrt() * x)
    with pytest.raises(BadInput, match="predicts sample"):
        target(DDPMScheduler(**options, prediction_type="sample"), x, noise, times)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_weights_by_hand(kind: str):
    """Hang et al. 2023: SNR = ᾱ / (1 - ᾱ); ε: min(SNR, γ) / SNR; v: min(SNR, γ) / (SNR + 1)."""
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=kind)
    times = torch.tensor([0, 100, 300, 700, 999])
    bars = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    expected: list[float] = []
    for time in times.tolist():
        snr = bars[time] / (1 - bars[time])
        expected.append(min(snr, 5.0) / (snr if kind == "epsilon" else snr + 1))
    assert min(expected) < 0.2
    assert max(expected) <= 1
    np.testing.assert_allclose(loss_weights(scheduler, times, 5.0), expected, rtol=1e-4)
    assert loss_weights(scheduler, times, 0.0).tolist() == [1.0] * 5


def test_min_snr_weights_the_loss_of_each_image(shards: str):
    plain, module = built(intrinsic_weight=0.5)
    weighted, _ = built(intrinsic_weight=0.5, min_snr=2.0)
    batch = first_batch(shards, plain, 2)
    inputs, same = (recipe.prepare(batch, rng_of(batch)) for recipe in (plain, weighted))
    with torch.no_grad():
        found, expected = module(same), module(inputs)
    snr = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)[inputs["timesteps"]]
    snr = snr / (1 - snr)
    torch.testing.assert_close(found["loss"], snr.clamp(max=2) / (snr + 1) * expected["loss"], rtol=1e-4, atol=1e-6)
    assert torch.equal(found["image"], expected["image"])
    assert (found["loss"] != expected["loss"]).all()


def test_maps_are_masked_independently_with_the_probability():
    options = tiny(phase="vae")
    keys = tuple(f"key-{number}" for number in range(1000))
    mask = zero_mask(Views({"key": keys}, options), StepRng(0, 0, keys), options.layout, 0.1)[..., 0, 0]
    assert mask.shape == (2000, 8) and set(mask.unique().tolist()) == {0, 1}
    by_map = {name: mask[:, where] for name, where in options.layout.slices.items()}
    assert all(torch.equal(each, each[:, :1].expand_as(each)) for each in by_map.values())
    firsts = torch.stack([each[:, 0] for each in by_map.values()])
    assert ((1 - firsts).mean(1) - 0.1).abs().max() < 0.025
    assert torch.corrcoef(firsts).fill_diagonal_(0).abs().max() < 0.1


def test_a_masked_map_is_0_in_the_input_of_the_vae(shards: str):
    recipe, _ = built(phase="vae", zero_mask=0.5)
    batch = first_batch(shards, recipe, 4)
    maps = recipe.prepare(batch, rng_of(batch))["maps"]
    given = torch.from_numpy(Views(batch, recipe.options).maps())
    lines = maps[:, 7].abs().amax((1, 2)) > 0
    assert 0 < lines.sum() < 8
    assert torch.equal(maps[lines, 7], given[lines, 7])


def test_captions_are_dropped_for_guidance(shards: str):
    recipe, _ = built(text_drop=0.5)
    batch = first_batch(shards, recipe, 4)
    dropping = [recipe.prepare(batch, rng_of(batch, step))["context"] for step in range(4)]
    caption = built(text_drop=0.0)[0].prepare(batch, rng_of(batch))["context"][0]
    unconditional = built(empty_captions="unconditional")[0]
    no_captions = batch | {"caption": [""] * 4, "source_caption": [""] * 4}
    empty = unconditional.prepare(no_captions, rng_of(batch))["context"][0]
    rows = torch.cat(dropping)
    is_caption, is_empty = ((rows - each).abs().amax((1, 2)) < 1e-5 for each in (caption, empty))
    assert torch.equal(is_caption, ~is_empty)
    assert 6 < is_empty.sum() < 26


def test_the_cache_gives_the_same_inputs(shards: str, tmp_path: Path):
    plain, _ = built()
    batch = first_batch(shards, plain, 2)
    expected = plain.prepare(batch, rng_of(batch))
    cached, _ = built(cache=str(tmp_path))
    for _ in range(2):
        found = cached.prepare(batch, rng_of(batch))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 4 + 4 + 1  # images, map stacks, the only caption


def perturbed(module: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module


@pytest.mark.parametrize("changes", [{"phase": "vae"}, {"train_base": False}, {"train_base": True}], ids=str)
def test_trained_weights_are_restored_bit_for_bit(shards: str, tmp_path: Path, changes: dict[str, Any]):
    recipe, module = built(shards, **changes)
    recipe.save(perturbed(module), tmp_path)
    again, fresh = built(**changes)
    again.load(fresh, tmp_path)
    batch = first_batch(shards, recipe, 2)
    inputs = recipe.prepare(batch, rng_of(batch))
    for (name, one), (_, two) in zip(module.named_parameters(), fresh.named_parameters(), strict=True):
        assert torch.equal(one, two), name
    with torch.no_grad():
        assert torch.equal(module(inputs)["loss"], fresh(inputs)["loss"])


@pytest.mark.parametrize(
    ("changes", "parts"),
    [({"phase": "vae"}, ("vae",)), ({"train_base": False}, ("lora",)), ({"train_base": True}, ("lora", "base"))],
    ids=str,
)
def test_a_new_run_begins_with_the_weights_of_another(
    shards: str, tmp_path: Path, changes: dict[str, Any], parts: tuple[str, ...]
):
    recipe, module = built(shards, **changes)
    recipe.save(perturbed(module), tmp_path)
    again, fresh = built(**changes, text_drop=0.5, kl_weight=1e-3)
    assert again.begin(fresh, None) == ()
    assert again.begin(fresh, tmp_path) == parts
    assert all(torch.equal(one, two) for one, two in zip(module.parameters(), fresh.parameters(), strict=True))
    if "lora" in parts:
        _, fresh = built(**changes)
        assert again.begin(fresh, tmp_path / "pytorch_lora_weights.safetensors") == ("lora",)
        with pytest.raises(BadInput, match="are of another model"):
            again.begin(built(**changes, rank=2)[1], tmp_path / "pytorch_lora_weights.safetensors")


def test_images_of_the_user_need_only_a_caption_in_phase_unet(shards: str):
    own = {"source": np.zeros((1, SIDE, SIDE, 3), np.uint8), "caption": ["A mug."], "key": ["mine.png"]}
    recipe, module = built(train_base=False)
    assert recipe.sample(module, own, 0)["prediction"].shape == (1, SIDE, SIDE, 3)
    recipe, module = built(shards, phase="vae")
    with pytest.raises(BadInput, match="remove validate_images"):
        recipe.sample(module, own, 0)


def test_lora_loads_in_the_stable_diffusion_pipeline_of_diffusers(tmp_path: Path):
    recipe, module = built(train_base=False, alpha=2)
    recipe.save(perturbed(module), tmp_path)
    base = Base("tiny")
    pipeline = StableDiffusionPipeline(
        vae=base.vae(torch.float32),
        text_encoder=tiny_part("text_encoder"),
        tokenizer=tiny_part("tokenizer"),
        unet=base.network(torch.float32),
        scheduler=base.scheduler(DDPMScheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.load_lora_weights(tmp_path)
    merged = base.network(torch.float32)
    with torch.no_grad():
        for name, layer in module.network.named_modules():
            if name.endswith((".attn1.to_q", ".attn1.to_k", ".attn1.to_v", ".attn1.to_out.0")):
                update = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
                merged.get_submodule(name).weight.add_(2 / 4 * update)
        inputs = torch.randn(1, 4, 4, 4), torch.tensor([5]), torch.randn(1, 77, 16)
        expected = merged(*inputs).sample
        torch.testing.assert_close(pipeline.unet(*inputs).sample, expected, atol=1e-5, rtol=1e-4)
        assert (base.network(torch.float32)(*inputs).sample - expected).abs().max() > 1e-3


def test_saved_folders_load_in_the_libraries(shards: str, tmp_path: Path):
    recipe, module = built(phase="vae", shards=shards)
    recipe.save(module, tmp_path / "vae")
    assert AutoencoderKL.from_pretrained(tmp_path / "vae").config.in_channels == 8
    recipe, module = built(train_base=True)
    recipe.save(perturbed(module), tmp_path / "unet")
    base = UNet2DConditionModel.from_pretrained(tmp_path / "unet" / "unet")
    assert torch.equal(base.conv_in.weight, module.network.conv_in.weight)
    with safe_open(tmp_path / "unet" / "pytorch_lora_weights.safetensors", framework="pt") as opened:
        metadata = json.loads(opened.metadata()["lora_adapter_metadata"])
    assert metadata["unet.target_modules"] == ["attn1.to_k", "attn1.to_out.0", "attn1.to_q", "attn1.to_v"]


def test_a_checkpoint_of_another_configuration_is_an_error_that_names_the_differences(tmp_path: Path):
    recipe, module = built(rank=4)
    recipe.save(module, tmp_path)
    other, fresh = built(rank=8)
    with pytest.raises(BadInput, match=r"rank is 4, here 8"):
        other.load(fresh, tmp_path)
    with pytest.raises(BadInput, match=r"phase is unet, here vae"):
        Ildm(tiny(phase="vae")).load(fresh, tmp_path)
    with pytest.raises(BadInput, match=r"holds no ildm.json"):
        other.load(fresh, tmp_path / "elsewhere")


def test_bad_input_gives_one_line_errors(shards: str, tmp_path: Path):
    recipe, _ = built()
    batch = first_batch(shards, recipe, 2)
    empty = batch | {"source_caption": ["two boxes", " "]}
    with pytest.raises(BadInput, match=f"sample {batch['key'][1]} has no source_caption"):
        recipe.prepare(empty, rng_of(batch))
    unconditional, _ = built(empty_captions="unconditional")
    assert unconditional.prepare(empty, rng_of(batch))["context"].shape == (4, 77, 16)
    with pytest.raises(BadInput, match=r"images of the shards are 32 x 32, but recipe.resolution is 512"):
        sized, _ = built(resolution=512)
        sized.prepare(batch, rng_of(batch))
    with pytest.raises(BadInput, match="multiples of 16"):
        recipe.prepare({**batch, "source_depth": np.zeros((2, 40, 40))}, rng_of(batch))
    with pytest.raises(BadInput, match=r"holds no ildm.json"):
        built(intrinsic_vae=str(tmp_path))
    with pytest.raises(BadInput, match=r"no readable model_index\.json"):
        Ildm(IldmOptions(base=str(tmp_path))).build(CPU, torch.float32)
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(BadInput, match="intrinsic_vae is empty"):
        Ildm(IldmOptions(base=str(tmp_path))).build(CPU, torch.float32)
    with pytest.raises(BadInput, match="no usable vae/"):
        Ildm(IldmOptions(base=str(tmp_path), phase="vae")).build(CPU, torch.float32)
