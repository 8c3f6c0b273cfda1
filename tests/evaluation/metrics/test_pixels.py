import cv2
import numpy as np
import pytest

from spatialdata_builder.evaluation.metrics.pixels import pixel_values, similarities
from spatialdata_builder.shards.geometry import psnr
from tests.evaluation.scenes import scene, texture


def ssim_by_hand(a: np.ndarray, b: np.ndarray, row: int, column: int) -> float:
    """Equation 13 of Wang et al. 2004 in one window."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = np.outer(line, line) / np.outer(line, line).sum()
    x, y = (image[row - 5 : row + 6, column - 5 : column + 6].astype(np.float64) for image in (a, b))
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
    cov = (weights * (x - mx) * (y - my)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))


def test_ssim_is_the_mean_of_its_windows():
    a, b = (cv2.cvtColor(texture(seed), cv2.COLOR_RGB2GRAY)[:40, :48].astype(np.float32) for seed in (1, 2))
    region = np.zeros(a.shape, bool)
    region[20, 24] = region[30, 10] = True
    (found, _) = similarities(a, b, {"": region})[""]
    expected = np.mean([ssim_by_hand(a, b, 20, 24), ssim_by_hand(a, b, 30, 10)])
    assert found == pytest.approx(max(expected, 0), abs=1e-4)


def test_whole_image_leaves_out_windows_beyond_it():
    a, b = (cv2.cvtColor(texture(seed), cv2.COLOR_RGB2GRAY)[:20, :20].astype(np.float32) for seed in (3, 4))
    found, _ = similarities(a, b, {"": np.ones(a.shape, bool)})[""]
    windows = [ssim_by_hand(a, b, row, column) for row in range(5, 15) for column in range(5, 15)]
    assert found == pytest.approx(max(np.mean(windows), 0), abs=1e-4)


def test_equal_images_get_one_at_all_scales():
    image = cv2.cvtColor(texture(1), cv2.COLOR_RGB2GRAY).astype(np.float32)
    assert similarities(image, image, {"": np.ones(image.shape, bool)})[""] == pytest.approx((1, 1), abs=1e-5)


def test_regions_are_those_of_the_edit():
    truth = scene()
    prediction = truth.target.copy()
    prediction[~truth.changed] //= 2
    values = pixel_values(truth, prediction)
    assert values["psnr_changed"] == values["psnr_object"] == 99
    assert values["preserved_psnr"] == pytest.approx(psnr(prediction, truth.source, ~truth.changed), abs=1e-3)
    assert values["psnr"] == pytest.approx(psnr(prediction, truth.target), abs=1e-3)
    copied = pixel_values(truth, truth.source)
    assert copied["preserved_psnr"] == 99
    assert copied["ssim_object"] < 0.5
    assert copied["ssim"] > 0.8
