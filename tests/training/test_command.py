"""`spatialdata train` and `train sample`, with the small recipe `linear` registered in addition."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training import registry
from spatialdata_builder.training.cli import train
from spatialdata_builder.training.command import run_sample, run_train
from spatialdata_builder.training.metrics import read_metrics
from spatialdata_builder.training.run import checkpoint_gradients
from spatialdata_builder.training.sheets import as_picture, sheet


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "RECIPES", {**registry.RECIPES, "linear": "tests.training.linear:Linear"})


@pytest.mark.torch
def test_a_run_from_a_file_and_images_sampled_from_it(triplets: Path, tmp_path: Path):
    config = tmp_path / "run.yaml"
    config.write_text("steps: 5\nsave_every: 2\nema: 0.5\nrecipe: {width: 4}\n")
    done = run_train("linear", [str(triplets)], tmp_path / "out", config=config, overrides=["keep=2"])
    assert (done.step, done.resumed) == (5, 0)
    assert done.checkpoint == tmp_path / "out" / "checkpoints" / "5"
    made = {
        step: Image.open(
            run_sample(
                tmp_path / "out", [str(triplets)], step=step, count=3, split="train", to=tmp_path / f"{step}.png"
            )
        )
        for step in (None, 4)
    }
    assert made[None].size == made[4].size == (4 * (24 + 4) + 220, 16 + 3 * 24 + 2 * 4)
    # Only the prediction differs between two checkpoints, and it depends on the seed.
    left, right = 3 * (24 + 4), 4 * (24 + 4)
    one, other = (np.asarray(picture) for picture in made.values())
    assert (one[:, :left] == other[:, :left]).all()
    assert (one[:, left:right] != other[:, left:right]).any()
    # Each row ends with its key and instruction, which are the same for all checkpoints.
    assert (one[:, right:] == other[:, right:]).all()
    assert all((one[16 + row * 28 :][:24, right:] < 100).any() for row in range(3))
    with pytest.raises(BadInput, match=r"the shards have no split val: .*--split train"):
        run_sample(tmp_path / "out", [str(triplets / "train")])
    again = run_sample(tmp_path / "out", [str(triplets)], count=3, split="train")
    assert again == tmp_path / "out" / "samples" / "00000005-seed0.png"
    assert (np.asarray(Image.open(again)) == one).all()


@pytest.mark.slow
@pytest.mark.torch
def test_bad_arguments_of_a_run(triplets: Path, tmp_path: Path):
    with pytest.raises(
        BadInput, match="no training recipe 'linea': use one of spatialdiff, ildm, spatialedit, spatialfusion, linear"
    ):
        run_train("linea", [str(triplets)], tmp_path)
    with pytest.raises(BadInput, match="no shards given"):
        run_train("linear", [], tmp_path)
    with pytest.raises(BadInput, match="holds no checkpoint"):
        run_sample(tmp_path, [str(triplets)])
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be created"):
        run_train("linear", [str(triplets)], tmp_path / "file")


@pytest.mark.torch
@pytest.mark.slow
def test_a_launch_of_several_processes_that_started_one_is_an_error(
    triplets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With the environment variables that `accelerate launch --cpu --num_processes 2` sets."""
    for name, value in (("ACCELERATE_MIXED_PRECISION", "no"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29500")):
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=r"several processes but started one.*use --multi_gpu instead of --cpu"):
        run_train("linear", [str(triplets)], tmp_path)


def test_the_commands():
    found = CliRunner().invoke(train, ["--help"]).output
    assert all(name in found for name in ("spatialdiff", "ildm", "spatialedit", "sample"))
    assert "--preset" in CliRunner().invoke(train, ["spatialdiff", "--help"]).output


def test_the_command_reports_a_wrong_recipe_option(triplets: Path, tmp_path: Path):
    arguments = ["spatialdiff", "-s", str(triplets), "-o", str(tmp_path), "--set", "recipe.nonsense=1"]
    failed = CliRunner().invoke(train, arguments)
    assert isinstance(failed.exception, BadInput)
    assert "unknown key 'recipe.nonsense'" in str(failed.exception)


@pytest.mark.torch
def test_an_incomplete_metrics_line_is_ignored(triplets: Path, tmp_path: Path):
    run_train("linear", [str(triplets)], tmp_path, overrides=["steps=3"])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, "loss": 1.0}) + '\n{"step": 5, "lo')
    assert len(read_metrics(tmp_path)) == 4
    run_train("linear", [str(triplets)], tmp_path, overrides=["steps=5"])
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3, 4, 5]
    assert "size" in read_metrics(tmp_path)[3]


def test_a_sheet_shows_every_whole_array():
    gray = np.linspace(2, 6, 2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4)
    columns = {"a": np.full((2, 4, 6, 3), 7, np.uint8), "b": gray, "c": np.full((2, 8, 8, 3), -1, np.float32)}
    made = sheet(columns, ["", "two"])
    assert made.shape == (16 + 4 + 4 + 4, 6 + 4 + 4 + 4 + 4 + 4 + 220, 3)
    assert (made[16:20, :6] == 7).all()
    assert (made[24:28, 10:14] == as_picture(gray[1])).all()
    assert (made[16:20, 18:22] == 0).all()
    assert (made[16:24, 22:] == 255).all()
    assert (made[24:, 22:] < 255).any()
    assert as_picture(np.array([[[-1.0, 0.0, 1.0]]], np.float32)).tolist() == [[[0, 128, 255]]]
    assert as_picture(np.array([[False, True]])).tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.slow
@pytest.mark.torch
def test_gradient_checkpointing_reaches_library_models():
    import torch
    from diffusers import FluxTransformer2DModel
    from peft import LoraConfig, get_peft_model

    flux = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    adapted = get_peft_model(flux, LoraConfig(r=2, target_modules=["to_q"]))
    checkpoint_gradients(torch.nn.ModuleDict({"net": adapted, "head": torch.nn.Linear(2, 2)}))
    assert flux.gradient_checkpointing
