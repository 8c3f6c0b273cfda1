"""The kinds of edits by name."""

from collections.abc import Mapping
from typing import Final

from ...shards.schema import EditKind
from .camera import Camera
from .insert import Insert
from .kind import Kind
from .remove import Remove
from .rotate import Rotate
from .scale import Scale
from .swap import Swap
from .translate import Translate

KINDS: Final[Mapping[EditKind, Kind]] = {
    kind.name: kind
    for kind in (
        Translate(),
        Rotate(),
        Scale(),
        Remove(),
        Insert(),
        Camera(),
        Swap(),
    )
}
"""All of `shards.schema.EDIT_KINDS`, in the same order (checked by tests/annotators/edits/test_registry.py)."""


def kind_of(name: EditKind) -> Kind:
    """The kind with this name."""
    return KINDS[name]
