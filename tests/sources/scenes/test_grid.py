"""The views of a camera grid."""

import pytest
from pydantic import ValidationError

from spatialdata_builder.sources.scenes.grid import GridView, OrbitOptions


def test_the_default_has_96_views_and_starts_at_eye_level_in_the_middle():
    grid = OrbitOptions()
    views = grid.views()
    assert len(views) == len(set(views)) == grid.count == 96
    assert views[0] == GridView(0.0, 0.0, 1.0)
    assert {view.azimuth_deg for view in views} == {45.0 * turn for turn in range(8)}
    assert {(view.elevation_deg, view.distance) for view in views} == {
        (elevation, distance) for elevation in (-30, 0, 30, 60) for distance in (0.6, 1.0, 1.8)
    }


def test_the_first_view_is_the_nearest_to_eye_level_and_the_medium_distance():
    assert OrbitOptions(elevations=(20, -15, 60), distances=(2, 0.6)).views()[0] == GridView(0.0, -15.0, 0.6)
    assert OrbitOptions(elevations=(-15, 15)).views()[0] == GridView(0.0, 15.0, 1.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"elevations": [-70]}, "-60 to 85"),
        ({"elevations": [90]}, "-60 to 85"),
        ({"elevations": [float("nan")]}, "-60 to 85"),
        ({"elevations": [0, 30, 0]}, "0 and 0 differ by less than 5 degrees"),
        ({"elevations": []}, "at least 1 item"),
        ({"distances": [0.1]}, "0.25 to 4"),
        ({"distances": [1, 1.1]}, "ratio below 1.15"),
        ({"azimuths": 0}, "greater than or equal to 1"),
        ({"azimuths": 100}, "less than or equal to 72"),
        ({"azimuths": 1, "elevations": [0], "distances": [1]}, "are 1 views; allowed: 2 to 256"),
        ({"azimuths": 36}, "are 432 views; allowed: 2 to 256"),
        ({"of": "scene"}, "use 0 or more, or of: object"),
        ({"of": "room"}, "'object' or 'scene'"),
    ],
)
def test_bad_grids_say_what_is_allowed(given: dict[str, object], said: str):
    with pytest.raises(ValidationError, match=said):
        OrbitOptions.model_validate(given)


def test_a_scene_may_be_seen_from_its_floor_up():
    grid = OrbitOptions(of="scene", elevations=(0, 40, 85))
    assert grid.count == 72 and grid.views()[0] == GridView(0.0, 40.0, 1.0)
