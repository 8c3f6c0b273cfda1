"""Votes on fronts: a front is found if the votes agree on all sheets, and none otherwise."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from spatialdata_builder.annotators.orientation import (
    PANELS,
    STARTS,
    SheetAnswer,
    VlmOrientation,
    draw_sheet,
    sheet_order,
    vote,
)
from spatialdata_builder.annotators.vlm.client import Request
from spatialdata_builder.pipeline.store.fingerprints import fingerprint
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.sample import Reject, Row
from tests.annotators.portraits import COLORS, SIDE, Observer, panels_of, portraits, view_of

AZIMUTHS = tuple(range(0, 360, 45))
STAGE = VlmOrientation(backend="openai", base_url="http://nowhere.invalid", colours=COLORS, answer_attempts=2)


def orientation_of(result: Row | Reject) -> dict[str, object]:
    assert isinstance(result, Row), result
    return json.loads(str(result.columns["orientation"]))


def answer(front: str, rear: str, name: str = "chair", **changes: object) -> SheetAnswer:
    values = {"name": name, "colour": "red", "material": "wood", "evidence": "x", "distinguishable": True}
    return SheetAnswer.model_validate(values | {"front": front, "rear": rear} | changes)


def test_every_sheet_has_the_same_circular_order():
    for turn in range(8):
        order = sheet_order(AZIMUTHS, turn)
        assert sorted(order) == list(AZIMUTHS)
        assert all((after - before) % 360 == 45 for before, after in zip(order, order[1:] + order[:1], strict=True))
    assert sheet_order(AZIMUTHS, 0) == list(AZIMUTHS)


def test_the_panels_of_a_sheet_are_its_views_in_their_order():
    rng = np.random.default_rng(0)
    views = [np.full((SIDE, SIDE, 3), rng.integers(30, 220, 3), np.uint8) for _ in range(8)]
    for view, panel in zip(views, panels_of(draw_sheet(views)), strict=True):
        assert np.abs(panel[20:-2, 20:-2].astype(int) - view[20:-2, 20:-2]).max() < 8  # JPEG
        assert panel[:16, :16].min() < 60 < 180 < panel[:16, :16].max()  # its letter
        assert (view == view[0, 0]).all()  # the caller's picture is unchanged


@pytest.mark.parametrize("count", range(2, 9))
def test_a_fixed_letter_names_another_direction_on_every_sheet(count: int):
    for letter in range(8):
        named = [sheet_order(AZIMUTHS, turn)[letter] for turn in range(count)]
        assert len(set(named)) == count
        if count <= 3:
            assert all(abs((a - b + 180) % 360 - 180) >= 90 for a, b in combinations(named, 2))


def test_an_observer_finds_every_front():
    observer = Observer()
    results = STAGE(observer, [portraits(f"asset-{front}", front) for front in AZIMUTHS])
    for front, result in zip(AZIMUTHS, results, strict=True):
        found = orientation_of(result)
        assert found["front_deg"] == front and found["votes"] == [front] * 3
        assert (found["name"], found["colour"], found["material"]) == ("office chair", "red", "plastic")
        assert (found["distinguishable"], found["model"], found["revision"]) == (True, "observer", "r1")
        assert result.counts == {"answers_asked": 3}
    assert len(observer.asked) == 24 and len({request.images[0] for request in observer.asked}) == 24


def test_no_front_differs_from_an_unknown_front():
    symmetric, biased_result = (
        STAGE(Observer(), [portraits("ball", None)])[0],
        STAGE(biased("A"), [portraits("chair", 90)])[0],
    )
    assert (orientation_of(symmetric)["front_deg"], orientation_of(symmetric)["distinguishable"]) == (None, False)
    assert (orientation_of(biased_result)["front_deg"], orientation_of(biased_result)["distinguishable"]) == (
        None,
        True,
    )
    assert orientation_of(symmetric)["name"] == "office chair"


def biased(letter: str) -> Observer:
    """A model that answers by the position in the sheet."""
    opposite = PANELS[(PANELS.index(letter) + 4) % 8]
    return Observer(lambda answer, request, seed: answer | {"front": letter, "rear": opposite})


@pytest.mark.parametrize("letter", PANELS)
def test_a_model_that_ignores_the_pictures_gives_no_front(letter: str):
    fronts = [
        orientation_of(result)["front_deg"] for result in STAGE(biased(letter), [portraits("a", f) for f in AZIMUTHS])
    ]
    assert fronts == [None] * 8


def test_one_wrong_sheet_prevents_a_front_unless_a_majority_suffices():
    def err(answer: dict[str, object], request: Request, seed: int) -> dict[str, object]:
        return answer | {"front": answer["rear"], "rear": answer["front"]} if request.key.endswith("-1") else answer

    strict = orientation_of(STAGE(Observer(err), [portraits("a", 45)])[0])
    assert strict["front_deg"] is None and strict["votes"] == [45, 225, 45]
    assert orientation_of(replace(STAGE, agree=2)(Observer(err), [portraits("a", 45)])[0])["front_deg"] == 45


def test_an_answer_that_contradicts_itself_is_no_vote():
    orders = [sheet_order(AZIMUTHS, turn) for turn in range(3)]
    assert vote([answer("A", "E"), None, answer("none", "none")], orders, 3, ())["votes"] == [0, -1, -1]
    assert vote([answer("A", "D")], orders[:1], 1, ())["front_deg"] == 0  # to within one step
    for rear in ("A", "B", "C", "G", "none"):
        assert vote([answer("A", rear)], orders[:1], 1, ())["front_deg"] is None
    mixed = [answer("A", "E"), answer("none", "none", distinguishable=False)]
    assert vote([*mixed, mixed[1]], orders, 1, ())["distinguishable"] is False


@pytest.mark.parametrize(
    ("names", "agreed"),
    [
        (["office chair", "office chair", "stool"], "office chair"),
        (["office chair", "desk chair", "swivel chair"], "chair"),
        (["office chair", "stool", "bench"], ""),
        (["A red chair", "chair", "the  Red Chair!"], "chair"),
        (["red", "red", "mug"], "red"),
        (["none", "unknown", "mug"], ""),
        (["light bulb", "light bulb", "light bulb"], "light bulb"),
    ],
)
def test_a_name_is_what_most_answers_have_in_common(names: list[str], agreed: str):
    answers = [answer("A", "E", name) for name in names]
    assert vote(answers, [AZIMUTHS] * 3, 3, ("red", "light grey"))["name"] == agreed


def test_a_color_is_one_of_the_given_words():
    answers = [answer("A", "E", colour="mauve")] * 3
    assert vote(answers, [AZIMUTHS] * 3, 3, COLORS)["colour"] == ""
    assert vote(answers, [AZIMUTHS] * 3, 3, (*COLORS, "mauve"))["colour"] == "mauve"


def test_malformed_answers_are_asked_again_and_then_rejected():
    def broken(answer: dict[str, object], request: Request, seed: int) -> str:
        return '{"name": "chair"'

    result = STAGE(Observer(broken), [portraits("a", 0)])[0]
    assert isinstance(result, Reject) and result.reason == "malformed_answer"
    assert result.counts == {"answers_asked": 6, "answers_retried": 3}

    def shy(answer: dict[str, object], request: Request, seed: int) -> dict[str, object] | str:
        return answer | {"front": "Z"} if seed == 0 and request.key.endswith("-2") else answer

    again = STAGE(Observer(shy), [portraits("a", 0)])[0]
    assert orientation_of(again)["front_deg"] == 0 and again.counts == {"answers_asked": 4, "answers_retried": 1}


def test_a_sheet_without_an_answer_is_an_abstention():
    def silent(answer: dict[str, object], request: Request, seed: int) -> dict[str, object] | str:
        return "no idea" if request.key.endswith("-0") else answer

    found = orientation_of(STAGE(Observer(silent), [portraits("a", 90)])[0])
    assert found["votes"] == [-1, 90, 90] and found["front_deg"] is None and found["name"] == "office chair"


def test_answers_are_asked_for_only_once(tmp_path: Path):
    stage = replace(STAGE, answers=str(tmp_path / "answers"))
    first, second = Observer(), Observer()
    samples = [portraits("a", 0), portraits("b", 135)]
    before = stage(first, samples[:1])
    after = stage(second, samples)
    assert len(first.asked) == 3 and [request.key for request in second.asked] == [f"b-sheet-{i}" for i in range(3)]
    assert before[0].columns == after[0].columns and after[0].counts == {"answers_cached": 3}


def test_an_unreadable_portrait_rejects_only_its_asset():
    damaged = portraits("a", 0)
    damaged.layers["portraits"]["view_045"] = b"RIFFxxxx"
    bad, good = STAGE(Observer(), [damaged, portraits("b", 180)])
    assert isinstance(bad, Reject) and bad.reason == "unreadable_portrait"
    assert orientation_of(good)["front_deg"] == 180


def test_the_schema_and_the_form_accept_the_same_answers():
    observer = Observer()
    STAGE(observer, [portraits("a", 0)])
    request = observer.asked[0]
    check = jsonschema.Draft202012Validator(request.schema)
    good = {"name": "Office Chair", "colour": "none", "material": "", "evidence": "A seat.", "distinguishable": True}
    good |= {"front": "A", "rear": "none"}
    assert check.is_valid(good) and SheetAnswer.model_validate(good).colour == ""
    for wrong in ({"front": "I"}, {"colour": "mauve"}, {"evidence": ""}, {"name": "x" * 41}, {"name": "<b>"}, {"x": 1}):
        assert not check.is_valid(good | wrong)
    assert list(request.schema["required"]) == list(good)
    assert all(color in request.text for color in COLORS) and "$" not in request.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"votes": 0}, r"orient\.votes is 0: give 1 to 8"),
        ({"votes": 9}, r"orient\.votes is 9"),
        ({"agree": 1}, r"orient\.agree is 1: give 0 \(all\), or more than half of the 3"),
        ({"agree": 4}, r"orient\.agree is 4"),
        ({"prompt": "v99"}, r"no prompt 'orientation_system_v99'"),
    ],
)
def test_invalid_options_are_reported(options: dict[str, object], message: str):
    with pytest.raises(BadInput, match=message):
        VlmOrientation(backend="openai", base_url="http://x", **options)


def test_the_fingerprint_covers_what_determines_the_answers():
    needs = {"portraits": "x"}
    same = replace(STAGE, batch_size=1, base_url="http://other", answers="/elsewhere")
    assert fingerprint(same, needs) == fingerprint(STAGE, needs)
    assert len({fingerprint(replace(STAGE, **change), needs) for change in ({}, {"votes": 5}, {"model": "m"})}) == 3
    assert len(STARTS) == 8 and view_of(0, 0)[-1, -1, 0] > 200
