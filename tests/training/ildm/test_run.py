"""Both phases in the training loop: killed and resumed, and on two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.ildm.recipe import Ildm
from tests.training.ildm.bases import ARCHITECTURES, save_base
from tests.training.ildm.parts import CPU, first_of, make_shards, tiny
from tests.training.launched import assert_same_after_a_kill, assert_same_on_two_processes

ROOT = Path(__file__).resolve().parents[3]
PHASES = {
    "vae": ("recipe.phase=vae",),
    "lora": ("recipe.train_base=false", "recipe.text_drop=0.3", "recipe.views=[source,target]"),
}
WEIGHTS = {"vae": "diffusion_pytorch_model.safetensors", "lora": "pytorch_lora_weights.safetensors"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_run_resumes_exactly(shards: str, tmp_path: Path, phase: str):
    assert_same_after_a_kill("ildm", shards, tmp_path, PHASES[phase], WEIGHTS[phase])
    if phase == "vae":
        assert scale_of(tmp_path / "whole") == scale_of(tmp_path / "killed")


@pytest.mark.parametrize("phase", PHASES)
def test_two_processes_match_one_with_twice_the_batch(shards: str, tmp_path: Path, phase: str):
    assert_same_on_two_processes("ildm", shards, tmp_path, PHASES[phase])
    if phase == "vae":
        assert scale_of(tmp_path / "one") == pytest.approx(scale_of(tmp_path / "two"), rel=1e-3)


def scale_of(out: Path) -> float:
    """The scale of the intrinsic latents in the last checkpoint of a run."""
    return json.loads((out / "checkpoints/4/model/config.json").read_text())["scaling_factor"]


def test_equal_runs_write_equal_lora_files(shards: str, tmp_path: Path):
    """In processes with different hash seeds: 1 and 3 order the set of target layers differently."""
    for architecture in ARCHITECTURES:
        recipe = Ildm(tiny(phase="vae", base=save_base(architecture, tmp_path / "base" / architecture)))
        recipe.see(first_of(shards, recipe))
        recipe.save(recipe.build(CPU, torch.float32), tmp_path / "vae" / architecture)
    written: list[dict[Path, bytes]] = []
    for seed in ("1", "3"):
        command = [sys.executable, "-c", SAVE, str(tmp_path), seed, *ARCHITECTURES]
        done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        files = [path for path in (tmp_path / seed).rglob("*") if path.is_file()]
        written.append({path.relative_to(tmp_path / seed): path.read_bytes() for path in files})
    assert len([path for path in written[0] if path.suffix == ".safetensors"]) == 15
    assert written[0] == written[1]


SAVE = """
import sys
from pathlib import Path
import torch
from spatialdata_builder.training.ildm.options import IldmOptions
from spatialdata_builder.training.ildm.recipe import Ildm
folder, seed, *architectures = sys.argv[1:]
for name in architectures:
    recipe = Ildm(IldmOptions(base=f"{folder}/base/{name}", intrinsic_vae=f"{folder}/vae/{name}", rank=2))
    module = recipe.build(torch.device("cpu"), torch.float32)
    for time in range(5):  # the order of a hash map changes with each one
        recipe.save(module, Path(folder, seed, name, str(time)))
"""


def test_defaults_are_the_paper_s_and_match_the_examples():
    recipe = load_config(Ildm).recipe
    assert (recipe["rank"], recipe["zero_mask"], recipe["resolution"], recipe["train_base"]) == (32, 0.1, 512, False)
    assert (recipe["sampling"]["steps"], recipe["sampling"]["guidance"], recipe["sampling"]["side"]) == (25, 7.5, 768)
    for name, differs in (("ildm", {"intrinsic_vae"}), ("ildm_vae", {"phase"})):
        found = load_config(Ildm, ROOT / f"examples/train/{name}.yaml").recipe
        assert {key for key, value in found.items() if value != recipe[key]} == differs
