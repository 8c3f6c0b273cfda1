"""Cards of real builds: the tests recount their facts, and untrusted text stays text."""

import html
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.pipeline.store.layers import LayerStore
from spatialdata_builder.pipeline.store.plan import PlanRow, write_plan
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from spatialdata_builder.shards.schema import SceneObject
from tests.pipeline.command_line import assert_fails, build, run
from tests.pipeline.releases import files_of
from tests.pipeline.relicensed import relicense

MARKDOWN = MarkdownIt("commonmark").enable("table")
HOSTILE = "<script>alert(1)</script> [x](javascript:alert(1)) | `a` **b**\n# owned"
PLAIN = {"html", "table", "thead", "tbody", "tr", "th", "td", "h1", "h2", "p", "ul", "li", "a", "code", "pre", "strong"}


def records(out: Path, recipe: str = "full") -> list:
    urls = find_shards(str(out), recipe=recipe)
    return [read_record(sample.members["json"]) for url in urls for sample in read_samples(url)]


def card_of(out: Path, name: str = "README.md") -> str:
    return (out / "shards" / "full" / name).read_text()


def body(text: str) -> str:
    """The card without its YAML header."""
    return text.split("---\n", 2)[2]


def rows_of(text: str, head: str) -> list[list[str]]:
    """The cells of the table with this first column, as a browser shows them."""
    tables = re.findall(r"<table>(.*?)</table>", MARKDOWN.render(text), re.S)
    (found,) = [table for table in tables if f"<th>{head}</th>" in table.split("</th>")[0] + "</th>"]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in found.split("<tr>")[2:]]
    return [[html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in row] for row in rows]


def pack(out: Path) -> None:
    assert (result := run("shard", out, "--recipe", "full")).code == 0, result


def test_the_card_of_a_build_counts_its_samples(finished):
    text, found = body(card_of(finished)), records(finished)
    kinds = Counter((record.edit.kind, record.split) for record in found)
    edits = {row[0]: [int(cell) for cell in row[1:]] for row in rows_of(text, "edit")}
    assert edits == {kind: [kinds[kind, "train"], kinds[kind, "test"]] for kind, _ in kinds}
    scores = {row[0]: row for row in rows_of(text, "score")}
    moved = sorted(r.scores.displacement_px for r in found if r.scores.displacement_px != -1)
    assert int(scores["displacement_px"][2]) == len(moved)
    assert moved[0] <= float(scores["displacement_px"][4]) <= moved[-1]
    assert f"at {64} × {64} pixels" in text
    plan = json.loads((finished / "plan.json").read_bytes())
    assert plan["hash"][:16] in text
    layers = {row[0]: row for row in rows_of(text, "layer")}
    assert {f"{name}-{row[5]}" for name, row in layers.items()} == set(open_build(str(finished)).layers.values())


@pytest.mark.torch
def test_the_hub_and_datasets_read_it(finished, tmp_path):
    from datasets import load_dataset

    card = DatasetCard.load(finished / "shards" / "full" / "README.md")
    assert card.data.license == "other" and card.data.to_dict()["license_link"] == "ATTRIBUTION.md"
    assert card.data.task_categories == ["image-to-image"] and card.data.size_categories == ["n<1K"]
    loaded = load_dataset(str(finished / "shards" / "full"), streaming=True, cache_dir=str(tmp_path))
    keys = {row["__key__"] for split in loaded.values() for row in split}
    assert keys == {record.key for record in records(finished)}


@pytest.mark.slow
def test_the_same_build_gives_the_same_card(out, finished):
    before = files_of(finished / "shards")
    shutil.rmtree(out / "shards")
    pack(out)
    assert files_of(out / "shards") == before
    result = run("card", out, "--json")
    assert files_of(out / "shards") == before
    (card,) = json.loads(result.out)["cards"]
    assert (card["samples"], card["licence"], card["leaks"]) == (len(records(out)), "", False)
    assert run("verify", out).code == 0


