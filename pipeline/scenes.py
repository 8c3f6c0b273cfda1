"""The plan of generated scenes, vectorised: millions of samples in seconds.

Invariant: sample i (key, split, seed, edit) depends on the seed, the weights and i alone: not on how many samples
are asked for, nor on the machine.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from pipeline.families import inverse_key
from pipeline.plan import RecordBatch
from shards.errors import BadInput
from shards.schema import SPLITS, EditKind
from sources.derived import INVERSE

pc = cast("Any", pyarrow.compute)
_BATCH = 1 << 18
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SEEDS = 0x5CE2E


def plan_scenes(
    samples: int,
    seed: int,
    edits: Mapping[str, float],
    splits: Mapping[str, float],
    prefix: str = "scene",
    *,
    invert: bool = False,
) -> Iterator[RecordBatch]:
    """Batches for `write_plan`: key `<prefix>-00000123`, split, spec `{"edit": kind, "seed": 63-bit integer}`.

    With `invert`, each sample is followed by its inverse (see `pipeline.families`): twice as many rows.

    Seeds: output i of numpy's counter-based Philox, whose stream is fixed, shifted to 63 bits.
    Edits: Sainte-Lague apportionment, so that every prefix has each kind as often as its weight asks, to within one.
    Splits: i times the golden ratio modulo 1, cut at the fractions: even in every arithmetic progression of i, so no
    kind of edit falls into one split; the first sample is of the first split with a share.

    Raises BadInput for weights or fractions that are negative or all zero.
    """
    width = max(8, len(str(samples - 1)))
    bits = np.random.Philox(np.random.SeedSequence([seed, _SEEDS]))
    kinds = _kinds(edits)
    names, names_of_splits = pa.array(sorted(edits)), pa.array(SPLITS)
    cuts = _cuts(splits)
    for first in range(0, samples, _BATCH):
        index = np.arange(first, min(first + _BATCH, samples), dtype=np.uint64)
        seeds = pa.array(bits.random_raw(len(index)) >> np.uint64(1)).cast(pa.string())
        digits = pc.utf8_lpad(pa.array(index).cast(pa.string()), width=width, padding="0")
        key = pc.binary_join_element_wise(prefix, digits, "-")
        index_of = next(kinds)[: len(index)]
        kind = names.take(pa.array(index_of))
        spec = pc.binary_join_element_wise('{"edit":"', kind, '","seed":', seeds, "}", "")
        side = np.searchsorted(cuts, (index * _GOLDEN) >> np.uint64(11), side="right")
        split = names_of_splits.take(pa.array(side))
        columns = [key, split, spec]
        if invert:
            inverse = pa.array([INVERSE[cast("EditKind", kind)] for kind in sorted(edits)]).take(pa.array(index_of))
            told = ['{"derived":"invert","edit":"', inverse, '","family":"', key, '","origin":["', key, '"],"seed":']
            inverted = [pc.binary_join_element_wise(key, inverse_key(""), ""), split]
            inverted.append(pc.binary_join_element_wise(*told, seeds, "}", ""))
            turns = pa.array(np.arange(2 * len(index)).reshape(2, -1).T.ravel())
            columns = [pa.concat_arrays(both).take(turns) for both in zip(columns, inverted, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, names=["key", "split", "spec"])


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
