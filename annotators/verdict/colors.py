"""Compare the color words of a text with the pixels of the objects that they describe.

Invariant: a color word is contradicted only if every object that it may describe shows another color, under the light
of that image, by the tolerance of `shards.colors.contradicts`. An object that is in the image but too small to measure
may have any color.
"""

import re
from collections.abc import Iterable
from itertools import takewhile
from typing import Final

from ...shards.color_words import FUNCTION_WORDS, ColorRun, find_color_words
from ...shards.colors import contradicts
from ...shards.schema import SceneObject
from ..case import Case
from ..clauses.clause import Clause
from ..clauses.names import names_object
from ..edits.registry import kind_of
from ..relations import StateName

_MAX_WORDS_BETWEEN: Final = 3
"""Most words between a color and its noun (`a blue old wooden chair`)."""


def color_clause(case: Case, text: str) -> Clause | None:
    """A contradicted clause if a text gives an object a color that it does not have; else None.

    Colors are those of the source image, and of the target image for inserted objects.
    """
    edit = case.facts.edit
    new = () if kind_of(edit.kind).in_source else edit.edited
    things: list[tuple[SceneObject, StateName]] = [
        (thing, "target" if thing.id in new else "source") for thing in case.facts.objects
    ]
    return _contradicted_clause(case, text, things)


def caption_clause(case: Case, text: str, state: StateName) -> Clause | None:
    """Like `color_clause`, for a text that describes one of the two images."""
    things: list[tuple[SceneObject, StateName]] = [(thing, state) for thing in case.facts.objects]
    return _contradicted_clause(case, text, things)


def _contradicted_clause(case: Case, text: str, things: Iterable[tuple[SceneObject, StateName]]) -> Clause | None:
    shown: list[tuple[SceneObject, StateName]] = [
        (thing, state)
        for thing, state in things
        if (thing.id, state) in case.pixels or any(thing.source_box if state == "source" else thing.target_box)
    ]
    for color_word in find_color_words(text):
        after = re.findall(r"[\w'-]+", text[color_word.end :].lower())
        named = [pair for pair in shown if _describes(after, pair[0])]
        if named and all(_contradicts(case, color_word, *pair) for pair in named):
            color = text[color_word.start : color_word.end]
            return Clause("color", "contradicted", f"says {color} of the {named[0][0].category}, which looks otherwise")
    return None


def _describes(after: list[str], thing: SceneObject) -> bool:
    """Whether the words after a color name an object, at once or after a few words of the same phrase."""
    phrase = list(takewhile(lambda word: word not in FUNCTION_WORDS, after[:_MAX_WORDS_BETWEEN]))
    return any(names_object(thing, after[skip:]) for skip in range(len(phrase) + 1))


def _contradicts(case: Case, color_word: ColorRun, thing: SceneObject, state: StateName) -> bool:
    pixels = case.pixels.get((thing.id, state))
    return pixels is not None and len(color_word.colors) == 1 and contradicts(color_word.colors[0], pixels)
