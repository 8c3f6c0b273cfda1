"""Phrases of the templates for relations, and the groups of sentences from which the templates choose.

Invariant: every sentence is supported by the facts, so every choice is a true instruction. The sentences of one group
state the same (destination, direction or distance); choosing from different groups gives variety. Sentences that do not
state where or how much (`Move the mug to the left.`) are in separate groups. Sentences too vague to carry out (`Make
the mug larger.`) are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from .phrases import distinct, listed, sentence
from .relations import Relation, RelationKind

Group = list[str]


@dataclass(frozen=True)
class Wordings:
    """True sentences in groups. `loose` sentences do not state where, or how much."""

    exact: list[Group]
    loose: list[Group] = field(default_factory=list[Group])
    first: list[str] = field(default_factory=list[str])
    """Always used, as the instruction's text and its first variants."""
    last: list[str] = field(default_factory=list[str])
    """Always used, as the last variants."""


_SIDES: dict[RelationKind, tuple[str, ...]] = {
    "left": (
        "to the left of {b}",
        "to the left of {b}, as seen by the camera",
        "to the left of {b} in the image",
        "left of {b} from the viewer's point of view",
    ),
    "right": (
        "to the right of {b}",
        "to the right of {b}, as seen by the camera",
        "to the right of {b} in the image",
        "right of {b} from the viewer's point of view",
    ),
    "front": (
        "in front of {b}",
        "in front of {b}, closer to the camera",
        "in front of {b} as seen by the camera",
        "in front of {b} from the viewer's point of view",
    ),
    "behind": (
        "behind {b}",
        "behind {b}, farther from the camera",
        "behind {b} as seen by the camera",
        "behind {b} from the viewer's point of view",
    ),
    "between": ("between {b} and {c}", "in between {b} and {c}", "between {c} and {b}"),
    "next": ("next to {b}", "beside {b}", "close to {b}"),
    "into": ("into {b}", "inside {b}"),
    "against": ("against the wall", "up against the wall"),
    "corner": ("in the corner of the room", "in the corner", "into the corner", "into the corner of the room"),
}


def where(relation: Relation, names: Mapping[int, str]) -> list[str]:
    """Phrases for the place where an object is put. `names`: definite noun phrases by id."""
    b, c = (names[relation.others[k]] if relation.others else "" for k in (0, -1))
    return [phrase.format(b=b, c=c) for phrase in _SIDES[relation.kind]]


def stands(relation: Relation, names: Mapping[int, str]) -> str:
    """Phrase for the place where an object already is: `inside the box`, not `into the box`."""
    return where(relation, names)[-1 if relation.kind == "into" else 0]


def related(start: str, relations: Sequence[Relation], names: Mapping[int, str]) -> Iterator[str]:
    """One line with all relations, beginning with `start`; nothing if there are none."""
    if relations:
        yield f"{start}, as the camera sees it, {listed([stands(relation, names) for relation in relations])}"


def sentences(verbs: Sequence[str], object_phrase: str, ends: Sequence[str]) -> list[str]:
    """Combine every verb with every end."""
    return distinct(sentence(f"{verb} {object_phrase} {end}") for verb, end in product(verbs, ends))
