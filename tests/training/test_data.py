"""Training on shards with other edits (reported as left out) and with several image sizes (one size per batch)."""

import logging
from pathlib import Path

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.schema import EDIT_KINDS, FAMILY_VERSION, TWO_OBJECT_KINDS
from spatialdata_builder.training.config import load_config
from spatialdata_builder.training.data import first_batch, open_batches
from tests.shards.factory import make_sample, make_split, with_family
from tests.training.linear import Linear, LinearOptions, Stopped, run
from tests.training.runs import assert_same_run

KINDS = {f"{kind}-{n}": kind for n in range(3) for kind in EDIT_KINDS if kind not in TWO_OBJECT_KINDS}
WANTED = {key for key, kind in KINDS.items() if kind in ("translate", "rotate", "scale")}
SIDES = {key: 24 if n % 3 else 32 for n, key in enumerate(KINDS)}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    make_split(str(folder), [list(KINDS)], changes={key: make_sample(key, kind=kind) for key, kind in KINDS.items()})
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    changes = {key: make_sample(key, side=side) for key, side in SIDES.items()}
    make_split(str(folder), [list(KINDS)[:8], list(KINDS)[8:]], changes=changes)
    return folder


def test_a_run_on_full_shards_uses_only_the_edits_of_its_recipe(
    full: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        done = run(full, tmp_path, "steps=2")
    assert (done.samples, done.left_out) == (9, 9)
    warning = "9 of 18 samples are left out, since recipe spatialdiff includes only translate, rotate, scale"
    assert warning in caplog.text
    recipe, config = Linear(LinearOptions()), load_config(Linear)
    seen = {key for batch in open_batches(recipe, config, str(full)).batches(3) for key in batch["key"]}
    assert seen == WANTED
    assert set(first_batch(open_batches(recipe, config, str(full), order="stored"), 20)["key"]) == WANTED


def test_one_sample_of_each_scene_in_an_epoch(tmp_path: Path):
    """For the run and for its validation images."""
    keys = [f"{scene}-{n}" for scene in "abc" for n in range(3)]
    changes = {key: with_family(key, key[0]) for key in keys}
    make_split(str(tmp_path), [keys], changes=changes, version=FAMILY_VERSION)
    recipe, config = Linear(LinearOptions()), load_config(Linear, overrides=["data.one_per_family=true"])
    ds = open_batches(recipe, config, str(tmp_path))
    epochs = [[key for batch in ds.batches(1) for key in batch["key"]] for _ in range(3)]
    assert [sorted(key[0] for key in each) for each in epochs] == [["a", "b", "c"]] * 3
    assert sorted(key for each in epochs for key in each) == keys
    stored = open_batches(recipe, config, str(tmp_path), order="stored")
    assert [key[0] for key in first_batch(stored, 9)["key"]] == ["a", "b", "c"]


def test_images_of_several_sizes_are_reported_before_the_run(mixed: Path, tmp_path: Path):
    for on_error in ("raise", "skip"):
        with pytest.raises(BadInput, match=r"images of 32 x 32 and 24 x 24.*--set data.buckets=true"):
            run(mixed, tmp_path, "steps=2", f"data.on_error={on_error}")
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_run_with_buckets_resumes_exactly(mixed: Path, tmp_path: Path):
    settings = ("steps=7", "save_every=2", "data.buckets=true", "validate_every=7", "validate_samples=18")
    run(mixed, tmp_path / "whole", *settings)
    with pytest.raises(Stopped):
        run(mixed, tmp_path / "stopped", *settings, stop_after=5)
    assert run(mixed, tmp_path / "stopped", *settings).resumed == 4
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    with pytest.raises(BadInput, match="images of 32 x 32 and 24 x 24"):
        run(mixed, tmp_path / "whole", "steps=8")
