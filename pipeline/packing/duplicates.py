"""Find duplicate samples of a build, and samples that leak images of held-out splits.

Invariant: the result depends only on the plan, the records and `shard.duplicates`. It is stored under OUT as
`duplicates-<digest>.json` with a digest of all three, so each packing of a build leaves out the same samples, and a
recomputed layer leads to a new search.

The search compares the hashes of layer `screen` (`annotators.perceptual`) of samples that no layer rejected, among the
layers that every recipe needs. A build without layer `screen` has no duplicates.
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
from ...sources.edits.registry import RULES
from ..config import DuplicateOptions
from ..store.layers import LayerStore
from ..store.plan import Plan, PlanRow
from .hamming import I64, U64, WORDS, distances, first_near, first_twins, parse_hashes

SCREEN = "screen"
HASHES = ("source_hash", "target_hash", "change_hash")
Reason = Literal["duplicate", "leaks_into_test", "leaks_into_val"]
LEAK_REASONS: Mapping[Split, Reason] = {"test": "leaks_into_test", "val": "leaks_into_val"}
"""For each held-out split, the reason of samples of later splits, or of `train`, that show an image of it."""
_UNITS_AT_ONCE = 1024
"""Units that are queued at once."""
T = TypeVar("T")


@dataclass(frozen=True)
class Dropped:
    """A sample that is left out of the shards."""

    key: str
    unit: int
    split: Split
    twin: str
    """Key of the sample that stays."""
    distance: int
    """Differing bits: of a duplicate, the larger of source and target; of a leak, those of the nearest two images."""
    reason: Reason


@dataclass(frozen=True)
class Duplicates:
    """The samples that are left out of the shards of a build."""

    digest: str
    dropped: tuple[Dropped, ...] = ()
    """In the plan's order."""

    @property
    def reasons(self) -> dict[str, int]:
        """Number of samples by reason."""
        return dict(sorted(Counter(sample.reason for sample in self.dropped).items()))

    @property
    def by_unit(self) -> dict[int, tuple[str, ...]]:
        """Keys by unit, for units that have any."""
        found: dict[int, tuple[str, ...]] = {}
        for sample in self.dropped:
            found[sample.unit] = (*found.get(sample.unit, ()), sample.key)
        return found


NO_DUPLICATES = Duplicates("")


def find_duplicates(store: LayerStore, plan: Plan, layers: Mapping[str, str], options: DuplicateOptions) -> Duplicates:
    """Find the samples that a finished build leaves out of its shards, or read the stored result.

    A duplicate has source, target and change near those of an earlier sample of its split. The limit of the change is
    twice as many bits, since it has the noise of two images. Two edits that share one image are no duplicates. In a
    scene with more than two edits, those that have numbers differ in them (`sources.edits.groups.alike`), so they are
    duplicates only if their hashes are equal. A leak has an image near an image of a held-out split; the held-out split
    keeps its sample.

    Args:
        layers: the folder of each layer of the build.

    Raises LayerCorrupt if a record or a file of layer `screen` is missing or damaged.
    """
    stored = stored_duplicates(store, plan, layers, options)
    if isinstance(stored, Duplicates):
        return stored
    found = Duplicates(stored, tuple(_search(_load(store, plan, _required_layers(layers)), options)))
    content = {
        "digest": stored,
        "plan": plan.hash,
        "options": options.model_dump(),
        "dropped": [asdict(one) for one in found.dropped],
    }
    store.write_file(_name(stored), json.dumps(content, indent=1, sort_keys=True).encode())
    return found


def stored_duplicates(
    store: LayerStore, plan: Plan, layers: Mapping[str, str], options: DuplicateOptions
) -> Duplicates | str:
    """The stored result for the current state of a build, or the digest under which to store it.

    Raises LayerCorrupt if a record is missing or damaged.
    """
    if not options.enabled or SCREEN not in layers:
        return NO_DUPLICATES
    digest = _digest(store, plan, _required_layers(layers), options)
    return read_duplicates(store, digest) or digest


