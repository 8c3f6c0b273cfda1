"""Collect what the clauses of an instruction say, phrase by phrase. `conclude` derives claims from the result.

Invariant: phrases with another subject than the edited object (`so that the table is behind it`), and words that were
not understood, go to `Reading.rest`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import hypot
from typing import Any, Final, Literal, cast

from ...shards.schema import EditKind
from .chunks import PRONOUNS, Chunk, trim_noun_phrase
from .lexicon import (
    ARTICLE,
    FILLERS,
    HARMLESS,
    NEAREST,
    NEW,
    NO_NOUN,
    SILENT,
    TAIL,
    WHOLE_SCENE,
)
from .places import Place, Sense
from .verbs import MUST, SIZES, VerbKind

_OTHER_SUBJECT: Final = re.compile(r" (?:so that|so|until|where)\b")
"""What opens a clause with its own subject."""
_PARTICLE: Final = re.compile(r"(back|forth|up|down|off|out|over|away|forward|forwards) (?:the|an?|its|one) ")
"""A particle that is separate from its verb (`pull back the chair`)."""
_UNKNOWN_VERB: Final = re.compile(
    r" and (?=(?!the |an? |its |their |another |some )\w+ (?:the|an?|its|their|it|them)(?: |$))"
)
"""An `and` before an unknown verb (`and fill the hole`), not before a second object."""
_LOCATION: Final = re.compile(r"(?:on|in|by|over) (?:the|an?) [\w -]+")
"""Where an object is, by a relation that claims do not have: part of its name (`the clock hanging on the wall`)."""
_PRONOUN_LAST: Final = re.compile(r" (?:it|they)$")
PARTNER: Final = re.compile(r" (?:and|with) (?:the|an?|my|that|this) ")
"""What comes before the second object of a swap."""
_PARTITIVE: Final = re.compile(r"(?:both|all|[\w-]+ of) ")
"""Words that take the place of an article."""
_MUST: Final = re.compile(rf"^{MUST} ")
_WITH: Final = re.compile(r"(?:it|them|that|this)(?: places?)? (?=(?:with|and) )")
"""A pronoun before the second object of a swap (`swap it with the lamp`)."""
_BEFORE_ARTICLE: Final = re.compile(
    r"((?:(?!(?:of|and|with|for|or|without|like|on|in|at|from|nearest|closest)\b)[\w'-]+ ){1,6}?)(?:the|my|your|this"
    r"|these|those) (?=\w)"
)
"""Words before the article of a name, which are not part of it (`sure the lamp`)."""
_OWN: Final = re.compile(r"\b(?:its|their|it|they)\b")
_TIED_TO_SUBJECT: Final = frozenset(
    {
        *("relation", "into", "own", "itself", "onside", "direction", "part", "view"),
        *("stand", "onto", "off", "to", "from", "against", "corner"),
    }
)


_SENSES: Final[Mapping[str, Sense]] = {
    "stand": "stand",
    "onto": "stand",
    "into": "stand",
    "off": "origin",
    "to": "to",
    "from": "from",
}
"""Sense of the place that a chunk of this kind opens; of all other kinds, `relation`."""


@dataclass
class Reading:
    """What the clauses say so far."""

    kind: EditKind | Literal["", "place"] = ""
    """What the verb asks for; `place`: a move or an insertion."""
    light: str = ""
    """The first verb that asks for nothing by itself (`verbs.LIGHT`)."""
    object: str = ""
    new: bool = False
    without_article: bool = False
    """Whether the object was named without an article: it may then be an unknown verb."""
    places: list[Place] = field(default_factory=list[Place])
    own_frame: bool = False
    """Whether left and right are those of the object, not of the viewer."""
    directions: list[str] = field(default_factory=list[str])
    onside: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """Each `on the left` or `on the right`: the side, and how many places came before it."""
    below: bool = False
    """Whether the direction of a turn is seen from below."""
    size_sense: str = ""
    sizes: list[Chunk] = field(default_factory=list[Chunk])
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fields of Claims."""
    signs: set[str] = field(default_factory=set[str])
    """Kinds of the other phrases (`gone`, `appears`, `whirl`, `up`, ...)."""
    mentioned: str = ""
    """What a pronoun refers to if no object is named."""
    rest: list[str] = field(default_factory=list[str])
    """Words that were not understood."""

    def describe(self) -> None:
        """Take what was read so far as a description of the object, not as a request."""
        self.new = self.without_article = False
        for place in self.places:
            place.described = True


