"""Whether a build uses physics: resolved once, stored in the plan, an error where it is asked for and not installed."""

import sys
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.config import Config, load_config
from spatialdata_builder.pipeline.planning.samples import pair_arguments, plan_build
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import Plan
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.rendered.pairs import RenderPairs

pytestmark = pytest.mark.slow
pytest.importorskip("mujoco", reason="MuJoCo (extra `physics`) is not installed")
ROOMS = "scene.kinds={room: 1}"


def config_of(*settings: str) -> Config:
    return load_config(None, ["engine.kind=inline", "samples=5", "render.device=cpu", "source.variants=1", *settings])


def plan(config: Config, out: Path, said: list[str] | None = None) -> Plan:
    return plan_build(config, LayerStore(str(out)), [].append if said is None else said.append, quiet=True)


def stage(config: Config, out: Path, planned: Plan) -> RenderPairs:
    return RenderPairs(**pair_arguments(config, LayerStore(str(out)), planned))


@pytest.fixture
def without_mujoco(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setitem(sys.modules, "mujoco", None)  # as where it is not installed
    return monkeypatch


def test_auto_is_on_where_it_is_installed_and_off_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config, here, there = config_of(ROOMS), tmp_path / "here", tmp_path / "there"
    used = plan(config, here)
    assert used.config["physics"] == "on" and stage(config, here, used).packages == ("mujoco",)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "mujoco", None)
        said: list[str] = []
        unused = plan(config, there, said)
        assert unused.config["physics"] == "off" and any("[physics]" in line for line in said)
        stage(config, there, unused).setup()
        # A worker without it would make other scenes of the same plan.
        again = plan(config, here)
        assert again == used
        with pytest.raises(BadInput, match=r"spatialdata-builder\[physics\]"):
            stage(config, here, again).setup()
    # The plan of a build does not change where MuJoCo is installed later.
    assert plan(config, there) == unused and stage(config, there, unused).packages == ()


def test_asked_for_and_missing_is_an_error_before_anything_is_written(tmp_path: Path, without_mujoco: object):
    with pytest.raises(BadInput, match=r"scene.physics .* pip install 'spatialdata-builder\[physics\]'"):
        plan(config_of(ROOMS, "scene.physics=on"), tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_another_choice_is_another_plan(tmp_path: Path):
    plan(config_of(ROOMS, "scene.physics=off"), tmp_path)
    with pytest.raises(BadInput, match="another --out"):
        plan(config_of(ROOMS, "scene.physics=on"), tmp_path)


def test_open_scenes_do_not_ask(tmp_path: Path, without_mujoco: object):
    said: list[str] = []
    planned = plan(config_of(), tmp_path, said)
    assert "physics" not in planned.config and not any("physics" in line for line in said)
    assert stage(config_of(), tmp_path, planned).packages == ()
