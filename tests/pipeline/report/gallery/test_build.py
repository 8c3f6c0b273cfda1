"""The gallery of a build agrees with its layers on each sample, and has its pictures byte for byte."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.pipeline.report.gallery.writer import BLOCK
from spatialdata_builder.pipeline.report.why.why import why_of
from spatialdata_builder.shards.reader import read_record
from tests.pipeline.command_line import assert_fails, build, run
from tests.pipeline.releases import files_of
from tests.pipeline.report.gallery.conftest import values_of


def cards_of(folder: Path) -> dict[str, dict[str, Any]]:
    cards: dict[str, dict[str, Any]] = {}
    for script in sorted((folder / "data").glob("0*.js")):
        block, found = values_of(script)
        assert block == int(script.stem)
        assert len(found) <= BLOCK
        cards |= {card["key"]: card for card in found}
    return cards


def columns_of(index: dict[str, Any]) -> dict[str, tuple[str, str, str, str]]:
    """State, reason, split and category of each sample, by key."""
    named = [("state", "states"), ("because", "reasons"), ("split", "splits"), ("category", "categories")]
    columns = [[index[values][number] for number in index[column]] for column, values in named]
    return dict(zip(index["key"], zip(*columns, strict=True), strict=True))


@pytest.mark.slow
def test_states_are_those_of_why(mixed: Path, gallery: Path, index_of: Callable[[Path], dict[str, Any]]):
    states = {"accepted": "accepted", "rejected": "rejected", "unfinished": "waiting"}
    columns = columns_of(index_of(gallery))
    cards = cards_of(gallery)
    plan = open_build(str(mixed)).plan
    assert list(columns) == list(cards) == [key for unit in range(plan.units) for key in plan.keys(unit)]
    for key, (state, because, split, _) in columns.items():
        why = why_of(str(mixed), key)
        assert state == states[why["state"]]
        assert split == why["plan"]["split"]
        if state == "rejected":
            assert f"layer {because}" == why["because"]
        elif state == "waiting":
            assert because == f"{why['because'].removeprefix('not computed yet: ').partition(',')[0]}: not computed yet"
        assert cards[key]["layers"] == {layer["layer"]: layer["state"] for layer in why["layers"]}
        assert cards[key]["plan"]["unit"] == why["plan"]["unit"]
        assert cards[key]["instruction"] == why["instruction"] | (
            {"verified": True} if why["instruction"] and "check" in cards[key] else {}
        )
    assert {state for state, *_ in columns.values()} == set(states.values())


@pytest.mark.slow
def test_a_rejected_sample_has_a_reason(gallery: Path, mixed: Path):
    card = cards_of(gallery)["translate-train-uid000"]
    assert card["reject"]["stage"] == "pair"
    assert card["reject"]["reason"] == "unreadable_image"
    assert card["media"] == []
    assert "objects" not in card
    result = run("view", mixed, "--out", gallery)
    assert "units left: " in result.out
    assert "checks 1" in result.out


def test_pictures_are_those_of_the_shards(finished: Path, tmp_path: Path, index_of: Callable[[Path], dict[str, Any]]):
    before = files_of(finished)
    result = run("view", finished, "--out", tmp_path / "g", "--json")
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out)["gallery"] == str(tmp_path / "g" / "index.html")
    assert files_of(finished) == before
    cards, index, seen = cards_of(tmp_path / "g"), index_of(tmp_path / "g"), 0
    for tar in finished.glob("shards/full/*/*.tar"):
        with tarfile.open(tar) as shard:
            for member in shard:
                key, _, field = member.name.partition(".")
                data = shard.extractfile(member)
                assert data is not None
                position = index["key"].index(key)
                if field == "json":
                    record = read_record(data.read())
                    assert cards[key]["scores"] == {n: v for n, v in record.scores.model_dump().items() if v != -1}
                    assert cards[key]["maps"]["segment"] == record.maps.segment.model_dump()
                    assert [o["name"] for o in cards[key]["objects"]] == [o.name for o in record.objects]
                    assert cards[key]["edit"] == record.edit.model_dump()
                    continue
                seen += 1
                media = tmp_path / "g" / "media" / f"{position // BLOCK:05d}" / member.name
                assert media.read_bytes() == data.read()
                assert field in cards[key]["media"]
                assert index["media"][position] & 1 << index["fields"].index(field)
    assert seen == len(list((tmp_path / "g" / "media").rglob("*.*")))


def test_default_place_and_limit(out: Path, index_of: Callable[[Path], dict[str, Any]]):
    result = run("view", out, "--limit", "5")
    assert result.code == 0
    assert "5 of 16 samples" in result.out
    assert str(out / "gallery" / "index.html") in result.out
    index = index_of(out / "gallery")
    assert index["about"]["planned"] == 16
    assert len(index["key"]) == 5
    plan = open_build(str(out)).plan
    keys = [key for unit in range(plan.units) for key in plan.keys(unit)]
    assert index["key"] == [keys[place] for place in (0, 3, 6, 9, 12)]
    assert run("verify", out).code == 0
    assert run("view", out).code == 0
    assert len(index_of(out / "gallery")["key"]) == 16


def test_a_build_that_has_only_a_plan(out: Path, index_of: Callable[[Path], dict[str, Any]]):
    shutil.rmtree(out / "layers")
    shutil.rmtree(out / "shards")
    assert run("view", out).code == 0
    index = index_of(out / "gallery")
    assert {index["states"][state] for state in index["state"]} == {"waiting"}
    assert index["scores"] == {}
    assert cards_of(out / "gallery")[index["key"][0]]["media"] == []


def test_damaged_files_are_reported_and_count_as_missing(out: Path, index_of: Callable[[Path], dict[str, Any]]):
    (line,) = out.glob("layers/line-*/00000001.parquet")
    line.write_bytes(line.read_bytes()[:-1])
    (record,) = out.glob("layers/segment-*/00000002.json")
    record.write_text("{")
    result = run("view", out)
    assert result.code == 0
    assert "2 layer files could not be read" in result.out
    index = index_of(out / "gallery")
    states = [index["states"][state] for state in index["state"]]
    assert states == ["accepted"] * 4 + ["waiting"] * 8 + ["accepted"] * 4
    damaged = cards_of(out / "gallery")[index["key"][4]]
    assert damaged["layers"]["line"] == "damaged"
    assert "target.webp" in damaged["media"]


def test_no_build_no_gallery(tmp_path: Path, out: Path):
    assert_fails(run("view", tmp_path), str(tmp_path))
    assert not list(tmp_path.glob("gal*"))
    (out / "plan.json").unlink()
    assert_fails(run("view", out), "no plan", "spatialdata build")
    assert not (out / "gallery").exists()


@pytest.mark.slow
def test_duplicates_that_packing_left_out(release: Path, tmp_path: Path, index_of: Callable[[Path], dict[str, Any]]):
    root, out = shutil.copytree(release, tmp_path / "release"), tmp_path / "out"
    shutil.copytree(root / "translate/train/uid000", root / "translate/train/uid900")
    assert build(root, out).code == 0
    assert run("view", out).code == 0
    columns = columns_of(index_of(out / "gallery"))
    left = [key for key, (_, because, *_) in columns.items() if because.startswith("pack: ")]
    assert left == ["translate-train-uid900"]
    assert cards_of(out / "gallery")[left[0]]["twin"]["key"] == "translate-train-uid000"


@pytest.mark.slow
def test_a_sample_that_a_check_rejected_has_pictures_and_scores(
    release: Path, tmp_path: Path, index_of: Callable[[Path], dict[str, Any]]
):
    out = tmp_path / "out"
    assert build(release, out, "layers.checks.min_area=0.5").code == 2  # none is accepted
    assert run("view", out).code == 0
    index = index_of(out / "gallery")
    key = "translate-train-uid000"
    assert columns_of(index)[key][:2] == ("rejected", "checks: too_small")
    card = cards_of(out / "gallery")[key]
    assert {"source.webp", "target.webp", "changed.png"} <= set(card["media"])
    assert 0 < card["reject"]["score"] < 0.5
    assert card["reject"]["detail"] == ""
    assert card["scores"]["displacement_px"] == index["scores"]["displacement_px"][index["key"].index(key)] > 0
    assert card["layers"]["checks"] == "rejected"
