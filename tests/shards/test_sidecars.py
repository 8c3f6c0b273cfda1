"""The files beside the splits: the same bytes on any file system, and verify finds differences from the shards."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from spatialdata_builder.shards.errors import SpatialdataError
from spatialdata_builder.shards.index import read_manifest
from spatialdata_builder.shards.layout import open_url
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.recipes import get_recipe
from spatialdata_builder.shards.schema import FAMILY_VERSION
from spatialdata_builder.shards.sidecars import SIDECARS, write_sidecars
from spatialdata_builder.shards.verify import verify_folder
from spatialdata_builder.shards.writer import encode_record
from tests.shards.factory import make_sample, make_split, with_family


def write(folder: str) -> None:
    """Two splits; the objects of one sample have other licenses."""
    record = read_record(make_sample("b")["json"])
    licences = ("by|nc", "")
    objects = [entry.model_copy(update={"licence": text}) for entry, text in zip(record.objects, licences, strict=True)]
    changed = {"b": {"json": encode_record(record.model_copy(update={"objects": objects}))}}
    make_split(f"{folder}/train", [["a", "b"], ["c"]], changes=changed)
    make_split(f"{folder}/test", [["d"]], split="test", asset="kept")
    write_sidecars(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(str(tmp_path / "full"))
    return tmp_path / "full"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_shards_give_the_same_files_on_any_url(folder, tmp_path):
    write(str(tmp_path / "other"))
    assert files_of(tmp_path / "other") == files_of(folder)
    assert {name for name in files_of(folder) if not name.startswith(("train/", "test/"))} == set(SIDECARS)
    write("memory://sidecars/full")
    for name in SIDECARS:
        with open_url(f"memory://sidecars/full/{name}") as file:
            assert file.read() == (folder / name).read_bytes()


def test_all_shards_are_listed_by_split(folder):
    tars = {
        split: sorted(f"{split}/{path.name}" for path in (folder / split).glob("*.tar")) for split in ("train", "test")
    }
    energon = yaml.safe_load((folder / ".nv-meta/split.yaml").read_text())
    assert energon == {"split_parts": tars, "exclude": []}
    counts = json.loads((folder / ".nv-meta/.info.json").read_bytes())["shard_counts"]
    assert list(counts.values()) == [1, 2, 1] and set(counts) == {*tars["train"], *tars["test"]}
    timm = json.loads((folder / "_info.json").read_bytes())["splits"]
    assert {split: info["filenames"] for split, info in timm.items()} == tars
    assert (timm["train"]["num_samples"], timm["train"]["shard_lengths"]) == (3, [2, 1])


def test_the_card_counts_edits_and_licenses(folder):
    text = (folder / "README.md").read_text()
    assert "4 triplets" in text
    assert "| translate | 3 | 1 |" in text
    assert "| by\\|nc | 1 | 25.0% |" in text
    assert "| cc0 | 3 | 75.0% |" in text
    files = yaml.safe_load(text.split("---\n")[1])["configs"][0]["data_files"]
    assert files == [{"split": "train", "path": "train/*.tar"}, {"split": "test", "path": "test/*.tar"}]


def test_croissant_names_the_columns_of_the_parquets(folder, tmp_path):
    """A set whose scenes have more than two edits has one more."""
    other = tmp_path / "many"
    make_split(str(other / "train"), [["a"]], changes={"a": with_family("a", "a")}, version=FAMILY_VERSION)
    write_sidecars(str(other))
    unnamed = ("width", "height", "_offset", "_size", "_crc32")
    for place in (folder, other):
        sets = {found["name"]: found for found in json.loads((place / "croissant.json").read_bytes())["recordSet"]}
        named = {field["source"]["extract"]["column"] for field in sets["samples"]["field"]}
        columns = pq.read_table(next((place / "train").glob("*.parquet"))).column_names
        assert named == {name for name in columns if not name.endswith(unnamed)}
        assert ("family" in named) == (place == other)


def test_the_croissant_version_changes_with_the_shards(folder):
    def version() -> str:
        return json.loads((folder / "croissant.json").read_bytes())["version"]

    first = version()
    write_sidecars(str(folder))
    assert version() == first
    make_split(str(folder / "train"), [["a"], ["c"]])
    write_sidecars(str(folder))
    assert version() != first


def test_verify_accepts_them_and_a_split_without_them(folder):
    for url in (folder.parent, folder, folder / "test"):
        assert verify_folder(str(url)).problems == ()
    for name in SIDECARS:
        (folder / name).unlink()
    assert verify_folder(str(folder)).problems == ()


@pytest.mark.parametrize("name", [".nv-meta/.info.json", ".nv-meta/split.yaml", "_info.json"])
def test_verify_finds_a_missing_or_changed_list(folder, name):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole.replace(b"00001-of-00002", b"00000-of-00002"))
    (problem,) = verify_folder(str(folder)).problems
    assert (problem.kind, problem.folder) == ("index", str(folder))
    assert problem.message == f"{name} does not agree with the manifests of the splits"
    (folder / name).unlink()
    (problem,) = verify_folder(str(folder)).problems
    assert problem.message == f"{name} is missing"


@pytest.mark.parametrize("damage", [lambda data: data[:-8], lambda data: data[:8] + data[16:] + data[:8], None])
def test_verify_finds_a_damaged_offset_index(folder, damage):
    name = read_manifest(str(folder / "train")).shards[0].name
    index = folder / "train" / f"{name}.idx"
    if damage:
        index.write_bytes(damage(index.read_bytes()))
    else:
        index.unlink()
    (problem,) = verify_folder(str(folder)).problems
    assert (problem.kind, problem.shard) == ("index", name)
    assert problem.message == f"{index.name} {'has different offsets than the shard' if damage else 'is missing'}"


def test_nothing_is_written_for_inconsistent_splits(folder, tmp_path):
    make_split(str(folder / "val"), [["v"]], split="val", recipe=get_recipe("spatialdiff"))
    before = files_of(folder)
    with pytest.raises(SpatialdataError, match="train and val have different members: rerun `spatialdata shard`"):
        write_sidecars(str(folder))
    assert files_of(folder) == before
    (folder / "val" / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError):
        write_sidecars(str(folder))
    with pytest.raises(SpatialdataError, match="contains none of train, val, test"):
        write_sidecars(str(tmp_path))
    next((folder / "train").glob("*.parquet")).write_bytes(b"PAR1")
    (folder / "val" / "sample.schema.json").parent.rename(tmp_path / "val")
    with pytest.raises(SpatialdataError, match="not a parquet file"):
        write_sidecars(str(folder))
