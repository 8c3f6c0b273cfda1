"""Views of one object in the words of multi-angle LoRAs: `front-left quarter view`, `low-angle shot`, `close-up`.

A sentence with these words states the view of the target, and nothing about the source. Left and right are the
object's own, as in the names of canonical views, and the sentence says so: the public vocabularies mean those of a
viewer who looks at the front (`shards.interop.angles`).

Formulas: the side is judged like that of a rotation (`annotators.clauses.fronts.side_clause`). Elevation and distance
follow from the camera and the object's box (`shards.views`) and are compared with those that the words mean: 10 degrees
and a ratio of 1.15 agree, twice as much is contradicted.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Final, TypeVar

from ..shards.schema import PairFacts
from ..shards.views import FRAMING_SLACK, FRAMINGS, HEIGHT_SLACK, HEIGHTS, Framing, Height, ObjectView, orbit_views
from .case import Case
from .claims import CanonicalView
from .clauses.clause import Clause, number_clause
from .clauses.fronts import side_clause, side_of_view
from .clauses.names import object_clause
from .phrases import is_plural

_SIDES: Final[dict[str, CanonicalView]] = {
    "front view": "front",
    "front-left quarter view": "front left side",
    "left side view": "left side",
    "back-left quarter view": "rear left side",
    "back view": "rear",
    "back-right quarter view": "rear right side",
    "right side view": "right side",
    "front-right quarter view": "front right side",
}
"""Words -> canonical view, with the object's own left and right."""
_PHRASES: Final = {side: words for words, side in _SIDES.items()}
_FRAMING_PHRASES: Final[dict[Framing, str]] = {"close-up": "close-up", "medium": "medium shot", "wide": "wide shot"}
Word = TypeVar("Word", Height, Framing)
_TEXT: Final = re.compile(
    r"(?:please )?(?:show|view|see|photograph|capture|present) (?P<object>(?:the|an?) [\w' -]+?) (?:in|from|as) an? "
    rf"(?P<side>{'|'.join(_SIDES)})(?: \((?:its|their) own (?P<own>left|right)\))?"
    rf"(?:, (?P<height>{'|'.join(HEIGHTS)}) (?:shot|view))?"
    r"(?:, (?:an? )?(?P<framing>close-up|medium|wide)(?: shot)?)?\.?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Shot:
    """What a sentence says of the view of the target."""

    object: str
    """Noun phrase, as said."""
    side: CanonicalView
    """`none` where it does not say whose left or right it means."""
    height: Height | None = None
    framing: Framing | None = None


def sentence_of(case: Case) -> str:
    """The view of the target in these words; empty if it has no words, or if the pair does not go around one object."""
    view = _target(case.facts)
    if view is None or view.height is None or view.framing is None:
        return ""
    side, name = side_of_view(case.facts.edit.view), case.name_of(case.facts.objects[0])
    if side not in _PHRASES or not name:
        return ""
    words = _PHRASES[side]
    own = next(
        (f" ({'their' if is_plural(name) else 'its'} own {way})" for way in ("left", "right") if way in words), ""
    )
    return f"Show {name} in a {words}{own}, {view.height} shot, {_FRAMING_PHRASES[view.framing]}."


def parse_shot(text: str) -> Shot | None:
    """What a sentence in these words says; None for any other text."""
    found = _TEXT.fullmatch(" ".join(text.split()))
    if not found:
        return None
    words, own = found["side"].lower(), (found["own"] or "").lower()
    if own and own not in words:
        return None
    side = _SIDES[words]
    height = _word(HEIGHTS, found["height"])
    framing = _word(FRAMINGS, found["framing"])
    return Shot(found["object"].lower(), side if own or side in ("front", "rear") else "none", height, framing)


def _word(words: Mapping[Word, float], said: str | None) -> Word | None:
    return next((word for word in words if word == (said or "").lower()), None)


def shot_clauses(shot: Shot, case: Case, fronts: Mapping[int, float]) -> Iterator[Clause]:
    """Judge what a sentence says of the view of the target of a camera edit.

    Args:
        fronts: where the front of an object faces, by id: degrees about z from +x of its own frame.
    """
    view = _target(case.facts)
    if view is None:
        yield Clause("view", "unchecked", "the camera does not go around one object")
        return
    thing = case.facts.objects[0]
    yield object_clause(case, shot.object, thing)
    if shot.side == "none":
        yield Clause("view", "unchecked", "does not say whose left and right it means")
    else:
        yield side_clause(shot.side, case.facts, thing, fronts)
    if shot.height:
        off = abs(HEIGHTS[shot.height] - view.elevation_deg)
        detail = f"says {shot.height}, is at {view.elevation_deg:.0f} deg"
        yield number_clause("elevation", off, HEIGHT_SLACK, detail)
    if shot.framing:
        off = abs(log(view.distance / FRAMINGS[shot.framing]))
        detail = f"says {shot.framing}, is off by a factor of {exp(off):.2f}"
        yield number_clause("framing", off, log(FRAMING_SLACK), detail)


def _target(facts: PairFacts) -> ObjectView | None:
    views = orbit_views(facts.edit, facts.objects, facts.camera)
    return views[1] if views else None