@pytest.mark.slow
def test_every_creator_of_a_visible_object_is_named(out):
    relicense(out, lambda _, item: {"licence": "by" if item.asset.endswith("a") else "cc0", "creator": item.asset[5:]})
    pack(out)
    named = body_rows(card_of(out, "ATTRIBUTION.md"))
    seen = {item.asset: item for record in records(out) for item in record.objects if item.visible}
    samples = Counter(item.asset for record in records(out) for item in record.objects if item.visible)
    assert len(named) == len(seen)
    assert {row[2]: (row[0], int(row[3])) for row in named} == {
        uid: (item.creator, samples[uid]) for uid, item in seen.items()
    }
    assert DatasetCard.load(out / "shards" / "full" / "README.md").data.license == "cc-by-4.0"


def body_rows(text: str) -> list[list[str]]:
    """The rows of all tables of an attribution."""
    tables = re.findall(r"<table>(.*?)</table>", MARKDOWN.render(text), re.S)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for table in tables for row in table.split("<tr>")[2:]]
    return [[html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in row] for row in rows]


@pytest.mark.slow
def test_untrusted_texts_stay_text(out):
    """Markdown and HTML in creators, titles, categories and licenses are shown as text."""
    relicense(out, lambda _, item: {"licence": HOSTILE, "creator": f"{HOSTILE} é", "category": HOSTILE})
    titles = [
        PlanRow(f"asset-{number}", "train", {"uid": uid, "name": f"{HOSTILE} 椅子"})
        for number, uid in enumerate(sorted({item.asset for record in records(out) for item in record.objects}))
    ]
    write_plan(LayerStore(str(out / "survey" / "0")), {}, titles, 16)
    pack(out)
    shown = " ".join(HOSTILE.split())
    for row in body_rows(card_of(out, "ATTRIBUTION.md")):
        assert (row[0], row[1], row[3]) == (f"{shown} é", f"{shown} 椅子", shown)
    for text in (card_of(out, "ATTRIBUTION.md"), body(card_of(out))):
        rendered = MARKDOWN.render(text)
        assert set(re.findall(r"</?(\w+)", rendered)) <= PLAIN
        assert not re.search(r'href="(?!https://|ATTRIBUTION\.md)', rendered)
        assert "owned" not in "".join(re.findall(r"<h\d>(.*?)</h\d>", rendered))
    assert f"{shown} " in html.unescape(re.sub(r"<[^>]*>", "", MARKDOWN.render(body(card_of(out)))))
    assert yaml.safe_load(card_of(out).split("---\n")[1])["license"] == "other"


def test_contradicting_licenses_are_named(out):
    relicense(out, lambda _, item: {"licence": "by-sa" if item.asset.endswith("a") else "by-nc-sa"})
    result = run("shard", out, "--recipe", "full")
    assert "CC BY-SA and CC BY-NC-SA cannot be combined" in result.out
    text = body(card_of(out))
    assert "There is no license under which the whole dataset may be shared" in text
    assert "`spatialdata shard OUT --recipe RECIPE --licenses by-sa`" in text
    ((models, samples, share, alone),) = rows_of(text, "models under")
    assert (models, int(samples), share, alone) == (
        "CC BY-SA and CC BY-NC-SA",
        len(records(out)),
        "100.0%",
        "nothing",
    )


@pytest.mark.slow
def test_splits_that_share_a_model_are_reported(out):
    shared = "asset000a"
    relicense(out, lambda key, item: {"asset": shared} if "-test-" in key and item.id == 1 else {})
    pack(out)
    (card,) = json.loads(run("card", out, "--json").out)["cards"]
    assert card["leaks"] and card["shared_assets"] == {"train+test": 1}
    assert ["train, test", "1", "0"] in rows_of(body(card_of(out)), "splits")
    assert "A held-out split shares models or scenes with another split" in card_of(out)


@pytest.mark.slow
def test_splits_that_share_a_shape_are_reported(out):
    def one_shape(key: str, item: SceneObject) -> dict[str, str]:
        asset = f"{'test' if '-test-' in key else 'other'}-{item.asset}"
        return {"asset": asset, "family": "f"} if item.id == 1 else {"asset": asset}

    relicense(out, one_shape)
    pack(out)
    (card,) = json.loads(run("card", out, "--json").out)["cards"]
    assert card["leaks"] and card["shared_assets"]["train+test"] > 0


