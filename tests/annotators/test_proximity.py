"""The definitions of next to, between, against the wall and in the corner, recomputed with shapely."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialdata_builder.annotators.proximity import (
    FAILS,
    HOLDS,
    against_wall,
    between,
    distance,
    in_corner,
    next_to,
    outline,
    overlap_share,
    width,
)
from spatialdata_builder.shards.geometry import F64, box_corners, similarity, tilted_similarity, transform

SEEDS = st.integers(0, 2**31)
MANY = settings(max_examples=200, deadline=None)
ROOM = (4.0, 3.0, 2.5)


def box(x: float, y: float, w: float = 0.4, d: float = 0.2, yaw: float = 0.0) -> F64:
    return outline(similarity(x, y, 0, yaw), np.array([w, d, 1.0]))


def some(rng: np.random.Generator, spread: float = 1.0) -> F64:
    x, y = rng.uniform(-spread, spread, 2)
    return box(x, y, *rng.uniform(0.05, 0.8, 2), yaw=rng.uniform(0, 360))


def test_outline_of_a_tilted_object_is_the_smallest_rectangle_around_its_box():
    rng = np.random.default_rng(0)
    for _ in range(50):
        size, yaw = rng.uniform(0.05, 0.8, 3), float(rng.uniform(0, 360))
        pose = tilted_similarity(0.3, 0.2, 0.1, yaw, rng.uniform(-120, 120, 2))
        hull = shapely.multipoints(transform(pose, box_corners(size))[:, :2])
        found = shapely.Polygon(outline(pose, size))
        assert found.exterior.is_ccw and found.buffer(1e-9).contains(hull)
        assert found.area == pytest.approx(shapely.minimum_rotated_rectangle(hull).area)


def test_what_leans_on_a_wall_is_against_it():
    """A board of 1.5 m, whose lower edge is 31 cm from the wall."""
    size, lean = np.array([0.3, 0.02, 1.5]), 12.0
    away = float(1.5 * np.sin(np.deg2rad(lean)) + 0.01 * np.cos(np.deg2rad(lean)))
    for turn in (0.0, 8.0, 20.0):
        pose = tilted_similarity(0.0, 1.5 - away, 0.0, turn, (-lean, 0.0))
        miss, wall = against_wall(outline(pose, size), ROOM, None, ())
        assert (miss <= HOLDS) == (turn <= 8.0) and wall.tolist() == [0.0, 1.0]


@pytest.mark.slow
@MANY
@given(SEEDS)
def test_distances_are_those_of_shapely(seed):
    rng = np.random.default_rng(seed)
    a, b = some(rng), some(rng)
    assert distance(a, b) == pytest.approx(shapely.Polygon(a).distance(shapely.Polygon(b)), abs=1e-9)
    line = rng.uniform(-1, 1, (2, 2))
    assert distance(line, b) == pytest.approx(shapely.LineString(line).distance(shapely.Polygon(b)), abs=1e-9)
    share = shapely.Polygon(a).intersection(shapely.Polygon(b)).area / shapely.Polygon(a).area
    assert overlap_share(a, b) == pytest.approx(share, abs=0.12)


@pytest.mark.slow
@MANY
@given(SEEDS)
def test_next_to(seed):
    rng = np.random.default_rng(seed)
    a, b, other = some(rng), some(rng), some(rng)
    first, second, third = (shapely.Polygon(one) for one in (a, b, other))
    free = first.distance(second)
    limit = 0.75 * min(np.ptp(one @ _axis(one)) for one in (a, b))
    blocked = shapely.LineString([first.centroid, second.centroid]).intersects(third)
    assert (next_to(a, b, [other]) <= HOLDS) == (0 < free <= limit and not blocked)
    assert (next_to(a, b, []) > FAILS) == (free > 2 * limit)


def _axis(a: F64) -> F64:
    edges = np.roll(a, -1, axis=0) - a
    longest = edges[int(np.argmax(np.linalg.norm(edges, axis=1)))]
    assert width(a) == pytest.approx(np.linalg.norm(longest))
    return longest / np.linalg.norm(longest)


@pytest.mark.slow
@MANY
@given(SEEDS)
def test_between(seed):
    rng = np.random.default_rng(seed)
    b, c, other = box(-1, 0), box(1, rng.uniform(-0.5, 0.5)), some(rng)
    middle = (b.mean(axis=0) + c.mean(axis=0)) / 2 + rng.normal(0, 0.2, 2)
    a = box(*middle, yaw=rng.uniform(0, 360))
    line = shapely.LineString([b.mean(axis=0), c.mean(axis=0)])
    along = line.project(shapely.Point(middle)) / line.length
    aside = line.distance(shapely.Point(middle))
    free = not line.buffer(0.2, cap_style="flat").intersects(shapely.Polygon(other))
    assert (between(a, b, c, [other]) <= HOLDS) == (0.25 <= along <= 0.75 and aside <= 0.2 and free)
    assert between(a, b, c, []) == pytest.approx(between(a, c, b, []))


@pytest.mark.slow
@MANY
@given(SEEDS)
def test_against_the_wall_and_in_the_corner(seed):
    rng = np.random.default_rng(seed)
    axis, sign = int(rng.integers(2)), float(rng.choice([-1, 1]))
    tilt, square = float(rng.normal(0, 8)), 90 * int(rng.integers(4))
    a = box(0, 0, yaw=square + tilt)
    gaps = rng.uniform(0, (0.1, 0.8))
    wall = np.eye(2)[axis] * sign
    spot = np.zeros(2)
    spot[axis] = sign * (ROOM[axis] / 2 - gaps[0]) - (a @ wall).max() * sign
    side = 1 - axis
    spot[side] = ROOM[side] / 2 - gaps[1] - a[:, side].max()
    placed = a + spot
    miss, normal = against_wall(placed, ROOM, None, ())
    if gaps[1] > 0.2:
        assert (miss <= HOLDS) == (gaps[0] <= 0.06 and abs(tilt) <= 10)
        assert miss > HOLDS or np.array_equal(normal, wall)
        assert (miss > FAILS) == (gaps[0] > 0.12 or abs(tilt) > 20)
    corner_miss, corner = in_corner(placed, ROOM, ())
    assert (corner_miss <= HOLDS) == (gaps.max() <= 0.3)
    assert np.abs(corner).tolist() == [2.0, 1.5] and corner[axis] * sign > 0


def test_only_the_back_is_against_the_wall():
    a = box(0, 1.5 - 0.1 - 0.02)  # at the +y wall
    assert against_wall(a, ROOM, 90.0, ())[0] <= HOLDS
    for front in (0.0, 180.0, 270.0):
        assert against_wall(a, ROOM, front, ())[0] > FAILS


def test_nothing_stands_between_an_object_and_its_wall_or_corner():
    a = box(0, 1.5 - 0.1 - 0.055)
    thin = box(0, 1.475, 0.3, 0.03)
    assert against_wall(a, ROOM, None, [thin])[0] == 1.5
    b = box(2 - 0.2 - 0.25, 1.5 - 0.1 - 0.25)
    assert in_corner(b, ROOM, ())[0] <= HOLDS
    assert in_corner(b, ROOM, [box(1.88, 1.38, 0.1, 0.1)])[0] == 1.5
