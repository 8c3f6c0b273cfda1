"""The kinds of edit: one line each. `tests/sources/edits/test_registry.py` proves that none is missing."""

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
"""Of every kind of `shards.schema.EDIT_KINDS`, what it says of itself."""


def inverse_kind(kind: EditKind) -> EditKind:
    """The kind of edit that leads back."""
    return RULES[kind].inverse


def composed_kind(first: EditKind, second: EditKind) -> EditKind | None:
    """The kind of the one edit that leads from the target of `first` to that of `second`, both of the same objects (or
    of the camera) in one scene; None where no one edit does."""
    return RULES[first].composes.get(second)


def composes_alone(kind: EditKind) -> bool:
    """Whether two edits of this kind may share a scene, so that one edit leads from target to target."""
    return kind in RULES[kind].composes


def partners_of(kind: EditKind) -> tuple[EditKind, ...]:
    """The kinds that may share a scene with a kind that does not compose with itself."""
    return tuple(other for other in EDIT_KINDS if other in RULES[kind].composes and composes_alone(other))
