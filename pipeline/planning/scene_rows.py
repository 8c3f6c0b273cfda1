"""The plan of generated scenes, vectorized: millions of samples in seconds.

Invariant: sample i (key, split, seed, edit) depends only on the seed, the weights and i, not on the number of samples
or the machine.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from ...shards.errors import BadInput
from ...shards.schema import SPLITS, EditKind
from ...sources.edits.registry import composed_kind, inverse_kind
from ..store.families import COMPOSED, INVERTED, kind_pairs
from ..store.plan import RecordBatch

pc = cast("Any", pyarrow.compute)
_BATCH = 1 << 18
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SEEDS = 0x5CE2E
_KindPairs = Sequence[tuple[str, str]]


def plan_scenes(
    samples: int,
    seed: int,
    edits: Mapping[str, float],
    splits: Mapping[str, float],
    prefix: str = "scene",
    *,
    invert: bool = False,
    compose: bool = False,
) -> Iterator[RecordBatch]:
    """Yield batches for `write_plan`: key `<prefix>-00000123`, split, spec `{"edit": kind, "seed": 63-bit integer}`.

    Seeds: output i of numpy's counter-based Philox, whose stream is fixed, shifted to 63 bits.
    Edits: Sainte-Lague apportionment, so that every prefix of the samples has each kind in proportion to its weight, to
    within one sample.
    Splits: i times the golden ratio modulo 1, cut at the fractions. This is even in every arithmetic progression of i,
    so no kind of edit falls into one split. The first sample is in the first split with a share.

    Args:
        invert: each sample is followed by its inverse.
        compose: samples 2j and 2j + 1 share a scene, whose seed, kinds and split are drawn like those of sample j. Both
            are followed by the sample composed of them. An odd last sample has its own scene. See
            `pipeline.store.families` for their specs.

    Raises BadInput if weights or fractions are negative or all zero.
    """
    width = max(8, len(str(samples - 1)))
    bits = np.random.Philox(np.random.SeedSequence([seed, _SEEDS]))
    kinds = [("", kind) for kind in sorted(edits)]
    weights = dict(edits)
    if compose:
        pairs = kind_pairs({cast("EditKind", kind): weight for kind, weight in edits.items() if weight > 0})
        kinds = sorted(pairs)
        weights = {"+".join(pair): weight for pair, weight in pairs.items()}
    drawn = _kinds(weights)
    cuts = _cuts(splits)
    size = 2 if compose else 1
    scenes = -(-samples // size)
    for first in range(0, scenes, _BATCH):
        index = np.arange(first, min(first + _BATCH, scenes), dtype=np.uint64)
        seeds = pa.array(bits.random_raw(len(index)) >> np.uint64(1)).cast(pa.string())
        kind = next(drawn)[: len(index)]
        side = np.searchsorted(cuts, (index * _GOLDEN) >> np.uint64(11), side="right")
        split = pa.array(SPLITS).take(pa.array(side))
        keys = [_keys(prefix, index * np.uint64(size) + np.uint64(member), width) for member in range(size)]
        unpaired = int(compose and samples % 2 and first + len(index) == scenes)
        for part in _parts(len(index) - unpaired, _BATCH if not (invert or compose) else _BATCH // 8):
            common = (kinds, kind[part], seeds[part], invert)
            if compose:
                rows = _paired_rows([key[part] for key in keys], *common)
            else:
                rows = _single_rows(keys[0][part], *common)
            yield _batch(split[part], rows)
        if unpaired:
            rest = slice(len(index) - 1, None)
            single = [("", one) for one, _ in kinds]
            yield _batch(split[rest], _single_rows(keys[0][rest], single, kind[rest], seeds[rest], invert))


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


def _single_rows(key: Any, kinds: _KindPairs, drawn: npt.NDArray[np.int64], seeds: Any, invert: bool) -> _Rows:
    """One sample for each scene. Its kind is the second of a pair."""
    names = [kind for _, kind in kinds]
    rows = [(key, _joined('{"edit":"', _take(names, drawn), '","seed":', seeds, "}"))]
    return [*rows, _inverse(key, key, names, drawn, seeds)] if invert else rows


def _paired_rows(keys: list[Any], kinds: _KindPairs, drawn: npt.NDArray[np.int64], seeds: Any, invert: bool) -> _Rows:
    """Two samples for each scene, and the sample composed of them."""
    family = keys[0]
    first, second = (_take([pair[member] for pair in kinds], drawn) for member in range(2))
    composed = [str(composed_kind(*cast("tuple[EditKind, EditKind]", pair))) for pair in kinds]
    rows: _Rows = []
    for member in range(2):
        start = ('{"edit":"', (first, second)[member], '","edits":["', first, '","', second, '"],"family":"', family)
        rows.append((keys[member], _joined(*start, '","seed":', seeds, f',"turn":{member}}}')))
        if invert:
            rows.append(_inverse(keys[member], family, [pair[member] for pair in kinds], drawn, seeds))
    key = _joined(family, COMPOSED)
    start = ('{"derived":"compose","edit":"', _take(composed, drawn), '","family":"', family, '","origin":["')
    rows.append((key, _joined(*start, keys[0], '","', keys[1], '"],"seed":', seeds, "}")))
    return [*rows, _inverse(key, family, composed, drawn, seeds)] if invert else rows


def _inverse(key: Any, family: Any, kinds: list[str], drawn: npt.NDArray[np.int64], seeds: Any) -> tuple[Any, Any]:
    back = _take([str(inverse_kind(cast("EditKind", kind))) for kind in kinds], drawn)
    start = ('{"derived":"invert","edit":"', back, '","family":"', family, '","origin":["', key, '"],"seed":', seeds)
    return _joined(key, INVERTED), _joined(*start, "}")


def _joined(*parts: Any) -> Any:
    return pc.binary_join_element_wise(*parts, "")


def _take(names: list[str], drawn: npt.NDArray[np.int64]) -> Any:
    return pa.array(names).take(pa.array(drawn))


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
