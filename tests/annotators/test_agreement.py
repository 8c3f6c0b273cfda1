"""Figures of agreement, compared with cases computed by hand."""

import numpy as np
import pytest

from spatialdata_builder.annotators.agreement import (
    METRICS,
    NotComparable,
    aligned_depth,
    angles_deg,
    best_ious,
    line_figures,
    line_matches,
    metric_depth_figures,
    normal_figures,
    relative_depth_figures,
    segment_figures,
)

Z = np.array([[1.0, 2.0, 4.0, 0.0], [8.0, 5.0, 0.0, 10.0]], np.float32)


def rotated(normals: np.ndarray, degrees: float) -> np.ndarray:
    """Normals rotated about the x axis."""
    a = np.deg2rad(degrees)
    return (normals @ np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]).T).astype(np.float32)


class TestMetricDepth:
    def test_a_tenth_too_far(self):
        found = metric_depth_figures(Z, Z * np.float32(1.1))
        assert found["abs_rel"] == pytest.approx(0.1, abs=1e-6)
        assert found["delta1"] == 1
        assert found["coverage"] == 1

    def test_pixel_by_pixel(self):
        # Errors 0, 1/2, 1/4, 0, 1/5 and 3/10; ratios 1, 2, 4/3, 1, 5/4 (not below) and 13/10.
        estimate = np.array([[1.0, 1.0, 3.0, 7.0], [8.0, 4.0, 3.0, 13.0]], np.float32)
        found = metric_depth_figures(Z, estimate)
        assert found["abs_rel"] == pytest.approx((0.5 + 0.25 + 0.2 + 0.3) / 6, rel=1e-6)
        assert found["delta1"] == pytest.approx(2 / 6)

    def test_pixels_without_both_depths_are_not_compared(self):
        estimate = np.array([[2.0, 0.0, 4.0, 9.0], [0.0, 0.0, 9.0, 10.0]], np.float32)
        found = metric_depth_figures(Z, estimate)
        assert found == pytest.approx({"abs_rel": 1 / 3, "delta1": 2 / 3, "coverage": 3 / 6})
        with pytest.raises(NotComparable, match="no depth in common"):
            metric_depth_figures(Z, np.where(Z > 0, 0, 1).astype(np.float32))


class TestRelativeDepth:
    def test_any_scale_and_shift_of_inverse_depth_has_no_error(self):
        inverse = np.divide(1, Z, out=np.zeros_like(Z), where=Z > 0)
        for scale, shift in ((1, 0), (250, 0), (0.01, 3), (7, -2)):
            found = relative_depth_figures(Z, scale * inverse + np.float32(shift))
            assert found["abs_rel"] == pytest.approx(0, abs=1e-4)
            assert found["delta1"] == 1

    def test_the_fit_is_the_least_squares_one(self):
        rng = np.random.default_rng(0)
        z = rng.uniform(1, 10, (20, 30)).astype(np.float32)
        z[:3] = 0
        inverse = (3 / np.maximum(z, 1) + rng.normal(0, 0.05, z.shape)).astype(np.float32)
        known = z > 0
        design = np.stack([inverse[known], np.ones(known.sum())], axis=1).astype(np.float64)
        (scale, shift), *_ = np.linalg.lstsq(design, 1.0 / z[known].astype(np.float64), rcond=None)
        expected = 1 / np.maximum(scale * inverse[known] + shift, 1 / z[known].max())
        np.testing.assert_allclose(aligned_depth(z, inverse)[known], expected, rtol=1e-6)
        error = np.mean(np.abs(expected - z[known]) / z[known])
        assert relative_depth_figures(z, inverse)["abs_rel"] == pytest.approx(error, rel=1e-6)

    def test_depth_instead_of_inverse_depth_is_no_better_than_a_constant(self):
        constant = np.ones_like(Z)
        assert relative_depth_figures(Z, Z) == pytest.approx(relative_depth_figures(Z, constant))
        # A constant is aligned to the mean inverse depth.
        z = Z[Z > 0].astype(np.float64)
        assert relative_depth_figures(Z, constant)["abs_rel"] == pytest.approx(
            np.mean(np.abs(1 / np.mean(1 / z) - z) / z)
        )

    def test_pixels_without_exact_depth_do_not_count(self):
        inverse = np.divide(1, Z, out=np.full_like(Z, 1e6), where=Z > 0)
        assert relative_depth_figures(Z, inverse)["abs_rel"] == pytest.approx(0, abs=1e-6)
        with pytest.raises(NotComparable, match="no exact depth"):
            relative_depth_figures(np.zeros_like(Z), Z)

    def test_depth_is_capped_at_the_largest_exact_depth(self):
        assert aligned_depth(Z, np.full_like(Z, -5.0)).max() <= Z.max() + 1e-6


