"""The report on a sample agrees with its records, layers and shards; for an unknown key, similar ones are listed."""

import difflib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.report.why.keys import Place, find_key, nearest_keys
from spatialdata_builder.pipeline.report.why.places import shards_of
from spatialdata_builder.pipeline.report.why.text import print_why
from spatialdata_builder.pipeline.report.why.why import why_of
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import PlanRow, write_plan
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.reader import read_record
from tests.pipeline.command_line import assert_fails, build, run
from tests.pipeline.releases import write_release


def keys_of(out: Path) -> list[str]:
    import pyarrow.parquet as pq

    return pq.read_table(out / "plan" / "units.parquet").column("key").to_pylist()


def test_an_accepted_sample(finished: Path):
    key = keys_of(finished)[5]
    found = why_of(str(finished), key)
    assert (found["state"], found["because"], found["duplicate"]) == ("accepted", "", {})
    assert (found["plan"]["unit"], found["plan"]["row"], found["plan"]["unit_samples"]) == (1, 1, 4)
    assert found["plan"]["hash"] == json.loads((finished / "plan.json").read_text())["hash"]
    for layer in found["layers"]:
        record = json.loads((finished / "layers" / layer["folder"] / "00000001.json").read_text())
        assert layer["state"] == "made"
        names = ("seconds", "attempts", "host", "started", "versions", "sha256")
        assert {name: layer[name] for name in names} == {name: record[name] for name in names}
        assert layer["samples"] == 4
    by_layer = {layer["layer"]: layer for layer in found["layers"]}
    assert by_layer["line"]["model"] == "masks"
    assert by_layer["checks"]["values"]["scores"]["instruction_check"] == 1.0
    assert {item["asset"] for item in found["assets"]} == {
        item["asset"] for item in by_layer["pair"]["values"]["facts"]["objects"]
    }
    assert json.loads(run("why", finished, key, "--json").out) == found


@pytest.mark.slow
def test_byte_offsets_in_every_recipe(finished: Path, tmp_path: Path):
    out = shutil.copytree(finished, tmp_path / "out")
    assert run("shard", out, "--recipe", "full", "--set", "shard.samples_per_shard=3").code == 0
    assert run("shard", out, "--recipe", "spatialedit", "--set", "shard.samples_per_shard=5").code == 0
    seen = 0
    for key in keys_of(out):
        found = why_of(str(out), key)
        assert "full" in {place["recipe"] for place in found["shards"]}
        for place in found["shards"]:
            seen += 1
            tar = out / "shards" / place["recipe"] / place["split"] / place["shard"]
            data = tar.read_bytes()
            part = data[place["offset"] : place["offset"] + place["bytes"]]
            with tarfile.open(tar) as whole:
                mine = {m.name: m for m in whole.getmembers() if m.name.startswith(f"{key}.")}
            assert min(member.offset for member in mine.values()) == place["offset"]
            assert part.startswith(key.encode())
            assert len(place["members"]) == len(mine)
            where = place["members"]["json"]
            assert read_record(data[where["offset"] : where["offset"] + where["size"]]).key == key
            end = max(member.offset_data + member.size for member in mine.values())
            assert 0 <= place["offset"] + place["bytes"] - end < 512
    assert seen > len(keys_of(out))
    (out / "shards" / "full" / "train" / "manifest.json").unlink()
    key = next(key for key in keys_of(out) if why_of(str(out), key)["plan"]["split"] == "train")
    assert {place["recipe"] for place in shards_of(str(out), key, "train", 0)} <= {"spatialedit"}


