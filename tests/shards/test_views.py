"""The view of a camera that goes around one object, from the record alone."""

import pytest

from spatialdata_builder.shards.schema import Camera
from spatialdata_builder.shards.views import object_view, orbit_views
from tests.shards.orbits import edit_between, elevation_of, thing, view_at


@pytest.mark.parametrize("place", [(0, -30, 0.6), (45, 0, 1.0), (-90, 30, 1.8), (180, 60, 1.3), (10, 84, 0.7)])
def test_elevation_and_distance_follow_from_camera_and_box(place: tuple[float, float, float]):
    camera = view_at(place)
    found = object_view(thing(), thing().target_pose, camera)
    assert found is not None
    assert found.elevation_deg == pytest.approx(place[1], abs=1e-3) == elevation_of(camera)
    assert found.distance == pytest.approx(place[2], abs=1e-5)


@pytest.mark.parametrize(
    ("elevation", "word"),
    [(-30, "low-angle"), (-21, "low-angle"), (0, "eye-level"), (9, "eye-level"), (30, "elevated"), (60, "high-angle")],
)
def test_an_elevation_has_a_word_if_it_is_near_to_what_the_word_means(elevation: float, word: str):
    found = object_view(thing(), thing().target_pose, view_at((0, elevation, 1)))
    assert found is not None and found.height == word


@pytest.mark.parametrize("elevation", [-45, -15, 15, 45, 75])
def test_an_elevation_between_two_words_has_none(elevation: float):
    found = object_view(thing(), thing().target_pose, view_at((0, elevation, 1)))
    assert found is not None and found.height is None


@pytest.mark.parametrize(
    ("distance", "word"), [(0.6, "close-up"), (0.66, "close-up"), (1, "medium"), (1.8, "wide"), (0.77, None), (3, None)]
)
def test_a_distance_has_a_word_if_it_is_near_to_what_the_word_means(distance: float, word: str | None):
    found = object_view(thing(), thing().target_pose, view_at((0, 0, distance)))
    assert found is not None and found.framing == word


def test_other_cameras_and_scenes_have_no_view():
    here, there = (0, 0, 1.0), (45, 30, 1.0)
    edit, camera = edit_between(here, there), Camera(source=view_at(here), target=view_at(there))
    assert orbit_views(edit, [thing()], camera) is not None
    assert orbit_views(edit, [thing(), thing()], camera) is None
    past = Camera(source=view_at(here), target=view_at(there, aside=0.01))
    assert orbit_views(edit, [thing()], past) is None
    unknown = camera.model_copy(update={"target": camera.target.model_copy(update={"known": False})})
    assert orbit_views(edit, [thing()], unknown) is None
    assert orbit_views(edit.model_copy(update={"kind": "remove"}), [thing()], camera) is None
