"""Furnished rooms: what stands where, and what the camera sees, recomputed from the placements."""

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from spatialdata_builder.shards.geometry import matrix4, similarity
from spatialdata_builder.shards.schema import EDIT_KINDS
from spatialdata_builder.sources.assets.carriers import AssetSupports
from spatialdata_builder.sources.assets.supports import rest_height
from spatialdata_builder.sources.edits.proposals import EDITS_PER_SCENE, Rejection, generator, propose
from spatialdata_builder.sources.scenes.kinds import compose_scene, draw_kind
from spatialdata_builder.sources.scenes.layout import Scene
from spatialdata_builder.sources.scenes.needs import SceneNeeds
from spatialdata_builder.sources.scenes.silhouettes import forecast
from spatialdata_builder.sources.scenes.spec import Placement, SceneOptions, SceneSpec, Standing
from spatialdata_builder.sources.scenes.standing import carrying, riders
from tests.sources.furniture import furniture

pytestmark = pytest.mark.slow
SIZE = (256, 256)


@cache
def scene(kind, seed) -> Scene | str:
    options = SceneOptions(kinds={kind: 1})
    return compose_scene(generator(seed, 0, 0), [], furniture(), SceneNeeds(), options, SIZE)


def scenes(seeds=range(24)):
    found = [scene(kind, seed) for kind in ("room", "tabletop") for seed in seeds]
    valid = [one for one in found if isinstance(one, Scene)]
    assert len(valid) >= 0.9 * len(found)  # on the first proposal
    return valid


def outline(found, identity, placements=None) -> shapely.Polygon:
    place = (placements or found.placements)[identity]
    pose = similarity(place.x, place.y, place.z, place.yaw_deg, place.scale)
    return shapely.Polygon(np.array(found.asset(identity).footprint) @ pose[:2, :2].T + pose[:2, 3])


def polygon(found, standing: Standing, placements=None) -> shapely.Polygon:
    base = (placements or found.placements)[standing.object]
    pose = similarity(base.x, base.y, base.z, base.yaw_deg, base.scale)
    rings = [
        np.array(ring) @ pose[:2, :2].T + pose[:2, 3]
        for ring in found.supports[standing.object][standing.support].polygon
    ]
    return shapely.Polygon(rings[0], rings[1:])


def check_standing(found, placements):
    """Every object is on the floor or at rest on the surface that it says, and apart from what stands there, too."""
    for identity, place in placements.items():
        if not place.present:
            continue
        if place.standing is None:
            assert place.z == 0
            continue
        base = placements[place.standing.object]
        support = found.supports[place.standing.object][place.standing.support]
        area = polygon(found, place.standing, placements)
        assert area.buffer(1e-6).contains(outline(found, identity, placements))
        turn = similarity(base.x, base.y, 0.0, base.yaw_deg, base.scale)
        local = (
            (np.array(outline(found, identity, placements).exterior.coords) - turn[:2, 3])
            @ turn[:2, :2]
            / base.scale**2
        )
        assert place.z == pytest.approx(base.z + base.scale * rest_height(support, local), abs=2e-6)
        assert place.scale * found.asset(identity).size_m[2] < base.scale * support.clearance
    for one, other in combinations([id for id, place in placements.items() if place.present], 2):
        if placements[one].standing == placements[other].standing and placements[one].standing is not None:
            assert outline(found, one, placements).distance(outline(found, other, placements)) >= 0.0099


def test_things_stand_on_what_they_say():
    found = scenes()
    assert sum(place.standing is not None for one in found for place in one.placements.values()) > 2 * len(found)
    for one in found:
        check_standing(one, one.placements)


def test_furniture_is_in_the_room_and_apart():
    for one in scenes():
        width, depth, _ = one.room.size
        standing = {id: place.standing for id, place in one.placements.items()}
        floor = [id for id, on in standing.items() if on is None or on.kind == "under"]
        for identity in floor:
            assert shapely.box(-width / 2, -depth / 2, width / 2, depth / 2).contains(outline(one, identity))
        for first, second in combinations(floor, 2):
            if any((on := standing[id]) and on.object in (first, second) for id in (first, second)):
                continue  # under it
            a, b = outline(one, first), outline(one, second)
            # Chairs are pushed below tables.
            seats = {"chair", "stool"} & {one.asset(first).category, one.asset(second).category}
            assert not a.intersects(b) or (seats and a.intersection(b).area < 0.6 * min(a.area, b.area))


def test_things_stand_on_all_kinds_of_supports():
    found = scenes(range(36))
    kinds = [place.standing.kind for one in found for place in one.placements.values() if place.standing]
    assert {"top", "shelf", "inside", "under"} <= set(kinds)
    assert kinds.count("shelf") >= 10
    seats = {"sofa", "chair", "stool"}
    on_seats = [
        one.asset(place.standing.object).category in seats
        for one in scenes()
        for place in one.placements.values()
        if place.standing
    ]
    assert sum(on_seats) >= 5


