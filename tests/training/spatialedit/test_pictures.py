"""Fitting of images and boxes, and the samples that a crop leaves out."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.index import pack_shard, write_manifest
from spatialdata_builder.shards.layout import shard_name
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.loop import train
from spatialdata_builder.training.metrics import read_metrics
from spatialdata_builder.training.spatialedit.pictures import Fit
from spatialdata_builder.training.spatialedit.pipeline import edit
from spatialdata_builder.training.spatialedit.recipe import SpatialEdit
from tests.shards.factory import make_sample
from tests.training.spatialedit.conftest import build, opened, rng_of

RED = np.array([255, 0, 0], np.uint8)


def moved(key: str, height: int, width: int, box: list[int], gray: int) -> dict[str, bytes]:
    """A translation with images of one gray level."""
    recipe = get_recipe("spatialedit")
    members = {name: data for name, data in make_sample(key, side=32).items() if name in recipe.fields()}
    record = json.loads(members["json"])
    record["edit"]["box"] = box
    image = codecs.encode_image(np.full((height, width, 3), gray, np.uint8))
    return members | {"json": json.dumps(record).encode(), "source.webp": image, "target.webp": image}


def pack_boxes(folder, boxes: list[list[int]], height: int = 128, width: int = 192, grays: Sequence[int] = ()) -> None:
    """Shards of translations, one for each box; `grays` are the gray levels of their images."""
    recipe = get_recipe("spatialedit")
    levels = grays or [90] * len(boxes)
    samples = [
        (f"s-{n}", moved(f"s-{n}", height, width, box, gray))
        for n, (box, gray) in enumerate(zip(boxes, levels, strict=True))
    ]
    entry = pack_shard(str(folder), shard_name("trial", "train", 0, 1), iter(samples))
    write_manifest(
        str(folder), name="trial", recipe="spatialedit", split="train", members=recipe.fields(), shards=[entry]
    )


def box_of(image: np.ndarray) -> list[int]:
    """The box around the pure red pixels of an image."""
    rows, columns = np.nonzero((image == RED).all(-1))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize(("height", "width", "side"), [(512, 512, 64), (96, 150, 64), (200, 120, 80), (40, 60, 64)])
def test_a_box_follows_its_pixels(height: int, width: int, side: int):
    """A filled box that is fitted as an image has the place of the fitted box, within the pixels that it touches."""
    box = [width // 3, height // 4, width // 3 + 24, height // 4 + 15]
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    fitted = Fit(height, width, side)
    shown = fitted.image(image)[..., 0]
    x0, y0, x1, y1 = fitted.box(box)
    outside = shown.copy()
    outside[y0:y1, x0:x1] = 0
    if side < min(height, width):
        assert not outside.any()
    assert shown[y0:y1, x0:x1].mean() > 0.6 * 255
    rows, columns = np.nonzero(shown > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(np.subtract(found, [x0, y0, x1, y1])).max() <= 1


def test_the_red_box_is_drawn_after_scaling(tmp_path):
    box = [100, 140, 300, 400]
    pack_boxes(tmp_path, [box], 512, 512)
    recipe, _ = build(side=64)
    batch = next(opened(recipe, str(tmp_path)).batches(1))
    source, target, words = recipe.model_view(batch, 0)
    assert words.startswith("Move the")
    assert box_of(source) == [100 // 8, 140 // 8, -(-300 // 8), 400 // 8]
    line = (source == RED).all(-1)[30]
    assert line.sum() == 4, "two lines of two pixels"
    assert not (target == RED).all(-1).any()
    assert batch["valid"].all()


def test_the_line_is_three_pixels_wide_at_512(tmp_path):
    pack_boxes(tmp_path, [[200, 280, 600, 800]], 1024, 1024)
    recipe, _ = build(side=512)
    source, _, _ = recipe.model_view(next(opened(recipe, str(tmp_path)).batches(1)), 0)
    assert (source == RED).all(-1)[250].sum() == 2 * 3


BOXES = [[80, 40, 120, 80], [0, 40, 20, 80], [150, 10, 190, 50], [31, 10, 71, 50], [29, 10, 69, 50], [60, 0, 90, 9]]
"""In images of 192 x 128 pixels, whose crop has the columns 32 to 160."""
SHARES = [1, 0, 0.25, 0.975, 0.925, 1]
"""Shares of their areas that the crop leaves."""


def test_samples_whose_crop_loses_the_box_are_left_out(tmp_path):
    pack_boxes(tmp_path, BOXES)
    assert [Fit(128, 192, 64).box_share(box) for box in BOXES] == pytest.approx(SHARES)
    recipe, _ = build(side=64)
    stream = opened(recipe, str(tmp_path), order="stored")
    assert not stream.lost
    batch = next(stream.batches(6))
    assert batch["valid"].tolist() == [share >= 0.95 for share in SHARES]
    assert batch["key"] == [f"s-{n}" for n in range(6)], "the order does not change"
    assert len(stream.lost) == 3
    list(stream.batches(6))
    assert len(stream.lost) == 3, "samples are counted once"
    recipe.prepare(batch, rng_of(batch))
    for options in ({"side": 0}, {"side": 64, "wording": "stored"}):
        recipe, _ = build(**options)
        assert next(opened(recipe, str(tmp_path)).batches(6))["valid"].all()


def test_an_epoch_is_divided_as_without_left_out_samples(tmp_path):
    """The two processes of a run get the samples that one process gets, with the same validity."""
    pack_boxes(tmp_path, BOXES)
    recipe, _ = build(side=64)

    def seen(batches) -> dict[str, bool]:
        return {key: bool(valid) for batch in batches for key, valid in zip(batch["key"], batch["valid"], strict=True)}

    (whole,) = [seen([batch]) for batch in opened(recipe, str(tmp_path)).batches(6)]
    halves = [opened(recipe, str(tmp_path), rank=rank, world=2).batches(3) for rank in (0, 1)]
    assert seen(halves[0]) | seen(halves[1]) == whole
    assert len(whole) == 6


def test_left_out_samples_do_not_change_the_weights_and_are_counted(tmp_path):
    """Images of left-out samples do not reach the loss: with other pixels the run is the same."""
    losses = []
    settings = ("steps=2", "batch_size=4", "log=none", "recipe.side=32", "validate_every=0")
    config = load_config(SpatialEdit, preset="tiny", overrides=settings)
    for name, gray in (("one", 90), ("two", 30)):
        pack_boxes(tmp_path / name, BOXES[:4], grays=[90, gray, gray, 90])
        recipe = SpatialEdit(SpatialEdit.options_type.model_validate(config.recipe))
        summary = train(recipe, config, str(tmp_path / name), tmp_path / f"{name}-run")
        assert summary.lost == 2
        losses.append([line["loss"] for line in read_metrics(tmp_path / f"{name}-run")])
    assert losses[0] == losses[1]


def test_the_pipeline_edits_with_the_source_latents_of_training(case):
    """Bit for bit: both take the mode of the posterior."""
    source, _, words = case.recipe.model_view(case.batch, 0)
    pipeline, seen = case.recipe.pipeline, []
    kept = pipeline.transformer
    pipeline.transformer = case.module.transformer.get_base_model()
    handle = pipeline.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["hidden_states"][0, 0].clone()), with_kwargs=True
    )
    try:
        edit(pipeline, source, words, steps=2, guidance=1.0)
    finally:
        handle.remove()
        pipeline.transformer = kept
    assert len(seen) == 2
    for each in seen:
        assert torch.equal(each, case.inputs["source"][0])


def test_editing_leaves_torch_s_generator_alone(case):
    source, _, words = case.recipe.model_view(case.batch, 0)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = edit(case.recipe.pipeline, source, words, steps=1, guidance=1.0, generator=1)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(first, edit(case.recipe.pipeline, source, words, steps=1, guidance=1.0, generator=1))
