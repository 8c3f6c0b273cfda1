"""The scale of the intrinsic latents in every saved VAE, and the perceptual error."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.data import first_training_samples
from spatialdata_builder.training.ildm.encoders import latent_scale
from spatialdata_builder.training.ildm.maps import MapLayout
from spatialdata_builder.training.ildm.models import Base
from spatialdata_builder.training.ildm.nets import IntrinsicVae, Perceptual, widen
from spatialdata_builder.training.ildm.recipe import PROBE, Ildm
from spatialdata_builder.training.ildm.vae_phase import lpips
from spatialdata_builder.training.ildm.views import Views
from tests.training.ildm.parts import CPU, first_batch, make_shards, rng_of, tiny
from tests.training.launched import launch, run_tiny

VIEWS = "recipe.views=[source,target]"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("shards"))


def scale_of(folder: Path) -> float:
    return json.loads((folder / "config.json").read_text())["scaling_factor"]


def test_scaled_latents_of_every_saved_vae_have_unit_deviation(shards: str, tmp_path: Path):
    """Measured again: sampled latents of all training images, of the trained and of the averaged weights."""
    done = run_tiny("ildm", shards, tmp_path, ["steps=4", "save_every=2", "recipe.phase=vae", "ema=0.5", VIEWS])
    recipe = Ildm(tiny(phase="vae"))
    maps = torch.from_numpy(Views(first_batch(shards, recipe, 8), recipe.options).maps())
    scales: list[float] = []
    for folder in (done.checkpoint / "model", done.checkpoint / "ema", done.checkpoint.with_name("2") / "model"):
        vae = AutoencoderKL.from_pretrained(folder)
        with torch.no_grad():
            posterior = vae.encode(maps).latent_dist
            latents = torch.stack([posterior.sample() for _ in range(20)]) * vae.config.scaling_factor
        assert float(latents.std()) == pytest.approx(1, rel=0.02)
        scales.append(scale_of(folder))
    assert len(set(scales)) == 3
    assert abs(scales[0] / 0.18215 - 1) > 0.1


def test_the_scale_includes_the_noise_of_the_posterior_and_removes_the_mean():
    """Equal to the deviation of many drawn latents, for a VAE whose posterior is wide."""
    vae = widen(Base("tiny").vae(torch.float32), MapLayout())
    maps = np.random.default_rng(0).uniform(-1, 1, (3, 8, 16, 16)).astype(np.float32)
    with torch.no_grad():
        posterior = vae.encode(torch.from_numpy(maps)).latent_dist
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(4000, *posterior.mean.shape, generator=generator)
        drawn = (posterior.mean + posterior.std * noise).double()
    assert latent_scale(vae, maps) == pytest.approx(float(1 / drawn.std()), rel=5e-3)
    assert float(posterior.std.mean()) > 0.3 * float(posterior.mean.std())


def test_the_scale_is_measured_on_the_first_valid_training_samples(shards: str, tmp_path: Path):
    config = load_config(Ildm, None, "tiny", ["recipe.phase=vae"])
    recipe = Ildm(tiny(phase="vae"))
    first = first_training_samples(recipe, config, shards, PROBE)
    assert len(first["key"]) == 8
    assert set(first["key"]) == set(first_batch(shards, recipe, 8)["key"])
    damaged = {**first, "valid": np.array([True] * 2 + [False] * 6), "line": first["line"].copy()}
    damaged["line"][2:] = 77
    scales: list[float] = []
    for batch in (damaged, {name: value[:2] for name, value in first.items()}):
        recipe = Ildm(tiny(phase="vae"))
        recipe.see(lambda count, batch=batch: batch)
        recipe.save(recipe.build(CPU, torch.float32), tmp_path)
        scales.append(scale_of(tmp_path))
    assert scales[0] == scales[1]


def test_the_scale_of_a_sharded_run_is_that_of_one_process(shards: str, tmp_path: Path):
    settings = ["steps=1", "recipe.phase=vae"]
    run_tiny("ildm", shards, tmp_path / "one", [*settings, "batch_size=4"])
    done = launch("ildm", shards, tmp_path / "two", [*settings, "batch_size=2", "sharded=true"], processes=2)
    assert done.returncode == 0, done.stderr
    one, two = (scale_of(tmp_path / name / "checkpoints/1/model") for name in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-4)


def test_phase_unet_scales_intrinsic_latents_with_the_measured_scale(shards: str, tmp_path: Path):
    recipe = Ildm(tiny(phase="vae"))
    batch = first_batch(shards, recipe, 8)
    recipe.see(lambda count: batch)
    recipe.save(recipe.build(CPU, torch.float32), tmp_path)
    recipe = Ildm(tiny(intrinsic_vae=str(tmp_path)))
    module: Any = recipe.build(CPU, torch.float32)
    batch = first_batch(shards, recipe, 8)
    latents: list[torch.Tensor] = []
    for step in range(4):
        inputs = recipe.prepare(batch, rng_of(batch, step))
        bars = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)[inputs["timesteps"]]
        a, s = bars.sqrt().view(-1, 1, 1, 1), (1 - bars).sqrt().view(-1, 1, 1, 1)
        latents.append(a * inputs["intrinsic"] - s * inputs["intrinsic_target"])  # x_t = a x + s ε, v = a ε - s x
    assert float(torch.cat(latents).std()) == pytest.approx(1, rel=0.03)
    assert module.training


def test_saving_without_samples_to_measure_on_is_an_error(tmp_path: Path):
    recipe = Ildm(tiny(phase="vae"))
    with pytest.raises(SpatialdataError, match="call see first"):
        recipe.save(recipe.build(CPU, torch.float32), tmp_path)


class Metric(nn.Module):
    """A small metric with the interface of `lpips.LPIPS`: squared distance of features, (n, 1, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 5, 3)
        self.seen: list[torch.Tensor] = []

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        self.seen.append(second)
        return (self.features(first) - self.features(second)).square().mean((1, 2, 3), keepdim=True)


