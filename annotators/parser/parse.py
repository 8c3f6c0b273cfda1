"""English instructions as claims, by rules: no model, and no guess.

Invariant: a field is set only where a phrase of `annotators.parser.lexicon` says so, in a clause that asks for
something (not in what is ruled out). What was not understood is handed back, so that nobody takes silence for
agreement.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import ValidationError

from annotators.claims import Claims
from annotators.parser import camera
from annotators.parser.chunks import PRONOUNS, Chunk, chunks, trimmed
from annotators.parser.lexicon import (
    ARTICLE,
    EVERYTHING,
    FILLERS,
    HARMLESS,
    NEAREST,
    NEW,
    NO_NOUN,
    NOT_THINGS,
    SILENT,
    TAIL,
)
from annotators.parser.text import normalised, split
from annotators.parser.verbs import LIGHT, PLACING, SIZES, VERBS

_ALL_VERBS: Final = "|".join((PLACING, LIGHT, camera.VERBS, *(base for base, _ in VERBS.values())))
_POSSESSED_SIZE: Final = re.compile(r"\b((?:the|a) (?:[\w-]+ )*?[\w-]+)'s (?:own )?size\b")
_UNKNOWN_VERB: Final = re.compile(r"(?!the |an? )\w+(?: \w+)? (?:the|an?|its|their) ")
_ANOTHER: Final = re.compile(r" (?:so that|so|until|where)\b")
"""What opens a clause with a subject of its own."""
_PARTICLE: Final = re.compile(r"(back|forth|up|down|off|out|over|away|forward|forwards) (?:the|an?|its|one) ")
"""Of a verb that stands apart from it (`pull back the chair`)."""
_CLAUSE: Final = re.compile(r" and (?=(?!the |an? |its |their |another |some )\w+ (?:the|an?|its|their) )")
"""Behind it stands a verb that is not known here (`and fill the hole`), no second object."""
_PRONOUN_LAST: Final = re.compile(r" (?:it|they)$")
_OWN: Final = re.compile(r"\b(?:its|their|it|they)\b")
_OF_ITS_SUBJECT: Final = frozenset({"relation", "into", "own", "itself", "onside", "direction", "part", "view"})
_SWITCHED: Final = re.compile(r"(?:please )?(?:turn|switch) (?:(?:on|off) .*|(?:the|an?) [\w -]* (?:on|off))$")
"""A lamp that is switched turns nowhere."""
_RED_BOX: Final = re.compile(r" (?:in)?to the red box and (?:finally |then )?remove the red box")


@dataclass(frozen=True)
class Parsed:
    """`claims` is None where no edit was understood; `rest` holds the words that no rule takes."""

    claims: Claims | None
    rest: tuple[str, ...] = ()
    boxed: bool = False
    """Asks for a move into the red box that is drawn on the source: the wording of moves and of changes of size."""


@dataclass
class _Place:
    """One relation with what it refers to. `described`: it tells which object is meant, not where it shall end."""

    relation: str
    references: list[str]
    own: bool = False
    described: bool = False
    dropped: bool = False


@dataclass
class _Reading:
    """What the clauses read so far say."""

    kind: str = ""
    light: str = ""
    object: str = ""
    new: bool = False
    bare: bool = False
    """Whether the object was named without article: then it may be a verb that nobody knows here."""
    places: list[_Place] = field(default_factory=list[_Place])
    own: bool = False
    directions: list[str] = field(default_factory=list[str])
    onside: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    below: bool = False
    larger: str = ""
    sizes: list[Chunk] = field(default_factory=list[Chunk])
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    signs: set[str] = field(default_factory=set[str])
    mentioned: str = ""
    rest: list[str] = field(default_factory=list[str])


def parse(text: str, names: Sequence[str] = ()) -> Parsed:
    """Read one instruction, of any number of sentences. Never raises.

    Args:
        names: noun phrases that may occur in it, whose words are then nothing else (`knife stand`, `left mug`).
    """
    if (fields := camera.bench(text)) is not None:
        return _claims(fields, ())
    plain, boxes = _RED_BOX.subn("", normalised(text))
    plain = _joined(plain, names)
    plain = _POSSESSED_SIZE.sub(r"the size of \1", plain)
    parts = split(plain, _ALL_VERBS)
    if any("camera" in clause for clause in parts.refused):
        # `keep the camera level but swing it to the left`
        parts.asked[:] = [re.sub(r"^(\w+) it\b", r"\1 the camera", clause) for clause in parts.asked]
    if parts.asked and any(camera.of_camera(clause) for clause in parts.asked):
        fields, rest = camera.read(parts.asked)
        return _claims(fields, rest)
    reading = _Reading()
    for clause in parts.refused:
        reading.mentioned = reading.mentioned or _first_thing(clause)
    for clause in parts.asked:
        if _SWITCHED.match(clause):
            reading.rest.append(clause)
        else:
            _read(reading, list(chunks(clause)))
    return replace(_conclude(reading), boxed=bool(boxes))


def _joined(text: str, names: Sequence[str]) -> str:
    """The text with every name of several words as one word, joined by underscores."""
    for name in sorted({normalised(name) for name in names}, key=lambda name: (-len(name), name)):
        if " " in name:
            text = re.sub(rf"(?<![\w'-]){re.escape(name)}(?![\w-])", name.replace(" ", "_"), text)
    return text


def _claims(fields: dict[str, Any], rest: Sequence[str]) -> Parsed:
    for name in ("object", "references"):
        if name in fields:
            value = fields[name]
            plain = [text.replace("_", " ") for text in ([value] if isinstance(value, str) else value)]
            fields[name] = plain[0] if isinstance(value, str) else plain
    try:
        return Parsed(Claims(**fields), tuple(rest))
    except ValidationError:  # 720 degrees: said, but nothing that can be checked
        return Parsed(None, tuple(rest) or ("values out of range",))


def _first_thing(clause: str) -> str:
    """The first noun phrase of a clause."""
    for chunk in chunks(clause):
        named = re.search(r"\b(?:the|an?|no more) (.+)", chunk.value) if chunk.kind == "words" else None
        if named:
            return re.sub(r" (?:in place|where|as|fixed|still|unchanged|alone)\b.*$", "", trimmed(named[1]))
    return ""


def _read(reading: _Reading, found: list[Chunk]) -> None:
    """Take in one clause."""
    told = reading.places or reading.sizes or reading.larger or reading.values or reading.signs or reading.directions
    # `turn the mug's handle : rotate the mug`: the second says what the first means.
    again = found[0].value == reading.kind and [chunk.kind for chunk in found[:2]] == ["verb", "words"]
    if not told and (not reading.kind or (again and trimmed(found[1].value) not in PRONOUNS)):
        # What was named before anything was asked for (`take the mug and ...`) is meant by a pronoun at most.
        reading.mentioned, reading.object = reading.object or reading.mentioned, ""
    pending: _Place | None = None
    described = dropped = stranger = False
    for number, chunk in enumerate(found):
        match chunk.kind:
            case "verb":
                _take_verb(reading, chunk)
            case "words":
                thing, tail = _without_tail(chunk.value)
                opened = _ANOTHER.search(chunk.value)
                if opened and not reading.object and all(word in EVERYTHING | FILLERS for word in thing.split()):
                    thing, tail = trimmed(chunk.value[opened.end() :]), ""
                stranger = bool(opened and tail) and not _PRONOUN_LAST.search(chunk.value)
                reading.rest += [tail] if tail else []
                meaningless = all(word in FILLERS for word in thing.split()) and thing not in PRONOUNS
                if pending is not None and not meaningless:
                    pending.references += _references(reading, pending, thing)
                    pending = None
                elif dropped and not meaningless:
                    dropped = False
                elif not meaningless and not _continued(reading, chunk.value, thing):
                    another = _take_words(reading, chunk.value, thing)
                    stranger = stranger or (another and found[number - 1].kind != "open")
            case _ if (
                stranger and chunk.kind in _OF_ITS_SUBJECT and not (chunk.kind == "view" and _OWN.search(chunk.word))
            ):
                # `so that the table is behind it`: of the table, not of what is edited.
                reading.rest.append(chunk.word)
            case "relation" | "into" if pending is not None and pending.relation != "between":
                # `behind and slightly to the left of the lamp`: one of them can be held; the other stays open.
                reading.rest.append(chunk.word)
            case "relation" | "into" | "own":
                pending = _take_place(reading, chunk, described, dropped)
                described = dropped = False
            case "that":
                described = (
                    number > 0 and found[number - 1].kind == "words" and not chunk.word.startswith(("so ", "to "))
                )
            case "origin":
                dropped = True
            case "onside":
                if not described:
                    reading.onside.append((chunk.value, len(reading.places)))
                described = False
            case _:
                _take(reading, chunk)


def _without_tail(words: str) -> tuple[str, str]:
    """A noun phrase, and what stands behind it and is not understood."""
    found = TAIL.search(words)
    thing = trimmed(words[: found.start()] if found else words)
    tail = trimmed(found.group()) if found else ""
    return thing, "" if not tail or HARMLESS.fullmatch(found.group().strip() if found else "") else tail


def _continued(reading: _Reading, words: str, thing: str) -> bool:
    """Take `and the vase` as the second reference of `between the clock on the left and the vase`."""
    place = reading.places[-1] if reading.places else None
    if place is None or place.relation != "between" or len(place.references) != 1 or not words.startswith("and "):
        return False
    if reading.onside and reading.onside[-1][1] == len(reading.places):
        place.references = [f"{place.references[0]} on the {reading.onside.pop()[0]}"]
    place.references.append(thing)
    return True


def _take_verb(reading: _Reading, chunk: Chunk) -> None:
    if chunk.value == "light":
        reading.light = reading.light or chunk.word
        return
    if not reading.kind:
        reading.kind = chunk.value
    sense, factor = SIZES.get(chunk.word, SIZES.get(chunk.word.removesuffix("d"), ("", 0.0)))
    if not sense and chunk.word.endswith("ed"):
        sense, factor = SIZES.get(chunk.word.removesuffix("ed"), ("", 0.0))
    reading.larger = reading.larger or sense
    if factor:
        reading.sizes.append(Chunk("factor", f"{max(factor, 1 / factor)}"))


def _take_words(reading: _Reading, words: str, thing: str) -> bool:
    """Take words as what is edited; whether they name something else."""
    thing, more = _noun(thing)
    reading.rest += [more] if more else []
    if thing in PRONOUNS:
        reading.object = reading.object or reading.mentioned or ("it" if thing == "it" else "")
    elif not thing or thing == reading.object:
        return False
    elif not reading.object:
        reading.object = thing
        said = re.sub(r"^(?:, )*(?:(?:please|now|over|just|only|,) )*", "", words)
        reading.new = bool(NEW.match(said))
        reading.bare = not ARTICLE.match(said) and not said.startswith(("both ", "all "))
        reading.signs |= {"more"} if said.startswith("more ") else set()
    else:
        reading.rest.append(thing)
        return True
    return False


def _noun(thing: str) -> tuple[str, str]:
    """A noun phrase up to the first word that none holds, and the words from there that say something."""
    if particle := _PARTICLE.match(thing):
        return _noun(thing[particle.end() :])[0], particle[1]
    words = _CLAUSE.sub(r" | ", thing).split()
    ends = (at for at, word in enumerate(words) if at and (word in NO_NOUN or word in ",|"))
    end = len(words) if NEAREST.intersection(words) else next(ends, len(words))
    more = [word for word in words[end:] if word not in ",|"]
    more = more if any(word not in SILENT for word in more) else []
    return " ".join(words[:end]), " ".join(more)


def _references(reading: _Reading, place: _Place, thing: str) -> list[str]:
    if thing in PRONOUNS:
        earlier = [other.references for other in reading.places if other is not place and len(other.references) == 1]
        return earlier[-1] if earlier else [reading.mentioned or thing]
    if place.relation == "between":
        return [trimmed(part) for part in re.split(r",? and |, ", thing)][:2]
    thing, more = _noun(thing.split(" , ")[0])
    reading.rest += [more] if more else []
    return [thing]


def _take_place(reading: _Reading, chunk: Chunk, described: bool, dropped: bool) -> _Place | None:
    """Open a place; None where it brings its own reference along (`on the chair's left`)."""
    if chunk.kind == "own":
        side, _, owner = chunk.value.partition(" ")
        reading.places.append(_Place(side, [trimmed(owner)], True, described, dropped))
        return None
    place = _Place(chunk.value, [], False, described, dropped)
    reading.places.append(place)
    return place


def _take(reading: _Reading, chunk: Chunk) -> None:
    """Take in a phrase that needs no words after it."""
    match chunk.kind:
        case "direction":
            ways = {"top": "up", "bottom": "down"}
            reading.directions.append(ways.get(chunk.value, chunk.value))
        case "itself":
            if reading.places and reading.places[-1].dropped:
                # `from the right of the laptop to its left`
                reading.places.append(_Place(chunk.value, reading.places[-1].references, True))
            elif reading.places and reading.places[-1].references:
                reading.places[-1].relation, reading.places[-1].own = chunk.value, True
            else:
                reading.directions.append(chunk.value)
            reading.own = True
        case "viewer" if reading.places:
            reading.places[-1].own = False
        case "open":
            reading.rest.append(chunk.word)
        case "own frame":
            reading.own = True
        case "part":
            names = {"top": "upper", "bottom": "lower", "middle": "centre", "center": "centre"}
            reading.values["part"] = " ".join(names.get(word, word) for word in chunk.value.split())
        case "below":
            reading.below = True
        case "turn":
            reading.values["turn"] = chunk.value
        case "view":
            reading.values["view"] = _view(chunk.value)
        case "degrees" | "metres":
            reading.values[chunk.kind] = float(chunk.value)
        case "width":
            reading.values["widths"] = float(chunk.value)
        case "aux":
            pass
        case "becomes larger" | "becomes smaller":
            reading.larger = chunk.kind.removeprefix("becomes ")
            reading.signs.add("becomes")
        case "larger" | "smaller":
            reading.larger = reading.larger or chunk.kind
        case "grown":
            reading.signs.add("up" if chunk.value == "up" else "down")
        case "times" | "factor" | "share" | "more":
            reading.sizes.append(chunk)
        case _:
            reading.signs.add(chunk.kind)


def _view(words: str) -> str:
    """`rear left side` of `back left`; `front` and `rear` alone have no `side`."""
    parts = ["rear" if word == "back" else word for word in words.split() if word != "side"]
    return f"{' '.join(parts)} side" if parts[-1] in ("left", "right") else parts[-1]


def _conclude(reading: _Reading) -> Parsed:
    """The claims, from what all clauses said."""
    kind = _kind(reading)
    if not (reading.kind or reading.light) and (reading.bare or _UNKNOWN_VERB.match(reading.object)):
        return Parsed(None, (reading.object, *reading.rest))
    if not kind or (not reading.object and kind != "camera") or (kind == "insert" and "more" in reading.signs):
        return Parsed(None, tuple(reading.rest))
    if reading.object in NOT_THINGS or reading.object.partition(" ")[0] in ("camera", "viewpoint"):
        return Parsed(None, (reading.object, *reading.rest))
    fields: dict[str, Any] = {"edit": kind, "object": reading.object}
    rest = list(reading.rest)
    moves = kind in ("translate", "insert")
    places = [place for place in reading.places if not place.dropped and place.references]
    rest += [
        f"{place.relation} {' and '.join(place.references)}"
        for place in places
        if place.described and kind == "translate"
    ]
    if kind == "translate":
        places = [place for place in places if not place.described]
    if places:
        place = places[-1]
        fields |= {"relation": place.relation, "references": place.references}
        if place.own or reading.own:
            fields["frame"] = "object"
    elif reading.own:
        fields["frame"] = "object"
    directions = list(dict.fromkeys(reading.directions))[:2]
    if places and places[-1].relation in ("front", "behind"):
        # `in front of the sofa , closer to the camera` says where, not which way.
        directions = [way for way in directions if way not in ("towards", "away")]
    if kind == "translate":
        fields["directions"] = directions
    elif kind == "rotate" and directions in (["towards"], ["away"]):
        fields["view"] = "front" if directions == ["towards"] else "rear"
    _place_on_side(reading, fields, moves and not places and not directions and "part" not in reading.values)
    fields |= {name: value for name, value in reading.values.items() if _belongs(name, kind)}
    if reading.below and "turn" in fields:
        fields["turn"] = "clockwise" if fields["turn"] == "counterclockwise" else "counterclockwise"
    if kind == "scale":
        fields |= _size(reading)
    return _claims(fields, rest)


def _kind(reading: _Reading) -> str:
    """The kind of edit that the verb, or where it says nothing the phrases, ask for."""
    signs, values = reading.signs, reading.values
    if "gone" in signs and reading.kind in ("", "scale", "translate"):
        return "remove"
    if (reading.kind == "remove" and "size of" in signs) or "becomes" in signs:
        return "scale"  # `cut the size of the tower in half`, `turn it into a smaller one`
    if reading.kind == "place":
        return "insert" if reading.new else "translate"
    if reading.kind == "translate" and (reading.sizes or reading.larger) and not (reading.places or reading.directions):
        return "scale"  # `bring it down to half its size`
    if reading.kind:
        return reading.kind
    if reading.light in ("take", "get") and (reading.directions == ["away"] or "out" in signs):
        return "remove"
    if "appears" in signs:
        return "insert"
    if reading.larger or reading.sizes:
        return "scale"
    if values.keys() & {"turn", "view", "degrees"} or "whirl" in signs:
        return "rotate"
    if reading.places or reading.directions or "part" in values:
        return "insert" if reading.new and not reading.light else "translate"
    return ""


_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "part": ("translate", "insert", "remove"),
    "turn": ("rotate",),
    "view": ("rotate",),
    "degrees": ("rotate",),
    "metres": ("translate",),
    "widths": ("translate",),
}


def _belongs(name: str, kind: str) -> bool:
    return kind in _FIELDS[name]


def _place_on_side(reading: _Reading, fields: dict[str, Any], is_end: bool) -> None:
    """`on the left`: where it ends if nothing else says so, else it tells which object is meant."""
    for side, places in reading.onside:
        if is_end:
            fields["part"] = side
        elif places and fields.get("references"):
            fields["references"] = [*fields["references"][:-1], f"{fields['references'][-1]} on the {side}"]
        else:
            fields["object"] = f"{fields['object']} on the {side}"


def _size(reading: _Reading) -> dict[str, Any]:
    """Sense and factor of a change of size. Shares (`to 80 percent`) count from now, `20 percent smaller` is 0.8."""
    sense = reading.larger or ("larger" if "up" in reading.signs else "smaller" if "down" in reading.signs else "")
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
