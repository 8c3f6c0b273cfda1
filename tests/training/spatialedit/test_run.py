"""The recipe in the training loop: the tiny preset, stopped and resumed, on our shards and on published tars."""

from pathlib import Path

import pytest

from spatialdata_builder.shards.interop import spatialedit
from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.loop import train
from spatialdata_builder.training.metrics import read_metrics
from spatialdata_builder.training.spatialedit.recipe import SpatialEdit
from tests.shards.interop.conftest import edited, pack
from tests.training.launched import assert_same_after_a_kill, assert_same_on_two_processes
from tests.training.runs import newest

ROOT = Path(__file__).resolve().parents[3]
SHORT = ("batch_size=2", "log=none", "recipe.side=32", "recipe.text_drop=0.5", "validate_every=0")


def run(shards, out, *settings):
    config = load_config(SpatialEdit, preset="tiny", overrides=[*SHORT, *settings])
    return train(SpatialEdit(SpatialEdit.options_type.model_validate(config.recipe)), config, str(shards), out)


def test_defaults_are_the_published_values():
    config = load_config(SpatialEdit)
    assert (config.lr, config.betas, config.warmup, config.clip) == (1e-4, (0.9, 0.95), 100, 1.0)
    recipe = config.recipe
    assert (recipe["rank"], recipe["alpha"], recipe["shift"], recipe["text_drop"]) == (16, 16, 1.5, 0.1)
    assert recipe["times"] == "logit_normal"
    example = load_config(SpatialEdit, ROOT / "examples/train/spatialedit.yaml")
    assert (example.lr, example.betas) == (config.lr, config.betas)
    assert example.recipe == recipe


@pytest.mark.parametrize("layout", ["shards", "published"])
def test_a_resumed_run_equals_an_uninterrupted_one(layout, tmp_path):
    pack(tmp_path / "out", {f"s-{n}": edited(f"s-{n}", ("translate", "rotate")[n % 2]) for n in range(6)})
    shards = tmp_path / "out"
    if layout == "published":
        shards = tmp_path / "se"
        spatialedit.export(str(tmp_path / "out"), str(shards))
    else:
        pack(tmp_path / "out", {f"s-{n}": edited(f"s-{n}", "translate") for n in range(6)}, recipe="spatialedit")
    settings = (f"recipe.layout={layout}",)
    run(shards, tmp_path / "whole", "steps=4", *settings)
    run(shards, tmp_path / "halves", "steps=2", *settings)
    run(shards, tmp_path / "halves", "steps=4", *settings)
    weights = [
        (newest(tmp_path / name) / "model" / "adapter_model.safetensors").read_bytes() for name in ("whole", "halves")
    ]
    assert weights[0] == weights[1]
    losses = [[line["loss"] for line in read_metrics(tmp_path / name)] for name in ("whole", "halves")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


SMALL = ("recipe.side=32", "recipe.text_drop=0.3")


@pytest.mark.parametrize("cached", [False, True])
def test_a_killed_run_resumes_exactly(cached, moves, tmp_path):
    settings = [*SMALL, "batch_size=1", "accumulate=2"]
    settings += [f"recipe.cache={tmp_path / 'cache'}", "recipe.unload_encoders=true"] if cached else []
    assert_same_after_a_kill("spatialedit", moves, tmp_path, settings, "adapter_model.safetensors")


def test_two_processes_match_one_with_twice_the_batch(moves, tmp_path):
    """The texts of translations, rotations and dropped instructions differ in length, so the processes make different
    numbers of forward passes."""
    assert_same_on_two_processes("spatialedit", moves, tmp_path, SMALL)


def test_validation_shows_source_target_and_prediction(tmp_path):
    pack(tmp_path / "out", {f"s-{n}": edited(f"s-{n}", "translate") for n in range(4)}, recipe="spatialedit")
    settings = ("steps=1", "validate_every=1", "validate_samples=2", "recipe.sample_steps=1")
    run(tmp_path / "out", tmp_path / "run", *settings, "data.validate_split=train")
    assert list((tmp_path / "run" / "samples").glob("*.png"))
