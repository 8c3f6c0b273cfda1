"""Both phases overfit 8 real samples, with the paper's trainable weights: all of the VAE, only LoRA of the UNet.

A random base does not work here: LoRA does not change the image half, whose error, half of the loss, would stay the
same. So the small base is first trained on these images, just as SD2.1 was trained before I-LDM.
"""

import pytest
import torch

from spatialdata_builder.training.ildm.models import Base
from spatialdata_builder.training.ildm.recipe import Ildm
from tests.training.ildm.parts import CPU, first_batch, first_of, make_shards, rng_of, save_tiny, tiny, train

LORA = {"train_base": False, "rank": 32, "alpha": 32}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def base(shards: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder in diffusers' layout whose UNet was trained on the images."""
    folder, parts = tmp_path_factory.mktemp("base"), Base("tiny")
    recipe = Ildm(tiny())
    recipe.build(CPU, torch.float32)
    batch = first_batch(shards, recipe, 8)
    inputs = recipe.prepare(batch, rng_of(batch))
    unet = parts.network(torch.float32)
    optimizer = torch.optim.AdamW(unet.parameters(), 4e-3)
    for _ in range(150):
        predicted = unet(inputs["image"], inputs["timesteps"], inputs["context"]).sample
        (predicted - inputs["image_target"]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    save_tiny(folder, unet=unet)
    return str(folder)


@pytest.fixture(scope="module")
def intrinsic_vae(shards: str, base: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[float]]:
    """The folder saved by phase vae, and its losses."""
    folder = tmp_path_factory.mktemp("vae")
    recipe = Ildm(tiny(phase="vae", base=base, views=("target",), reconstruction="mse"))
    recipe.see(first_of(shards, recipe))
    module, losses = train(recipe, first_batch(shards, recipe, 8), steps=60, lr=4e-3)
    recipe.save(module, folder)
    return str(folder), losses


def test_the_vae_overfits_8_samples(intrinsic_vae: tuple[str, list[float]]):
    _, losses = intrinsic_vae
    assert losses[-1] < 0.2 * losses[0]


def test_lora_overfits_8_samples_and_the_base_stays_unchanged(
    shards: str, base: str, intrinsic_vae: tuple[str, list[float]]
):
    recipe = Ildm(tiny(base=base, intrinsic_vae=intrinsic_vae[0], **LORA))
    module, losses = train(recipe, first_batch(shards, recipe, 8), steps=700, lr=4e-3)
    assert losses[-1] < 0.2 * losses[0]
    before = Base(base).network(torch.float32).state_dict()
    after = {name.replace(".base_layer.", "."): value for name, value in module.network.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
