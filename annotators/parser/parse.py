"""Parse English instructions into claims by rules, without a model.

Invariant: a field is set only if a phrase of `annotators.parser.lexicon` says so, in a clause that requests something
(not in one that prohibits something). Words that were not understood are returned, so that callers can tell an
instruction that says nothing of a field from one that was not understood.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from ..claims import Claims
from ..edits.registry import kind_of
from ..shots import parse_shot
from . import camera
from .chunks import chunks, trim_noun_phrase
from .conclude import Parsed, claims_of, conclude
from .reading import Reading, read_clause
from .telegrams import complete
from .text import normalize, split
from .verbs import KIND_VERBS, LIGHT, PLACING

MAX_CHARACTERS: Final = 1000
"""Longest instruction, and longest name in it, that is parsed. Written instructions have up to 300 characters."""
_OPENERS: Final = "|".join((PLACING, LIGHT, camera.VERBS, KIND_VERBS))
"""What may open an instruction."""
_SIZE: Final = r"(?:size|dimensions?|scale|proportions|height and width|width and height)"
_POSSESSED_SIZE: Final = re.compile(rf"\b((?:the|a) (?:[\w-]+ ){{0,8}}?[\w-]+)'s (?:own |overall )?{_SIZE}\b")
_NO_EDIT: Final = re.compile(
    r"(?:please )?(?:(?:turn|switch) (?:(?:on|off) .*|(?:the|an?) [\w -]* (?:on|off))"
    r"|hide (?:the|an?) (?:[\w-]+ ){1,5}?(?:in|inside|under|underneath|beneath|below|behind) .*)$"
)
"""Switching a lamp on or off is no rotation. To hide something behind another object may move or remove it."""
_STATEMENT: Final = re.compile(
    r"(?:there (?:is|are)|(?:i|we) (?:can )?see) (?:an? |some |the |one )(.+)|no (.+)|((?:the|that|this|my|your"
    r"|our) (?:[\w-]+ ){1,6}?)(?:is misplaced|fell|rolled|slipped|(?:has|have|had) been|is|are|was|were|sits?|stands?"
    r"|stood|lies?) (?:currently |now |still |just |always )*(?:left |lying |standing |sitting |placed |hidden "
    r"|stored |kept |stuck )?((?:on|in|under|underneath|beneath|below|inside|atop) .+)|((?:the|that|this"
    r"|my) (?:[\w-]+ ){1,6}?)(?:is|are|looks?|seems?|feels?) (?:a bit |a little |way |far |much )?too \w+(?: (?:to|for"
    r"|from|behind|near) .*)?"
)
"""A clause about an object, before a request about `it`."""
_ABOUT_IT: Final = re.compile(
    rf"(?:please |now |just )*(?:(?:{_OPENERS}) (?:[\w-]+ ){{0,3}}?(?:it|them|its|their)|it|they)\b"
)
_MEANT: Final = re.compile(
    rf"\b(?:{_OPENERS}) the (camera|picture|image|photo|photograph|frame|screen|scene|view)"
    r"(?!'|-|\w| (?:angle|position|view|height|pose))",
    re.IGNORECASE,
)
"""An edit of something that is either an object of this name, or the camera or picture itself."""
_VIEWERS: Final = re.compile(r"\b(?:orbit|zoom|dolly|circle|viewpoint|around the scene)", re.IGNORECASE)
"""Phrases that can only mean the camera that takes the picture."""
_KEPT_ON: Final = re.compile(
    r"(?:but |and |while )*keep(?:ing)? (?:everything|whatever|all|the [\w -]+?)(?: that is)? (?:on|in) (?:it|top)\b"
)
"""A clause that says that what stands on the object stays on it."""
_LITTLE: Final = re.compile(r"\b(?:slightly|somewhat|a (?:little|bit|touch|tad))\b(?! (?:left|right) of (?:the )?cent)")
_FAR: Final = re.compile(r"\b(?:far|way) (?=(?:to the|over|out|away|back)\b)")
_MUCH: Final = re.compile(r"\b(?:a lot|much) (?=(?:to the|over|away|back|larger|bigger|smaller)\b)")
"""Amounts without a number."""
_RED_BOX: Final = re.compile(r" (?:in)?to the red box and (?:finally |then )?remove the red box")


def parse(text: str, names: Sequence[str] = ()) -> Parsed:
    """Parse one instruction, of any number of sentences. Never raises.

    Args:
        text: the instruction. Longer than `MAX_CHARACTERS`, it is returned as not understood.
        names: noun phrases that may occur in it. Their words have no other meaning (`knife stand`, `left mug`).
    """
    if len(text) > MAX_CHARACTERS:
        return Parsed(None, (f"{text[:80]}... is longer than an instruction",))
    names = [name for name in names if len(name) <= MAX_CHARACTERS]
    if (fields := camera.parse_bench(text)) is not None:
        return claims_of(fields, ())
    if (shot := parse_shot(text)) is not None:
        return Parsed(camera.NO_CLAIMS, shot=shot)
    known = {normalize(name) for name in names}
    named = _MEANT.sub(lambda found: f"{found[0]}_" if found[1].lower() in known else found[0], text)
    if named == text or "camera_" not in named.lower():
        return _parse(named, names)
    return _choose_camera(_parse(named, names), _parse(text, names), text)


def _choose_camera(object_edit: Parsed, camera_move: Parsed, text: str) -> Parsed:
    """Choose a reading if an object of the scene is a camera: not understood if both readings are possible."""
    no_camera_move = camera_move.rest or camera_move.claims == camera.NO_CLAIMS
    if object_edit.claims and not kind_of(object_edit.claims.edit).verbs_of_camera and no_camera_move:
        return object_edit
    return camera_move if _VIEWERS.search(text) else Parsed(None, (text,))


def _parse(text: str, names: Sequence[str]) -> Parsed:
    plain, red_boxes = _RED_BOX.subn("", normalize(text))
    plain = complete(_join_names(plain, names), _OPENERS)
    far = _FAR.search(plain) or _MUCH.search(plain)
    amount = "little" if _LITTLE.search(plain) else "much" if far else ""
    plain = _FAR.sub("", plain)
    plain = _POSSESSED_SIZE.sub(r"the size of \1", plain)
    clauses = split(plain, _OPENERS)
    if clauses.requested and clauses.prohibited and _first_noun_phrase(clauses.prohibited[0]).startswith("camera"):
        # `keep the camera level but swing it to the left`
        clauses.requested[0] = re.sub(r"^(\w+) it\b", r"\1 the camera", clauses.requested[0])
    if clauses.requested and any(camera.is_camera_clause(clause) for clause in clauses.requested):
        fields, rest = camera.read_clauses(clauses.requested)
        fields = {**camera.unchanged(clauses.prohibited), **fields}
        return claims_of(fields, rest)
    reading = Reading()
    for clause in clauses.prohibited:
        if _KEPT_ON.match(clause):
            reading.values["riders"] = "along"
        reading.mentioned = reading.mentioned or _first_noun_phrase(clause)
    for clause, after in pairwise([*clauses.requested, ""]):
        stated = _STATEMENT.fullmatch(clause)
        if stated and _ABOUT_IT.match(after):
            read_clause(reading, list(chunks("".join(group or "" for group in stated.groups()))))
            reading.describe()
        elif _NO_EDIT.match(clause):
            reading.rest.append(clause)
        else:
            read_clause(reading, list(chunks(clause)))
    parsed = conclude(reading)
    claims = parsed.claims
    if claims and claims.edit == "translate" and not (parsed.rest or red_boxes) and claims == _moved(claims):
        parsed = replace(parsed, rest=("where to",))
    return replace(parsed, uses_red_box=bool(red_boxes), amount=amount)


def _moved(claims: Claims) -> Claims:
    """The claims of a move of the same object that does not say where it ends."""
    return Claims(edit="translate", object=claims.object, riders=claims.riders, frame=claims.frame)


def _join_names(text: str, names: Sequence[str]) -> str:
    """Join the words of each name with underscores."""
    for name in sorted({normalize(name) for name in names}, key=lambda name: (-len(name), name)):
        if " " in name:
            text = re.sub(rf"(?<![\w'-]){re.escape(name)}(?![\w-])", name.replace(" ", "_"), text)
    return text


def _first_noun_phrase(clause: str) -> str:
    """The first noun phrase of a clause."""
    for chunk in chunks(clause):
        named = re.search(r"\b(?:the|an?|no more) (.+)", chunk.value) if chunk.kind == "words" else None
        if named:
            return re.sub(
                r" (?:in place|where|as|fixed|still|stays?|remains?|unchanged|alone)\b.*$",
                "",
                trim_noun_phrase(named[1]),
            )
    return ""
