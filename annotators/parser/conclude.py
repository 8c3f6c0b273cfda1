"""Derive claims from what the clauses say (`reading.Reading`)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import ValidationError

from ...shards.schema import EditKind
from ..claims import Claims
from ..edits.registry import kind_of
from ..shots import Shot
from .lexicon import ARTICLE, NOT_OBJECTS
from .places import resolve
from .reading import PARTNER, Reading

_UNKNOWN_VERB: Final = re.compile(r"(?!the |an? |\w+ of )\w+(?: \w+)? (?:the|an?|its|their) ")
_CAMERA: Final = re.compile(r"(?:camera|viewpoint)(?:'s)?(?: (?:angle|position|view(?:point)?|height|pose)| [^a-z]*)*")
"""Names of the camera that takes the picture; `camera bag` is an object."""
_NO_NAME: Final = re.compile(
    r"\b(?:should|must|shall|would|could|will|is|are|was|were|be|been|has|have|had|do|does|did|it|they|them|i|you|we"
    r"|me|us|he|she|when|why|how|if|because|since|although|while|though|so|than|then|there|here|not|no|only|just|also"
    r"|too|very|please|now|currently|still|about|around|metres|degrees|percent|times|(?<!-)\d+(?:\.\d+)?(?!-)|gigantic"
    r"|huge|enormous|bigger|larger|smaller|taller)$|\b(?:and|or|but|to|needs?|wants|goes|takes|looks?)$|\b(?:should"
    r"|must|would|could|is|are|was|were|been|has|have|it|they|i|you|we|if|because|so|than|then|there|not|no|only|also"
    r"|please|now|currently|about|metres|degrees|percent|times|few)\b|\band (?:the|an?|my)\b"
    r"|(?<!\bwith)(?<!\bof)(?<!\bin)(?<!\bon)(?<!\blike)(?<!\bfor) an? |\b(?:room|space) for\b"
)
"""Words that no noun phrase contains, or that none ends with. A name in which they occur was misread."""
_PLACE_IN_NAME: Final = re.compile(
    r" (?=(?:on|in|at|over|along|above|around|across) (?:the|an?|its) (?!left\b|right\b))"
)

_INSTEAD: Final = re.compile(r" (?=for (?:the|an?) )")
"""`exchange the lamp for a vase` replaces it."""


@dataclass(frozen=True)
class Parsed:
    """Result of parsing an instruction."""

    claims: Claims | None
    """None if no edit was understood."""
    rest: tuple[str, ...] = ()
    """The words that were not understood."""
    uses_red_box: bool = False
    """Whether it asks for a move into the red box drawn on the source. Moves and changes of size share this wording."""
    amount: Literal["", "little", "much"] = ""
    """An amount without a number: `slightly`, `a bit`; `far`, `a lot`."""
    shot: Shot | None = None
    """The view of an object that a camera edit leads to, in the words of multi-angle LoRAs."""


def claims_of(fields: dict[str, Any], rest: Sequence[str]) -> Parsed:
    """Claims with these fields. No claims if a value is out of range (a rotation by 720 degrees)."""
    for name in ("object", "references", "support_object", "origin_object"):
        if name in fields:
            value = fields[name]
            plain = [text.replace("_", " ").strip() for text in ([value] if isinstance(value, str) else value)]
            fields[name] = plain[0] if isinstance(value, str) else plain
    try:
        return Parsed(Claims(**fields), tuple(rest))
    except ValidationError:
        return Parsed(None, tuple(rest) or ("values out of range",))


def conclude(reading: Reading) -> Parsed:
    """Derive the claims from what all clauses say."""
    name = _kind(reading)
    kind = kind_of(name) if name else None
    if not (reading.kind or reading.light) and (reading.without_article or _UNKNOWN_VERB.match(reading.object)):
        return Parsed(None, (reading.object, *reading.rest))
    if kind is None or (kind.objects and not reading.object) or (not kind.in_source and "more" in reading.signs):
        return Parsed(None, tuple(reading.rest))
    described = reading.object == "one" and any(place.described or place.in_name for place in reading.places)
    plain = re.sub(r"^(?:entire|whole|full) ", "", reading.object)
    if (not described and plain in NOT_OBJECTS) or _CAMERA.fullmatch(reading.object):
        return Parsed(None, (reading.object, *reading.rest))
    if "turn" in kind.claims and any(place.relation == "into" and place.ends for place in reading.places):
        return Parsed(None, ("into", *reading.rest))  # `turn the table into a bench`
    fields: dict[str, Any] = {"edit": kind.name, "object": reading.object}
    rest = list(reading.rest)
    found = resolve(
        [place for place in reading.places if not place.ignored and place.references],
        kind,
        reading.object,
        put=reading.kind != "translate",
        goes=bool(reading.directions or "part" in reading.values),
    )
    places = found.relations
    fields |= found.fields
    if "origin" in fields:
        rest = [words for words in rest if words not in ("out", "off", "up")]  # `pull out the box from under the bed`
    rest += found.rest
    rest += [] if places else [f"beyond {place.references}" for place in reading.places if place.relation == "beyond"]
    if places:
        place = places[-1]
        fields |= {"relation": place.relation, "references": place.references}
        if place.own_frame or reading.own_frame:
            fields["frame"] = "object"
    elif reading.own_frame:
        fields["frame"] = "object"
    directions = list(dict.fromkeys(reading.directions))[:2]
    if places and places[-1].relation in ("front", "behind"):
        # `in front of the sofa , closer to the camera` describes a place, not a direction.
        directions = [way for way in directions if way not in ("towards", "away")]
    if "directions" in kind.claims:
        fields["directions"] = directions
    elif "view" in kind.claims and directions in (["towards"], ["away"]):
        fields["view"] = "front" if directions == ["towards"] else "rear"
    ends = kind.places_objects and "part" in kind.claims
    ends = ends and not (places or found.fields or directions or "part" in reading.values)
    _place_on_side(reading, fields, ends)
    if kind.places_objects and fields.keys() <= {"edit", "object", "directions"} and not directions:
        # `put the picture on the wall`: where it ends is not understood, and is no part of its name.
        fields["object"], *more = _PLACE_IN_NAME.split(fields["object"], maxsplit=1)
        rest += [words for words in more if words]
    if kind.name == "swap":
        fields["object"], *more = _INSTEAD.split(fields["object"], maxsplit=1)
        rest += more
        if not PARTNER.search(fields["object"]):  # `swap chair and plant`
            fields["object"] = re.sub(r" (and|with) ", r" \1 the ", fields["object"], count=1)
    fields |= kind.named_objects(fields["object"])
    fields["object"] = ARTICLE.sub("", fields["object"])
    fields |= {name: value for name, value in reading.values.items() if name in kind.claims}
    rest += [name for name in ("turn", "degrees", "view") if name in reading.values and name not in kind.claims]
    if "riders" in reading.values:
        if kind.in_source and kind.objects:
            fields["riders"] = "along"
        else:
            rest.append("along with what it carries")
    if reading.below and "turn" in fields:
        fields["turn"] = "clockwise" if fields["turn"] == "counterclockwise" else "counterclockwise"
    if "size" in kind.claims:
        fields |= _size(reading)
    names = (fields["object"], fields.get("support_object", ""), fields.get("origin_object", ""))
    rest += [name for name in (*names, *fields.get("references", [])) if _NO_NAME.search(name)]
    return claims_of(fields, rest)


def _kind(reading: Reading) -> EditKind | Literal[""]:
    """The kind of edit; empty if neither a verb nor a phrase asks for one.

    The verb decides, except in the cases below, where a phrase is more specific.
    """
    signs = reading.signs
    if "gone" in signs and reading.kind in ("", "scale", "translate"):
        return "remove"
    if (reading.kind == "remove" and "size of" in signs) or "becomes" in signs:
        return "scale"  # `cut the size of the tower in half`, `turn it into a smaller one`
    match reading.kind:
        case "":
            return _kind_from_phrases(reading)
        case "place":
            leaves = any(place.sense in ("origin", "from") for place in reading.places)
            return "insert" if reading.new and not leaves else "translate"
        case "translate" if (reading.sizes or reading.size_sense) and not (reading.places or reading.directions):
            return "scale"  # `bring it down to half its size`
        case kind:
            return kind


def _kind_from_phrases(reading: Reading) -> EditKind | Literal[""]:
    """The kind of edit, by phrases alone (`make it larger`, `the mug on the left`)."""
    signs, values = reading.signs, reading.values
    if reading.light in ("take", "get") and (reading.directions == ["away"] or "out" in signs):
        return "remove"
    if "appears" in signs:
        return "insert"
    if reading.size_sense or reading.sizes:
        return "scale"
    if values.keys() & {"turn", "view", "degrees"} or "whirl" in signs:
        return "rotate"
    ends = [place for place in reading.places if not place.described and place.sense not in ("origin", "from")]
    if any(place.sense == "origin" and place.relation == "under" for place in reading.places):
        return "translate"  # `get the ball out from under the bed`
    if not (ends or reading.directions or "part" in values):
        return ""  # `take the mug off the desk` may remove it, or put it elsewhere
    return "insert" if reading.new and reading.light in ("", "i would like", "i need") else "translate"


def _place_on_side(reading: Reading, fields: dict[str, Any], is_end: bool) -> None:
    """Add `on the left`: where the object ends if `is_end`, else part of the name of a reference or the object."""
    for side, places in reading.onside:
        if is_end:
            fields["part"] = side
        elif places and fields.get("references"):
            fields["references"] = [*fields["references"][:-1], f"{fields['references'][-1]} on the {side}"]
        else:
            fields["object"] = f"{fields['object']} on the {side}"


def _size(reading: Reading) -> dict[str, Any]:
    """Sense and factor (new size over old) of a change of size: `to 80 percent` and `20 percent smaller` are 0.8."""
    sense = reading.size_sense or ("larger" if "up" in reading.signs else "smaller" if "down" in reading.signs else "")
    factor = 0.0
    for chunk in reading.sizes[:1]:
        value = float(chunk.value.split()[-1])
        by = chunk.value.startswith("by ")
        match chunk.kind:
            case "share":
                factor = value / 100
            case "more":
                factor = {"larger": 1 + value / 100, "smaller": 1 - value / 100}.get(sense, 0.0)
            case "times" if by and value < 1 and sense:
                factor = 1 + value if sense == "larger" else 1 - value
            case _:
                factor = 1 / value if sense == "smaller" and value > 1 else value
    if factor and not sense and factor != 1:
        sense = "larger" if factor > 1 else "smaller"
    return {"size": sense or "none", "factor": round(max(factor, 0.0), 6)}
