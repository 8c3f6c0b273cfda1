"""Editing from a result folder: depth first, then the image; no depth is given."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.spatialfusion.pipeline import SpatialFusionPipeline
from tests.training.spatialfusion.factory import SIDE, batch_of, built, inputs_of, perturb

PICTURE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))
BACKBONES = ("flux-kontext", "joyai")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_saved_model_predicts_depth_and_edits(backbone: str, tmp_path: Path):
    recipe, net = built(backbone=backbone)
    perturb(net)
    recipe.save(net, tmp_path / "out")
    pipeline = SpatialFusionPipeline.from_folder(tmp_path / "out", "cpu")
    made = pipeline(PICTURE, "Move it.", seed=3)
    assert made.image.size == made.depth_picture.size == PICTURE.size
    assert made.depth.shape == (40, 60)
    assert made.depth.dtype == np.float32
    assert made.depth.min() > 0
    again, other = pipeline(PICTURE, "Move it.", seed=3), pipeline(PICTURE, "Move it.", seed=4)
    assert np.array_equal(made.image, again.image)
    assert not np.array_equal(made.image, other.image)
    assert np.array_equal(made.depth, other.depth)
    fitted = np.asarray(PICTURE.resize((SIDE, SIDE), Image.Resampling.LANCZOS))[None]
    trained = SpatialFusionPipeline(net, recipe.frozen).edit(fitted, ["Move it."], seed=3)
    assert np.array_equal(Image.fromarray(trained[0][0]).resize((60, 40), Image.Resampling.LANCZOS), made.image)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_depth_is_the_trained_prediction_and_guides_the_edit(backbone: str, tmp_path: Path):
    recipe, net = built(backbone=backbone)
    perturb(net)
    batch = batch_of(recipe, tmp_path / "set", 2)
    pipeline = SpatialFusionPipeline(net, recipe.frozen)
    images, depth = pipeline.edit(batch["source"], batch["instruction"], keys=batch["key"])
    with torch.no_grad():
        expected = net.depth(inputs_of(recipe, batch))[0].numpy()
    np.testing.assert_array_equal(depth, expected)
    one, _ = pipeline.edit(batch["source"][1:], batch["instruction"][1:], keys=batch["key"][1:])
    assert np.abs(one[0].astype(int) - images[1]).max() <= 1
    torch.nn.init.constant_(net.adapter.out.bias, 3.0)
    changed, same = pipeline.edit(batch["source"], batch["instruction"], keys=batch["key"])
    assert not np.array_equal(changed, images)
    assert np.array_equal(same, depth)


def test_options_of_a_section_can_be_changed_on_load(tmp_path: Path):
    recipe, net = built()
    recipe.save(net, tmp_path / "out")
    pipeline = SpatialFusionPipeline.from_folder(tmp_path / "out", "cpu", flux={"sample_steps": 1})
    assert pipeline.frozen.options.flux.sample_steps == 1
    assert pipeline.frozen.options.flux.base == "tiny"
    assert pipeline(PICTURE, "Move it.").image.size == PICTURE.size


def test_the_result_of_stage_1_predicts_depth_only(tmp_path: Path):
    recipe, net = built(stage=1)
    recipe.save(net, tmp_path / "out")
    pipeline = SpatialFusionPipeline.from_folder(tmp_path / "out", "cpu")
    assert pipeline.depth(np.zeros((1, SIDE, SIDE, 3), np.uint8), ["Move it."]).shape == (1, SIDE, SIDE)
    with pytest.raises(BadInput, match="stage 1 trains only the depth branch"):
        pipeline(PICTURE, "Move it.")
