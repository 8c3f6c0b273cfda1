"""The funnel: samples into and out of each stage, reject reasons, and the cost of an accepted sample.

Read from the records; works while a build runs.
"""

from collections import Counter
from typing import Any

import numpy as np

from ...shards.errors import BadInput
from ..engine.summaries import Summary, Totals, summarize_layers
from ..opened import Build
from ..packing.duplicates import NO_DUPLICATES, Duplicates, read_duplicates, stored_duplicates
from ..packing.packed_recipes import packed_recipes, read_packing
from ..store.layers import LayerCorrupt
from ..store.plan import Plan

PACK = "pack"
"""Layer name of the row for duplicates that packing leaves out."""


def funnel_of(build: Build) -> list[dict[str, Any]]:
    """One row per stage, each after the stages that it needs; a last one, `pack`, if packing left samples out.

    Keys: `layer`; `samples_in`, `samples_out`; `rejects`, count by reason; `seconds` of all workers, their
    `cpu_seconds`, and `gpu_seconds` (seconds times the GPUs of the worker); `seconds_per_accepted`, the stage's seconds
    divided by the number of samples that all stages accepted, None if there are none.
    """
    summary = summarize_layers(build.store, build.plan, build.layers)
    return funnel_rows(build, summary, left_out(build, summary))[0]


def funnel_rows(build: Build, summary: Summary, duplicates: Duplicates) -> tuple[list[dict[str, Any]], int]:
    """The funnel (see `funnel_of`) of a summary, and the number of samples that are accepted by all stages."""
    dropped = dropped_reasons(build.plan, summary, duplicates)
    accepted = summary.accepted - dropped.total()
    rows = [_row(layer, found.totals, accepted) for layer, found in summary.layers.items()]
    if dropped:
        totals = Totals(samples=accepted, rejects=dropped)
        rows.append(_row(PACK, totals, accepted))
    return rows, accepted


def _row(layer: str, totals: Totals, accepted: int) -> dict[str, Any]:
    return {
        "layer": layer,
        "samples_in": totals.samples + totals.rejects.total(),
        "samples_out": totals.samples,
        "rejects": dict(sorted(totals.rejects.items())),
        "seconds": round(totals.seconds, 3),
        "cpu_seconds": round(totals.cpu_seconds, 3),
        "gpu_seconds": round(totals.gpu_seconds, 3),
        "seconds_per_accepted": round(totals.seconds / accepted, 6) if accepted else None,
    }


def left_out(build: Build, summary: Summary) -> Duplicates:
    """Duplicates that the latest packing left out, if all units are done; none before the first packing."""
    unfinished = any(found.totals.units < build.plan.units for found in summary.layers.values())
    return NO_DUPLICATES if unfinished else packed_duplicates(build)


def packed_duplicates(build: Build) -> Duplicates:
    """Duplicates that the latest packing left out; none before the first packing."""
    for recipe in packed_recipes(build.store):
        try:
            packing = read_packing(build.store, recipe)
            if packing and packing.duplicates:
                return read_duplicates(build.store, packing.duplicates) or NO_DUPLICATES
            if packing:  # packed by a version that did not store them: all records are read
                found = stored_duplicates(build.store, build.plan, build.layers, build.config.shard.duplicates)
                return found if isinstance(found, Duplicates) else NO_DUPLICATES
        except (BadInput, LayerCorrupt):  # `verify` reports damage
            continue
    return NO_DUPLICATES


def dropped_reasons(plan: Plan, summary: Summary, duplicates: Duplicates) -> Counter[str]:
    """Duplicates by reason, without those that a layer also rejected."""
    reasons: Counter[str] = Counter()
    for sample in duplicates.dropped:
        place = sample.unit * plan.unit_size + plan.keys(sample.unit).index(sample.key)
        if np.unpackbits(summary.accepted_bits[place // 8 : place // 8 + 1])[place % 8]:
            reasons[sample.reason] += 1
    return reasons
