"""Renders compared with an independent ray caster (trimesh with embree), and failures of the Blender process."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from spatialdata_builder.shards.errors import BadInput, WorkerLost
from spatialdata_builder.shards.geometry import (
    intrinsics,
    look_at,
    matrix3,
    matrix4,
    project,
    similarity,
    to_json_list,
    transform,
)
from spatialdata_builder.sources.blender.environment import python_of
from spatialdata_builder.sources.blender.process import SCRIPT
from spatialdata_builder.sources.blender.render import AssetError, RenderCrash, Renderer, RenderTimeout
from spatialdata_builder.sources.scenes.footprints import contact, remade
from spatialdata_builder.sources.scenes.spec import (
    CameraPose,
    EditSpec,
    Light,
    Placement,
    RenderOptions,
    SceneObjectSpec,
    SceneSpec,
    Settled,
    State,
)
from tests.needs import needs
from tests.sources.models import glb
from tests.sources.small_scenes import (
    NAMES,
    object_mesh,
    scene,
    sheets,
    with_distractions,
    world_mesh,
    write_assets,
)
from tests.sources.survey.test_geometry import asset as usable
from tests.sources.survey.test_geometry import survey

OPTIONS = RenderOptions(resolution=(128, 96), samples=2, device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[int, Path]:
    paths = write_assets(tmp_path_factory.mktemp("glb"))
    return {id: paths[name] for id, name in NAMES.items()}


def rendered(renderer, spec, files):
    renderer.open(spec, files)
    return renderer.render(spec.source), renderer.render(spec.target)


@pytest.fixture(scope="module")
@needs("blender")
def renderer():
    with Renderer(OPTIONS, threads=2) as shared:
        yield shared


@pytest.fixture(scope="module")
def pair(renderer, files):
    return rendered(renderer, scene(), files)


def test_the_base_of_a_leaning_object_stays_when_it_is_rotated_or_scaled(renderer, tmp_path):
    """A lamp with a long arm, rotated by 180 degrees: its foot covers the same pixels, its arm does not."""
    upright = trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0))
    foot = trimesh.creation.cylinder(0.2, 0.3, transform=upright).apply_translation((3.0, 0.15, 1.0))
    arm = trimesh.creation.box((0.8, 0.1, 0.1)).apply_translation((3.4, 0.75, 1.0))
    post = trimesh.creation.box((0.06, 0.5, 0.06)).apply_translation((3.0, 0.5, 1.0))
    asset = usable(survey(tmp_path, glb(foot, arm, post)))
    before = Placement(0.0, 0.0, 0.0, 200.0, 0.7 / max(asset.size_m))
    camera = CameraPose(
        tuple(to_json_list(intrinsics(110, 110, 64, 48))),
        tuple(to_json_list(look_at((0.3, -1.6, 1.2), (0.0, 0.0, 0.2)))),
    )
    rotated, scaled = remade(asset, before, turn_deg=180.0), remade(asset, before, factor=1.5)
    spec = dataclasses.replace(
        scene(walls=()),
        objects=(SceneObjectSpec(1, asset, "midground"),),
        source=State({1: before}, camera),
        target=State({1: rotated}, camera),
        edit=EditSpec("rotate", 1, rotation_deg=180.0),
    )
    renderer.open(spec, {1: tmp_path / "model.glb"})
    views = [renderer.render(State({1: place}, camera)) for place in (before, rotated, scaled)]
    middle = np.array([*contact(asset, before), 0.0])
    x, y = np.round(project(middle[None], matrix3(camera.K), matrix4(camera.world_from_camera))[0][0]).astype(int)
    foot_px = 0.7 / max(asset.size_m) * 0.2 * asset.scale * 110 / 2.0
    masks = [view.instances == 1 for view in views]
    # The lowest rows show only the foot. They are equal after rotating, and have the same center after scaling.
    rows = slice(int(y), int(y + 0.6 * foot_px))
    assert masks[0][rows].sum() > 40 and (masks[0][rows] != masks[1][rows]).mean() < 0.003
    centers = [np.flatnonzero(mask[rows].any(axis=0)).mean() for mask in masks]
    assert centers == pytest.approx([x - 0.5] * 3, abs=1.0)
    assert (masks[0] != masks[1]).sum() > 0.3 * masks[0].sum() and masks[2].sum() > 1.8 * masks[0].sum()


@dataclasses.dataclass
class Cast:
    """First hits of the rays through the centers of pixels. `inner` is true for pixels that are not at an edge."""

    depth: np.ndarray
    instances: np.ndarray
    normal: np.ndarray
    inner: np.ndarray


def rays(spec: SceneSpec, state: State) -> tuple[np.ndarray, np.ndarray]:
    K, pose = matrix3(state.camera.K), matrix4(state.camera.world_from_camera)
    columns, rows = np.meshgrid(np.arange(spec.width) + 0.5, np.arange(spec.height) + 0.5)
    local = np.stack([columns, rows, np.ones_like(rows)], axis=-1).reshape(-1, 3) @ np.linalg.inv(K).T
    directions = local @ pose[:3, :3].T
    return np.broadcast_to(pose[:3, 3], directions.shape), directions  # scaled so that the ray parameter is planar z


def first_hits(meshes: list[trimesh.Trimesh], origins: np.ndarray, directions: np.ndarray):
    """Planar z (inf: none) and the mesh and face of each ray's first hit."""
    whole = trimesh.util.concatenate(meshes)
    owner = np.repeat(np.arange(len(meshes)), [len(mesh.faces) for mesh in meshes])
    points, index, face = RayMeshIntersector(whole, scale_to_box=False).intersects_location(
        origins, directions, multiple_hits=False
    )
    z, which, faces = np.full(len(origins), np.inf), np.full(len(origins), -1), np.full(len(origins), -1)
    z[index] = ((points - origins[index]) * directions[index]).sum(1) / (directions[index] ** 2).sum(1)
    which[index], faces[index] = owner[face], face
    return z, which, faces, whole


