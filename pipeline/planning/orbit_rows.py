"""The plan of camera grids (`edits.orbit`): which ordered pairs of views of each scene are samples.

Invariant: the samples of scene i depend only on the seed, the grid, the number of samples of each scene and i, not on
the number of scenes or the machine.

The rendered samples of a scene lead from the first view of its grid to each of the others. The other pairs are chosen
by their steps of azimuth, elevation and distance: a third changes one of these, a third two, and a third all three,
where the grid has such steps. In each third, all steps take turns, over the pairs of a scene and from scene to scene,
so that yaws, pitches and zooms are used alike. The pair that has a step is drawn.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...sources.scenes.grid import GridView, OrbitOptions
from ..store.families import COMPOSED, INVERTED
from ..store.fingerprints import canonical
from ..store.plan import RecordBatch
from .scene_rows import draw_scenes, key_width

_PAIRS: Final = 0x0B17
"""Separates the draws of pairs from those of scenes."""
_ROWS: Final = 1 << 15
"""Least number of samples in a batch but the last."""
_Indices = npt.NDArray[np.int64]


def plan_orbits(
    samples: int, seed: int, grid: OrbitOptions, pairs: int, splits: Mapping[str, float], prefix: str = "scene"
) -> Iterator[RecordBatch]:
    """Yield batches for `write_plan`. Keys, splits and seeds of scenes are those of `scene_rows.plan_scenes`.

    Args:
        samples: rendered samples: a multiple of the views of the grid without the first.
        pairs: samples of each scene, at least the rendered ones and at most one for each ordered pair of views.
    """
    each, width = grid.count - 1, key_width(samples)
    rows: list[tuple[str, str, str]] = []
    for index, seeds, split in draw_scenes(samples // each, seed, splits):
        for scene, number, side in zip(index.tolist(), seeds.tolist(), split.to_pylist(), strict=True):
            keys = [f"{prefix}-{scene * each + turn:0{width}d}" for turn in range(each)]
            chosen = derived_pairs(grid, pairs - each, scene, number)
            rows += [(key, side, canonical(spec)) for key, spec in _specs(keys, number, chosen)]
            if len(rows) >= _ROWS:
                yield _batch(rows)
                rows = []
    if rows:
        yield _batch(rows)


def derived_pairs(grid: OrbitOptions, count: int, scene: int, seed: int) -> list[tuple[int, int]]:
    """`count` ordered pairs of views, by their numbers in `OrbitOptions.views`, none of which begins with the first.

    Args:
        scene: number of the scene.
        seed: of the scene.
    """
    steps = _steps(grid.views(), grid.azimuths)
    drawn = np.random.Philox(np.random.SeedSequence([seed, _PAIRS])).random_raw(len(steps.source))
    rank = np.empty(len(drawn), np.int64)
    for number, group in enumerate(steps.groups):
        kind = steps.kind[group]
        # Of the pairs with one step, the number of each in the drawn order: each step has a turn before one has two.
        order = np.lexsort((drawn[group], kind))
        turn = np.empty(len(group), np.int64)
        turn[order] = np.arange(len(group)) - np.searchsorted(kind[order], kind[order], side="left")
        # The next scene continues where this one ends.
        each = (count + len(steps.groups) - 1 - number) // len(steps.groups)
        place = (kind - scene * each) % (int(kind.max()) + 1)
        rank[group[np.lexsort((place, turn))]] = number + np.arange(len(group)) * len(steps.groups)
    taken = np.argsort(rank, kind="stable")[:count]
    taken.sort()
    return list(zip(steps.source[taken].tolist(), steps.target[taken].tolist(), strict=True))


@dataclass(frozen=True)
class _Steps:
    """All ordered pairs of views but those that begin with the first one, and their steps."""

    source: _Indices
    target: _Indices
    kind: _Indices
    """The number of the step among those of its group, in the order in which steps take turns."""
    groups: tuple[_Indices, ...]
    """The pairs whose steps change one part (azimuth, elevation, distance), two, and three, if there are any."""


@lru_cache(maxsize=8)
def _steps(views: tuple[GridView, ...], azimuths: int) -> _Steps:
    source, target = np.divmod(np.arange(len(views) ** 2), len(views))
    kept = (source != target) & (source > 0)
    source, target = source[kept], target[kept]
    azimuth = np.array([round(view.azimuth_deg * azimuths / 360.0) for view in views], np.float64)
    elevation = np.array([view.elevation_deg for view in views], np.float64)
    distance = np.log(np.array([view.distance for view in views], np.float64))
    step = np.empty((len(source), 3))
    step[:, 0] = (azimuth[target] - azimuth[source]) % azimuths
    step[:, 1] = np.round(elevation[target] - elevation[source], 6)
    step[:, 2] = np.round(distance[target] - distance[source], 6)
    changed = np.count_nonzero(step, axis=1)
    groups = tuple(np.flatnonzero(changed == parts) for parts in (1, 2, 3) if (changed == parts).any())
    kind = np.empty(len(source), np.int64)
    for group in groups:
        found, own = np.unique(step[group], axis=0, return_inverse=True)
        kind[group] = np.argsort(_in_turn(found))[own.ravel()]
    return _Steps(source, target, kind, groups)


def _in_turn(steps: npt.NDArray[np.float64]) -> _Indices:
    """Numbers of the steps (n, 3) in an order in which each part of them takes its values in turn."""
    parts = [np.unique(part, return_inverse=True)[1].ravel() for part in steps.T]
    used = [np.zeros(len(steps)) for _ in parts]
    ties = np.random.Philox(np.random.SeedSequence([_PAIRS])).random_raw(len(steps)) / 2.0**64
    left = np.ones(len(steps), np.bool_)
    order: list[int] = []
    for _ in range(len(steps)):
        cost = sum(counts[part] for counts, part in zip(used, parts, strict=True)) + ties
        chosen = int(np.argmin(np.where(left, cost, np.inf)))
        left[chosen] = False
        order.append(chosen)
        for counts, part in zip(used, parts, strict=True):
            counts[part[chosen]] += 1
    return np.array(order, np.int64)


def _specs(keys: list[str], seed: int, chosen: list[tuple[int, int]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The samples of a scene, each after those from which it is derived: rendered ones, inverses of these, others."""
    shared = {"edit": "camera", "family": keys[0], "seed": seed}
    for turn, key in enumerate(keys):
        yield key, {**shared, "turn": turn}
    between: set[tuple[int, int]] = set()
    # Between two views, the later one of the grid comes last, so that a pair is ready when its inverse needs it.
    for source, target in sorted(chosen, key=lambda pair: (min(pair), max(pair), pair[0] > pair[1])):
        if target == 0:
            key = keys[source - 1]
            yield f"{key}{INVERTED}", {**shared, "derived": "invert", "origin": [key]}
            continue
        low, high = sorted((source, target))
        away = "" if high - low == 1 else str(high - low)
        key = f"{keys[low - 1]}{COMPOSED}{away}"
        if source == low:
            between.add((low, high))
            yield key, {**shared, "derived": "compose", "origin": [keys[low - 1], keys[high - 1]]}
        elif (low, high) in between:
            yield f"{key}{INVERTED}", {**shared, "derived": "invert", "origin": [key]}
        else:
            yield f"{key}{INVERTED}", {**shared, "derived": "compose", "origin": [keys[high - 1], keys[low - 1]]}


def _batch(rows: list[tuple[str, str, str]]) -> RecordBatch:
    columns = [pa.array(list(column), pa.string()) for column in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=["key", "split", "spec"])
