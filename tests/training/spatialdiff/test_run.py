"""The recipe in the training loop: the tiny preset, stopped and resumed, and stage 2 after stage 1."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.training.command import run_sample
from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.loop import Summary, train
from spatialdata_builder.training.metrics import read_metrics
from spatialdata_builder.training.spatialdiff.pipeline import SpatialDiffPipeline
from spatialdata_builder.training.spatialdiff.recipe import SpatialDiff
from tests.shards.factory import make_sample, make_split
from tests.training.spatialdiff.factory import SIDE, batch_of, built

SPATIALDIFF = get_recipe("spatialdiff")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    batch_of(built(ablation="lora_only")[0], tmp_path / "set" / "train")
    held_out = {key: make_sample(key, side=SIDE, split="val") for key in ("v0", "v1")}
    make_split(str(tmp_path / "set" / "val"), [list(held_out)], split="val", recipe=SPATIALDIFF, changes=held_out)
    return tmp_path / "set"


def run(shards: Path, out: Path, *changes: str, preset: str = "tiny") -> tuple[Summary, list[dict[str, float]]]:
    size = (
        f"recipe.width={SIDE}",
        f"recipe.height={SIDE}",
        "recipe.sample_steps=1",
        "save_every=2",
        "validate_every=2",
    )
    config = load_config(SpatialDiff, None, preset, [*size, "batch_size=2", *changes])
    seen: list[dict[str, float]] = []
    recipe = SpatialDiff(SpatialDiff.options_type.model_validate(config.recipe))
    return train(recipe, config, str(shards), out, lambda values: seen.append(dict(values))), seen


def test_a_resumed_run_equals_an_uninterrupted_one(shards: Path, tmp_path: Path):
    whole, _ = run(shards, tmp_path / "a", "steps=4", "ema=0.9")
    run(shards, tmp_path / "b", "steps=2", "ema=0.9")
    rest, _ = run(shards, tmp_path / "b", "steps=4", "ema=0.9")
    assert (whole.resumed, rest.resumed, rest.step) == (0, 2, 4)
    for part in ("model", "ema"):
        files = sorted((whole.checkpoint / part).iterdir())
        assert len(files) == 4
        for path in files:
            assert path.read_bytes() == (rest.checkpoint / part / path.name).read_bytes(), path.name
    assert (tmp_path / "a/samples/00000004.png").is_file()


def test_stage_2_follows_stage_1(shards: Path, tmp_path: Path):
    first, seen = run(shards, tmp_path / "one", "steps=2", "recipe.stage=1")
    assert set(seen[0]) >= {"loss", "flow"}
    assert "depth" not in seen[0]
    assert {path.name for path in (first.checkpoint / "model").iterdir()} == {
        "connector.safetensors",
        "spatialdiff.json",
    }
    init = f"init_from={tmp_path / 'one'}"
    _, seen = run(shards, tmp_path / "two", "steps=1", init, "precision=bf16", "gradient_checkpointing=true")
    assert seen[0]["loss"] == pytest.approx(seen[0]["flow"] + 0.01 * seen[0]["depth"], rel=1e-5)
    assert torch.isfinite(torch.tensor(seen[0]["grad_norm"]))
    assert read_metrics(tmp_path / "two")[0] == {"step": 0, "init_from": str(tmp_path / "one"), "loaded": ["connector"]}
    # From now on, the checkpoint holds the connector.
    shutil.rmtree(tmp_path / "one")
    resumed, _ = run(shards, tmp_path / "two", "steps=2", init, "precision=bf16", "gradient_checkpointing=true")
    assert resumed.resumed == 1
    assert run_sample(tmp_path / "two", [str(shards)], count=2).is_file()


def test_the_loss_of_changed_regions_can_weigh_more(tmp_path: Path):
    keys = [f"s{i}" for i in range(4)]
    samples = {key: make_sample(key, side=SIDE) for key in keys}
    make_split(str(tmp_path / "set"), [keys], changes=samples)  # recipe full has `changed`
    settings = ("steps=1", "batch_size=4", "validate_every=0")
    curves = [
        run(tmp_path / "set", tmp_path / f"w{weight}", *settings, f"loss.changed_weight={weight}")[1]
        for weight in (1, 1.0001, 8)
    ]
    losses = [seen[0]["flow"] for seen in curves]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[2] != pytest.approx(losses[0], rel=1e-3)
    make_split(str(tmp_path / "bare"), [keys], recipe=SPATIALDIFF, changes=samples)
    with pytest.raises(BadInput, match=r"lacks changed"):
        run(tmp_path / "bare", tmp_path / "out", *settings, "loss.changed_weight=8")


def test_sets_of_several_sizes_and_aspects_train_in_buckets(tmp_path: Path):
    keys = [f"s{i}" for i in range(8)]
    samples = {key: make_sample(key, side=SIDE if i % 2 else 2 * SIDE) for i, key in enumerate(keys)}
    make_split(str(tmp_path / "set"), [keys], recipe=SPATIALDIFF, changes=samples)
    settings = ("steps=4", "batch_size=2", "data.buckets=true", "validate_every=0")
    with pytest.raises(BadInput, match=r"images are .*set recipe\.any_size"):
        run(tmp_path / "set", tmp_path / "out", *settings)
    whole, seen = run(tmp_path / "set", tmp_path / "a", *settings, "recipe.any_size=true")
    run(tmp_path / "set", tmp_path / "b", *settings, "recipe.any_size=true", "steps=2")
    rest, _ = run(tmp_path / "set", tmp_path / "b", *settings, "recipe.any_size=true")
    assert rest.resumed == 2 and len(seen) == 4
    for path in sorted((whole.checkpoint / "model").iterdir()):
        assert path.read_bytes() == (rest.checkpoint / "model" / path.name).read_bytes(), path.name
    pipeline = SpatialDiffPipeline.from_folder(whole.checkpoint / "model", "cpu", torch.float32)
    assert pipeline(Image.new("RGB", (200, 50)), "Move it.", steps=1).size == (200, 50)
    images = np.zeros((1, SIDE, 2 * SIDE, 3), np.uint8)
    assert pipeline.edit(images, ["Move it."], steps=1).images.shape == images.shape