def cast(spec: SceneSpec, state: State, mesh_of=world_mesh) -> Cast:
    """mesh_of: the mesh of an object, world frame, by the scene, its id and its placement."""
    present = {id: place for id, place in state.placements.items() if place.present}
    around = sheets(spec)
    meshes = [*around, *(mesh_of(spec, id, place) for id, place in present.items())]
    labels = np.array([*[0] * len(around), *present])
    origins, directions = rays(spec, state)
    z, which, face, whole = first_hits(meshes, origins, directions)
    shape = spec.height, spec.width
    hit = which >= 0
    normal = np.where(hit[:, None], whole.face_normals[face], 0)
    normal *= -np.sign((normal * directions).sum(1, keepdims=True))
    normal = normal @ matrix4(state.camera.world_from_camera)[:3, :3]
    face = face.reshape(shape)
    inner = np.ones(shape, bool)
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(which.reshape(shape), step, axis) == which.reshape(shape)
            same = np.roll(normal.reshape(*shape, 3), step, axis) - normal.reshape(*shape, 3)
            inner &= np.abs(same).max(-1) < 0.01
    return Cast(
        np.where(hit, z, 0).reshape(shape),
        np.where(hit, labels[which], 0).reshape(shape),
        normal.reshape(*shape, 3),
        inner,
    )


def test_tilted_objects_agree_with_an_independent_ray_caster(renderer, files):
    """One on its side, where Euler angles lose digits, and one that leans."""
    spec = scene()
    tilts = {1: (90.003, 0.0), 2: (-25.0, 130.0)}
    places = {
        id: dataclasses.replace(place, z=0.35, settled=Settled(tilts[id], True)) if id in tilts else place
        for id, place in spec.source.placements.items()
    }
    spec = dataclasses.replace(spec, source=State(places, spec.source.camera))
    renderer.open(spec, files)
    view, truth, seen = renderer.render(spec.source), cast(spec, spec.source), renderer.visibility([spec.source])[0]
    inner = truth.inner & (truth.depth > 0)
    assert np.median(np.abs(view.depth - truth.depth)[inner]) < 1e-4
    assert (view.instances == truth.instances).mean() > 0.99
    for id, place in places.items():
        alone = State({id: place}, spec.source.camera)
        whole = (cast(dataclasses.replace(spec, walls=()), alone).instances == id).sum()
        assert seen[id].own_px == pytest.approx(whole, rel=0.1)
        assert seen[id].visible == pytest.approx((truth.instances == id).sum() / whole, abs=0.1)


