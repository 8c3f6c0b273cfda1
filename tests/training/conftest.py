"""Shards and a reference run for the tests of the training loop."""

from pathlib import Path

import pytest

from spatialdata_builder.shards.recipes import get_recipe
from tests.shards.factory import make_split


@pytest.fixture(scope="session")
def triplets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split of 12 samples of recipe spatialdiff in two shards."""
    folder = tmp_path_factory.mktemp("triplets")
    keys = [[f"a{i}" for i in range(6)], [f"b{i}" for i in range(6)]]
    make_split(str(folder), keys, recipe=get_recipe("spatialdiff"))
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
