import numpy as np
import pytest

from spatialdata_builder.evaluation.metrics.camera import camera_values, pose_error
from spatialdata_builder.shards.geometry import look_at, matrix4
from tests.evaluation.scenes import EYE, scene, view_of


def orbited(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    x, y, z = EYE
    return look_at([-y * np.sin(angle) + x, y * np.cos(angle), z], [0, 0, 0.2])


def test_pose_error_is_that_of_the_benchmark():
    source, target = view_of(look_at(EYE, [0, 0, 0.2])), view_of(orbited(30))
    position, angle = pose_error(matrix4(source.world_from_camera), target, source)
    assert position == pytest.approx(1)
    cosine = (np.trace(matrix4(source.world_from_camera)[:3, :3].T @ matrix4(target.world_from_camera)[:3, :3]) - 1) / 2
    assert angle == pytest.approx(np.rad2deg(np.arccos(cosine)) / 90)
    assert pose_error(matrix4(source.world_from_camera), source, source)[0] is None


def test_errors_grow_with_the_angle():
    truth = scene("camera", target_camera=orbited(15))
    exact = camera_values(truth, truth.target)
    assert exact["viewpoint"] < 0.1 and exact["framing"] < 0.02
    errors = [camera_values(truth, scene("camera", target_camera=orbited(degrees)).target) for degrees in (16, 20, 30)]
    viewpoints = [error["viewpoint"] for error in errors]
    assert viewpoints == sorted(viewpoints)
    assert errors[1]["camera_angle"] == pytest.approx(5 / 90, abs=0.03)


def test_copy_gets_the_whole_way():
    truth = scene("camera", target_camera=orbited(15))
    values = camera_values(truth, truth.source)
    assert values["camera_position"] == pytest.approx(1, abs=0.02)


def test_another_picture_has_no_camera():
    truth = scene("camera", target_camera=orbited(15))
    noise = np.random.default_rng(0).integers(0, 256, truth.target.shape, dtype=np.uint8)
    assert set(camera_values(truth, noise).values()) == {None}


def test_other_edits_have_no_camera():
    truth = scene()
    assert camera_values(truth, truth.target) == {}
