"""Which models a folder holds, their ids, names and licenses; and the layout of Objaverse-XL."""

import json
import shutil
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.sources.models.catalog import ModelEntry, list_models
from spatialdata_builder.sources.objaverse.cache import read_cache
from spatialdata_builder.sources.registry import get_source
from spatialdata_builder.sources.survey.geometry import SurveyAssets


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return root


def listed(root: Path, license: str = "", creator: str = "") -> tuple[dict[str, ModelEntry], str]:
    """Entries by uid, and what was said."""
    said: list[str] = []
    found = {entry.uid: entry for entry in list_models(root, license, creator, said.append)}
    return found, "\n".join(said)


def test_ids_are_paths_and_do_not_move_with_the_root(tmp_path: Path):
    root = touch(
        tmp_path / "a", "b/chair.glb", "B/chair.glb", "chair.GLB", "c d/\u00fc-lamp.obj", ".hidden/x.glb", "._x.glb"
    )
    found, said = listed(root)
    assert list(found) == ["B/chair.glb", "b/chair.glb", "c d/\u00fc-lamp.obj", "chair.GLB"] and not said
    shutil.move(root, tmp_path / "elsewhere")
    assert listed(tmp_path / "elsewhere")[0] == found


def test_names(tmp_path: Path):
    root = touch(
        tmp_path,
        *("SM_Chair_01.glb", "armchair/scene.gltf", "lamp_02/source/model.fbx", "pack/0.glb", "pack/untitled.glb"),
        *("odd/1.glb", "odd/2.glb"),
    )
    (root / "models.csv").write_text("file,name,category\nodd/1,Grandma's Old Chest,chest\nodd/2,Kitchen Table,\n")
    found, _ = listed(root)
    assert {uid: (entry.name, entry.category) for uid, entry in found.items()} == {
        "SM_Chair_01.glb": ("SM_Chair_01", "chair"),
        "armchair/scene.gltf": ("scene", "armchair"),
        "lamp_02/source/model.fbx": ("model", "lamp"),
        "odd/1.glb": ("Grandma's Old Chest", "chest"),
        "odd/2.glb": ("Kitchen Table", "kitchen table"),
        "pack/0.glb": ("0", ""),
        "pack/untitled.glb": ("untitled", ""),
    }
    assert "give it a category in models.csv" in found["pack/0.glb"].spec()["unnamed"]
    assert found["odd/1.glb"].spec()["unnamed"] == ""


def test_licenses_and_creators(tmp_path: Path):
    root = touch(tmp_path, "chair.glb", "lamp.glb", "mug.glb")
    (root / "models.csv").write_text("file,license,creator\nchair.glb,CC BY-SA 4.0,Jo\nlamp.glb,MIT,\n")
    found, _ = listed(root)
    assert {uid: (entry.licence, entry.creator) for uid, entry in found.items()} == {
        "chair.glb": ("by-sa", "Jo"),
        "lamp.glb": ("mit", ""),
        "mug.glb": ("unknown", ""),
    }
    found, _ = listed(root, "CC0", "Ann")
    assert (found["mug.glb"].licence, found["mug.glb"].creator) == ("cc0", "Ann")
    assert (found["lamp.glb"].licence, found["lamp.glb"].creator) == ("mit", "Ann")


def test_one_format_of_each_model(tmp_path: Path):
    root = touch(
        tmp_path, "chair.obj", "chair.fbx", "chair.glb", "other/chair.fbx", "lamp.glb", "lamp.fbx", "a.stl", "b.blend"
    )
    (root / "models.csv").write_text("file\nlamp.fbx\n")
    found, said = listed(root)
    assert list(found) == ["chair.glb", "lamp.fbx", "other/chair.fbx"]
    assert "3 files are left out: the same folder has a file of the same name" in said
    assert "2 files are left out, whose formats are not read: .blend 1, .stl 1; convert them to GLB" in said


@pytest.mark.slow
def test_real_models_in_a_plain_folder(shared_assets: Path, tmp_path: Path):
    """Named by their files alone, with the sizes of their files. The size of a few is that of their category."""
    known = {entry.uid: entry for entry in read_cache(shared_assets / "objaverse")}
    for entry in known.values():
        name = f"SM_{entry.category.title().replace(' ', '')}_{entry.uid[:4]}x.glb"
        (tmp_path / name[3]).mkdir(exist_ok=True)
        shutil.copy(shared_assets / "objaverse" / entry.path, tmp_path / name[3] / name)
    found, said = listed(tmp_path, "CC BY 4.0")
    assert len(found) == len(known) and not said
    stage = SurveyAssets("models")
    results = stage(tmp_path.joinpath, [Sample(uid, "train", entry.spec()) for uid, entry in found.items()])
    rejects = {uid: result for uid, result in zip(found, results, strict=True) if isinstance(result, Reject)}
    assert {result.reason for result in rejects.values()} <= {"unnamed"} and len(rejects) <= 3
    assets = [json.loads(str(result.columns["asset"])) for result in results if isinstance(result, Row)]
    assert all(entry["category"] for entry in assets)
    assert sum(entry["scale"] == 1.0 for entry in assets) >= 0.9 * len(assets)


