"""What people leave out or add around a request: whole sentences with the same claims."""

import pytest

from spatialdata_builder.annotators.claims import Claims
from spatialdata_builder.annotators.parser.parse import parse
from tests.annotators.parser.labeled import labeled, mistakes

ON_THE_DESK = Claims(edit="translate", object="mug", support="on", support_object="desk")
FROM_SHELF = ON_THE_DESK.model_copy(update={"origin": "on", "origin_object": "shelf"})


@pytest.mark.parametrize(
    "text",
    [
        "mug on desk",
        "Mug -> desk",
        "mug: desk",
        "Object: mug. Destination: desk.",
        "Task: put mug on desk",
        "the mug on the desk, not on the floor",
        "pls put mug on desk thx",
        "mug should go on desk",
        "need mug on desk",
        "On the desk with the mug!",
        "I was wondering whether you could maybe put the mug on the desk.",
        "If you would be so kind as to put the mug on the desk...",
        "Hello! Do me a favor and put the mug on the desk. Thanks a lot!",
        "I'd be happier with the mug on the desk.",
        "Let's see the mug on the desk.",
        "What I want is the mug on the desk.",
        "It's the mug that I want on the desk.",
        "The mug is supposed to be on the desk.",
        "It would look nicer if the mug stood on the desk.",
        "Put the vase, I mean the mug, on the desk.",
        "Put the mug on the chair, no wait, on the desk.",
        "Not the vase, the mug should go on the desk.",
        "Mind moving the mug onto the desk?",
        "Take care the mug ends up on the desk.",
    ],
)
def test_a_note_or_a_wrapped_request_is_a_request(text: str):
    parsed = parse(text)
    assert parsed.claims == ON_THE_DESK and parsed.rest == (), (text, parsed)


@pytest.mark.parametrize(
    "text",
    [
        "mug off shelf, onto desk",
        "Mug: from shelf to desk.",
        "mug: shelf to desk",
        "move mug from shelf to desk",
        "The mug was left on the shelf and needs to be put on the desk.",
        "Why is the mug on the shelf? Put it on the desk.",
        "From the shelf, take the mug and put it on the desk.",
        "Move the mug, the red one on the shelf, to the desk.",
        "The kid put the mug on the shelf. Put it on the desk.",
    ],
)
def test_notes_say_what_an_object_leaves(text: str):
    parsed = parse(text)
    assert parsed.claims == FROM_SHELF and parsed.rest == (), (text, parsed)


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("chair 20 cm right", Claims(edit="translate", object="chair", directions=["right"], metres=0.2)),
        ("vase twice as big", Claims(edit="scale", object="vase", size="larger", factor=2)),
        ("lamp 90 degrees ccw", Claims(edit="rotate", object="lamp", turn="counterclockwise", degrees=90)),
        ("sofa <-> armchair", Claims(edit="swap", object="sofa", references=["armchair"])),
        ("no vase on the shelf", Claims(edit="remove", object="vase", support="on", support_object="shelf")),
        ("a vase on the shelf", Claims(edit="insert", object="vase", support="on", support_object="shelf")),
        (
            "Shift the desk to the left; the lamp on it moves along.",
            Claims(edit="translate", object="desk", directions=["left"], riders="along"),
        ),
    ],
)
def test_notes_of_other_edits(text: str, claims: Claims):
    parsed = parse(text)
    assert parsed.claims == claims and parsed.rest == (), (text, parsed)


@pytest.mark.parametrize("text", ["lean broom against wall", "The lamp.", "lamp, desk", "nice lamp"])
def test_no_edit_is_guessed(text: str):
    parsed = parse(text)
    assert parsed.claims is None or parsed.rest, parsed


@pytest.mark.parametrize(
    "text",
    [
        "Move the mug and the plate onto the tray.",  # two objects
        "Slide the vase a hand's width to the right.",  # an amount that has no unit
        "Put the cup to the left of the pot, behind the jug.",  # two relations
        "Move the chair.",  # no place
    ],
)
def test_what_claims_cannot_say_stays_open(text: str):
    assert parse(text).rest


@pytest.mark.parametrize("wrap", ["Could you please {}?", "I was hoping you could {}.", "Hi! {}, thanks!"])
def test_a_polite_opening_changes_no_claim(wrap: str):
    rows = [row for row in labeled() if row.text.startswith(("Put", "Move", "Take", "Rotate", "Remove", "Add", "Make"))]
    rows = [row for row in rows if row.claims and row.text.count(".") == 1 and not mistakes(row)]
    assert len(rows) > 200
    wrong = [row.text for row in rows if parse(wrap.format(row.text[:-1])).claims != parse(row.text).claims]
    assert len(wrong) <= 0.01 * len(rows), wrong