def read_clause(reading: Reading, chunks: list[Chunk]) -> None:
    """Add one clause, given as its chunks, to the reading."""
    has_phrases = (
        reading.places or reading.sizes or reading.size_sense or reading.values or reading.signs or reading.directions
    )
    # In `turn the mug's handle : rotate the mug` the second clause explains the first.
    repeats_verb = chunks[0].value == reading.kind and [chunk.kind for chunk in chunks[:2]] == ["verb", "words"]
    if not has_phrases and (not reading.kind or (repeats_verb and trim_noun_phrase(chunks[1].value) not in PRONOUNS)):
        # An object named before the request (`take the mug and ...`) is only what a pronoun refers to.
        reading.mentioned, reading.object = reading.object or reading.mentioned, ""
    if chunks[0].kind == "verb" and chunks[0].value in ("place", "translate") and reading.kind in ("", "remove"):
        # `take the can on the floor and put it on the desk`, `remove it from the floor and put it on the desk`
        puts_it = any(chunk.kind == "words" and trim_noun_phrase(chunk.value) in PRONOUNS for chunk in chunks[:2])
        reading.kind = "" if puts_it else reading.kind
        for place in reading.places:
            place.described = place.described or (place.in_name and not reading.kind)
    pending: Place | None = None
    described = standing = ignored = other_subject = False
    named_at = -2
    verbs = [index for index, chunk in enumerate(chunks) if chunk.kind in ("verb", "aux") and chunk.word != "now"]
    if len(verbs) > 1 and verbs[0] == 1 and chunks[1].word.endswith("ing"):
        verbs = verbs[1:]  # `the mug standing on the desk should ...`
    verb_at = next(iter(verbs), -1)
    if any(chunk.kind == "verb" and chunk.value == "swap" for chunk in chunks):
        reading.kind = reading.kind or "swap"
    for index, chunk in enumerate(chunks):
        match chunk.kind:
            case "verb":
                # `move the mug standing on the desk`, `the mug standing on the desk should ...`
                follows = any(later.kind in ("verb", "aux") for later in chunks[index + 1 :])
                standing = chunk.value == "place" and index - 1 == named_at and bool(reading.kind or follows)
                if reading.kind or not standing:
                    _read_verb(reading, chunk)
            case "words":
                noun_phrase, tail = _split_tail(chunk.value)
                subordinate = _OTHER_SUBJECT.search(chunk.value)
                if (
                    subordinate
                    and not reading.object
                    and all(word in WHOLE_SCENE | FILLERS for word in noun_phrase.split())
                ):
                    noun_phrase, tail = trim_noun_phrase(chunk.value[subordinate.end() :]), ""
                other_subject = bool(subordinate and tail) and not _PRONOUN_LAST.search(chunk.value)
                reading.rest += [tail] if tail else []
                before = chunks[index - 1] if index else None
                continues_name = (
                    before is not None and before.kind == "open" and reading.object.endswith(f" {before.word}")
                )
                meaningless = all(word in FILLERS for word in noun_phrase.split()) and noun_phrase not in PRONOUNS
                if described and reading.object and (location := _LOCATION.match(chunk.value)):
                    reading.object += f" {chunks[index - 1].word} {location[0].strip()}"
                    described = False
                elif described and reading.object and noun_phrase.partition(" ")[0] in NEAREST:
                    reading.rest.append(noun_phrase)
                    described = False
                elif continues_name:
                    reading.object += f" {chunk.value.partition(' , ')[0]}"
                elif pending is not None and not meaningless:
                    if pending.relation != "between" and (partner := PARTNER.search(noun_phrase)):
                        noun_phrase, second = noun_phrase[: partner.start()], noun_phrase[partner.start() + 1 :]
                        if reading.kind == "swap":  # `swap the mug on the desk and the lamp`
                            _read_partner(reading, second)
                            pending.described = True
                        else:
                            reading.rest.append(second)
                    pending.references += _references(reading, pending, noun_phrase)
                    if not reading.object and pending.relation != "between" and " , " in noun_phrase:
                        # `insert , to the right of the stove , a copper kettle`
                        object_phrase = noun_phrase.partition(" , ")[2]
                        _read_words(reading, object_phrase, trim_noun_phrase(object_phrase))
                    pending = None
                elif ignored and not meaningless:
                    ignored = False
                elif reading.kind == "swap" and reading.object and PARTNER.match(f" {chunk.value}"):
                    _read_partner(reading, chunk.value)
                elif reading.kind == "swap" and reading.object and chunks[index - 1].word.endswith(" with"):
                    _read_partner(reading, f"with {chunk.value}")
                elif not meaningless and not _continue_between(reading, chunk.value, noun_phrase):
                    named = reading.object
                    another = _read_words(reading, chunk.value, noun_phrase)
                    if reading.object != named and not chunk.value.endswith(","):
                        named_at = index
                    other_subject = other_subject or (another and chunks[index - 1].kind != "open")
            case _ if (
                other_subject
                and chunk.kind in _TIED_TO_SUBJECT
                and not (chunk.kind == "view" and _OWN.search(chunk.word))
            ):
                # `so that the table is behind it` is about the table, not the edited object.
                reading.rest.append(chunk.word)
            case "relation" | "into" | "stand" | "onto" | "to" | "off" | "from" | "against" if (
                pending is not None and pending.relation != "between"
            ):
                # `behind and slightly to the left of the lamp`: claims hold one relation; the other is not understood.
                reading.rest.append(chunk.word)
            case "corner":
                reading.places.append(Place("corner", ["room"], described=described))
                described = False
            case "relation" | "into" | "own" | "stand" | "onto" | "to" | "off" | "from" | "against":
                second = reading.kind == "swap" and PARTNER.search(reading.object)
                in_subject = bool(reading.object) and index < verb_at and not second
                pending = _read_place(reading, chunk, described, ignored)
                if pending is not None:
                    pending.described = described or ((in_subject or standing) and pending.sense != "relation")
                    pending.in_name = index - 1 == named_at
                    pending.in_subject = in_subject
                described = standing = ignored = False
            case "that":
                described = (
                    index > 0 and chunks[index - 1].kind == "words" and not chunk.word.startswith(("so ", "to "))
                )
            case "open" if described and reading.object:
                reading.object += f" {chunks[index - 1].word} {chunk.word}"
            case "origin":
                ignored = True
            case "beyond":
                # Which side that is depends on what follows (`, that is , to its right`).
                pending = _read_place(reading, chunk, False, True)
            case "onside" if reading.places and reading.places[-1].sense != "relation" and pending is None:
                # `put the mug on the table on the left`
                if chunks[index - 1].kind == "words" and not chunks[index - 1].value.endswith(","):
                    reading.places[-1].references[-1] += f" on the {chunk.value}"
                else:
                    reading.rest.append(chunk.word)
            case "onside":
                if not described:
                    reading.onside.append((chunk.value, len(reading.places)))
                described = False
            case _:
                _read_phrase(reading, chunk)


