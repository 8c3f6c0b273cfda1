"""Words of color in a text against the pixels of what they name.

Invariant: a word is contradicted only where every object that it may be said of shows another color, under the light of
that image, by the tolerance of `shards.colors.contradicted`.
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
from ..clauses.names import names_thing
from ..edits.registry import kind_of
from ..relations import StateName

_BETWEEN: Final = 3
"""Most words between a color and the noun that it is said of (`a blue old wooden chair`)."""


def color_clause(case: Case, text: str) -> Clause | None:
    """Contradicted where a text says a color of an object that has another in the source image (in the target image,
    where the edit puts the object into the scene); otherwise None."""
    edit = case.facts.edit
    new = () if kind_of(edit.kind).in_source else edit.edited
    things: list[tuple[SceneObject, StateName]] = [
        (thing, "target" if thing.id in new else "source") for thing in case.facts.objects
    ]
    return _clause(case, text, things)


def caption_clause(case: Case, text: str, state: StateName) -> Clause | None:
    """The same of a sentence on one of the images."""
    things: list[tuple[SceneObject, StateName]] = [(thing, state) for thing in case.facts.objects]
    return _clause(case, text, things)


def _clause(case: Case, text: str, things: Iterable[tuple[SceneObject, StateName]]) -> Clause | None:
    known: list[tuple[SceneObject, StateName]] = [
        (thing, state) for thing, state in things if (thing.id, state) in case.pixels
    ]
    for spoken in find_color_words(text):
        after = re.findall(r"[\w'-]+", text[spoken.end :].lower())
        named = [pair for pair in known if _says(after, pair[0])]
        if named and all(_false(case, spoken, *pair) for pair in named):
            said = text[spoken.start : spoken.end]
            return Clause("color", "contradicted", f"says {said} of the {named[0][0].category}, which looks otherwise")
    return None


def _says(after: list[str], thing: SceneObject) -> bool:
    """Whether the words behind a color name a thing, first or after a few more words of the same phrase."""
    phrase = list(takewhile(lambda word: word not in FUNCTION_WORDS, after[:_BETWEEN]))
    return any(names_thing(thing, after[skip:]) for skip in range(len(phrase) + 1))


def _false(case: Case, spoken: ColorRun, thing: SceneObject, state: StateName) -> bool:
    return len(spoken.colors) == 1 and contradicts(spoken.colors[0], case.pixels[thing.id, state])
