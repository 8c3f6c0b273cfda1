"""Color words are compared with pixels."""

import numpy as np
import pytest

from spatialdata_builder.annotators.case import Case
from spatialdata_builder.annotators.verdict.check import check_text
from spatialdata_builder.annotators.verdict.colors import caption_clause, color_clause
from spatialdata_builder.shards.colors import PALETTE, to_oklab
from tests.annotators.factory import SIDE, random_facts


def case_of(kind: str = "remove", **colors: str) -> Case:
    """A pair whose objects have the categories and colors of `colors` (`mug="red"`), in both images."""
    facts = random_facts(0, kind)  # type: ignore[arg-type]
    while len(facts.objects) < len(colors):
        facts = random_facts(int(facts.objects[0].source_box[0]) + 1, kind)  # type: ignore[arg-type]
    things = [
        thing.model_copy(update={"id": k, "name": noun, "category": noun})
        for k, (thing, noun) in enumerate(zip(facts.objects, colors, strict=False), start=1)
    ]
    edit = facts.edit.model_copy(update={"object": 1})
    facts = facts.model_copy(update={"objects": things, "edit": edit, "colours": [""] * len(things)})
    lab = {k: to_oklab(np.array([PALETTE[color]] * 40) / 255) for k, color in enumerate(colors.values(), start=1)}
    return Case(facts, SIDE, SIDE, {(k, state): lab[k] for k in lab for state in ("source", "target")})


@pytest.mark.parametrize(
    "text",
    [
        "Remove the blue mug.",
        "Remove the light blue wooden mug.",
        "Get rid of that blue cup over there.",
        "Whisk the azure mug into thin air.",
        "Remove the mug that stands beside the green umbrella.",
    ],
)
def test_a_color_that_the_image_does_not_show_is_contradicted(text: str):
    case = case_of(mug="red", umbrella="yellow")
    assert color_clause(case, text) is not None
    assert "color" in {clause.name for clause in check_text(text, case).clauses}
    assert check_text(text, case).outcome == "contradicted"


@pytest.mark.parametrize(
    "text",
    [
        "Remove the mug.",
        "Remove the red mug.",
        "Remove the red mug beside the yellow umbrella.",
        "Remove the maroon mug.",
        "Remove the blue lamp.",
        "Remove the red wine glass.",
        "Remove the mug and the orange.",
    ],
)
def test_shown_or_undecidable_colors_are_not_contradicted(text: str):
    case = case_of(mug="red", umbrella="yellow")
    assert color_clause(case, text) is None


def test_without_pixels_nothing_is_contradicted():
    case = case_of(mug="red")
    assert color_clause(Case(case.facts, SIDE, SIDE), "Remove the blue mug.") is None


def test_an_object_too_small_to_measure_may_have_the_color():
    """A tiny red mug and a large blue cup: `the red mug` may be the mug."""
    case = case_of(mug="red", cup="blue")
    pixels = {key: lab for key, lab in case.pixels.items() if key[0] == 2}
    assert color_clause(Case(case.facts, SIDE, SIDE, pixels), "Remove the red mug.") is None
    gone = [thing.model_copy(update={"source_box": [0, 0, 0, 0]}) for thing in case.facts.objects if thing.id == 1]
    facts = case.facts.model_copy(update={"objects": [*gone, *(one for one in case.facts.objects if one.id != 1)]})
    assert color_clause(Case(facts, SIDE, SIDE, pixels), "Remove the red mug.") is not None


def test_captions_are_compared_with_their_own_image():
    case = case_of(mug="red")
    changed = {**case.pixels, (1, "target"): to_oklab(np.array([PALETTE["blue"]] * 40) / 255)}
    moved = Case(case.facts, SIDE, SIDE, changed)
    assert caption_clause(moved, "A scene with a red mug.", "source") is None
    assert caption_clause(moved, "A scene with a red mug.", "target") is not None


def test_an_inserted_object_is_compared_with_the_target():
    case = case_of("insert", mug="red")
    pixels = {(1, "target"): case.pixels[1, "target"]}
    assert color_clause(Case(case.facts, SIDE, SIDE, pixels), "Add a blue mug.") is not None
    assert color_clause(Case(case.facts, SIDE, SIDE, pixels), "Add a red mug.") is None


@pytest.mark.parametrize(
    "text",
    [
        "A view of an orange and a blue bowl: the orange in front of the bowl.",
        "An orange to the left of a bowl.",
        "The bowl is behind the orange, the bowl on the right.",
    ],
)
def test_an_orange_is_no_color_of_the_next_phrase(text: str):
    assert caption_clause(case_of(orange="orange", bowl="blue"), text, "source") is None
    assert caption_clause(case_of(orange="orange", bowl="blue"), "A view of an old orange bowl.", "source") is not None
