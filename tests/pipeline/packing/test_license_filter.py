"""`shard --licenses`: samples by the licences of what they show, without building anything again."""

import json
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.pipeline.packing.license_filter import find_unlicensed
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from tests.pipeline.command_line import assert_fails, build, run
from tests.pipeline.releases import files_of
from tests.pipeline.relicensed import objects_of, relicense

HIDDEN = {"source_visible": 0.0, "target_visible": 0.0, "source_box": [0] * 4, "target_box": [0] * 4}


@pytest.fixture
def mixed(out: Path) -> Path:
    """Object `a` of each pair is CC0; object `b` is BY, BY-NC or unknown, by the pair's number."""

    def licence(key: str, item) -> dict[str, str]:
        number = int(item.asset[5:8])
        return {"licence": "cc0" if item.asset.endswith("a") else ("by", "by-nc", "unknown", "by")[number % 4]}

    relicense(out, licence)
    assert run("shard", out, "--recipe", "full").code == 0
    return out


def keys_in(out: Path, recipe: str = "full") -> set[str]:
    return {sample.key for url in find_shards(str(out), recipe=recipe) for sample in read_samples(url)}


def expected(out: Path, *licences: str) -> set[str]:
    objects = objects_of(open_build(str(out)))
    return {key for key, shown in objects.items() if all(item.licence in licences for item in shown)}


def test_only_samples_all_of_whose_models_have_one(mixed):
    before = files_of(mixed / "shards" / "full")
    told = run("shard", mixed, "--recipe", "full", "--licenses", "cc0,by")
    assert told.code == 0, told
    assert keys_in(mixed) == expected(mixed, "cc0", "by") < expected(mixed, "cc0", "by", "by-nc", "unknown")
    records = [read_record(s.members["json"]) for url in find_shards(str(mixed)) for s in read_samples(url)]
    assert {item.licence for record in records for item in record.objects} == {"cc0", "by"}
    assert "license of the dataset: CC BY" in told.out
    assert run("verify", mixed).code == 0
    again = run("shard", mixed, "--recipe", "full", "--licenses", "by,cc0")
    assert "packed " not in again.err, "made from the same samples: nothing is packed again"
    assert run("shard", mixed, "--recipe", "full").code == 0
    assert files_of(mixed / "shards" / "full") == before


def test_the_configuration_asks_for_it_too(mixed):
    option = ("--set", "shard.licenses=[cc0, by-nc]")
    assert run("shard", mixed, "--recipe", "spatialedit", *option).code == 0
    taken = {key for key in expected(mixed, "cc0", "by-nc") if not key.startswith(("remove", "insert"))}
    assert keys_in(mixed, "spatialedit") == taken


def test_a_lost_shard_is_made_again_of_the_same_samples(mixed):
    assert run("shard", mixed, "--recipe", "full", "--licenses", "cc0,by").code == 0
    before = files_of(mixed / "shards" / "full")
    next((mixed / "shards" / "full" / "train").glob("*.tar")).unlink()
    assert run("verify", mixed, "--repair").code == 0
    assert files_of(mixed / "shards" / "full") == before


def test_what_is_not_seen_does_not_count(mixed):
    def hide(key: str, item) -> dict[str, object]:
        return {} if item.asset.endswith("a") else HIDDEN

    assert run("shard", mixed, "--recipe", "full").code == 0
    everything = keys_in(mixed)
    relicense(mixed, hide)
    found = find_unlicensed((opened := open_build(str(mixed))).store, opened.plan, opened.layers["pair"], ("cc0",))
    assert found.by_unit == {} and found.told == ""
    assert run("shard", mixed, "--recipe", "full", "--licenses", "cc0").code == 0
    assert keys_in(mixed) == everything


def test_an_unknown_licence_is_named_with_those_that_there_are(mixed):
    before = files_of(mixed / "shards")
    line = assert_fails(run("shard", mixed, "--recipe", "full", "--licenses", "cc0,bye"), "'bye'", "did you mean 'by'")
    assert "cc0, by, by-sa, by-nc, by-nc-sa, by-nd, by-nc-nd, unknown" in line
    assert files_of(mixed / "shards") == before


def test_no_sample_left_leaves_the_shards_alone(mixed):
    before = files_of(mixed / "shards")
    told = run("shard", mixed, "--recipe", "full", "--licenses", "by-sa")
    assert_fails(told, "no sample", "shard.licenses leaves out", "by-nc", "unknown")
    assert files_of(mixed / "shards") == before
    assert run("verify", mixed).code == 0


def test_damaged_facts_are_computed_again(mixed):
    """The released pairs are: their licences are the source's again, unknown."""
    opened = open_build(str(mixed))
    file = mixed / opened.store.data_name(opened.layers["pair"], 0)
    file.write_bytes(file.read_bytes()[:100])
    told = run("shard", mixed, "--recipe", "full", "--licenses", "cc0,by")
    assert told.code == 0, told
    assert "set aside, recomputing it" in told.err
    assert keys_in(mixed) == expected(mixed, "cc0", "by")


def test_a_build_packs_by_its_configuration(release, tmp_path):
    out = tmp_path / "out"
    assert_fails(build(release, out, "shard.licenses=[by]"), "shard.licenses leaves out", "unknown 16")
    assert build(release, out, "shard.licenses=[unknown]").code == 0
    assert json.loads((out / "shards/.made/full.json").read_bytes())["options"]["licenses"] == ["unknown"]
