"""Inputs, outputs and weights of the geometry encoder."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.spatialdiff.geometry import AggregatorEncoder, aggregator_weights, fit, load_geometry
from spatialdata_builder.training.spatialdiff.nets import TinyAggregator
from spatialdata_builder.training.spatialdiff.options import GeometrySection
from tests.training.spatialdiff.factory import CPU


def picture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 512), (518, 518)), ((384, 512), (392, 518)), ((512, 256), (518, 252)), ((64, 2048), (14, 518))],
)
def test_sides_are_multiples_of_14_and_the_longer_one_is_518(size: tuple, expected: tuple):
    assert fit(torch.zeros(1, *size, 3, dtype=torch.uint8), 518).shape[2:] == expected


@pytest.mark.parametrize("side", [70, 252])
def test_pixels_equal_a_bicubic_resize(side: int):
    image = picture(128, 128)
    expected = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) / 255
    made = fit(torch.tensor(image)[None], side)[0].movedim(0, -1).numpy()
    assert made.min() >= 0
    assert made.max() <= 1
    np.testing.assert_allclose(made, expected, atol=1.5 / 255)


def test_tokens_are_those_of_the_last_layer_with_camera_and_registers():
    aggregator = TinyAggregator()
    encoder = AggregatorEncoder(aggregator, 64, 56, torch.float32)
    images = torch.tensor(picture(64, 48))[None].repeat(2, 1, 1, 1)
    tokens = encoder(images)
    assert tokens.shape == (2, 5 + 4 * 3, 64)
    assert not tokens.requires_grad
    with torch.no_grad():
        layers, start = aggregator(fit(images, 56)[:, None])
    assert start == 5
    assert torch.equal(tokens, layers[-1][:, 0])


def test_the_tiny_encoder_is_frozen_and_deterministic():
    options = GeometrySection(model="tiny", side=28)
    first, second = (load_geometry(options, CPU, torch.float32) for _ in range(2))
    images = torch.tensor(picture(32, 32))[None]
    assert torch.equal(first(images), second(images))
    assert not any(value.requires_grad for value in first.aggregator.parameters())
    assert load_geometry(options, CPU, torch.bfloat16)(images).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_only_the_aggregator_s_weights_are_loaded(tmp_path: Path, name: str):
    weights = {"aggregator.camera_token": torch.randn(1, 2), "depth_head.weight": torch.randn(3)}
    save = save_file if name.endswith("safetensors") else torch.save
    save(weights, tmp_path / name)
    found = aggregator_weights(tmp_path / name)
    assert set(found) == {"camera_token"}
    assert torch.equal(found["camera_token"], weights["aggregator.camera_token"])
    save({"weight": torch.randn(1)}, tmp_path / name)
    with pytest.raises(BadInput, match="it is not VGGT's"):
        aggregator_weights(tmp_path / name)


@pytest.mark.skipif(importlib.util.find_spec("vggt") is not None, reason="vggt is installed")
def test_a_missing_package_gives_a_one_line_error_with_what_to_run():
    with pytest.raises(BadInput, match=r"package 'vggt'.*`pip install .*git\+https") as caught:
        load_geometry(GeometrySection(), CPU, torch.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("vggt") is None, reason="vggt is not installed")
def test_vggt_s_own_aggregator_fits():
    from vggt.models.aggregator import Aggregator  # pyright: ignore[reportMissingImports]

    aggregator = Aggregator(img_size=56, embed_dim=64, depth=1, num_heads=4, patch_embed="conv").eval()
    assert aggregator.camera_token.shape[-1] == 64
    tokens = AggregatorEncoder(aggregator, 128, 56, torch.float32)(torch.tensor(picture(64, 48))[None])
    assert tokens.shape == (1, 5 + 4 * 3, 128)
