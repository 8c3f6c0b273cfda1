"""Facts agree with the record: unknown values are None, values of other kinds are missing."""

import math

import pytest

from spatialdata_builder.pipeline.report.gallery.facts import NO_DEPTH, Facts, color_in, facts_of
from spatialdata_builder.shards.schema import PairFacts
from tests.annotators.factory import random_facts


def facts_from(facts: PairFacts, **changes: object) -> Facts:
    plain = facts.model_dump()
    arguments = {"edit": plain["edit"], "objects": plain["objects"], "maps": {}, "text": "", "colors": ()}
    return facts_of(**{**arguments, **changes})


AMOUNTS = {
    "translate": {"displacement"},
    "rotate": {"rotation"},
    "scale": {"scale"},
    "remove": set(),
    "insert": set(),
    "camera": {"yaw", "pitch", "zoom"},
}
SEEN = {"remove": {"visible_source"}, "insert": {"visible_target"}, "camera": set()}
BOTH = {"visible_source", "visible_target"}


@pytest.mark.parametrize("kind", AMOUNTS)
def test_facts_of_each_kind(kind):
    facts = random_facts(7, kind)
    found = facts_from(facts)
    assert found.kind == kind
    assert found.values.keys() == AMOUNTS[kind] | SEEN.get(kind, BOTH) | {"near", "far", "words"}
    unknown = facts_from(facts.model_copy(update={"edit": facts.edit.model_copy(update={"known": False})}))
    assert all(unknown.values[name] is None for name in AMOUNTS[kind])
    assert (found.category is None) == (kind == "camera")
    if kind != "camera":
        assert found.category == facts.objects[0].category


def test_numbers():
    moved = random_facts(3, "translate")
    assert facts_from(moved).values["displacement"] == math.dist(moved.edit.translation, (0, 0, 0)) > 0
    turned = random_facts(3, "rotate")
    assert facts_from(turned).values["rotation"] == turned.edit.rotation_deg
    assert facts_from(turned, text="turn it\n a  bit").values["words"] == 4
    assert facts_from(turned).values["words"] is None
    item = turned.objects[0]
    assert facts_from(turned).values["visible_source"] == item.source_visible
    hidden = turned.model_copy(update={"objects": [item.model_copy(update={"known": False}), *turned.objects[1:]]})
    assert facts_from(hidden).values["visible_target"] is None


def test_depth_is_in_meters_or_unknown():
    info = {"estimator": "renderer", "kind": "metric", "unit": "m", "min": 1.5, "max": 9.0}
    facts = random_facts(1, "remove")
    found = facts_from(facts, maps={"metric": info, "depth": {"estimator": "model"}})
    assert (found.values["near"], found.values["far"]) == (1.5, 9.0)
    assert found.depth == "depth model, metric renderer"
    free = facts_from(facts, maps={"metric": {**info, "unit": ""}})
    assert (free.values["near"], free.values["far"], free.depth) == (None, None, "metric renderer")
    empty = facts_from(facts, maps={"metric": {**info, "min": 0.0, "max": 0.0}})
    assert empty.values["far"] is None
    assert facts_from(facts).depth == NO_DEPTH


def test_colors():
    facts = random_facts(2, "scale")
    assert facts_from(facts, colors=["blue"] * len(facts.objects)).color == "blue"
    assert facts_from(facts, colors=[""] * len(facts.objects)).color == ""
    for name, color in {
        "left dark red mug": "dark red",
        "wooden crate": "",
        "redwood table": "",
        "light blue light grey pot": "light blue",
        "": "",
    }.items():
        assert color_in(name) == color
    named = facts.model_copy(update={"objects": [facts.objects[0].model_copy(update={"name": "dark green mug"})]})
    assert facts_from(named).color == "dark green"
