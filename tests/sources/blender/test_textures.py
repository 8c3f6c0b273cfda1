"""Texture sets and HDRIs of the user as rendered: size and place of the image, normal maps, exposure."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import trimesh

from spatialdata_builder.shards.geometry import intrinsics, look_at, matrix3, matrix4, to_json_list, transform
from spatialdata_builder.sources.blender.render import RenderedView, Renderer
from spatialdata_builder.sources.scenes.footprints import pose_of
from spatialdata_builder.sources.scenes.spec import (
    CameraPose,
    Light,
    Placement,
    RenderOptions,
    SceneObjectSpec,
    SceneSpec,
    State,
)
from spatialdata_builder.sources.scenes.values import TexturedSurface
from tests.needs import needs
from tests.sources.materials.painted_sets import sky, write, write_hdr
from tests.sources.models import glb
from tests.sources.small_scenes import FLOOR, NAMES, WALL, scene, write_assets
from tests.sources.survey.test_geometry import asset as usable
from tests.sources.survey.test_geometry import survey

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[int, Path]:
    paths = write_assets(tmp_path_factory.mktemp("glb"))
    return {id: paths[name] for id, name in NAMES.items()}


@pytest.fixture(scope="module")
@needs("blender")
def renderer():
    with Renderer(RenderOptions(resolution=(128, 96), samples=8, device="cpu"), threads=2) as shared:
        yield shared


def surface(maps: dict[str, Path], repeat_m: tuple[float, float], rotation_deg: float = 0.0) -> TexturedSurface:
    values = dataclasses.asdict(FLOOR) | {"rotation_deg": rotation_deg}
    found = {name: str(path) for name, path in maps.items()}
    return TexturedSurface(**values, texture="test", maps=found, repeat_m=repeat_m)


def show(renderer: Renderer, files: dict[int, Path], spec: SceneSpec) -> tuple[RenderedView, np.ndarray]:
    """The source image, and the world position (H, W, 3) of each pixel from the exact depth."""
    renderer.open(spec, files)
    view = renderer.render(spec.source)
    return view, world_of(view, spec)


def expected(u: np.ndarray, v: np.ndarray, repeat_m: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Whether a point is in the white quarter of the image (left, top), and whether it is far from a border."""
    x, y = u / repeat_m[0] % 1, v / repeat_m[1] % 1
    inner = (np.abs(x % 0.5 - 0.25) < 0.17) & (np.abs(y % 0.5 - 0.25) < 0.17)
    return (x < 0.5) & (y > 0.5), inner


@pytest.fixture(scope="module")
def quarter(tmp_path_factory) -> Path:
    """White in the left upper quarter, else dark."""
    image = np.full((64, 64, 3), 0.12)
    image[:32, :32] = 0.95
    return write(tmp_path_factory.mktemp("color") / "quarter.png", image)


@pytest.mark.parametrize("rotation_deg", [0.0, 30.0])
def test_a_floor_repeats_the_image_in_meters(renderer, files, quarter: Path, rotation_deg: float):
    repeat_m = (0.8, 0.6)
    floor = surface({"color": quarter}, repeat_m, rotation_deg)
    view, place = show(renderer, files, dataclasses.replace(scene(walls=()), floor=floor))
    turn, shift = np.deg2rad(rotation_deg), random.Random(floor.seed)
    u = place[..., 0] * np.cos(turn) + place[..., 1] * np.sin(turn) + shift.uniform(20, 60)
    v = place[..., 1] * np.cos(turn) - place[..., 0] * np.sin(turn) + shift.uniform(20, 60)
    white, inner = expected(u, v, repeat_m)
    check(view, white, inner & (view.instances == 0) & (view.depth > 0) & (view.depth < 4))


def check(view: RenderedView, white: np.ndarray, used: np.ndarray) -> None:
    gray = view.linear.mean(axis=-1)
    assert (white & used).sum() > 100 and (~white & used).sum() > 100
    threshold = np.sqrt(np.median(gray[white & used]) * np.median(gray[~white & used]))
    assert ((gray > threshold) == white)[used].mean() > 0.97


def test_a_wall_repeats_the_image_in_meters_from_the_floor(renderer, files, quarter: Path):
    repeat_m = (0.7, 0.5)
    wall = dataclasses.replace(WALL, height=2.5, surface=surface({"color": quarter}, repeat_m))
    view, place = show(renderer, files, dataclasses.replace(scene(walls=(wall,)), floor=FLOOR))
    angle = np.deg2rad(wall.normal_deg)
    along = place[..., 1] * np.cos(angle) - place[..., 0] * np.sin(angle)
    white, inner = expected(along + random.Random(wall.surface.seed).uniform(20, 60), place[..., 2], repeat_m)
    check(view, white, inner & (view.instances == 0) & (view.depth > 0) & (place[..., 2] > 0.05))


