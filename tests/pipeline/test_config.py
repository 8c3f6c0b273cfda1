"""A wrong configuration is one error line with the key, the most similar valid key and the allowed values."""

from pathlib import Path
from typing import Any, get_args

import pytest

from spatialdata_builder.annotators.checks import GeometryChecks
from spatialdata_builder.pipeline.config import Config, EditOptions, RecipeName, load_config, parse_config
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.fingerprints import plain
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.recipes import RECIPES
from spatialdata_builder.shards.schema import EDIT_KINDS, schema_version
from spatialdata_builder.sources.scenes.spec import RenderOptions, SceneOptions

PAIR = {
    "source": "procedural",
    "dataset": "procedural",
    "assets": "/out/plan/assets.parquet",
    "assets_sha256": "",
    "scene": SceneOptions(),
    "render": RenderOptions(),
}
EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*[!y].yaml"))  # not kuberay.yaml


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sourc.kind=objaverse", ["unknown key 'sourc'", "did you mean 'source'?", "allowed: edits, engine"]),
        ("source.knd=objaverse", ["unknown key 'source.knd'", "'kind'", "allowed: cache, creator, fetch"]),
        ("source.kind=objavers", ["source.kind", "'objavers'", "did you mean 'objaverse'?", "object3dit"]),
        ("edits.rotat=1", ["'edits.rotat'", "did you mean 'rotate'?", "camera"]),
        ("layers.dept=exact", ["'layers.dept'", "did you mean 'depth'?"]),
        ("scene.camera.elevation=3", ["scene.camera.elevation", "did you mean 'elevation_deg'?"]),
        ("engine.resources.pair.actor=1", ["engine.resources.pair.actor", "did you mean 'actors'?"]),
        ("render.samples=many", ["render.samples", "integer", "'many'"]),
        ("render.device=cudda", ["did you mean 'cuda'?", "render.device", "optix"]),
        ("samples=-1", ["samples", "-1"]),
        ("samples=all", ["samples", "object3dit"]),
        ("edits={rotate: 0}", ["edits", "weight above 0"]),
        ("shard.splits={train: 0.5, val: 0.1, test: 0.1}", ["shard.splits", "0.7, not 1"]),
        ("shard.name=Bad Name", ["shard.name"]),
        ("unit_size=0", ["unit_size", "greater than or equal to 1"]),
        ("nothing", ["--set nothing", "key=value"]),
        ("scene.light.hdris=[forrest]", ["scene.light.hdris", "'forrest'", "did you mean 'forest'?", "allowed: city"]),
        ("scene.light.hdris=[]", ["scene.light.hdris", "at least 1"]),
        ("scene.light.strength=[0, 1]", ["scene.light.strength", "[0, 1]", "0.01 <= a <= b"]),
        ("scene.light.strength=[.nan, 1]", ["scene.light.strength", "[nan, 1]", "allowed"]),
        ("scene.objects=[6, 2]", ["scene.objects", "[6, 2]", "2 <= a <= b <= 8"]),
        ("scene.objects=[0, 0]", ["scene.objects", "[0, 0]", "2 <= a <= b <= 8"]),
        ("scene.objects=[2, 9]", ["scene.objects", "[2, 9]"]),
        ("scene.objects=[2]", ["scene.objects"]),
        ("scene.camera.elevation_deg=[1, 45]", ["scene.camera.elevation_deg", "5 <= a <= b <= 75"]),
        ("scene.camera.elevation_deg=[45, 12]", ["scene.camera.elevation_deg", "[45, 12]"]),
        ("scene.camera.focal_mm=[0, 50]", ["scene.camera.focal_mm", "6 <= a <= b"]),
        ("scene.camera.focal_mm=[30, .inf]", ["scene.camera.focal_mm", "[30, inf]"]),
        ("scene.min_visible=.nan", ["scene.min_visible", "nan"]),
        ("render.resolution=[0, 0]", ["render.resolution", "[0, 0]", "each 32 to 8192"]),
        ("render.resolution=[100000, 512]", ["render.resolution", "each 32 to 8192"]),
        ("render.samples=1000000", ["render.samples", "less than or equal to 65536"]),
        ("render.timeout_s=.inf", ["render.timeout_s", "finite"]),
        ("edits={translate: .inf}", ["edits.translate", "inf"]),
        ("edits={translate: .nan}", ["edits.translate", "nan"]),
        ("shard.splits={train: .nan, val: 0, test: 0}", ["shard.splits.train", "nan"]),
        ("seed=9223372036854775808", ["seed", "less than 9223372036854775808"]),
        ("source.licenses=[cc-by]", ["source.licenses", "'cc-by'", "did you mean", "cc0", "by-nc-nd"]),
        ("source.licenses=[]", ["source.licenses", "at least 1"]),
        ("source.variants=100000", ["source.variants", "less than or equal to 1000"]),
        ("unit_size=1000000000", ["unit_size", "less than or equal to 65536"]),
        ("samples=1000000000000", ["samples", "less than or equal to 1000000000"]),
        ("engine.resources.pair.gpus=1.5", ["engine.resources.pair.gpus", "1.5", "whole number"]),
    ],
)
def test_a_mistake_is_named_in_one_line(override: str, words: list[str]):
    with pytest.raises(BadInput) as caught:
        load_config(None, [override])
    message = str(caught.value)
    assert "\n" not in message
    assert "more)" not in message
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
def test_files_that_are_not_a_configuration(tmp_path: Path, text: str):
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


