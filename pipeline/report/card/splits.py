"""Checks for leaks between splits: assets, scenes and near-duplicates that two splits share."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ....shards.schema import KEEPS_ITS_SPLITS, SPLITS, Split
from ...config import DuplicateOptions
from ...opened import Build
from ...packing.duplicates import Duplicates, stored_duplicates
from ...store.families import OF_DERIVED
from ...store.fingerprints import canonical
from ...store.layers import LayerCorrupt
from ..census import Census

Pair = tuple[Split, Split]


@dataclass(frozen=True)
class SplitCheck:
    """What the splits of one recipe share."""

    assets: Mapping[Pair, tuple[str, ...]]
    """For each pair of present splits, the assets of the first one that the second shows, or whose shape it shows."""
    scenes: Mapping[Pair, int]
    """For each pair of present splits, the number of shared scenes."""
    duplicates: Duplicates | None
    """Near-duplicates that packing left out; None if they were not searched, or records are missing."""
    lost: bool
    """Whether records are missing."""
    options: DuplicateOptions
    released: bool
    """Whether samples keep the splits of a release, in which val shares assets with train."""

    @property
    def leaks(self) -> bool:
        """Whether a held-out split shows an asset or a scene of another split."""
        kept: set[Pair] = {("train", "val"), ("val", "test")} if self.released else set()
        return any(self.scenes.values()) or any(found for pair, found in self.assets.items() if pair not in kept)


def check_splits(build: Build, census: Census, options: DuplicateOptions) -> SplitCheck:
    """Find assets, scenes and near-duplicates that two splits share.

    Args:
        options: the options of the duplicate search when the recipe was packed.

    Raises SpatialdataError if the plan is damaged.
    """
    present: list[Split] = [split for split in SPLITS if census.keys.get(split)]
    pairs: list[Pair] = [(one, other) for one, other in combinations(present, 2)]
    seen_in: dict[str, set[Split]] = {}
    for uid, shown in census.assets.items():
        seen_in.setdefault(shown.family or uid, set()).update(shown.splits)
    assets: dict[Pair, tuple[str, ...]] = {
        (one, other): tuple(
            sorted(
                uid
                for uid, shown in census.assets.items()
                if one in shown.splits and other in shown.splits | seen_in[shown.family or uid]
            )
        )
        for one, other in pairs
    }
    scenes = _scenes(build, census)
    try:
        found, lost = stored_duplicates(build.store, build.plan, build.layers, options), False
    except LayerCorrupt:
        found, lost = None, True
    return SplitCheck(
        assets,
        {(one, other): len(scenes[one] & scenes[other]) for one, other in pairs},
        found if isinstance(found, Duplicates) and found.digest else None,
        lost,
        options,
        not KEEPS_ITS_SPLITS.isdisjoint(census.datasets),
    )


def scene_of(spec: Mapping[str, Any]) -> str:
    """Identifier of a sample's scene: its seed, or the location of a released pair. A pair and its inverse share it."""
    if "seed" in spec:
        return str(spec["seed"])
    return canonical({name: value for name, value in spec.items() if name not in ("edit", *OF_DERIVED)})


def _scenes(build: Build, census: Census) -> dict[Split, set[int]]:
    """Hashes of the scenes of each split's samples."""
    hashes: dict[Split, set[int]] = {split: set() for split in SPLITS}
    for unit in range(build.plan.units):
        for row in build.plan.rows(unit):
            for split, keys in census.keys.items():
                if row.key in keys:
                    hashes[split].add(hash(scene_of(row.spec)))
    return hashes