@pytest.mark.parametrize("name", ["normal_gl", "normal_dx"])
def test_normal_maps_tilt_to_where_they_say(renderer, files, tmp_path: Path, name: str):
    """A floor that is tilted by its map is brighter when it faces the sun."""
    gray = write(tmp_path / "gray.png", np.full((4, 4, 3), 0.5))
    sun = np.zeros((64, 128, 3)) + 0.02
    sun[25:27, 31:33] = 400.0
    hdri = write_hdr(tmp_path / "sun.hdr", sun)
    found: dict[tuple[int, int], float] = {}
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        green = y if name == "normal_gl" else -y
        normal = np.array([0.5 * x, 0.5 * green, np.sqrt(0.75)]) * 0.5 + 0.5
        tilted = write(tmp_path / f"{x}{y}.png", np.full((4, 4, 3), normal))
        floor = surface({"color": gray, name: tilted}, (1.0, 1.0))
        spec = dataclasses.replace(scene(walls=()), floor=floor, light=Light(str(hdri), 0.0, 1.0))
        view, _ = show(renderer, files, spec)
        ground = (view.instances == 0) & (view.depth > 0)
        found[x, y] = float(np.median(view.linear[ground].mean(axis=-1)))
        assert np.allclose(view.normal[ground], view.normal[ground][0], atol=1e-3)  # maps stay those of the surface
    # The middle of an equirectangular image is +x, and angles about z fall to the right: the sun is at +y.
    direction = np.array([found[1, 0] - found[-1, 0], found[0, 1] - found[0, -1]])
    assert direction[1] / np.linalg.norm(direction) > 0.95, found
    turned = dataclasses.replace(
        scene(walls=()),
        floor=surface({"color": gray, name: tmp_path / "10.png"}, (1.0, 1.0), 90.0),
        light=Light(str(hdri), 0.0, 1.0),
    )
    view, _ = show(renderer, files, turned)
    ground = (view.instances == 0) & (view.depth > 0)
    # Turned by 90 degrees, a tilt along u points along world y.
    assert float(np.median(view.linear[ground].mean(axis=-1))) == pytest.approx(found[0, 1], rel=0.05)


def test_hdris_have_the_radiance_of_blenders_own(renderer, files, tmp_path: Path):
    """The same sky 40 times as bright gives the same scene, and about the light of one of Blender's."""
    lights: list[float] = []
    for name, gain in (("one", 1.0), ("bright", 40.0)):
        path = write_hdr(tmp_path / f"{name}.hdr", sky(64, gain))
        view, _ = show(renderer, files, dataclasses.replace(scene(walls=()), light=Light(str(path), 0.0, 1.0)))
        lights.append(float(np.median(view.linear[view.depth > 0])))
    assert lights[0] == pytest.approx(lights[1], rel=0.02)
    own = []
    for name in ("city", "courtyard", "forest", "studio"):
        view, _ = show(renderer, files, dataclasses.replace(scene(walls=()), light=Light(name, 0.0, 1.0)))
        own.append(float(np.median(view.linear[view.depth > 0])))
    assert 0.5 * min(own) < lights[0] < 2.0 * max(own), (lights, own)


@pytest.mark.parametrize("size", [(1.2, 0.8), (0.7, 1.3)])
def test_the_board_of_a_table_is_covered_and_moves_along(
    renderer, tmp_path: Path, quarter: Path, size: tuple[float, float]
):
    """In meters along its longer side, whatever the pose; legs keep their material."""
    width, depth = size
    board = trimesh.creation.box((width, 0.04, depth)).apply_translation((5.0, 0.72, 1.0))
    leg = trimesh.creation.box((0.3, 0.7, 0.3)).apply_translation((5.0, 0.35, 1.0))
    asset = usable(survey(tmp_path, glb(board, leg)))
    scale = 1.0 / asset.scale if asset.scale != 1 else 1.0
    repeat_m = (0.4 * asset.scale, 0.3 * asset.scale)
    camera = CameraPose(
        tuple(to_json_list(intrinsics(120, 120, 64, 48))),
        tuple(to_json_list(look_at((0.4, -1.9, 2.2), (0.0, 0.0, 0.6)))),
    )
    places = (Placement(0.0, 0.0, 0.0, 20.0, scale), Placement(0.15, 0.1, 0.0, 65.0, scale))
    spec = dataclasses.replace(
        scene(walls=()),
        objects=(SceneObjectSpec(1, asset, "midground", surface({"color": quarter}, repeat_m)),),
        source=State({1: places[0]}, camera),
        target=State({1: places[1]}, camera),
    )
    renderer.open(spec, {1: tmp_path / "model.glb"})
    for place, state in zip(places, (spec.source, spec.target), strict=True):
        view = renderer.render(state)
        inside = transform(np.linalg.inv(pose_of(place)), world_of(view, spec))
        x, y = inside[..., 0], inside[..., 1]
        white, inner = expected(*((y, x) if depth > width else (x, y)), repeat_m)
        on_top = (view.instances == 1) & (np.abs(inside[..., 2] - asset.size_m[2]) < 2e-3)
        check(view, white, inner & on_top)


def world_of(view: RenderedView, spec: SceneSpec) -> np.ndarray:
    """The world position (H, W, 3) of each pixel from the exact depth."""
    K, pose = matrix3(spec.source.camera.K), matrix4(spec.source.camera.world_from_camera)
    y, x = np.mgrid[: spec.height, : spec.width] + 0.5
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], axis=-1)
    return (rays * view.depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]
