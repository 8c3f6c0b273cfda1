"""Files beside the shards by which other readers know them, without conversion: see docs/formats.md.

Invariant: they follow from the manifests and the parquets alone, so the same shards give the same bytes; each is
published whole, and none of our own readers needs them.
"""

from collections.abc import Sequence
from typing import Final

from ..index import Manifest
from ..layout import join
from ..writer import publish_bytes
from . import energon, timm
from .card import ATTRIBUTION, CARD, card_files
from .croissant import CROISSANT, croissant_files
from .facts import read_facts, read_splits

__all__ = ["ATTRIBUTION", "READ_BY_PEOPLE", "SIDECARS", "index_files", "read_splits", "write_sidecars"]

SIDECARS: Final = (CARD, CROISSANT, timm.INFO, energon.SPLIT, energon.DATASET, energon.INFO)
"""Paths in the recipe's folder."""
READ_BY_PEOPLE: Final = (CARD, ATTRIBUTION, CROISSANT)
"""Those that may be changed by hand, or written anew by `spatialdata card`: all that is sure is that they are texts."""


def write_sidecars(folder: str) -> None:
    """Write what lies beside the finished splits of a recipe into its folder, any fsspec URL.

    Raises FileNotFoundError where a split has no manifest, and SpatialdataError where a parquet is damaged or the
    splits do not fit together.
    """
    facts = read_facts(folder)
    for name, data in (card_files(facts) | croissant_files(facts) | index_files(facts.splits)).items():
        publish_bytes(data, join(folder, name))


def index_files(splits: Sequence[Manifest]) -> dict[str, bytes]:
    """Those that list the shards and follow from the manifests alone, by path in the recipe's folder."""
    return energon.energon_files(splits) | timm.timm_files(splits)
