"""The asset table that a plan freezes, and the files behind it.

The table stays encoded: an asset is decoded when a scene draws it, so that a table of a million assets costs its
bytes and no more.
"""

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from shards.errors import BadInput
from shards.schema import SPLITS, Split
from shards.stores import open_store
from sources.objaverse.scratch import HeldFolder
from sources.objaverse.spec import Asset

_ASSET = TypeAdapter(Asset)
MADE_PREFIX = "spatialdata-assets-"
CANDIDATES = 192
"""Assets that one scene chooses from, so that its cost does not grow with the table."""
FEWEST = 4
"""Assets that a split needs at least: a scene holds up to six objects and may repeat some."""


def divide(assets: Iterable[Asset], fractions: Mapping[Split, float], seed: int) -> dict[str, Split]:
    """Assign each asset (by uid) to one split, so that no object of one split is ever seen in another.

    The order is that of a keyed hash, so adding an asset moves few others. Every split with a fraction above zero
    gets at least `FEWEST` assets.

    Raises:
        BadInput: too few assets for the splits that are asked for.
    """
    key = seed.to_bytes(8, "little")
    uids = sorted((asset.uid for asset in assets), key=lambda uid: blake2b(uid.encode(), key=key).digest())
    used: list[Split] = [split for split in SPLITS if fractions[split] > 0]
    if len(uids) < FEWEST * len(used):
        raise BadInput(
            f"{len(uids)} usable assets cannot fill the splits {', '.join(used)} ({FEWEST} each at least): "
            "give more assets, or set fractions to 0, such as --set shard.splits='{train: 1, val: 0, test: 0}'"
        )
    result: dict[str, Split] = {}
    start = 0
    for split in used:
        if split == "train":
            continue
        count = max(FEWEST, round(fractions[split] * len(uids)))
        result |= dict.fromkeys(uids[start : start + count], split)
        start += count
    rest = uids[start:]
    if "train" in used and len(rest) < FEWEST:
        raise BadInput(f"only {len(rest)} of {len(uids)} assets are left for train: lower shard.splits.val and test")
    last: Split = "train" if "train" in used else used[-1]
    result |= dict.fromkeys(rest, last)
    return result


def table_of(assets: Iterable[Asset], splits: Mapping[str, Split]) -> Any:
    """The table as it is stored: uid, split, asset (JSON), sorted by uid."""
    ordered = sorted(assets, key=lambda asset: asset.uid)
    return pa.table(
        {
            "uid": pa.array([asset.uid for asset in ordered], pa.string()),
            "split": pa.array([splits[asset.uid] for asset in ordered], pa.string()),
            "asset": pa.array([_ASSET.dump_json(asset).decode() for asset in ordered], pa.string()),
        }
    )


@dataclass(frozen=True)
class AssetTable:
    """The assets of each split, still encoded."""

    pools: Mapping[str, pa.ChunkedArray]

    @classmethod
    def read(cls, url: str) -> "AssetTable":
        """Read the table that `table_of` made, from any fsspec URL."""
        fs, path = open_store(url)
        with fs.open(path, "rb") as file:
            table = pq.read_table(file)
        splits = table["split"].to_numpy()
        return cls({split: table.filter(pa.array(splits == split))["asset"] for split in sorted(set(splits))})

    def candidates(self, split: str, seed: int, scene: int) -> list[Asset]:
        """The assets that one scene may draw from, decoded: all of a small split, else a seeded choice."""
        pool = self.pools[split]
        chosen = range(len(pool))
        if len(pool) > CANDIDATES:
            generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, scene, 0xA55E7])))
            chosen = sorted(generator.choice(len(pool), CANDIDATES, replace=False).tolist())
        return [_decode(pool[index].as_py()) for index in chosen]


@lru_cache(maxsize=4096)
def _decode(text: str) -> Asset:
    return _ASSET.validate_json(text)


class AssetFiles:
    """Where the model file of an asset is on this machine. Procedural assets are made on first use."""

    def __init__(self, source: Literal["procedural", "objaverse"], root: str) -> None:
        self._source = source
        self._root = root
        self._made: HeldFolder | None = None
        if source == "procedural":
            self._made = HeldFolder(MADE_PREFIX, Path(gettempdir()))
            weakref.finalize(self, self._made.remove)

    def path(self, asset: Asset) -> Path:
        """A GLB file. Existence of a cached file is the renderer's to check: it may vanish at any time."""
        if self._made is None:
            return Path(self._root) / asset.path
        from sources.procedural import make

        return make(asset.uid, self._made.path)
