"""Each recipe through its command on two processes: the losses of one process with twice the batch."""

from pathlib import Path

import pytest

from shards.recipes import get_recipe
from tests.shards.factory import make_sample, make_split
from tests.training.test_processes import start
from training.command import run_train
from training.metrics import read_metrics

SIDE = 32
KEYS = [f"sample-{number}" for number in range(8)]
SMALL = {
    "spatialdiff": (f"recipe.width={SIDE}", f"recipe.height={SIDE}"),
    "ildm": (),
    "spatialedit": (f"recipe.side={SIDE}",),
}
"""What the preset `tiny` of each needs for pictures of this side."""


def shards_for(recipe: str, folder: Path) -> str:
    """Eight real samples, as a build packs them for the recipe."""
    members = {key: make_sample(key, side=SIDE) for key in KEYS}
    make_split(str(folder), [KEYS], recipe=get_recipe(recipe), changes=members)
    return str(folder)


def curve(out: Path, name: str = "loss") -> list[float]:
    return [line[name] for line in read_metrics(out)]


@pytest.mark.parametrize("recipe", sorted(SMALL))
@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_learn_as_one_with_twice_the_batch(recipe: str, sharded: bool, tmp_path: Path):
    shards = shards_for(recipe, tmp_path / "shards")
    settings = ("steps=4", "log=none", "validate_every=0", *SMALL[recipe])
    run_train(recipe, [shards], tmp_path / "one", preset="tiny", overrides=[*settings, "batch_size=4"])
    chosen = [*settings, "batch_size=2", f"sharded={str(sharded).lower()}"]
    overrides = [word for setting in chosen for word in ("--set", setting)]
    command = [recipe, "--preset", "tiny", "--shards", shards, "--out", str(tmp_path / "two"), *overrides]
    done = start(command, processes=2, module="training.cli")
    assert done.returncode == 0, done.stderr
    for name in ("loss", "grad_norm"):
        assert curve(tmp_path / "two", name) == pytest.approx(curve(tmp_path / "one", name), rel=1e-3)
