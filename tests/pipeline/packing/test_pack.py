"""What packing adds to the layers: the version of a set, and which states of a scene a sample leads between."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.packing.pack import fit_recipe, pack
from spatialdata_builder.pipeline.planning.samples import pair_arguments
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.registry import build_stages
from spatialdata_builder.pipeline.store.families import unit_rows
from spatialdata_builder.pipeline.store.layers import LayerStore, Record
from spatialdata_builder.pipeline.store.plan import Plan, write_plan
from spatialdata_builder.shards.index import read_manifest
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.sample import Columns
from spatialdata_builder.shards.schema import Instruction, SampleRecord, Scores
from spatialdata_builder.shards.verify import verify_folder
from tests.annotators.factory import random_facts
from tests.shards.factory import make_sample

LAYERS = {layer: f"{layer}-1" for layer in ("pair", "instruction", "checks")}
STATES = [
    ("0-00000000", "", "0 1"),
    ("0-00000000-inv", "invert", "1 0"),
    ("0-00000001", "", "0 2"),
    ("0-00000001-inv", "invert", "2 0"),
    ("0-00000002", "", "0 3"),
    ("0-00000002-inv", "invert", "3 0"),
    ("0-00000000-comp", "compose", "1 2"),
    ("0-00000000-comp-inv", "invert", "2 1"),
    ("0-00000000-comp2", "compose", "1 3"),
    ("0-00000000-comp2-inv", "invert", "3 1"),
    ("0-00000001-comp", "compose", "2 3"),
    ("0-00000001-comp-inv", "invert", "3 2"),
]
"""Samples of the first scene of three edits: key, derivation, states."""


def columns_of(key: str) -> dict[str, Columns]:
    members = {field.partition(".")[0]: data for field, data in make_sample(key).items()}
    words = Instruction(text="Move it.", variants=["Move it."], method="template", model="", verified=True)
    texts = {"instruction": words.model_dump_json(), "caption": "two boxes", "source_caption": "two boxes"}
    pair = {name: members[name] for name in ("source", "target", "changed")}
    facts = random_facts(0, "translate").model_dump_json()
    return {"pair": pair | {"facts": facts}, "instruction": texts, "checks": {"scores": Scores().model_dump_json()}}


def packed(out: Path, *settings: str) -> list[SampleRecord]:
    """Records of a build's shards in the order of the plan; its layers are made up."""
    config = load_config(None, ["edits.translate=1", "render.device=cpu", "shard.samples_per_shard=5", *settings])
    store = LayerStore(str(out))
    stages = build_stages(config, pair_arguments(config, store))
    edits = config.edits
    rows = plan_scenes(6, 0, edits.weights, {"train": 1.0}, "0", invert=edits.invert, per_scene=edits.per_scene)
    plan: Plan = write_plan(store, {}, rows, unit_rows(config))
    for unit in range(plan.units):
        columns = {key: columns_of(key) for key in plan.keys(unit)}
        for layer, folder in LAYERS.items():
            store.write(folder, unit, {key: each[layer] for key, each in columns.items()}, Record(unit, folder, ()))
    recipe = fit_recipe(get_recipe("spatialedit"), stages, edits)
    done = pack(store, plan, LAYERS, recipe, config.shard, lambda pack_shard, jobs: [pack_shard(job) for job in jobs])
    assert done["splits"]["train"]["samples"] == plan.samples
    return [read_record(sample.members["json"]) for url in find_shards(str(out)) for sample in read_samples(url)]


def test_samples_of_a_scene_with_many_edits_name_their_states(tmp_path: Path):
    """Also where a shard begins within a scene."""
    records = packed(tmp_path, "edits.per_scene=3", "unit_size=3")
    told = [(one.key, one.provenance.derived, one.provenance.states) for one in records]
    assert told[:12] == STATES
    assert [each[1:] for each in told[12:]] == [each[1:] for each in STATES]
    assert [one.provenance.family for one in records] == ["0-00000000"] * 12 + ["0-00000003"] * 12
    folder = tmp_path / "shards" / "spatialedit" / "train"
    assert read_manifest(str(folder)).schema_version == 6
    families = [name for path in sorted(folder.glob("*.parquet")) for name in pq.read_table(path)["family"].to_pylist()]
    assert families == [one.provenance.family for one in records]
    assert not [problem for problem in verify_folder(str(tmp_path)).problems if problem.kind in ("schema", "index")]


@pytest.mark.parametrize("setting", ["edits.compose=true", "edits.invert=true"])
def test_other_builds_keep_their_records(tmp_path: Path, setting: str):
    records = packed(tmp_path, setting, "unit_size=2")
    assert {one.schema_version for one in records} == {3}
    assert not any({"family", "states"} & one.provenance.model_fields_set for one in records)
    shards = sorted((tmp_path / "shards" / "spatialedit" / "train").glob("*.parquet"))
    assert "family" not in pq.read_table(shards[0]).column_names
