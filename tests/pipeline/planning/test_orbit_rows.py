"""The plan of camera grids: which pairs of views are samples."""

import json
from collections import Counter
from itertools import permutations

import pytest

from spatialdata_builder.pipeline.config import parse_config
from spatialdata_builder.pipeline.planning.orbit_rows import derived_pairs, plan_orbits
from spatialdata_builder.pipeline.planning.samples import plan_config
from spatialdata_builder.pipeline.planning.scene_rows import plan_scenes
from spatialdata_builder.pipeline.store.families import (
    derived_share,
    planned_kinds,
    planned_rows,
    rendered_of,
    states_of,
    unit_rows,
)
from spatialdata_builder.pipeline.store.plan import PlanRow
from spatialdata_builder.sources.scenes.grid import OrbitOptions

SPLITS = {"train": 0.5, "val": 0.0, "test": 0.5}
GRID = OrbitOptions()
SMALL = OrbitOptions(azimuths=3, elevations=(0, 30), distances=(1.0,))


def planned(scenes: int, pairs: int, grid: OrbitOptions = SMALL, seed: int = 0) -> list[PlanRow]:
    batches = plan_orbits(scenes * (grid.count - 1), seed, grid, pairs, SPLITS, "x")
    rows = [row for batch in batches for row in batch.to_pylist()]
    return [PlanRow(row["key"], row["split"], json.loads(row["spec"])) for row in rows]


def families(rows: list[PlanRow]) -> dict[str, list[PlanRow]]:
    found: dict[str, list[PlanRow]] = {}
    for row in rows:
        found.setdefault(row.spec["family"], []).append(row)
    return found


@pytest.mark.parametrize("pairs", [5, 12, 29, 30])
def test_each_scene_has_so_many_different_pairs(pairs: int):
    rows = planned(4, pairs)
    assert len({row.key for row in rows}) == len(rows) == 4 * pairs
    for family in families(rows).values():
        assert len({row.split for row in family}) == len({row.spec["seed"] for row in family}) == 1
        states = states_of(family)
        assert len(set(states.values())) == pairs
        assert all(one != other and max(one, other) < SMALL.count for one, other in states.values())
        assert [states[row.key] for row in family[:5]] == [(0, view) for view in range(1, 6)]
        seen: set[str] = set()
        for row in family:
            assert set(row.spec.get("origin", ())) <= seen
            assert row.spec["edit"] == "camera"
            seen.add(row.key)
    if pairs == 30:
        assert set(states_of(next(iter(families(rows).values()))).values()) == set(permutations(range(6), 2))


def test_keys_say_what_they_lead_from_and_to():
    rows = {row.key: row for row in planned(1, 30)}
    states = states_of(list(rows.values()))
    assert states["x-00000001-comp"] == (2, 3) and states["x-00000001-comp-inv"] == (3, 2)
    assert states["x-00000000-comp3"] == (1, 4) and states["x-00000004-inv"] == (5, 0)
    # The inverse of a planned sample swaps its images, and is not composed again.
    assert rows["x-00000001-comp-inv"].spec["derived"] == "invert"


def test_scenes_do_not_depend_on_their_number():
    assert planned(6, 13)[: 3 * 13] == planned(3, 13)
    assert planned(3, 13, seed=1) != planned(3, 13)


def test_scenes_have_the_seeds_and_splits_of_other_plans():
    batches = plan_scenes(10, 0, {"camera": 1.0}, SPLITS, "x", per_scene=5, invert=True)
    others = [row for batch in batches for row in batch.to_pylist() if "comp" not in row["key"]]
    seeds = [json.loads(row["spec"])["seed"] for row in others if row["key"] in ("x-00000000", "x-00000005")]
    found = families(planned(2, 5))
    assert [rows[0].spec["seed"] for rows in found.values()] == seeds
    assert list(found) == ["x-00000000", "x-00000005"]


@pytest.mark.parametrize("count", [97, 150, 300])
def test_steps_take_turns(count: int):
    views = GRID.views()
    yaws, pitches, zooms, changed = Counter[float](), Counter[float](), Counter[float](), Counter[int]()
    for scene in range(6):
        pairs = derived_pairs(GRID, count, scene, 1000 + scene)
        assert len(set(pairs)) == count and all(source > 0 for source, _ in pairs)
        for one, other in pairs:
            yaw = (views[other].azimuth_deg - views[one].azimuth_deg) % 360
            pitch = views[other].elevation_deg - views[one].elevation_deg
            zoom = round(views[other].distance / views[one].distance, 6)
            changed[(yaw != 0) + (pitch != 0) + (zoom != 1)] += 1
            for steps, step in ((yaws, yaw), (pitches, pitch), (zooms, zoom)):
                steps[step] += 1
    assert (len(yaws), len(pitches), len(zooms)) == (8, 7, 7)
    assert max(changed.values()) - min(changed.values()) <= 6
    for steps, none in ((yaws, 0), (pitches, 0), (zooms, 1)):
        del steps[none]
        assert max(steps.values()) - min(steps.values()) < 0.15 * max(steps.values()), steps


def test_all_pairs_can_be_planned():
    pairs = derived_pairs(GRID, 96 * 95 - 95, 3, 7)
    assert len(set(pairs)) == 96 * 95 - 95


def test_two_views_are_two_pairs():
    grid = OrbitOptions(azimuths=2, elevations=(0,), distances=(1.0,))
    rows = planned(2, 2, grid)
    assert states_of(rows) == {"x-00000000": (0, 1), "x-00000000-inv": (1, 0)} | {
        "x-00000001": (0, 1),
        "x-00000001-inv": (1, 0),
    }
    assert len(planned(2, 1, grid)) == 2


def test_counts_of_a_build_with_a_grid():
    config = parse_config({"samples": 10, "unit_size": 5, "edits": {"orbit": SMALL.model_dump()}})
    assert config.edits.orbit_pairs == 12 == unit_rows(config)
    assert planned_rows(10, config.edits) == 24 and rendered_of(24, config) == 10
    assert derived_share(config) == pytest.approx(7 / 12)
    assert planned_kinds(config.edits) == ["camera"]
    edits = plan_config(config)["edits"]
    assert edits == {
        "camera": 1.0,
        "per_scene": 5,
        "pairs_per_scene": 12,
        "orbit": {"of": "object", "azimuths": 3, "elevations": [0.0, 30.0], "distances": [1.0]},
    }
