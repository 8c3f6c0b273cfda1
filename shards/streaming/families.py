"""Families: the samples that share a scene, and so images. They come from column `family` of the parquets.

Nothing here loops over samples in Python: a set has millions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from .order import I64
from .places import ShardSet


@dataclass(frozen=True)
class Grouped:
    """Some samples by family; families are in the order of their first samples."""

    members: I64
    """(samples,): positions of the samples, family by family."""
    sizes: I64
    """(families,): number of samples of each family."""
    firsts: I64
    """(families,): position of the first sample of each family."""


def number_families(sets: Sequence[ShardSet], names: Mapping[int, Any]) -> I64:
    """(samples,): a number for the family of each sample of all sets. Families of different sets are different.

    Args:
        names: the names of the families of a shard's samples (`pyarrow.ChunkedArray`), by the shard's number over all
            sets. In other shards each sample is a family.
    """
    import pyarrow as pa

    starts = list(accumulate((shard.samples for each in sets for shard in each.shards), initial=0))
    found = starts[-1] + np.arange(starts[-1])
    first = 0
    for each in sets:
        named = [number for number in range(first, first + len(each.shards)) if number in names]
        if named:
            texts: Any = pa.chunked_array([chunk for number in named for chunk in names[number].chunks])
            # As one array: chunks would have a dictionary each.
            indices = texts.cast(pa.large_string()).combine_chunks().dictionary_encode().indices.to_numpy()
            samples = np.concatenate([np.arange(starts[number], starts[number + 1]) for number in named])
            found[samples] = starts[first] + indices
        first += len(each.shards)
    return found


def group(families: I64) -> Grouped:
    """Group samples whose families have these numbers."""
    _, firsts, inverse = np.unique(families, return_index=True, return_inverse=True)
    first_of = firsts[inverse]
    firsts = np.sort(firsts)
    return Grouped(np.argsort(first_of, kind="stable"), np.bincount(first_of)[firsts], firsts)
