"""A new source is a folder and a line in the registry: a complete build with one."""

import json
import shutil
from pathlib import Path

import pytest

from spatialdata_builder.shards import codecs
from spatialdata_builder.shards.layout import find_shards
from spatialdata_builder.shards.reader import read_record, read_samples
from spatialdata_builder.sources.registry import SOURCES
from tests.pipeline.command_line import CommandResult, assert_fails, run
from tests.sources.object3dit.conftest import labels_of, picture, png

NOUNS = ("mug", "vase", "mug", "book", "lamp", "mug")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "png_pairs", "tests.sources.png_pairs.source:PngPairs")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Each pair has its own floor."""
    root = tmp_path / "pictures"
    for number, noun in enumerate(NOUNS):
        folder = root / ("test" if number == 4 else "train") / f"{noun}-{number:04d}"
        folder.mkdir(parents=True)
        labels = labels_of((8 + 2 * number, 10, 22 + 2 * number, 26), None)
        empty = labels_of(None, None)
        (folder / "before.png").write_bytes(png(picture(labels, 1, number + 1)))
        (folder / "after.png").write_bytes(png(picture(empty, 2, number + 1)))
        (folder / "object.png").write_bytes(png((labels[..., None] * 255).repeat(3, axis=2)))
    return root


def build(root: Path, out: Path, *settings: str) -> CommandResult:
    given = ("source.kind=png_pairs", f"source.root={root}", "samples=all", "unit_size=2", "engine.kind=inline")
    return run("build", "--out", out, *(part for text in (*given, *settings) for part in ("--set", text)))


@pytest.mark.slow
def test_a_build_of_a_new_source(root: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = build(root, out, "edits={remove: 1, invert: true}")
    assert result.code == 0, result
    found = {
        record.key: (record, sample.members)
        for shard in find_shards(str(out), recipe="full")
        for sample in read_samples(shard)
        for record in (read_record(sample.members["json"]),)
    }
    assert {key: record.split for key, (record, _) in found.items()} == {
        f"{split}-{noun}-{number:04d}{suffix}": split
        for number, noun in enumerate(NOUNS)
        for split in ("test" if number == 4 else "train",)
        for suffix in ("", "-inv")
    }
    record, members = found["train-vase-0001"]
    back, others = found["train-vase-0001-inv"]
    assert (record.dataset, record.edit.kind, back.edit.kind) == ("png_pairs", "remove", "insert")
    assert "vase" in record.instruction.text and "vase" in back.instruction.text
    assert (others["source"], others["target"]) == (members["target"], members["source"])
    before = codecs.decode_image((root / "train/vase-0001/before.png").read_bytes())
    assert (codecs.decode_image(members["source"]) == before).all()
    assert json.loads((out / "plan.json").read_text())["config"]["source"] == {"kind": "png_pairs", "pattern": "*"}
    verified = run("verify", out, "--json")
    assert json.loads(verified.out)["problems"] == []


@pytest.mark.slow
def test_its_card_and_its_gallery(root: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert build(root, out, "edits={remove: 1}", "source.pattern=mug-*").code == 0
    card = (out / "shards/full/README.md").read_text()
    assert "Pairs of pictures with and without an object, read from PNG files." in card
    assert "- Doe, Pairs of Pictures, 2026" in card
    assert "source:\n  kind: png_pairs\n  pattern: mug-*\n" in card
    assert r"| pair | png\_pairs | 1 |" in card
    assert str(root) not in card
    assert "The pictures are the photographer's." in (out / "shards/full/ATTRIBUTION.md").read_text()
    assert run("view", out).code == 0
    assert "mug-0002" in "".join(path.read_text() for path in (out / "gallery").rglob("*.js*"))
    assert json.loads((out / "gallery/funnel.json").read_text())["funnel"]


@pytest.mark.slow
def test_it_resumes_and_checks_its_root(root: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert build(root, out, "edits={remove: 1}").code == 0
    first = next((out / "layers").glob("pair-*/00000000.parquet"))
    data = first.read_bytes()
    first.with_suffix(".json").unlink()
    moved = root.rename(tmp_path / "moved")
    assert_fails(build(root, out, "edits={remove: 1}"), "has none of the pairs", "original source.root", code=2)
    assert build(moved, out, "edits={remove: 1}").code == 0
    assert first.read_bytes() == data
    shutil.rmtree(moved / "train/mug-0000")
    (moved / "train/vase-0001/after.png").unlink()
    assert_fails(build(moved, out, "edits={remove: 1}", "source.pattern=mug-*"), "source.pattern", "another --out")


def test_what_it_does_not_know_is_an_error(root: Path, tmp_path: Path):
    assert_fails(build(root, tmp_path / "out", "layers.depth=exact"), "layers.depth: pictures hold no exact depth")
    assert_fails(build(root, tmp_path / "out", "layers.pair=render"), "'png_pairs'", "'render'")
    assert_fails(
        run("orient", "--out", tmp_path / "o", "--set", "source.kind=png_pairs"), "models or objaverse or procedural"
    )


def test_the_docs_show_its_code():
    checkout = Path(__file__).resolve().parents[2]
    code = (checkout / "tests/sources/png_pairs/source.py").read_text()
    shown = code[code.index("class PngOptions") :].strip()
    assert any(f"```python\n{shown}\n```" in page.read_text() for page in (checkout / "docs").glob("*.md"))
