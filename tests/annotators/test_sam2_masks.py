"""From logits to a label map, compared with brute force and hand-made masks."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialdata_builder.annotators.sam2_masks import (
    box_nms,
    distinct_masks,
    grid_points,
    label_map,
    mask_boxes,
    paint,
    remove_specks,
    stability_scores,
    stable_masks,
    upsample,
)
from spatialdata_builder.shards.geometry import box_of_mask

torch = pytest.importorskip("torch")

SIDE = 32


def rectangle(x0, y0, x1, y1, side=SIDE):
    mask = np.zeros((side, side), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def logits_of(mask, inside=10.0, outside=-10.0):
    return np.where(mask, inside, outside).astype(np.float32)


def smooth(seed, count, side=SIDE):
    noise = np.random.default_rng(seed).normal(size=(count, side, side)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(one, (0, 0), 3) * 20 for one in noise])


def test_grid_points_lie_in_the_middle_of_cells_row_by_row():
    assert grid_points(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert grid_points(32).shape == (1024, 2)
    assert np.allclose(np.diff(grid_points(32)[:32, 0]), 1 / 32)


def test_stability_is_the_iou_at_a_higher_and_a_lower_threshold():
    logits = smooth(0, 5)
    logits[3], logits[4] = -9, np.where(rectangle(0, 0, 4, 4), 0.5, -9)
    expected = []
    for one in logits:
        higher, lower = one > 0.3 + 1.5, one > 0.3 - 1.5
        union = np.count_nonzero(higher | lower)
        expected.append(np.count_nonzero(higher & lower) / union if union else 0.0)
    assert expected[3] == expected[4] == 0
    assert 0.1 < expected[0] < 0.95
    found = stability_scores(torch.from_numpy(logits), 0.3, 1.5)
    assert found.tolist() == pytest.approx(expected)


def test_boxes_are_those_of_the_masks():
    masks = smooth(1, 6) > 3
    masks[1], masks[2] = False, True
    masks[3] = rectangle(7, 31, 8, 32)
    found = mask_boxes(torch.from_numpy(masks))
    assert found.tolist() == [box_of_mask(mask) for mask in masks]
    assert mask_boxes(torch.zeros((0, 4, 4), dtype=torch.bool)).shape == (0, 4)


def iou(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def greedy(boxes, scores, threshold):
    kept = np.zeros(len(boxes), bool)
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        kept[index] = all(iou(boxes[index], boxes[other]) <= threshold for other in np.flatnonzero(kept))
    return kept


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 40), st.sampled_from([0.1037, 0.3119, 0.5003, 0.7001]))
def test_suppression_is_greedy_by_score(seed, count, threshold):
    # No IoU of such boxes equals these thresholds, so rounding does not decide.
    rng = np.random.default_rng(seed)
    start, size = rng.integers(0, 12, (count, 2)), rng.integers(1, 20, (count, 2))
    boxes = np.concatenate([start, start + size], axis=1)
    scores = rng.integers(1, 6, count).astype(np.float32) / 8  # with ties
    assert box_nms(boxes, scores, threshold).tolist() == greedy(boxes.tolist(), scores, threshold).tolist()


def test_upsampling_equals_torchs_bilinear():
    logits = smooth(2, 1)[0]
    for width, height in ((100, 75), (512, 512), (20, 31)):
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(logits)[None, None], (height, width), mode="bilinear", align_corners=False
        )
        assert np.allclose(upsample(logits, (width, height)), expected[0, 0].numpy(), atol=1e-4)


def test_small_holes_are_filled_and_small_islands_removed():
    mask = rectangle(4, 4, 20, 20) & ~rectangle(6, 6, 8, 8) & ~rectangle(10, 10, 14, 14)
    mask |= rectangle(25, 25, 27, 27) | rectangle(22, 4, 26, 8)
    expected = (rectangle(4, 4, 20, 20) & ~rectangle(10, 10, 14, 14)) | rectangle(22, 4, 26, 8)
    assert np.array_equal(remove_specks(mask, 5), expected)
    assert np.array_equal(remove_specks(mask, 1), mask)
    # The largest island is kept, however small. Empty and full masks are unchanged.
    specks = rectangle(1, 1, 3, 3) | rectangle(9, 9, 12, 12)
    assert np.array_equal(remove_specks(specks, 50), rectangle(9, 9, 12, 12))
    for uniform in (np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), bool)):
        assert np.array_equal(remove_specks(uniform, 50), uniform)


def test_pixels_that_touch_at_a_corner_are_one_island():
    diagonal = np.eye(SIDE, dtype=bool)
    assert np.array_equal(remove_specks(diagonal | rectangle(20, 2, 26, 8), 20), diagonal | rectangle(20, 2, 26, 8))


def test_smaller_masks_are_painted_over_larger_ones():
    table, plate, apple = rectangle(2, 2, 30, 30), rectangle(8, 8, 24, 24), rectangle(10, 10, 14, 14)
    beside = rectangle(0, 0, 32, 1)
    labels = paint([apple, table, beside, plate], (SIDE, SIDE))
    # 528, 240, 32 and 16 pixels are visible.
    expected = np.zeros((SIDE, SIDE), np.uint8)
    for label, mask in ((1, table), (2, plate), (3, beside), (4, apple)):
        expected[mask] = label
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, expected)


def test_labels_are_ordered_by_visible_area():
    behind, front, other = rectangle(0, 0, 20, 20), rectangle(0, 0, 20, 15), rectangle(22, 0, 32, 20)
    labels = paint([behind, front, other], (SIDE, SIDE))
    assert [int(labels[0, 0]), int(labels[0, 25]), int(labels[18, 0])] == [1, 2, 3]


def test_a_hardly_visible_mask_is_left_out_and_shows_what_is_beneath():
    wall, frame, picture = rectangle(0, 0, 32, 32), rectangle(4, 4, 15, 14), rectangle(4, 4, 14, 14)
    speck = rectangle(28, 28, 30, 30)
    labels = paint([wall, frame, picture, speck], (SIDE, SIDE), min_area=11)
    # The frame shows 10 pixels, the speck 4.
    assert np.array_equal(labels, np.where(picture, 2, 1))
    assert paint([wall, frame, picture, speck], (SIDE, SIDE), min_area=10).max() == 3


def test_equal_masks_show_one_and_no_masks_show_background():
    same = rectangle(3, 3, 9, 9)
    assert np.array_equal(paint([same, same], (SIDE, SIDE)), same.astype(np.uint8))
    assert paint([], (SIDE, 7)).shape == (7, SIDE)
    assert not paint([np.zeros((SIDE, SIDE), bool)], (SIDE, SIDE)).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_painting_equals_overwriting_from_large_to_small(seed, count):
    masks = list(smooth(seed, count) > np.linspace(-2, 8, count)[:, None, None])
    painted = np.full((SIDE, SIDE), -1)
    for index in sorted(range(count), key=lambda i: (-np.count_nonzero(masks[i]), -i)):
        painted[masks[index]] = index
    labels = paint(masks, (SIDE, SIDE))
    areas = []
    for label in range(1, int(labels.max()) + 1):
        owners = set(painted[labels == label].tolist())
        assert len(owners) == 1
        assert np.array_equal(painted == owners.pop(), labels == label)
        areas.append(np.count_nonzero(labels == label))
    assert np.array_equal(labels == 0, painted == -1)
    assert areas == sorted(areas, reverse=True)


def test_perfect_logits_give_the_scene():
    """The masks of a perfect decoder for a table, a plate on it and an apple, from several points, plus wrong ones."""
    table, plate, apple = rectangle(2, 2, 30, 30), rectangle(8, 8, 24, 24), rectangle(10, 10, 14, 14)
    candidates = [
        (table, 0.95, 10.0),
        (table | rectangle(30, 2, 31, 30), 0.90, 10.0),  # a worse mask of the table, with nearly the same box
        (plate, 0.93, 10.0),
        (rectangle(0, 0, 12, 12), 0.99, 0.5),  # a high score, but unstable
        (apple, 0.91, 10.0),
        (apple, 0.97, 10.0),
    ]
    logits = torch.from_numpy(np.stack([logits_of(mask, inside, -inside) for mask, _, inside in candidates]))
    ious = torch.tensor([score for _, score, _ in candidates])
    settings_of = {"threshold": 0.0, "offset": 1.0, "least": 0.95}
    expected = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    for label, mask in enumerate((table, plate, apple), start=1):
        expected[np.kron(mask, np.ones((2, 2), bool))] = label
    for size in (1, 2, 6):
        parts = [
            stable_masks(logits[first : first + size], ious[first : first + size], **settings_of)
            for first in range(0, len(candidates), size)
        ]
        kept = distinct_masks(parts, threshold=0.0, nms_threshold=0.7)
        assert len(kept) == 3
        found = label_map(kept.numpy(), (2 * SIDE, 2 * SIDE))
        # Only corners differ, since bilinear upsampling rounds them.
        assert np.count_nonzero(found != expected) <= 12
        assert found.max() == 3


def test_a_label_map_without_masks_is_background():
    assert not label_map(np.zeros((0, 8, 8), np.float32), (20, 10)).any()
    assert label_map(np.zeros((0, 8, 8), np.float32), (20, 10)).shape == (10, 20)
    none = distinct_masks([(torch.zeros((0, 8, 8)), torch.zeros(0))], threshold=0.0, nms_threshold=0.7)
    assert none.shape == (0, 8, 8)


def test_options_of_the_label_map():
    mask = rectangle(4, 4, 20, 20) & ~rectangle(8, 8, 10, 10)
    logits = logits_of(mask, 3.0, -3.0)[None]
    assert label_map(logits, (SIDE, SIDE))[8, 8] == 0
    assert label_map(logits, (SIDE, SIDE), min_region=5)[8, 8] == 1
    assert label_map(logits, (SIDE, SIDE), threshold=4.0).max() == 0
    assert label_map(logits, (SIDE, SIDE), min_area=253).max() == 0
    assert label_map(logits, (SIDE, SIDE), min_area=252).max() == 1
