"""Latents, depth, position ids and texts against the library's and short independent computations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.spatialdiff.frozen import (
    load_base,
    normalize_depth,
    patchify,
    position_ids,
    unpatchify,
)
from spatialdata_builder.training.spatialdiff.tiny import tiny_base
from tests.training.spatialdiff.factory import CPU, SIDE, tiny


@pytest.fixture(scope="module")
def frozen():
    return load_base(tiny(), CPU, torch.float32)[1]


def picture(seed: int = 0, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_packing_equals_the_library_s():
    z = torch.randn(2, 4, 6, 8)
    packed = FluxKontextPipeline._pack_latents(z, 2, 4, 6, 8)
    assert torch.equal(patchify(z, 2), packed)
    assert torch.equal(unpatchify(packed, 2, 6), z)


def test_position_ids_equal_the_library_s_with_a_third_kind():
    grid = FluxKontextPipeline._prepare_latent_image_ids(1, 3, 5, CPU, torch.float32)
    kinds = [grid + torch.tensor([kind, 0, 0]) for kind in range(3)]
    assert torch.equal(position_ids(3, 3, 5), torch.cat(kinds))
    assert torch.equal(position_ids(2, 3, 5), torch.cat(kinds[:2]))


def test_latents_equal_the_library_s(frozen):
    images = np.stack([picture(0), picture(1)])
    base = tiny_base()
    pixels = base.image_processor.preprocess(torch.tensor(images).movedim(-1, 1) / 255)
    with torch.no_grad():
        _, expected, _, _ = base.prepare_latents(pixels, 2, 4, SIDE, SIDE, torch.float32, CPU, torch.Generator())
    torch.testing.assert_close(frozen.latents(images), expected)


def test_decoding_reverts_shift_and_scale(frozen):
    latents = torch.randn(1, 4, 16)
    z = FluxKontextPipeline._unpack_latents(latents, SIDE, SIDE, 8)
    config = frozen.base.vae.config
    with torch.no_grad():
        pixels = frozen.base.vae.decode(z / config.scaling_factor + config.shift_factor).sample[0]
    expected = ((pixels.movedim(0, -1) / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    assert torch.equal(frozen.images(latents, SIDE)[0], expected)


def test_depth_is_normalized_per_image(frozen):
    depth = np.random.default_rng(0).random((2, SIDE, SIDE), dtype=np.float32)
    depth[1] = depth[1] * 0.3 + 0.1
    for one, made in zip(depth, normalize_depth(depth).numpy(), strict=True):
        assert made.min() == -1
        assert made.max() == pytest.approx(1)
        np.testing.assert_allclose(made, np.interp(one, [one.min(), one.max()], [-1, 1]), atol=1e-5)
    # Scale and offset of the depth do not matter.
    torch.testing.assert_close(
        frozen.encode(("depth", depth))[0], frozen.encode(("depth", depth * 3 + 2))[0], atol=1e-4, rtol=0
    )
    assert (normalize_depth(np.full((1, 4, 4), 0.5)) == -1).all()


def test_depth_becomes_latents_of_a_gray_image_or_patches_of_pixels(frozen):
    depth = np.random.default_rng(1).random((1, SIDE, SIDE), dtype=np.float32)
    gray = normalize_depth(depth)[:, None]
    config = frozen.base.vae.config
    with torch.no_grad():
        z = frozen.base.vae.encode(gray.repeat(1, 3, 1, 1)).latent_dist.mode()
    expected = FluxKontextPipeline._pack_latents((z - config.shift_factor) * config.scaling_factor, 1, 4, 4, 4)
    torch.testing.assert_close(frozen.encode(("depth", depth))[0], expected)
    explicit = frozen.depth_patches(depth)
    assert explicit.shape == (1, 4, 256)
    assert torch.equal(explicit[0, 1].view(16, 16), gray[0, 0, :16, 16:])


def test_text_embeddings_equal_those_of_the_library_s_pipeline(frozen, caplog):
    texts = ["Move the box.", "Turn it to the left side.", "Move it, letter by letter, " * 8]
    tokens, pooled = frozen.texts(texts)
    assert not caplog.records, "warnings about texts that CLIP truncates"
    with torch.no_grad():
        expected, expected_pooled, _ = tiny_base().encode_prompt(texts, device=CPU, max_sequence_length=128)
    torch.testing.assert_close(tokens, expected)
    torch.testing.assert_close(pooled, expected_pooled)
    assert (tokens[0] != tokens[1]).any()
    assert (pooled[0] != pooled[1]).any()


def test_cached_values_equal_computed_ones(tmp_path: Path):
    images, texts = np.stack([picture(2), picture(3)]), ["one", "two"]
    depth = images[..., 0].astype(np.float32)
    plain = load_base(tiny(), CPU, torch.float32)[1]
    expected = [plain.latents(images), plain.encode(("depth", depth))[0], *plain.texts(texts)]
    for hits in (0, 6):
        cached = load_base(tiny(cache=str(tmp_path / "cache")), CPU, torch.float32)[1]
        found = [cached.latents(images), cached.encode(("depth", depth))[0], *cached.texts(texts)]
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, expected, strict=True))
        assert cached.cache.stats.hits == hits


def test_a_map_and_an_image_of_equal_bytes_are_two_entries(tmp_path: Path):
    frozen = load_base(tiny(cache=str(tmp_path / "cache")), CPU, torch.float32)[1]
    frozen.encode(("depth", np.zeros((1, SIDE, SIDE), np.float32)))
    frozen.latents(np.zeros((1, SIDE, SIDE, 3), np.uint8))
    assert (frozen.cache.stats.hits, frozen.cache.stats.misses) == (0, 2)


def test_a_base_is_loaded_from_its_folder(tmp_path: Path):
    base = tiny_base()
    with torch.no_grad():
        base.transformer.proj_out.bias.fill_(0.5)
        base.vae.encoder.conv_in.bias.fill_(0.25)
    base.save_pretrained(tmp_path / "base")
    transformer, frozen = load_base(tiny(base=str(tmp_path / "base")), CPU, torch.float32)
    assert (transformer.proj_out.bias == 0.5).all()
    assert not any(value.requires_grad for value in transformer.parameters())
    assert (frozen.base.vae.encoder.conv_in.bias == 0.25).all()
    assert frozen.base.transformer is None
    images = picture()[None]
    torch.testing.assert_close(frozen.texts(["one"])[0], load_base(tiny(), CPU, torch.float32)[1].texts(["one"])[0])
    assert (frozen.latents(images) != load_base(tiny(), CPU, torch.float32)[1].latents(images)).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "does not exist"),
        (lambda folder: folder.mkdir(), "is not FLUX.1-Kontext in diffusers' layout"),
    ],
)
def test_a_missing_base_is_named(tmp_path: Path, make, message: str):
    folder = tmp_path / "base"
    make(folder)
    with pytest.raises(BadInput, match=message) as caught:
        load_base(tiny(base=str(folder)), CPU, torch.float32)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_hub_weights_give_an_error_with_what_to_run(monkeypatch, tmp_path: Path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        BadInput, match=r"run `hf download somebody/kontext --revision v1`.*accept the license"
    ) as caught:
        load_base(tiny(base="somebody/kontext", revision="v1"), CPU, torch.float32)
    assert "\n" not in str(caught.value)


def test_another_size_gives_an_error_with_what_to_set(frozen):
    with pytest.raises(BadInput, match=r"48 x 48, but recipe.width x recipe.height is 32 x 32"):
        frozen.condition(picture(side=48)[None], ["one"], 1.0)
