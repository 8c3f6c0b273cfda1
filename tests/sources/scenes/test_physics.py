"""Rigid bodies: where they come to rest, compared with what is known of boxes, balls and bowls."""

import subprocess
import sys

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.shards.geometry import similarity, tilted_similarity
from spatialdata_builder.sources.scenes.convex import Mesh, surface
from spatialdata_builder.sources.scenes.physics import Body, Fixed, Plane, is_installed, need_mujoco, settle
from tests.sources.furniture import solid

pytest.importorskip("mujoco", reason="MuJoCo (extra `physics`) is not installed")
FLOOR = Plane((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))


def body(mesh: trimesh.Trimesh, *start: np.ndarray) -> Body:
    return Body(solid(mesh), np.linalg.multi_dot([*start, np.eye(4), np.eye(4)]))


def at(x: float, y: float, z: float, degrees: float = 0.0, axis=(1.0, 0.0, 0.0)) -> np.ndarray:
    pose = trimesh.transformations.rotation_matrix(np.deg2rad(degrees), axis)
    pose[:3, 3] = x, y, z
    return pose


def placed(one: Body, rest) -> np.ndarray:
    pose = rest.pose.matrix()
    return one.mesh.vertices @ pose[:3, :3].T + pose[:3, 3]


def bowl() -> trimesh.Trimesh:
    """A bowl of 0.1 m radius and 5 mm walls, its lowest point at the origin, open to +z."""
    profile = [(0.1 * np.sin(a), 0.1 - 0.1 * np.cos(a)) for a in np.linspace(0.0, np.pi / 2, 24)]
    inner = [(0.095 * np.sin(a), 0.1 - 0.095 * np.cos(a)) for a in np.linspace(np.pi / 2, 0.0, 24)]
    return trimesh.creation.revolve(np.array(profile + inner), sections=48)


@given(*[st.floats(-180, 180).map(lambda value: round(value, 6))] * 3)
def test_a_tilt_is_a_rotation_about_a_level_axis(yaw, x, y):
    angle = np.hypot(x, y)
    tilt = trimesh.transformations.rotation_matrix(np.deg2rad(angle), (x, y, 0.0)) if angle else np.eye(4)
    expected = similarity(1.0, 2.0, 3.0, yaw, 2.0) @ tilt
    np.testing.assert_allclose(tilted_similarity(1.0, 2.0, 3.0, yaw, (x, y), 2.0), expected, atol=1e-9)


def test_poses_are_those_of_the_start_where_nothing_moves():
    """A ball that is held by four sides keeps any rotation, so the stored pose can be compared with it."""
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        start = trimesh.transformations.random_rotation_matrix(rng.random(3))
        start[:3, 3] = 0.0, 0.0, 0.1
        (rest,) = settle([body(ball, start)], [], [FLOOR])
        np.testing.assert_allclose(rest.pose.matrix()[:3, 3], start[:3, 3], atol=2e-3)
        turned = rest.pose.matrix()[:3, :3] @ start[:3, :3].T
        assert np.rad2deg(np.arccos((np.trace(turned) - 1) / 2)) < 3.0


def test_a_box_falls_flat_and_a_stack_stands():
    low, high = trimesh.creation.box((0.2, 0.3, 0.05)), trimesh.creation.box((0.1, 0.1, 0.1))
    first, second = body(low, at(0, 0, 0.1, 20)), body(high, at(0, 0, 0.3))
    rests = settle([first, second], [], [FLOOR])
    assert not any(rest.moving for rest in rests) and max(rest.gap for rest in rests) < 1e-3
    assert rests[0].pose.position[2] == pytest.approx(0.025, abs=3e-4)
    assert rests[1].pose.position[2] == pytest.approx(0.1, abs=6e-4)
    assert (rests[0].held_by, rests[1].held_by) == (set(), {0}) and not rests[1].on


def test_round_things_come_to_rest():
    for mesh in (trimesh.creation.icosphere(subdivisions=3, radius=0.06), trimesh.creation.cylinder(0.04, 0.2)):
        one = body(mesh, at(0, 0, 0.2, 80, (0.3, 1.0, 0.0)))
        (rest,) = settle([one], [], [FLOOR])
        assert not rest.moving and np.hypot(*rest.pose.position[:2]) < 0.3
        assert abs(placed(one, rest)[:, 2].min()) < 3e-4


