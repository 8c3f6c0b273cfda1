"""The places that an instruction names: where an object ends, where it comes from, and which object is meant.

Invariant: a place that may equally be the destination or part of the object's name (`put the mug on the tray on the
table`) makes no claim. It is returned as not understood.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from ..edits.kind import Kind

Sense = Literal["relation", "stand", "origin", "to", "from"]
"""`stand`: on, in or under the reference. `origin`: the same, before the edit. `to` and `from`: the noun decides."""


@dataclass
class Place:
    """One relation and its reference objects."""

    relation: str
    """Of `Claims`, or `on`, `under` (senses `stand` and `origin`). In something is `into`."""
    references: list[str]
    own_frame: bool = False
    """Whether left and right are those of the reference object, not of the viewer."""
    described: bool = False
    """Whether it tells which object is meant, not where the object ends."""
    ignored: bool = False
    """Whether it is where the object comes from, or on a side that is not named: neither is a claim."""
    sense: Sense = "relation"
    ends: bool = False
    """Whether its words can only mean where the object ends (`onto`, `into`, `to`)."""
    in_name: bool = False
    """Whether it follows the object's name directly, so that it may be part of it."""
    in_subject: bool = False
    """Whether it comes between the object's name and the verb (`the mug on the desk should go ...`)."""

    @property
    def text(self) -> str:
        return f"{self.relation} {' and '.join(self.references)}"


