"""The time for a text of any shape grows at most linearly with its length."""

import time
from collections.abc import Callable

import pytest

from spatialdata_builder.annotators.clauses.names import parse_phrase
from spatialdata_builder.annotators.parser.parse import MAX_CHARACTERS, parse
from spatialdata_builder.annotators.parser.text import normalize, split
from spatialdata_builder.sources.objaverse.cache import plain_category
from spatialdata_builder.sources.survey.licenses import normalize_license

pytestmark = pytest.mark.slow

SHAPES = (
    *("a", "1", "1.", "1 ", "-", "_ ", "é", "(", "°", "\n", ". ", ", ", "and ", "the ", "the x ", "not ", "a-", "'s "),
    *("red ", "the mug's ", "move the mug ", "move the mug , ", "to the left of the mug ", "without moving the "),
    *("instead of ", "do not ", "by removing ", "no longer in front of the vase ", "twenty ", "keep it , ", "(a) "),
    *("camera rotation: yaw 3, pitch ", "zoom in ", "the camera ", "nearest to ", "that is , ", "one on the left "),
)


def seconds(call: Callable[[str], object], text: str) -> float:
    """CPU time of the fastest of three calls."""
    taken: list[float] = []
    for _ in range(3):
        began = time.process_time()
        call(text)
        taken.append(time.process_time() - began)
    return min(taken)


def _split(text: str) -> object:
    return split(text, "move|remove")


@pytest.mark.parametrize("call", [normalize, _split, parse_phrase, normalize_license])
@pytest.mark.parametrize("shape", SHAPES)
def test_time_grows_linearly(call: Callable[[str], object], shape: str):
    short, long = (seconds(call, (shape * length)[:length]) for length in (4_000, 16_000))
    assert long < 8 * max(short, 0.002)


@pytest.mark.parametrize("shape", SHAPES)
def test_parsing_is_fast_for_any_length(shape: str):
    longest = (shape * MAX_CHARACTERS)[:MAX_CHARACTERS]
    assert seconds(parse, longest) < 0.25
    assert seconds(lambda text: parse("Move the mug to the left.", ["mug", text]), longest) < 0.25
    assert seconds(parse, shape * 1_000_000) < 0.05
    assert seconds(lambda text: parse("Move the mug.", ["mug", text]), shape * 1_000_000) < 0.05


def test_a_text_that_is_too_long_is_not_understood():
    found = parse("Move the mug to the left. " * 100)
    assert found.claims is None and found.rest and len(found.rest[0]) < 200
    assert parse("Move the mug to the left. " * 20).claims is not None


@pytest.mark.parametrize("shape", ["(", "()", "_(", "a", " "])
def test_categories(shape: str):
    short, long = (seconds(plain_category, shape * length) for length in (20_000, 80_000))
    assert long < 8 * max(short, 0.002)
