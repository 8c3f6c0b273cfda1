"""Both phases in the training loop: killed and resumed, and on two processes."""

from pathlib import Path

import pytest

from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.ildm.recipe import Ildm
from tests.training.ildm.parts import make_shards
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


@pytest.mark.parametrize("phase", PHASES)
def test_two_processes_match_one_with_twice_the_batch(shards: str, tmp_path: Path, phase: str):
    assert_same_on_two_processes("ildm", shards, tmp_path, PHASES[phase])


def test_defaults_are_the_paper_s_and_match_the_examples():
    recipe = load_config(Ildm).recipe
    assert (recipe["rank"], recipe["zero_mask"], recipe["resolution"], recipe["train_base"]) == (32, 0.1, 512, False)
    assert (recipe["sampling"]["steps"], recipe["sampling"]["guidance"], recipe["sampling"]["side"]) == (25, 7.5, 768)
    for name, differs in (("ildm", {"intrinsic_vae"}), ("ildm_vae", {"phase"})):
        found = load_config(Ildm, ROOT / f"examples/train/{name}.yaml").recipe
        assert {key for key, value in found.items() if value != recipe[key]} == differs