def test_a_bowl_is_hollow():
    mesh = solid(bowl())
    shape = surface(mesh, (0.0, 0.0, 0.15), (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), 0.2 / 14)
    fruit = [trimesh.creation.icosphere(subdivisions=3, radius=0.03) for _ in range(3)]
    bodies = [body(one, at(0.01 * k, 0.005 * k, 0.06 + 0.07 * k)) for k, one in enumerate(fruit)]
    rests = settle(bodies, [Fixed(mesh, np.eye(4), *shape)], [Plane((0.0, 0.0, -0.2), (0.0, 0.0, 1.0))])
    for one, rest in zip(bodies, rests, strict=True):
        assert not rest.moving and rest.gap < 2e-3 and (rest.fixed or rest.held_by) and not rest.on
        points = placed(one, rest)
        # Below the rim, all is inside the ball of the inner surface.
        assert points[:, 2].min() < 0.1
        assert np.linalg.norm(points[points[:, 2] < 0.1] - (0.0, 0.0, 0.1), axis=1).max() < 0.095 + 5e-4
    assert rests[0].fixed == {0} and placed(bodies[0], rests[0])[:, 2].min() < 0.006


def test_contacts_are_measured_on_triangles():
    """A hull closes the mouth of a bowl; what lies there would float above its triangles."""
    mesh = solid(bowl())
    lid = Fixed(mesh, np.eye(4), [mesh.vertices])
    (rest,) = settle([body(trimesh.creation.icosphere(subdivisions=3, radius=0.02), at(0, 0, 0.13))], [lid], [])
    assert rest.pose.position[2] == pytest.approx(0.12, abs=2e-3) and rest.gap > 2e-3


def test_distance_to_triangles():
    mesh = solid(trimesh.creation.box((0.2, 0.1, 0.05)))
    for point, expected in (((0.0, 0.0, 0.026), 0.001), ((0.1, 0.05, 0.025), 0.0), ((0.103, 0.05, 0.029), 0.005)):
        assert mesh.distance(np.array(point)) == pytest.approx(expected, abs=1e-9)
    assert mesh.distance(np.array([0.0, 0.0, 0.1])) == np.inf
    assert Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64)).distance(np.zeros(3)) == np.inf


def test_pieces_contain_the_triangles_and_are_hollow_where_the_mesh_is():
    """A table: its legs and its board are convex parts. A bowl is one part, which is not."""
    boards = [trimesh.creation.box((1.0, 0.6, 0.04), at(0.0, 0.0, 0.7))]
    boards += [trimesh.creation.box((0.05, 0.05, 0.68), at(x, y, 0.34)) for x in (-0.4, 0.4) for y in (-0.2, 0.2)]
    table = solid(trimesh.util.concatenate(boards))
    pieces, boxes = surface(table, (0.0, 0.0, 1.0), (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), 0.05)
    assert not len(boxes.centers)
    volumes = sorted(np.prod(np.ptp(points, axis=0)) for points in pieces)
    assert volumes == pytest.approx(sorted(board.volume for board in boards), abs=1e-6)
    assert len(surface(table, (0.0, 0.0, 1.0), (-0.45, -0.25, 0.1), (-0.35, -0.15, 0.2), 0.05)[0]) == 1

    mesh = bowl()
    pieces, boxes = surface(solid(mesh), (0.0, 0.0, 0.15), (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), 0.2 / 14)
    assert not pieces and len(boxes.centers) > 100
    points = trimesh.sample.sample_surface(mesh, 2000, seed=0)[0]
    local = np.einsum("nij,pnj->pni", boxes.axes, points[:, None] - boxes.centers)
    outside = (np.abs(local) - boxes.halves).max(axis=2)
    assert outside.min(axis=1).max() < 1e-5
    # Where the bowl is empty there is nothing, but for the edges of boxes close to the surface.
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(2000, 3))
    ways = ways[ways[:, 2] < 0] / np.linalg.norm(ways[ways[:, 2] < 0], axis=1, keepdims=True)
    for depth, most in ((0.0015, 0.01), (0.0025, 0.0)):
        inner = (0.095 - depth) * ways + (0.0, 0.0, 0.1)
        local = np.einsum("nij,pnj->pni", boxes.axes, inner[:, None] - boxes.centers)
        assert ((np.abs(local) - boxes.halves).max(axis=2).min(axis=1) < 0).mean() <= most


def test_without_mujoco(monkeypatch: pytest.MonkeyPatch):
    assert is_installed()
    monkeypatch.setitem(sys.modules, "mujoco", None)  # as where it is not installed
    assert not is_installed()
    with pytest.raises(BadInput, match=r"spatialdata-builder\[physics\]"):
        need_mujoco()


def test_importing_scenes_does_not_import_mujoco():
    code = "import sys, spatialdata_builder.sources.scenes.kinds; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
