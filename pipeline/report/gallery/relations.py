"""The relations that an instruction says: on a shelf, off, next to, ...

Invariant: they are read by the parser of instructions, and nothing is measured. The stored support of the edited
object, if there is one, only decides what `on` means (on a shelf, on the floor, onto a stack). docs/scenes.md has the
definitions.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from ....annotators.claims import Relation
from ....annotators.edits.registry import kind_of
from ....annotators.parser.parse import parse
from ....sources.edits.furnished_destinations import FURNITURE

_WORDS: Final[Mapping[Relation, str]] = MappingProxyType(
    {
        "into": "in",
        "next": "next to",
        "between": "between",
        "left": "left of",
        "right": "right of",
        "front": "in front of",
        "behind": "behind",
        "against": "against the wall",
        "corner": "in the corner",
    }
)


def relations_of(text: str, edit: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What an instruction says of the place of the edited object, each relation once; empty if it says none.

    Args:
        edit, objects: of the record, as plain values (`shards.schema`).
    """
    kind = kind_of(edit["kind"])
    if "relation" not in kind.claims:
        return ()
    claims = parse(text, sorted({str(item[part]) for item in objects for part in ("name", "category")})).claims
    if claims is None:
        return ()
    by_id = {item["id"]: item for item in objects}
    edited = by_id.get(edit["object"], {})
    found: list[str] = []
    if claims.origin != "none" and _support(edited, "source").get("kind") != "floor":
        found.append("off")
    if claims.support == "on":
        support = _support(edited, "target" if kind.places_objects else "source")
        on_shelf = claims.shelf != "none" or support.get("kind") == "shelf"
        found.append("on a shelf" if on_shelf else _on(support, by_id))
    elif claims.support != "none":
        found.append(claims.support)
    if claims.relation != "none":
        found.append(_WORDS[claims.relation])
    return tuple(dict.fromkeys(found))


def _on(support: Mapping[str, Any], by_id: Mapping[int, Mapping[str, Any]]) -> str:
    """What `on` means if the support is no shelf. An empty support is unknown."""
    if support.get("kind") == "floor":
        return "on the floor"
    below = by_id.get(support.get("object", 0))
    if below is None or support["kind"] != "top" or not below["known"]:
        return "on"
    return "on" if max(below["size_m"]) >= FURNITURE else "onto a stack"


def _support(item: Mapping[str, Any], state: str) -> Mapping[str, Any]:
    return item.get(f"{state}_support", {})
