"""Files beside the shards that let other readers use them without conversion: see docs/formats.md.

Invariant: they are derived only from the manifests and the parquets, so the same shards give the same bytes; each is
published atomically, and this project's own readers need none of them.
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

__all__ = ["ATTRIBUTION", "SIDECARS", "USER_EDITABLE", "index_files", "read_splits", "write_sidecars"]

SIDECARS: Final = (CARD, CROISSANT, timm.INFO, energon.SPLIT, energon.DATASET, energon.INFO)
"""Paths in the recipe's folder."""
USER_EDITABLE: Final = (CARD, ATTRIBUTION, CROISSANT)
"""Files that users may edit and `spatialdata card` may rewrite: verification only checks that they are text."""


def write_sidecars(folder: str) -> None:
    """Write the files beside the finished splits of a recipe into its folder, any fsspec URL.

    Raises FileNotFoundError where a split has no manifest, and SpatialdataError where a parquet is damaged or the
    splits do not fit together.
    """
    facts = read_facts(folder)
    for name, data in (card_files(facts) | croissant_files(facts) | index_files(facts.splits)).items():
        publish_bytes(data, join(folder, name))


def index_files(splits: Sequence[Manifest]) -> dict[str, bytes]:
    """The files that list the shards and are derived only from the manifests, by path in the recipe's folder."""
    return energon.energon_files(splits) | timm.timm_files(splits)
