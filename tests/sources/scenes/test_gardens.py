"""Furnished gardens: where objects and the camera are, recomputed from the placements."""

from functools import cache

import numpy as np
import pytest
import shapely

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.geometry import matrix4
from spatialdata_builder.sources.edits.proposals import generator, propose
from spatialdata_builder.sources.scenes.arrangement import Furnished
from spatialdata_builder.sources.scenes.footprints import footprint
from spatialdata_builder.sources.scenes.furnish import furnish
from spatialdata_builder.sources.scenes.kinds import compose_scene
from spatialdata_builder.sources.scenes.layout import Scene
from spatialdata_builder.sources.scenes.needs import SceneNeeds
from spatialdata_builder.sources.scenes.room import WALLS
from spatialdata_builder.sources.scenes.spec import SceneOptions, SceneSpec
from spatialdata_builder.sources.scenes.template import Template, builtin_templates, read_templates
from spatialdata_builder.sources.scenes.yard import sample_yard
from tests.sources.furniture import furniture

pytestmark = pytest.mark.slow
OPTIONS = SceneOptions(kinds={"garden": 1})


@cache
def gardens(seeds: int = 16) -> list[Scene]:
    found = [
        compose_scene(generator(seed, 0, 0), [], furniture(), SceneNeeds(), OPTIONS, (256, 256))
        for seed in range(seeds)
    ]
    valid = [one for one in found if isinstance(one, Scene)]
    assert len(valid) >= 0.9 * seeds  # on the first proposal
    return valid


def test_objects_stand_on_flat_ground():
    for scene in gardens():
        assert scene.garden is not None
        assert scene.room is None
        ((x, y, radius),) = scene.garden.pads
        for identity, place in scene.placements.items():
            if place.standing is None:
                outline = footprint(scene.asset(identity), place)
                assert np.hypot(*(outline - (x, y)).T).max() < radius
                assert place.z == 0


def test_path_and_border_keep_off_the_flat_ground():
    paths = borders = 0
    for scene in gardens():
        garden = scene.garden
        assert garden is not None
        ((x, y, radius),) = garden.pads
        flat = shapely.Point(x, y).buffer(radius)
        if garden.path:
            paths += 1
            assert shapely.LineString(garden.path.points).distance(flat) > garden.path.width / 2
        if garden.border:
            borders += 1
            turn = np.deg2rad(garden.border.yaw_deg)
            ends = [
                (garden.border.x + s * np.cos(turn), garden.border.y + s * np.sin(turn))
                for s in (-garden.border.length / 2, garden.border.length / 2)
            ]
            assert shapely.LineString(ends).distance(flat) > 0.4
    assert paths
    assert borders


def test_a_terrace_carries_the_objects_of_its_template_and_lies_on_flat_ground():
    terraces = [scene.garden for scene in gardens() if scene.garden and scene.garden.terrace]
    assert 0 < len(terraces) < len(gardens())
    for garden in terraces:
        assert garden.terrace
        assert np.hypot(garden.terrace.width, garden.terrace.depth) / 2 < garden.pads[0][2]


def test_seats_at_the_edge_face_the_camera():
    faced = 0
    for scene in gardens():
        eye = matrix4(scene.camera.world_from_camera)[:2, 3]
        for placed in scene.objects:
            if placed.asset.category == "bench" and placed.asset.front_deg is not None:
                place = scene.placements[placed.id]
                angle = np.deg2rad(place.yaw_deg + placed.asset.front_deg)
                toward = (eye - (place.x, place.y)) / np.hypot(*(eye - (place.x, place.y)))
                assert np.array([np.cos(angle), np.sin(angle)]) @ toward > -0.35  # not its back
                faced += 1
    assert faced >= 3


def test_a_view_of_a_garden_is_not_empty():
    assert all(len(scene.objects) >= 3 for scene in gardens())
    assert np.mean([len(scene.objects) for scene in gardens()]) >= 5


@pytest.mark.parametrize("kind", ["translate", "camera", "insert"])
def test_edits_stay_on_flat_ground_and_the_camera_before_the_border(kind):
    found = 0
    for seed in range(12):
        spec = propose([], kind, OPTIONS, (256, 256), seed, 0, furniture())
        if not isinstance(spec, SceneSpec):
            continue
        found += 1
        assert spec.garden
        ((x, y, radius),) = spec.garden.pads
        for identity, place in spec.target.placements.items():
            if place.standing is None and place.present:
                outline = footprint(spec.asset(identity), place)
                assert np.hypot(*(outline - (x, y)).T).max() < radius
        for state in (spec.source, spec.target):
            eye = matrix4(state.camera.world_from_camera)[:3, 3]
            assert eye[2] > 0.19
            if border := spec.garden.border:
                normal = np.array([-np.sin(np.deg2rad(border.yaw_deg)), np.cos(np.deg2rad(border.yaw_deg))])
                sides = [float((np.array(point) - (border.x, border.y)) @ normal) for point in (eye[:2], (x, y))]
                assert sides[0] * sides[1] > 0
    assert found >= 8


def test_equal_seeds_give_equal_gardens():
    first, second = (propose([], "translate", OPTIONS, (256, 256), 5, attempt, furniture()) for attempt in (0, 0))
    assert first == second


def test_what_stands_at_the_edge_is_in_the_rear_half_and_near_an_edge():
    items = [
        {"name": "a", "role": "garden table", "place": "in the middle", "needed": True},
        {"role": "garden plant", "place": "at the edge", "count": (3, 3)},
    ]
    size = ((3, 4), (3, 4), (2.6, 2.8))
    template = Template.model_validate({"kind": "garden", "size": size, "focus": "a", "items": items})
    placed = 0
    for seed in range(12):
        rng = generator(seed, 5)
        yard, back = sample_yard(rng, template)
        models = furniture()
        found = furnish(rng, yard, back, template, builtin_templates().roles, models.assets, models.supports_of)
        assert isinstance(found, Furnished)
        half, away = np.array(yard.size[:2]) / 2, np.array(WALLS[back])
        for identity in sorted(found.assets)[1:]:
            place = found.placements[identity]
            assert np.array([place.x, place.y]) @ away >= 0
            gaps = half - np.abs(footprint(found.assets[identity], place)).max(axis=0)
            assert 0 <= gaps.min() < 0.05
            placed += 1
    assert placed >= 24


def test_a_garden_has_no_walls(tmp_path):
    (tmp_path / "park.yaml").write_text(
        "kind: garden\nsize: [[3, 4], [3, 4], [2.6, 2.8]]\nfocus: seat\n"
        "items: [{name: seat, role: garden seat, place: against wall, needed: true}]\n"
    )
    with pytest.raises(BadInput, match=r"park.yaml.*a garden has no walls"):
        read_templates([str(tmp_path)])
