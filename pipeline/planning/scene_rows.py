"""The plan of generated scenes, vectorized: millions of samples in seconds.

Invariant: sample i (key, split, seed, edit) depends only on the seed, the weights and i, not on the number of samples
or the machine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from ...shards.errors import BadInput
from ...shards.schema import EDIT_KINDS, SPLITS, EditKind
from ...sources.edits.patterns import GROUP, Patterns, grouped, rows_of_scene, scene_patterns
from ...sources.edits.registry import composed_kind, inverse_kind
from ..store.families import COMPOSED, INVERTED
from ..store.plan import RecordBatch

pc = cast("Any", pyarrow.compute)
_BATCH = 1 << 18
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SEEDS = 0x5CE2E
_Indices = npt.NDArray[np.int64]


def plan_scenes(
    samples: int,
    seed: int,
    edits: Mapping[str, float],
    splits: Mapping[str, float],
    prefix: str = "scene",
    *,
    invert: bool = False,
    per_scene: int = 1,
    pairs_per_scene: int | None = None,
) -> Iterator[RecordBatch]:
    """Yield batches for `write_plan`: key `<prefix>-00000123`, split, spec `{"edit": kind, "seed": 63-bit integer}`.

    Seeds: output i of numpy's counter-based Philox, whose stream is fixed, shifted to 63 bits.
    Edits: Sainte-Lague apportionment, so that every prefix of the samples has each kind in proportion to its weight, to
    within one sample.
    Splits: i times the golden ratio modulo 1, cut at the fractions. This is even in every arithmetic progression of i,
    so no kind of edit falls into one split. The first sample is in the first split with a share.

    Args:
        invert: each sample is followed by its inverse.
        per_scene: N; samples Nj to Nj + N - 1 share a scene, whose seed and split are drawn like those of sample j. The
            kinds of its groups of edits are drawn one after the other. The samples are followed by samples composed of
            two of them, in turn if not all are planned. An odd last sample has its own scene. See
            `pipeline.store.families` for the specs.
        pairs_per_scene: most samples of each scene, with derived ones.

    Raises BadInput if weights or fractions are negative or all zero, or `samples` is not a multiple of N (of 1 for 2).
    """
    if per_scene > 2 and samples % per_scene:
        raise BadInput(f"samples must be a multiple of {per_scene}, the edits of each scene (got {samples})")
    width = key_width(samples)
    _shares(edits, sorted(edits), "edits")
    weights: dict[EditKind, float] = {cast("EditKind", kind): weight for kind, weight in edits.items() if weight > 0}
    each = 2 if invert else 1
    composed = rows_of_scene(weights, per_scene, invert, pairs_per_scene) // each - per_scene
    groups = _Groups(weights, per_scene)
    scenes = -(-samples // per_scene)
    for index, numbers, split in draw_scenes(scenes, seed, splits):
        seeds = pa.array(numbers).cast(pa.string())
        drawn = groups.draw(len(index))
        keys = [_keys(prefix, index * np.uint64(per_scene) + np.uint64(turn), width) for turn in range(per_scene)]
        rest = samples % per_scene if int(index[-1]) + 1 == scenes else 0
        for part in _parts(len(index) - bool(rest), _BATCH // (1 if each * per_scene == 1 else 8 * per_scene)):
            scene = _Scenes([key[part] for key in keys], seeds[part], [kind[part] for kind in drawn], invert)
            yield _batch(split[part], scene.rows(groups, composed, int(index[part][0]) if len(index[part]) else 0))
        if rest:
            last = slice(len(index) - 1, None)
            single = _Scenes([keys[0][last]], seeds[last], [drawn[0][last]], invert)
            yield _batch(split[last], single.rows(groups, 0, 0))


def draw_scenes(
    scenes: int, seed: int, splits: Mapping[str, float]
) -> Iterator[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], Any]]:
    """Numbers, seeds and splits (an Arrow array) of the scenes of a plan, in batches, as `plan_scenes` describes."""
    bits = np.random.Philox(np.random.SeedSequence([seed, _SEEDS]))
    cuts = _cuts(splits)
    for first in range(0, scenes, _BATCH):
        index = np.arange(first, min(first + _BATCH, scenes), dtype=np.uint64)
        seeds = bits.random_raw(len(index)) >> np.uint64(1)
        side = np.searchsorted(cuts, (index * _GOLDEN) >> np.uint64(11), side="right")
        yield index, seeds, pa.array(SPLITS).take(pa.array(side))


def key_width(samples: int) -> int:
    """Digits in the keys of a plan of so many rendered samples."""
    return max(8, len(str(samples - 1)))


class _Groups:
    """Draws the kinds of the edits of each scene, and tells which of them compose."""

    def __init__(self, weights: Mapping[EditKind, float], per_scene: int) -> None:
        self.members = list(grouped(per_scene))
        """The numbers of the edits of each group of a scene."""
        self._patterns = scene_patterns(weights, per_scene)
        self._kinds: list[tuple[Patterns, Callable[[int], _Indices]]] = []
        for found in self._patterns:
            if all(found != other for other, _ in self._kinds):
                texts = {"+".join(kinds): weight for kinds, weight in found.items()}
                self._kinds.append((found, _endless(_kinds(texts))))

    def draw(self, scenes: int) -> list[_Indices]:
        """For each edit of a scene, the indices of its kinds in EDIT_KINDS, in the next scenes."""
        drawn: dict[int, _Indices] = {}
        for found, take in self._kinds:
            # Groups alike take turns.
            alike = [group for group, other in enumerate(self._patterns) if other == found]
            values = take(scenes * len(alike)).reshape(scenes, len(alike))
            drawn |= {group: values[:, which] for which, group in enumerate(alike)}
        return [
            np.array([EDIT_KINDS.index(kinds[member]) for kinds in sorted(self._patterns[group])])[drawn[group]]
            for group, members in enumerate(self.members)
            for member in range(len(members))
        ]

    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of edits of one group, by their numbers, those of different groups in turn."""
        of_groups = [list(combinations(group, 2)) for group in self.members]
        return [pairs[rank] for rank in range(GROUP * GROUP) for pairs in of_groups if rank < len(pairs)]


