"""The kinds of edit, one line each. `tests/sources/edits/test_registry.py` checks that none is missing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ...shards.schema import EDIT_KINDS, EditKind
from . import camera, insert, remove, rotate, scale, swap, translate
from .kind import EditRules

RULES: Final[Mapping[EditKind, EditRules]] = MappingProxyType(
    {
        "translate": translate.RULES,
        "rotate": rotate.RULES,
        "scale": scale.RULES,
        "remove": remove.RULES,
        "insert": insert.RULES,
        "camera": camera.RULES,
        "swap": swap.RULES,
    }
)
"""The rules of every kind in `shards.schema.EDIT_KINDS`."""


def inverse_kind(kind: EditKind) -> EditKind:
    """The kind of the inverse edit."""
    return RULES[kind].inverse


def composed_kind(first: EditKind, second: EditKind) -> EditKind | None:
    """The kind of the edit from the target of `first` to that of `second`; None if no single edit does this.

    Both edits change the same objects (or the camera) of one scene.
    """
    return RULES[first].composes.get(second)


def composes_alone(kind: EditKind) -> bool:
    """Whether two edits of this kind may share a scene, with a single edit between their targets."""
    return kind in RULES[kind].composes


def partners_of(kind: EditKind) -> tuple[EditKind, ...]:
    """The kinds that may be in a group of edits with a kind that does not compose with itself.

    A kind that composes with no other one may be with all that change an object which both images show.
    """
    rules = RULES[kind]
    others: list[EditKind] = [other for other in EDIT_KINDS if composes_alone(other)]
    if rules.composes:
        return tuple(other for other in others if other in rules.composes)
    return tuple(other for other in others if "remove" in RULES[other].composes)
