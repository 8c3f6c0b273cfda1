"""Editing: equals Kontext's sampling if no parts were added, and needs only image and instruction."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.recipe import StepRng
from spatialdata_builder.training.spatialdiff.pipeline import SpatialDiffPipeline
from spatialdata_builder.training.spatialdiff.recipe import SpatialDiff
from spatialdata_builder.training.spatialdiff.tiny import tiny_base
from tests.training.spatialdiff.factory import CPU, SIDE, batch_of, built, perturb, tiny


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def test_without_added_parts_sampling_equals_the_library():
    recipe, net = built(ablation="lora_only")
    images, texts = pictures(2), ["Move the box.", "Turn it."]
    mine = SpatialDiffPipeline(net, recipe.frozen).edit(images, texts, seed=3, steps=5, guidance=3.0)
    theirs = tiny_base()(
        image=torch.tensor(images).movedim(-1, 1) / 255,
        prompt=texts,
        height=SIDE,
        width=SIDE,
        max_area=SIDE * SIDE,
        _auto_resize=False,
        num_inference_steps=5,
        guidance_scale=3.0,
        latents=StepRng(3, 0, ("0", "1")).normal((4, 16)),
        max_sequence_length=128,
        output_type="np",
    ).images
    assert mine.depth is None
    assert np.abs(mine.images - theirs * 255).max() < 1


@pytest.mark.parametrize("ablation", ["ism", "explicit_depth", "latent_depth"])
def test_an_edit_needs_only_image_and_instruction(ablation: str):
    recipe, net = built(ablation=ablation)
    perturb(net)
    net.train()
    pipeline = SpatialDiffPipeline(net, recipe.frozen)
    edited = pipeline.edit(pictures(1), ["Move it."], steps=2)
    assert edited.images.shape == (1, SIDE, SIDE, 3)
    assert edited.images.dtype == np.uint8
    assert (edited.depth is None) == (ablation == "ism")
    if edited.depth is not None:
        assert edited.depth.shape == (1, SIDE, SIDE, 3)
    assert net.training


def test_an_edit_depends_on_seed_and_key_not_on_the_batch():
    recipe, net = built()
    perturb(net)
    pipeline = SpatialDiffPipeline(net, recipe.frozen)
    images, texts = pictures(2), ["one", "two"]
    both = pipeline.edit(images, texts, seed=1, keys=("a", "b"), steps=2).images
    alone = pipeline.edit(images[1:], texts[1:], seed=1, keys=("b",), steps=2).images
    assert np.abs(both[1].astype(int) - alone[0]).max() <= 1
    assert not np.array_equal(pipeline.edit(images, texts, seed=2, keys=("a", "b"), steps=2).images, both)


def test_spatial_tokens_change_the_edit():
    recipe, net = built()
    perturb(net)
    pipeline = SpatialDiffPipeline(net, recipe.frozen)
    before = pipeline.edit(pictures(1), ["Move it."], steps=2).images
    with torch.no_grad():
        net.connector.queries.mul_(-50)
    assert not np.array_equal(pipeline.edit(pictures(1), ["Move it."], steps=2).images, before)


def test_a_pipeline_from_a_folder_edits_an_image_of_any_size(tmp_path: Path):
    recipe, net = built()
    perturb(net)
    recipe.save(net, tmp_path / "out")
    pipeline = SpatialDiffPipeline.from_folder(tmp_path / "out", "cpu")
    images = pictures(1)
    expected = SpatialDiffPipeline(net, recipe.frozen).edit(images, ["Move it."], seed=4).images
    assert np.array_equal(pipeline.edit(images, ["Move it."], seed=4).images, expected)
    assert np.array_equal(np.asarray(pipeline(Image.fromarray(images[0]), "Move it.", seed=4)), expected[0])
    assert pipeline(Image.new("RGB", (50, 40)), "Move it.", steps=1).size == (50, 40)


def test_editing_does_not_need_the_folder_of_stage_1(tmp_path: Path):
    first, net = built(stage=1)
    first.save(net, tmp_path / "one")
    second, net = built()
    second.begin(net, tmp_path / "one")
    second.save(net, tmp_path / "two")
    shutil.rmtree(tmp_path / "one")
    pipeline = SpatialDiffPipeline.from_folder(tmp_path / "two", "cpu", torch.float32)
    assert torch.equal(pipeline.net.connector.queries, net.connector.queries)


def test_another_folder_is_an_error(tmp_path: Path):
    with pytest.raises(BadInput, match="is not a result folder of recipe spatialdiff"):
        SpatialDiffPipeline.from_folder(tmp_path, "cpu", torch.float32)


def test_editing_works_in_bfloat16():
    recipe = SpatialDiff(tiny())
    net = recipe.build(CPU, torch.bfloat16)
    assert SpatialDiffPipeline(net, recipe.frozen).edit(pictures(1), ["Move it."], steps=2).images.any()


def test_samples_of_the_recipe_are_images_by_name(tmp_path: Path):
    recipe, net = built()
    batch = batch_of(recipe, tmp_path / "set")
    made = recipe.sample(net, batch, 7)
    assert set(made) == {"prediction", "depth"}
    assert {value.shape for value in made.values()} == {(2, SIDE, SIDE, 3)}
    again = recipe.sample(net, batch, 7)
    assert all(np.array_equal(made[name], again[name]) for name in made)
