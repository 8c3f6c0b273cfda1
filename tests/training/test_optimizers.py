"""The optimizers: exact resume, and the updates of those that other packages compute."""

from pathlib import Path

import pytest
import torch
from torch import nn

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.metrics import read_metrics
from spatialdata_builder.training.optimizers import make_optimizer
from tests.training.linear import Stopped, run
from tests.training.runs import assert_same_run

RATES = {"adamw": 0.01, "adamw8bit": 0.01, "prodigy": 1.0, "muon": 0.01}
for _name in ("adamw8bit", "prodigy", "muon"):
    pytest.importorskip({"adamw8bit": "bitsandbytes", "prodigy": "prodigyopt", "muon": "pytorch_optimizer"}[_name])


def optimizer_of(name: str, parameters: list[nn.Parameter], **changes: float) -> torch.optim.Optimizer:
    return make_optimizer(
        name, parameters, **{"lr": RATES[name], "betas": (0.9, 0.999), "weight_decay": 0.0, **changes}
    )


@pytest.mark.parametrize("name", ["adamw8bit", "prodigy", "muon"])
def test_a_run_resumes_exactly(name: str, triplets: Path, tmp_path: Path):
    # bitsandbytes
    settings = (f"optimizer={name}", f"lr={RATES[name]}", "steps=4", "save_every=2", "recipe.width=72")
    run(triplets, tmp_path / "whole", *settings)
    with pytest.raises(Stopped):
        run(triplets, tmp_path / "stopped", *settings, stop_after=3)
    assert run(triplets, tmp_path / "stopped", *settings).resumed == 2
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    assert len({line["loss"] for line in read_metrics(tmp_path / "whole")}) == 4


def updates(name: str, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """The change of a weight in one step, and its gradient."""
    weight = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    optimizer = optimizer_of(name, [weight])
    before = weight.detach().clone()
    (weight * torch.randn(shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    optimizer.step()
    assert weight.grad is not None
    return weight.detach() - before, weight.grad


def test_muon_steps_are_orthogonal_with_the_size_of_adamw_s():
    change, _ = updates("muon", (64, 32))
    singular = torch.linalg.svdvals(change / (0.01 * 0.2 * 64**0.5))
    assert (singular > 0.6).all() and (singular < 1.3).all(), "five Newton-Schulz steps give singular values near 1"
    assert change.square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.2)


def test_muon_leaves_vectors_to_adamw():
    change, gradient = updates("muon", (64,))
    torch.testing.assert_close(change, -0.01 * gradient.sign(), rtol=1e-3, atol=1e-5)


def test_adamw8bit_is_adamw_with_moments_of_8_bits():
    weight = nn.Parameter(torch.zeros(128, 64))
    optimizer = optimizer_of("adamw8bit", [weight])
    for _ in range(2):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert {value.dtype for name, value in optimizer.state[weight].items() if name.startswith("state")} == {torch.uint8}
    torch.testing.assert_close(weight.detach(), torch.full((128, 64), -0.02), rtol=0.05, atol=1e-4)


def test_prodigy_needs_a_rate_of_about_1():
    with pytest.raises(BadInput, match=r"set lr: 1 \(got 0\.0001\)"):
        optimizer_of("prodigy", [nn.Parameter(torch.zeros(2))], lr=1e-4)


def test_compiled_layers_give_the_same_curve(triplets: Path, tmp_path: Path):
    for name in ("plain", "compiled"):
        run(triplets, tmp_path / name, "steps=3", "recipe.depth=1", f"compile={str(name == 'compiled').lower()}")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    plain, compiled = ([line["loss"] for line in read_metrics(tmp_path / name)] for name in ("plain", "compiled"))
    assert compiled == pytest.approx(plain, rel=1e-4)
