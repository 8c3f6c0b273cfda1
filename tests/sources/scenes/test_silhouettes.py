"""Forecasts of visibility, for boxes whose image can be computed by hand."""

import numpy as np
import pytest

from spatialdata_builder.shards.schema import SupportKind
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.supports import Support
from spatialdata_builder.sources.scenes.camera import Orbit
from spatialdata_builder.sources.scenes.silhouettes import forecast
from spatialdata_builder.sources.scenes.spec import Placement, SceneObjectSpec, Standing


def box(identity: int, side: float, height: float, supports: float = 0.0) -> SceneObjectSpec:
    h = side / 2
    asset = Asset(
        uid=str(identity),
        path="",
        category="box",
        colour="",
        licence="cc0",
        creator="",
        scale=1.0,
        offset=(0.0, 0.0, 0.0),
        size_m=(side, side, height),
        footprint=((-h, -h), (h, -h), (h, h), (-h, h)),
        triangles=12,
        supports=supports,
        opening=(0.9 * side, 0.9 * side) if supports else (0.0, 0.0),
    )
    return SceneObjectSpec(identity, asset, "midground")


def camera(elevation: float = 0.0, height: float = 0.5):
    """From -y, five meters away, focal length 400 px, 400 x 400."""
    K = (400.0, 0.0, 200.0, 0.0, 400.0, 200.0, 0.0, 0.0, 1.0)
    return Orbit((0.0, 0.0, height), 270.0, elevation, 5.0, K).pose()


def test_one_box_seen_from_the_front():
    seen = forecast([box(1, 1.0, 1.0)], {1: Placement(0.0, 0.0, 0.0, 0.0)}, camera(), (400, 400))[1]
    side = 400 * 1.0 / 4.5  # the front face is half a meter nearer
    assert seen.own_px == pytest.approx(side**2, rel=0.07)
    assert (seen.visible, seen.in_frame) == (1.0, 1.0)
    assert seen.box == (155, 155, 245, 245)


def test_the_nearer_box_hides_half_of_the_farther():
    objects = [box(1, 1.0, 1.0), box(2, 1.0, 1.0), box(3, 1.0, 1.0)]
    placements = {
        1: Placement(0.0, 2.0, 0.0, 0.0),
        2: Placement(0.5, 0.0, 0.0, 0.0),
        3: Placement(0, 0, 0, 0, 1, False),
    }
    seen = forecast(objects, placements, camera(), (400, 400))
    assert seen[2].visible == 1.0
    assert seen[1].visible == pytest.approx(0.5, abs=0.05)
    assert (seen[3].own_px, seen[3].visible, seen[3].in_frame) == (0.0, 0.0, 0.0)


def test_a_box_at_the_border_is_half_in_the_frame_and_one_behind_the_camera_unseen():
    objects = [box(1, 1.0, 1.0), box(2, 1.0, 1.0)]
    placements = {1: Placement(2.25, 0.0, 0.0, 0.0), 2: Placement(0.0, -5.0, 0.0, 0.0)}
    seen = forecast(objects, placements, camera(), (400, 400))
    assert 0.4 < seen[1].in_frame < 0.65 and seen[1].box[2] == 400
    assert seen[2].own_px == 0.0


@pytest.mark.parametrize(("elevation", "low", "high"), [(5.0, 0.0, 0.05), (60.0, 0.4, 1.0)])
def test_the_inside_of_a_container_is_visible_only_from_above(elevation, low, high):
    objects = [box(1, 1.0, 0.8, supports=0.1), box(2, 0.4, 0.4)]
    placements = {1: Placement(0.0, 0.0, 0.0, 0.0), 2: Placement(0.0, 0.0, 0.1, 0.0)}
    seen = forecast(objects, placements, camera(elevation), (400, 400))
    assert low <= seen[2].visible <= high
    assert seen[1].visible > 0.5


def test_yaw_moves_to_the_viewer_s_right_and_keeps_the_distance():
    orbit = Orbit((1.0, 2.0, 0.3), 270.0, 20.0, 5.0, (1.0,) * 9)
    before, after = orbit.matrix(), orbit.turned(yaw_deg=45.0, pitch_deg=15.0, zoom=1.25).matrix()
    step = after[:3, 3] - before[:3, 3]
    assert step @ before[:3, 0] > 0 and step[2] > 0
    assert np.linalg.norm(after[:3, 3] - orbit.pivot) == pytest.approx(4.0)


def support(kind: SupportKind, z: float, half: tuple[float, float], clearance: float, **more) -> Support:
    x, y = half
    return Support(kind, z, (((-x, -y), (x, -y), (x, y), (-x, y)),), clearance, min(half), **more)


SHELF = support("shelf", 0.5, (0.45, 0.45), 0.4, open_sides=("-y",))
UNDER = support("under", 0.0, (0.45, 0.45), 0.7, open_sides=("+x", "-x", "+y", "-y"))


