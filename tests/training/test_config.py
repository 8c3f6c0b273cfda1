"""Precedence of configuration sources, and errors for wrong values."""

from pathlib import Path

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.training.config import differences, load_config, parse_config
from tests.training.linear import Linear


def test_precedence_of_presets_file_and_overrides(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("steps: 10\nlr: 1e-3\nrecipe: {width: 6, dropout: 0.5}\ndata: {threads: 2}\n")
    config = load_config(Linear, path, "tiny", ["recipe.dropout=0.25", "data.prefetch=1", "betas=[0.9, 0.95]"])
    assert (config.steps, config.lr, config.batch_size) == (3, 1e-3, 2)
    assert config.recipe == {"width": 4, "depth": 0, "dropout": 0.25, "fault": "none", "fault_key": ""}
    assert (config.data.threads, config.data.prefetch) == (2, 1)
    assert config.betas == (0.9, 0.95)
    assert load_config(Linear, path).steps == 10
    assert load_config(Linear).recipe["width"] == 8


def test_a_dumped_configuration_is_read_back_unchanged():
    config = load_config(Linear, overrides=["betas=[0.8, 0.9]", "recipe.width=5"])
    assert parse_config(Linear, config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("step=3", r"unknown key 'step'; did you mean 'steps'\?; allowed: accumulate, batch_size, "),
        ("data.thread=3", r"unknown key 'data\.thread'; did you mean 'threads'\?; allowed: buckets, cache, "),
        ("recipe.widht=3", r"unknown key 'recipe\.widht'; did you mean 'width'\?; allowed: depth, dropout, "),
        ("recipe.width=0", r"recipe\.width: input should be greater than or equal to 1 \(got 0\)"),
        ("precision=fp16", r"precision: input should be 'no' or 'bf16' \(got 'fp16'\)"),
        ("lr=.nan", r"lr: input should be"),
        ("ema=1", r"ema: input should be less than 1"),
        ("betas=[0.9, 1]", r"betas must be at least 0 and below 1 \(got \(0\.9, 1\.0\)\)"),
        ("lr", r"--set lr: write --set key=value"),
        ("lr=[", r"--set lr=\[: the value is not YAML"),
    ],
)
def test_a_wrong_value_gives_a_one_line_error(override: str, message: str):
    with pytest.raises(BadInput, match=message) as error:
        load_config(Linear, overrides=[override])
    assert "\n" not in str(error.value)


def test_bad_files_and_unknown_presets(tmp_path: Path):
    with pytest.raises(BadInput, match="no configuration file"):
        load_config(Linear, tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(BadInput, match="a mapping of keys, not a list"):
        load_config(Linear, tmp_path / "list.yaml")
    with pytest.raises(BadInput, match="linear has no preset 'small': use one of paper, tiny"):
        load_config(Linear, preset="small")


def test_only_keys_that_change_a_run_count_as_differences():
    def dumped(*overrides: str) -> dict[str, object]:
        return load_config(Linear, overrides=overrides).model_dump(mode="json")

    free = ["keep=9", "save_every=7", "log=tensorboard", "data.threads=3", "batch_size=1", "accumulate=2", "steps=9"]
    assert differences(dumped(), dumped(*free)) == []
    moved = [{"recipe": {"width": 8, "cache": folder, "cache_bytes": 1}} for folder in ("a", "b")]
    assert differences(*moved) == []
    assert differences(dumped("schedule=cosine"), dumped("schedule=cosine", "steps=9")) == ["steps (3000, here 9)"]
    assert differences(dumped(), dumped("recipe.width=3", "seed=1")) == ["recipe.width (8, here 3)", "seed (0, here 1)"]