class TestNormals:
    def test_a_rotation_by_ten_degrees(self):
        rng = np.random.default_rng(1)
        normals = rng.normal(size=(9, 11, 3))
        normals[..., 0] = 0  # a rotation about x leaves vectors along x unchanged
        normals = (normals / np.linalg.norm(normals, axis=2, keepdims=True)).astype(np.float32)
        found = normal_figures(normals, rotated(normals, 10))
        assert found["mean_deg"] == pytest.approx(10, abs=1e-3)
        assert found["median_deg"] == pytest.approx(10, abs=1e-3)
        assert (found["within_11_25"], found["within_22_5"], found["within_30"]) == (100, 100, 100)

    def test_shares_below_each_angle(self):
        facing = np.zeros((1, 8, 3), np.float32)
        facing[..., 2] = -1
        angles = [0, 5, 11, 12, 22, 25, 40, 180]
        estimate = np.concatenate([rotated(facing[:, :1], angle) for angle in angles], axis=1)
        found = normal_figures(facing, estimate)
        assert found["mean_deg"] == pytest.approx(np.mean(angles), abs=1e-3)
        assert found["median_deg"] == pytest.approx(17, abs=1e-3)
        assert (found["within_11_25"], found["within_22_5"], found["within_30"]) == (37.5, 62.5, 75)

    def test_equal_vectors_have_an_angle_of_exactly_zero(self):
        rng = np.random.default_rng(2)
        normals = rng.normal(size=(40, 40, 3)).astype(np.float32)
        normals /= np.linalg.norm(normals, axis=2, keepdims=True)
        assert np.all(angles_deg(normals, normals) == 0)

    def test_zero_vectors_are_not_compared(self):
        exact = np.zeros((2, 2, 3), np.float32)
        exact[0], estimate = (0, 0, -1), exact.copy()
        estimate[0, 0], estimate[1] = (0, 0, -1), (1, 0, 0)
        found = normal_figures(exact, estimate)
        assert found["mean_deg"] == 0 and found["coverage"] == 0.5
        with pytest.raises(NotComparable, match="no normal in common"):
            normal_figures(exact, np.zeros_like(exact))


class TestSegments:
    def scene(self) -> np.ndarray:
        labels = np.zeros((20, 20), np.uint8)
        labels[2:6, 2:12], labels[10:16, 5:15] = 7, 3  # 40 and 60 pixels
        return labels

    def test_labels_and_further_segments_do_not_matter(self):
        exact = self.scene()
        segments = exact.astype(np.uint16) * 100 + 1  # the background is a segment too
        assert segment_figures(exact, segments) == {"best_iou": 1, "found_50": 1}

    def test_merged_instances_have_their_share_of_the_union(self):
        exact = self.scene()
        merged = (exact > 0).astype(np.uint8)
        assert best_ious(exact, merged) == pytest.approx({7: 0.4, 3: 0.6})
        assert segment_figures(exact, merged) == pytest.approx({"best_iou": 0.5, "found_50": 0.5})

    def test_a_split_instance_counts_its_largest_part(self):
        exact = self.scene()
        split = exact.copy()
        split[10:16, 5:8] = 9  # 18 of 60 pixels
        assert best_ious(exact, split) == pytest.approx({7: 1.0, 3: 0.7})

    def test_background_and_small_instances_do_not_count(self):
        exact = self.scene()
        assert best_ious(exact, np.zeros_like(exact)) == {7: 0.0, 3: 0.0}
        assert best_ious(exact, exact, min_area=0.15) == {3: 1.0}
        with pytest.raises(NotComparable, match="no instance large enough"):
            segment_figures(np.zeros_like(exact), exact)


class TestLines:
    def drawing(self, *columns: int) -> np.ndarray:
        lines = np.full((30, 40), 255, np.uint8)
        lines[:, list(columns)] = 0
        return lines

    @pytest.mark.parametrize("shift", [0, 1, 2])
    def test_near_lines_match(self, shift: int):
        assert line_figures(self.drawing(10), self.drawing(10 + shift))["f1"] == 1

    @pytest.mark.parametrize("shift", [3, 5])
    def test_distant_lines_do_not_match(self, shift: int):
        assert line_figures(self.drawing(10), self.drawing(10 + shift)) == {"f1": 0, "precision": 0, "recall": 0}

    def test_one_of_two_lines_moved(self):
        found = line_figures(self.drawing(5, 20, 30), self.drawing(6, 25))
        assert found == pytest.approx({"precision": 1 / 2, "recall": 1 / 3, "f1": 0.4})

    def test_distance_is_a_circle(self):
        exact = self.drawing()
        exact[10, 10] = 0
        for down, right, near in ((2, 0, True), (1, 1, True), (2, 1, False), (2, 2, False)):
            other = self.drawing()
            other[10 + down, 10 + right] = 0
            assert bool(line_matches(exact, other)[0].any()) is near

    def test_faint_lines_do_not_count(self):
        faint = np.where(self.drawing(10) == 0, 128, 255).astype(np.uint8)
        assert line_figures(self.drawing(), faint) == {"f1": 1, "precision": 1, "recall": 1}
        assert line_figures(self.drawing(10), faint) == {"f1": 0, "precision": 0, "recall": 0}
        assert line_figures(self.drawing(), self.drawing(10))["f1"] == 0


@pytest.mark.parametrize("compare", [metric_depth_figures, relative_depth_figures, segment_figures, line_figures])
def test_maps_of_different_sizes(compare):
    with pytest.raises(NotComparable, match="sizes differ"):
        compare(np.ones((4, 5), np.uint8), np.ones((5, 4), np.uint8))


def test_every_figure_is_described():
    normals = np.zeros((2, 4, 3), np.float32)
    normals[..., 2] = -1
    labels = (Z > 0).astype(np.uint8)
    found = [metric_depth_figures(Z, Z), relative_depth_figures(Z, Z), normal_figures(normals, normals)]
    found += [segment_figures(labels, labels), line_figures(labels, labels)]
    assert {name for figures in found for name in figures} == set(METRICS)
