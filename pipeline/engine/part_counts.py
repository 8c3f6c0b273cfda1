"""Counts the finished samples of a layer, also those in parts of units that are not done.

Invariant: listings are cheap: the parts of a layer lie in a folder of their own, which is listed at most every LOCAL_S
or REMOTE_S seconds. No part is opened.
"""

import time
from collections import Counter
from collections.abc import Mapping

from ..store.layers import LayerStore
from ..store.plan import Plan

LOCAL_S, REMOTE_S = 1.0, 10.0
"""Seconds between listings of a local folder and of a remote one."""


class PartCounts:
    """The samples in the parts of one layer."""

    def __init__(self, store: LayerStore, plan: Plan, layer_dir: str) -> None:
        self._store = store
        self._plan = plan
        self._layer_dir = layer_dir
        self._every = LOCAL_S if store.is_local else REMOTE_S
        self._listed: float | None = None
        self._samples: dict[int, int] = {}

    def by_unit(self) -> Mapping[int, int]:
        """Number of samples in the parts of each unit that has some, as last listed. The unit may be done by now."""
        now = time.monotonic()
        if self._listed is None or now - self._listed >= self._every:
            found: Counter[int] = Counter()
            for part in self._store.parts(self._layer_dir):
                if part.unit < self._plan.units:
                    found[part.unit] += part.samples
            self._samples = {unit: min(samples, self._plan.size(unit)) for unit, samples in found.items()}
            self._listed = now
        return self._samples


def samples_done(store: LayerStore, plan: Plan, layer_dir: str, units: int, parts: PartCounts | None) -> int:
    """Samples of the plan that a layer has done, for readers that know only the number of its committed units.

    Args:
        units: number of committed units.
        parts: of a stage that spills; None for others.
    """
    if units >= plan.units:
        return plan.samples

    def is_done(unit: int) -> bool:
        return store.exists(store.record_name(layer_dir, unit))

    last = plan.units - 1
    done = plan.samples_in(units, last=plan.size(last) < plan.unit_size and is_done(last))
    return done + sum(samples for unit, samples in (parts.by_unit() if parts else {}).items() if not is_done(unit))