def read_duplicates(store: LayerStore, digest: str) -> Duplicates | None:
    """The result stored under a digest; None if it is missing or damaged."""
    try:
        content = json.loads(store.read_file(_name(digest)))
        if content["digest"] != digest:
            return None
        return Duplicates(digest, tuple(Dropped(**one) for one in content["dropped"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def per_unit(store: LayerStore, plan: Plan, function: Callable[[int], T]) -> Iterator[tuple[int, T]]:
    """Yield each unit with the function's result for it, in order. Runs concurrently if OUT is remote."""
    with ThreadPoolExecutor(1 if store.is_local else 16) as threads:
        for start in range(0, plan.units, _UNITS_AT_ONCE):
            units = range(start, min(start + _UNITS_AT_ONCE, plan.units))
            yield from zip(units, threads.map(function, units), strict=True)


def rejected_keys(store: LayerStore, layers: Mapping[str, str], unit: int) -> tuple[set[str], list[str]]:
    """Keys of a unit that any of the layers rejected, and the sha256 of its layer files, in order of layer names."""
    records = [store.record(folder, unit) for _, folder in sorted(layers.items())]
    return {reject.key for record in records for reject in record.rejects}, [record.sha256 for record in records]


@dataclass(frozen=True)
class _Candidates:
    """The samples to compare, in the plan's order."""

    keys: list[str]
    units: I64
    splits: NDArray[np.str_]
    derived: NDArray[np.str_]
    """How each sample was derived; empty if it was not."""
    scenes: I64
    """The number of the scene, of samples whose edits differ in their numbers from the others of their scene; else
    -1."""
    source: U64
    target: U64
    change: U64
    """Hashes, each (n, 4)."""

    def in_splits(self, splits: Collection[Split], remaining: NDArray[np.bool_]) -> I64:
        """Positions of the samples of these splits that are `remaining`."""
        return np.flatnonzero(np.isin(self.splits, list(splits)) & remaining)

    def with_derivation(self, split: Split, derived: str, remaining: NDArray[np.bool_]) -> I64:
        """Positions of the `remaining` samples of a split that were derived in this way."""
        return np.flatnonzero((self.splits == split) & (self.derived == derived) & remaining)

    def dropped(self, index: int, twin: int, distance: int, reason: Reason) -> Dropped:
        split: Split = self.splits[index].item()
        return Dropped(self.keys[index], int(self.units[index]), split, self.keys[twin], distance, reason)


def _load(store: LayerStore, plan: Plan, layers: Mapping[str, str]) -> _Candidates:
    def read(unit: int) -> list[tuple[PlanRow, str, list[str]]]:
        rejected, _ = rejected_keys(store, layers, unit)
        rows = store.read(layers[SCREEN], unit, HASHES)
        planned = list(plan.rows(unit))
        scenes = {row.spec["family"] for row in planned if row.spec.get("turn", 0) > 1}
        taken = [row for row in planned if row.key not in rejected]
        return [(row, _scene(row, scenes), [str(rows[row.key][name]) for name in HASHES]) for row in taken]

    keys: list[str] = []
    units: list[int] = []
    splits: list[str] = []
    derived: list[str] = []
    scenes: list[int] = []
    numbers: dict[str, int] = {"": -1}
    hashes: list[U64] = []
    for unit, found in per_unit(store, plan, read):
        keys += [row.key for row, _, _ in found]
        units += [unit] * len(found)
        splits += [row.split for row, _, _ in found]
        derived += [row.spec.get("derived", "") for row, _, _ in found]
        scenes += [numbers.setdefault(scene, len(numbers)) for _, scene, _ in found]
        hashes.append(parse_hashes([text for _, _, texts in found for text in texts]))
    words = np.concatenate(hashes).reshape(-1, len(HASHES), WORDS)
    source, target, change = (np.ascontiguousarray(words[:, index]) for index in range(len(HASHES)))
    derivations = np.array(derived, "U7")
    splits_of, units_of = np.array(splits, "U5"), np.array(units, np.int64)
    return _Candidates(keys, units_of, splits_of, derivations, np.array(scenes, np.int64), source, target, change)


def _scene(row: PlanRow, scenes: Collection[str]) -> str:
    """The scene of a sample, if it is one of these and edits of the sample's kind have numbers; else empty."""
    family = row.spec.get("family", "")
    return family if family in scenes and RULES[row.spec["edit"]].numbers else ""


def _search(samples: _Candidates, options: DuplicateOptions) -> list[Dropped]:
    found: dict[int, Dropped] = {}
    remaining = np.ones(len(samples.keys), np.bool_)
    stages = [partial(_leaks, split=split) for split in LEAK_REASONS] if options.across_splits else []
    # A derived sample has the images of its origin, so it is compared only with samples derived in the same way.
    derivations: list[str] = np.unique(samples.derived).tolist()
    stages += [partial(_twins, split=split, derived=derived) for split in SPLITS for derived in derivations]
    for stage in stages:
        found |= stage(samples, remaining, options.distance)
        remaining[list(found)] = False
    return [found[index] for index in sorted(found)]


def _leaks(samples: _Candidates, remaining: NDArray[np.bool_], limit: int, *, split: Split) -> dict[int, Dropped]:
    """Samples of later splits, by position, that show an image of a held-out split."""
    held_out = samples.in_splits((split,), remaining)
    later: tuple[Split, ...] = ("train", "val") if split == "test" else ("train",)
    others = samples.in_splits(later, remaining)
    shown = np.concatenate([samples.source[held_out], samples.target[held_out]])
    found: dict[int, Dropped] = {}
    for images in (samples.source, samples.target):
        nearest = first_near(images[others], shown, limit)
        for index, image in zip(others[nearest >= 0].tolist(), nearest[nearest >= 0].tolist(), strict=True):
            distance = int(distances(images[index : index + 1], shown[image : image + 1])[0])
            twin = int(held_out[image % len(held_out)])
            found.setdefault(index, samples.dropped(index, twin, distance, LEAK_REASONS[split]))
    return found


def _twins(
    samples: _Candidates, remaining: NDArray[np.bool_], limit: int, *, split: Split, derived: str
) -> dict[int, Dropped]:
    """Duplicates, by position, among the samples of a split that were derived in the same way."""
    candidates = samples.with_derivation(split, derived, remaining)
    # Targets first: edits of one scene share their source, not their target.
    hashes = [part[candidates] for part in (samples.target, samples.source, samples.change)]
    twins = first_twins(hashes, (limit, limit, 2 * limit), samples.scenes[candidates])
    later = np.flatnonzero(twins >= 0)
    distance = np.maximum(*(distances(part[later], part[twins[later]]) for part in hashes[:2]))
    pairs = zip(candidates[later].tolist(), candidates[twins[later]].tolist(), distance.tolist(), strict=True)
    return {index: samples.dropped(index, twin, bits, "duplicate") for index, twin, bits in pairs}


def _required_layers(layers: Mapping[str, str]) -> dict[str, str]:
    """The layers that every recipe needs. Samples that they reject are not compared."""
    return {layer: layers[layer] for layer in (*ALWAYS, *FILTERS) if layer in layers}


def _digest(store: LayerStore, plan: Plan, layers: Mapping[str, str], options: DuplicateOptions) -> str:
    """16 hex digits of a digest of everything that determines the result."""
    position = sorted(layers).index(SCREEN)
    digest = hashlib.sha256(json.dumps([plan.hash, layers[SCREEN], options.model_dump()]).encode())
    for _, (rejected, sha256) in per_unit(store, plan, partial(rejected_keys, store, layers)):
        digest.update(json.dumps([sha256[position], sorted(rejected)]).encode())
    return digest.hexdigest()[:16]


def _name(digest: str) -> str:
    return f"duplicates-{digest}.json"
