"""Settings and comparisons of runs, shared by the tests of the loop."""

from pathlib import Path

import torch

from spatialdata_builder.training.checkpoint import read_facts
from spatialdata_builder.training.metrics import read_metrics

SETTINGS = ("steps=9", "save_every=3", "ema=0.9", "accumulate=2", "recipe.dropout=0.2", "schedule=cosine")


def newest(out: Path) -> Path:
    return max((out / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))


def same(one: object, other: object) -> bool:
    """Bit-for-bit equality, recursive in dicts and lists."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_same_run(one: Path, other: Path) -> None:
    first, second = newest(one), newest(other)
    assert first.name == second.name
    for name in ("model/net.safetensors", "ema/net.safetensors"):
        if (first / name).exists() or (second / name).exists():
            assert (first / name).read_bytes() == (second / name).read_bytes()
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (first, second)]
    assert same(*states)
    assert read_facts(first) == read_facts(second)
    lines = [
        [(each["step"], each["loss"], each["lr"], each["grad_norm"]) for each in read_metrics(out)]
        for out in (one, other)
    ]
    assert lines[0] == lines[1]
