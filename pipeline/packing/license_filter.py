"""What each sample shows, by the facts of its pair: which samples hold a model under a licence that is not wanted.

The facts are one column of layer `pair`, a thousandth of its bytes: no pixel is read. Who packs reads the whole file,
and finds damage.
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
    """Samples of which some visible asset has none of the licences that are asked for."""

    by_unit: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    """Their keys in the plan's order, of the units that have some."""
    licences: Mapping[LicenseName, int] = field(default_factory=dict[LicenseName, int])
    """Those samples by licence that was not asked for; one may show several."""

    @property
    def warning(self) -> str:
        """Why they are left out, and what to do; empty where there are none."""
        found = ", ".join(f"{name} {count}" for name, count in self.licences.items())
        return f"shard.licenses leaves out samples that show models under {found}: allow more licences" if found else ""

    def added_to(self, left_out: Mapping[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
        """Keys by unit: those of `left_out`, and these."""
        units = sorted({*left_out, *self.by_unit})
        return {unit: (*left_out.get(unit, ()), *self.by_unit.get(unit, ())) for unit in units}


def find_unlicensed(store: LayerStore, plan: Plan, pair: str, licences: Collection[LicenseName]) -> Unlicensed:
    """The samples of a finished build to leave out; none where no licences are asked for.

    Args:
        pair: folder of layer `pair`.

    Raises LayerCorrupt for a record or a layer file that is missing or damaged.
    """
    if not licences:
        return Unlicensed()

    def others(unit: int) -> dict[str, set[LicenseName]]:
        rows = store.peek(pair, unit, ("facts",))
        try:
            shown = {key: PairFacts.model_validate_json(str(row["facts"])).objects for key, row in rows.items()}
        except ValidationError:
            store.check(pair, unit)  # says so where the file is damaged
            raise
        return {
            key: rest for key, objects in shown.items() if (rest := set(visible_licenses(objects)).difference(licences))
        }

    by_unit: dict[int, tuple[str, ...]] = {}
    counts: Counter[LicenseName] = Counter()
    for unit, found in per_unit(store, plan, others):
        if found:
            by_unit[unit] = tuple(found)
            for rest in found.values():
                counts.update(rest)
    return Unlicensed(by_unit, dict(sorted(counts.items())))
