"""Sampling: the loop against a plain one, determinism, loading from a folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.ildm.models import Base
from spatialdata_builder.training.ildm.pipeline import IldmPipeline
from spatialdata_builder.training.ildm.recipe import Ildm
from tests.training.ildm.parts import CPU, SIDE, first_batch, first_of, make_shards, tiny

DROP = {"kind": "drop", "tau": 500, "blocks": [1, 3]}
SAMPLING = {"side": SIDE, "steps": 4, "guidance": 3.0, "schedule": DROP}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of phase unet with its VAE of phase vae."""
    root = tmp_path_factory.mktemp("models")
    vae = Ildm(tiny(phase="vae"))
    vae.see(first_of(make_shards(root / "shards", 4), vae))
    vae.save(vae.build(CPU, torch.float32), root / "vae")
    recipe = Ildm(tiny(intrinsic_vae=str(root / "vae"), sampling=SAMPLING))
    module = recipe.build(CPU, torch.float32)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    recipe.save(module, root / "unet")
    return root / "unet"


def test_sampling_is_guided_ddim_of_both_domains_with_the_schedule(folder: Path):
    pipeline = IldmPipeline.load(folder)
    noise = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    found = pipeline(["a red box", "two boxes"], noise=noise)

    scheduler = Base("tiny").scheduler(DDIMScheduler)
    scheduler.set_timesteps(4)
    image, intrinsic = noise, noise
    module, scale = pipeline.module, pipeline.intrinsic_vae.config.scaling_factor
    assert abs(scale / 0.18215 - 1) > 0.1
    with torch.no_grad():
        context, empty = pipeline.text(["a red box", "two boxes"]), pipeline.text(["", ""])
        for time in scheduler.timesteps:
            for attention in module.attentions():
                attention.weight = float(attention.block in (1, 3) and time <= 500)
            times = torch.full((2,), int(time))
            with_text, without = (module.predict(image, intrinsic, times, each) for each in (context, empty))
            guided = [no + 3 * (yes - no) for yes, no in zip(with_text, without, strict=True)]
            image = scheduler.step(guided[0], time, image).prev_sample
            intrinsic = scheduler.step(guided[1], time, intrinsic).prev_sample
        picture = pipeline.vae.decode(image / 0.18215).sample.clamp(-1, 1).permute(0, 2, 3, 1)
        maps = pipeline.intrinsic_vae.decode(intrinsic / scale).sample
    np.testing.assert_allclose(found.image, (picture.numpy() + 1) * 127.5, atol=1)
    np.testing.assert_allclose(found.stack, maps.numpy(), atol=1e-4)
    shapes = {name: (each.shape, each.dtype) for name, each in found.maps().items()}
    assert shapes == {
        "depth": ((2, SIDE, SIDE), np.float32),
        "normal": ((2, SIDE, SIDE, 3), np.float32),
        "segment": ((2, SIDE, SIDE, 3), np.uint8),
        "line": ((2, SIDE, SIDE), np.uint8),
    }


def test_an_image_depends_on_its_seed_and_attention_weights_are_reset(folder: Path):
    pipeline = IldmPipeline.load(folder)
    one, two = pipeline(["box", "box"], seed=5), pipeline(["box"], seed=6)
    np.testing.assert_allclose(one.stack[1], two.stack[0], atol=1e-4)
    assert np.abs(one.stack[0] - one.stack[1]).max() > 1e-3
    assert {attention.weight for attention in pipeline.module.attentions()} == {1}


def test_the_side_can_be_set_and_an_unsupported_one_is_an_error(folder: Path):
    pipeline = IldmPipeline.load(folder)
    assert pipeline(["box"], side=2 * SIDE).image.shape == (1, 2 * SIDE, 2 * SIDE, 3)
    with pytest.raises(
        BadInput, match=rf"positive multiple of 16 \(got {SIDE + 1}\): set `side`, or recipe\.sampling\.side"
    ):
        pipeline(["box"], side=SIDE + 1)


def test_the_recipe_samples_images_while_training(folder: Path, tmp_path: Path):
    for phase, names in (
        ("unet", {"prediction", "depth", "normal", "segment", "line"}),
        ("vae", {name + each for name in ("", "given_") for each in ("depth", "normal", "segment", "line")}),
    ):
        recipe = Ildm(tiny(phase=phase, sampling=SAMPLING))
        module = recipe.build(CPU, torch.float32)
        batch = first_batch(make_shards(tmp_path / phase, 2), recipe, 2)
        shown = recipe.sample(module, batch, 0)
        assert set(shown) == names
        assert {(each.shape, each.dtype.name) for each in shown.values()} == {((2, SIDE, SIDE, 3), "uint8")}
        again = recipe.sample(module, batch, 0)
        assert all(np.array_equal(again[name], each) for name, each in shown.items())


def test_other_folders_are_an_error(folder: Path, tmp_path: Path):
    with pytest.raises(BadInput, match="holds an intrinsic VAE"):
        IldmPipeline.load(folder.parent / "vae")
    with pytest.raises(BadInput, match=r"was saved by phase unet"):
        IldmPipeline.load(folder, intrinsic_vae=str(folder))
    with pytest.raises(BadInput, match=r"holds no ildm.json"):
        IldmPipeline.load(folder, intrinsic_vae=str(tmp_path))
