"""Claims about supports, walls and riders are judged by the stored facts; the templates' texts agree."""

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from spatialdata_builder.annotators.case import Case
from spatialdata_builder.annotators.claims import Claims
from spatialdata_builder.annotators.supports import at, manner
from spatialdata_builder.annotators.templates import instructions
from spatialdata_builder.annotators.verdict.check import Verdict, check, check_text
from spatialdata_builder.shards.schema import FLOOR, PairFacts, SceneObject, SupportRef
from tests.annotators.factory import random_facts
from tests.annotators.oracle import footprint
from tests.annotators.planted import planted, twins
from tests.annotators.rooms import SIDE, on_shelf, rooms

SUPPORT_ERRORS = ("support", "shelf", "exchanged", "origin", "wall", "riders")


def outcome(verdict: Verdict, name: str) -> str:
    return next((clause.outcome for clause in verdict.clauses if clause.name == name), "")


def edited(facts: PairFacts) -> SceneObject:
    return next(one for one in facts.objects if one.id == facts.edit.object)


def claim(facts: PairFacts, **values: object) -> Claims:
    return Claims.model_validate({"edit": facts.edit.kind, "object": f"the {edited(facts).name}", **values})


def moves(count: int) -> Iterator[tuple[PairFacts, SceneObject, SupportRef]]:
    """Moves to another support, whose names are unique: facts, moved object, its support in the target."""
    for facts in rooms(count, ("translate",)):
        mine = edited(facts)
        names = Counter(one.name for one in facts.objects)
        before, after = mine.source_support, mine.target_support
        same = before.object == after.object and manner(before) == manner(after)
        if not same and max(names.values()) == 1:
            yield facts, mine, mine.target_support


def name_of(facts: PairFacts, id: int) -> str:
    return next((f"the {one.name}" for one in facts.objects if one.id == id), "the floor")


@pytest.mark.slow
def test_true_supports_agree_and_false_ones_are_contradicted():
    seen: Counter[str] = Counter()
    for facts, mine, support in moves(150):
        case, name, how = Case(facts, SIDE, SIDE), name_of(facts, support.object), manner(support)
        true = claim(facts, support=how, support_object=name)
        assert check(true, case).outcome == "agrees", (true, facts)
        assert check(claim(facts, support=how, support_object="the zeppelin"), case).outcome == "unchecked"
        seen["true"] += 1
        below = {support.object}
        while support.object and (id := _support(facts, support.object).object) and id not in below:
            below.add(id)
            support = _support(facts, id)
        for other in facts.objects:
            if other.id in {mine.id, *below} or not any(other.source_box):
                continue
            for word in ("on", "in", "under"):
                verdict = check(claim(facts, support=word, support_object=f"the {other.name}"), case)
                partly = footprint(mine, "target").intersects(footprint(other, "target"))
                assert verdict.outcome == "contradicted" or (word == "under" and partly), (word, other.name)
                seen["wrong object"] += verdict.outcome == "contradicted"
        for word in {"on", "in", "under"} - {how}:
            if mine.target_support.object:
                verdict = check(claim(facts, support=word, support_object=name), case)
                shelf = mine.target_support.kind == "shelf" and word == "in"
                assert verdict.outcome == ("unchecked" if shelf else "contradicted"), (word, name)
                seen["exchanged"] += 1
    assert min(seen.values()) > 30, seen


def _thing(facts: PairFacts, id: int) -> SceneObject:
    return next(one for one in facts.objects if one.id == id)


def _support(facts: PairFacts, id: int) -> SupportRef:
    return _thing(facts, id).target_support


@pytest.mark.slow
def test_origins():
    seen: Counter[str] = Counter()
    for facts, mine, _ in moves(100):
        case, origin = Case(facts, SIDE, SIDE), mine.source_support
        nouns = Counter(one.category.split()[-1] for one in facts.objects)
        seen_others = [one for one in facts.objects if any(one.source_box) and nouns[one.category.split()[-1]] == 1]
        for other in (None, *(one for one in seen_others if one.id != mine.id)):
            id, name = (other.id, f"the {other.name}") if other else (0, "the floor")
            found = outcome(check(claim(facts, origin=manner(origin), origin_object=name), case), "origin")
            if id == origin.object:
                assert found == "agrees"
            elif found != "contradicted":  # on something that stands there
                assert _support(facts, origin.object).object == id or origin.kind == "under"
            seen[found] += 1
    assert seen["agrees"] > 20 and seen["contradicted"] > 60, seen


