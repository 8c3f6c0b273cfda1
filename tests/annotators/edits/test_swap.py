"""Sentences about a swap: true sentences agree; a wrong partner or another edit is contradicted."""

from collections.abc import Iterator

import numpy as np
import pytest

from spatialdata_builder.annotators.case import Case
from spatialdata_builder.annotators.checks import edit_error
from spatialdata_builder.annotators.edits.registry import kind_of
from spatialdata_builder.annotators.grounding import edit_facts
from spatialdata_builder.annotators.parser.parse import parse
from spatialdata_builder.annotators.templates import instructions
from spatialdata_builder.annotators.verdict.check import check_text
from spatialdata_builder.shards.schema import SceneObject
from tests.annotators.factory import SIDE, random_facts


def cases(least: int = 2) -> Iterator[Case]:
    """Pairs with at least this many objects."""
    for seed in range(40):
        facts = random_facts(seed, "swap")
        if len(facts.objects) >= least:
            yield Case(facts, SIDE, SIDE)


@pytest.mark.slow
def test_sentences_of_the_templates_agree_in_every_clause():
    orders: set[bool] = set()
    for case in cases():
        texts = instructions(case, 12, np.random.default_rng(0))
        assert len(texts) == 13 and not isinstance(texts, str)
        one, other = (case.name_of(thing) for thing in case.edited_objects)
        for text in texts:
            verdict = check_text(text, case)
            assert verdict.outcome == "agrees" and {"kind", "object", "partner"} <= {c.name for c in verdict.clauses}, (
                text
            )
            assert one in text and other in text
            orders.add(text.index(one) < text.index(other))
        assert {text.split()[0] for text in texts} == {"Swap", "Exchange", "Switch"}
    assert orders == {True, False}


@pytest.mark.slow
def test_a_wrong_partner_is_contradicted():
    tried = 0
    for case in cases(least=3):
        third = next(thing for thing in case.facts.objects if thing.id not in case.facts.edit.edited)
        for one in case.edited_objects:
            for order in ((one, third), (third, one)):
                text = "Swap {} and {}.".format(*(case.name_of(thing) for thing in order))
                assert check_text(text, case).outcome == "contradicted", text
                tried += 1
    assert tried > 60


def test_one_object_twice_is_no_swap():
    for case in cases():
        name = case.name_of(case.edited)
        assert check_text(f"Swap {name} and {name}.", case).outcome == "contradicted"


def test_another_edit_is_contradicted():
    for case in cases():
        assert check_text(f"Remove {case.name_of(case.edited)}.", case).outcome == "contradicted"
    for seed in range(20):
        case = Case(random_facts(seed, "rotate"), SIDE, SIDE)
        names = [case.name_of(thing) for thing in case.facts.objects[:2]]
        assert check_text("Swap {} and {}.".format(*names), case).outcome == "contradicted"


@pytest.mark.parametrize(
    ("text", "object", "partner"),
    [
        ("Swap the vase and the lamp.", "vase", "lamp"),
        ("Swap the vase with the lamp.", "vase", "lamp"),
        ("Please exchange the places of the left mug and the red lamp.", "left mug", "red lamp"),
        ("Switch the positions of the coffee table and the vase.", "coffee table", "vase"),
        ("Swap the lamp and the mug on the left.", "lamp", "mug on the left"),
    ],
)
def test_the_parser_reads_both_names(text: str, object: str, partner: str):
    claims = parse(text, ["coffee table"]).claims
    assert claims is not None
    assert (claims.edit, claims.object, claims.references) == ("swap", object, [partner])


def test_a_lamp_that_is_switched_on_is_not_swapped():
    assert parse("Switch on the lamp.").claims is None
    assert parse("Switch the lamp on.").claims is None


def test_the_side_of_an_object_is_named_last():
    """Otherwise it could be read as the side of both."""
    case = next(cases(least=3))
    edited, twin = case.edited, next(thing for thing in case.facts.objects if thing.id == 3)

    def at(thing: SceneObject, x: int) -> SceneObject:
        return thing.model_copy(update={"name": "mug", "category": "mug", "source_box": [x, 5, x + 9, 20]})

    changed = {edited.id: at(edited, 5), twin.id: at(twin, 60)}
    objects = [changed.get(thing.id, thing) for thing in case.facts.objects]
    case = Case(case.facts.model_copy(update={"objects": objects, "colours": []}), SIDE, SIDE)
    texts = instructions(case, 12, np.random.default_rng(0))
    assert len(texts) == 13 and not isinstance(texts, str)
    for text in texts:
        assert text.endswith("the mug on the left.")
        assert check_text(text, case).outcome == "agrees", text


def test_the_facts_name_both_objects():
    for case in cases():
        lines = edit_facts(case)
        assert all(case.name_of(thing) in lines for thing in case.edited_objects)
        assert kind_of("swap").summary in lines


def test_both_objects_must_move_as_the_edit_says():
    for case in cases():
        facts = case.facts
        assert edit_error(facts) <= 1
        for id in facts.edit.edited:
            stays = [
                thing.model_copy(update={"target_pose": thing.source_pose}) if thing.id == id else thing
                for thing in facts.objects
            ]
            assert edit_error(facts.model_copy(update={"objects": stays})) > 1
