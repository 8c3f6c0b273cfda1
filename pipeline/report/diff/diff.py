"""`spatialdata diff`: compare two builds by their plans, records and the texts of their layers. No image is read.

Works while a build runs: samples that are not computed yet are reported as such and do not count as differences.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, Final, cast

import pyarrow.parquet as pq

from ...opened import Build, open_build
from ...planning.configurations import without_secrets
from ...planning.samples import ASSETS
from ..layer_origins import LayerOrigin, layer_origins
from .verdicts import ACCEPTED, PENDING, Verdicts, scores_of, verdicts_of

SOME: Final = 20
"""Number of keys that are listed by name."""


def run_diff(first: str, second: str) -> dict[str, Any]:
    """Compare two builds. Raises BadInput if one does not exist, SpatialdataError if a plan is damaged."""
    builds = (open_build(first), open_build(second))
    one, other = (verdicts_of(build) for build in builds)
    return {
        "first": _about(builds[0], one),
        "second": _about(builds[1], other),
        "configuration": configuration(builds[0], builds[1]),
        "keys": _sets(list(one.samples), list(other.samples)),
        "assets": _sets(_assets(builds[0]), _assets(builds[1])),
        "layers": layers(builds, (one, other)),
        "samples": samples(one, other),
        "edits": {kind: [one.edits[kind], other.edits[kind]] for kind in sorted({*one.edits, *other.edits})},
        "scores": scores(scores_of(builds[0]), scores_of(builds[1])),
    }


def configuration(first: Build, second: Build) -> list[dict[str, Any]]:
    """The keys whose values differ, with both values; None if a build does not have the key."""
    one, other = without_secrets(first.config), without_secrets(second.config)
    return [{"key": key, "first": old, "second": new} for key, old, new in differences(one, other)]


def differences(first: Any, second: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys of nested mappings whose values differ."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        one, other = cast("Mapping[str, Any]", first), cast("Mapping[str, Any]", second)
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{name}.{key}" if name else key)
    elif first != second:
        yield name, first, second


def layers(builds: tuple[Build, Build], verdicts: tuple[Verdicts, Verdicts]) -> list[dict[str, Any]]:
    """Each layer of either build: whether it is the same in both, and what differs."""
    ours, theirs = ({origin.layer: origin for origin in layer_origins(build)} for build in builds)
    found: list[dict[str, Any]] = []
    for layer in dict.fromkeys((*ours, *theirs)):
        origins = (ours.get(layer), theirs.get(layer))
        found.append(
            {
                "layer": layer,
                "same": origins[0] is not None and origins[1] is not None and origins[0].folder == origins[1].folder,
                "first": origins[0].folder if origins[0] else "",
                "second": origins[1].folder if origins[1] else "",
                "changes": _changes(*origins) or _inherited(layer, ours, theirs),
                "units": [
                    [verdict.done.get(layer, 0), build.plan.units]
                    for build, verdict in zip(builds, verdicts, strict=True)
                ],
            }
        )
    return found


def samples(first: Verdicts, second: Verdicts) -> dict[str, Any]:
    """Compare the verdicts on samples that both plans have."""
    only_first: dict[str, str] = {}
    only_second: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for key, one in first.samples.items():
        other = second.samples.get(key)
        if other is None:
            continue
        if PENDING in (one, other):
            counts["undecided"] += 1
        elif one == other == ACCEPTED:
            counts["both"] += 1
        elif one == ACCEPTED:
            only_first[key] = other
        elif other == ACCEPTED:
            only_second[key] = one
        else:
            counts["neither"] += 1
    return {
        "accepted_in_both": counts["both"],
        "accepted_in_neither": counts["neither"],
        "undecided": counts["undecided"],
        "only_in_first": _reasons(only_first),
        "only_in_second": _reasons(only_second),
    }


def scores(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The statistics of each score in both builds; None if a build did not measure it."""
    return {name: {"first": first.get(name), "second": second.get(name)} for name in dict.fromkeys((*first, *second))}


def _about(build: Build, verdicts: Verdicts) -> dict[str, Any]:
    plan = build.plan
    counts = Counter(verdicts.samples.values())
    return {
        "out": str(build.store),
        "note": build.note,
        "plan": plan.hash,
        "samples": plan.samples,
        "unit_size": plan.unit_size,
        "seed": plan.seed,
        "versions": dict(plan.versions),
        "accepted": counts[ACCEPTED],
        "rejected": plan.samples - counts[ACCEPTED] - counts[PENDING],
        "pending": counts[PENDING],
        "damaged": verdicts.damaged,
    }


def _sets(first: Sequence[str], second: Sequence[str]) -> dict[str, Any]:
    ours, theirs = set(first), set(second)
    gone, added = [key for key in first if key not in theirs], [key for key in second if key not in ours]
    return {
        "common": len(ours & theirs),
        "gone": {"count": len(gone), "some": gone[:SOME]},
        "added": {"count": len(added), "some": added[:SOME]},
    }


def _assets(build: Build) -> list[str]:
    """Uids of the plan's asset table; empty for released pairs, which have no table."""
    if not build.store.exists(ASSETS):
        return []
    return pq.read_table(BytesIO(build.store.read_file(ASSETS)), columns=["uid"], use_threads=False)["uid"].to_pylist()


def _changes(first: LayerOrigin | None, second: LayerOrigin | None) -> list[str]:
    """The differences between the origins of a layer, as text."""
    if first is None or second is None:
        return [f"only in the {'second' if first is None else 'first'}"]
    if first.folder == second.folder:
        return []
    compared = ["stage", "version", "model", "revision"]
    if first.stage == second.stage:
        compared.append("options")  # another stage has other options anyway
    one, other = ({name: getattr(origin, name) for name in compared} for origin in (first, second))
    found = [
        f"{name.removeprefix('options.')} {_brief(old)} -> {_brief(new)}" for name, old, new in differences(one, other)
    ]
    if first.prompts != second.prompts:
        found.append("prompts")
    return found


def _inherited(layer: str, ours: Mapping[str, LayerOrigin], theirs: Mapping[str, LayerOrigin]) -> list[str]:
    """Why a layer differs although its stage is the same; empty if it does not differ."""
    if ours[layer].folder == theirs[layer].folder:
        return []
    needs = [need for need in ours[layer].needs if ours[need].folder != theirs[need].folder]
    return [f"computed from another {' and '.join(needs)}" if needs else "of another plan"]


def _brief(value: Any) -> str:
    text = "(none)" if value in (None, "") else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _reasons(samples: Mapping[str, str]) -> dict[str, Any]:
    """Samples, with the reasons of the other build for not accepting them."""
    counts = Counter(samples.values())
    return {
        "count": len(samples),
        "reasons": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        "some": dict(list(samples.items())[:SOME]),
    }