@pytest.mark.parametrize(
    ("settings", "least", "behind"),
    [
        ([], 0.35, 0.2),
        (["scene.min_visible=0.6"], 0.6, 0.2),
        (["scene.min_visible=0.1"], 0.1, 0.1),
        (["scene.min_visible=0.1", "layers.checks.min_visible=0.5"], 0.5, 0.1),
    ],
)
def test_checks_use_the_thresholds_of_the_scene(settings: list[str], least: float, behind: float):
    (checks,) = (
        stage for stage in build_stages(load_config(None, settings), PAIR) if isinstance(stage, GeometryChecks)
    )
    assert (checks.min_visible, checks.min_visible_behind) == (least, behind)


def test_checks_of_released_pairs_keep_their_own_threshold():
    config = load_config(None, ["source.kind=object3dit", "samples=all", "scene.min_visible=0.1"])
    stages = build_stages(config, {"root": "/data", "indexes": "/out"})
    assert GeometryChecks() in stages


def test_every_kind_of_edit_has_a_weight():
    """If no kind is set, the samples keep the schema that other readers know."""
    options = ("invert", "per_scene", "pairs_per_scene", "compose", "orbit")
    assert tuple(EditOptions.model_fields) == (*EDIT_KINDS, *options)
    assert schema_version(list(parse_config({}).edits.weights)) == 3


GRID = {"azimuths": 3, "elevations": [0, 30], "distances": [1.0]}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"edits": {"orbit": GRID, "translate": 1}}, "camera edits only, all between the views of its grid: remove t"),
        ({"edits": {"orbit": GRID, "per_scene": 6}}, "remove per_scene"),
        ({"edits": {"orbit": GRID, "compose": True}}, "remove compose"),
        ({"edits": {"orbit": GRID, "invert": False}}, "remove invert"),
        ({"edits": {"orbit": GRID, "camera": 0}}, "remove camera: 0"),
        ({"edits": {"orbit": GRID, "pairs_per_scene": 4}}, "at least 5, for the edits from the first of the 6 views"),
        ({"edits": {"orbit": GRID}, "samples": 24}, "samples must be a multiple of 5, .* 25 is the next one"),
        ({"edits": {"orbit": GRID}, "samples": 25}, "unit_size must be a multiple of 5, .* 65 is the next one"),
        ({"edits": {"orbit": GRID}, "scene": {"kinds": {"room": 1}}}, "remove scene.kinds"),
        ({"edits": {"orbit": GRID}, "source": {"kind": "object3dit"}}, "object3dit has one edit per scene"),
        ({"edits": {"orbit": {**GRID, "elevation": [0]}}}, "'edits.orbit.elevation'.*'elevations'"),
        ({"edits": {"orbit": {**GRID, "of": "scene", "elevations": [-30]}}}, "-30 is below the floor"),
    ],
)
def test_bad_grids_are_explained(values: dict[str, Any], said: str):
    with pytest.raises(BadInput, match=said):
        parse_config(values)


