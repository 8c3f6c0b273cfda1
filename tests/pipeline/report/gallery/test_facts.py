"""Facts are those of the record: what nobody knows is None, what does not belong to a kind is not there."""

import math

import pytest
from spatialdata_builder.pipeline.report.gallery.facts import NO_DEPTH, Facts, colour_in, facts_of
from spatialdata_builder.shards.schema import PairFacts

from tests.annotators.factory import random_facts


def told(facts: PairFacts, **changes: object) -> Facts:
    plain = facts.model_dump()
    arguments = {"edit": plain["edit"], "objects": plain["objects"], "maps": {}, "text": "", "colours": ()}
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
def test_what_belongs_to_a_kind(kind):
    facts = random_facts(7, kind)
    found = told(facts)
    assert found.kind == kind
    assert found.values.keys() == AMOUNTS[kind] | SEEN.get(kind, BOTH) | {"near", "far", "words"}
    unknown = told(facts.model_copy(update={"edit": facts.edit.model_copy(update={"known": False})}))
    assert all(unknown.values[name] is None for name in AMOUNTS[kind])
    assert (found.category is None) == (kind == "camera")
    if kind != "camera":
        assert found.category == facts.objects[0].category


def test_numbers():
    moved = random_facts(3, "translate")
    assert told(moved).values["displacement"] == math.dist(moved.edit.translation, (0, 0, 0)) > 0
    turned = random_facts(3, "rotate")
    assert told(turned).values["rotation"] == turned.edit.rotation_deg
    assert told(turned, text="turn it\n a  bit").values["words"] == 4
    assert told(turned).values["words"] is None
    item = turned.objects[0]
    assert told(turned).values["visible_source"] == item.source_visible
    hidden = turned.model_copy(update={"objects": [item.model_copy(update={"known": False}), *turned.objects[1:]]})
    assert told(hidden).values["visible_target"] is None


def test_depth_is_told_in_metres_or_not_at_all():
    info = {"estimator": "renderer", "kind": "metric", "unit": "m", "min": 1.5, "max": 9.0}
    facts = random_facts(1, "remove")
    found = told(facts, maps={"metric": info, "depth": {"estimator": "model"}})
    assert (found.values["near"], found.values["far"]) == (1.5, 9.0)
    assert found.depth == "depth model, metric renderer"
    free = told(facts, maps={"metric": {**info, "unit": ""}})
    assert (free.values["near"], free.values["far"], free.depth) == (None, None, "metric renderer")
    empty = told(facts, maps={"metric": {**info, "min": 0.0, "max": 0.0}})
    assert empty.values["far"] is None
    assert told(facts).depth == NO_DEPTH


def test_colours():
    facts = random_facts(2, "scale")
    assert told(facts, colours=["blue"] * len(facts.objects)).colour == "blue"
    assert told(facts, colours=[""] * len(facts.objects)).colour == ""
    for name, colour in {
        "left dark red mug": "dark red",
        "wooden crate": "",
        "redwood table": "",
        "light blue light grey pot": "light blue",
        "": "",
    }.items():
        assert colour_in(name) == colour
    named = facts.model_copy(update={"objects": [facts.objects[0].model_copy(update={"name": "dark green mug"})]})
    assert told(named).colour == "dark green"
