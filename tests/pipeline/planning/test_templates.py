"""The templates of a plan: kept with it, part of it, and checked against the models."""

import hashlib
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.config import Config, load_config
from spatialdata_builder.pipeline.planning.request import ASSETS
from spatialdata_builder.pipeline.planning.samples import check_source, plan_build
from spatialdata_builder.pipeline.planning.templates import FILE
from spatialdata_builder.pipeline.store.fingerprints import layer_dirs
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import Plan, PlanDamaged
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.scenes.template import builtin_templates, planned_templates, read_templates

pytestmark = pytest.mark.slow
SETTINGS = (
    "engine.kind=inline",
    "samples=5",
    "render.device=cpu",
    "source.variants=1",
    "scene.kinds={room: 1}",
    "shard.splits={train: 1, val: 0, test: 0}",
)
LOUNGE = """kind: room
size: [[3, 5], [3, 5], [2.4, 2.8]]
focus: seat
items:
  - {name: seat, role: sofa, place: against wall, needed: true}
"""


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan with the project's own templates."""
    out = tmp_path_factory.mktemp("templates") / "out"
    plan(out)
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "lounge.yaml").write_text(LOUNGE)
    return folder


def config_of(*settings: str) -> Config:
    return load_config(None, [*SETTINGS, *settings])


def plan(out: Path, *settings: str) -> Plan:
    return plan_build(config_of(*settings), LayerStore(str(out)), lambda _: None, quiet=True)


def test_the_own_templates_are_no_part_of_a_plan(survey: Path):
    assert "templates" not in plan(survey).config and not (survey / FILE).exists()
    assert planned_templates(("builtin",), str(survey / ASSETS)) == builtin_templates()


def test_a_plan_keeps_its_templates_and_outlives_their_folder(tmp_path: Path, folder: Path):
    out, option = tmp_path / "out", f"scene.templates={folder}"
    made = plan(out, option)
    data = (out / FILE).read_bytes()
    assert made.config["templates"] == hashlib.sha256(data).hexdigest()
    assert planned_templates((str(folder),), str(out / ASSETS)) == read_templates([str(folder)])
    (folder / "lounge.yaml").unlink()
    folder.rmdir()
    assert plan(out, option).hash == made.hash
    check_source(config_of(option), LayerStore(str(out)), made)
    (out / FILE).write_bytes(b"{}")
    with pytest.raises(PlanDamaged, match=r"templates\.json"):
        check_source(config_of(option), LayerStore(str(out)), made)
    folder.mkdir()
    (folder / "lounge.yaml").write_text(LOUNGE)
    assert plan(out, option).hash == made.hash and (out / FILE).read_bytes() == data


def test_other_templates_are_another_plan_and_replace_nothing(tmp_path: Path, folder: Path):
    out, option = tmp_path / "out", f"scene.templates={folder}"
    plan(out, option)
    data = (out / FILE).read_bytes()
    (folder / "lounge.yaml").write_text(LOUNGE.replace("[3, 5]", "[3, 4]"))
    with pytest.raises(BadInput, match="templates"):
        plan(out, option)
    assert (out / FILE).read_bytes() == data


def test_the_place_of_a_folder_is_no_part_of_fingerprints(tmp_path: Path, folder: Path):
    from spatialdata_builder.pipeline.planning.samples import pair_arguments
    from spatialdata_builder.pipeline.registry import build_stages

    moved = folder.rename(tmp_path / "moved")
    names: list[str] = []
    for place in (moved, moved.rename(tmp_path / "again")):
        config = config_of(f"scene.templates={place}")
        stages = build_stages(config, pair_arguments(config, LayerStore(str(tmp_path))), str(tmp_path))
        names.append(layer_dirs(stages)["pair"])
    assert names[0] == names[1]


def test_a_template_that_the_models_cannot_fill(tmp_path: Path, folder: Path):
    (folder / "lounge.yaml").write_text(LOUNGE.replace("role: sofa", "role: piano"))
    (folder / "roles.yaml").write_text("piano: {is: [piano], size: [1, 2]}\n")
    with pytest.raises(BadInput) as error:
        plan(tmp_path / "out", f"scene.templates=[builtin, {folder}]")
    for word in ("template 'lounge'", "item 'seat'", "role 'piano'", "no model"):
        assert word in str(error.value)
    (folder / "lounge.yaml").write_text(LOUNGE.replace("[3, 5], [3, 5]", "[2, 2.1], [2, 2.1]"))
    (folder / "roles.yaml").write_text("sofa: {is: [shelf, sofa], size: [1.9, 3]}\n")
    with pytest.raises(BadInput, match=r"template 'lounge'.*(larger than the room|no model)"):
        plan(tmp_path / "out", f"scene.templates={folder}")


def test_an_empty_folder(tmp_path: Path):
    with pytest.raises(BadInput, match="no templates"):
        plan(tmp_path / "out", f"scene.templates={tmp_path}")
