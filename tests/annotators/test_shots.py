"""Sentences in the words of multi-angle LoRAs: true ones agree, planted errors are contradicted."""

from itertools import product

import pytest

from spatialdata_builder.annotators.case import Case
from spatialdata_builder.annotators.shots import parse_shot, sentence_of
from spatialdata_builder.annotators.templates import generator, instructions
from spatialdata_builder.annotators.verdict.check import check_text
from tests.shards.orbits import HEIGHT, NAMES, WIDTH, Place, facts_between

FIRST = (0, 0, 1.0)
SIDES = {
    0: "front view",
    45: "front-left quarter view (its own left)",
    90: "left side view (its own left)",
    135: "back-left quarter view (its own left)",
    180: "back view",
    -135: "back-right quarter view (its own right)",
    -90: "right side view (its own right)",
    -45: "front-right quarter view (its own right)",
}
HEIGHTS = {-30: "low-angle shot", 0: "eye-level shot", 30: "elevated shot", 60: "high-angle shot"}
FRAMINGS = {0.6: "close-up", 1.0: "medium shot", 1.8: "wide shot"}


def case_of(target: Place, source: Place = FIRST, front: bool = True, name: str = "mug") -> Case:
    return Case(facts_between(source, target, front, name), WIDTH, HEIGHT)


def text(azimuth: int, elevation: int, distance: float) -> str:
    return f"Show the mug in a {SIDES[azimuth]}, {HEIGHTS[elevation]}, {FRAMINGS[distance]}."


@pytest.mark.parametrize("place", list(product(NAMES, HEIGHTS, FRAMINGS)))
def test_the_template_says_the_view_and_the_check_agrees(place: tuple[int, int, float]):
    case = case_of(place)
    assert sentence_of(case) == text(*place)
    verdict = check_text(text(*place), case)
    assert verdict.outcome == "agrees", verdict
    assert {clause.name for clause in verdict.clauses} == {"kind", "object", "view", "elevation", "framing"}


@pytest.mark.parametrize("azimuth", NAMES)
@pytest.mark.parametrize("front", [True, False])
def test_a_wrong_word_is_contradicted(azimuth: int, front: bool):
    place = (azimuth, 30, 1.0)
    facts = facts_between(FIRST, place)
    if not front:  # the view is not named, but the front is known
        facts = facts.model_copy(update={"edit": facts.edit.model_copy(update={"view": ""})})
    case = Case(facts, WIDTH, HEIGHT)
    for other in SIDES:
        off = abs((other - azimuth + 180) % 360 - 180)
        outcome = check_text(text(other, 30, 1.0), case).outcome
        if front or off != 45:  # the limit, where only the front is known
            assert outcome == ("agrees" if off == 0 else "contradicted")
    for other in HEIGHTS:
        assert check_text(text(azimuth, other, 1.0), case).outcome == ("agrees" if other == 30 else "contradicted")
    for other in FRAMINGS:
        assert check_text(text(azimuth, 30, other), case).outcome == ("agrees" if other == 1 else "contradicted")


def test_left_and_right_must_be_said_to_be_the_object_s_own():
    case = case_of((45, 0, 1.0))
    unclear = "Show the mug in a front-left quarter view, eye-level shot, medium shot."
    assert check_text(unclear, case).outcome == "unchecked"
    assert parse_shot("Show the mug in a front-left quarter view (its own right), eye-level shot.") is None
    assert check_text("Show the mug in a front-right quarter view (its own right).", case).outcome == "contradicted"
    assert check_text("Show the mug in a back view.", case).outcome == "contradicted"


def test_a_camera_edit_is_no_other_edit_and_of_no_other_object():
    facts = facts_between(FIRST, (45, 0, 1.0))
    turned = facts.model_copy(update={"edit": facts.edit.model_copy(update={"kind": "rotate", "object": 1})})
    assert check_text(text(45, 0, 1.0), Case(turned, WIDTH, HEIGHT)).outcome == "contradicted"


def test_there_is_no_sentence_without_a_front_or_between_the_words():
    assert sentence_of(case_of((45, 30, 1.0), front=False)) == ""
    assert sentence_of(case_of((30, 30, 1.0))) == ""
    assert sentence_of(case_of((45, 45, 1.0))) == ""
    assert sentence_of(case_of((45, 30, 1.3))) == ""
    assert sentence_of(case_of((45, 30, 1.0), name="scissors")).startswith(
        "Show the scissors in a front-left quarter view (their own left), elevated"
    )


@pytest.mark.parametrize("target", [(90, 0, 1.0), (90, -30, 0.6), (0, 60, 1.0), (0, 0, 1.8)])
def test_all_variants_of_a_grid_are_true_and_the_last_has_these_words(target: tuple[int, int, float]):
    case = case_of(target)
    texts = instructions(case, 4, generator("key"))
    assert not isinstance(texts, str)
    assert texts[-1] == text(*target) and len(texts) == 5
    assert {check_text(one, case).outcome for one in texts} == {"agrees"}


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (60, 30, "looks down less steeply"),
        (30, 60, "looks down more steeply"),
        (-30, -60, "looks up more steeply"),
        (-60, -30, "looks up less steeply"),
        (0, 30, ""),
        (-30, 30, ""),
    ],
)
def test_a_camera_that_looks_up_is_not_said_to_look_down(source: float, target: float, said: str):
    case = case_of((0, target, 1.0), (0, source, 1.0))
    texts = instructions(case, 40, generator("key"))
    looks = {one[one.index("looks") :].rstrip(".") for one in texts if "looks" in one}
    assert looks == ({said} if said else set())
    assert {check_text(one, case).outcome for one in texts} == {"agrees"}