@pytest.mark.slow
def test_what_an_object_leaves_tells_which_one_is_meant():
    """Two mugs, one on the table: `Move the mug from the table to ...` is clear, `Move the mug to ...` is not."""
    told = 0
    for facts, mine, support in moves(100):
        rival = next(
            (
                one
                for one in facts.objects
                if one.source_support.kind == "floor"
                and one.id not in (mine.id, support.object)
                and mine.source_support.object
                and one.category != _thing(facts, mine.source_support.object).category  # its name would not fit
            ),
            None,
        )
        if rival is None or not mine.source_support.object or rival.id == mine.source_support.object:
            continue
        if mine.name != mine.category:
            continue  # a word of size or place tells the two apart, or fits both
        twin = rival.model_copy(update={"name": mine.name, "category": mine.category})
        objects = [twin if one.id == rival.id else one for one in facts.objects]
        case = Case(facts.model_copy(update={"objects": objects, "colours": []}), SIDE, SIDE)
        name = name_of(facts, mine.source_support.object)
        how = manner(mine.source_support)
        assert outcome(check(claim(facts), case), "object") == "contradicted"
        assert outcome(check(claim(facts, origin=how, origin_object=name), case), "object") == "agrees"
        phrase = at(mine.source_support, name)[0]
        assert outcome(check(claim(facts, object=f"the {mine.name} {phrase}"), case), "object") == "agrees"
        assert outcome(check(claim(facts, object=f"the {mine.name} on the floor"), case), "object") == "contradicted"
        told += 1
    assert told > 3


def stacked(facts: PairFacts, source: SupportRef, target: SupportRef) -> PairFacts:
    objects = [
        one.model_copy(
            update={"source_support": source, "target_support": target}
            if one.id == facts.edit.object
            else {"source_support": FLOOR, "target_support": FLOOR}
        )
        for one in facts.objects
    ]
    return facts.model_copy(update={"objects": objects})


def test_a_place_on_the_support_that_it_had_before_says_nothing_by_itself():
    top = SupportRef(object=2, kind="top", shelf=0, shelves=0)
    facts = stacked(random_facts(0, "translate"), top, top)
    case, name = Case(facts, SIDE, SIDE), f"the {facts.objects[1].name}"
    assert outcome(check(claim(facts, support="on", support_object=name), case), "support") == "unchecked"
    more = claim(facts, support="on", support_object=name, metres=0.3)
    assert outcome(check(more, case), "support") == "agrees"


@pytest.mark.parametrize(
    ("shelf", "expected"),
    [
        ("top", "agrees"),
        ("upper", "agrees"),
        ("middle", "contradicted"),
        ("lower", "contradicted"),
        ("bottom", "contradicted"),
    ],
)
def test_shelves(shelf, expected):
    facts = stacked(random_facts(0, "translate"), FLOOR, SupportRef(object=2, kind="shelf", shelf=3, shelves=3))
    case, name = Case(facts, SIDE, SIDE), f"the {facts.objects[1].name}"
    verdict = check(claim(facts, support="on", support_object=name, shelf=shelf), case)
    assert outcome(verdict, "shelf") == expected and outcome(verdict, "support") == "agrees"
    assert outcome(check(claim(facts, support="on", shelf=shelf), case), "shelf") == expected


def test_the_blue_one_is_of_the_kind_of_the_object():
    some = (random_facts(seed, "translate") for seed in range(50))
    shown = next(
        one for one in some if len(one.objects) > 2 and all(any(thing.source_box) for thing in one.objects[:3])
    )
    facts = stacked(shown, FLOOR, SupportRef(object=2, kind="top", shelf=0, shelves=0))
    names = {1: "red book", 2: "blue book", 3: "green book"}
    objects = [
        one.model_copy(update={"name": names[one.id], "category": "book"}) for one in facts.objects if one.id in names
    ]
    facts = facts.model_copy(update={"objects": objects, "colours": ["red", "blue", "green"]})
    case = Case(facts, SIDE, SIDE)
    assert check(claim(facts, support="on", support_object="the blue one"), case).outcome == "agrees"
    assert check(claim(facts, support="on", support_object="the green one"), case).outcome == "contradicted"


def test_without_stored_supports_nothing_is_judged():
    facts = random_facts(0, "translate")
    case, name = Case(facts, SIDE, SIDE), f"the {facts.objects[1].name}"
    claims = claim(facts, support="on", support_object=name, origin="on", origin_object="the floor", riders="along")
    verdict = check(claims, case)
    assert [outcome(verdict, clause) for clause in ("support", "origin", "riders")] == ["unchecked"] * 3
    for relation, reference in (("against", "wall"), ("corner", "room")):
        assert outcome(check(claim(facts, relation=relation, references=[reference]), case), "relation") == "unchecked"


@pytest.mark.slow
def test_riders_come_along_or_the_claim_is_false():
    seen: Counter[bool] = Counter()
    for facts in rooms(60, ("translate", "rotate")):
        case = Case(facts, SIDE, SIDE)
        found = outcome(check(claim(facts, riders="along"), case), "riders")
        assert found == ("agrees" if case.riders else "contradicted")
        assert outcome(check(claim(facts), case), "riders") == ""  # a move may leave it unsaid
        seen[bool(case.riders)] += 1
        if case.riders:
            left = {
                one.id: one.model_copy(update={"target_support": FLOOR})
                for one in facts.objects
                if one.id in case.riders
            }
            objects = [left.get(one.id, one) for one in facts.objects]
            other = Case(facts.model_copy(update={"objects": objects}), SIDE, SIDE)
            assert outcome(check(claim(facts, riders="along"), other), "riders") == "contradicted"
    assert min(seen[True], seen[False]) > 3


