"""The recipe in the training loop: the tiny preset, killed and resumed, on two processes, and stage 2 after stage 1."""

import shutil
from pathlib import Path

import pytest

from spatialdata_builder.training.command import run_sample
from spatialdata_builder.training.loop import Summary
from spatialdata_builder.training.metrics import read_metrics
from tests.training.launched import assert_same_after_a_kill, assert_same_on_two_processes, run_tiny
from tests.training.spatialfusion.factory import SIDE, pack

SMALL = (f"recipe.width={SIDE}", f"recipe.height={SIDE}", "recipe.flux.sample_steps=1", "batch_size=2")
LORA = {
    "flux-kontext": "lora/pytorch_lora_weights.safetensors",
    "joyai": "lora/adapter_model.safetensors",
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("fusion")
    pack(folder / "train")
    pack(folder / "val", split="val")
    return str(folder)


def run(shards: str, out: Path, *settings: str) -> Summary:
    return run_tiny("spatialfusion", shards, out, [*SMALL, *settings])


@pytest.mark.parametrize(
    ("stage", "backbone", "weights"),
    [(1, "flux-kontext", "branch.safetensors"), *((2, name, file) for name, file in LORA.items())],
)
def test_a_killed_run_resumes_exactly(shards: str, tmp_path: Path, stage: int, backbone: str, weights: str):
    settings = (*SMALL, f"recipe.stage={stage}", f"recipe.backbone={backbone}", "recipe.text_drop=0.5")
    assert_same_after_a_kill("spatialfusion", shards, tmp_path, settings, weights)


@pytest.mark.parametrize("backbone", ["flux-kontext", "joyai"])
def test_two_processes_match_one_with_twice_the_batch(shards: str, tmp_path: Path, backbone: str):
    settings = (*SMALL[:3], f"recipe.backbone={backbone}", "recipe.text_drop=0.5")
    assert_same_on_two_processes("spatialfusion", shards, tmp_path, settings)


def test_equal_runs_give_equal_bytes(shards: str, tmp_path: Path):
    done = [run(shards, tmp_path / name, "steps=2", "ema=0.9") for name in ("a", "b")]
    files = sorted(path for path in done[0].checkpoint.rglob("*") if path.suffix in (".safetensors", ".json"))
    assert len(files) == 2 * 6 + 1
    for path in files:
        if path.name != "checkpoint.json":
            assert path.read_bytes() == (done[1].checkpoint / path.relative_to(done[0].checkpoint)).read_bytes()


def test_stage_2_follows_stage_1(shards: str, tmp_path: Path):
    first = run(shards, tmp_path / "one", "steps=2", "recipe.stage=1")
    more = (f"init_from={first.checkpoint}", "precision=bf16", "gradient_checkpointing=true")
    run(shards, tmp_path / "two", "steps=1", *more)
    begun, line = read_metrics(tmp_path / "two")
    assert begun == {"step": 0, "init_from": str(first.checkpoint), "loaded": ["branch", "decoder"]}
    assert line["loss"] == pytest.approx(line["flow"] + 0.1 * line["depth"], rel=1e-4)
    # From now on, the checkpoint holds branch and decoder.
    shutil.rmtree(tmp_path / "one")
    assert run(shards, tmp_path / "two", "steps=2", *more).resumed == 1
    assert run_sample(tmp_path / "two", [shards], count=2).is_file()


def test_validation_writes_pictures(shards: str, tmp_path: Path):
    run(shards, tmp_path / "run", "steps=1", "validate_every=1", "validate_samples=2")
    assert list((tmp_path / "run" / "samples").glob("*.png"))
    (line,) = read_metrics(tmp_path / "run")
    assert line["val/abs_rel"] > 0 and 0 <= line["val/delta1"] <= 1
    assert line["val/loss"] == pytest.approx(line["val/flow"] + 0.1 * line["val/depth"], rel=1e-4)


@pytest.mark.parametrize("stage", [1, 2])
def test_the_losses_of_the_preset_fall(shards: str, tmp_path: Path, stage: int):
    settings = (f"recipe.stage={stage}", "steps=60", "batch_size=4", "save_every=60")
    run(shards, tmp_path / "run", *settings)
    losses = [line["loss"] for line in read_metrics(tmp_path / "run")]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
