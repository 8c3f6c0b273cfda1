"""Shards and a reference run for the tests of the training loop."""

from pathlib import Path

import pytest

from spatialdata_builder.shards.recipes import get_recipe
from tests.shards.factory import make_sample, make_split

HELD_OUT_KINDS = ("translate", "rotate", "scale", "translate", "translate")
"""Edit kinds of the samples v0, v1, ... of `triplets`."""


@pytest.fixture(scope="session")
def triplets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training samples of recipe spatialdiff in two shards, and five held-out ones of three edit kinds."""
    folder, recipe = tmp_path_factory.mktemp("triplets"), get_recipe("spatialdiff")
    keys = [[f"a{i}" for i in range(6)], [f"b{i}" for i in range(6)]]
    make_split(str(folder / "train"), keys, recipe=recipe)
    held_out = {f"v{i}": make_sample(f"v{i}", split="val", kind=kind) for i, kind in enumerate(HELD_OUT_KINDS)}
    make_split(str(folder / "val"), [list(held_out)], split="val", recipe=recipe, changes=held_out)
    return folder


@pytest.fixture(scope="session")
def uninterrupted(triplets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run with `SETTINGS`."""
    # Imported here, since tests of other recipes do not need it.
    from tests.training.linear import run
    from tests.training.runs import SETTINGS

    out = tmp_path_factory.mktemp("uninterrupted")
    assert run(triplets, out, *SETTINGS).resumed == 0
    return out
