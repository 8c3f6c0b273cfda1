"""Failures of Blender and broken files: they are bounded and counted, and never end a run."""

import re
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.shards.schema import PairFacts
from spatialdata_builder.sources.assets.table import split_assets, table_of
from spatialdata_builder.sources.edits.judge import judge
from spatialdata_builder.sources.procedural import catalog, write_glb
from spatialdata_builder.sources.rendered.pairs import BROKEN, RenderPairs
from spatialdata_builder.sources.scenes.spec import RenderOptions, SceneOptions, SceneSpec

SPLITS = {"train": 1.0, "val": 0.0, "test": 0.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models in files, as in an Objaverse cache."""
    folder = tmp_path_factory.mktemp("models")
    chosen = [asset for asset in catalog(2) if asset.category in ("mug", "bottle", "vase", "bowl", "teapot")]
    for asset in chosen:
        write_glb(asset.uid, folder).rename(folder / asset.path)
    pq.write_table(table_of(chosen, split_assets(chosen, SPLITS, 0)), folder / "assets.parquet")
    return folder


def stage(root: Path, **render: float) -> RenderPairs:
    return RenderPairs(
        source="objaverse",
        dataset="test",
        assets=str(root / "assets.parquet"),
        assets_sha256="",
        scene=SceneOptions(objects=(2, 3)),
        render=RenderOptions(resolution=(64, 64), samples=2, **render),
        place=str(root),
    )


@pytest.mark.slow
def test_a_node_without_the_models_ends_the_run(root: Path, tmp_path: Path):
    pairs = replace(stage(root), place=str(tmp_path / "not-mounted"))
    with pytest.raises(BadInput, match=rf"source\.root: {tmp_path}/not-mounted .* on node {socket.gethostname()}"):
        pairs.setup()


@pytest.mark.blender
def test_missing_models_have_another_reason_than_scenes_that_do_not_fit(root: Path, tmp_path: Path):
    pairs = replace(stage(root), place=str(tmp_path))
    model = pairs.setup()
    (result,) = pairs(model, [sample(1, "scale")])
    model.renderer.close()
    assert isinstance(result, Reject)
    assert result.reason == "broken_asset"
    assert "broken_asset" in result.detail
    assert re.search(r"\d assets cannot be shown: procedural-[\w-]+: there is no such file", result.detail)
    # Each is drawn only once.
    named = [name for name in result.counts if name.startswith(BROKEN)]
    assert sum(result.counts[name] for name in named) == len(named) == result.counts["broken_asset"]


def sample(seed: int, kind: str) -> Sample:
    return Sample(f"scene-{seed}", "train", {"seed": seed, "edit": kind})


@pytest.mark.blender
def test_a_scene_that_takes_too_long_is_a_reject(root: Path):
    pairs = stage(root, timeout_s=0.05)
    model = pairs.setup()
    (result,) = pairs(model, [sample(1, "translate")])
    model.renderer.close()
    assert isinstance(result, Reject)
    assert result.reason == "blender_timeout"
    assert "render.timeout_s" in result.detail
    assert result.counts["blender_timeout"] == 2


@pytest.mark.blender
def test_a_sample_does_not_depend_on_the_rest_of_its_family(root: Path):
    """If one of two samples of a scene is quarantined, the other does not change."""
    pairs, shared = stage(root), {"seed": 5, "edits": ["scale", "remove"], "family": "a"}
    specs = {
        "a": {**shared, "edit": "scale", "turn": 0},
        "b": {**shared, "edit": "remove", "turn": 1},
        "a-comp": {"seed": 5, "edit": "remove", "family": "a", "derived": "compose", "origin": ["a", "b"]},
        "a-comp-inv": {"seed": 5, "edit": "insert", "family": "a", "derived": "invert", "origin": ["a-comp"]},
    }
    family = [Sample(key, "train", spec) for key, spec in specs.items()]
    model = pairs.setup()
    whole = pairs(model, family)
    without_first, without_second = pairs(model, family[1:]), pairs(model, [family[0], *family[2:]])
    model.renderer.close()
    assert all(isinstance(result, Row) for result in whole)
    assert isinstance(without_first[0], Row) and without_first[0].columns == whole[1].columns
    assert without_second[0] == whole[0]
    assert whole[0].columns["source"] == whole[1].columns["source"]
    for results, lost in ((without_first[1:], "a"), (without_second[1:], "b")):
        assert [result.reason for result in results] == ["origin_rejected"] * 2
        assert results[0].detail == f"its origin {lost}: it is quarantined"
        assert results[1].detail == "its origin a-comp: origin_rejected"


@pytest.mark.blender
def test_a_model_that_broke_after_the_survey_costs_scenes_not_samples(root: Path):
    pairs = stage(root)
    model = pairs.setup()
    whole = pairs(model, [sample(seed, "scale") for seed in range(2)])
    assert all(isinstance(result, Row) for result in whole)
    for asset in sorted(root.glob("procedural-*"))[::2]:
        content = asset.read_bytes()
        asset.write_bytes(content[: len(content) // 2])
    results = pairs(model, [sample(seed, "scale") for seed in range(2, 6)])
    model.renderer.close()
    assert sum(result.counts["broken_asset"] for result in results) > 0
    assert any(isinstance(result, Row) for result in results)
    for result in results:
        assert isinstance(result, Row) or result.reason in ("no_valid_scene", "broken_asset")


@pytest.mark.blender
def test_states_of_a_scene_have_all_its_objects(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Also the object of insertions that turn out to be hidden: the other edits are rendered without it."""
    hidden: list[int] = []

    def judged(spec: SceneSpec, *given: object) -> str | None:
        if spec.edit.kind == "insert":
            hidden.append(spec.edit.object)
            return "hidden"
        return judge(spec, *given)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr("spatialdata_builder.sources.rendered.pairs.judge", judged)
    pairs = replace(stage(root), scene=SceneOptions(objects=(3, 4)))
    model = pairs.setup()
    kinds = ["insert", "insert", "translate", "translate"]
    specs = ({"seed": 3, "edit": kind, "edits": kinds, "turn": turn} for turn, kind in enumerate(kinds))
    family = [Sample(str(turn), "train", {**spec, "family": "0"}) for turn, spec in enumerate(specs)]
    found = pairs(model, family)
    model.renderer.close()
    assert hidden
    assert [type(one) for one in found] == [Reject, Reject, Row, Row]
    assert [one.reason for one in found if isinstance(one, Reject)] == ["hidden", "hidden"]
    for one in found[2:]:
        assert isinstance(one, Row)
        facts = PairFacts.model_validate_json(str(one.columns["facts"]))
        assert not {thing.id for thing in facts.objects} & {*hidden}
        labels = {*np.unique(codecs.decode_labels(bytes(one.columns["source_instances"]))).tolist()}  # pyright: ignore[reportArgumentType]
        assert not labels & {*hidden} and facts.edit.object in labels
