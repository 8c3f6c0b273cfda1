"""Samples in parts count once, and a remote folder is not listed again and again."""

from pathlib import Path

from spatialdata_builder.pipeline.engine.part_counts import PartCounts, samples_done
from spatialdata_builder.pipeline.store.layers import LayerStore, PartName, Record
from spatialdata_builder.pipeline.store.parts import Part, write_part
from tests.pipeline.toys import scenes_plan

LAYER = "pair-0123456789abcdef"


def keep(store: LayerStore, *names: PartName) -> None:
    for name in names:
        write_part(store, LAYER, name, Part({"a": {"n": 1}}), {})


def test_units_that_are_done_and_their_parts_count_once(tmp_path: Path):
    store = LayerStore(str(tmp_path))
    plan = scenes_plan(store, scenes=7, unit_size=4)
    assert (plan.units, plan.size(3)) == (4, 2)

    def done(units: int) -> int:
        return samples_done(store, plan, LAYER, units, PartCounts(store, plan, LAYER))

    assert done(0) == 0
    keep(store, PartName(0, 0, 2), PartName(1, 0, 2), PartName(1, 2, 2), PartName(3, 0, 2))
    assert done(0) == 8
    store.write(LAYER, 3, {}, Record(3, LAYER))
    assert done(1) == samples_done(store, plan, LAYER, 1, None) + 6 == 8
    keep(store, PartName(1, 0, 4), PartName(9, 0, 4))  # the same samples in two parts; a unit that is not planned
    assert PartCounts(store, plan, LAYER).by_unit() == {0: 2, 1: 4, 3: 2}
    assert done(4) == plan.samples == 14


def test_a_remote_folder_is_listed_rarely(tmp_path: Path):
    store = LayerStore(f"memory://{tmp_path.name}")
    plan = scenes_plan(store)
    counts = PartCounts(store, plan, LAYER)
    keep(store, PartName(0, 0, 2))
    assert counts.by_unit() == {0: 2}
    keep(store, PartName(0, 2, 2))
    assert counts.by_unit() == {0: 2}
    assert PartCounts(store, plan, LAYER).by_unit() == {0: 4}