def _split_tail(words: str) -> tuple[str, str]:
    """Split words into a noun phrase and the part after it that was not understood."""
    found = TAIL.search(words)
    noun_phrase = trim_noun_phrase(words[: found.start()] if found else words)
    tail = trim_noun_phrase(found.group()) if found else ""
    return noun_phrase, "" if not tail or HARMLESS.fullmatch(found.group().strip() if found else "") else tail


def _continue_between(reading: Reading, words: str, noun_phrase: str) -> bool:
    """Add `and the vase` as the second reference of `between the clock on the left and the vase`, if it is one."""
    place = reading.places[-1] if reading.places else None
    if place is None or place.relation != "between" or len(place.references) != 1 or not words.startswith("and "):
        return False
    if reading.onside and reading.onside[-1][1] == len(reading.places):
        place.references = [f"{place.references[0]} on the {reading.onside.pop()[0]}"]
    place.references.append(noun_phrase)
    return True


def _read_verb(reading: Reading, chunk: Chunk) -> None:
    kind = cast("VerbKind", chunk.value)
    if kind == "light":
        reading.light = reading.light or chunk.word
        return
    reading.kind = reading.kind or kind
    word = _MUST.sub("", chunk.word)
    forms = (word, word.removesuffix("d"), word.removesuffix("ed"))
    sense, factor = next((SIZES[form] for form in forms if form in SIZES), ("", 0.0))
    reading.size_sense = reading.size_sense or sense
    if factor:
        reading.sizes.append(Chunk("factor", f"{max(factor, 1 / factor)}"))


def _read_words(reading: Reading, words: str, noun_phrase: str) -> bool:
    """Read words as the name of the edited object. Return whether they name another object."""
    noun_phrase, more = _split_noun_phrase(noun_phrase)
    if unread := _BEFORE_ARTICLE.match(noun_phrase):
        reading.rest.append(unread[1].strip())
        noun_phrase = noun_phrase[unread.end() :]
    reading.rest += [more] if more and not (more == "there" and reading.places) else []
    if reading.kind == "swap" and (partner := _WITH.match(noun_phrase)):
        reading.object = f"{reading.object or reading.mentioned} {noun_phrase[partner.end() :]}"
    elif noun_phrase in PRONOUNS:
        reading.object = reading.object or reading.mentioned or ("it" if noun_phrase == "it" else "")
    elif not noun_phrase or noun_phrase == reading.object:
        return False
    elif not reading.object:
        reading.object = noun_phrase
        phrase = re.sub(r"^(?:, )*(?:(?:please|kindly|now|over|just|only|,) )*", "", words)
        reading.new = bool(NEW.match(phrase))
        reading.without_article = not (ARTICLE.match(phrase) or reading.new or _PARTITIVE.match(phrase))
        reading.signs |= {"more"} if phrase.startswith("more ") else set()
    else:
        reading.rest.append(noun_phrase)
        return True
    return False


