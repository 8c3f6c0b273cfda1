"""Instructions and captions of furnished rooms: every statement about supports is true of the poses."""

import re
from collections import Counter

import numpy as np
import pytest

from spatialdata_builder.annotators.captions import caption
from spatialdata_builder.annotators.case import Case, noun_phrase
from spatialdata_builder.annotators.grounding import edit_facts
from spatialdata_builder.annotators.phrases import bare
from spatialdata_builder.annotators.relations import present
from spatialdata_builder.annotators.supports import at, riders, support_of
from spatialdata_builder.annotators.templates import instructions
from spatialdata_builder.shards.schema import EditKind, PairFacts, SupportRef
from tests.annotators.oracle import false_caption, false_supports, holds
from tests.annotators.rooms import SIDE, on_shelf, room, rooms

pytestmark = pytest.mark.slow


def texts_of(facts: PairFacts, variants: int = 30) -> list[str]:
    texts = instructions(Case(facts, SIDE, SIDE), variants, np.random.default_rng(0))
    return [] if isinstance(texts, str) else texts


def names_of(facts: PairFacts) -> dict[str, int]:
    counts = Counter(bare(thing.name) for thing in facts.objects)
    return {bare(thing.name): thing.id for thing in facts.objects if counts[bare(thing.name)] == 1} | {"floor": 0}


@pytest.mark.parametrize("kind", ["translate", "insert", "remove"])
def test_what_instructions_say_of_supports_is_true(kind: EditKind):
    found: Counter[str] = Counter()
    for facts in rooms(160, (kind,)):
        for text in texts_of(facts):
            said, wrong = false_supports(facts, text, names_of(facts))
            assert not wrong, (text, wrong)
            found["texts"] += 1
            found["support"] += said > 0
            found.update(
                re.findall(r"\b(on top of|onto|inside|under|off|out of|against|corner|between|next to)\b", text)
            )
    assert found["support"] > 0.2 * found["texts"], found
    expected = {"translate": {"onto", "off", "out of", "under", "against", "corner", "between", "next to"}}
    assert {"on top of", *expected.get(kind, set())} <= set(found), found


def test_walls_and_corners_are_where_the_text_says():
    seen: Counter[str] = Counter()
    for facts in rooms(120, ("translate", "insert")):
        for text in texts_of(facts):
            for kind, words in (("against", "against the wall"), ("corner", "the corner")):
                if words in text:
                    seen[kind] += 1
                    assert holds(facts, kind, facts.edit.object, [facts.edit.object], "target"), text
                    assert facts.edit.kind == "insert" or not holds(
                        facts, kind, facts.edit.object, [facts.edit.object], "source"
                    ), text
    assert min(seen.values()) >= 10 and len(seen) == 2


def test_what_is_under_something_is_not_only_put_on_the_floor():
    """It is on the floor already: the text says where it comes from, or what it ends beside."""
    found = 0
    for facts in rooms(160, ("translate",)):
        thing = next(one for one in facts.objects if one.id == facts.edit.object)
        if (thing.source_support.kind, thing.target_support.kind) == ("under", "floor"):
            found += 1
            for text in texts_of(facts):
                assert " under " in text or not re.search(r"\b(on|onto|to) the (floor|ground)\b", text), text
    assert found


def test_nearly_every_edit_in_a_room_has_instructions():
    reasons = Counter(
        texts
        for facts in rooms(200)
        if isinstance(texts := instructions(Case(facts, SIDE, SIDE), 4, np.random.default_rng(0)), str)
    )
    assert reasons.total() <= 6, reasons


def test_shelves_are_told_by_their_numbers():
    said: dict[tuple[int, int], set[str]] = {}
    for facts in rooms(120, ("insert", "translate")):
        for shelf, shelves in ((1, 2), (2, 2), (1, 3), (2, 3), (3, 3), (2, 4)):
            shelved = on_shelf(facts, shelf, shelves)
            mine = shelved and next(one for one in shelved.objects if one.id == shelved.edit.object)
            if shelved and mine and mine.target_support.kind == "shelf" and mine.source_support.kind != "shelf":
                words = {word for text in texts_of(shelved) for word in re.findall(r"(\w+) (?:shelf|level) of", text)}
                said.setdefault((shelf, shelves), set()).update(words)
    assert said[1, 2] == said[1, 3] == {"bottom"} and said[2, 2] == said[3, 3] == {"top"}
    assert said[2, 3] == {"middle"} and said[2, 4] <= {"a"}


def test_what_stands_on_an_object_comes_along():
    mentioned = Counter[bool]()
    for facts in rooms(120, ("translate", "rotate", "remove")):
        case = Case(facts, SIDE, SIDE)
        carried = riders(facts, facts.edit.object, "source")
        assert set(carried) == {
            one.id
            for one in facts.objects
            if one.source_support.object in (facts.edit.object, *carried) and one.id not in facts.edit.edited
        }
        assert not set(carried) & set(case.names)
        for text in texts_of(facts, 8):
            says = re.search(r"\bwith (?:everything|the [\w ]+) (?:on|in|under)(?: and \w+)* (?:it|them)\b", text)
            assert not says or carried, text
            if carried:
                mentioned[bool(says)] += 1
                for id in carried:
                    name = next(one.name for one in facts.objects if one.id == id)
                    assert f"of the {name}" not in text and f"next to the {name}" not in text, text
    assert mentioned[True] > 0.5 * mentioned.total() > 40 and mentioned[False]


