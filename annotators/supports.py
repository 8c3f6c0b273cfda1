"""What objects stand on, in or under, as the facts store it: who carries what, and phrases.

Invariant: a support is read from `SceneObject.source_support` and `target_support`, and never derived from boxes. Where
the facts do not store supports (open scenes, released pairs), `supports_known` is False, and nothing here is used.
"""

import re
from typing import Final, Literal

from ..shards.schema import PairFacts, SceneObject, SupportRef

StateName = Literal["source", "target"]
Manner = Literal["on", "in", "under"]
"""How something stands: `on` the floor, a top, a soft surface or a shelf; `in` a container; `under` an object."""
_SHELVES: Final = frozenset({"bookcase", "bookshelf", "shelf", "shelves", "shelving", "rack"})
"""Nouns of objects of shelves: `on the bookcase` does not say whether on top of it or on a shelf."""
_SEATS: Final = re.compile(r"\b(?:armchair|bed|chair|couch|futon|loveseat|recliner|settee|sofa)$")
"""Nouns of objects of which nobody says `on top of`."""
_FLAT: Final = re.compile(
    r"\b(?:armchair|bed|bench|bookcase|bookshelf|cabinet|chair|chest|console|couch|counter|countertop|credenza|cupboard"
    r"|desk|dresser|floor|ground|island|nightstand|ottoman|piano|platform|rack|shelf|sideboard|sofa|stand|stool|table|tray"
    r"|trolley|workbench)$"
)
"""Nouns of objects of which `from` and `to` mean that something is on them. `From the crate` is out of the crate."""


def supports_known(facts: PairFacts) -> bool:
    """Whether the facts say what each object stands on."""
    return all("source_support" in thing.model_fields_set for thing in facts.objects)


def support_of(thing: SceneObject, state: StateName) -> SupportRef:
    """What an object stands on in a state; kind is empty if it is absent, or if the facts do not store supports."""
    return thing.source_support if state == "source" else thing.target_support


def riders(facts: PairFacts, id: int, state: StateName) -> list[int]:
    """Ids of what stands on, in or under an object, on that, and so on; in the order of the facts."""
    found: set[int] = {id}
    while new := {one.id for one in facts.objects if support_of(one, state).object in found} - found:
        found |= new
    return [one.id for one in facts.objects if one.id in found and one.id != id]


def carried_along(facts: PairFacts) -> list[int]:
    """Ids of what stands on, in or under the edited objects in the source, without the edited objects."""
    edited = facts.edit.edited
    return list(dict.fromkeys(id for one in edited for id in riders(facts, one, "source") if id not in edited))


def manner(support: SupportRef) -> Manner:
    """How something stands. `support.kind` is not empty."""
    return "in" if support.kind == "inside" else "under" if support.kind == "under" else "on"


def shelf_word(support: SupportRef) -> Literal["", "top", "middle", "bottom"]:
    """Which shelf of several it is; empty for the only shelf, and for one that none of these words describes."""
    if support.kind != "shelf" or support.shelves < 2:
        return ""
    if support.shelf == support.shelves:
        return "top"
    return "bottom" if support.shelf == 1 else "middle" if support.shelves == 3 else ""


def is_vague(support: SupportRef) -> bool:
    """Whether it is one of several shelves that no word tells from the others."""
    return support.kind == "shelf" and support.shelves > 1 and not shelf_word(support)


def _noun(support: SupportRef, name: str) -> str:
    """`the desk`, `the top shelf of the bookcase`, `the top level of the shelf`, `the shelf of the table`."""
    if support.kind != "shelf":
        return name
    part = "level" if name.split()[-1] in ("shelf", "shelves") else "shelf"
    if is_vague(support):
        return f"a {part} of {name}"
    if support.shelves == 1 and name.split()[-1] in _SHELVES:
        return name
    return f"the {shelf_word(support)} {part} of {name}".replace("  ", " ")


def _is_plain(noun: str) -> bool:
    """Whether `to` and `from` before it are clear; `to the left table` reads like a direction."""
    return _FLAT.search(noun) is not None and not noun.startswith(("the left", "the right"))


def is_furniture(noun: str) -> bool:
    """Whether `to the table` may put it beside the table: a chair, not a mug."""
    return _FLAT.search(noun) is not None or _SEATS.search(noun) is not None


def _only_on_top(support: SupportRef, name: str) -> bool:
    return support.kind == "top" and name.split()[-1] in _SHELVES


def at(support: SupportRef, name: str) -> list[str]:
    """Phrases for the place where something stands: `on the desk`.

    Args:
        name: definite noun phrase of the supporting object, or of the floor.
    """
    noun = _noun(support, name)
    match support.kind:
        case "inside":
            return [f"in {noun}", f"inside {noun}"]
        case "under":
            return [f"under {noun}", f"underneath {noun}", f"beneath {noun}"]
        case "top" if not _SEATS.search(noun):
            return [f"on top of {noun}"] if _only_on_top(support, name) else [f"on {noun}", f"on top of {noun}"]
        case _:
            return [f"on {noun}"]


def onto(support: SupportRef, name: str) -> list[str]:
    """Phrases for the place where something is put: those of `at`, `onto the desk` and `into the bowl`."""
    noun = _noun(support, name)
    match support.kind:
        case "inside":
            return [*at(support, name), f"into {noun}"]
        case "under":
            return at(support, name)
        case _:
            return at(support, name) if _only_on_top(support, name) else [*at(support, name), f"onto {noun}"]


def towards(support: SupportRef, name: str) -> list[str]:
    """Phrases after `move`: `to the desk`, `into the bowl`, `under the table`."""
    noun = _noun(support, name)
    match support.kind:
        case "inside":
            return [f"into {noun}"]
        case "under":
            return at(support, name)
        case _:
            if _only_on_top(support, name):
                return at(support, name)
            return [f"to {noun}", f"onto {noun}"] if _is_plain(noun) else [f"onto {noun}"]


def off(support: SupportRef, name: str) -> list[str]:
    """Phrases after `take`: `off the desk`, `out of the bowl`, `from under the table`."""
    noun = name if is_vague(support) else _noun(support, name)
    match support.kind:
        case "inside":
            return [f"out of {noun}"]
        case "under":
            return [f"out from under {noun}", f"from under {noun}"]
        case _ if not _is_plain(noun):
            return [f"off {noun}"]
        case _ if is_vague(support) or _only_on_top(support, name):
            return [f"from {noun}"]
        case _:
            return [f"off {noun}", f"from {noun}"]
