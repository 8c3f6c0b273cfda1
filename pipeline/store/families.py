"""Families: planned samples and the samples derived from them, consecutive in one unit of the plan.

The family of a sample is the sample and its inverse (`edits.invert`). With `edits.per_scene` it is the N samples of one
scene, from its source to N targets, samples composed of two of them, which lead from one target to another, and the
inverses of all of these. With `edits.orbit` it is the samples of one grid: from its first view to each of the others,
and samples derived from these. The `spec` of a derived sample has `derived` (how), `origin` (keys of the samples it is
derived from) and `family` (key of the family's first sample). The specs of samples that share a scene have `edits` (the
kinds of all) and `turn` (their number, from 0). A unit holds only whole families, those of `unit_size` rendered
samples.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ...shards.schema import EDIT_KINDS, EditKind
from ...sources.derived import origins_of
from ...sources.edits.patterns import composed_pairs, rows_of_scene, scene_patterns
from ...sources.edits.registry import composed_kind, inverse_kind
from ..config import Config, EditOptions
from .plan import PlanRow

OF_DERIVED: Final = ("derived", "origin", "family")
"""Keys that the spec of a derived sample has in addition to those of its origin."""
INVERTED, COMPOSED = "-inv", "-comp"
"""Suffixes that make the key of a derived sample from the key of its (first) origin. Between samples of a scene that
are not neighbors, the second one has their distance as well: `-comp2`."""


def family_of(key: str, spec: Mapping[str, Any]) -> str:
    """Key of the first sample of a sample's family."""
    return str(spec.get("family", key))


def states_of(rows: Iterable[PlanRow]) -> dict[str, tuple[int, int]]:
    """Source and target of each sample, by key, as states of its scene: 0 is the scene's source, i + 1 the target of
    its edit i.

    Args:
        rows: whole families in the order of the plan, in which a sample follows its origins.
    """
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        origins = [found[key] for key in origins_of(row.spec)]
        match origins:
            case [(source, target)]:
                found[row.key] = (target, source)
            case [(_, source), (_, target)]:
                found[row.key] = (source, target)
            case _:
                found[row.key] = (0, 1 + int(row.spec.get("turn", 0)))
    return found


def with_inverse(row: PlanRow) -> Iterator[PlanRow]:
    """A planned sample and its inverse."""
    yield row
    changes = {"derived": "invert", "edit": inverse_kind(row.spec["edit"]), "family": row.key, "origin": [row.key]}
    yield PlanRow(f"{row.key}{INVERTED}", row.split, {**row.spec, **changes})


def planned_rows(rendered: int, edits: EditOptions) -> int:
    """Number of samples in a plan with `rendered` samples that are rendered (or read)."""
    scenes, rest = divmod(rendered, edits.rendered_per_scene)
    return scenes * _rows_of_scene(edits) + rest * (2 if edits.invert else 1)


def _rows_of_scene(edits: EditOptions) -> int:
    if edits.orbit is not None:
        return edits.orbit_pairs
    return rows_of_scene(edits.weights, edits.per_scene, edits.invert, edits.pairs_per_scene)


def unit_rows(config: Config) -> int:
    """Number of samples in one unit of the plan."""
    return planned_rows(config.unit_size, config.edits)


def rendered_of(rows: int, config: Config) -> int:
    """Number of rendered (or read) samples in whole units that have `rows` samples."""
    return rows * config.unit_size // unit_rows(config)


def derived_share(config: Config) -> float:
    """Fraction of a unit's samples that are derived from others."""
    return 1.0 - config.unit_size / unit_rows(config)


def planned_kinds(edits: EditOptions) -> list[EditKind]:
    """The kinds of edit of a plan's samples, including derived samples."""
    if edits.orbit is not None:
        return ["camera"]
    kinds = set(edits.weights)
    for group in scene_patterns(edits.weights, edits.per_scene):
        for pattern in group:
            kinds |= {
                kind for i, j in composed_pairs(pattern) if (kind := composed_kind(pattern[i], pattern[j])) is not None
            }
    if edits.invert:
        kinds |= {inverse_kind(kind) for kind in kinds}
    return [kind for kind in EDIT_KINDS if kind in kinds]
