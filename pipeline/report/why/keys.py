"""Find a key in the plan, or the most similar keys, in one pass over the column of keys."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ....shards.errors import BadInput, SpatialdataError
from ...store.plan import UNITS, Plan, damaged_plan

LIKELY = 8
"""Keys per row group that are compared in detail."""


@dataclass(frozen=True)
class Place:
    """A sample's place in the plan."""

    unit: int
    row: int
    """Row within the unit."""


def find_key(plan: Plan, key: str) -> Place:
    """The place of a key: half a second for a million keys. Raises BadInput, with similar keys, if not found."""
    first = 0
    for keys in _key_groups(plan):
        index = pc.index(keys, pa.scalar(key)).as_py()
        if index >= 0:
            return Place(*divmod(first + index, plan.unit_size))
        first += len(keys)
    similar = nearest_keys(plan, key)
    named = f"; the most similar keys are {', '.join(similar)}" if similar else ""
    raise BadInput(f"the plan in {plan.store} has no sample '{key}'{named}")


def nearest_keys(plan: Plan, key: str, most: int = 3) -> list[str]:
    """The keys that are most similar to `key`, best first.

    In each row group, the keys with the most characters equal at the same position are compared in detail. Positions
    are counted from the start and from the end, so that one missing or additional character costs little.
    """
    likely: list[str] = []
    for keys in _key_groups(plan):
        reversed_keys = cast("Any", pc).utf8_reverse(keys)
        agreeing = _agreement(keys, key) + _agreement(reversed_keys, key[::-1])
        best = np.argsort(-agreeing, kind="stable")[:LIKELY]
        likely += keys.take(pa.array(best)).to_pylist()
    return difflib.get_close_matches(key, likely, n=most, cutoff=0.5)


def _agreement(keys: Any, key: str) -> Any:
    """Number of positions at which each key (pyarrow strings) has the character of `key`; an array (n,)."""
    given = np.frombuffer(key.encode(), np.uint8)
    width = max(1, len(given))
    table = np.array(keys.to_numpy(zero_copy_only=False), dtype=f"S{width}").view(np.uint8).reshape(len(keys), width)
    return (table[:, : len(given)] == given).sum(axis=1)


def _key_groups(plan: Plan) -> Iterator[Any]:
    """The keys of the plan in order, one row group at a time."""
    try:
        with plan.store.open_file(UNITS) as opened:
            file = pq.ParquetFile(opened)
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, ["key"], use_threads=False).column("key").combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise SpatialdataError(damaged_plan(plan.store, str(error))) from error
