"""Which samples of a whole build are the same pair twice, or show in training what a held-out split shows.

Invariant: the decision follows from the plan, the records and `shard.duplicates` alone, and is kept under OUT as
`duplicates-<digest>.json`, the digest being that of all three; so each packing of a build leaves out the same samples,
and a layer that was made again is looked at again.

What is compared are the hashes of layer `screen` (annotators.perceptual), of the samples that no layer of which every
recipe's samples consist refused. A build without that layer has no duplicates.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...shards.recipes import ALWAYS, FILTERS
from ...shards.schema import SPLITS, Split
from ..config import DuplicateOptions
from ..store.layers import LayerStore
from ..store.plan import Plan, PlanRow
from .hamming import I64, U64, WORDS, distances, first_near, first_twins, parse_hashes

SCREEN = "screen"
HASHES = ("source_hash", "target_hash", "change_hash")
Reason = Literal["duplicate", "leaks_into_test", "leaks_into_val"]
LEAKS: Mapping[Split, Reason] = {"test": "leaks_into_test", "val": "leaks_into_val"}
"""Of each held-out split, the reason for what shows an image of it in a later one of these, or in `train`."""
_AHEAD = 1024
"""Units that are asked for at once."""
T = TypeVar("T")


@dataclass(frozen=True)
class Dropped:
    """A sample that is left out."""

    key: str
    unit: int
    split: Split
    twin: str
    """Key of the sample that stays."""
    distance: int
    """Bits between the two images (the larger of source and target) or, where one leaks, between the nearest two."""
    reason: Reason


@dataclass(frozen=True)
class Duplicates:
    """What is left out of the shards of a build."""

    digest: str
    dropped: tuple[Dropped, ...] = ()
    """In the plan's order."""

    @property
    def reasons(self) -> dict[str, int]:
        """Number by reason."""
        return dict(sorted(Counter(sample.reason for sample in self.dropped).items()))

    @property
    def by_unit(self) -> dict[int, tuple[str, ...]]:
        """Keys by unit, of the units that have some."""
        found: dict[int, tuple[str, ...]] = {}
        for sample in self.dropped:
            found[sample.unit] = (*found.get(sample.unit, ()), sample.key)
        return found


NONE = Duplicates("")


def find_duplicates(store: LayerStore, plan: Plan, layers: Mapping[str, str], options: DuplicateOptions) -> Duplicates:
    """What a finished build leaves out of its shards: read where it was found before, else found and noted.

    A twin within a split: source, target and change are all near those of a sample before it in the plan (for the
    change twice as many bits, since it has the noise of two images); sharing one image with another edit is none.
    A leak: one image is near one of a held-out split's; that split keeps its sample.

    Args:
        layers: the folder of each layer of the build.

    Raises LayerCorrupt for a record, or a file of layer `screen`, that is missing or damaged.
    """
    known = noted_duplicates(store, plan, layers, options)
    if isinstance(known, Duplicates):
        return known
    found = Duplicates(known, tuple(_decide(_load(store, plan, _compared(layers)), options)))
    content = {
        "digest": known,
        "plan": plan.hash,
        "options": options.model_dump(),
        "dropped": [asdict(one) for one in found.dropped],
    }
    store.write_file(_name(known), json.dumps(content, indent=1, sort_keys=True).encode())
    return found


def noted_duplicates(
    store: LayerStore, plan: Plan, layers: Mapping[str, str], options: DuplicateOptions
) -> Duplicates | str:
    """What was found before for a build as it is now, or the digest under which it is to be noted.

    Raises LayerCorrupt for a record that is missing or damaged.
    """
    if not options.enabled or SCREEN not in layers:
        return NONE
    digest = _digest(store, plan, _compared(layers), options)
    return read_duplicates(store, digest) or digest


