"""Places of templates: geometry of small arrangements, recomputed from footprints."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import shapely

from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.edits.proposals import generator
from spatialdata_builder.sources.scenes.arrangement import Furnished
from spatialdata_builder.sources.scenes.footprints import footprint
from spatialdata_builder.sources.scenes.furnish import furnish
from spatialdata_builder.sources.scenes.room import sample_room
from spatialdata_builder.sources.scenes.template import Template, builtin_templates
from tests.sources.furniture import furniture

pytestmark = pytest.mark.slow
SIZE = ((4.5, 5.0), (4.0, 4.5), (2.5, 2.7))


@cache
def rooms(items: tuple[tuple[tuple[str, object], ...], ...], count: int = 12) -> list[Furnished]:
    template = Template.model_validate(
        {"kind": "room", "size": SIZE, "focus": "a", "items": [dict(item) for item in items]}
    )
    found = []
    for seed in range(count):
        rng = generator(seed, 77)
        room = replace(sample_room(rng, SIZE), openings=())
        models = furniture(6)
        made = furnish(rng, room, "+y", template, builtin_templates().roles, models.assets, models.supports_of)
        assert isinstance(made, Furnished)
        found.append(made)
    return found


def item(**values: object) -> tuple[tuple[str, object], ...]:
    return tuple(values.items())


def outline(found: Furnished, identity: int) -> shapely.Polygon:
    return shapely.Polygon(footprint(found.assets[identity], found.placements[identity]))


def facing(found: Furnished, identity: int) -> np.ndarray:
    front = found.assets[identity].front_deg
    assert front is not None
    angle = np.deg2rad(found.placements[identity].yaw_deg + front)
    return np.array([np.cos(angle), np.sin(angle)])


def spot(found: Furnished, identity: int) -> np.ndarray:
    return np.array([found.placements[identity].x, found.placements[identity].y])


WALL = item(name="a", role="chair", place="against wall", needed=True)


def test_a_row_on_the_floor_is_in_line_and_close():
    several = 0
    for found in rooms((WALL, item(role="chair", place="in a row", of="a", count=(2, 3), gap=(0.05, 0.1), same=True))):
        ids = sorted(found.assets)
        several += len(ids) >= 3
        if len({found.assets[id].front_deg is None for id in ids}) != 1 or found.assets[1].front_deg is None:
            continue
        forward = facing(found, 1)
        backs = [float((footprint(found.assets[id], found.placements[id]) @ forward).min()) for id in ids]
        assert np.ptp(backs) < 0.06
        for id in ids:
            assert facing(found, id) @ forward > 0.99
            if len(ids) > 1:
                nearest = min(outline(found, id).distance(outline(found, other)) for other in ids if other != id)
                assert 0.039 <= nearest <= 0.13
    assert several >= 8


def test_a_row_on_a_table():
    table = item(name="a", role="dining table", place="in the middle", needed=True)
    first = item(name="b", role="dinner thing", place="on", of="a")
    for found in rooms((table, first, item(role="dinner thing", place="in a row", of="b", count=(2, 2)))):
        line = [id for id, place in found.placements.items() if place.standing]
        assert {found.placements[id].standing.object for id in line} <= {1}
        if len(line) == 3:
            points = np.array([spot(found, id) for id in line])
            spread = np.linalg.svd(points - points.mean(axis=0))[1]
            assert spread[1] < 0.05 and spread[0] > 0.08


def test_seats_at_tables_and_desks_are_lower_than_these_by_the_height_of_knees():
    table = item(name="a", role="dining table", place="in the middle", needed=True)
    around = item(role="stool", place="around", of="a", count=(3, 4))
    desk = item(name="b", role="desk", place="against wall")
    seated = 0
    for found in rooms((table, around, desk, item(role="chair", place="in front", of="b", facing=True))):
        tops = [one.size_m[2] for one in found.assets.values() if one.category == "table"]
        for id, asset in found.assets.items():
            if asset.category in ("chair", "stool"):
                seat = max(one.z for one in found.supports[id] if one.kind in ("top", "soft"))
                assert any(0.119 <= top - seat <= 0.421 for top in tops)
                seated += 1
    assert seated >= 24


def test_a_corner_is_near_two_walls():
    placed = 0
    for found in rooms((WALL, item(role="plant", place="in a corner"), item(role="sofa", place="in a corner"))):
        for id in sorted(found.assets)[1:]:
            # The walls are at the ends of the ranges of SIZE; doors and windows were removed.
            x, y = np.abs(footprint(found.assets[id], found.placements[id])).max(axis=0)
            assert 2.25 - 0.1 <= x <= 2.5 and 2.0 - 0.1 <= y <= 2.25
            assert found.placements[id].y > 0  # at the back wall +y
            placed += 1
    assert placed >= 12


def test_a_seat_in_a_corner_faces_what_it_is_told():
    for found in rooms((WALL, item(role="armchair", place="in a corner", of="a", facing=True))):
        if 2 in found.assets and found.assets[2].front_deg is not None and max(found.assets[2].size_m[:2]) < 0.75:
            towards = spot(found, 1) - spot(found, 2)
            assert facing(found, 2) @ towards / np.linalg.norm(towards) > 0.8


def test_a_stack_gets_smaller_and_each_stands_on_the_one_below():
    table = item(name="a", role="dining table", place="in the middle", needed=True)
    heights = []
    for found in rooms((table, item(role="book", place="on each other", of="a", count=(3, 3)))):
        books = [id for id in sorted(found.assets) if id != 1]
        for below, above in pairwise(books):
            standing = found.placements[above].standing
            assert standing is not None and standing.object == below
            assert outline(found, below).contains(outline(found, above))
            top = found.placements[below].z + found.assets[below].size_m[2]
            assert found.placements[above].z == pytest.approx(top, abs=0.003)
        heights.append(len(books))
    assert np.mean(heights) >= 1.7


def test_things_in_a_container_and_under_a_table():
    table = item(name="a", role="dining table", place="in the middle", needed=True)
    bowl = item(name="b", role="fruit bowl", place="on", of="a")
    fruit = item(role="fruit", place="in", of="b")
    box = item(role="low thing", place="under", of="a")
    inside = under = 0
    for found in rooms((table, bowl, fruit, box)):
        for id, place in found.placements.items():
            if place.standing is None or place.standing.kind not in ("inside", "under"):
                continue
            carrier: Asset = found.assets[place.standing.object]
            support = found.supports[place.standing.object][place.standing.support]
            assert outline(found, place.standing.object).contains(outline(found, id))
            if place.standing.kind == "under":
                assert place.z == 0 and carrier.category == "table"
                assert found.assets[id].size_m[2] < support.clearance
                under += 1
            else:
                base = found.placements[place.standing.object]
                assert base.z < place.z < base.z + carrier.size_m[2]
                inside += 1
    assert inside >= 4 and under >= 2


def test_soft_surfaces_are_seats():
    sofa = item(name="a", role="sofa", place="against wall", needed=True)
    for found in rooms((sofa, item(role="sofa thing", place="on", of="a", support="soft"))):
        for place in found.placements.values():
            if place.standing:
                assert place.standing.object == 1 and 0.2 < place.z < 0.6