def test_shelves_are_numbered_among_all_of_their_model():
    found = 0
    for one in scenes(range(40)):
        for place in one.placements.values():
            if place.standing is None or place.standing.kind != "shelf":
                continue
            uid = one.asset(place.standing.object).uid
            supports = furniture().supports_of(uid).supports
            assert one.supports[place.standing.object] == supports
            heights = sorted({round(support.z, 1) for support in supports if support.kind == "shelf"})
            here = round(supports[place.standing.support].z, 1)
            assert (place.standing.shelf, place.standing.shelves) == (heights.index(here) + 1, len(heights))
            found += 1
    assert found >= 10


def test_covered_shelves_open_to_the_camera():
    """The line from the eye to a thing on a shelf enters the carrier at an open side."""
    sides = {"+x": (1, 0), "-x": (-1, 0), "+y": (0, 1), "-y": (0, -1)}
    for one in scenes():
        eye = matrix4(one.camera.world_from_camera)[:2, 3]
        for place in one.placements.values():
            if place.standing and place.standing.kind == "shelf":
                base = one.placements[place.standing.object]
                turn = similarity(0, 0, 0, base.yaw_deg, 1)[:2, :2]
                open_sides = one.supports[place.standing.object][place.standing.support].open_sides
                assert any((turn @ sides[side]) @ (eye - (place.x, place.y)) > 0 for side in open_sides)


def test_a_near_view_shows_some_things_on_a_surface():
    for seed in range(24):
        one = scene("tabletop", seed)
        if isinstance(one, Scene):
            most = max(len(riders(id, one.placements)) for id in one.placements)
            assert most >= 3


def test_a_surface_does_not_repeat_things():
    """At most two things of one category stand on one surface, and seldom two."""
    surfaces = repeated = 0
    for one in scenes():
        there: dict[tuple[int, int], Counter[str]] = {}
        for id, place in one.placements.items():
            if place.standing and place.standing.kind == "top":
                key = (place.standing.object, place.standing.support)
                there.setdefault(key, Counter())[one.asset(id).category] += 1
        for counts in there.values():
            surfaces += sum(counts.values()) >= 3
            repeated += max(counts.values()) > 1
            assert max(counts.values()) <= 2
    assert repeated < 0.3 * surfaces


def test_things_of_one_name_are_both_seen_well():
    """Of several objects of one category, at least half of each is seen inside the frame, except for the best seen."""
    pairs = 0
    for one in scenes():
        seen = forecast(one.objects, one.placements, one.camera, SIZE, one.supports)
        carriers = carrying(one.placements)
        shares: dict[str, list[float]] = {}
        for placed in one.objects:
            if placed.id not in carriers:
                share = seen[placed.id].visible * seen[placed.id].in_frame
                shares.setdefault(placed.asset.category, []).append(share)
        for alike in shares.values():
            pairs += len(alike) > 1
            assert all(share >= 0.5 for share in sorted(alike)[:-1])
    assert pairs >= 5


def test_a_near_view_shows_small_things_clearly():
    for seed in range(24):
        one = scene("tabletop", seed)
        if isinstance(one, Scene):
            seen = forecast(one.objects, one.placements, one.camera, SIZE, one.supports)
            for placed in one.objects:
                if placed.id not in carrying(one.placements) and max(placed.asset.size_m) < 0.7:
                    assert seen[placed.id].in_frame >= 0.6
                    assert seen[placed.id].own_px * seen[placed.id].visible >= 0.0015 * SIZE[0] * SIZE[1]


def test_rooms_of_models_without_supports():
    bare = replace(furniture(), supports_of=lambda uid: AssetSupports())
    options = SceneOptions(kinds={"room": 1})
    found = [compose_scene(generator(seed, 0, 0), [], bare, SceneNeeds(), options, SIZE) for seed in range(16)]
    assert sum(isinstance(one, Scene) for one in found) >= 14
    assert all(place.standing is None for one in found if isinstance(one, Scene) for place in one.placements.values())


def test_the_camera_is_a_person_in_the_room():
    for one in scenes():
        x, y, z = matrix4(one.camera.world_from_camera)[:3, 3]
        assert abs(x) < one.room.size[0] / 2 and abs(y) < one.room.size[1] / 2 and 1.0 <= z <= 1.8
        for identity, place in one.placements.items():
            if place.z + one.asset(identity).size_m[2] > z:
                assert outline(one, identity).distance(shapely.Point(x, y)) > 0.2


def test_everything_is_seen_and_what_may_be_edited_carries_nothing():
    for one in scenes():
        seen = forecast(one.objects, one.placements, one.camera, SIZE, one.supports)
        carriers = carrying(one.placements)
        assert all(seen[id].visible * seen[id].in_frame >= 0.3 for id in one.placements if id not in carriers)
        assert one.fit and not carriers & set(one.fit)
        assert [placed.id for placed in one.objects] == list(one.placements) == list(range(1, len(one.objects) + 1))


