"""Scenes: objects do not overlap, are in the frame and in front of the walls; the same seed gives the same scene."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import combinations
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialdata_builder.shards.schema import EDIT_KINDS
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.sizes import LARGEST
from spatialdata_builder.sources.edits.proposals import (
    EDITS_PER_SCENE,
    SCENE,
    Rejection,
    generator,
    propose,
    scene_number,
)
from spatialdata_builder.sources.edits.registry import RULES
from spatialdata_builder.sources.scenes import layout
from spatialdata_builder.sources.scenes.casting import Cast, cast_scene
from spatialdata_builder.sources.scenes.needs import SceneNeeds
from spatialdata_builder.sources.scenes.spec import SceneOptions, SceneSpec, State, to_json
from tests.sources.pool import ground, seen_at, synthetic_pool

POOL = synthetic_pool(32)
OPTIONS = SceneOptions()


@cache
def proposal(kind, seed, attempt):
    return propose(POOL, kind, OPTIONS, (512, 512), seed, attempt)


def proposals(kind, seeds, attempts=range(EDITS_PER_SCENE)):
    found = [proposal(kind, seed, attempt) for seed in seeds for attempt in attempts]
    return [spec for spec in found if isinstance(spec, SceneSpec)]


def present(spec: SceneSpec, state: State):
    return [placed for placed in spec.objects if state.placements[placed.id].present]


@pytest.mark.slow
@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_objects_stand_apart_on_the_floor_or_in_a_container(kind):
    for spec in proposals(kind, range(10)):
        for state in (spec.source, spec.target):
            inside = set()
            for placed in present(spec, state):
                place = state.placements[placed.id]
                if place.z == 0:
                    continue
                boxes = [o for o in present(spec, state) if o.asset.supports and o.id != placed.id]
                (box,) = [o for o in boxes if ground(o, state.placements[o.id]).contains(ground(placed, place))]
                assert kind == "translate" and spec.edit.allows_occlusion and state is spec.target
                assert place.z == pytest.approx(box.asset.supports * state.placements[box.id].scale, abs=1e-6)
                inside.add(frozenset((placed.id, box.id)))
            for a, b in combinations(present(spec, state), 2):
                if frozenset((a.id, b.id)) not in inside:
                    outlines = [ground(o, state.placements[o.id]) for o in (a, b)]
                    assert outlines[0].distance(outlines[1]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_the_camera_sees_the_group_in_front_of_the_walls(kind):
    walls = 0
    for spec in proposals(kind, range(10)):
        for state in (spec.source, spec.target):
            eye = np.array(state.camera.world_from_camera).reshape(4, 4)[:3, 3]
            assert eye[2] > 0
            for placed in present(spec, state):
                place = state.placements[placed.id]
                u, v, depth = seen_at((place.x, place.y, place.z), state.camera)
                assert depth > 0
                if state is spec.source or placed.id == spec.edit.object:
                    assert 0 < u < spec.width and -0.1 * spec.height < v < 1.1 * spec.height
            for wall in spec.walls:
                walls += 1
                points = [p for o in present(spec, state) for p in ground(o, state.placements[o.id]).exterior.coords]
                normal = np.array([cos(radians(wall.normal_deg)), sin(radians(wall.normal_deg))])
                assert min((np.array(points) - (wall.x, wall.y)) @ normal) > 0
                assert (eye[:2] - (wall.x, wall.y)) @ normal > 0
    assert walls > 10


def test_the_group_fills_the_frame():
    fills = []
    for spec in proposals("remove", range(40), attempts=[0]):
        corners = []
        for placed in spec.objects:
            outline = ground(placed, spec.source.placements[placed.id]).exterior.coords
            corners += [seen_at((x, y, z), spec.source.camera) for x, y in outline for z in (0, placed.asset.size_m[2])]
        box = np.ptp(np.array(corners)[:, :2], axis=0)
        middle = (np.max(corners, axis=0) + np.min(corners, axis=0))[:2] / 2
        assert (np.abs(middle - 256) < 0.06 * 512).all()
        fills.append(max(box) / 512)
    assert min(fills) > 0.58 and max(fills) < 0.87


def test_few_layers_few_and_many_objects_and_other_shapes():
    options = SceneOptions(objects=(6, 6), layers=1, walls=1.0)
    wide = [propose(POOL, "translate", options, (768, 432), seed, 0) for seed in range(12)]
    specs = [spec for spec in wide if isinstance(spec, SceneSpec)]
    assert len(specs) > 8
    assert all(len(s.objects) == 6 and {o.layer for o in s.objects} == {"midground"} and s.walls for s in specs)
    assert all(s.source.camera.K[2] == 384 and s.source.camera.K[5] == 216 for s in specs)
    specs = proposals("remove", range(40), attempts=[0])
    assert {len(s.objects) for s in specs} == {2, 3, 4, 5, 6}
    assert {o.layer for s in specs for o in s.objects} == {"foreground", "midground", "background"}


def test_layers_are_one_behind_the_other():
    for spec in proposals("remove", range(20), attempts=[0]):
        depth = {name: [] for name in ("foreground", "midground", "background")}
        for placed in spec.objects:
            place = spec.source.placements[placed.id]
            depth[placed.layer].append(seen_at((place.x, place.y, 0.0), spec.source.camera)[2])
        rows = [float(np.mean(row)) for row in depth.values() if row]
        assert rows == sorted(rows)


def test_a_scene_has_each_asset_once_and_comparable_sizes():
    for spec in proposals("scale", range(30), attempts=[0]):
        uids = [placed.asset.uid for placed in spec.objects]
        sizes = [np.cbrt(np.prod(placed.asset.size_m)) for placed in spec.objects]
        assert len(set(uids)) == len(uids)
        assert max(sizes) < 12 * min(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EDIT_KINDS)
@pytest.mark.parametrize("pool", [POOL, synthetic_pool(4)], ids=["many", "four"])
def test_most_proposals_are_valid(kind, pool):
    found = [propose(pool, kind, OPTIONS, (512, 512), seed, seed % 2) for seed in range(24)]
    assert sum(isinstance(spec, SceneSpec) for spec in found) >= 12


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_edits_of_one_scene_share_everything_but_the_edit(kind):
    for seed in range(6):
        specs = proposals(kind, [seed], attempts=range(EDITS_PER_SCENE, 2 * EDITS_PER_SCENE))
        for spec in specs[1:]:
            first = specs[0]
            assert (spec.objects, spec.floor, spec.walls, spec.light, spec.seed) == (
                first.objects,
                first.floor,
                first.walls,
                first.light,
                first.seed,
            )
            assert spec.source.camera == first.source.camera
            assert present(spec, spec.source) == present(first, first.source)
            for placed in present(spec, spec.source):
                assert spec.source.placements[placed.id] == first.source.placements[placed.id]
        assert len({json.dumps(to_json(spec)) for spec in specs}) == len(specs) or kind in ("rotate", "camera", "swap")
    assert [scene_number(attempt) for attempt in (0, 4, 5, 9, 10)] == [0, 0, 1, 1, 2]


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, float) else []


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(EDIT_KINDS), seed=st.integers(0, 2**63 - 1), attempt=st.integers(0, 39))
def test_a_proposal_is_a_pure_function_with_short_numbers(kind, seed, attempt):
    first, second = (propose(POOL, kind, OPTIONS, (512, 512), seed, attempt) for _ in range(2))
    assert first == second
    if isinstance(first, SceneSpec):
        text = to_json(first)
        assert json.loads(json.dumps(text)) == json.loads(json.dumps(to_json(second)))
        rounded = [text[name] for name in ("source", "target", "edit", "walls", "light", "floor")]
        assert all(number == round(number, 6) for number in numbers(rounded))
        assert all(np.isfinite(number) for number in numbers(text))
    else:
        assert first.reason.replace("_", "").isalpha()


@pytest.mark.slow
def test_another_process_proposes_the_same():
    code = (
        "from tests.sources.scenes.test_layout import *; import hashlib; "
        "print(hashlib.sha256(repr([propose(POOL, k, OPTIONS, (512, 512), 9, 6) for k in EDIT_KINDS]).encode())"
        ".hexdigest())"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1] and len(outputs[0]) == 65


def test_rejections_have_reasons():
    assert propose([], "remove", OPTIONS, (512, 512), 0, 0) == Rejection("no_assets")
    balls = [asset for asset in POOL if not asset.rotatable]
    assert propose(balls, "rotate", OPTIONS, (512, 512), 0, 0) == Rejection("nothing_rotatable")
    steep = SceneOptions.model_validate({"camera": {"elevation_deg": (74, 75)}, "walls": 0})
    reasons = {getattr(propose(POOL, "camera", steep, (512, 512), seed, 0), "reason", "") for seed in range(5)}
    assert reasons <= {"", "too_steep", "object_hidden", "out_of_frame", "hidden"}


def casts(pool: list[Asset], count: int, options: SceneOptions = OPTIONS) -> list[list[Asset]]:
    found = [cast_scene(np.random.default_rng(seed), pool, RULES["translate"].needs, options) for seed in range(count)]
    return [list(cast.assets) for cast in found if isinstance(cast, Cast)]


def test_no_scene_has_a_model_twice():
    """Nor a copy of it under another uid. If the pool is too small, scenes have fewer objects."""
    copies = [replace(asset, uid=f"{asset.uid}-{copy}", model=asset.uid) for asset in POOL[:8] for copy in range(5)]
    for pool, most in ((copies, 6), (POOL[:3], 3), (POOL[:2], 2)):
        found = casts(pool, 200)
        assert len(found) == 200
        for cast in found:
            assert 2 <= len(cast) <= most and len({asset.model or asset.uid for asset in cast}) == len(cast)
    assert cast_scene(np.random.default_rng(0), copies[:5], RULES["translate"].needs, OPTIONS) == "too_few_models"
    assert casts(copies[:5], 1, OPTIONS.model_copy(update={"objects": (1, 2)})) != []


def test_a_scene_may_have_two_variants_of_a_shape():
    variants = [replace(POOL[0], uid=f"v{n}", family="one", model=f"m{n}") for n in range(4)]
    assert max(len(cast) for cast in casts(variants, 50)) == 4


def test_if_no_asset_is_comparable_the_closest_in_size_is_taken():
    sizes = [replace(POOL[0], uid=f"s{n}", size_m=(side, side, side)) for n, side in enumerate((0.1, 1.0, 3.2, 30.0))]
    for cast in casts(sizes, 50):
        assert len(cast) == 2
        ratio = max(a.size_m[0] for a in cast) / min(a.size_m[0] for a in cast)
        assert ratio < 11


@pytest.mark.slow
def test_no_object_is_beyond_the_floor():
    """Objects of 10 m, the largest that the survey accepts, in scenes that would be larger than the floor."""
    text = (Path(layout.__file__).parents[1] / "blender" / "scene.py").read_text()
    (radii,) = re.findall(r"^RADII = \((.*)\)$", text, re.M)
    radius = float(radii.split(",")[-1])
    giants = [
        replace(
            POOL[0],
            uid=f"giant{n}",
            size_m=(LARGEST, LARGEST, 9.0),
            footprint=tuple((x * LARGEST / 2, y * LARGEST / 2) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))),
        )
        for n in range(8)
    ]
    options = SceneOptions(objects=(2, 8))
    proposed = 0
    for seed in range(40):
        for kind in ("translate", "scale", "insert"):
            spec = propose(giants, kind, options, (128, 128), seed, 0)
            if isinstance(spec, Rejection):
                continue
            proposed += 1
            for state in (spec.source, spec.target):
                for placed in spec.objects:
                    low_x, low_y, high_x, high_y = ground(placed, state.placements[placed.id]).bounds
                    assert max(-low_x, -low_y, high_x, high_y) <= 0.7 * radius
    assert proposed > 60


@pytest.mark.slow
def test_a_scene_has_as_many_objects_to_edit_as_it_needs():
    options = SceneOptions(objects=(3, 5))
    found = {
        least: [
            layout.compose(generator(seed, 0, SCENE), POOL, SceneNeeds(editable=least), options, (256, 256))
            for seed in range(60)
        ]
        for least in (1, 3)
    }
    fewer = 0
    for one, three in zip(found[1], found[3], strict=True):
        if isinstance(one, layout.Scene) and len(one.fit) < 3:
            assert three != one
            fewer += 1
        else:
            assert three == one
    assert fewer > 3
    assert min(len(scene.fit) for scene in found[3] if isinstance(scene, layout.Scene)) == 3