def read_duplicates(store: LayerStore, digest: str) -> Duplicates | None:
    """What is noted under a digest; None where nothing is, or nothing that can be read."""
    try:
        content = json.loads(store.read_file(_name(digest)))
        if content["digest"] != digest:
            return None
        return Duplicates(digest, tuple(Dropped(**one) for one in content["dropped"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def per_unit(store: LayerStore, plan: Plan, function: Callable[[int], T]) -> Iterator[tuple[int, T]]:
    """Each unit with what the function gives for it, in order: many at once where OUT is remote."""
    with ThreadPoolExecutor(1 if store.is_local else 16) as threads:
        for start in range(0, plan.units, _AHEAD):
            units = range(start, min(start + _AHEAD, plan.units))
            yield from zip(units, threads.map(function, units), strict=True)


def rejected_keys(store: LayerStore, layers: Mapping[str, str], unit: int) -> tuple[set[str], list[str]]:
    """Keys of a unit that some layer refused, and the sha256 of its layer files in the order of the layers' names."""
    records = [store.record(folder, unit) for _, folder in sorted(layers.items())]
    return {reject.key for record in records for reject in record.rejects}, [record.sha256 for record in records]


@dataclass(frozen=True)
class _Candidates:
    """The samples to compare, in the plan's order."""

    keys: list[str]
    units: I64
    splits: NDArray[np.str_]
    derived: NDArray[np.str_]
    """How each was derived; empty where it was not."""
    source: U64
    target: U64
    change: U64
    """Hashes, each (n, 4)."""

    def of(self, splits: Collection[Split], free: NDArray[np.bool_]) -> I64:
        """Positions of the samples of these splits that are `free`."""
        return np.flatnonzero(np.isin(self.splits, list(splits)) & free)

    def alike(self, split: Split, derived: str, free: NDArray[np.bool_]) -> I64:
        """Positions of the `free` samples of a split that were made in one way."""
        return np.flatnonzero((self.splits == split) & (self.derived == derived) & free)

    def dropped(self, index: int, twin: int, distance: int, reason: Reason) -> Dropped:
        split: Split = self.splits[index].item()
        return Dropped(self.keys[index], int(self.units[index]), split, self.keys[twin], distance, reason)


def _load(store: LayerStore, plan: Plan, layers: Mapping[str, str]) -> _Candidates:
    def read(unit: int) -> list[tuple[PlanRow, list[str]]]:
        refused, _ = rejected_keys(store, layers, unit)
        rows = store.read(layers[SCREEN], unit, HASHES)
        taken = [row for row in plan.rows(unit) if row.key not in refused]
        return [(row, [str(rows[row.key][name]) for name in HASHES]) for row in taken]

    keys: list[str] = []
    units: list[int] = []
    splits: list[str] = []
    derived: list[str] = []
    hashes: list[U64] = []
    for unit, found in per_unit(store, plan, read):
        keys += [row.key for row, _ in found]
        units += [unit] * len(found)
        splits += [row.split for row, _ in found]
        derived += [row.spec.get("derived", "") for row, _ in found]
        hashes.append(parse_hashes([text for _, texts in found for text in texts]))
    words = np.concatenate(hashes).reshape(-1, len(HASHES), WORDS)
    source, target, change = (np.ascontiguousarray(words[:, index]) for index in range(len(HASHES)))
    made = np.array(derived, "U7")
    return _Candidates(keys, np.array(units, np.int64), np.array(splits, "U5"), made, source, target, change)


def _decide(samples: _Candidates, options: DuplicateOptions) -> list[Dropped]:
    found: dict[int, Dropped] = {}
    free = np.ones(len(samples.keys), np.bool_)
    stages = [partial(_leaks, split=split) for split in LEAKS] if options.across_splits else []
    # A derived sample has the images of its origin: it is compared with those that were derived as it was.
    made: list[str] = np.unique(samples.derived).tolist()
    for stage in (*stages, *(partial(_twins, split=split, derived=way) for split in SPLITS for way in made)):
        found |= stage(samples, free, options.distance)
        free[list(found)] = False
    return [found[index] for index in sorted(found)]


def _leaks(samples: _Candidates, free: NDArray[np.bool_], limit: int, *, split: Split) -> dict[int, Dropped]:
    """Samples of val and train, by position, that show an image of a held-out split; val is asked after test."""
    held = samples.of((split,), free)
    later: tuple[Split, ...] = ("train", "val") if split == "test" else ("train",)
    others = samples.of(later, free)
    shown = np.concatenate([samples.source[held], samples.target[held]])
    found: dict[int, Dropped] = {}
    for images in (samples.source, samples.target):
        nearest = first_near(images[others], shown, limit)
        for index, image in zip(others[nearest >= 0].tolist(), nearest[nearest >= 0].tolist(), strict=True):
            apart = int(distances(images[index : index + 1], shown[image : image + 1])[0])
            twin = int(held[image % len(held)])
            found.setdefault(index, samples.dropped(index, twin, apart, LEAKS[split]))
    return found


def _twins(
    samples: _Candidates, free: NDArray[np.bool_], limit: int, *, split: Split, derived: str
) -> dict[int, Dropped]:
    """Samples of a split, by position, that are the same pair as one before them that was made as they were."""
    mine = samples.alike(split, derived, free)
    # Targets first: edits of one scene share their source, not their target.
    hashes = [part[mine] for part in (samples.target, samples.source, samples.change)]
    twins = first_twins(hashes, (limit, limit, 2 * limit))
    later = np.flatnonzero(twins >= 0)
    apart = np.maximum(*(distances(part[later], part[twins[later]]) for part in hashes[:2]))
    return {
        int(mine[index]): samples.dropped(int(mine[index]), int(mine[twins[index]]), int(bits), "duplicate")
        for index, bits in zip(later, apart, strict=True)
    }


def _compared(layers: Mapping[str, str]) -> dict[str, str]:
    """The layers whose rejects are not compared: those that the samples of every recipe need."""
    return {layer: layers[layer] for layer in (*ALWAYS, *FILTERS) if layer in layers}


def _digest(store: LayerStore, plan: Plan, layers: Mapping[str, str], options: DuplicateOptions) -> str:
    """16 hex digits of all that the decision follows from."""
    place = sorted(layers).index(SCREEN)
    digest = hashlib.sha256(json.dumps([plan.hash, layers[SCREEN], options.model_dump()]).encode())
    for _, (refused, sha256) in per_unit(store, plan, partial(rejected_keys, store, layers)):
        digest.update(json.dumps([sha256[place], sorted(refused)]).encode())
    return digest.hexdigest()[:16]


def _name(digest: str) -> str:
    return f"duplicates-{digest}.json"
