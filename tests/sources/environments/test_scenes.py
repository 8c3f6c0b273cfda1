"""Scenes in a room model: what stands there is measured on the triangles of the room, by rays and by outlines."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import shapely

from spatialdata_builder.shards.geometry import matrix4
from spatialdata_builder.sources.assets.carriers import AssetSupports
from spatialdata_builder.sources.edits.proposals import Rejection, generator, propose
from spatialdata_builder.sources.environments.survey import survey_environment
from spatialdata_builder.sources.rendered.facts import support_of
from spatialdata_builder.sources.scenes.furnished import overlaps
from spatialdata_builder.sources.scenes.kinds import Furniture, compose_scene
from spatialdata_builder.sources.scenes.layout import Scene
from spatialdata_builder.sources.scenes.needs import SceneNeeds
from spatialdata_builder.sources.scenes.spec import Placement, SceneObjectSpec, SceneOptions, SceneSpec
from tests.sources.environments.rooms import COUNTER, DEPTH, HEIGHT, TABLE, WIDTH, Box, furniture, write_room
from tests.sources.pool import ground, synthetic_pool

pytestmark = pytest.mark.slow
OPTIONS = SceneOptions.model_validate({"kinds": {"environment": 1}, "environments": {"root": "rooms"}})
SIZE = (256, 256)
GAP = 1e-3
"""Largest distance between an object and what it stands on, meters."""
LOWERED = 5e-5
"""Meters by which the floor, and so all of the room, is lower than z = 0."""
EXACT = 1e-5
"""Meters: precision of vertices in centimeters."""


@cache
def rooms() -> Furniture:
    with TemporaryDirectory() as folder:
        # In centimeters, with the floor above zero: the world frame is that of the boxes all the same.
        interior = survey_environment(write_room(Path(folder) / "room.glb", unit=100.0, lift=0.3))
    return Furniture([], lambda _: AssetSupports(), environments={"room.glb": interior})


@cache
def scenes() -> list[Scene]:
    pool = synthetic_pool(80)
    found = [compose_scene(generator(seed, 0, 0), pool, rooms(), SceneNeeds(), OPTIONS, SIZE) for seed in range(40)]
    valid = [one for one in found if isinstance(one, Scene)]
    assert len(valid) >= 0.9 * len(found)
    return valid


def check_stands(placed: SceneObjectSpec, place: Placement) -> None:
    """The object rests on the floor or a box below its whole outline, and cuts no box."""
    outline, base = ground(placed, place), place.z + LOWERED
    top = base + place.scale * placed.asset.size_m[2]
    below = [
        (box, shapely.box(box[0], box[1], box[3], box[4]))
        for box in (*furniture(), (-WIDTH / 2, -DEPTH / 2, -0.1, WIDTH / 2, DEPTH / 2, 0.0))
    ]
    carrying = [box for box, plan in below if plan.contains(outline) and -EXACT <= base - box[5] <= GAP]
    assert len(carrying) == 1
    for box, plan in below:
        if box is not carrying[0] and plan.intersects(outline):
            assert box[5] <= base + EXACT or top <= box[2]
    assert top < HEIGHT
    expected = {TABLE: "top", COUNTER: "top"}.get(carrying[0])
    assert (place.standing.kind if place.standing else None) == expected


def boxes_between(eye: np.ndarray, point: np.ndarray) -> list[Box]:
    """Boxes of the furniture that a line of sight meets, sampled every few millimeters."""
    steps = eye + np.linspace(0.0, 1.0, 1000)[:, None] * (point - eye)
    return [box for box in furniture() if ((steps > box[:3]) & (steps < box[3:])).all(axis=1).any()]


def test_objects_stand_on_the_floor_and_on_surfaces():
    kinds: set[str] = set()
    for scene in scenes():
        assert scene.kind == "environment" and scene.furnished
        outlines: dict[int, tuple[shapely.Polygon, float]] = {}
        for placed in scene.objects:
            place = scene.placements[placed.id]
            check_stands(placed, place)
            kinds.add(place.standing.kind if place.standing else "floor")
            outlines[placed.id] = (ground(placed, place), place.z)
        for first, (outline, z) in outlines.items():
            for second, (other, height) in outlines.items():
                assert first == second or z != height or outline.distance(other) > 0.009
        # All objects stand on one surface, or the view shows the floor and something on it.
        standings = {place.standing for place in scene.placements.values()}
        assert len(standings) == 1 or None in standings
    assert kinds == {"floor", "top"}


def test_the_camera_stands_in_the_room_and_sees_the_objects():
    for scene in scenes():
        eye = matrix4(scene.camera.world_from_camera)[:3, 3]
        assert (np.abs(eye[:2]) < (WIDTH / 2 - 0.15, DEPTH / 2 - 0.15)).all() and 1.0 < eye[2] < 1.9
        for box in furniture():
            assert not ((eye[:2] > box[:2]) & (eye[:2] < box[3:5])).all()
        for placed in scene.objects:
            place = scene.placements[placed.id]
            middle = np.array([place.x, place.y, place.z + placed.asset.size_m[2] / 2])
            assert not [box for box in boxes_between(eye, middle) if box in (TABLE, COUNTER)]


def test_tall_furniture_is_not_seen_from_behind():
    pool = [replace(one, front_deg=30.0, size_m=(0.5, 0.4, 1.1)) for one in synthetic_pool(80)]
    found = [compose_scene(generator(seed, 0, 0), pool, rooms(), SceneNeeds(), OPTIONS, SIZE) for seed in range(20)]
    seen = 0
    for scene in (one for one in found if isinstance(one, Scene)):
        eye = matrix4(scene.camera.world_from_camera)[:2, 3]
        for place in scene.placements.values():
            angle = np.deg2rad(place.yaw_deg + 30.0)
            toward = eye - (place.x, place.y)
            assert toward @ (np.cos(angle), np.sin(angle)) > np.cos(np.deg2rad(101.0)) * np.linalg.norm(toward)
            seen += 1
    assert seen >= 30


@pytest.mark.parametrize("kind", ["translate", "insert", "remove", "rotate", "scale", "camera", "swap"])
def test_edits(kind):
    pool, found, rejected = synthetic_pool(80), 0, 0
    for seed in range(12):
        spec = next(
            (
                spec
                for attempt in range(20)
                if not isinstance(spec := propose(pool, kind, OPTIONS, SIZE, seed, attempt, rooms()), Rejection)
            ),
            None,
        )
        if spec is None:
            rejected += 1
            continue
        found += 1
        assert isinstance(spec, SceneSpec) and spec.environment and spec.environment.file == "room.glb"
        for placed in spec.objects:
            for state in (spec.source, spec.target):
                place = state.placements[placed.id]
                if place.present:
                    check_stands(placed, place)
                    on = support_of(placed.id, state, spec)
                    assert on.object == 0 and on.kind == ("floor" if place.z == 0 else "top")
        eye = matrix4(spec.target.camera.world_from_camera)[:3, 3]
        assert (np.abs(eye[:2]) < (WIDTH / 2, DEPTH / 2)).all()
    assert found >= 10


def test_the_same_seed_gives_the_same_scene():
    pool = synthetic_pool(80)
    again = [compose_scene(generator(seed, 0, 0), pool, rooms(), SceneNeeds(), OPTIONS, SIZE) for seed in range(5)]
    valid = [one for one in again if isinstance(one, Scene)]
    assert valid and valid == scenes()[: len(valid)]


def test_room_models_are_needed():
    with pytest.raises(ValueError, match=r"environment needs environments\.root"):
        SceneOptions.model_validate({"kinds": {"environment": 1}})


def test_three_of_four_views_have_depth():
    """Something is partly behind something else that does not carry it."""
    deep = [overlaps(scene.outlook, scene.placements) for scene in scenes()]
    assert np.mean(deep) >= 0.75