def test_an_empty_folder(tmp_path: Path):
    touch(tmp_path, "a.stl", "readme.txt")
    with pytest.raises(BadInput, match=r"source\.root: .* has no models \(\.glb, \.gltf, .*\.ply\)"):
        listed(tmp_path)


def provenance(path: Path, rows: dict[str, str | None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"fileIdentifier": list(rows), "license": list(rows.values()), "source": ["x"] * len(rows)}
    pq.write_table(pa.table(columns), path)


def test_objaverse_xl(tmp_path: Path):
    museum = "https://3d-api.si.edu/content/document/1/mug.glb"
    made = f"smithsonian/objects/{uuid5(NAMESPACE_DNS, museum)}.glb"
    root = touch(
        tmp_path,
        *(
            "github/repos/jo/garden/a b/bench.glb",
            "github/repos/jo/garden/new_lamp.fbx",
            "github/repos/ann/x/chair.obj",
        ),
        *(made, "hf-objaverse-v1/glbs/000-000/abc.glb", "thingiverse/thing-1-file-2.stl"),
    )
    bench = "https://github.com/jo/garden/blob/0123abc/a b/bench.glb"
    chair = "https://github.com/ann/x/blob/456def/chair.obj"
    elsewhere = "https://github.com/bob/y/blob/456def/chair.obj"
    provenance(
        root / "github/github.parquet", {bench: "Creative Commons Attribution 4.0", chair: None, elsewhere: "MIT"}
    )
    provenance(root / "smithsonian/smithsonian.parquet", {museum: "CC0"})
    (root / "models.csv").write_text(f"file,category\n{made},mug\n")
    found, said = listed(root)
    assert {uid: (entry.path, entry.licence, entry.creator, entry.category) for uid, entry in found.items()} == {
        bench: ("github/repos/jo/garden/a b/bench.glb", "by", "jo", "bench"),
        chair: ("github/repos/ann/x/chair.obj", "unknown", "ann", "chair"),
        museum: (made, "cc0", "Smithsonian Institution", "mug"),
        "github/repos/jo/garden/new_lamp.fbx": ("github/repos/jo/garden/new_lamp.fbx", "unknown", "", "lamp"),
    }
    assert "hf-objaverse-v1 is an Objaverse cache, which source.kind objaverse reads: left out" in said
    assert ".stl 1" in said


def test_the_commit_that_was_fetched_counts(tmp_path: Path):
    root = touch(tmp_path, "github/repos/jo/x/bench.glb")
    first, second = (f"https://github.com/jo/x/blob/{commit}/bench.glb" for commit in ("aaa", "bbb"))
    provenance(root / "github/github.parquet", {second: "MIT", first: "CC0"})
    assert list(listed(root)[0]) == [first]
    record = root / "github/repos/jo/x/.objaverse-file-hashes.json"
    record.write_text(json.dumps([{"sha256": "0", "fileIdentifier": second}]))
    assert [(entry.uid, entry.licence) for entry in listed(root)[0].values()] == [(second, "mit")]


def test_only_what_shows_objaverse_xl_cites_it():
    source = get_source("models")
    assert source.citations(["a.glb"]) == ()
    assert [work.partition(":")[0] for work in source.citations(["a.glb", "https://github.com/a/b/blob/c/d.glb"])] == [
        "Deitke et al., Objaverse-XL"
    ]
    assert source.asset_page("a.glb") == "" and source.asset_page("https://x/y").startswith("https")


def test_a_broken_provenance_table(tmp_path: Path):
    touch(tmp_path, "github/repos/jo/garden/bench.glb", "github/github.parquet")
    with pytest.raises(BadInput, match=r"github\.parquet cannot be read .*fetch the table"):
        listed(tmp_path)
    pq.write_table(pa.table({"fileIdentifier": ["a"]}), tmp_path / "github/github.parquet")
    with pytest.raises(BadInput, match=r"github\.parquet: no column license"):
        listed(tmp_path)
