"""A wrong configuration is one line that names the key, the nearest right one and what is allowed."""

from pathlib import Path

import pytest

from pipeline.config import Config, load_config
from shards.errors import BadInput

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sourc.kind=objaverse", ["unknown key 'sourc'", "did you mean 'source'?", "allowed: edits, engine"]),
        ("source.knd=objaverse", ["unknown key 'source.knd'", "'kind'", "allowed: fetch, kind"]),
        ("source.kind=objavers", ["source.kind", "'objavers'", "did you mean 'objaverse'?", "object3dit"]),
        ("edits.rotat=1", ["'edits.rotat'", "did you mean 'rotate'?", "camera"]),
        ("layers.dept=exact", ["'layers.dept'", "did you mean 'depth'?"]),
        ("scene.camera.elevation=3", ["scene.camera.elevation", "did you mean 'elevation_deg'?"]),
        ("engine.resources.pair.actor=1", ["engine.resources.pair.actor", "did you mean 'actors'?"]),
        ("render.samples=many", ["render.samples", "integer", "'many'"]),
        ("render.device=gpu", ["render.device", "optix"]),
        ("samples=-1", ["samples", "-1"]),
        ("samples=all", ["samples", "object3dit"]),
        ("edits={rotate: 0}", ["edits", "weight above 0"]),
        ("shard.splits={train: 0.5, val: 0.1, test: 0.1}", ["shard.splits", "0.7, not 1"]),
        ("shard.name=Bad Name", ["shard.name"]),
        ("unit_size=0", ["unit_size", "greater than or equal to 1"]),
        ("nothing", ["--set nothing", "key=value"]),
    ],
)
def test_a_mistake_is_named_in_one_line(override: str, words: list[str]):
    with pytest.raises(BadInput) as caught:
        load_config(None, [override])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert caught.value.exit_code == 2


def test_overrides_reach_nested_keys_and_shorthand_layers(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text("layers: {line: exact}\nsamples: 5\n")
    config = load_config(file, ["layers.line.angle_deg=20", "scene.camera.focal_mm=[30, 40]", "samples=7"])
    assert config.layers["line"].stage == "exact"
    assert config.layers["line"].options == {"angle_deg": 20}
    assert config.scene.camera.focal_mm == (30.0, 40.0)
    assert config.samples == 7


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2", "\t"])
def test_files_that_are_no_configuration(tmp_path: Path, text: str):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"c\.yaml"):
        load_config(file)


def test_a_missing_file_is_named():
    with pytest.raises(BadInput, match=r"no configuration file nowhere\.yaml"):
        load_config("nowhere.yaml")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(example: Path):
    assert isinstance(load_config(example), Config)
