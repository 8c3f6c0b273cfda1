"""The funnel page counts all samples of a dataset; the tests recount its numbers from the written facts."""

import json
import math
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest

from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.pipeline.report.funnel import funnel_of
from spatialdata_builder.pipeline.report.gallery.funnel_page import write_funnel_page
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from spatialdata_builder.shards.schema import SupportRef
from tests.pipeline.report.gallery.scenes import COLORS, Written, write_scenes

pytestmark = pytest.mark.slow

UNFINISHED = {("checks", 4), ("depth", 6), ("pair", 5)}


class Page(HTMLParser):
    """The tags and the text of a page, as a browser parses them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        return [found for name, found in self.tags if name == tag and kind in found.get("class", "").split(" ")]


def show(source: object, folder: Path, recipe: str = "") -> tuple[dict, Page]:
    write_funnel_page(str(source), folder, recipe)
    assert {file.name for file in folder.iterdir()} == {"funnel.html", "funnel.json"}
    return json.loads((folder / "funnel.json").read_text()), Page((folder / "funnel.html").read_text())


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Written]]:
    out = tmp_path_factory.mktemp("scenes") / "out"
    return out, write_scenes(out, 240, missing=UNFINISHED)


def values_of(one: Written) -> dict[str, float]:
    """The measures of one sample, computed independently."""
    edit = one.facts.edit
    found = {"words": len(one.text.split()), "near": one.maps.metric.min, "far": one.maps.metric.max}
    if one.kind == "translate":
        found["displacement"] = math.sqrt(sum(part**2 for part in edit.translation))
    elif one.kind in ("rotate", "scale"):
        found |= {"rotation": edit.rotation_deg} if one.kind == "rotate" else {"scale": edit.scale}
    elif one.kind == "camera":
        found |= {"yaw": edit.yaw_deg, "pitch": edit.pitch_deg, "zoom": edit.zoom}
    if one.kind not in ("camera", "insert"):
        found["visible_source"] = one.facts.objects[0].source_visible
    if one.kind not in ("camera", "remove"):
        found["visible_target"] = one.facts.objects[0].target_visible
    return found


def test_every_sample_is_counted_once(scenes, tmp_path):
    out, written = scenes
    found, page = show(out, tmp_path / "page")
    states = Counter(one.state for one in written)
    assert found["samples"] == {state: states[state] for state in ("accepted", "rejected", "waiting")}
    assert states["waiting"] and states["rejected"]
    assert found["pairs"]["accepted"] == states["accepted"]
    assert sum(found["pairs"].values()) == sum(one.facts is not None for one in written)
    assert f"{sum(one.facts is not None for one in written):,} pairs" in page.text
    planned = Counter((one.kind, one.split) for one in written)
    accepted = Counter((one.kind, one.split) for one in written if one.state == "accepted")
    rows = {(row["edit"], row["split"]): (row["planned"], row["accepted"]) for row in found["edits_by_split"]}
    assert rows == {place: (number, accepted[place]) for place, number in planned.items()}


def test_histograms(scenes, tmp_path):
    out, written = scenes
    found, page = show(out, tmp_path / "page")
    for name, histogram in found["histograms"].items():
        for state, counts in histogram["counts"].items():
            values = [
                values_of(one)[name] for one in written if one.facts and one.state == state and name in values_of(one)
            ]
            edges = histogram["edges"]
            assert counts[1:-1] == np.histogram(values, edges)[0].tolist()
            assert counts[0] == sum(value < edges[0] for value in values)
            assert counts[-1] == sum(value > edges[-1] for value in values)
        assert not any(histogram["unknown"].values())
    drawn = {figure["id"] for figure in page.all("figure") if "id" in figure}
    assert drawn == found["histograms"].keys()
    assert sum(found["histograms"]["words"]["counts"]["accepted"][-1:]) > 0 and "> 40" in page.text
    assert all(svg["aria-label"] and svg["role"] == "img" for svg in page.all("svg"))


def test_categories_colors_and_gaps(scenes, tmp_path):
    out, written = scenes
    found, page = show(out, tmp_path / "page")
    edited = [one for one in written if one.facts and one.kind != "camera"]
    accepted = [one for one in edited if one.state == "accepted"]
    categories = Counter(one.facts.objects[0].category for one in edited)
    assert {row["name"]: row["pairs"] for row in found["categories"]} == categories
    colors = Counter(one.facts.colours[0] for one in accepted)
    assert {row["name"]: row["accepted"] for row in found["colours"]} == {name: colors[name] for name in COLORS}
    makers = {one.key: f"depth renderer, metric {one.maps.metric.estimator}" for one in accepted}
    cells = Counter((one.kind, one.facts.objects[0].category, makers[one.key]) for one in accepted)
    coverage = {(row["edit"], row["category"], row["depth"]): row["accepted"] for row in found["coverage"]}
    assert coverage == cells
    kinds = ("translate", "rotate", "scale", "remove", "insert")
    holes = 0
    for maker in ("", *set(makers.values())):  # over all estimators of depth, then for each
        for kind in kinds:
            for category in categories:
                holes += not sum(
                    number for place, number in cells.items() if place[:2] == (kind, category) and maker in place[2]
                )
    by_maker = Counter((one.kind, makers[one.key]) for one in accepted)
    by_maker |= Counter(
        ("camera", f"depth renderer, metric {one.maps.metric.estimator}")
        for one in written
        if one.kind == "camera" and one.state == "accepted"
    )
    holes += sum(not by_maker[kind, maker] for kind in (*kinds, "camera") for maker in set(makers.values()))
    by_split = Counter((one.kind, one.split) for one in written if one.state == "accepted")
    holes += sum(not by_split[kind, split] for kind in (*kinds, "camera") for split in ("train", "val", "test"))
    found_holes = page.all("td", "hole")
    assert len(found_holes) == holes > 0
    assert all(hole["title"].startswith("none: ") for hole in found_holes)
    assert {button["name"] for button in page.all("input")} == {"depth"}
    assert len(page.all("input")) == 3


def test_the_funnel_agrees_with_status_and_reasons_link_to_samples(scenes, tmp_path):
    out, _ = scenes
    found, page = show(out, tmp_path / "page")
    assert found["funnel"] == funnel_of(open_build(str(out)))
    links = [parse_qs(a["href"].partition("#")[2]) for a in page.all("a") if a["href"].startswith("index.html#")]
    reasons = {link["reason"][0] for link in links if "reason" in link}
    assert reasons == {f"{row['layer']}: {reason}" for row in found["funnel"] for reason in row["rejects"]}
    assert reasons == {"pair: pair_is_bad", "screen: screen_is_bad", "checks: checks_is_bad"}
    assert {"state": ["accepted"], "edit": ["scale"], "split": ["train"]} in links
    assert {name for link in links for name in link} == {"state", "reason", "edit", "split", "category"}
    assert len(page.all("p", "note")) == 1
    assert "not finished" in page.text and "pair 1, " in page.text


def test_released_pairs_leave_much_unknown(finished, tmp_path):
    found, page = show(finished, tmp_path / "page")
    records = [read_record(s.members["json"]) for url in find_shards(str(finished)) for s in read_samples(url)]
    assert found["samples"]["accepted"] == len(records) > 0
    turned = [record.edit.rotation_deg for record in records if record.edit.kind == "rotate"]
    rotation = found["histograms"]["rotation"]
    assert rotation["counts"]["accepted"][1:-1] == np.histogram(turned, rotation["edges"])[0].tolist()
    moved = sum(record.edit.kind == "translate" for record in records)
    for name, unknown in {"displacement": moved, "near": len(records), "far": len(records)}.items():
        histogram = found["histograms"][name]
        assert (sum(histogram["counts"]["accepted"]), histogram["unknown"]["accepted"]) == (0, unknown)
    words = found["histograms"]["words"]
    lengths = [len(record.instruction.text.split()) for record in records]
    assert words["counts"]["accepted"][1:-1] == np.histogram(lengths, words["edges"])[0].tolist()
    drawn = {figure["id"] for figure in page.all("figure") if "id" in figure}
    assert "words" in drawn and not drawn & {"displacement", "near", "far", "visible_source", "scale"}
    assert "Not known for any sample" in page.text and "Scale factor" in page.text
    assert "No accepted sample has depth maps" in page.text
    assert {button["name"] for button in page.all("input")} == set()


def test_shards_are_counted_like_their_build(finished, tmp_path):
    built, _ = show(finished, tmp_path / "built")
    for source, recipe in ((finished / "shards", ""), (finished, "full"), (finished / "shards" / "full", "")):
        found, page = show(source, tmp_path / "packed", recipe)
        assert found["funnel"] == [] and "Open the gallery of OUT" in page.text
        assert found["coverage"] == built["coverage"]
        for name, histogram in built["histograms"].items():
            assert found["histograms"][name]["counts"]["accepted"] == histogram["counts"]["accepted"]
            assert found["histograms"][name]["unknown"]["accepted"] == histogram["unknown"]["accepted"]
        shutil.rmtree(tmp_path / "packed")
    one, _ = show(finished / "shards" / "full" / "train", tmp_path / "packed")
    assert {row["split"] for row in one["edits_by_split"]} == {"train"}


def test_damaged_and_missing_files(out, tmp_path):
    before, _ = show(out, tmp_path / "page")
    build = open_build(str(out))
    pair = out / build.store.data_name(build.layers["pair"], 0)
    pair.write_bytes(pair.read_bytes()[:-3])
    (out / build.store.record_name(build.layers["checks"], 1)).write_text("{")
    found, page = show(out, tmp_path / "page")
    assert sum(before["pairs"].values()) - sum(found["pairs"].values()) == build.plan.size(0)
    assert found["samples"]["waiting"] == build.plan.size(1)
    assert "2 layer files could not be read" in page.text
    (out / "shards" / "full" / "test" / "manifest.json").unlink()
    found, page = show(out / "shards", tmp_path / "page")
    assert "Split test is not finished" in page.text and found["samples"]["accepted"] > 0
    (parquet,) = (out / "shards" / "full" / "train").glob("*.parquet")
    parquet.write_bytes(b"PAR1")
    found, page = show(out / "shards", tmp_path / "page")
    assert "1 shard could not be read, such as spatialdata-train-00000-of-00001.tar" in page.text
    assert found["edits_by_split"] == [] and "There are no samples." in page.text


def test_a_build_without_pairs(tmp_path):
    write_scenes(tmp_path / "out", 16, missing={("pair", 0), ("pair", 1)})
    found, page = show(tmp_path / "out", tmp_path / "page")
    assert found["samples"] == {"accepted": 0, "rejected": 0, "waiting": 16}
    assert "There are no pairs yet." in page.text
    assert page.all("svg") == []


def test_scenes_and_supports(tmp_path, scenes):
    kinds, ends = ("room", "garden", "open"), ("floor", "top", "")

    def change(number, facts):
        refs = [SupportRef(object=0, kind=ends[(number + k) % 3], shelf=0, shelves=0) for k in (0, number % 2)]
        supports = dict(zip(("source_support", "target_support"), refs, strict=True))
        objects = [item.model_copy(update=supports) for item in facts.objects]
        return facts.model_copy(update={"scene": kinds[number % 3], "objects": objects})

    written = write_scenes(tmp_path / "out", 96, change)
    found, page = show(tmp_path / "out", tmp_path / "page")
    pairs = [one for one in written if one.facts]
    accepted = [one for one in pairs if one.state == "accepted"]

    def said(one: Written) -> str:
        item = one.facts.objects[0]
        first, last = item.source_support.kind, item.target_support.kind
        return f"{first} to {last}" if first and last and first != last else first or last

    counts = [Counter((one.kind, one.facts.scene) for one in some) for some in (pairs, accepted)]
    rows = {(row["edit"], row["scene"]): (row["pairs"], row["accepted"]) for row in found["edits_by_scene"]}
    assert rows == {place: (number, counts[1][place]) for place, number in counts[0].items()}
    edited = [[one for one in some if one.kind != "camera" and said(one)] for some in (pairs, accepted)]
    counts = [Counter((one.kind, said(one)) for one in some) for some in edited]
    rows = {(row["edit"], row["support"]): (row["pairs"], row["accepted"]) for row in found["edits_by_support"]}
    assert rows == {place: (number, counts[1][place]) for place, number in counts[0].items()}
    assert {support for _, support in rows} == {"floor", "top", "floor to top"}
    links = [parse_qs(a["href"].partition("#")[2]) for a in page.all("a")]
    cells = {(link["edit"][0], link["scene"][0]) for link in links if "scene" in link and "edit" in link}
    assert cells == {(one.kind, one.facts.scene) for one in pairs}
    # In sets of open scenes only, neither is known.
    plain, page = show(scenes[0], tmp_path / "plain")
    assert plain["edits_by_scene"] == plain["edits_by_support"] == []
    assert "stands on" not in page.text and "Scene and edit" not in page.text


def test_no_dataset(tmp_path):
    with pytest.raises(BadInput):
        write_funnel_page(str(tmp_path), tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_hostile_texts_are_shown_as_text(tmp_path):
    hostile = ("<script>alert(1)</script>", '" onmouseover="alert(1)', "Stühle & 数据 \u202egnp", "'><img src=x>")

    def change(number, facts):
        named = [
            item.model_copy(update={"category": hostile[number % 4], "name": hostile[number % 4]})
            for item in facts.objects
        ]
        return facts.model_copy(update={"objects": named, "colours": [hostile[0]] * len(named)})

    write_scenes(tmp_path / "out", 96, change)
    found, page = show(tmp_path / "out", tmp_path / "page")
    assert {row["name"] for row in found["categories"]} == set(hostile)
    assert [script["src"] for script in page.all("script")] == ["theme.js"]
    assert page.all("img") == []
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    for text in hostile:
        assert text in page.text
    assert "</script>" not in (tmp_path / "page" / "funnel.html").read_text().replace('.js"></script>', "")
    links = [parse_qs(a["href"].partition("#")[2]) for a in page.all("a")]
    assert {link["category"][0] for link in links if "category" in link} == set(hostile)
