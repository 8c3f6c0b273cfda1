"""Families: planned samples and the samples derived from them, consecutive in one unit of the plan.

The family of a sample is the sample and its inverse (`edits.invert`). With `edits.compose` it is two samples of one
scene, A to B and A to C, the composed sample B to C, and the inverses of all three. The `spec` of a derived sample has
`derived` (how), `origin` (keys of the samples it is derived from) and `family` (key of the family's first sample). The
specs of two samples that share a scene have `edits` (both kinds) and `turn` (0 or 1). A unit holds only whole families,
those of `unit_size` rendered samples.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ...shards.schema import EDIT_KINDS, EditKind
from ...sources.edits.registry import composed_kind, composes_alone, inverse_kind, partners_of
from ..config import Config, EditOptions
from .plan import PlanRow

OF_DERIVED: Final = ("derived", "origin", "family")
"""Keys that the spec of a derived sample has in addition to those of its origin."""
INVERTED, COMPOSED = "-inv", "-comp"
"""Suffixes that make the key of a derived sample from the key of its (first) origin."""
_LONE: Final[tuple[EditKind, ...]] = tuple(kind for kind in EDIT_KINDS if not composes_alone(kind))
"""Kinds of which two edits do not share a scene."""
KindPairs = Mapping[tuple[EditKind, EditKind], float]
"""Weight of each two of kinds."""


def family_of(key: str, spec: Mapping[str, Any]) -> str:
    """Key of the first sample of a sample's family."""
    return str(spec.get("family", key))


def with_inverse(row: PlanRow) -> Iterator[PlanRow]:
    """A planned sample and its inverse."""
    yield row
    told = {"derived": "invert", "edit": inverse_kind(row.spec["edit"]), "family": row.key, "origin": [row.key]}
    yield PlanRow(f"{row.key}{INVERTED}", row.split, {**row.spec, **told})


def planned_rows(rendered: int, edits: EditOptions) -> int:
    """Number of samples in a plan with `rendered` samples that are rendered (or read)."""
    rows = rendered + rendered // 2 if edits.compose else rendered
    return 2 * rows if edits.invert else rows


def unit_rows(config: Config) -> int:
    """Number of samples in one unit of the plan."""
    return planned_rows(config.unit_size, config.edits)


def rendered_of(rows: int, config: Config) -> int:
    """Number of rendered (or read) samples in whole units that have `rows` samples."""
    return rows * config.unit_size // unit_rows(config)


def derived_share(config: Config) -> float:
    """Fraction of a unit's samples that are derived from others."""
    return 1.0 - config.unit_size / unit_rows(config)


def kind_pairs(weights: Mapping[EditKind, float]) -> KindPairs:
    """Which kinds share a scene, such that all twos together have each kind as often as its weight asks.

    Weights: of kinds that `Config` lets pass. A kind that composes with itself goes with its like. One that does not (a
    removal) goes with its partners (a move, a turn or a scaling), with each as often as that one's weight asks.
    """
    lone: dict[EditKind, float] = {
        kind: sum(weights.get(other, 0.0) for other in partners_of(kind)) for kind in weights if kind in _LONE
    }
    twos: dict[tuple[EditKind, EditKind], float] = {}
    for kind, weight in weights.items():
        if kind in lone:
            continue
        taken: dict[EditKind, float] = {
            other: weights[other] * weight / total
            for other, total in lone.items()
            if total and composed_kind(other, kind)
        }
        twos[kind, kind] = (weight - sum(taken.values())) / 2
        for other, share in taken.items():
            twos |= {(kind, other): share / 2, (other, kind): share / 2}
    return {kinds: weight for kinds, weight in twos.items() if weight > 1e-9 * sum(weights.values())}


def planned_kinds(edits: EditOptions) -> list[EditKind]:
    """The kinds of edit of a plan's samples, including derived samples."""
    kinds = set(edits.weights)
    if edits.compose:
        kinds |= {kind for two in kind_pairs(edits.weights) if (kind := composed_kind(*two))}
    if edits.invert:
        kinds |= {inverse_kind(kind) for kind in kinds}
    return [kind for kind in EDIT_KINDS if kind in kinds]