@pytest.mark.parametrize(("yaw", "seen"), [(0.0, 1.0), (180.0, 0.0), (90.0, 0.0)])
def test_a_thing_on_a_covered_shelf_is_visible_through_its_open_side_only(yaw, seen):
    objects = [box(1, 1.0, 1.0), box(2, 0.3, 0.3)]
    on = Standing(1, 0, "shelf", 1, 1)
    placements = {1: Placement(0.0, 0.0, 0.0, yaw), 2: Placement(0.0, 0.0, 0.5, 0.0, standing=on)}
    found = forecast(objects, placements, camera(), (400, 400), {1: [SHELF]})
    assert found[2].visible == pytest.approx(seen, abs=0.05)
    hidden = 1 - found[1].visible
    assert hidden == pytest.approx(seen * found[2].own_px / found[1].own_px, abs=0.03)


def test_a_stack_on_a_shelf_is_hidden_as_what_it_stands_on():
    objects = [box(1, 1.0, 1.0), box(2, 0.3, 0.1), box(3, 0.2, 0.1)]
    placements = {
        1: Placement(0.0, 0.0, 0.0, 180.0),
        2: Placement(0.0, 0.0, 0.5, 0.0, standing=Standing(1, 0, "shelf", 1, 1)),
        3: Placement(0.0, 0.0, 0.6, 0.0, standing=Standing(2, 0, "top")),
    }
    top = support("top", 0.1, (0.14, 0.14), np.inf)
    found = forecast(objects, placements, camera(), (400, 400), {1: [SHELF], 2: [top]})
    assert found[3].visible < 0.05
    placements[1] = Placement(0.0, 0.0, 0.0, 0.0)
    assert forecast(objects, placements, camera(), (400, 400), {1: [SHELF], 2: [top]})[3].visible > 0.95


def test_a_shelf_seen_steeply_from_above_hides_what_is_deep_in_it():
    objects = [box(1, 1.0, 1.0), box(2, 0.3, 0.3)]
    on = Standing(1, 0, "shelf", 1, 1)
    placements = {1: Placement(0.0, 0.0, 0.0, 0.0), 2: Placement(0.0, 0.25, 0.5, 0.0, standing=on)}
    assert forecast(objects, placements, camera(60.0), (400, 400), {1: [SHELF]})[2].visible < 0.2


def test_a_thing_under_a_table_is_visible_below_its_top():
    objects = [box(1, 1.0, 0.75), box(2, 0.3, 0.3), box(3, 0.5, 0.4)]
    placements = {
        1: Placement(0.0, 0.0, 0.0, 0.0),
        2: Placement(0.0, 0.0, 0.0, 0.0, standing=Standing(1, 0, "under")),
        3: Placement(0.6, 1.5, 0.0, 0.0),
    }
    found = forecast(objects, placements, camera(5.0), (400, 400), {1: [UNDER]})
    assert found[2].visible > 0.95
    assert found[3].visible > 0.6  # behind the table, and seen through below it
    closed = Support(UNDER.kind, 0.0, UNDER.polygon, 0.7, 0.45, open_sides=("+y",))
    found = forecast(objects, placements, camera(5.0), (400, 400), {1: [closed]})
    assert found[2].visible < 0.05 and found[3].visible < 0.45
    # From steeply above the top hides it.
    assert forecast(objects, placements, camera(70.0), (400, 400), {1: [UNDER]})[2].visible < 0.3


@pytest.mark.parametrize(("elevation", "low", "high"), [(0.0, 0.0, 0.05), (50.0, 0.6, 1.0)])
def test_a_support_inside_is_visible_over_its_rim(elevation, low, high):
    objects = [box(1, 0.6, 0.5), box(2, 0.2, 0.2)]
    inside = support("inside", 0.05, (0.28, 0.28), np.inf, rim=0.45)
    on = Standing(1, 0, "inside")
    placements = {1: Placement(0.0, 0.0, 0.0, 0.0), 2: Placement(0.0, 0.0, 0.05, 0.0, standing=on)}
    assert low <= forecast(objects, placements, camera(elevation), (400, 400), {1: [inside]})[2].visible <= high


@pytest.mark.parametrize(("yaw", "seen"), [(0.0, 1.0), (180.0, 0.0)])
def test_the_back_of_a_seat_hides_what_stands_on_it(yaw, seen):
    objects = [box(1, 0.6, 0.9), box(2, 0.2, 0.2)]
    seat = Support("soft", 0.45, (((-0.28, -0.28), (0.28, -0.28), (0.28, 0.15), (-0.28, 0.15)),), np.inf, 0.2)
    on = Standing(1, 0, "soft")
    placements = {1: Placement(0.0, 0.0, 0.0, yaw), 2: Placement(0.0, 0.0, 0.45, 0.0, standing=on)}
    assert forecast(objects, placements, camera(), (400, 400), {1: [seat]})[2].visible == pytest.approx(seen, abs=0.05)
