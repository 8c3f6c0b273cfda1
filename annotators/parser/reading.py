"""What the clauses of an instruction say, phrase by phrase: read in order, before anything is made of it.

Invariant: what is said of another subject than the edited object (`so that the table is behind it`), and words that no
rule takes, go to `Reading.rest`.
"""

import re
from dataclasses import dataclass, field
from math import hypot
from typing import Any, Final, Literal, cast

from ...shards.schema import EditKind
from .chunks import PRONOUNS, Chunk, trimmed
from .lexicon import (
    ARTICLE,
    EVERYTHING,
    FILLERS,
    HARMLESS,
    NEAREST,
    NEW,
    NO_NOUN,
    SILENT,
    TAIL,
)
from .verbs import SIZES, VerbKind

_ANOTHER: Final = re.compile(r" (?:so that|so|until|where)\b")
"""What opens a clause with a subject of its own."""
_PARTICLE: Final = re.compile(r"(back|forth|up|down|off|out|over|away|forward|forwards) (?:the|an?|its|one) ")
"""Of a verb that stands apart from it (`pull back the chair`)."""
_CLAUSE: Final = re.compile(r" and (?=(?!the |an? |its |their |another |some )\w+ (?:the|an?|its|their) )")
"""Behind it stands a verb that is not known here (`and fill the hole`), no second object."""
_LYING: Final = re.compile(r"(?:on|in|by|over) (?:the|an?) [\w -]+")
"""Where a thing is, in no relation of ours: part of its name (`the clock hanging on the wall`)."""
_PRONOUN_LAST: Final = re.compile(r" (?:it|they)$")
_OWN: Final = re.compile(r"\b(?:its|their|it|they)\b")
_OF_ITS_SUBJECT: Final = frozenset({"relation", "into", "own", "itself", "onside", "direction", "part", "view"})


@dataclass
class Place:
    """One relation with what it refers to. `described`: it tells which object is meant, not where it shall end."""

    relation: str
    references: list[str]
    own: bool = False
    described: bool = False
    dropped: bool = False


@dataclass
class Reading:
    """What the clauses read so far say."""

    kind: EditKind | Literal["", "place"] = ""
    """What the verb asks for; `place`: a move or an insertion."""
    light: str = ""
    """The first verb that asks for nothing without what follows."""
    object: str = ""
    new: bool = False
    bare: bool = False
    """Whether the object was named without article: then it may be a verb that nobody knows here."""
    places: list[Place] = field(default_factory=list[Place])
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


def take_clause(reading: Reading, found: list[Chunk]) -> None:
    """Take in one clause."""
    told = reading.places or reading.sizes or reading.larger or reading.values or reading.signs or reading.directions
    # `turn the mug's handle : rotate the mug`: the second says what the first means.
    again = found[0].value == reading.kind and [chunk.kind for chunk in found[:2]] == ["verb", "words"]
    if not told and (not reading.kind or (again and trimmed(found[1].value) not in PRONOUNS)):
        # What was named before anything was asked for (`take the mug and ...`) is meant by a pronoun at most.
        reading.mentioned, reading.object = reading.object or reading.mentioned, ""
    pending: Place | None = None
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
                before = found[number - 1] if number else None
                named = before is not None and before.kind == "open" and reading.object.endswith(f" {before.word}")
                meaningless = all(word in FILLERS for word in thing.split()) and thing not in PRONOUNS
                if described and reading.object and (said := _LYING.match(chunk.value)):
                    reading.object += f" {found[number - 1].word} {said[0].strip()}"
                    described = False
                elif named:
                    reading.object += f" {chunk.value.partition(' , ')[0]}"
                elif pending is not None and not meaningless:
                    pending.references += _references(reading, pending, thing)
                    if not reading.object and pending.relation != "between" and " , " in thing:
                        # `insert , to the right of the stove , a copper kettle`
                        late = thing.partition(" , ")[2]
                        _take_words(reading, late, trimmed(late))
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
            case "open" if described and reading.object:
                reading.object += f" {found[number - 1].word} {chunk.word}"
            case "origin":
                dropped = True
            case "beyond":
                # Of which side that is, nothing is said; what follows may (`, that is , to its right`).
                pending = _take_place(reading, chunk, False, True)
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


def _continued(reading: Reading, words: str, thing: str) -> bool:
    """Take `and the vase` as the second reference of `between the clock on the left and the vase`."""
    place = reading.places[-1] if reading.places else None
    if place is None or place.relation != "between" or len(place.references) != 1 or not words.startswith("and "):
        return False
    if reading.onside and reading.onside[-1][1] == len(reading.places):
        place.references = [f"{place.references[0]} on the {reading.onside.pop()[0]}"]
    place.references.append(thing)
    return True


def _take_verb(reading: Reading, chunk: Chunk) -> None:
    kind = cast("VerbKind", chunk.value)
    if kind == "light":
        reading.light = reading.light or chunk.word
        return
    reading.kind = reading.kind or kind
    sense, factor = SIZES.get(chunk.word, SIZES.get(chunk.word.removesuffix("d"), ("", 0.0)))
    if not sense and chunk.word.endswith("ed"):
        sense, factor = SIZES.get(chunk.word.removesuffix("ed"), ("", 0.0))
    reading.larger = reading.larger or sense
    if factor:
        reading.sizes.append(Chunk("factor", f"{max(factor, 1 / factor)}"))


def _take_words(reading: Reading, words: str, thing: str) -> bool:
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


def _references(reading: Reading, place: Place, thing: str) -> list[str]:
    if thing in PRONOUNS:
        earlier = [other.references for other in reading.places if other is not place and len(other.references) == 1]
        return earlier[-1] if earlier else [reading.mentioned or thing]
    if place.relation == "between":
        return [trimmed(part) for part in re.split(r",? and |, ", thing)][:2]
    thing, more = _noun(thing.split(" , ")[0])
    reading.rest += [more] if more else []
    return [thing]


def _take_place(reading: Reading, chunk: Chunk, described: bool, dropped: bool) -> Place | None:
    """Open a place; None where it brings its own reference along (`on the chair's left`)."""
    if chunk.kind == "own":
        side, _, owner = chunk.value.partition(" ")
        reading.places.append(Place(side, [trimmed(owner)], True, described, dropped))
        return None
    place = Place(chunk.value, [], False, described, dropped)
    reading.places.append(place)
    return place


def _take(reading: Reading, chunk: Chunk) -> None:
    """Take in a phrase that needs no words after it."""
    match chunk.kind:
        case "direction":
            ways = {"top": "up", "bottom": "down"}
            reading.directions.append(ways.get(chunk.value, chunk.value))
        case "itself":
            if reading.places and reading.places[-1].dropped:
                # `from the right of the laptop to its left`
                reading.places.append(Place(chunk.value, reading.places[-1].references, True))
            elif reading.places and reading.places[-1].references:
                reading.places[-1].relation, reading.places[-1].own = chunk.value, True
            else:
                reading.directions.append(chunk.value)
            reading.own = True
        case "viewer":
            reading.own = False
            if reading.places:
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
        case "degrees":
            reading.values["degrees"] = float(chunk.value)
        case "metres":
            # `30 cm to the left and 40 cm towards the camera` are 50 cm in all.
            reading.values["metres"] = round(hypot(reading.values.get("metres", 0.0), float(chunk.value)), 6)
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