def test_a_change_of_size_does_not_say_that_what_stands_on_the_object_changes():
    for facts in rooms(20, ("scale",)):
        id = facts.edit.object
        rider = next(one for one in facts.objects if one.id != id)
        on_it = SupportRef(object=id, kind="top", shelf=0, shelves=0)
        moved = rider.model_copy(update={"source_support": on_it, "target_support": on_it})
        objects = [moved if one.id == rider.id else one for one in facts.objects]
        for text in texts_of(facts.model_copy(update={"objects": objects})):
            assert "everything" not in text


def test_an_ambiguous_name_is_told_by_what_the_object_stands_on():
    told = 0
    for facts in rooms(100, ("remove", "rotate")):
        mine = next(one for one in facts.objects if one.id == facts.edit.object)
        other = next(
            (one for one in facts.objects if one.id != mine.id and one.source_support != mine.source_support), None
        )
        if other is None or mine.source_support.object == other.id or other.source_support.object == mine.id:
            continue
        twin = other.model_copy(update={"name": mine.name, "category": mine.category, "source_box": mine.source_box})
        objects = [twin if one.id == other.id else one for one in facts.objects]
        changed = facts.model_copy(update={"objects": objects, "colours": []})
        name = Case(changed, SIDE, SIDE).name_of(mine)
        if " on the left" in name or " on the right" in name or not name:
            continue
        below = next((one.name for one in facts.objects if one.id == mine.source_support.object), "floor")
        assert name in [f"the {mine.name} {words}" for words in at(mine.source_support, f"the {below}")]
        told += 1
    assert told > 10


def test_captions_say_what_stands_on_what():
    said: Counter[str] = Counter()
    for facts in rooms(120):
        for state in ("source", "target"):
            nouns = [
                (noun_phrase(facts, one, one.category), one) for one in facts.objects if present(facts, one, state)
            ]
            text = caption(facts, state, np.random.default_rng(0))
            assert text.endswith(".") and "  " not in text and " it stand" not in text, text
            for clause in text.removesuffix(".").split("; "):
                match = re.match(
                    r"(.*) (?:stands?|lies?) (on top of|on|in|under) (?:the |an? )?(.*)$", clause, re.IGNORECASE
                )
                if match is None:
                    continue
                subjects, how, carrier = match.groups()
                carriers = [one.id for noun, one in nouns if noun == carrier]
                for noun, one in nouns:
                    alike = sum(noun == other for other, _ in nouns)
                    if re.search(rf"\b{re.escape(noun)}\b", subjects) and alike == 1:
                        support = support_of(one, state)
                        assert not carriers or support.object in carriers, text
                        assert {"in": "inside", "under": "under"}.get(how, support.kind) == support.kind, text
                        said[how] += 1
    assert said["on"] > 100 and said["in"] and said["under"], said


def test_captions_are_true_of_their_own_image_and_changed_ones_are_not():
    changed = caught = 0
    for facts in rooms(60):
        for state in ("source", "target"):
            text = caption(facts, state, np.random.default_rng(0))
            nouns = {
                one.id: noun_phrase(facts, one, bare(one.category))
                for one in facts.objects
                if present(facts, one, state)
            }
            assert list(false_caption(facts, text, state, nouns)) == [], text
            for words, others in ((" left of ", " right of "), (" in front of ", " behind "), (" on ", " under ")):
                if words in text:
                    changed += 1
                    caught += bool(list(false_caption(facts, text.replace(words, others), state, nouns)))
    assert caught > 0.9 * changed > 45


def test_the_facts_for_a_model_say_what_objects_stand_on():
    said = 0
    for facts in rooms(130, ("translate", "remove", "insert")):
        mine = next(one for one in facts.objects if one.id == facts.edit.object)
        lines = edit_facts(Case(facts, SIDE, SIDE))
        for state, words in (("source", "before the edit"), ("target", "after the edit")):
            support = support_of(mine, state)
            if support.kind == "floor" and mine.source_support != mine.target_support:
                assert f"- {words}, the {mine.category} stands on the floor" in lines, lines
                said += 1
        if riders(facts, mine.id, "source") and facts.edit.kind == "translate":
            assert "comes along" in lines or "stands on, in or under it" not in lines
    assert said > 10


def test_a_swap_has_sentences_of_its_own_in_rooms():
    texts = [text for facts in rooms(30, ("swap",)) for text in texts_of(facts)]
    assert any(re.fullmatch(r"Make the .* and the .* (?:switch|trade|swap) places\.", text) for text in texts)


def test_the_rooms_have_every_kind_of_support():
    kinds = {one.target_support.kind for facts in rooms(150) for one in facts.objects}
    assert kinds == {"", "floor", "top", "shelf", "inside", "under"}
    assert room(1, "translate") is room(1, "translate")