def test_the_perceptual_error_is_the_mean_over_the_maps_shown_as_images():
    torch.manual_seed(0)
    layout, metric = MapLayout(), Metric().requires_grad_(False)
    maps = torch.rand(2, 8, 16, 16) * 2 - 1
    noise = torch.randn(2, 4, 2, 2)
    made_by = widen(Base("tiny").vae(torch.float32), layout)
    inputs = {"maps": maps, "noise": noise}
    plain = IntrinsicVae(made_by, "l1", 1e-6)(inputs)
    module = IntrinsicVae(made_by, "l1", 1e-6, Perceptual(metric, layout), 0.7)
    found = module(inputs)

    posterior = made_by.encode(maps).latent_dist
    made = made_by.decode(posterior.mean + posterior.std * noise).sample
    shown = {"depth": [0, 0, 0], "normal": [1, 2, 3], "segment": [4, 5, 6], "line": [7, 7, 7]}
    errors = [
        (metric.features(made[:, index]) - metric.features(maps[:, index])).square().mean((1, 2, 3))
        for index in shown.values()
    ]
    torch.testing.assert_close(found["lpips"], torch.stack(errors).mean(0))
    torch.testing.assert_close(found["loss"], plain["loss"] + 0.7 * found["lpips"])
    assert [torch.equal(seen, maps[:, index]) for seen, index in zip(metric.seen, shown.values(), strict=False)] == [
        True
    ] * 4
    assert "lpips" not in plain

    found["lpips"].sum().backward()
    assert made_by.decoder.conv_out.weight.grad.abs().max() > 0
    assert made_by.encoder.conv_in.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in metric.parameters())
    assert not any(name.startswith("perceptual") for name in module.state_dict())
    assert len(list(module.parameters())) == len(list(made_by.parameters()))


def test_lpips_is_asked_for_by_its_options_and_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, shards: str):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(BadInput, match="pip install lpips torchvision"):
        Ildm(tiny(phase="vae", lpips_weight=0.5)).build(CPU, torch.float32)
    package = ModuleType("lpips")
    package.LPIPS = lambda net, verbose: Metric()  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "lpips", package)
    recipe = Ildm(tiny(phase="vae", lpips_weight=0.5))
    module: Any = recipe.build(CPU, torch.float32)
    batch = first_batch(shards, recipe, 2)
    found = module(recipe.prepare(batch, rng_of(batch)))
    assert found["loss"].shape == found["lpips"].shape == (4,)
    assert not module.perceptual.metric.training
    assert not any(parameter.requires_grad for parameter in module.perceptual.metric.parameters())
    assert isinstance(lpips(), Metric)
