"""`shard --licenses` selects samples by the licenses of their models, without recomputing layers."""

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

pytestmark = pytest.mark.slow

HIDDEN = {"source_visible": 0.0, "target_visible": 0.0, "source_box": [0] * 4, "target_box": [0] * 4}


@pytest.fixture
def mixed(out: Path) -> Path:
    """A build in which object `a` of each pair is CC0, and object `b` is BY, BY-NC or unknown, by the pair's number."""

    def license_of(key: str, item) -> dict[str, str]:
        number = int(item.asset[5:8])
        return {"licence": "cc0" if item.asset.endswith("a") else ("by", "by-nc", "unknown", "by")[number % 4]}

    relicense(out, license_of)
    assert run("shard", out, "--recipe", "full").code == 0
    return out


def keys_in(out: Path, recipe: str = "full") -> set[str]:
    return {sample.key for url in find_shards(str(out), recipe=recipe) for sample in read_samples(url)}


def expected(out: Path, *licenses: str) -> set[str]:
    objects = objects_of(open_build(str(out)))
    return {key for key, shown in objects.items() if all(item.licence in licenses for item in shown)}


def test_all_models_of_a_packed_sample_have_an_allowed_license(mixed):
    before = files_of(mixed / "shards" / "full")
    result = run("shard", mixed, "--recipe", "full", "--licenses", "cc0,by")
    assert result.code == 0, result
    assert keys_in(mixed) == expected(mixed, "cc0", "by") < expected(mixed, "cc0", "by", "by-nc", "unknown")
    records = [read_record(s.members["json"]) for url in find_shards(str(mixed)) for s in read_samples(url)]
    assert {item.licence for record in records for item in record.objects} == {"cc0", "by"}
    assert "license of the dataset: CC BY" in result.out
    assert run("verify", mixed).code == 0
    again = run("shard", mixed, "--recipe", "full", "--licenses", "by,cc0")
    assert "packed " not in again.err, "the samples are the same: no shard is packed again"
    assert run("shard", mixed, "--recipe", "full").code == 0
    assert files_of(mixed / "shards" / "full") == before


def test_licenses_in_the_configuration(mixed):
    option = ("--set", "shard.licenses=[cc0, by-nc]")
    assert run("shard", mixed, "--recipe", "spatialedit", *option).code == 0
    taken = {key for key in expected(mixed, "cc0", "by-nc") if not key.startswith(("remove", "insert"))}
    assert keys_in(mixed, "spatialedit") == taken


def test_a_lost_shard_is_packed_again_with_the_same_samples(mixed):
    assert run("shard", mixed, "--recipe", "full", "--licenses", "cc0,by").code == 0
    before = files_of(mixed / "shards" / "full")
    next((mixed / "shards" / "full" / "train").glob("*.tar")).unlink()
    assert run("verify", mixed, "--repair").code == 0
    assert files_of(mixed / "shards" / "full") == before


def test_invisible_objects_do_not_count(mixed):
    def hide(key: str, item) -> dict[str, object]:
        return {} if item.asset.endswith("a") else HIDDEN

    assert run("shard", mixed, "--recipe", "full").code == 0
    everything = keys_in(mixed)
    relicense(mixed, hide)
    found = find_unlicensed((opened := open_build(str(mixed))).store, opened.plan, opened.layers["pair"], ("cc0",))
    assert found.by_unit == {} and found.warning == ""
    assert run("shard", mixed, "--recipe", "full", "--licenses", "cc0").code == 0
    assert keys_in(mixed) == everything


def test_the_error_for_an_unknown_license_lists_the_known_ones(mixed):
    before = files_of(mixed / "shards")
    line = assert_fails(run("shard", mixed, "--recipe", "full", "--licenses", "cc0,bye"), "'bye'", "did you mean 'by'")
    assert "cc0, by, by-sa, by-nc, by-nc-sa, by-nd, by-nc-nd, unknown" in line
    assert files_of(mixed / "shards") == before


def test_shards_are_unchanged_if_no_sample_is_left(mixed):
    before = files_of(mixed / "shards")
    result = run("shard", mixed, "--recipe", "full", "--licenses", "by-sa")
    assert_fails(result, "no sample", "shard.licenses leaves out", "by-nc", "unknown")
    assert files_of(mixed / "shards") == before
    assert run("verify", mixed).code == 0


def test_damaged_facts_are_recomputed(mixed):
    """The recomputed pairs have the licenses of the source: unknown."""
    opened = open_build(str(mixed))
    file = mixed / opened.store.data_name(opened.layers["pair"], 0)
    file.write_bytes(file.read_bytes()[:100])
    result = run("shard", mixed, "--recipe", "full", "--licenses", "cc0,by")
    assert result.code == 0, result
    assert "set aside, recomputing it" in result.err
    assert keys_in(mixed) == expected(mixed, "cc0", "by")


def test_a_build_packs_with_the_licenses_of_its_configuration(release, tmp_path):
    out = tmp_path / "out"
    assert_fails(build(release, out, "shard.licenses=[by]"), "shard.licenses leaves out", "unknown 16")
    assert build(release, out, "shard.licenses=[unknown]").code == 0
    assert json.loads((out / "shards/.made/full.json").read_bytes())["options"]["licenses"] == ["unknown"]