@pytest.mark.parametrize("number", [0, 1])
def test_maps_agree_with_an_independent_ray_caster(pair, number):
    spec = scene()
    view, truth = pair[number], cast(spec, (spec.source, spec.target)[number])
    inner = truth.inner & (truth.depth > 0)
    assert inner.mean() > 0.5
    error = np.abs(view.depth - truth.depth)[inner]
    assert np.median(error) < 1e-3
    assert np.median(error / truth.depth[inner]) < 1e-4
    assert np.percentile(error / truth.depth[inner], 99) < 1e-3
    assert (view.instances == truth.instances)[inner].mean() > 0.999
    assert (view.instances == truth.instances).mean() > 0.99
    assert (view.depth[truth.inner] > 0).tolist() == (truth.depth[truth.inner] > 0).tolist()
    angle = np.rad2deg(np.arccos(np.clip((view.normal * truth.normal).sum(-1)[inner], -1, 1)))
    assert np.median(angle) < 0.1
    assert np.percentile(angle, 99) < 2
    assert set(np.unique(view.instances)) == ({0, 1, 2, 3} if number == 0 else {0, 1, 2})


def test_normals_are_unit_and_face_the_camera(pair):
    spec = scene()
    _, directions = rays(spec, spec.source)
    view_directions = (directions @ matrix4(spec.source.camera.world_from_camera)[:3, :3]).reshape(96, 128, 3)
    normal, surface = pair[0].normal, pair[0].depth > 0
    assert np.allclose(np.linalg.norm(normal[surface], axis=-1), 1, atol=1e-4)
    assert not normal[~surface].any()
    assert ((normal * view_directions).sum(-1)[surface] <= 1e-5).all()


def test_shapes_and_dtypes_of_views(pair):
    for view in pair:
        assert view.rgb.shape == (96, 128, 3) and view.rgb.dtype == np.uint8
        assert view.linear.dtype == view.noisy.dtype == view.depth.dtype == view.normal.dtype == np.float32
        assert view.instances.dtype == np.uint8
        assert np.isfinite(view.linear).all()
    assert pair[0].exposure == pair[1].exposure
    assert not np.array_equal(pair[0].linear, pair[0].noisy)


@pytest.mark.parametrize("strength", [0.05, 20.0])
def test_exposure_follows_the_light(renderer, files, pair, strength):
    spec = dataclasses.replace(scene(), light=Light("forest", 30.0, strength))
    renderer.open(spec, files)
    view = renderer.render(spec.source)
    assert abs(float(view.rgb.mean()) - float(pair[0].rgb.mean())) < 6
    assert (view.rgb >= 254).any(axis=-1).mean() < 0.02
    assert (view.rgb < 10).all(axis=-1).mean() < 0.2


def test_visible_fractions_agree_with_brute_force(renderer, files):
    spec = scene(256, 192)
    renderer.open(spec, files)
    for state, seen in zip((spec.source, spec.target), renderer.visibility([spec.source, spec.target]), strict=True):
        present = {id: place for id, place in state.placements.items() if place.present}
        origins, directions = rays(spec, state)
        meshes = {id: world_mesh(spec, id, place) for id, place in present.items()}
        _, which, *_ = first_hits([*sheets(spec)[1:], *meshes.values()], origins, directions)
        for place, (id, mesh) in enumerate(meshes.items(), start=len(spec.walls)):
            own = first_hits([mesh], origins, directions)[1] == 0
            visible = float((which[own] == place).mean())
            assert seen[id].own_px == pytest.approx(own.sum(), rel=0.04, abs=4)
            assert seen[id].visible == pytest.approx(visible, abs=0.03)
            assert seen[id].in_frame == 1
            rows, columns = np.nonzero(own.reshape(spec.height, spec.width))
            box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            assert np.abs(np.subtract(seen[id].box, box)).max() <= 2
    assert 0.05 < renderer.visibility([spec.source])[0][1].visible < 0.95  # the scene has partly hidden objects
    assert dataclasses.astuple(renderer.visibility([spec.target])[0][3]) == (0, 0, 0, (0, 0, 0, 0))