def test_a_grid_is_kept_in_the_serialized_form_and_its_absence_is_not():
    values = {"samples": 5, "unit_size": 5, "edits": {"orbit": GRID, "pairs_per_scene": 30}}
    config = parse_config(values)
    assert config.edits.weights == {"camera": 1.0}
    assert (config.edits.rendered_per_scene, config.edits.orbit_pairs) == (5, 30)
    assert parse_config(config.model_dump(mode="json")) == config
    assert config.model_dump(mode="json")["edits"] == {
        "pairs_per_scene": 30,
        "orbit": {"of": "object", "azimuths": 3, "elevations": [0.0, 30.0], "distances": [1.0]},
    }
    assert parse_config({"edits": {"orbit": None}}).model_dump() == parse_config({}).model_dump()
    assert "orbit" not in parse_config({}).edits.model_dump()


def test_every_recipe_can_be_configured():
    assert get_args(RecipeName) == tuple(RECIPES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sampels=12", ("--set sampels=12", "'samples'")),
        ("a.b = c", ("--set 'a.b = c'", "--set a.b=c")),
        ("a..b=c", ("single dots", "--set a.b=c")),
        (".=c", ("'.' is not a key", "--set key=c")),
        ("source.licenses=by", ("source.licenses", "write a list, such as [a, b]")),
        ("source.licenses=[]", ("source.licenses", "list should have at least 1 item")),
        ("source=procedural", ("source: write a section",)),
        ("render.resolution=[64]", ("render.resolution.1: a value is missing",)),
        ("samples = 12", ("--set 'samples = 12'", "--set samples=12")),
        ("samples=-3", ("--set samples=-3", "greater")),
        ("shard.splits.train=0.5", ("--set shard.splits.train=0.5", "sum to")),
        ("samples=all", ("--set samples=all", "object3dit")),
        (f"seed={'[' * 3000}", ("--set seed=[", "too deeply")),
        ("samples=[2026-13-45]", ("--set samples=", "has an invalid value")),
    ],
)
def test_an_error_caused_by_an_option_names_it(tmp_path: Path, override: str, words: tuple[str, ...]):
    file = tmp_path / "mine.yaml"
    file.write_text("samples: 3\nseed: 1\n")
    with pytest.raises(BadInput) as caught:
        load_config(file, ["unit_size=4", override])
    assert all(word in str(caught.value) for word in words) and "mine.yaml" not in str(caught.value)
    assert len(str(caught.value)) < 400
    file.write_text("sampels: 3\n")
    with pytest.raises(BadInput, match=r"mine\.yaml: unknown key 'sampels'"):
        load_config(file, ["unit_size=4"])


BOMB = "a: &a [1,2,3,4,5,6,7,8,9]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]\n" for below, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 1000 + "]" * 1000, "nested too deeply"),
        ("x: " + "{a: " * 1000 + "1" + "}" * 1000, "nested too deeply"),
        (BOMB, "more than 200,000 values"),
        ("a: &a [*a]", "contains itself"),
        ("x" * 5_000_000, "more than 4,000,000 characters"),
        ("samples: 2026-13-45", "has an invalid value"),
        (f"seed: {'9' * 5000}", "has an invalid value"),
        ("{[1]: 2}", "not YAML"),
        ("1: 2", "1: keys should be strings"),
        ("!!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_files_with_an_implausible_size_or_shape(tmp_path: Path, text: str, words: str):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"mine\.yaml") as caught:
        load_config(file)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_configuration_with_many_models(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    uids = [f"{number:032x}" for number in range(10_000)]
    file.write_text("source: {kind: objaverse, uids: [" + ", ".join(f"'{uid}'" for uid in uids) + "]}\n")
    assert load_config(file).source.uids == tuple(uids)


def test_old_keys_are_read_and_keep_the_fingerprint():
    old = parse_config({"render": {"recycle": 3}, "scene": {"attempts": 7}, "source": {"survey": "/kept"}})
    new = parse_config(
        {"render": {"scenes_per_process": 3}, "scene": {"max_proposals": 7}, "source": {"survey_folder": "/kept"}}
    )
    assert old == new
    assert plain(new.scene)["attempts"] == 7
    assert "max_proposals" not in plain(new.scene)
    with pytest.raises(BadInput, match=r"scene: attempts is the old name of max_proposals: remove one of the two"):
        parse_config({"scene": {"attempts": 7, "max_proposals": 7}})
    with pytest.raises(BadInput, match=r"scene\.max_proposals: .*greater than or equal to 1"):
        parse_config({"scene": {"attempts": 0}})
