"""The plan of generated scenes, vectorised: millions of samples in seconds.

Invariant: sample i (key, split, seed, edit) depends on the seed, the weights and i alone: not on how many samples
are asked for, nor on the machine.
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
_Twos = Sequence[tuple[str, str]]


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
    """Batches for `write_plan`: key `<prefix>-00000123`, split, spec `{"edit": kind, "seed": 63-bit integer}`.

    Seeds: output i of numpy's counter-based Philox, whose stream is fixed, shifted to 63 bits.
    Edits: Sainte-Lague apportionment, so that every prefix has each kind as often as its weight asks, to within one.
    Splits: i times the golden ratio modulo 1, cut at the fractions: even in every arithmetic progression of i, so no
    kind of edit falls into one split; the first sample is of the first split with a share.

    Args:
        invert: each sample is followed by its inverse.
        compose: samples 2j and 2j + 1 are of one scene, whose seed, kinds and split are drawn as those of sample j
            would be, and are followed by the sample between their targets; a last one without a partner is itself
            alone. See `pipeline.store.families` for what their specs hold.

    Raises BadInput for weights or fractions that are negative or all zero.
    """
    width = max(8, len(str(samples - 1)))
    bits = np.random.Philox(np.random.SeedSequence([seed, _SEEDS]))
    kinds = [("", kind) for kind in sorted(edits)]
    weights = dict(edits)
    if compose:
        twos = kind_pairs({cast("EditKind", kind): weight for kind, weight in edits.items() if weight > 0})
        kinds = sorted(twos)
        weights = {"+".join(two): weight for two, weight in twos.items()}
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
        keys = [_keys(prefix, index * np.uint64(size) + np.uint64(turn), width) for turn in range(size)]
        lone = int(compose and samples % 2 and first + len(index) == scenes)
        for part in _parts(len(index) - lone, _BATCH if not (invert or compose) else _BATCH // 8):
            given = (kinds, kind[part], seeds[part], invert)
            rows = _paired_rows([key[part] for key in keys], *given) if compose else _alone(keys[0][part], *given)
            yield _batch(split[part], rows)
        if lone:
            rest = slice(len(index) - 1, None)
            alone = [("", one) for one, _ in kinds]
            yield _batch(split[rest], _alone(keys[0][rest], alone, kind[rest], seeds[rest], invert))


def _parts(count: int, size: int) -> Iterator[slice]:
    """Specs of derived samples are long: fewer scenes at once keep a batch as small as one without them."""
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


_Rows = list[tuple[Any, Any]]
"""Keys and specs, Arrow arrays: what stands one after the other for each scene."""


def _keys(prefix: str, index: npt.NDArray[np.uint64], width: int) -> Any:
    digits = pc.utf8_lpad(pa.array(index).cast(pa.string()), width=width, padding="0")
    return pc.binary_join_element_wise(prefix, digits, "-")


def _batch(split: Any, rows: _Rows) -> RecordBatch:
    turns = pa.array(np.arange(len(rows) * len(split)).reshape(len(rows), -1).T.ravel())
    columns = [[key for key, _ in rows], [split] * len(rows), [spec for _, spec in rows]]
    taken = [pa.concat_arrays(parts).take(turns) if len(parts) > 1 else parts[0] for parts in columns]
    return pa.RecordBatch.from_arrays(taken, names=["key", "split", "spec"])


def _alone(key: Any, kinds: _Twos, drawn: npt.NDArray[np.int64], seeds: Any, invert: bool) -> _Rows:
    """A sample of a scene of its own; kinds are the second of each two."""
    names = [kind for _, kind in kinds]
    rows = [(key, _joined('{"edit":"', _of(names, drawn), '","seed":', seeds, "}"))]
    return [*rows, _inverse(key, key, names, drawn, seeds)] if invert else rows


def _paired_rows(keys: list[Any], kinds: _Twos, drawn: npt.NDArray[np.int64], seeds: Any, invert: bool) -> _Rows:
    """Two samples of one scene, and the one between their targets."""
    family = keys[0]
    first, second = (_of([two[turn] for two in kinds], drawn) for turn in range(2))
    composed = [str(composed_kind(*cast("tuple[EditKind, EditKind]", two))) for two in kinds]
    rows: _Rows = []
    for turn in range(2):
        told = ('{"edit":"', (first, second)[turn], '","edits":["', first, '","', second, '"],"family":"', family)
        rows.append((keys[turn], _joined(*told, '","seed":', seeds, f',"turn":{turn}}}')))
        if invert:
            rows.append(_inverse(keys[turn], family, [two[turn] for two in kinds], drawn, seeds))
    key = _joined(family, COMPOSED)
    told = ('{"derived":"compose","edit":"', _of(composed, drawn), '","family":"', family, '","origin":["')
    rows.append((key, _joined(*told, keys[0], '","', keys[1], '"],"seed":', seeds, "}")))
    return [*rows, _inverse(key, family, composed, drawn, seeds)] if invert else rows


def _inverse(key: Any, family: Any, kinds: list[str], drawn: npt.NDArray[np.int64], seeds: Any) -> tuple[Any, Any]:
    back = _of([str(inverse_kind(cast("EditKind", kind))) for kind in kinds], drawn)
    told = ('{"derived":"invert","edit":"', back, '","family":"', family, '","origin":["', key, '"],"seed":', seeds)
    return _joined(key, INVERTED), _joined(*told, "}")


def _joined(*parts: Any) -> Any:
    return pc.binary_join_element_wise(*parts, "")


def _of(names: list[str], drawn: npt.NDArray[np.int64]) -> Any:
    return pa.array(names).take(pa.array(drawn))


def _kinds(weights: Mapping[str, float]) -> Iterator[npt.NDArray[np.int64]]:
    """Index of the kind (in sorted order) of each sample, `_BATCH` at a time, for ever.

    The j-th sample of a kind with share w is due at time (j + 1/2) / w; samples are made in the order of their times
    (ties: in the order of the kinds). A window of times is sorted at once, so memory does not grow.
    """
    shares = _shares(weights, sorted(weights), "edits")
    held = np.empty(0, np.int64)
    start = 0
    while True:
        while len(held) < _BATCH:
            held = np.concatenate([held, _window(shares, start, start + _BATCH)])
            start += _BATCH
        yield held[:_BATCH]
        held = held[_BATCH:]


def _window(shares: npt.NDArray[np.float64], start: int, stop: int) -> npt.NDArray[np.int64]:
    times: list[npt.NDArray[np.float64]] = []
    kinds: list[npt.NDArray[np.int64]] = []
    for kind, share in enumerate(shares):
        if share == 0:
            continue
        # One candidate more on either side: whether it belongs is decided by its time alone, the same in each window.
        due = (np.arange(max(0, int(start * share) - 2), int(stop * share) + 3) + 0.5) / share
        due = due[(due >= start) & (due < stop)]
        times.append(due)
        kinds.append(np.full(len(due), kind, np.int64))
    return np.concatenate(kinds)[np.argsort(np.concatenate(times), kind="stable")]


def _cuts(fractions: Mapping[str, float]) -> npt.NDArray[np.uint64]:
    """Ends of the splits but the last, on a scale of 2^53."""
    shares = _shares(fractions, SPLITS, "splits")
    ends = np.round(np.cumsum(shares) * 2.0**53)
    ends[np.flatnonzero(shares)[-1] :] = 2.0**53  # rounding never gives a split without a share a sample
    return ends[:-1].astype(np.uint64)


def _shares(weights: Mapping[str, float], order: tuple[str, ...] | list[str], what: str) -> npt.NDArray[np.float64]:
    values = np.array([float(weights.get(name, 0.0)) for name in order])
    if set(weights) - set(order) or not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise BadInput(f"{what}: {dict(weights)} are not shares: numbers from 0 up, at least one above 0")
    return values / values.sum()