def test_visibility_outside_the_frame_and_behind_a_wall(renderer, files):
    spec = scene()
    renderer.open(spec, files)
    places = dict(spec.source.placements)
    places[1] = dataclasses.replace(places[1], x=-1.55)  # through the left border
    places[2] = dataclasses.replace(places[2], x=0.5, y=4.0)  # behind the wall
    places[3] = dataclasses.replace(places[3], x=0.8, y=-5.0)  # behind the camera
    seen = renderer.visibility([State(places, spec.source.camera)])[0]
    assert 0.1 < seen[1].in_frame < 0.9 and seen[1].box[0] == 0 and seen[1].own_px > 0
    assert seen[2].own_px > 0 and seen[2].visible == 0
    assert seen[3].own_px == 0 and seen[3].in_frame == 0 and seen[3].visible == 0


def test_surface_points_lie_on_the_object_and_in_its_mask(renderer, files, pair):
    spec = scene()
    renderer.open(spec, files)
    for item in spec.objects:
        points = renderer.points[item.id]
        assert points.shape == (1024, 3)
        mesh = object_mesh(NAMES[item.id], item.asset)
        few = points[::32].astype(float)
        triangles = np.repeat(mesh.triangles, len(few), axis=0)
        tiled = np.tile(few, (len(mesh.faces), 1))
        away = np.linalg.norm(trimesh.triangles.closest_point(triangles, tiled) - tiled, axis=1)
        assert away.reshape(len(mesh.faces), -1).min(axis=0).max() < 1e-5
        assert np.allclose(points.min(axis=0), mesh.bounds[0], atol=0.05)
    place = spec.source.placements[3]  # the one in front is completely visible
    world = transform(similarity(place.x, place.y, place.z, place.yaw_deg, place.scale), renderer.points[3])
    pixels, _ = project(world, matrix3(spec.source.camera.K), matrix4(spec.source.camera.world_from_camera))
    columns, rows = np.floor(pixels).astype(int).T
    grown = cv2.dilate((pair[0].instances == 3).astype(np.uint8), np.ones((3, 3)))
    assert grown[rows, columns].mean() > 0.999


def same(a, b) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))


def test_same_bytes_in_the_same_process(renderer, files, pair):
    spec = scene()
    source, target = rendered(renderer, spec, files)
    assert same(source, pair[0]) and same(target, pair[1])
    assert same(renderer.render(spec.source), source)


def test_same_bytes_in_an_installed_blender_with_another_number_of_threads(tmp_path, files, pair):
    """A script that prints a version to stdout, accepts the arguments of Blender, and runs the worker with bpy."""
    blender = tmp_path / "my blender"
    blender.write_text(
        '#!/bin/sh\n[ "$1$2$3$4" = "--background--factory-startup-noaudio--python" ] || exit 4\n'
        f'echo Blender 5.0.1; exec "{python_of(SCRIPT)}" "$5" "$6" "$7"\n'
    )
    blender.chmod(0o755)
    with Renderer(OPTIONS.model_copy(update={"blender": str(blender)}), threads=1) as other:
        assert all(same(*views) for views in zip(rendered(other, scene(), files), pair, strict=True))


@pytest.mark.blender
def test_without_denoising_there_is_one_linear_image(files):
    with Renderer(OPTIONS.model_copy(update={"denoise": False, "scenes_per_process": 1})) as renderer:
        renderer.open(scene(), files)
        view = renderer.render(scene().source)
        assert np.array_equal(view.linear, view.noisy)
        first = worker_pid(renderer)
        renderer.open(scene(), files)  # one scene for each process
        assert worker_pid(renderer) != first


