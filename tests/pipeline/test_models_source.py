"""A folder of model files, from end to end: names, licenses, conversion, card, and a root that moves."""

import json
import shutil
from pathlib import Path

import pytest
from trimesh.visual.material import PBRMaterial

from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from tests.pipeline.command_line import CommandResult, assert_fails, run
from tests.sources.models import box, glb, write_gltf


def painted(*color: float) -> PBRMaterial:
    return PBRMaterial(baseColorFactor=[*color, 1.0], roughnessFactor=0.5, metallicFactor=0.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five models, among them an OBJ with an MTL file, a glTF, one in millimeters, one without a name."""
    root = tmp_path / "models"
    (root / "kitchen").mkdir(parents=True)
    (root / "SM_Crate_01.glb").write_bytes(glb(box(0.5, 0.5, 0.6), material=painted(0.6, 0.02, 0.02)))
    (root / "kitchen" / "stool.glb").write_bytes(glb(box(350, 700, 350), material=painted(0.02, 0.2, 0.6)))
    write_gltf(root / "kitchen" / "Table.gltf", glb(box(1.2, 0.75, 0.7), material=painted(0.2, 0.1, 0.02)))
    (root / "0001.glb").write_bytes(glb(box(0.2, 0.2, 0.3), material=painted(0.02, 0.4, 0.05)))
    box(0.4, 0.4, 0.3).export(root / "a2.obj")
    (root / "a2.obj").write_text("mtllib a2.mtl\nusemtl paint\n" + (root / "a2.obj").read_text())
    (root / "a2.mtl").write_text("newmtl paint\nKd 0.02 0.4 0.05\n")
    (root / "models.csv").write_text(
        "file,name,category,license,creator,size_m\na2.obj,Old [trunk],trunk,CC BY 4.0,Jo Doe,0.9\n"
    )
    return root


def build(root: Path, out: Path, *settings: str) -> CommandResult:
    given = (
        *("source.kind=models", f"source.root={root}", f"source.cache={out.parent / 'cache'}", "samples=2"),
        *("engine.kind=inline", "render.resolution=64", "render.samples=2", "render.device=cpu", "edits={remove: 1}"),
        *("shard.splits={train: 1, val: 0, test: 0}", "layers.checks={max_speckle: 0.9}", "scene.objects=[4, 4]"),
    )
    return run("build", "--out", out, *(part for text in (*given, *settings) for part in ("--set", text)))


@pytest.mark.slow
@pytest.mark.blender
def test_a_build(root: Path, tmp_path: Path):
    out = tmp_path / "out"
    told = build(root, out, "source.license=cc0", "source.creator=Ann Smith")
    assert told.code == 0, told
    assert "1 of 5 assets cannot be used: unnamed 1" in told.err
    assert "such as a file in millimeters (asset kitchen/stool.glb)" in told.err
    (rejected,) = json.loads((out / "plan/rejected_assets.json").read_text())
    assert rejected["uid"] == "0001.glb" and "give it a category in models.csv" in rejected["detail"]
    records = [
        read_record(sample.members["json"])
        for shard in find_shards(str(out), recipe="full")
        for sample in read_samples(shard)
    ]
    assert len(records) == 2
    seen = {item.asset: (item.name, item.licence, item.creator) for record in records for item in record.objects}
    assert seen.keys() == {"SM_Crate_01.glb", "a2.obj", "kitchen/Table.gltf", "kitchen/stool.glb"}
    assert seen["a2.obj"][1:] == ("by", "Jo Doe") and "trunk" in seen["a2.obj"][0]
    assert seen["kitchen/stool.glb"][1:] == ("cc0", "Ann Smith")
    attribution = (out / "shards/full/ATTRIBUTION.md").read_text()
    assert r"| Jo Doe | Old \[trunk\] | a2.obj |" in attribution and "Models keep the licenses" in attribution
    card = (out / "shards/full/README.md").read_text()
    assert "Scenes of models from a folder, composed and edited" in card and "license: cc-by-4.0" in card
    assert "kind: models" in card and str(root) not in card and str(tmp_path) not in card and "Objaverse" not in card
    assert run("view", out).code == 0 and run("why", out, records[0].key).code == 0
    moved = Path(shutil.move(root, tmp_path / "moved"))
    next((out / "layers").glob("pair-*/00000000.json")).unlink()
    settings = ("source.license=cc0", "source.creator=Ann Smith")
    before = next((out / "layers").glob("pair-*/00000000.parquet")).read_bytes()
    assert_fails(build(root, out, *settings), "source.root: no folder")
    shutil.rmtree(tmp_path / "cache")
    assert build(moved, out, *settings).code == 0
    assert next((out / "layers").glob("pair-*/00000000.parquet")).read_bytes() == before


def test_models_without_a_license(root: Path, tmp_path: Path):
    (root / "models.csv").unlink()
    line = assert_fails(build(root, tmp_path / "out"), "none of the 5 models in", "has a license", "source.license=cc0")
    assert "source.licenses='[unknown]'" in line and str(root / "models.csv") in line


def test_a_root_that_is_not_there(tmp_path: Path):
    assert_fails(build(tmp_path / "gone", tmp_path / "out"), f"source.root: no folder {tmp_path}/gone")
    assert_fails(run("build", "--out", tmp_path / "out", "--set", "source.kind=models"), "source.root: give the folder")
    assert_fails(
        build(tmp_path / "gone", tmp_path / "out", "source.root=s3://bucket/models"), "must be in a local folder"
    )


def test_a_model_that_is_not_there(root: Path, tmp_path: Path):
    assert_fails(build(root, tmp_path / "out", "source.uids=[b.glb]"), "source.uids: b.glb is not below")
