"""Maps of rooms, gardens and room models against an independent ray caster; what the camera sees of their light."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.sources.blender.render import RenderedView, Renderer
from spatialdata_builder.sources.changed_region import find_changed
from spatialdata_builder.sources.scenes.garden import sample_garden, sample_sky
from spatialdata_builder.sources.scenes.interior import EnvironmentSpec
from spatialdata_builder.sources.scenes.room import Mood, dress_room, sample_outlook, sample_room, seen_from
from spatialdata_builder.sources.scenes.spec import RenderOptions, SceneSpec, State
from tests.needs import needs
from tests.sources.blender.test_render import cast, first_hits, rays, same
from tests.sources.environments.rooms import write_room
from tests.sources.small_scenes import NAMES, scene, sheets, world_mesh, write_assets

SIZES = ((4.0, 4.4), (6.2, 6.6), (2.5, 2.7))
OPTIONS = RenderOptions(resolution=(128, 96), samples=4, device="cpu")
BLOCK = (-2.4, -1.8, 0.0, -1.9, -1.2, 0.6)
CORNERS = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[int, Path]:
    paths = write_assets(tmp_path_factory.mktemp("glb"))
    return {id: paths[name] for id, name in NAMES.items()}


@pytest.fixture(scope="module")
@needs("blender")
def renderer():
    with Renderer(OPTIONS, threads=2) as shared:
        yield shared


def with_one_camera(spec: SceneSpec) -> SceneSpec:
    return dataclasses.replace(spec, target=State(spec.target.placements, spec.source.camera))


def in_room(seed: int, mood: Mood) -> SceneSpec:
    spec, rng = with_one_camera(scene(walls=())), np.random.default_rng(seed)
    taken = [(CORNERS * 0.8 + (place.x, place.y), 0.5) for place in spec.source.placements.values()]
    room = dress_room(rng, sample_room(rng, SIZES, [mood]), taken)
    room = seen_from(room, [spec.source.camera, spec.target.camera])
    return dataclasses.replace(spec, floor=room.floor, light=sample_outlook(rng, mood), room=room)


def in_garden(seed: int) -> SceneSpec:
    spec, rng = with_one_camera(scene(walls=())), np.random.default_rng(seed)
    pads = [(p.x, p.y, 0.5) for state in (spec.source, spec.target) for p in state.placements.values()]
    garden = sample_garden(rng, pads, [spec.source.camera])
    return dataclasses.replace(spec, floor=garden.ground, light=sample_sky(rng), garden=garden)


def in_model() -> SceneSpec:
    """In a room model in centimeters, whose file the fixture writes."""
    spec = with_one_camera(scene(walls=()))
    model = EnvironmentSpec("", 0.02, (0.0, 0.0, -5e-5), (0.0, 0.0, 4.5, 3.0, 3.0))
    return dataclasses.replace(spec, environment=model, kind="environment")


SPECS = {
    "day": in_room(3, "day"),
    "evening": in_room(4, "evening"),
    "lamp": in_room(5, "lamp"),
    "garden": in_garden(6),
    "model": in_model(),
}


@pytest.fixture(scope="module", params=list(SPECS))
def rendered(request, renderer, files, tmp_path_factory) -> tuple[SceneSpec, RenderedView, RenderedView]:
    spec = SPECS[request.param]
    if spec.environment:
        # Twice as large as it is written, so that the camera is inside.
        file = write_room(
            tmp_path_factory.mktemp("model") / "room.glb", boxes=[BLOCK], unit=100.0, without=("ceiling",)
        )
        spec = dataclasses.replace(spec, environment=dataclasses.replace(spec.environment, file=str(file)))
    renderer.open(spec, files)
    return spec, renderer.render(spec.source), renderer.render(spec.target)


@pytest.mark.slow
def test_maps_agree_with_an_independent_ray_caster(rendered):
    spec, view, _ = rendered
    truth = cast(spec, spec.source)
    inner = truth.inner & (truth.depth > 0)
    assert inner.mean() > 0.4
    assert np.median(np.abs(view.depth - truth.depth)[inner]) < 1e-3
    cosine = (view.normal * truth.normal).sum(-1)[inner]
    assert np.median(np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))) < 1
    for identity in (1, 2, 3):
        ours, theirs = view.instances == identity, truth.instances == identity
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.98
    assert ((view.depth > 0) == (truth.depth > 0)).mean() > 0.995


@pytest.mark.slow
def test_visible_fractions_agree_with_brute_force(rendered, renderer, files):
    spec, *_ = rendered
    renderer.open(spec, files)
    seen = renderer.visibility([spec.source])[0]
    origins, directions = rays(spec, spec.source)
    meshes = {id: world_mesh(spec, id, place) for id, place in spec.source.placements.items()}
    around = sheets(spec)
    _, which, *_ = first_hits([*around, *meshes.values()], origins, directions)
    for place, (id, mesh) in enumerate(meshes.items(), start=len(around)):
        own = first_hits([mesh], origins, directions)[1] == 0
        assert seen[id].visible == pytest.approx(float((which[own] == place).mean()), abs=0.04)


@pytest.mark.slow
def test_the_image_is_exposed_and_only_the_edit_changes_it(rendered):
    _, source, target = rendered
    assert 60 < source.rgb.mean() < 175
    assert ((source.rgb >= 254).any(axis=-1) & (source.depth > 0)).mean() < 0.02
    changed = find_changed(source, target, (1, 3))
    assert np.array_equal(changed.target_rgb[~changed.mask], source.rgb[~changed.mask])
    assert changed.fraction < 0.7


@pytest.mark.slow
def test_an_unlit_room_takes_light_and_shadows(renderer, files, tmp_path):
    spec = SPECS["model"]
    assert spec.environment
    views: list[RenderedView] = []
    for unlit in (False, True):
        file = write_room(tmp_path / f"{unlit}.glb", boxes=[BLOCK], unit=100.0, without=("ceiling",), unlit=unlit)
        renderer.open(
            dataclasses.replace(spec, environment=dataclasses.replace(spec.environment, file=str(file))), files
        )
        views.append(renderer.render(spec.source))
    room = (views[0].instances == 0) & (views[0].depth > 0)
    lit, unlit = (view.rgb[room].astype(np.float64) for view in views)
    assert lit.std(axis=0).min() > 10
    assert np.abs(lit - unlit).mean() < 5


@pytest.mark.slow
def test_same_bytes_after_another_scene(renderer, files):
    renderer.open(SPECS["lamp"], files)
    first = renderer.render(SPECS["lamp"].source)
    renderer.open(SPECS["garden"], files)
    renderer.render(SPECS["garden"].source)
    renderer.open(SPECS["lamp"], files)
    assert same(renderer.render(SPECS["lamp"].source), first)


@pytest.mark.slow
def test_without_the_tree_of_lights_a_garden_has_the_same_maps_and_light(renderer, files):
    spec, edited = SPECS["garden"], [1, 3]
    renderer.open(spec, files)
    with_tree = renderer.render(spec.source)
    with Renderer(OPTIONS.model_copy(update={"light_tree": "off"}), threads=2) as other:
        other.open(spec, files)
        source, part, whole = other.render(spec.source), other.render(spec.target, edited), other.render(spec.target)
        other.open(SPECS["lamp"], files)
        other.render(SPECS["lamp"].source)
        other.open(spec, files)
        assert same(other.render(spec.source), source)
    for field in ("depth", "normal", "instances", "parts"):
        assert np.array_equal(getattr(source, field), getattr(with_tree, field)), field
    assert not np.array_equal(source.noisy, with_tree.noisy)
    surfaces = source.depth > 0
    assert source.linear[surfaces].mean() == pytest.approx(with_tree.linear[surfaces].mean(), rel=0.02)
    # Inside the region, a partial render has the samples of a full one; outside, those of the source.
    differs = (part.noisy != whole.noisy).any(axis=-1)
    assert not differs.all()
    assert np.array_equal(part.noisy[differs], source.noisy[differs])