@pytest.mark.slow
def test_a_rejected_sample(tmp_path: Path):
    root, out = write_release(tmp_path / "release", 3), tmp_path / "out"
    image = root / "translate/train/uid000/2.png"
    image.write_bytes(image.read_bytes()[:300])
    assert build(root, out).code == 0
    found = why_of(str(out), "translate-train-uid000")
    assert (found["state"], found["because"]) == ("rejected", "layer pair: unreadable_image")
    states = {layer["layer"]: layer["state"] for layer in found["layers"]}
    assert states.pop("pair") == "rejected"
    assert set(states.values()) == {"skipped"}
    assert (found["assets"], found["shards"], found["instruction"]) == ([], [], {})
    result = run("why", out, "translate-train-uid000")
    assert "rejected: unreadable_image" in result.out
    assert "spatialdata rebuild" in result.out


def test_a_build_in_progress_and_a_damaged_layer(out: Path):
    key = keys_of(out)[5]
    for file in out.glob("layers/checks-*/00000001.*"):
        file.unlink()
    found = why_of(str(out), key)
    assert (found["state"], found["because"]) == ("unfinished", "not computed yet: checks")
    (line,) = out.glob("layers/line-*/00000001.parquet")
    line.write_bytes(line.read_bytes()[:-1])
    found = why_of(str(out), key)
    states = {layer["layer"]: layer["state"] for layer in found["layers"]}
    assert (states["line"], states["checks"], states["pair"]) == ("damaged", "waiting", "made")
    assert run("why", out, key).code == 0


def test_hostile_names_are_plain_text(finished: Path, capsys: pytest.CaptureFixture[str]):
    found = why_of(str(finished), keys_of(finished)[0])
    found["assets"][0] |= {"name": "[red]chair[/red]\x1b[31m\x07", "creator": "<script>é\n数据"}
    print_why(found)
    printed = capsys.readouterr().out
    assert "[red]chair[/red] [31m" in printed
    assert "<script>é 数据" in printed
    assert not set(printed) & {"\x1b", "\x07"}


@pytest.mark.parametrize("command", ["why", "rebuild"])
def test_similar_keys_are_listed_for_unknown_ones(finished: Path, command: str):
    key = keys_of(finished)[5]
    assert_fails(run(command, finished, key + "x"), key, "most similar")
    assert_fails(run(command, finished, key.replace("-", "", 1)), key)
    assert_fails(run(command, finished, "数据"), "数据")
    assert_fails(run(command, finished, ""), "no sample ''")


def ratio(matcher: difflib.SequenceMatcher[str], key: str) -> float:
    matcher.set_seq1(key)
    return matcher.ratio()


@pytest.mark.slow
def test_keys_among_many(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    plan = write_plan(store, {"samples": 20_000}, plan_scenes(20_000, 1, {"remove": 1.0}, {"train": 1.0}), 64)
    for number in (0, 4095, 4096, 19_999):
        place = find_key(plan, f"scene-{number:08d}")
        assert place == Place(number // 64, number % 64)
        assert plan.keys(place.unit)[place.row] == f"scene-{number:08d}"
    keys = [key for unit in range(plan.units) for key in plan.keys(unit)]
    for wrong in ("scene-0001234", "scen-00012345", "scene-000123456", "scene_00012345", "scene-00021345"):
        matcher = difflib.SequenceMatcher(b=wrong)
        assert ratio(matcher, nearest_keys(plan, wrong)[0]) == max(ratio(matcher, key) for key in keys)
    with pytest.raises(BadInput, match="most similar keys are scene-00012345"):
        find_key(plan, "sceen-00012345")
    assert nearest_keys(plan, "nothing like it at all") == []


def test_short_and_long_keys(tmp_path: Path):
    keys = ["a", "b" * 80, "chair-1", "chair-12"]
    rows = [PlanRow(key, "train", {}) for key in keys]
    plan = write_plan(LayerStore(str(tmp_path)), {}, rows, 2)
    assert [find_key(plan, key) for key in keys] == [Place(0, 0), Place(0, 1), Place(1, 0), Place(1, 1)]
    assert nearest_keys(plan, "chair-2") == ["chair-12", "chair-1"]
    assert nearest_keys(plan, "b" * 79) == ["b" * 80]
