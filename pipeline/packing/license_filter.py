"""Find samples that show models under licenses that `shard.licenses` does not allow.

Only the facts are read: one column of layer `pair`, a thousandth of its bytes. Damage elsewhere in the file is found
when it is packed.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from ...shards.licenses import LicenseName, visible_licenses
from ...shards.schema import PairFacts
from ..store.layers import LayerStore
from ..store.plan import Plan
from .duplicates import per_unit


@dataclass(frozen=True)
class Unlicensed:
    """Samples with a visible asset that has none of the allowed licenses."""

    by_unit: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    """Their keys in the plan's order, for units that have any."""
    licenses: Mapping[LicenseName, int] = field(default_factory=dict[LicenseName, int])
    """Number of these samples by license that is not allowed. A sample may count for several."""

    @property
    def warning(self) -> str:
        """Why they are left out, and what to do; empty if there are none."""
        found = ", ".join(f"{name} {count}" for name, count in self.licenses.items())
        return f"shard.licenses leaves out samples that show models under {found}: allow more licenses" if found else ""

    def added_to(self, left_out: Mapping[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
        """Keys by unit: those of `left_out` and of these samples."""
        units = sorted({*left_out, *self.by_unit})
        return {unit: (*left_out.get(unit, ()), *self.by_unit.get(unit, ())) for unit in units}


def find_unlicensed(store: LayerStore, plan: Plan, pair: str, licenses: Collection[LicenseName]) -> Unlicensed:
    """Find the samples of a finished build to leave out.

    Args:
        pair: folder of layer `pair`.
        licenses: the allowed licenses; empty: all.

    Raises LayerCorrupt if a record or a layer file is missing or damaged.
    """
    if not licenses:
        return Unlicensed()

    def others(unit: int) -> dict[str, set[LicenseName]]:
        rows = store.peek(pair, unit, ("facts",))
        try:
            shown = {key: PairFacts.model_validate_json(str(row["facts"])).objects for key, row in rows.items()}
        except ValidationError:
            store.check(pair, unit)  # raises LayerCorrupt if the file is damaged
            raise
        return {
            key: rest for key, objects in shown.items() if (rest := set(visible_licenses(objects)).difference(licenses))
        }

    by_unit: dict[int, tuple[str, ...]] = {}
    counts: Counter[LicenseName] = Counter()
    for unit, found in per_unit(store, plan, others):
        if found:
            by_unit[unit] = tuple(found)
            for rest in found.values():
                counts.update(rest)
    return Unlicensed(by_unit, dict(sorted(counts.items())))
