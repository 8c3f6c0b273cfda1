"""The samples of a gallery that share a scene (`store.families`), as columns for the page of families."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

FAMILIES_PAGE: Final = "families.html"
LEAST: Final = 3
"""Fewest states of a family that the page shows: two are one pair of images, which a card shows."""


class Edge(NamedTuple):
    """A sample as an edge between two states of its scene."""

    family: str
    """Key of the family's first sample."""
    source: int
    target: int


NO_EDGE: Final = Edge("", 0, 0)
"""Of samples whose family is not known."""


def family_columns(edges: Iterable[Edge]) -> dict[str, list[Any]]:
    """`families`, the keys of the families with several edits, the first one empty; and by sample the position in it
    (`family`), source state (`from`) and target state (`to`).
    """
    found = list(edges)
    states: dict[str, set[int]] = {}
    for family, source, target in found:
        states.setdefault(family, set()).update((source, target))
    shown = [NO_EDGE.family, *(family for family, all_of in states.items() if family and len(all_of) >= LEAST)]
    numbers = {family: number for number, family in enumerate(shown)}
    kept = [edge if edge.family in numbers else NO_EDGE for edge in found]
    return {
        "families": shown,
        "family": [numbers[edge.family] for edge in kept],
        "from": [edge.source for edge in kept],
        "to": [edge.target for edge in kept],
    }
