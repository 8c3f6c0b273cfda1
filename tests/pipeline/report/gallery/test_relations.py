"""The relations that instructions say, as a column of the gallery and as a filter of its page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spatialdata_builder.pipeline.report.gallery.relations import relations_of
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.schema import SUPPORT_VERSION
from spatialdata_builder.shards.writer import encode_record
from tests.pipeline.command_line import run
from tests.pipeline.report.gallery.conftest import Look
from tests.shards.factory import make_sample, make_split, out_of

Support = dict[str, Any]
FLOOR = {"object": 0, "kind": "floor", "shelf": 0, "shelves": 0}
SIZES = {"mug": 0.1, "table": 1.2, "book": 0.3, "armchair": 0.9}
"""The objects 1 to 4, and the sides of their boxes."""


def on(name: str, kind: str = "top", shelf: int = 0) -> Support:
    return {"object": [*SIZES].index(name) + 1, "kind": kind, "shelf": shelf, "shelves": 3 * bool(shelf)}


SAMPLES: dict[str, tuple[str, str, Support, Support, tuple[str, ...]]] = {
    "a": ("translate", "Put the mug on the table.", FLOOR, on("table"), ("on",)),
    "b": ("translate", "Put the mug on the book.", FLOOR, on("book"), ("onto a stack",)),
    "c": ("translate", "Place the mug on the table's top shelf.", FLOOR, on("table", "shelf", 3), ("on a shelf",)),
    "d": ("translate", "Put the mug under the table.", FLOOR, on("table", "under"), ("under",)),
    "e": (
        "translate",
        "Take the mug off the table and put it on the floor next to the armchair.",
        on("table"),
        FLOOR,
        ("off", "on the floor", "next to"),
    ),
    "f": ("translate", "Push the mug against the wall.", FLOOR, FLOOR, ("against the wall",)),
    "g": ("translate", "Move the mug into the corner of the room.", FLOOR, FLOOR, ("in the corner",)),
    "h": ("insert", "Add a mug between the book and the armchair.", {**FLOOR, "kind": ""}, FLOOR, ("between",)),
    "i": ("remove", "Remove the mug on the table.", on("table"), {**FLOOR, "kind": ""}, ("on",)),
    "j": ("translate", "Put the mug in the book.", FLOOR, on("book", "inside"), ("in",)),
    "k": ("translate", "Move the mug to the left of the table.", FLOOR, FLOOR, ("left of",)),
    "l": ("rotate", "Turn the mug by 45 degrees clockwise.", FLOOR, FLOOR, ()),
    "m": ("camera", "Move the camera to the left.", FLOOR, FLOOR, ()),
    "n": ("swap", "Swap the mug and the book.", FLOOR, on("table"), ()),
}


def members_of(key: str) -> dict[str, bytes]:
    kind, text, source, target, _ = SAMPLES[key]
    record = json.loads(make_sample(key, kind=kind)["json"])
    (first, *_), objects = record["objects"], []
    for number, (name, side) in enumerate(SIZES.items(), start=1):
        ends = (source, target) if name == "mug" else (FLOOR, FLOOR)
        supports = dict(zip(("source_support", "target_support"), ends, strict=True))
        objects.append({**first, "id": number, "name": name, "category": name, "size_m": [side] * 3, **supports})
    record |= {"schema": SUPPORT_VERSION, "scene": "room", "objects": objects}
    record["edit"]["second_object"] = 3 if kind == "swap" else 0
    record["instruction"] |= {"text": text, "variants": [text]}
    return {"json": encode_record(read_record(json.dumps(record).encode()))}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("relations")
    make_split(out_of(out), [[*SAMPLES]], changes={key: members_of(key) for key in SAMPLES})
    assert run("view", out, "--out", out / "g").code == 0
    return out / "g"


def test_what_instructions_say(gallery: Path, index_of: Callable[[Path], dict[str, Any]]):
    index = index_of(gallery)
    said = [tuple(name for bit, name in enumerate(index["relations"]) if bits & 1 << bit) for bits in index["relation"]]
    expected = {key: set(relations) for key, (*_, relations) in SAMPLES.items()}
    assert {key: set(found) for key, found in zip(index["key"], said, strict=True)} == expected


def test_without_supports_and_without_understanding():
    objects = [{"id": 1, "name": "mug", "category": "mug", "known": False, "size_m": [0, 0, 0]}]
    objects += [{**objects[0], "id": 2, "name": "table", "category": "table"}]
    move = {"kind": "translate", "object": 1}
    assert relations_of("Put the mug on the table.", move, objects) == ("on",)
    assert relations_of("Take the mug off the table and put it behind the table.", move, objects) == ("off", "behind")
    assert relations_of("What a lovely mug.", move, objects) == ()


def test_the_filter_and_its_permalink(gallery: Path, look: Callable[..., Look]):
    found = look(gallery / "index.html")
    facet = found.page.locator(".facet", has_text="Relation in the instruction")
    facet.locator(".link").click()
    numbers = {row.get_attribute("data-value"): row.inner_text().split()[-1] for row in facet.locator(".value").all()}
    relations = [relation for *_, said in SAMPLES.values() for relation in said]
    assert numbers == {relation: str(relations.count(relation)) for relation in relations}
    facet.locator("[data-value='next to']").click()
    assert found.tiles == ["e"]
    assert found.hash == "#relation=next+to"
    facet.locator("[data-value=on]").click()
    assert found.tiles == ["a", "e", "i"]
    # The counts of a facet are those of the samples that pass the other facets.
    found.page.locator(".value[data-value=remove]").click()
    assert found.tiles == ["i"]
    counts = [row.inner_text().split()[-1] for row in facet.locator(".value").all() if row.inner_text()[-1] != "0"]
    assert counts == ["1"]
    again = look(gallery / "index.html", "#relation=off%7Cunder%7Cno+such&edit=translate")
    assert again.tiles == ["d", "e"]
    assert again.page.locator(".value[aria-pressed=true]").count() == 3
