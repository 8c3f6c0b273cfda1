"""English instructions as claims, by rules: no model, and no guess.

Invariant: a field is set only where a phrase of `annotators.parser.lexicon` says so, in a clause that asks for
something (not in what is ruled out). What was not understood is handed back, so that nobody takes silence for
agreement.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ..edits.registry import kind_of
from . import camera
from .chunks import chunks, trimmed
from .conclude import Parsed, claims_of, conclude
from .reading import Reading, take_clause
from .text import normalised, split
from .verbs import KIND_VERBS, LIGHT, PLACING

LONGEST: Final = 1000
"""Characters of an instruction that is read, and of a name in it; written ones have up to 300."""
_OPENERS: Final = "|".join((PLACING, LIGHT, camera.VERBS, KIND_VERBS))
"""What may open an instruction."""
_SIZE: Final = r"(?:size|dimensions?|scale|proportions|height and width|width and height)"
_POSSESSED_SIZE: Final = re.compile(rf"\b((?:the|a) (?:[\w-]+ ){{0,8}}?[\w-]+)'s (?:own |overall )?{_SIZE}\b")
_SWITCHED: Final = re.compile(r"(?:please )?(?:turn|switch) (?:(?:on|off) .*|(?:the|an?) [\w -]* (?:on|off))$")
"""A lamp that is switched turns nowhere."""
_MEANT: Final = re.compile(
    rf"\b(?:{_OPENERS}) the (camera|picture|image|photo|photograph|frame|screen|scene|view)"
    r"(?!'|-|\w| (?:angle|position|view|height|pose))",
    re.IGNORECASE,
)
"""What is edited, by a name that an object may bear and that else means what takes the picture, or the picture."""
_VIEWERS: Final = re.compile(r"\b(?:orbit|zoom|dolly|circle|viewpoint|around the scene)", re.IGNORECASE)
"""What is said of the camera that takes the picture alone."""
_LITTLE: Final = re.compile(r"\b(?:slightly|somewhat|a (?:little|bit|touch|tad))\b(?! (?:left|right) of (?:the )?cent)")
_FAR: Final = re.compile(r"\b(?:far|way) (?=(?:to the|over|out|away|back)\b)")
_MUCH: Final = re.compile(r"\b(?:a lot|much) (?=(?:to the|over|away|back|larger|bigger|smaller)\b)")
"""What is said of an amount without a number."""
_RED_BOX: Final = re.compile(r" (?:in)?to the red box and (?:finally |then )?remove the red box")


def parse(text: str, names: Sequence[str] = ()) -> Parsed:
    """Read one instruction, of any number of sentences. Never raises.

    Args:
        names: noun phrases that may occur in it, whose words are then nothing else (`knife stand`, `left mug`).
    """
    if len(text) > LONGEST:
        return Parsed(None, (f"{text[:80]}... is longer than an instruction",))
    names = [name for name in names if len(name) <= LONGEST]
    if (fields := camera.bench(text)) is not None:
        return claims_of(fields, ())
    known = {normalised(name) for name in names}
    named = _MEANT.sub(lambda found: f"{found[0]}_" if found[1].lower() in known else found[0], text)
    if named == text or "camera_" not in named.lower():
        return _parse(named, names)
    return _of_two_cameras(_parse(named, names), _parse(text, names), text)


def _of_two_cameras(thing: Parsed, viewer: Parsed, text: str) -> Parsed:
    """Where an object of the scene is a camera: open, unless only one of the two can be meant."""
    unsaid = viewer.rest or viewer.claims == camera.NOTHING
    if thing.claims and not kind_of(thing.claims.edit).verbs_of_camera and unsaid:
        return thing
    return viewer if _VIEWERS.search(text) else Parsed(None, (text,))


def _parse(text: str, names: Sequence[str]) -> Parsed:
    plain, boxes = _RED_BOX.subn("", normalised(text))
    plain = _joined(plain, names)
    far = _FAR.search(plain) or _MUCH.search(plain)
    amount = "little" if _LITTLE.search(plain) else "much" if far else ""
    plain = _FAR.sub("", plain)
    plain = _POSSESSED_SIZE.sub(r"the size of \1", plain)
    parts = split(plain, _OPENERS)
    if parts.asked and parts.refused and _first_thing(parts.refused[0]).startswith("camera"):
        # `keep the camera level but swing it to the left`
        parts.asked[0] = re.sub(r"^(\w+) it\b", r"\1 the camera", parts.asked[0])
    if parts.asked and any(camera.of_camera(clause) for clause in parts.asked):
        fields, rest = camera.read(parts.asked)
        fields = {**camera.unchanged(parts.refused), **fields}
        return claims_of(fields, rest)
    reading = Reading()
    for clause in parts.refused:
        reading.mentioned = reading.mentioned or _first_thing(clause)
    for clause in parts.asked:
        if _SWITCHED.match(clause):
            reading.rest.append(clause)
        else:
            take_clause(reading, list(chunks(clause)))
    return replace(conclude(reading), boxed=bool(boxes), amount=amount)


def _joined(text: str, names: Sequence[str]) -> str:
    """The text with every name of several words as one word, joined by underscores."""
    for name in sorted({normalised(name) for name in names}, key=lambda name: (-len(name), name)):
        if " " in name:
            text = re.sub(rf"(?<![\w'-]){re.escape(name)}(?![\w-])", name.replace(" ", "_"), text)
    return text


def _first_thing(clause: str) -> str:
    """The first noun phrase of a clause."""
    for chunk in chunks(clause):
        named = re.search(r"\b(?:the|an?|no more) (.+)", chunk.value) if chunk.kind == "words" else None
        if named:
            return re.sub(r" (?:in place|where|as|fixed|still|unchanged|alone)\b.*$", "", trimmed(named[1]))
    return ""
