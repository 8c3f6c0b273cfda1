"""Checkpoints are complete or absent; errors for checkpoints that a run cannot use."""

import json
import pickle
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spatialdata_builder.shards.errors import BadInput, SpatialdataError
from spatialdata_builder.training.checkpoint import (
    FACTS,
    STATE,
    Checkpoints,
    Facts,
    lock_run,
    read_facts,
    read_state,
    write_state,
)

HERE = Facts("linear", {"lr": 0.1, "schedule": "constant", "recipe": {"width": 8}}, 4, 3, {"epoch": 1, "position": 8})


def written(checkpoints: Checkpoints, facts: Facts = HERE) -> Path:
    with checkpoints.writing(facts) as folder:
        (folder / "model").mkdir()
        (folder / "model" / "net").write_bytes(b"weights")
    return checkpoints.of(facts.step)


def test_the_newest_checkpoints_are_kept_in_numeric_order(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.newest() is None
    for step in (8, 9, 10, 11):
        written(checkpoints, replace(HERE, step=step))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["10", "11"]
    assert checkpoints.newest() == tmp_path / "checkpoints" / "11"
    assert read_facts(checkpoints.of(10)) == replace(HERE, step=10)
    with pytest.raises(BadInput, match=r"no checkpoint of step 9 .* available steps: 10, 11"):
        checkpoints.of(9)


def test_an_incomplete_folder_is_not_a_checkpoint(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    first = written(checkpoints)
    with (
        pytest.raises(SpatialdataError, match=r"cannot be written .*No space left.*rerun the command"),
        checkpoints.writing(replace(HERE, step=6)) as folder,
    ):
        (folder / "model").mkdir()
        raise OSError(28, "No space left on device")
    assert checkpoints.newest() == first
    assert (written(checkpoints, replace(HERE, step=6)) / "model" / "net").read_bytes() == b"weights"
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_a_full_disk_is_recognized_whatever_the_library_says(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    first = written(checkpoints)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with (
            pytest.raises(SpatialdataError, match=r"cannot be written .*too large.*: free space and rerun"),
            checkpoints.writing(replace(HERE, step=6)),
        ):
            raise RuntimeError("unexpected pos 448 vs 342")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints.newest() == first
    assert not list((tmp_path / "checkpoints").glob(".half-*")), "what was written does not keep the disk full"
    with pytest.raises(RuntimeError, match="no problem of the disk"), checkpoints.writing(replace(HERE, step=6)):
        raise RuntimeError("no problem of the disk")


def test_a_damaged_state_does_not_recommend_to_load_it_without_checks(tmp_path: Path):
    (tmp_path / STATE).write_bytes(pickle.dumps({"optimizer": Path("x")}))
    with pytest.raises(SpatialdataError, match=r"is damaged \(state\.pt holds something else\)") as error:
        read_state(tmp_path)
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"format": 2}', "changed"])
def test_damaged_facts_give_an_error_with_the_folder(damage: str, tmp_path: Path):
    folder = written(Checkpoints(tmp_path, keep=2))
    content = json.loads((folder / FACTS).read_text())
    content["config"]["lr"] = 0.2
    (folder / FACTS).write_text(json.dumps(content) if damage == "changed" else damage)
    with pytest.raises(SpatialdataError, match=str(folder)):
        read_facts(folder)


def test_a_damaged_state_gives_an_error_with_what_to_do(tmp_path: Path):
    state = {"optimizer": {"step": torch.tensor(3)}, "schedule": {"last_epoch": 3}}
    write_state(state, tmp_path)
    assert read_state(tmp_path) == state
    data = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes(data[: len(data) // 2])
    with pytest.raises(SpatialdataError, match=r"is damaged .*resume from the previous checkpoint") as error:
        read_state(tmp_path)
    assert "\n" not in str(error.value)


def test_another_recipe_or_configuration_is_an_error(tmp_path: Path):
    HERE.check("linear", {**HERE.config, "keep": 3}, 4, tmp_path)
    with pytest.raises(BadInput, match="is a checkpoint of linear, not of ildm"):
        HERE.check("ildm", HERE.config, 4, tmp_path)
    other = {**HERE.config, "recipe": {"width": 9, "depth": 2}}
    with pytest.raises(
        BadInput, match=r"recipe\.depth \('absent', here 2\), recipe\.width \(8, here 9\), batch_size x"
    ):
        HERE.check("linear", other, 8, tmp_path)


def test_one_run_at_a_time(tmp_path: Path):
    with lock_run(tmp_path), pytest.raises(BadInput, match="another run is training into"), lock_run(tmp_path):
        pass
    with lock_run(tmp_path):
        pass
