"""The folder of generated assets: what a reader finds in it, and what a stop at any point leaves."""

from pathlib import Path

import pytest

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.infinigen.cache import RECORDS, AssetCache, AssetRecord, AssetTerms
from spatialdata_builder.sources.infinigen.factories import FACTORIES
from spatialdata_builder.sources.models.catalog import list_models
from spatialdata_builder.sources.models.table import TABLE
from tests.sources.models import box, glb

TERMS = AssetTerms("cc0", "generated with Infinigen")
CHAIR, LAMP = FACTORIES["ChairFactory"], FACTORIES["DeskLampFactory"]


def add(cache: AssetCache, seed: int = 0, name: str = "ChairFactory", reason: str = "") -> AssetRecord:
    cache.unfinished(name, seed).write_bytes(glb(box(0.5, 0.5, 0.9)))
    record = AssetRecord(name, seed, cpu_s=1.5, size_m=(0.5, 0.6, 0.9), triangles=12, reason=reason, detail="why")
    return cache.add(FACTORIES[name], record, TERMS)


def reopened(root: Path) -> AssetCache:
    cache = AssetCache(root)
    cache.complete_table(FACTORIES, TERMS)
    cache.close()
    return cache


@pytest.fixture
def cache(tmp_path: Path) -> AssetCache:
    return AssetCache(tmp_path / "cache")


def test_source_models_reads_the_folder(cache: AssetCache):
    add(cache, 7)
    add(cache, 0, "DeskLampFactory")
    add(cache, 1, reason="failed")
    cache.close()
    said: list[str] = []
    chair, lamp = list_models(cache.root, "", "", said.append)
    assert not said
    assert (chair.uid, chair.category, chair.size_m) == ("ChairFactory/7.glb", "chair", (0.5, 0.6, 0.9))
    assert (chair.licence, chair.creator, chair.front_deg) == ("cc0", TERMS.creator, CHAIR.front_deg)
    assert chair.name == "Infinigen ChairFactory, seed 7"
    assert (lamp.category, lamp.front_deg) == (LAMP.category, LAMP.front_deg)


def test_what_is_complete_is_known_later(cache: AssetCache):
    made = add(cache)
    add(cache, 1, reason="cpu_limit")
    cache.close()
    later = reopened(cache.root)
    assert later.has("ChairFactory", 0) and not later.has("ChairFactory", 1) and not later.has("ChairFactory", 2)
    failure = later.failure("ChairFactory", 1)
    assert failure is not None and (failure.reason, failure.detail) == ("cpu_limit", "why")
    assert later.failure("ChairFactory", 0) is None
    assert later.records["ChairFactory", 0] == made
    assert made.bytes == (cache.root / "ChairFactory/0.glb").stat().st_size


@pytest.mark.parametrize("damage", ["missing", "shorter"])
def test_a_damaged_model_is_not_complete(cache: AssetCache, damage: str):
    add(cache)
    cache.close()
    file = cache.root / "ChairFactory/0.glb"
    file.unlink() if damage == "missing" else file.write_bytes(file.read_bytes()[:-1])
    assert not reopened(cache.root).has("ChairFactory", 0)


def test_a_stop_while_a_record_is_written(cache: AssetCache):
    add(cache)
    add(cache, 1)
    cache.close()
    records = cache.root / RECORDS
    records.write_bytes(records.read_bytes()[:-20])
    later = AssetCache(cache.root)
    assert later.has("ChairFactory", 0) and not later.has("ChairFactory", 1)
    add(later, 1)
    later.close()
    assert reopened(cache.root).has("ChairFactory", 1)
    assert len(list_models(cache.root, "", "", print)) == 2


def test_a_stop_before_the_row_is_written(cache: AssetCache):
    add(cache)
    table = (cache.root / TABLE).read_text()
    add(cache, 1)
    cache.close()
    (cache.root / TABLE).write_text(table)
    reopened(cache.root)
    assert [entry.licence for entry in list_models(cache.root, "", "", print)] == ["cc0", "cc0"]


def test_a_stop_while_a_model_is_written_leaves_nothing(cache: AssetCache):
    cache.close()
    file = cache.unfinished("ChairFactory", 0)
    file.parent.mkdir()
    file.write_bytes(b"glTF")
    reopened(cache.root)
    assert sorted(path.name for path in cache.root.rglob("*")) == [RECORDS, TABLE]


def test_rows_that_a_user_changed_are_kept(cache: AssetCache):
    add(cache)
    cache.close()
    (cache.root / TABLE).write_text("file;category;size_m\nChairFactory/0.glb;throne;1,5\n", "utf-8-sig")
    later = AssetCache(cache.root)
    add(later, 0)
    add(later, 1)
    later.close()
    throne, chair = list_models(cache.root, "cc0", "", print)
    assert (throne.category, throne.size_m) == ("throne", (1.5,))
    assert (chair.category, chair.size_m) == ("chair", (0.5, 0.6, 0.9))


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.pdf").write_text("text")
    with pytest.raises(BadInput, match=r"holds other files \(thesis\.pdf\); give a new folder"):
        AssetCache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.pdf"]


def test_only_one_process_writes(cache: AssetCache):
    with pytest.raises(BadInput, match="another process writes into it"):
        AssetCache(cache.root)
    cache.close()
    AssetCache(cache.root).close()


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "cache").write_text("text")
    with pytest.raises(BadInput, match="cannot be used"):
        AssetCache(tmp_path / "cache")


def test_a_record_that_cannot_be_read_names_its_line(cache: AssetCache):
    add(cache)
    cache.close()
    with (cache.root / RECORDS).open("a") as file:
        file.write('{"factory": "ChairFactory"}\n')
    with pytest.raises(BadInput, match=rf"{RECORDS}:2: not a record of an asset"):
        AssetCache(cache.root)
