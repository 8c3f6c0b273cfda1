"""Both phases learn 8 real samples by heart."""

from pathlib import Path

import pytest

from tests.training.ildm.parts import first_batch, make_shards, tiny, train
from training.ildm.recipe import Ildm


@pytest.mark.parametrize(("phase", "views", "steps"), [("vae", ("target",), 60), ("unet", ("source", "target"), 30)])
def test_loss_falls_below_a_fifth(tmp_path: Path, phase: str, views: tuple[str, ...], steps: int):
    recipe = Ildm(tiny(phase=phase, views=views, reconstruction="mse"))
    losses = train(recipe, first_batch(make_shards(tmp_path), recipe, 8), steps, 4e-3)
    assert losses[-1] < 0.2 * losses[0]