def test_a_broken_file_fails_only_its_scene(renderer, files, tmp_path, pair):
    spec, whole = scene(), files[2].read_bytes()
    renderer.open(spec, files)
    before = worker_pid(renderer)
    broken = tmp_path / "broken.glb"
    for content in (b"", b"not a model", whole[:-200], whole[:20] + b"{" * 40 + whole[60:]):
        broken.write_bytes(content)
        with pytest.raises(AssetError, match=r"broken\.glb"):
            renderer.open(spec, {**files, 2: broken})
    with pytest.raises(AssetError, match=r"absent\.glb"):
        renderer.open(spec, {**files, 2: tmp_path / "absent.glb"})
    with pytest.raises(AssetError, match=r"box\.glb.* in the survey"):
        renderer.open(spec, {**files, 2: files[1]})
    with pytest.raises(RenderCrash, match="no scene"):
        renderer.render(spec.source)
    assert worker_pid(renderer) == before
    renderer.open(spec, files)
    assert same(renderer.render(spec.source), pair[0])


def test_lights_cameras_animations_and_other_scenes_of_a_file_are_ignored(renderer, files, tmp_path, pair):
    distracting = tmp_path / "two.glb"
    distracting.write_bytes(with_distractions(files[2].read_bytes()))
    renderer.open(scene(), {**files, 2: distracting})
    view = renderer.render(scene().source)
    assert np.array_equal(view.instances, pair[0].instances)
    assert np.allclose(view.depth, pair[0].depth, atol=1e-4)
    assert np.abs(view.rgb.astype(int) - pair[0].rgb).mean() < 0.5


def worker_pid(renderer: Renderer) -> int:
    assert renderer._process is not None
    return renderer._process.pid


def gone(pid: int, within_s: float = 15) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SLOW = OPTIONS.model_copy(update={"samples": 4096})


@linux
@pytest.mark.blender
def test_a_killed_blender_fails_only_its_scene(files, pair):
    with Renderer(SLOW) as renderer:
        renderer.open(scene(), files)
        victim, spent = worker_pid(renderer), renderer.cpu_s
        assert spent > 0
        threading.Timer(1.0, os.kill, (victim, signal.SIGKILL)).start()
        with pytest.raises(RenderCrash, match="in render"):
            renderer.render(scene().source)
        assert renderer.cpu_s == spent
        renderer.open(scene(), files)
        assert renderer.cpu_s > spent
        assert renderer.visibility([scene().source])[0][1].own_px > 0
        assert worker_pid(renderer) != victim


@linux
@pytest.mark.blender
def test_a_scene_that_takes_too_long_is_stopped(files):
    with Renderer(SLOW.model_copy(update={"timeout_s": 2.0})) as renderer:
        assert renderer.versions["device"] == "CPU"
        renderer.open(scene(), files)
        victim = worker_pid(renderer)
        began = time.monotonic()
        with pytest.raises(RenderTimeout, match=r"render\.timeout_s"):
            renderer.render(scene().source)
        assert time.monotonic() - began < 6
        assert gone(victim)
        renderer.open(scene(), files)


ORPHAN = """
import sys, pickle
from pathlib import Path
from spatialdata_builder.sources.blender.render import Renderer
from tests.sources.blender.test_render import SLOW, worker_pid
from tests.sources.small_scenes import scene
files = {int(k): Path(v) for k, v in (item.split("=") for item in sys.argv[1:])}
renderer = Renderer(SLOW)
renderer.open(scene(), files)
print(worker_pid(renderer), renderer._process.folder, flush=True)
renderer.render(scene().source)
"""