def _parts(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size`. Specs of derived samples are long, so their batches have fewer scenes."""
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


_Rows = list[tuple[Any, Any]]
"""Arrow arrays of keys and specs, one pair of arrays for each sample of a scene, in the order of the plan."""


def _keys(prefix: str, index: npt.NDArray[np.uint64], width: int) -> Any:
    digits = pc.utf8_lpad(pa.array(index).cast(pa.string()), width=width, padding="0")
    return pc.binary_join_element_wise(prefix, digits, "-")


def _batch(split: Any, rows: _Rows) -> RecordBatch:
    order = pa.array(np.arange(len(rows) * len(split)).reshape(len(rows), -1).T.ravel())
    columns = [[key for key, _ in rows], [split] * len(rows), [spec for _, spec in rows]]
    taken = [pa.concat_arrays(parts).take(order) if len(parts) > 1 else parts[0] for parts in columns]
    return pa.RecordBatch.from_arrays(taken, names=["key", "split", "spec"])


@dataclass(frozen=True)
class _Scenes:
    """The samples of some scenes that have equally many."""

    keys: list[Any]
    """Arrow arrays of the keys of the rendered samples."""
    seeds: Any
    kinds: list[_Indices]
    """Their kinds, as indices in EDIT_KINDS."""
    invert: bool

    def rows(self, groups: "_Groups", composed: int, first: int) -> _Rows:
        """The rendered samples, `composed` composed ones, and their inverses. `first`: number of the first scene."""
        rows: _Rows = []
        names = [_take(EDIT_KINDS, kind) for kind in self.kinds]
        shared = ()
        if len(self.keys) > 1:
            listed = [part for name in names for part in (name, '","')][:-1]
            shared = (',"edits":["', *listed, '"],"family":"', self.keys[0], '"')
        for turn, (key, name) in enumerate(zip(self.keys, names, strict=True)):
            end = f',"turn":{turn}}}' if shared else "}"
            rows.append((key, _joined('{"edit":"', name, '"', *shared, ',"seed":', self.seeds, end)))
            rows += self._inverse(key, self.kinds[turn])
        for one, other, kinds in self._chosen(groups, composed, first):
            key, second = (_choose(turn, self.keys) for turn in (one, other))
            away = _take(["", "", *map(str, range(2, len(self.keys)))], other - one)
            start = ('{"derived":"compose","edit":"', _take(EDIT_KINDS, kinds), '","family":"', self.keys[0])
            spec = _joined(*start, '","origin":["', key, '","', second, '"],"seed":', self.seeds, "}")
            key = _joined(key, COMPOSED, away)
            rows.append((key, spec))
            rows += self._inverse(key, kinds)
        return rows

    def _chosen(self, groups: "_Groups", composed: int, first: int) -> Iterator[tuple[_Indices, _Indices, _Indices]]:
        """For each composed sample of a scene: the numbers of its origins, and its kind, in all scenes."""
        if not composed:
            return
        pairs = np.array(groups.pairs())
        kinds = np.stack([_COMPOSED[self.kinds[one], self.kinds[other]] for one, other in pairs.tolist()], axis=1)
        scenes = np.arange(len(kinds))[:, None]
        turned = (np.arange(len(pairs)) - (first + scenes) * composed) % len(pairs)
        order = np.argsort(turned + len(pairs) * (kinds < 0), axis=1, kind="stable")[:, :composed]
        order.sort(axis=1)
        for slot in order.T:
            yield pairs[slot, 0], pairs[slot, 1], kinds[scenes[:, 0], slot]

    def _inverse(self, key: Any, kinds: _Indices) -> _Rows:
        if not self.invert:
            return []
        back = _take([inverse_kind(kind) for kind in EDIT_KINDS], kinds)
        start = ('{"derived":"invert","edit":"', back, '","family":"', self.keys[0], '","origin":["', key)
        return [(_joined(key, INVERTED), _joined(*start, '"],"seed":', self.seeds, "}"))]


def _composed_kinds() -> _Indices:
    """(K, K): for two kinds, the index of the kind that they compose to; -1 if they do not."""
    kinds = [[composed_kind(one, other) for other in EDIT_KINDS] for one in EDIT_KINDS]
    return np.array([[EDIT_KINDS.index(kind) if kind else -1 for kind in row] for row in kinds])


_COMPOSED: Final = _composed_kinds()


def _choose(which: _Indices, arrays: list[Any]) -> Any:
    """The elements of arrays of equal length: of the array with this number."""
    return pc.choose(pa.array(which), *arrays) if len(arrays) > 1 else arrays[0]


def _joined(*parts: Any) -> Any:
    return pc.binary_join_element_wise(*parts, "")


def _take(names: Sequence[str], drawn: _Indices) -> Any:
    return pa.array(names).take(pa.array(drawn))


def _endless(batches: Iterator[_Indices]) -> Callable[[int], _Indices]:
    """A function that takes the next so many values of batches."""
    held = np.empty(0, np.int64)

    def take(count: int) -> _Indices:
        nonlocal held
        while len(held) < count:
            held = np.concatenate([held, next(batches)])
        taken, held = held[:count], held[count:]
        return taken

    return take


def _kinds(weights: Mapping[str, float]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the index of each sample's kind (in sorted order), `_BATCH` at a time, without end.

    The j-th sample of a kind with share w is due at time (j + 1/2) / w. Samples are ordered by their times, ties by the
    order of the kinds. One window of times is sorted at a time, so memory does not grow.
    """
    shares = _shares(weights, sorted(weights), "edits")
    pending = np.empty(0, np.int64)
    start = 0
    while True:
        while len(pending) < _BATCH:
            pending = np.concatenate([pending, _window(shares, start, start + _BATCH)])
            start += _BATCH
        yield pending[:_BATCH]
        pending = pending[_BATCH:]


def _window(shares: npt.NDArray[np.float64], start: int, stop: int) -> npt.NDArray[np.int64]:
    times: list[npt.NDArray[np.float64]] = []
    kinds: list[npt.NDArray[np.int64]] = []
    for kind, share in enumerate(shares):
        if share == 0:
            continue
        # Take one more candidate on either side: the exact times below decide which window each belongs to.
        due = (np.arange(max(0, int(start * share) - 2), int(stop * share) + 3) + 0.5) / share
        due = due[(due >= start) & (due < stop)]
        times.append(due)
        kinds.append(np.full(len(due), kind, np.int64))
    return np.concatenate(kinds)[np.argsort(np.concatenate(times), kind="stable")]


def _cuts(fractions: Mapping[str, float]) -> npt.NDArray[np.uint64]:
    """The end of each split except the last, on a scale of 2^53."""
    shares = _shares(fractions, SPLITS, "splits")
    ends = np.round(np.cumsum(shares) * 2.0**53)
    ends[np.flatnonzero(shares)[-1] :] = 2.0**53  # rounding must not give a sample to a split without a share
    return ends[:-1].astype(np.uint64)


def _shares(weights: Mapping[str, float], order: tuple[str, ...] | list[str], what: str) -> npt.NDArray[np.float64]:
    values = np.array([float(weights.get(name, 0.0)) for name in order])
    if set(weights) - set(order) or not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise BadInput(f"{what} must be numbers of 0 or more, at least one of them above 0 (got {dict(weights)})")
    return values / values.sum()
