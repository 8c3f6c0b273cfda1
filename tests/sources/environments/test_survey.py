"""The survey of synthetic rooms: floor, surfaces and free space, recomputed from the boxes that rooms consist of."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from spatialdata_builder.sources.assets.glb import GlbError
from spatialdata_builder.sources.environments.survey import MAX_TRIANGLES, survey_environment
from spatialdata_builder.sources.scenes.interior import Interior, lamp_over, shape_of
from tests.sources.environments.rooms import (
    COUNTER,
    DEPTH,
    HEIGHT,
    SIDES,
    TABLE,
    WIDTH,
    Box,
    furniture,
    write_many_triangles,
    write_room,
)
from tests.sources.glb_writer import CORNERS, Model


def reason(path: Path, unit_m: float | None = None) -> str:
    with pytest.raises(GlbError) as caught:
        survey_environment(path, unit_m)
    return caught.value.reason


def plan(box: Box) -> shapely.Polygon:
    return shapely.box(box[0], box[1], box[3], box[4])


def check(found: Interior) -> None:
    """Floor and surfaces of the furnished room, whose middle is the origin."""
    inside = shapely.box(-WIDTH / 2, -DEPTH / 2, WIDTH / 2, DEPTH / 2)
    blocked = {height: [plan(box) for box in furniture() if box[2] < height] for height in (0.25, 1.0, 2.0)}
    for floor in found.floors:
        free = shape_of(floor.parts)
        assert inside.contains(free)
        for box in furniture():
            if box[2] < floor.clearance:
                assert free.intersection(plan(box)).area == 0
    # Two cells around walls and furniture may be lost.
    ideal = inside.difference(shapely.union_all(blocked[2.0]))
    assert found.walkable.area > 0.9 * ideal.area
    assert found.free_floor(0.2).area > found.free_floor(1.5).area > 0
    assert found.free_floor(2.5).is_empty
    by_height = {round(one.z, 2): one for one in found.surfaces}
    assert by_height.keys() == {0.75, 0.9}
    for z, box in ((0.75, TABLE), (0.9, COUNTER)):
        assert plan(box).contains(by_height[z].shape())
        assert by_height[z].shape().area > 0.75 * plan(box).area
        assert by_height[z].kind == "top" and abs(by_height[z].z - z) < 1e-4


def test_a_room_with_a_table_and_a_counter(tmp_path: Path):
    found = survey_environment(write_room(tmp_path / "room.glb"))
    check(found)
    assert found.scale == 1.0 and found.ceiling == HEIGHT
    assert all(abs(one.clearance - (HEIGHT - one.z)) < 1e-3 for one in found.surfaces)


@pytest.mark.parametrize("unit", [100.0, 1000.0])
def test_centimeters_and_millimeters(tmp_path: Path, unit: float):
    found = survey_environment(write_room(tmp_path / "room.glb", unit=unit, lift=0.4))
    check(found)
    assert found.scale == 1 / unit


@pytest.mark.parametrize("lift", [-3.2, 1.7])
def test_a_floor_that_is_not_at_zero(tmp_path: Path, lift: float):
    found = survey_environment(write_room(tmp_path / "room.glb", lift=lift))
    check(found)
    assert -0.001 <= lift + found.offset[2] <= 0


def test_a_stated_unit(tmp_path: Path):
    path = write_room(tmp_path / "room.glb", unit=0.25)
    assert reason(path) == "unknown_unit"
    check(survey_environment(path, unit_m=4.0))


@pytest.mark.parametrize("without", [("-x",), ("+y", "ceiling"), ("+x", "-x", "+y", "-y", "ceiling")])
def test_open_to_some_sides(tmp_path: Path, without: tuple[str, ...]):
    found = survey_environment(write_room(tmp_path / "room.glb", without=without), unit_m=1.0)
    assert found.walkable.area > 0.9 * (WIDTH * DEPTH - plan(TABLE).area - plan(COUNTER).area)
    assert {round(one.z, 2) for one in found.surfaces} == {0.75, 0.9}
    assert found.ceiling == (0.0 if "ceiling" in without else HEIGHT)


def test_rooms_that_cannot_be_used(tmp_path: Path):
    path = tmp_path / "room.glb"
    assert reason(write_room(path, flipped=True)) == "upside_down"
    assert reason(write_room(path, flipped=True, without=("ceiling",))) == "upside_down"
    assert reason(write_room(path, without=("floor", "ceiling"))) == "no_floor"
    assert reason(write_room(path, boxes=[(-2.4, -1.9, 1.5, 2.4, 1.9, 1.6)])) == "no_floor"
    assert reason(write_many_triangles(path, MAX_TRIANGLES + 2)) == "too_many_triangles"
    (tmp_path / "wall.png").write_bytes(b"")
    model = Model()
    model.node(mesh=model.mesh(model.box(CORNERS * 10)))
    model.json["images"] = [{"uri": "wall.png"}]
    path.write_bytes(model.pack())
    assert reason(path) == "external_files"
    path.write_bytes(b"no GLB")
    assert reason(path) == "unreadable"


def test_a_table_is_no_room(tmp_path: Path):
    assert reason(write_room(tmp_path / "a.glb", without=SIDES, boxes=furniture()[:5]), unit_m=1.0) == "no_floor"


def test_a_room_on_its_side(tmp_path: Path):
    assert reason(write_room(tmp_path / "room.glb", lying=True)) == "on_its_side"
    assert reason(write_room(tmp_path / "room.glb", lying=True, unit=100.0)) == "on_its_side"


def test_a_house_on_a_lawn(tmp_path: Path):
    """The floor below the ceiling counts, although the lawn is larger."""
    lawn = (-7.0, -7.0, -0.5, 7.0, 7.0, -0.15)
    check(survey_environment(write_room(tmp_path / "house.glb", boxes=[*furniture(), lawn])))


def test_all_tables_of_a_large_room(tmp_path: Path):
    """What counts as too small does not depend on the size of the room."""
    x, y = 8.0, 5.0
    floor, wall = (-x, -y, -0.1, x, y, 0.0), (-x - 0.1, -y, -0.1, -x, y, 3.2)
    tables = [
        (left, front, 0.0, left + 0.6, front + 0.4, 0.72) for left in (-6.0, -2.0, 2.0, 6.0) for front in (-3, 0, 3)
    ]
    found = survey_environment(write_room(tmp_path / "cafe.glb", without=SIDES, boxes=[floor, wall, *tables]))
    assert len(found.surfaces) == len(tables) == 12
    cell = (2 * x + 0.1) / 640
    for table in tables:
        # The middle of the box of the model is the origin.
        outline = plan((table[0] + 0.05, *table[1:3], table[3] + 0.05, *table[4:]))
        (own,) = (one for one in found.surfaces if outline.contains(one.shape()))
        assert own.shape().area > (0.6 - 4 * cell) * (0.4 - 4 * cell)


def test_a_table_below_a_slope(tmp_path: Path):
    """A roof from 0.8 m at the sides to 3.2 m in the middle, above the table."""
    x, y = WIDTH / 2, DEPTH / 2
    slopes = np.array(
        [[[side * x, -y, 0.8], [side * x, y, 0.8], [0.0, y, 3.2]] for side in (1.0, -1.0)]
        + [[[side * x, -y, 0.8], [0.0, y, 3.2], [0.0, -y, 3.2]] for side in (1.0, -1.0)]
    )
    boxes: list[Box] = [*furniture(), (-2.4, 0.8, 0.0, -1.9, 1.4, 0.75)]
    without = ("ceiling", "+x", "-x", "+y", "-y")
    found = survey_environment(write_room(tmp_path / "attic.glb", without=without, boxes=boxes, slopes=slopes))
    # The table is free; what stands below the low end of the roof is not.
    (surface,) = found.surfaces
    assert plan(TABLE).contains(surface.shape()) and abs(surface.z - 0.75) < 1e-4
    middle, _, height, width, _ = lamp_over(found, np.array([[1.6, 0.9], [0.0, -0.5]]))
    assert 1.7 < height < 3.2 - 2.4 * (abs(middle) + width / 2) / x
    farthest = max(abs(point[0]) for point in surface.polygon[0])
    assert surface.clearance == pytest.approx(3.2 - 2.4 * farthest / x - 0.75, abs=0.05)
    high = shapely.box(-x * (3.2 - 2.0) / 2.4, -y, x * (3.2 - 2.0) / 2.4, y)
    below = found.walkable.intersection(shapely.box(-x, -y, x, y))
    assert below.area > 0.8 * high.difference(plan(TABLE)).area and high.buffer(0.05).contains(below)


def test_where_a_camera_can_be(tmp_path: Path):
    found = survey_environment(
        write_room(tmp_path / "room.glb", boxes=[*furniture(), (-0.1, -2.0, 0.0, 0.0, 0.4, 2.2)])
    )
    eye = np.array([-1.0, -0.5, 1.5])
    assert found.holds_eye(eye)
    for wrong in (
        (-1.0, -0.5, 2.4),
        (-1.0, -0.5, 0.1),
        (2.45, 0.0, 1.5),
        (1.0, 1.0, 1.5),
        (-0.05, 0.0, 1.5),
        (4, 0, 1),
    ):
        assert not found.holds_eye(np.array(wrong))
    assert found.sees(eye, np.array([-1.5, 1.0, 0.3]))
    assert not found.sees(eye, np.array([1.0, -0.5, 0.3]))  # behind the partition
    above = np.array([0.3, 1.6, 1.5])
    assert found.sees(above, np.array([1.2, 0.9, 0.8]))
    assert not found.sees(above, np.array([1.6, 0.6, 0.1]))  # below the table


def test_a_ceiling_and_a_roof_are_no_floors(tmp_path: Path):
    """The floor of the furnished room is smaller than its ceiling."""
    blocks: list[Box] = [(-2.5, -2.0, 0.0, 0.0, 2.0, 1.0)]
    found = survey_environment(write_room(tmp_path / "room.glb", boxes=blocks))
    assert found.ceiling == HEIGHT and found.walkable.area < 0.55 * WIDTH * DEPTH