@linux
@pytest.mark.blender
def test_a_killed_client_leaves_no_blender_process(files):
    arguments = [f"{id}={path}" for id, path in files.items()]
    client = subprocess.Popen([sys.executable, "-c", ORPHAN, *arguments], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    pid, folder = client.stdout.readline().split()
    client.kill()
    client.wait()
    client.stdout.close()
    assert gone(int(pid))
    assert not Path(folder).exists()


@linux
@pytest.mark.blender
def test_a_dropped_renderer_ends_its_process():
    renderer = Renderer(OPTIONS)
    assert renderer.versions["blender"].startswith("5.")
    pid, folder = worker_pid(renderer), renderer._process.folder
    del renderer
    assert gone(pid)
    assert not folder.exists()


def test_an_unusable_blender_executable_is_reported(tmp_path):
    with pytest.raises(BadInput, match=r"render\.blender: /no/blender is not an executable") as error:
        _ = Renderer(RenderOptions(blender="/no/blender")).versions
    assert error.value.exit_code == 2
    impostor = tmp_path / "blender"
    impostor.write_text("#!/bin/sh\necho no display here >&2; exit 3\n")
    impostor.chmod(0o755)
    with pytest.raises(BadInput, match=r"does not start \(exited with code 3\): no display here"):
        _ = Renderer(RenderOptions(blender=str(impostor))).versions


def test_without_uv_the_error_says_how_to_fix_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BadInput, match=r"pip install .*\[build\]'.*render\.blender"):
        _ = Renderer(RenderOptions()).versions


def test_without_the_python_that_blender_needs_the_error_says_which(monkeypatch, tmp_path):
    """The Python that runs this may be another one; it is hidden here, as is every other."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "pythons"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"put Python ==3\.11\.\* on PATH, or let uv download it.*render\.blender"):
        _ = Renderer(RenderOptions()).versions


def test_an_environment_that_cannot_be_created_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(BadInput, match=r"environment cannot be created: .*bpy.*render\.blender"):
        _ = Renderer(RenderOptions()).versions


@pytest.mark.blender
def test_a_missing_device_is_reported():
    device = "oneapi" if sys.platform == "darwin" else "metal"
    with pytest.raises(BadInput, match=rf"render\.device: {device}: Blender .* finds no {device} device"):
        _ = Renderer(RenderOptions(device=device)).versions


DYING = """#!/bin/sh
echo start >> {starts}
if [ $(wc -l < {starts}) -le {deaths} ]; then echo "out of memory" >&2; kill -9 $$; fi
exec {python} -I {script} "$@"
"""


def dying(folder: Path, deaths: int) -> tuple[RenderOptions, Path]:
    """A Blender that dies the first `deaths` times that it is started, and the file that counts its starts."""
    starts, program = folder / "starts", folder / "blender"
    program.write_text(DYING.format(starts=starts, deaths=deaths, python=python_of(SCRIPT), script=SCRIPT))
    program.chmod(0o755)
    return OPTIONS.model_copy(update={"blender": str(program)}), starts


@pytest.mark.slow
def test_a_blender_that_dies_while_it_starts_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    options, starts = dying(tmp_path, 2)
    with Renderer(options) as renderer:
        assert renderer.versions["device"] == "CPU"
        assert len(starts.read_text().split()) == 3
        # Temporary files that a killed Blender leaves behind are in a folder that `sweep` removes.
        assert not list(tmp_path.glob("blender_*"))
        assert list(tmp_path.glob("spatialdata-blender-*/blender_*"))
        starts.write_text("")
        renderer.close()
        with pytest.raises(WorkerLost, match=r"does not start \(killed by signal 9\): out of memory \(tried 3 times\)"):
            Path(options.blender).write_text("#!/bin/sh\necho out of memory >&2; kill -9 $$\n")
            renderer._running_process()
    assert not list(tmp_path.glob("spatialdata-*"))


def test_a_blender_that_never_starts_raises_bad_input(tmp_path: Path):
    options, starts = dying(tmp_path, 99)
    with Renderer(options) as renderer, pytest.raises(BadInput, match=r"does not start .*tried 3 times"):
        _ = renderer.versions
    assert len(starts.read_text().split()) == 3
