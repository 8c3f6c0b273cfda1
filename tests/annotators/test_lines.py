import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialdata_builder.annotators.lines import draw_lines
from spatialdata_builder.shards.geometry import intrinsics_of_lens

SIDE = 64
K = intrinsics_of_lens(35, SIDE, SIDE)
EMPTY = np.zeros((SIDE, SIDE), np.uint8)


def rays(jitter: np.ndarray | float = 0.0) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5 + jitter
    return np.stack([(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones((SIDE, SIDE))], axis=-1)


def plane(normal, distance: float, jitter: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Depth and normals of n.P = -distance, with normals pointing to the camera; no surface behind the camera."""
    normal = np.asarray(normal, np.float64) / np.linalg.norm(normal)
    z = -distance / (rays(jitter) @ normal)
    seen = (z > 0) & (z < 1e3)
    return np.where(seen, z, 0).astype(np.float32), (seen[..., None] * normal).astype(np.float32)


def nearest(*surfaces: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    depths = np.stack([np.where(z > 0, z, np.inf) for z, _ in surfaces])
    first = depths.argmin(axis=0)
    z = np.take_along_axis(depths, first[None], 0)[0]
    normals = np.take_along_axis(np.stack([n for _, n in surfaces]), first[None, ..., None], 0)[0]
    return np.where(np.isfinite(z), z, 0).astype(np.float32), normals


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(0.3, 20), st.integers(0, 99), st.sampled_from([0.0, 0.5, 0.7])
)
def test_a_plane_has_no_lines_however_slanted_and_sampled(x, y, distance, seed, spread):
    jitter = np.random.default_rng(seed).uniform(-spread, spread, (2, SIDE, SIDE))
    depth, normals = plane([x, y, -1.0], distance, jitter)
    if (depth > 0).all():
        assert (draw_lines(EMPTY, depth, normals, K) == 255).all()


def test_an_endless_floor_has_only_the_horizon_line():
    depth, normals = plane([0.0, -1.0, 0.0], 1.0)
    lines = draw_lines(EMPTY, depth, normals, K)
    assert (lines[: SIDE // 2 - 2] == 255).all() and (lines[SIDE // 2 + 2 :] == 255).all()


@pytest.mark.parametrize(("row", "drawn"), [(1, False), (12, True)])
def test_a_floor_that_ends_just_below_the_border_leaves_no_dashes(row: int, drawn: bool):
    """Its far edge is oblique, so there is background only in one corner."""
    depth, normals = plane([0.0, -1.0, -1.0], 1.0)
    beyond = np.add.outer(np.arange(SIDE), np.arange(SIDE) // 40) < row
    assert (depth > 0).all()
    depth[beyond], normals[beyond] = 0, 0
    lines = draw_lines(EMPTY, depth, normals, K)
    assert (lines < 128).any() == drawn


def test_a_wall_meets_the_floor_in_one_faint_thin_line():
    depth, normals = nearest(plane([0.0, -1.0, 0.0], 0.5), plane([0.0, 0.0, -1.0], 3.0))
    lines = draw_lines(EMPTY, depth, normals, K)
    edge = round(K[1, 2] + K[1, 1] * 0.5 / 3.0)
    inked = np.flatnonzero((lines < 200).all(axis=1))
    assert set(inked.tolist()) <= {edge - 2, edge - 1, edge, edge + 1} and 1 <= len(inked) <= 2
    assert 40 < lines.min() < 160
    assert (lines[: edge - 3] == 255).all() and (lines[edge + 3 :] == 255).all()


def test_a_card_in_front_of_a_parallel_wall_is_outlined():
    depth, normals = plane([0.0, 0.0, -1.0], 3.0)
    depth[20:40, 10:50] = 2.7
    lines = draw_lines(EMPTY, depth, normals, K)
    assert (lines[19:21, 12:48].min(axis=0) < 100).all() and (lines[22:38, 12:48] == 255).all()
    assert (lines[:17] == 255).all() and (lines[43:] == 255).all()


def test_a_sphere_has_an_outline_and_nothing_inside():
    d = rays()
    center, radius = np.array([0.0, 0.0, 3.0]), 0.8
    b, dd = d @ center, (d**2).sum(axis=2)
    root = b**2 - dd * (center @ center - radius**2)
    hit = root > 0
    z = np.where(hit, (b - np.sqrt(np.maximum(root, 0))) / dd, 0).astype(np.float32)
    normals = np.where(hit[..., None], (d * z[..., None] - center) / radius, 0).astype(np.float32)
    wall = plane([0.0, 0.0, -1.0], 6.0)
    depth, normals = nearest((z, normals), wall)
    lines = draw_lines(hit.astype(np.uint8), depth, normals, K)
    across = lines[SIDE // 2]
    left = int(np.flatnonzero(hit[SIDE // 2])[0])
    assert across[left - 1 : left + 1].min() < 60
    assert (across[left + 4 : SIDE - left - 4] == 255).all() and (across[: left - 3] == 255).all()


def test_masks_without_depth_give_their_borders():
    labels = EMPTY.copy()
    labels[10:30, 10:30], labels[20:40, 25:50] = 1, 2
    lines = draw_lines(labels)
    assert lines.dtype == np.uint8 and lines.shape == labels.shape
    assert lines[9:11, 15:20].max() < 100 and lines[25, 24] < 100 and (lines[12:18, 12:28] == 255).all()
    assert (draw_lines(EMPTY) == 255).all()


def test_lines_are_antialiased_and_reach_the_frame():
    rows, columns = np.mgrid[:SIDE, :SIDE]
    lines = draw_lines((rows > 0.4 * columns + 10).astype(np.uint8))
    assert len(np.unique(lines)) > 5 and lines[:, 0].min() < 120 and lines[:, -1].min() < 120
    widths = (lines < 128).sum(axis=0)
    assert widths.max() <= 3 and widths.min() >= 1


@pytest.mark.parametrize("count", [1, 3])
def test_specks_are_left_out(count):
    depth, normals = plane([0.0, 0.0, -1.0], 3.0)
    for k in range(count):
        depth[10 + 12 * k, 30] = 2.0
    assert (draw_lines(EMPTY, depth, normals, K) == 255).all()