def _read_partner(reading: Reading, words: str) -> None:
    """Add the second object of a swap, which follows a place of the first one: `and the lamp`."""
    sides = [f" on the {side}" for side, _ in reading.onside]
    reading.onside.clear()
    reading.object = f"{reading.object}{''.join(sides)} {words.rstrip(' ,')}"


def _split_noun_phrase(noun_phrase: str) -> tuple[str, str]:
    """Split a noun phrase at the first word that ends one. Return it and the rest, or no rest if it means nothing."""
    if particle := _PARTICLE.match(noun_phrase):
        return _split_noun_phrase(noun_phrase[particle.end() :])[0], particle[1]
    words = _UNKNOWN_VERB.sub(r" | ", noun_phrase).split()
    ends = (at for at, word in enumerate(words) if at and (word in NO_NOUN or word in ",|"))
    end = len(words) if NEAREST.intersection(words) else next(ends, len(words))
    more = [word for word in words[end:] if word not in ",|"]
    more = more if any(word not in SILENT for word in more) else []
    return " ".join(words[:end]), " ".join(more)


def _references(reading: Reading, place: Place, noun_phrase: str) -> list[str]:
    if noun_phrase in PRONOUNS:
        earlier = [other.references for other in reading.places if other is not place and len(other.references) == 1]
        return earlier[-1] if earlier else [reading.mentioned or noun_phrase]
    if place.relation == "between":
        return [trim_noun_phrase(part) for part in re.split(r",? and |, ", noun_phrase)][:2]
    noun_phrase, more = _split_noun_phrase(noun_phrase.split(" , ")[0])
    reading.rest += [more] if more else []
    return [noun_phrase]


def _read_place(reading: Reading, chunk: Chunk, described: bool, ignored: bool) -> Place | None:
    """Add a place. Return it if its references follow, None if the phrase has one (`on the chair's left`)."""
    if chunk.kind == "own":
        side, _, owner = chunk.value.partition(" ")
        reading.places.append(Place(side, [trim_noun_phrase(owner)], True, described, ignored))
        return None
    place = Place(chunk.value, [], False, described, ignored, _SENSES.get(chunk.kind, "relation"))
    place.ends = chunk.kind in ("onto", "to") or chunk.word == "into"
    if chunk.value == "into" and place.sense == "relation":
        place.sense = "stand"
    reading.places.append(place)
    return place


def _read_phrase(reading: Reading, chunk: Chunk) -> None:
    """Add a phrase that needs no words after it."""
    match chunk.kind:
        case "direction":
            ways = {"top": "up", "bottom": "down"}
            reading.directions.append(ways.get(chunk.value, chunk.value))
        case "itself":
            if reading.places and reading.places[-1].ignored:
                # `from the right of the laptop to its left`
                reading.places.append(Place(chunk.value, reading.places[-1].references, True))
            elif reading.places and reading.places[-1].references:
                reading.places[-1].relation, reading.places[-1].own_frame = chunk.value, True
            else:
                reading.directions.append(chunk.value)
            reading.own_frame = True
        case "viewer":
            reading.own_frame = False
            if reading.places:
                reading.places[-1].own_frame = False
        case "open":
            reading.rest.append(chunk.word)
        case "own frame":
            reading.own_frame = True
        case "part":
            names = {"top": "upper", "bottom": "lower", "middle": "centre", "center": "centre"}
            reading.values["part"] = " ".join(names.get(word, word) for word in chunk.value.split())
        case "below":
            reading.below = True
        case "riders":
            reading.values["riders"] = "along"
        case "turn":
            reading.values["turn"] = chunk.value
        case "view":
            reading.values["view"] = _view(chunk.value)
        case "degrees":
            reading.values["degrees"] = float(chunk.value)
        case "metres":
            # `30 cm to the left and 40 cm towards the camera` is a move by 50 cm.
            reading.values["metres"] = round(hypot(reading.values.get("metres", 0.0), float(chunk.value)), 6)
        case "width":
            reading.values["widths"] = float(chunk.value)
        case "aux":
            pass
        case "becomes larger" | "becomes smaller":
            reading.size_sense = chunk.kind.removeprefix("becomes ")
            reading.signs.add("becomes")
        case "larger" | "smaller":
            reading.size_sense = reading.size_sense or chunk.kind
        case "grown":
            reading.signs.add("up" if chunk.value == "up" else "down")
        case "times" | "factor" | "share" | "more":
            reading.sizes.append(chunk)
        case _:
            reading.signs.add(chunk.kind)


def _view(words: str) -> str:
    """The name in `claims.CanonicalView`: `back left` is `rear left side`."""
    parts = ["rear" if word == "back" else word for word in words.split() if word != "side"]
    return f"{' '.join(parts)} side" if parts[-1] in ("left", "right") else parts[-1]
