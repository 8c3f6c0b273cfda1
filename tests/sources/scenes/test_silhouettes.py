"""Forecasts of visibility, for boxes whose image can be computed by hand."""

import numpy as np
import pytest

from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.scenes.camera import Orbit
from spatialdata_builder.sources.scenes.silhouettes import forecast
from spatialdata_builder.sources.scenes.spec import Placement, SceneObjectSpec


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
