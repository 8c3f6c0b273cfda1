"""Sampled floors and walls are plain values, rounded, reproducible, and of materials of real rooms."""

from dataclasses import asdict
from typing import get_args

import numpy as np
import pytest

from spatialdata_builder.sources.scenes.surfaces import Role, sample_surface
from spatialdata_builder.sources.scenes.values import SurfaceKind


@pytest.mark.parametrize("role", get_args(Role))
def test_same_seed_same_surface(role: Role):
    first = [sample_surface(np.random.default_rng(seed), role) for seed in range(20)]
    assert first == [sample_surface(np.random.default_rng(seed), role) for seed in range(20)]
    assert len(set(first)) == 20


@pytest.mark.parametrize("role", get_args(Role))
def test_numbers_are_rounded_and_physical(role: Role):
    rng = np.random.default_rng(0)
    for _ in range(300):
        surface = sample_surface(rng, role)
        numbers = [*surface.colour, *surface.accent, surface.scale_m, surface.rotation_deg, surface.roughness]
        assert all(type(x) is float and round(x, 6) == x for x in numbers)
        assert all(0.02 <= x <= 0.85 for x in (*surface.colour, *surface.accent))
        assert 0.003 < surface.scale_m < 1.5
        assert 0 < surface.roughness <= 1
        assert type(surface.seed) is int
        assert type(asdict(surface)["colour"]) is tuple


@pytest.mark.slow
def test_kinds_fit_their_role():
    rng = np.random.default_rng(1)
    kinds = {role: {sample_surface(rng, role).kind for _ in range(300)} for role in get_args(Role)}
    assert set().union(*kinds.values()) == set(get_args(SurfaceKind))
    assert not kinds["floor"] & {"plaster", "paint", "wallpaper"}
    assert not (kinds["wall"] | kinds["room wall"]) & {"grass", "carpet"}
    assert not kinds["room floor"] & {"grass", "brick"}


def test_patterns_of_walls_stay_vertical():
    rng = np.random.default_rng(2)
    assert all(sample_surface(rng, "wall").rotation_deg in (0.0, 45.0, 90.0) for _ in range(200))