def test_scenes_have_depth():
    """Most have two layers and something that is partly hidden by what it does not carry."""
    found = scenes()
    layered = [
        len({placed.layer for placed in one.objects}) >= 2
        and any(
            seen.own_px and seen.visible < 0.95
            for id, seen in one.outlook.items()
            if id not in carrying(one.placements)
        )
        for one in found
    ]
    assert np.mean(layered) > 0.75


def test_the_same_seed_gives_the_same_scene():
    first = scene("room", 3)
    scene.cache_clear()
    assert repr(first) == repr(scene("room", 3))
    assert repr(first) != repr(scene("room", 4))


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_edits_keep_what_they_do_not_name(kind):
    options = SceneOptions(kinds={"room": 1, "tabletop": 2})
    specs = [propose([], kind, options, SIZE, seed, attempt, furniture()) for seed in range(8) for attempt in (0, 1)]
    valid = [spec for spec in specs if isinstance(spec, SceneSpec)]
    assert len(valid) >= (4 if kind in ("swap", "rotate", "camera") else 8), [
        s.reason for s in specs if isinstance(s, Rejection)
    ]
    for spec in valid:
        assert spec.room is not None and spec.floor == spec.room.floor
        for identity, before in spec.source.placements.items():
            after = spec.target.placements[identity]
            carriers = [id for id in spec.edit.edited if identity in riders(id, spec.source.placements)]
            if identity not in spec.edit.edited:
                assert before == after or carriers
            else:
                assert before.standing == after.standing or kind in ("translate", "swap")
                assert not riders(identity, spec.source.placements) or kind in ("translate", "rotate", "scale", "swap")
                if kind in ("translate", "insert", "swap") and after.standing is None:
                    pose = similarity(after.x, after.y, 0.0, after.yaw_deg, after.scale)
                    own = np.array(spec.asset(identity).footprint) @ pose[:2, :2].T + pose[:2, 3]
                    for lamp in spec.room.light.lamps:
                        if lamp.kind == "standing":
                            assert shapely.Polygon(own).distance(shapely.Point(lamp.x, lamp.y)) >= 0.95 * lamp.radius


def test_models_that_no_template_can_use():
    only = replace(furniture(), assets=[asset for asset in furniture().assets if asset.category == "apple"])
    options = SceneOptions(kinds={"room": 1})
    assert compose_scene(generator(0), [], only, SceneNeeds(), options, SIZE) == "no_template_fits_models"


@given(st.integers(0, 1000))
def test_kinds_are_drawn_by_weight(seed):
    options = SceneOptions(kinds={"open": 0, "room": 3, "tabletop": 1})
    drawn = [draw_kind(generator(seed, i), options) for i in range(400)]
    assert set(drawn) == {"room", "tabletop"} and 240 < drawn.count("room") < 360


def test_riders_ride_on_riders():
    places = {
        1: Placement(0, 0, 0, 0),
        2: Placement(0, 0, 1, 0, standing=Standing(1, 0, "top")),
        3: Placement(0, 0, 2, 0, standing=Standing(2, 0, "top")),
        4: Placement(0, 0, 2, 0, present=False, standing=Standing(2, 0, "top")),
    }
    assert riders(1, places) == {2, 3} and riders(3, places) == frozenset() and carrying(places) == {1, 2}


@pytest.mark.parametrize("kind", ["camera", "remove"])
def test_edits_of_one_scene_share_all_that_the_renderer_loads(kind):
    options = SceneOptions(kinds={"room": 1})
    for seed in range(4):
        specs = [propose([], kind, options, SIZE, seed, attempt, furniture()) for attempt in range(EDITS_PER_SCENE)]
        loaded = {
            repr((s.objects, s.room, s.light, s.seed, s.source.camera)) for s in specs if isinstance(s, SceneSpec)
        }
        assert len(loaded) <= 1


def test_the_light_that_is_configured_counts():
    light = {"hdris": ["ab12.exr"], "strength": [3.0, 3.0]}
    options = SceneOptions.model_validate({"kinds": {"room": 1}, "light": light})
    dim = options.model_copy(update={"light": options.light.model_copy(update={"strength": (1.0, 1.0)})})
    for seed in range(4):
        bright, usual = (
            compose_scene(generator(seed, 0, 0), [], furniture(), SceneNeeds(), one, SIZE) for one in (options, dim)
        )
        assert isinstance(bright, Scene) and isinstance(usual, Scene) and bright.room and usual.room
        assert bright.light.hdri == "ab12.exr"
        assert bright.light.strength == pytest.approx(3 * usual.light.strength, rel=1e-4)
        assert bright.room.light.windows == pytest.approx(3 * usual.room.light.windows, rel=1e-4)
        assert bright.room.light.lamps == usual.room.light.lamps
