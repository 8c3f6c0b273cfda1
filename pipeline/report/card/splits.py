"""Whether splits are held apart: assets, scenes and near-duplicates that two of them share, looked for, not assumed."""

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
    """What was found across the splits of one recipe."""

    assets: Mapping[Pair, tuple[str, ...]]
    """Of each pair of splits that are there, the assets of the first whose shape, or which themselves, both show."""
    scenes: Mapping[Pair, int]
    """The same of scenes: how many."""
    duplicates: Duplicates | None
    """What packing left out; None where near-duplicates were not looked for, or the records are gone."""
    lost: bool
    """Whether they are gone."""
    options: DuplicateOptions
    released: bool
    """Whether samples keep the splits of a release, in which val shares assets with train."""

    @property
    def leaks(self) -> bool:
        """Whether a held-out split shows what it must not."""
        kept: set[Pair] = {("train", "val"), ("val", "test")} if self.released else set()
        return any(self.scenes.values()) or any(found for pair, found in self.assets.items() if pair not in kept)


def check_splits(build: Build, census: Census, options: DuplicateOptions) -> SplitCheck:
    """Look for what splits share.

    Args:
        options: with which duplicates were looked for when the recipe was packed.

    Raises SpatialdataError where the plan is damaged.
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
    held = _scenes(build, census)
    try:
        found, lost = stored_duplicates(build.store, build.plan, build.layers, options), False
    except LayerCorrupt:
        found, lost = None, True
    return SplitCheck(
        assets,
        {(one, other): len(held[one] & held[other]) for one, other in pairs},
        found if isinstance(found, Duplicates) and found.digest else None,
        lost,
        options,
        not KEEPS_ITS_SPLITS.isdisjoint(census.datasets),
    )


def scene_of(spec: Mapping[str, Any]) -> str:
    """What names a sample's scene: its seed, or the place of a released pair, whichever way round it is shown."""
    if "seed" in spec:
        return str(spec["seed"])
    return canonical({name: value for name, value in spec.items() if name not in ("edit", *OF_DERIVED)})


def _scenes(build: Build, census: Census) -> dict[Split, set[int]]:
    """Hashes of the scenes of each split's samples."""
    held: dict[Split, set[int]] = {split: set() for split in SPLITS}
    for unit in range(build.plan.units):
        for row in build.plan.rows(unit):
            for split, keys in census.keys.items():
                if row.key in keys:
                    held[split].add(hash(scene_of(row.spec)))
    return held