@dataclass(frozen=True)
class Resolved:
    """What the places say."""

    relations: list[Place] = field(default_factory=list[Place])
    """Relations of the edited object to references; the last one is the claim."""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fields of Claims about supports."""
    rest: list[str] = field(default_factory=list[str])
    """The places that were not understood."""


SURFACE: Final = (
    r"(?:table|desk|desktop|shelf|shelves|bookshelf|bookcase|shelving|rack|ledge|sill|windowsill|counter|countertop"
    r"|worktop|workbench|island|nightstand|dresser|bureau|vanity|console|sideboard|credenza|cabinet|cupboard|wardrobe"
    r"|mantel|mantelpiece|tray|board|placemat|coaster|stove|hob|cooker|piano|floor|ground|carpet|rug|mat|doormat"
    r"|bathmat|platform|pallet|bed|cot|mattress|cushion|pillow|sofa|couch|settee|loveseat|futon|armchair|recliner|chair"
    r"|bench|pew|stool|footstool|hassock|ottoman|pouf|pedestal|stand|podium|lectern|trolley|cart|lawn|grass|terrace"
    r"|balcony|patio|printer|microwave|dishwasher|dryer|radiator|speaker|fireplace|altar|anvil|barrel|stump|plinth|step"
    r"|doorstep|porch|deck|plate|platter|saucer|chest|stack|pile|book)"
)
"""Nouns of what has things on it: `from the table` means `off the table`."""
CONTAINER: Final = (
    r"(?:bowl|pan|saucepan|dish|bathtub|basket|hamper|box|carton|crate|bucket|pail|bin|tub|drawer|sink|basin|pot|jar"
    r"|cup|mug|glass|vase|bag|backpack|wheelbarrow)"
)
"""Nouns of what has things in it: `from the basket` means `out of the basket`."""
_CARRIERS: Final = {"on": re.compile(rf"(?:.*[ _])?{SURFACE}s?"), "into": re.compile(rf"(?:.*[ _])?{CONTAINER}s?")}
_FURNITURE: Final = re.compile(
    r"(?:.*[ _])?(?:table|desk|bookcase|bookshelf|cabinet|cupboard|wardrobe|dresser|sideboard|sofa|couch|armchair|chair"
    r"|recliner|bench|stool|ottoman|bed|rug|carpet|trolley|cart|shelf|rack|nightstand|fridge|refrigerator|piano"
    r"|ladder)s?"
)
"""Names of what stands on the floor: a chair that comes to the table ends beside it."""
_GROUND: Final = re.compile(
    r"(?:.*[ _])?(?:floor|ground|rug|carpet|mat|doormat|bathmat|platform|pallet|lawn|grass|terrace|balcony|patio)"
)
"""Names of what furniture stands on."""
_NOUN_END: Final = re.compile(r" (?:of|with|in|for|on the (?:left|right)$)(?: |$)")
_FLOOR: Final = re.compile(
    r"(?:(?!first|second|third|top|upper|lower|other|next)[\w-]+ )?(?:floor|ground)(?: of the [\w-]+)?"
)
_SHELF: Final = re.compile(
    r"(?:(?P<owner>.+)'s )?(?:(?P<which>[\w-]+) )?(?P<part>shelf|level(?= of ))"
    r"(?: (?:of|in) (?:the |an? )?(?P<whole>.+))?"
)
_SHELVES: Final = {
    **dict.fromkeys(("top", "topmost", "uppermost", "highest"), "top"),
    "upper": "upper",
    **dict.fromkeys(("middle", "central", "center", "centre"), "middle"),
    "lower": "lower",
    **dict.fromkeys(("bottom", "bottommost", "lowest", "lowermost"), "bottom"),
}
_SPACE: Final = re.compile(r"(?:[\w-]+ )?(?:area|space|gap|spot|place|region|room|position)(?: of .*)?")
"""`in the space between the two`: the relation says it all."""
_PART: Final = re.compile(
    r"(?:[\w-]+ )?(?:corner|edge|end|middle|center|centre|side|half|back|front)(?: of .*)?|(?:.* )?(?:walls?|ceiling)"
    r"|it|them|each other|.*\b(?:shel(?:f|ves) (?:above|below)|of the (?:two|three))\b.*"
)
"""A part of a support (`on the edge of the table`), or no name: more or less than claims can say."""
_COUNTED: Final = re.compile(r"(?:first|second|third|fourth|fifth|last|next|other|same)\b")


def resolve(places: Sequence[Place], kind: Kind, phrase: str, put: bool, goes: bool) -> Resolved:
    """Decide what each place says.

    Args:
        phrase: noun phrase of the edited object.
        put: whether the verb asks to put the object somewhere (`put`, not `move`).
        goes: whether the instruction says in which direction or how far the object moves.
    """
    rest = [place.text for place in places if place.described and place.sense == "relation" and kind.moves_objects]
    known: list[Place] = []
    for place in places:
        settled = _settle(place, phrase)
        if settled is None or (settled.sense != "relation" and _PART.fullmatch(settled.references[0])):
            rest.append(place.text)
        elif not (settled.described and settled.sense == "relation" and kind.moves_objects):
            known.append(settled)
    relations = [place for place in known if place.sense == "relation"]
    if kind.moves_objects and any(
        place.sense == "stand" and not (place.described or place.in_subject) for place in known
    ):
        rest += [place.text for place in relations if place.in_subject]
        relations = [place for place in relations if not place.in_subject]
    origins = [place for place in known if place.sense == "origin"]
    stands = [place for place in known if place.sense == "stand"]
    if relations:
        stands = [place for place in stands if not _SPACE.fullmatch(place.references[0])]
    if [place.relation for place in stands] == ["into", "on"] and (stands[0].ends or not kind.in_source):
        stands = stands[:1]  # `into the cup on the desk` tells which cup
    if kind.moves_objects:
        origins += [place for place in stands if place.described]
        stands = [place for place in stands if not place.described]
        end, start, unclear = _choose(stands, bool(relations), bool(origins), put, goes)
        origins += [start] if start else []
    else:
        end, unclear = (stands[0], stands[1:]) if stands else (None, [])
    if kind.in_target and not kind.moves_objects:
        unclear, origins = [*unclear, *origins], []
    unclear += relations[:-1]  # claims hold one relation
    fields: dict[str, Any] = {}
    if end and end.relation == "into" and not relations and kind.name != "swap":
        relations = [end]
    elif end:
        unclear += [] if _set_support(fields, end, ("support", "support_object", "shelf")) else [end]
    distinct = [place for place in origins if place.references != origins[0].references]
    if origins and not _set_support(fields, origins[0], ("origin", "origin_object", "origin_shelf")):
        unclear.append(origins[0])
    return Resolved(relations, fields, [*rest, *(place.text for place in [*unclear, *distinct])])


def _settle(place: Place, phrase: str) -> Place | None:
    """The place with the relation that its noun decides; None if the noun does not tell."""
    if place.sense != "relation" and place.references[0].startswith(("its ", "their ")):
        place = replace(place, references=[place.references[0].partition(" ")[2]])
    if place.sense not in ("to", "from"):
        return place
    noun = _NOUN_END.split(_shelf_of(place.references[0])[0] or "shelf")[0]
    relation = next((name for name, nouns in _CARRIERS.items() if nouns.fullmatch(noun)), None)
    if relation is None or (_FURNITURE.fullmatch(phrase) and not _GROUND.fullmatch(noun)):
        return None
    return replace(place, relation=relation, sense="stand" if place.sense == "to" else "origin")


def _choose(
    stands: Sequence[Place], related: bool, leaves: bool, put: bool, goes: bool
) -> tuple[Place | None, Place | None, list[Place]]:
    """Of the places that may be either, the one where a moved object ends, the one where it was, and the unclear ones.

    Args:
        related: whether the instruction also relates the object to a reference.
        leaves: whether it says by itself where the object comes from.
    """
    if not stands:
        return None, None, []
    first, *more = stands
    named = first.in_name and not first.ends and not leaves
    if named and more and more[0].ends:
        return more[0], first, more[1:]  # `move the mug on the desk onto the shelf`
    if named and more:
        return None, None, [first, *more]  # `put the mug on the tray on the table`
    if named and (goes or related) and not put:
        return None, first, []  # `move the mug on the desk next to the lamp`
    if named and goes and not related:
        return None, None, [first]  # `put the mug on the desk to the left`
    return first, None, more


def _set_support(fields: dict[str, Any], place: Place, names: tuple[str, str, str]) -> bool:
    """Set the fields of these names: relation, object, shelf. Return whether the object's phrase was understood."""
    noun, shelf = _shelf_of(place.references[0])
    if noun is None:
        return False
    fields |= zip(names, ("in" if place.relation == "into" else place.relation, noun, shelf), strict=True)
    return True


def _shelf_of(phrase: str) -> tuple[str | None, str]:
    """The name of a support (empty for `the top shelf`), and which of its shelves. None: a shelf that is counted.

    The name of every floor is `floor`.
    """
    if _FLOOR.fullmatch(phrase):
        return "floor", "none"
    found = _SHELF.fullmatch(phrase)
    if not found:
        return phrase, "none"
    which, whole = found["which"] or "", found["whole"] or found["owner"] or ""
    if which in _SHELVES:
        return whole, _SHELVES[which]
    if found["part"] == "level" and not which:
        return whole, "none"  # `a level of the shelf`
    return (None, "none") if _COUNTED.match(which) else (phrase, "none")
