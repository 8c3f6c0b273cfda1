"""Builds with synthetic facts, so that tests can recount a page: layers on disk, without pixels."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from spatialdata_builder.pipeline.config import load_config
from spatialdata_builder.pipeline.opened import open_build
from spatialdata_builder.pipeline.planning.configurations import BUILD
from spatialdata_builder.pipeline.planning.samples import plan_build
from spatialdata_builder.pipeline.store.layers import LayerStore, Record, Rejected
from spatialdata_builder.pipeline.store.plan import PlanRow
from spatialdata_builder.shards.schema import Instruction, MapInfo, Maps, PairFacts
from tests.annotators.factory import random_facts

UNIT = 8
COLORS = ("red", "", "dark green", "wooden", "no such color")
MADE_BY = ("renderer", "onnx-community/metric3d-vit-small", "renderer")


@dataclass(frozen=True)
class Written:
    """One written sample."""

    key: str
    split: str
    kind: str
    state: str
    facts: PairFacts | None
    text: str
    maps: Maps


def write_scenes(
    out: Path,
    samples: int = 48,
    change: Callable[[int, PairFacts], PairFacts] = lambda _, facts: facts,
    missing: Collection[tuple[str, int]] = (),
    settings: Sequence[str] = (),
) -> list[Written]:
    """A build of scenes under `out`.

    Args:
        change: (number of the sample, its facts) -> the facts to write.
        missing: (layer, unit) that are not done; if it is layer `pair`, no layer of the unit is done.
        settings: more settings of the build.
    """
    given = [f"samples={samples}", f"unit_size={UNIT}", "source.variants=1", "engine.kind=inline", *settings]
    config = load_config(None, given)
    store = LayerStore(str(out))
    plan = plan_build(config, store, lambda _: None, True)
    store.write_file(BUILD, config.model_dump_json().encode())
    layers = open_build(str(out)).layers
    written: list[Written] = []
    for unit in range(plan.units):
        undone = {layer for layer in layers if not {(layer, unit), ("pair", unit)}.isdisjoint(missing)}
        rows: dict[str, dict[str, dict[str, str]]] = {layer: {} for layer in layers}
        rejects: dict[str, list[Rejected]] = {layer: [] for layer in layers}
        for row in plan.rows(unit):
            number = len(written)
            lost = "" if _lost(number) in undone else _lost(number)
            state = "rejected" if lost else "waiting" if undone else "accepted"
            facts = None if "pair" in (lost, *undone) else _facts(number, str(row.spec["edit"]), change)
            written.append(_written(number, row, state, facts))
            if lost:
                rejects[lost].append(Rejected(row.key, f"{lost}_is_bad"))
            for layer, columns in _columns(written[-1]).items() if facts else ():
                if layer in layers and layer != lost:
                    rows[layer][row.key] = columns
        for layer in layers.keys() - undone:
            record = Record(unit, layers[layer], tuple(rejects[layer]), seconds=2.0)
            store.write(layers[layer], unit, rows[layer], record)
    return written


def _lost(number: int) -> str:
    """The layer that rejects a sample; empty if none does."""
    return {3: "pair", 5: "screen", 6: "checks"}.get(number % 11, "")


def _facts(number: int, kind: str, change: Callable[[int, PairFacts], PairFacts]) -> PairFacts:
    facts = random_facts(number, kind)
    colors = [COLORS[(number + place) % len(COLORS)] for place in range(len(facts.objects))]
    return change(number, facts.model_copy(update={"colours": colors}))


def _written(number: int, row: PlanRow, state: str, facts: PairFacts | None) -> Written:
    near, far = 0.4 + number % 7, 5.0 + number % 40
    metric = _depth("metric", "m", MADE_BY[number % 3], near, far)
    relative = _depth("relative_inverse", "", "renderer", 1 / far, 1 / near)
    text = " ".join(["word"] * (3 + number % 50))
    kind = str(row.spec["edit"])
    return Written(row.key, row.split, kind, state, facts, text, Maps(depth=relative, metric=metric))


def _columns(one: Written) -> dict[str, dict[str, str]]:
    facts = one.facts.model_dump_json() if one.facts else ""
    instruction = Instruction(text=one.text, variants=["Do it."], method="template", model="", verified=True)
    maps = {name: f'{{"{name}": {getattr(one.maps, name).model_dump_json()}}}' for name in ("depth", "metric")}
    rest = {layer: {"nothing": ""} for layer in ("screen", "normal", "segment", "line")}
    return {
        "pair": {"facts": facts},
        "instruction": {"instruction": instruction.model_dump_json()},
        "checks": {"instruction": "", "scores": "{}"},
        "depth": {"maps": maps["depth"]},
        "metric": {"maps": maps["metric"]},
        **rest,
    }


def _depth(kind: str, unit: str, estimator: str, low: float, high: float) -> MapInfo:
    numbers = {"scale": (high - low) / 65534, "offset": low, "min": low, "max": high}
    return MapInfo.model_validate({"estimator": estimator, "revision": "1", "kind": kind, "unit": unit, **numbers})
