import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spatialdata_builder.shards import geometry as g

COORDINATE = st.floats(-5, 5)
POINT = st.tuples(COORDINATE, COORDINATE, COORDINATE)
K = g.intrinsics_of_lens(35, 64, 48)


@given(POINT, POINT)
def test_look_at_is_rigid_and_level_and_centers_the_target(eye, target):
    if np.linalg.norm(np.subtract(eye, target)) < 1e-3:
        return
    pose = g.look_at(eye, target)
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    assert pose[2, 0] == pytest.approx(0, abs=1e-12), "no roll: the image's x axis is level"
    assert pose[2, 1] <= 1e-12, "y is down"
    (pixel,), (z,) = g.project([target], K, pose)
    assert pixel == pytest.approx([32, 24], abs=1e-6), "the target is in the center"
    assert z == pytest.approx(np.linalg.norm(np.subtract(eye, target)))
    assert g.invert_rigid(pose) @ pose == pytest.approx(np.eye(4), abs=1e-9)


@pytest.mark.parametrize("height", [3.0, -3.0])
def test_look_straight_down_or_up_has_a_defined_roll(height):
    pose = g.look_at([1, 1, height], [1, 1, 0])
    assert pose[:3, 0] == pytest.approx([1, 0, 0])
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_look_at_needs_two_different_points():
    with pytest.raises(ValueError, match="differ"):
        g.look_at([1, 2, 3], [1, 2, 3])


def test_up_is_up_and_right_is_right_in_the_image():
    pose = g.look_at([0, -4, 1], [0, 0, 1])
    pixels, _ = g.project([[0, 0, 2], [1, 0, 1]], K, pose)
    assert pixels[0, 1] < 24 and pixels[1, 0] > 32


@given(arrays(np.float32, (6, 8), elements=st.floats(0.125, 50, width=32)), POINT)
def test_unproject_inverts_project_at_pixel_centers(z, eye):
    pose = g.look_at(eye, np.add(eye, (1, 2, -0.5)))
    pixels, depth = g.project(g.unproject(z, K, pose).reshape(-1, 3), K, pose)
    rows, columns = np.mgrid[0:6, 0:8]
    assert np.allclose(pixels, np.stack([columns, rows], -1).reshape(-1, 2) + 0.5, atol=1e-6)
    assert np.allclose(depth, z.ravel(), rtol=1e-6)


def test_points_behind_the_camera_have_negative_z():
    pixels, depth = g.project([[0, -9, 1], [0, -4, 1]], K, g.look_at([0, -4, 1], [0, 0, 1]))
    assert depth[0] == pytest.approx(-5)
    assert np.isnan(pixels[1]).all()


def test_similarity_rotates_counterclockwise_seen_from_above_then_translates():
    pose = g.similarity(1, 2, 3, 90, 2)
    assert g.transform(pose, [[1, 0, 0], [0, 0, 1]]) == pytest.approx(np.array([[1, 4, 3], [1, 2, 5]]))


def test_json_lists_are_row_major_rounded_and_has_no_negative_zero():
    assert g.to_json_list([[1, 2.123456789], [-1e-9, 4]]) == [1.0, 2.123457, 0.0, 4.0]
    assert str(g.to_json_list([-0.0])) == "[0.0]"
    assert np.array_equal(g.matrix3(g.to_json_list(K)), np.round(K, 6))
    assert g.matrix4(range(16))[1, 0] == 4


@given(arrays(np.bool_, (7, 9)))
def test_box_of_mask_is_tight(mask):
    x0, y0, x1, y1 = g.box_of_mask(mask)
    assert mask[y0:y1, x0:x1].sum() == mask.sum()
    if mask.any():
        inside = mask[y0:y1, x0:x1]
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
    else:
        assert [x0, y0, x1, y1] == [0, 0, 0, 0]


def test_intersection_over_union():
    assert g.box_iou([0, 0, 2, 2], [1, 0, 3, 2]) == pytest.approx(1 / 3)
    assert g.box_iou([0, 0, 2, 2], [5, 5, 6, 6]) == g.box_iou([0, 0, 0, 0], [0, 0, 0, 0]) == 0
    a = np.array([[True, True, False]])
    assert g.mask_iou(a, ~a) == g.mask_iou(a & False, a & False) == 0
    assert g.mask_iou(a, np.array([[False, True, True]])) == pytest.approx(1 / 3)


def test_displacement_is_between_the_centers_of_the_masks():
    before, after = np.zeros((2, 6, 8), bool)
    before[1:3, 1:3] = after[1:5, 4:8] = True
    assert g.displacement(before, after) == round(float(np.hypot(4, 1)), 3)
    assert g.displacement(before, after & False) == g.displacement(before & False, after) == -1.0


@pytest.mark.parametrize(("degrees", "same"), [(0, 0), (180, 180), (-180, 180), (315, -45), (725, 5), (-90.5, -90.5)])
def test_wrapped_degrees(degrees, same):
    assert g.wrap_degrees(degrees) == same


def test_psnr():
    a = np.zeros((2, 2, 3), np.uint8)
    b = a.copy()
    b[0] = 255
    assert g.psnr(a, b) == pytest.approx(10 * np.log10(2))
    mask = np.array([[False, False], [True, True]])
    assert g.psnr(a, b, mask) == g.psnr(a, b, mask & False) == g.EQUAL_DB
    assert g.psnr(a, b, ~mask) == pytest.approx(0)