@pytest.mark.slow
def test_all_licenses_of_one_model_are_named_and_required(out):
    relicense(out, lambda _, item: {"licence": "by;by-nc", "creator": "Ann; Zoe"})
    pack(out)
    text = card_of(out, "ATTRIBUTION.md")
    seen = {item.asset for record in records(out) for item in record.objects if item.visible}
    for name in ("CC BY", "CC BY-NC"):
        (part,) = [part for part in text.split("\n## ")[1:] if part.startswith(f"[{name}]")]
        assert {row[2] for row in body_rows(part)} == seen and {row[0] for row in body_rows(part)} == {"Ann; Zoe"}
    assert "by 2 named creators" in text
    assert DatasetCard.load(out / "shards" / "full" / "README.md").data.license == "cc-by-nc-4.0"
    result = run("shard", out, "--recipe", "full", "--licenses", "by")
    assert result.code and "shows models under" in result.err.replace("show ", "shows ") and "by-nc" in result.err
    assert run("shard", out, "--recipe", "full", "--licenses", "by,by-nc").code == 0


@pytest.mark.slow
def test_near_duplicates_are_reported(release, tmp_path):
    twin = shutil.copytree(release, tmp_path / "release")
    shutil.copytree(twin / "translate/train/uid000", twin / "translate/train/uid900")
    out = tmp_path / "out"
    assert build(twin, out).code == 0
    assert "left out: duplicate 1." in card_of(out)
    assert run("shard", out, "--recipe", "full", "--set", "shard.duplicates.enabled=false").code == 0
    assert "Near-duplicates were not searched." in card_of(out)
    before = files_of(out)
    assert run("card", out).code == 0
    assert files_of(out) == before, "the card must describe the packing, not the build"


@pytest.mark.slow
def test_the_configuration_is_that_of_the_plan_and_the_packing(release, tmp_path):
    out = tmp_path / "out"
    splits = "shard.splits={train: 0.8, val: 0.1, test: 0.1}"
    assert build(release, out, splits, "shard.samples_per_shard=5", "layers.screen.max_blur=0.8").code == 0
    result = re.search(r"```yaml\n(.*?)```", card_of(out), re.S)
    assert result and yaml.safe_load(result.group(1)) == {
        "source": {"kind": "object3dit"},
        "samples": "all",
        "unit_size": 4,
        "layers": {"screen": {"stage": "junk", "max_blur": 0.8}},
        "shard": {"samples_per_shard": 5, "splits": {"train": 0.8, "val": 0.1, "test": 0.1}},
    }
    assert str(release) not in card_of(out)
    before = files_of(out / "shards")
    next((out / "shards/full/train").glob("*.tar")).unlink()
    assert run("verify", out, "--repair").code == 0
    assert files_of(out / "shards") == before


def test_a_card_without_layers_states_what_is_missing(out):
    shutil.rmtree(out / "layers")
    result = run("card", out)
    assert result.code == 0, result
    assert "The number of rejected samples is not known" in card_of(out)
    assert "Near-duplicates are not known" in card_of(out)


def test_cards_that_cannot_be_written_are_errors(out, tmp_path):
    assert_fails(run("card", tmp_path), "no build in")
    assert_fails(run("card", out, "--recipe", "ildm"), "has no shards of ildm", "packed: full")
    assert_fails(run("card", out, "--recipe", "nothing"), "unknown recipe 'nothing'")
    values = json.loads((out / "build.json").read_bytes())
    values["layers"]["checks"] = {"stage": "geometry", "options": {"min_area": 0.001}}
    (out / "build.json").write_text(json.dumps(values))
    assert_fails(run("card", out), "were packed from layer checks-", "pack again")


def test_an_unfinished_packing_is_an_error(out):
    (out / "shards/full/train/manifest.json").unlink()
    assert_fails(run("card", out), "is not finished", "spatialdata shard")
    shutil.rmtree(out / "shards")
    assert_fails(run("card", out), "has no shards", "--recipe full")


def test_a_damaged_record_is_named(out):
    shard = next((out / "shards/full/train").glob("*.tar"))
    data = bytearray(shard.read_bytes())
    place = data.index(b'{"key"')
    data[place : place + 6] = b"\0" * 6
    shard.write_bytes(data)
    line = assert_fails(run("card", out), "is damaged", "verify --repair", code=1)
    assert shard.name in line
