"""Families: a planned sample and what is derived from it, one after the other in one unit of the plan.

A derived sample's `spec` holds `derived` (how), `origin` (keys of what it is made from) and `family` (key of the
family's first sample) beside what its origin's holds. A unit holds as many families whole as it holds samples that are
rendered: its rows are a multiple of `unit_size`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipeline.config import Config, EditOptions
from pipeline.plan import PlanRow
from shards.schema import EDIT_KINDS, EditKind
from sources.derived import INVERSE

OF_DERIVED: Final = ("derived", "origin", "family")
"""Keys that the spec of a derived sample has beside its origin's."""


def inverse_key(key: str) -> str:
    return f"{key}-inv"


def family_of(key: str, spec: Mapping[str, Any]) -> str:
    """Key of the first sample of a sample's family."""
    return str(spec.get("family", key))


def with_inverse(row: PlanRow) -> Iterator[PlanRow]:
    """A planned sample, and the one that leads back."""
    yield row
    told = {"derived": "invert", "edit": INVERSE[row.spec["edit"]], "family": row.key, "origin": [row.key]}
    yield PlanRow(inverse_key(row.key), row.split, {**row.spec, **told})


def planned_rows(rendered: int, edits: EditOptions) -> int:
    """Samples of a plan of so many that are rendered (or read)."""
    return 2 * rendered if edits.invert else rendered


def unit_rows(config: Config) -> int:
    """Samples of one unit of the plan."""
    return planned_rows(config.unit_size, config.edits)


def rendered_of(rows: int, config: Config) -> int:
    """Of whole units with so many samples, those that are rendered (or read)."""
    return rows * config.unit_size // unit_rows(config)


def derived_share(config: Config) -> float:
    """Of a unit's samples, those that are derived from others."""
    return 1.0 - config.unit_size / unit_rows(config)


def planned_kinds(edits: EditOptions) -> list[EditKind]:
    """The kinds of edit of a plan's samples, derived ones among them."""
    kinds = set(edits.weights)
    if edits.invert:
        kinds |= {INVERSE[kind] for kind in kinds}
    return [kind for kind in EDIT_KINDS if kind in kinds]
