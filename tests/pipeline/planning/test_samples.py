"""Planning a build: unique keys, the render device, the asset survey and the splits."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import trimesh

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.engine.render_device import DEVICE
from spatialdata_builder.pipeline.planning.request import ASSETS, resolved_request
from spatialdata_builder.pipeline.planning.samples import plan_build
from spatialdata_builder.pipeline.planning.survey import REJECTED_ASSETS, rejected_assets
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import PLAN, Plan
from spatialdata_builder.shards.errors import BadInput
from tests.needs import needs
from tests.sources.models import box, checkered, glb, make_cache
from tests.sources.odd_models import required


def planned(out: Path, *settings: str, say: Callable[[str], None] = lambda _: None) -> Plan:
    overrides = ["engine.kind=inline", "samples=5", "source.variants=1", "render.device=cpu", *settings]
    return plan_build(load_config(None, overrides), LayerStore(str(out)), say, quiet=True)


@pytest.mark.slow
def test_keys_of_two_builds_differ(tmp_path: Path):
    keys = {row.key for seed in (7, 8) for row in planned(tmp_path / str(seed), f"seed={seed}").rows(0)}
    assert len(keys) == 10
    assert "procedural-7-00000004" in keys
    longest = planned(tmp_path / "long", f"seed={2**63 - 1}").rows(0)[0].key
    assert longest == "procedural-9223372036854775807-00000000"


def test_planning_resolves_the_device(tmp_path: Path):
    named = planned(tmp_path / "named")
    assert not named.store.exists(DEVICE)
    auto = planned(tmp_path / "auto", "render.device=auto", "engine.resources.pair.gpus=1")
    assert auto.store.read_file(DEVICE) == b'{"device": "gpu"}'


def test_the_tree_of_lights_is_off_in_new_plans_and_stays_on_in_older_ones(tmp_path: Path):
    def light_tree(plan: Plan, *settings: str) -> str:
        overrides = ["samples=5", "source.variants=1", "render.device=cpu", *settings]
        return resolved_request(load_config(None, overrides), plan.store, plan).render.light_tree

    new = planned(tmp_path / "new")
    assert light_tree(new) == "off"
    assert planned(tmp_path / "new").hash == new.hash
    old = planned(tmp_path / "old", "render.light_tree=on")
    assert "light_tree" not in old.config  # as in plans made before the option existed
    assert planned(tmp_path / "old").hash == old.hash
    assert light_tree(planned(tmp_path / "old")) == "on"
    with pytest.raises(BadInput, match=r"light_tree"):
        planned(tmp_path / "old", "render.light_tree=off")


@pytest.fixture(scope="module")
@needs("blender")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, ...], Path, Plan]:
    """Settings of a build, the folder of its survey, and its plan."""
    folder = tmp_path_factory.mktemp("surveyed")
    root = make_cache(folder / "cache", {f"box{n}": glb(box(1, 1, 1 + n / 10)) for n in range(4)})
    settings = ("source.kind=objaverse", f"source.root={root}", "shard.splits={train: 1, val: 0, test: 0}")
    plan = planned(folder / "out", *settings, f"source.survey={folder / 'shared'}")
    return settings, folder / "shared", plan


@pytest.mark.parametrize("damaged", ["appearance-*/*.parquet", "appearance-*/*.json", "survey-*/*.json"])
def test_a_damaged_survey_is_rebuilt(surveyed: tuple[tuple[str, ...], Path, Plan], damaged: str, tmp_path: Path):
    settings, survey, first = surveyed
    shared = shutil.copytree(survey, tmp_path / "shared")
    (file,) = shared.glob(f"*/layers/{damaged}")
    file.write_bytes(file.read_bytes()[:-9])
    assert planned(tmp_path / "out", *settings, f"source.survey={shared}").hash == first.hash
    assert file.with_name(f"{file.name}.corrupt").exists()


def test_a_shared_survey_of_other_packages_is_rejected(
    surveyed: tuple[tuple[str, ...], Path, Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings, shared, plan = surveyed
    assert plan.samples == 5
    (survey,) = shared.iterdir()
    assert not (survey / "run.lock").exists()
    monkeypatch.setattr(
        "spatialdata_builder.pipeline.planning.survey.versions",
        lambda: json.loads((survey / PLAN).read_text())["versions"] | {"numpy": "9"},
    )
    with pytest.raises(BadInput, match=r"source\.survey_folder: .*\(numpy .* -> 9\): remove that folder") as caught:
        planned(tmp_path / "out", *settings, f"source.survey={shared}")
    assert str(survey) in str(caught.value)
    assert "--out" not in str(caught.value)


@pytest.mark.blender
def test_rejected_assets_are_listed(tmp_path: Path):
    models = {f"box{n}": glb(box(1, 1, 1 + n / 10)) for n in range(4)} | {"broken": b"glTF", "vendor": required("X_y")}
    root = make_cache(tmp_path / "cache", models)
    settings = ("source.kind=objaverse", f"source.root={root}", "shard.splits={train: 1, val: 0, test: 0}")
    store = planned(tmp_path / "out", *settings).store
    listed = rejected_assets(store)
    assert [(asset["uid"], asset["reason"]) for asset in listed] == [("broken", "unreadable"), ("vendor", "unreadable")]
    assert listed[1]["detail"] == "it requires the extension X_y, which Blender does not support"
    data = store.read_file(REJECTED_ASSETS)
    again = planned(tmp_path / "again", *settings, "engine.kind=inline").store
    assert again.read_file(REJECTED_ASSETS) == data


def test_the_error_for_a_cache_without_usable_models_names_some(tmp_path: Path):
    root = make_cache(tmp_path / "cache", {"broken": b"glTF", "vendor": required("X_y")})
    with pytest.raises(BadInput, match="vendor: it requires the extension X_y") as caught:
        planned(tmp_path / "out", "source.kind=objaverse", f"source.root={root}")
    assert "\n" not in str(caught.value)


@pytest.mark.blender
def test_all_assets_of_one_shape_are_in_one_split(tmp_path: Path):
    """Six boxes, each with a copy, another export and another texture."""
    models: dict[str, bytes] = {}
    for number in range(6):
        mesh = box(1, 1.1 + number / 10, 1.4)
        turned = mesh.copy().apply_transform(trimesh.transformations.rotation_matrix(1.57, (1, 0, 0)))
        painted = glb(mesh.copy(), material=checkered())
        models |= {f"plain{number}": glb(mesh), f"copy{number}": glb(mesh), f"painted{number}": painted}
        models[f"turned{number}"] = glb(turned.apply_scale(100))
    licences = {f"copy{number}": {"license": "by-sa", "user": {"displayName": "Zoe"}} for number in range(6)}
    lines: list[str] = []
    settings = ("source.kind=objaverse", f"source.root={make_cache(tmp_path / 'cache', models, **licences)}")
    splits = "shard.splits={train: 0.5, val: 0.25, test: 0.25}"
    planned(tmp_path / "out", *settings, splits, say=lines.append)
    rows = pq.read_table(tmp_path / "out" / ASSETS).to_pylist()
    by_shape = {number: [row for row in rows if row["uid"].endswith(str(number))] for number in range(6)}
    for found in by_shape.values():
        assert len({row["split"] for row in found}) == len({row["family"] for row in found}) == 1
        models_of = {row["uid"][:-1]: row["model"] for row in found}
        assert models_of["plain"] == models_of["copy"] == models_of["turned"] != models_of["painted"]
        for row in found:
            asset = json.loads(row["asset"])
            one = row["uid"].startswith("painted")
            assert asset["licence"] == ("by" if one else "by;by-sa")
            assert one or "Zoe" in asset["creator"].split("; ")
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    assert any(line.startswith("24 assets are 12 different models of 6 shapes") for line in lines)


@pytest.mark.blender
def test_a_split_with_one_model_is_reported(tmp_path: Path):
    models = {f"m{n}-{copy}": glb(box(1, 1, 1 + n / 10)) for n in range(4) for copy in range(4)}
    lines: list[str] = []
    settings = ("source.kind=objaverse", f"source.root={make_cache(tmp_path / 'cache', models)}")
    planned(tmp_path / "out", *settings, "shard.splits={train: 0.5, val: 0.25, test: 0.25}", say=lines.append)
    assert [line.split(" ")[0] for line in lines if "has only one model" in line] == ["test", "val"]


@pytest.mark.blender
def test_sizes_in_another_unit_are_reported(tmp_path: Path):
    names = ("refrigerator", "chair", "table", "stool")
    models = {name: glb(box(60, 170 + n, 60)) for n, name in enumerate(names)}
    sizes = {name: {"name": name, "size_m": [60, 170 + n, 60]} for n, name in enumerate(names)}
    lines: list[str] = []
    settings = ("source.kind=objaverse", f"source.root={make_cache(tmp_path / 'cache', models, **sizes)}")
    planned(tmp_path / "out", *settings, "shard.splits={train: 1, val: 0, test: 0}", say=lines.append)
    assert any("4 known sizes are not plain meters, such as size_m 60 x" in line for line in lines)
    for row in pq.read_table(tmp_path / "out" / ASSETS).to_pylist():
        assert max(json.loads(row["asset"])["size_m"]) < 2