@pytest.mark.slow
def test_walls_and_corners():
    seen: Counter[str] = Counter()
    for facts in rooms(400, ("insert",)):
        mine = edited(facts)
        low, high = np.array(footprint(mine, "target").bounds).reshape(2, 2)
        half = np.array(facts.room[:2]) / 2
        gaps = np.minimum(half - high, low + half)
        case = Case(facts, SIDE, SIDE)
        at_wall = outcome(check(claim(facts, relation="against", references=["the wall"]), case), "relation")
        in_corner = outcome(check(claim(facts, relation="corner", references=["the room"]), case), "relation")
        if mine.target_support.kind != "floor" or gaps.min() > 0.13:
            assert at_wall == "contradicted"
        if mine.target_support.kind != "floor" or gaps.max() > 0.61:
            assert in_corner == "contradicted"
        assert at_wall != "agrees" or gaps.min() <= 0.06
        assert in_corner != "agrees" or gaps.max() <= 0.3
        seen.update((f"wall {at_wall}", f"corner {in_corner}"))
    assert seen["wall agrees"] > 10 and seen["corner agrees"] > 3, seen


@pytest.mark.slow
def test_nothing_is_beside_what_it_stands_on():
    for facts, mine, support in moves(40):
        if support.object:
            for relation in ("left", "right", "front", "behind", "next"):
                claims = claim(facts, relation=relation, references=[name_of(facts, support.object)])
                assert outcome(check(claims, Case(facts, SIDE, SIDE)), "relation") != "agrees", mine.name


@pytest.mark.slow
def test_template_texts_of_rooms_agree():
    outcomes: Counter[str] = Counter()
    clauses: Counter[str] = Counter()
    for facts in rooms(250):
        for shown in (facts, twins(facts), on_shelf(facts, 2, 2)):
            if shown is None:
                continue
            case = Case(shown, SIDE, SIDE)
            texts = instructions(case, 12, np.random.default_rng(0))
            for text in () if isinstance(texts, str) else texts:
                verdict = check_text(text, case)
                assert verdict.outcome == "agrees", (text, [str(clause) for clause in verdict.clauses])
                outcomes[verdict.outcome] += 1
                clauses.update(clause.name for clause in verdict.clauses)
    print(outcomes, clauses)
    assert outcomes["agrees"] > 2500 and min(clauses[name] for name in ("support", "origin", "riders", "shelf")) > 5


@pytest.mark.slow
def test_planted_errors_about_supports_are_found():
    found: dict[str, Counter[str]] = {}
    for facts in rooms(200):
        for shown in (facts, twins(facts), *(on_shelf(facts, shelf, 3) for shelf in (1, 2, 3))):
            if shown is None:
                continue
            case = Case(shown, SIDE, SIDE)
            texts = instructions(case, 8, np.random.default_rng(0))
            for text in () if isinstance(texts, str) else texts:
                for kind, false in planted(shown, text):
                    if kind in SUPPORT_ERRORS:
                        two = kind == "support" and re.search(r"the (?:left|right) table", false)
                        name = "one of two supports" if two else kind
                        found.setdefault(name, Counter())[check_text(false, case).outcome] += 1
    print(found)
    assert set(found) == {*SUPPORT_ERRORS, "one of two supports"}
    for kind, outcomes in found.items():
        assert outcomes["agrees"] == 0 and outcomes["contradicted"] >= 0.98 * outcomes.total(), (kind, outcomes)
    total = sum(found.values(), Counter[str]())
    assert total["contradicted"] >= 0.99 * total.total() > 2000, total


def test_a_swap_names_the_supports_of_both_objects():
    seen: Counter[str] = Counter()
    for facts in rooms(40, ("swap",)):
        first, second = (next(one for one in facts.objects if one.id == id) for id in facts.edit.edited)
        names = Counter(one.name for one in facts.objects)
        here, there = first.source_support, second.source_support
        if max(names.values()) > 1 or {here.object, there.object} & set(facts.edit.edited):
            continue
        places = [f"{at(one, name_of(facts, one.object))[0]}" for one in (here, there)]
        for a, b in ((first, second), (second, first)):
            swapped = places if a is first else places[::-1]
            text = f"Swap the {a.name} {swapped[0]} and the {b.name} {swapped[1]}."
            assert check_text(text, Case(facts, SIDE, SIDE)).outcome == "agrees", text
            seen["true"] += 1
            if here.object != there.object and not re.search(r"\b(?:shelf|level) of\b", text):
                text = f"Swap the {a.name} {swapped[1]} and the {b.name} {swapped[0]}."
                verdict = check_text(text, Case(facts, SIDE, SIDE))
                below = {one.source_support.object for one in facts.objects if one.id in (here.object, there.object)}
                assert verdict.outcome == "contradicted" or below & {here.object, there.object} - {0}, text
                seen["exchanged"] += verdict.outcome == "contradicted"
    assert min(seen.values()) >= 5 and len(seen) == 2, seen
