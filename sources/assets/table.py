"""The table of assets that is part of a plan, the table of their supports, and how assets are divided among splits.

Assets and supports stay encoded until a scene draws them. So a table of a million assets takes no more memory than its
bytes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from ...shards.errors import BadInput, SpatialdataError
from ...shards.schema import SPLITS, Split
from ...shards.stores import open_store
from .asset import Asset
from .carriers import AssetSupports, from_json, names_of, to_json

_ASSET = TypeAdapter(Asset)
SUPPORTS = "supports.parquet"
"""Name of the table of supports. It is in the folder of the table of assets."""
CANDIDATES = 192
"""Number of assets that a scene chooses from. It is fixed so that the cost does not grow with the table."""
PER_CATEGORY = 6
"""Number of assets of one category that a furnished room chooses from."""
MIN_ASSETS = 4
"""Minimum number of assets in a split."""
MIN_MODELS = 2
"""Minimum number of different models in a split, because no scene contains a model twice."""


def split_assets(assets: Iterable[Asset], fractions: Mapping[Split, float], seed: int) -> dict[str, Split]:
    """Assign each asset (by uid) to one split, so that no shape is in two splits.

    Families are assigned as a whole, in the order of a keyed hash, so that adding an asset moves few others. Every
    split with a fraction above zero gets at least `MIN_ASSETS` assets and, where possible, as many families.
    A family that would fill more than a quarter of a held-out split goes to the last split instead, which is train if
    train has a fraction above zero.

    Raises:
        BadInput: too few assets for the splits.
    """
    assets = sorted(assets, key=lambda asset: asset.uid)
    used: list[Split] = [split for split in SPLITS if fractions[split] > 0]
    _check_enough(assets, used)
    families: dict[str, list[str]] = {}
    for asset in assets:
        families.setdefault(asset.family or asset.uid, []).append(asset.uid)
    key = seed.to_bytes(8, "little")
    left = [families[name] for name in sorted(families, key=lambda name: blake2b(name.encode(), key=key).digest())]
    total = len(assets)
    held_out: list[Split] = [split for split in used if split != "train"]
    last: Split = "train" if "train" in used else held_out.pop()
    targets = {split: max(MIN_ASSETS, round(fractions[split] * total)) for split in held_out}
    if (rest := total - sum(targets.values())) < MIN_ASSETS:
        raise BadInput(
            f"only {max(0, rest)} of {total} assets are left for {last}; lower shard.splits of the other splits"
        )
    least = min(MIN_ASSETS, len(left) // len(used))
    result: dict[str, Split] = {}
    for number, split in enumerate(held_out):
        most = len(left) - least * (len(held_out) - number)
        chosen = _choose_families(left, targets[split], least, most)
        result |= {uid: split for at in chosen for uid in left[at]}
        left = [family for at, family in enumerate(left) if at not in chosen]
    result |= {uid: last for family in left for uid in family}
    return result


def _choose_families(families: Sequence[Sequence[str]], target: int, least: int, most: int) -> set[int]:
    """Indices of families that contain `target` assets in total.

    They are taken in order if they fit, and none has more than a quarter of `target`. If fewer than `least` fit, the
    smallest of the others are added. At most `most` are chosen.
    """
    chosen: set[int] = set()
    room = target
    for at, family in enumerate(families):
        if len(family) <= min(room, max(1, target // MIN_ASSETS)) and len(chosen) < most:
            chosen.add(at)
            room -= len(family)
    others = sorted(set(range(len(families))) - chosen, key=lambda at: (len(families[at]), at))
    return chosen | set(others[: max(0, least - len(chosen))])


def _check_enough(assets: Sequence[Asset], used: Sequence[Split]) -> None:
    count, needed = len(assets), MIN_ASSETS * len(used)
    shapes = len({asset.family or asset.uid for asset in assets})
    models = len({asset.model or asset.uid for asset in assets})
    usable = f"{count} usable asset{'s' * (count != 1)}"
    which = f"the split{'s' * (len(used) > 1)} {', '.join(used)}"
    one = count >= MIN_ASSETS and models > 1 and len(used) > 1
    fewer = ", or use one split: --set shard.splits='{train: 1, val: 0, test: 0}'" if one else ""
    if count < needed:
        each = f" ({MIN_ASSETS} each)" if len(used) > 1 else ""
        raise BadInput(
            f"{usable} cannot fill {which}: at least {needed} are needed{each}; add {needed - count} more{fewer}"
        )
    missing = max(len(used) - shapes, len(used) + 1 - models)
    if missing > 0:
        raise BadInput(
            f"{usable} are {models} different model{'s' * (models > 1)} of {shapes} shape{'s' * (shapes > 1)}, too few "
            f"for {which}: a shape is in one split only, and no scene contains a model twice; add at least {missing} "
            f"of {'another shape' if missing == 1 else 'other shapes'}{fewer}"
        )


def table_of(assets: Iterable[Asset], splits: Mapping[str, Split]) -> Any:
    """The table as it is stored: uid, split, family, model, asset (JSON), sorted by uid."""
    ordered = sorted(assets, key=lambda asset: asset.uid)
    columns = {
        "uid": [asset.uid for asset in ordered],
        "split": [splits[asset.uid] for asset in ordered],
        "family": [asset.family or asset.uid for asset in ordered],
        "model": [asset.model or asset.uid for asset in ordered],
        "asset": [_ASSET.dump_json(asset).decode() for asset in ordered],
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


@dataclass(frozen=True)
class AssetTable:
    """The assets of each split, still encoded. Only the first of each model, because the others are the same object."""

    pools: Mapping[str, pa.ChunkedArray]
    supports_url: str = ""
    """Of the table of supports (`supports_table`), which only some scenes need. It is read on first use."""
    _categories: dict[str, dict[str, list[int]]] = field(default_factory=dict[str, dict[str, list[int]]], repr=False)
    """Of each split, rows by category. Filled on first use."""

    @classmethod
    def read(cls, url: str) -> "AssetTable":
        """Read a table that was built by `table_of` from any fsspec URL. The table of supports is beside it."""
        fs, path = open_store(url)
        with fs.open(path, "rb") as file:
            table = pq.read_table(file)
        if "model" in table.column_names:  # tables of earlier versions have no models
            _, first = np.unique(table["model"].to_numpy(), return_index=True)
            table = table.take(np.sort(first))
        splits = table["split"].to_numpy()
        pools = {split: table.filter(pa.array(splits == split))["asset"] for split in sorted(set(splits))}
        return cls(pools, url.removesuffix(url.split("/")[-1]) + SUPPORTS)

    def all(self) -> list[Asset]:
        """The assets of all splits, decoded, sorted by split and uid."""
        return [_decode(text) for split in sorted(self.pools) for text in self.pools[split].to_pylist()]

    def supports_of(self, uid: str) -> AssetSupports:
        """What an asset carries others with; nothing for an asset that carries none.

        Raises:
            SpatialdataError: the plan has no supports.
        """
        table, rows = _read_supports(self.supports_url)
        return _decode_supports(table[rows[uid]].as_py()) if uid in rows else AssetSupports()

    def candidates(self, split: str, seed: int, scene: int) -> list[Asset]:
        """The assets that a scene may draw from, decoded: the whole split if it is small, else a seeded sample."""
        pool = self.pools[split]
        chosen = range(len(pool))
        if len(pool) > CANDIDATES:
            generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, scene, 0xA55E7])))
            chosen = sorted(generator.choice(len(pool), CANDIDATES, replace=False).tolist())
        return [_decode(pool[index].as_py()) for index in chosen]

    def of_categories(self, split: str, seed: int, scene: int, names: frozenset[str]) -> list[Asset]:
        """Some assets of each category that has one of `names` (`carriers.names_of`): a sample of `PER_CATEGORY`.

        Seeded, and in the order of the table, so that the result does not depend on the order of `names`.
        """
        pool = self.pools[split]
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, scene, 0xF0121])))
        chosen: list[int] = []
        if split not in self._categories:
            self._categories[split] = _categories(pool)
        for category, rows in self._categories[split].items():
            if names_of(category).isdisjoint(names):
                continue
            few = len(rows) <= PER_CATEGORY
            chosen += rows if few else generator.choice(rows, PER_CATEGORY, replace=False).tolist()
        return [_decode(pool[index].as_py()) for index in sorted(chosen)]


def _categories(pool: Any) -> dict[str, list[int]]:
    """Rows of each category of a column of encoded assets, sorted by category."""
    found: dict[str, list[int]] = {}
    for row, text in enumerate(pool.to_pylist()):
        found.setdefault(str(json.loads(text)["category"]), []).append(row)
    return dict(sorted(found.items()))


def supports_table(supports: Mapping[str, AssetSupports]) -> Any:
    """The table of supports as it is stored: uid, supports (JSON), sorted by uid."""
    ordered = sorted(supports)
    columns = {"uid": ordered, "supports": [to_json(supports[uid]) for uid in ordered]}
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


@lru_cache(maxsize=1)
def _read_supports(url: str) -> tuple[Any, dict[str, int]]:
    """The column of supports, and the row of each uid."""
    fs, path = open_store(url)
    try:
        with fs.open(path, "rb") as file:
            table = pq.read_table(file)
    except FileNotFoundError:
        raise SpatialdataError(f"{url} does not exist: run `spatialdata build` again, which writes it") from None
    return table["supports"], {uid: row for row, uid in enumerate(table["uid"].to_pylist())}


@lru_cache(maxsize=4096)
def _decode_supports(text: str) -> AssetSupports:
    return from_json(text)


@lru_cache(maxsize=4096)
def _decode(text: str) -> Asset:
    return _ASSET.validate_json(text)
