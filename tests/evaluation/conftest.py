"""A benchmark set of every kind of edit, small."""

from pathlib import Path

import pytest

from spatialdata_builder.evaluation.benchmarks import Benchmark, read_benchmark
from spatialdata_builder.evaluation.making import make_benchmark
from spatialdata_builder.shards.schema import EDIT_KINDS
from tests.shards.interop.conftest import edited, pack

PER_KIND = 2


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a build with three test samples of each kind, and one training sample."""
    folder = tmp_path_factory.mktemp("built")
    pack(
        folder,
        {key: edited(key, kind, "test") for kind in EDIT_KINDS for key in (f"{kind}-{i}" for i in range(3))},
        "test",
    )
    pack(folder, {"seen": edited("seen", "translate")})
    return folder


@pytest.fixture(scope="session")
def benchmark(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    folder = tmp_path_factory.mktemp("bench") / "set"
    make_benchmark(str(out), folder, name="trial", per_kind=PER_KIND)
    return read_benchmark(folder)
