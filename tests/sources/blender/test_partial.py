"""Partial renders compared with full ones, in scenes in which an edit shows far from the edited object."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from spatialdata_builder.shards.geometry import intrinsics, look_at, to_json_list
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.blender.render import Renderer
from spatialdata_builder.sources.changed_region import find_changed
from spatialdata_builder.sources.scenes.spec import (
    CameraPose,
    EditSpec,
    Light,
    Placement,
    RenderOptions,
    SceneObjectSpec,
    SceneSpec,
    State,
    Surface,
    Wall,
)
from tests.needs import needs

SIDE = 96
OPTIONS = RenderOptions(resolution=(SIDE, SIDE), samples=16, device="cpu")
MATT = Surface("paint", (0.5, 0.45, 0.4), (0.5, 0.45, 0.4), 1.0, 0.0, 0.9, 1)
POLISHED = Surface("lacquer", (0.2, 0.1, 0.05), (0.2, 0.1, 0.05), 1.0, 0.0, 0.08, 2)
CAMERA = CameraPose(
    tuple(to_json_list(intrinsics(1.1 * SIDE, 1.1 * SIDE, SIDE / 2, SIDE / 2))),
    tuple(to_json_list(look_at((0.3, -2.4, 1.1), (0.0, 0.0, 0.3)))),
)
WALL = Wall(0.0, 1.2, 270.0, 2.0, MATT)
RED = {"baseColorFactor": [200, 40, 30, 255], "roughnessFactor": 0.6, "metallicFactor": 0.0}
MIRROR = {"baseColorFactor": [240, 240, 240, 255], "roughnessFactor": 0.0, "metallicFactor": 1.0}
GLOSSY = {"baseColorFactor": [20, 60, 30, 255], "roughnessFactor": 0.15, "metallicFactor": 0.0}
LAMP = {"baseColorFactor": [255, 230, 200, 255], "emissiveFactor": [1.0, 0.8, 0.5], "metallicFactor": 0.0}


def box(*sides: float) -> trimesh.Trimesh:
    """A box on the floor; width, depth and height, in the frame of files (y up)."""
    width, depth, height = sides
    return trimesh.creation.box((width, height, depth)).apply_translation((0.0, height / 2, 0.0))


def rods() -> trimesh.Trimesh:
    """A rack of thin rods."""
    each = [box(0.004, 0.004, 0.5).apply_translation((x, 0.0, 0.0)) for x in np.linspace(-0.15, 0.15, 9)]
    return trimesh.util.concatenate([*each, box(0.32, 0.02, 0.01)])


def ball(radius: float) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=3, radius=radius).apply_translation((0.0, radius, 0.0))


Solid = tuple[trimesh.Trimesh, dict]
CUBE: Solid = (box(0.3, 0.3, 0.3), RED)
SCENES: dict[str, tuple[list[Solid], list[tuple[float, float, float]], tuple[float, float], Surface, Light]] = {
    # Solids, their x, y and yaw, where the first one is moved to, the floor, the light.
    "mirror": (
        [CUBE, (box(0.9, 0.03, 0.9), MIRROR)],
        [(-0.45, -0.3, 20.0), (0.35, 0.75, -12.0)],
        (0.1, -0.45),
        MATT,
        Light("studio", 60.0, 1.0),
    ),
    "polished floor": (
        [CUBE, (ball(0.2), RED)],
        [(-0.4, 0.3, 20.0), (0.45, 0.2, 0.0)],
        (0.05, 0.45),
        POLISHED,
        Light("studio", 60.0, 1.0),
    ),
    "glossy neighbors": (
        [CUBE, (ball(0.22), GLOSSY), (ball(0.12), MIRROR)],
        [(-0.45, 0.0, 20.0), (0.4, 0.3, 0.0), (0.45, -0.35, 0.0)],
        (0.0, -0.1),
        MATT,
        Light("city", 60.0, 1.0),
    ),
    "wide shadow": (
        [(box(0.8, 0.3, 1.2), RED), CUBE],
        [(-0.7, 0.2, 0.0), (0.5, 0.1, 30.0)],
        (-0.25, 0.5),
        MATT,
        Light("sunrise", 200.0, 1.0),
    ),
    "moved lamp": (
        [(ball(0.12), LAMP), CUBE],
        [(-0.4, 0.1, 0.0), (0.35, 0.3, 30.0)],
        (0.0, 0.0),
        MATT,
        Light("night", 0.0, 0.3),
    ),
    "thin rods": (
        [(rods(), RED), CUBE],
        [(-0.35, 0.0, 10.0), (0.45, 0.3, 30.0)],
        (0.0, -0.2),
        MATT,
        Light("forest", 30.0, 1.0),
    ),
}


def scene(name: str, folder: Path) -> tuple[SceneSpec, dict[int, Path]]:
    """A scene of `SCENES` in which the first object is translated, and the files of its objects."""
    solids, places, (x, y), floor, light = SCENES[name]
    objects: list[SceneObjectSpec] = []
    files: dict[int, Path] = {}
    for id, (mesh, material) in enumerate(solids, 1):
        mesh = trimesh.Trimesh(
            mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3), process=False
        )
        mesh.visual = trimesh.visual.TextureVisuals(material=trimesh.visual.material.PBRMaterial(**material))
        files[id] = folder / f"{name}-{id}.glb"
        mesh.export(files[id])
        width, height, depth = mesh.extents
        size = (float(width), float(depth), float(height))
        asset = Asset(
            f"{id}", files[id].name, f"{id}", "", "cc0", "tests", 1.0, (0.0, 0.0, 0.0), size, (), len(mesh.faces)
        )
        objects.append(SceneObjectSpec(id, asset, "midground"))
    before = {id: Placement(place[0], place[1], 0.0, place[2]) for id, place in enumerate(places, 1)}
    after = before | {1: replace(before[1], x=x, y=y)}
    edit = EditSpec("translate", 1, translation=(x - before[1].x, y - before[1].y, 0.0))
    states = State(before, CAMERA), State(after, CAMERA)
    return SceneSpec(SIDE, SIDE, tuple(objects), floor, (WALL,), light, *states, edit, seed=3), files


@pytest.fixture(scope="module")
@needs("blender")
def renderer():
    with Renderer(OPTIONS, threads=2) as shared:
        yield shared


@pytest.mark.parametrize("name", SCENES)
def test_a_partial_render_looks_like_a_full_one_and_has_its_maps(name, renderer, tmp_path):
    spec, files = scene(name, tmp_path)
    renderer.open(spec, files)
    source = renderer.render(spec.source)
    part, whole = renderer.render(spec.target, [1]), renderer.render(spec.target)
    for field in ("depth", "instances", "parts"):
        assert np.array_equal(getattr(part, field), getattr(whole, field)), field
    # With more samples, more pixels have a second sample near their center, perhaps on another surface.
    assert np.mean(np.abs(part.normal - whole.normal).max(axis=-1) > 1e-5) < 0.005
    # Where they differ before denoising, the part has the samples of the source.
    differs = (part.noisy != whole.noisy).any(axis=-1)
    assert np.array_equal(part.noisy[differs], source.noisy[differs])
    images = [find_changed(source, view, [1]).target_rgb.astype(int) for view in (part, whole)]
    error = np.abs(images[0] - images[1]).max(axis=-1)
    assert error.max() <= 8
    assert np.mean(error <= 2) >= 0.999


def test_an_edit_of_the_camera_and_one_that_changes_nearly_all_are_rendered_as_a_whole(renderer, tmp_path):
    spec, files = scene("wide shadow", tmp_path)
    renderer.open(spec, files)
    renderer.render(spec.source)
    closer = to_json_list(look_at((0.3, -2.0, 1.0), (0.0, 0.0, 0.3)))
    turned = replace(spec.source, camera=replace(CAMERA, world_from_camera=tuple(closer)))
    near = replace(spec.source.placements[1], x=0.2, y=-1.5, yaw_deg=0.0)
    filled = State(spec.source.placements | {1: near}, CAMERA)
    for state in (turned, filled):
        part, whole = renderer.render(state, [1]), renderer.render(state)
        assert np.array_equal(part.rgb, whole.rgb) and np.array_equal(part.noisy, whole.noisy)
    assert np.mean(whole.instances == 1) > 0.7


def test_equal_partial_renders_have_equal_bytes_whatever_was_rendered_before(renderer, tmp_path):
    spec, files = scene("glossy neighbors", tmp_path)
    other = replace(spec.target, placements=spec.source.placements | {2: replace(spec.source.placements[2], x=0.2)})

    def images(*states: tuple[State, list[int]]) -> np.ndarray:
        renderer.open(spec, files)
        renderer.render(spec.source)
        return [renderer.render(state, edited) for state, edited in states][-1].rgb

    assert np.array_equal(images((spec.target, [1])), images((other, [2]), (spec.target, [1])))
