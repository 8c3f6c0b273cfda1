"""Stored supports: chains, claims about them, and phrases."""

import pytest

from spatialdata_builder.annotators.clauses.stands import judge_shelf, judge_support
from spatialdata_builder.annotators.supports import (
    at,
    is_vague,
    manner,
    off,
    onto,
    riders,
    shelf_word,
    supports_known,
    towards,
)
from spatialdata_builder.shards.schema import FLOOR, NO_SUPPORT, PairFacts, SupportRef
from tests.annotators.factory import random_facts


def on(object: int, kind: str = "top", shelf: int = 0, shelves: int = 0) -> SupportRef:
    return SupportRef.model_validate({"object": object, "kind": kind, "shelf": shelf, "shelves": shelves})


def standing(*supports: SupportRef) -> PairFacts:
    """Objects 1, 2, ... on these supports in both states."""
    facts = random_facts(0, "translate")
    things = [
        facts.objects[0].model_copy(update={"id": id, "source_support": support, "target_support": support})
        for id, support in enumerate(supports, 1)
    ]
    return facts.model_copy(update={"objects": things})


# An apple in a bowl on a table, a ball under it, and a lamp that is absent.
SCENE = standing(on(2, "inside"), on(3), FLOOR, on(3, "under"), NO_SUPPORT)


def test_open_scenes_know_no_supports():
    assert not supports_known(random_facts(0)) and supports_known(SCENE)
    assert supports_known(PairFacts.model_validate_json(SCENE.model_dump_json()))
    assert not supports_known(PairFacts.model_validate_json(random_facts(0).model_dump_json()))


def test_riders_are_those_of_riders_too():
    assert riders(SCENE, 3, "source") == [1, 2, 4] and riders(SCENE, 2, "target") == [1]
    assert riders(SCENE, 1, "source") == riders(SCENE, 5, "source") == []
    loop = standing(on(2), on(1))
    assert riders(loop, 1, "source") == [2]


@pytest.mark.parametrize(
    ("id", "how", "other", "expected"),
    [
        (1, "in", 2, "agrees"),
        (1, "on", 2, "contradicted"),
        (1, "under", 2, "contradicted"),
        (1, "on", 3, "unchecked"),  # in a bowl that is on the table
        (1, "under", 3, "contradicted"),
        (1, "on", 0, "contradicted"),
        (2, "on", 3, "agrees"),
        (2, "in", 3, "contradicted"),
        (2, "on", 4, "contradicted"),
        (3, "on", 0, "agrees"),
        (3, "on", 2, "contradicted"),
        (4, "under", 3, "agrees"),
        (4, "on", 3, "contradicted"),
        (4, "on", 0, "unchecked"),  # it is on the floor as well
        (5, "on", 3, "unchecked"),
        (3, "on", 3, "contradicted"),
    ],
)
def test_claims_about_supports(id, how, other, expected):
    for state in ("source", "target"):
        thing = next(one for one in SCENE.objects if one.id == id)
        assert judge_support(SCENE, thing, state, how, other) == expected


def test_in_a_bookcase_and_on_its_shelf_are_the_same():
    facts = standing(on(2, "shelf", 1, 2), FLOOR)
    outcomes = [judge_support(facts, facts.objects[0], "source", how, 2) for how in ("on", "in", "under")]
    assert outcomes == ["agrees", "unchecked", "contradicted"]


def test_shelves():
    for shelves in (1, 2, 3, 4):
        for shelf in range(1, shelves + 1):
            support = on(9, "shelf", shelf, shelves)
            word = shelf_word(support)
            assert is_vague(support) == (shelves == 4 and shelf in (2, 3))
            assert bool(word) == (shelves > 1 and not is_vague(support))
            agreeing = [one for one in ("top", "middle", "bottom") if judge_shelf(support, one) == "agrees"]
            assert not word or agreeing == [word]
            assert (judge_shelf(support, "top") == "contradicted") == (shelf < shelves)
            assert (judge_shelf(support, "upper") == "agrees") == (shelf > (shelves + 1) / 2)
            assert (judge_shelf(support, "lower") == "agrees") == (shelf < (shelves + 1) / 2)
    assert judge_shelf(on(9), "bottom") == "contradicted" and judge_shelf(on(9), "top") == "unchecked"


@pytest.mark.parametrize(
    ("support", "name", "noun", "where", "whereto", "whence"),
    [
        (on(1), "the desk", "the desk", "on, on top of", "to, onto", "off, from"),
        (on(1), "the crate", "the crate", "on, on top of", "onto", "off"),  # `from the crate` is out of it
        (on(1), "the bookcase", "the bookcase", "on top of", "on top of", "from"),
        (on(1), "the sofa", "the sofa", "on", "to, onto", "off, from"),
        (on(1, "soft"), "the bed", "the bed", "on", "to, onto", "off, from"),
        (on(1), "the left table", "the left table", "on, on top of", "onto", "off"),
        (on(1, "inside"), "the bowl", "the bowl", "in, inside", "into", "out of"),
        (on(1, "under"), "the bed", "the bed", *["under, underneath, beneath"] * 2, "out from under, from under"),
        (on(1, "shelf", 3, 3), "the rack", "the top shelf of the rack", "on", "to, onto", "off, from"),
        (on(1, "shelf", 3, 3), "the shelf", "the top level of the shelf", "on", "to, onto", "off, from"),
        (on(1, "shelf", 1, 1), "the shelf", "the shelf", "on", "to, onto", "off, from"),
        (on(1, "shelf", 1, 1), "the table", "the shelf of the table", "on", "to, onto", "off, from"),
        (FLOOR, "the floor", "the floor", "on", "to, onto", "off, from"),
    ],
)
def test_phrases(support, name, noun, where, whereto, whence):
    for phrases, words in ((at, where), (towards, whereto), (off, whence)):
        assert phrases(support, name) == [f"{word} {noun}" for word in words.split(", ")]
    assert set(at(support, name)) <= set(onto(support, name))
    assert at(support, name)[0].split()[0] == manner(support)


def test_one_of_many_shelves_is_left_open():
    inner = on(1, "shelf", 2, 4)
    assert at(inner, "the blue shelf") == ["on a level of the blue shelf"]
    assert at(inner, "the rack") == ["on a shelf of the rack"] and off(inner, "the rack") == ["from the rack"]
