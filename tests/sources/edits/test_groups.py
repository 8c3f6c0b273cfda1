"""Two edits of one scene, and the edit between their targets, compared with the poses of the objects."""

from functools import cache

import numpy as np
import pytest

from spatialdata_builder.shards.geometry import wrap_degrees
from spatialdata_builder.shards.schema import EditKind
from spatialdata_builder.sources.edits.composition import composed
from spatialdata_builder.sources.edits.groups import propose_group
from spatialdata_builder.sources.edits.proposals import Rejection
from spatialdata_builder.sources.edits.registry import composed_kind
from spatialdata_builder.sources.scenes.rotations import VIEWS
from spatialdata_builder.sources.scenes.spec import SceneOptions, SceneSpec
from tests.sources.edits.test_inverse import orbit, pivot_of
from tests.sources.pool import synthetic_pool

POOL = synthetic_pool(32)
TWOS: tuple[tuple[EditKind, EditKind], ...] = (
    ("translate", "translate"),
    ("rotate", "rotate"),
    ("scale", "scale"),
    ("camera", "camera"),
    ("insert", "insert"),
    ("remove", "translate"),
    ("remove", "rotate"),
    ("scale", "remove"),
    ("translate", "remove"),
)


@cache
def proposals(kinds: tuple[EditKind, EditKind]) -> list[tuple[SceneSpec, SceneSpec]]:
    found = [propose_group(POOL, kinds, SceneOptions(), (512, 512), seed, a) for seed in range(5) for a in range(5)]
    valid = [specs for specs in found if not isinstance(specs, Rejection)]
    assert len(valid) > 0.4 * len(found)
    return valid


def pose(spec: SceneSpec, state: str) -> tuple[np.ndarray, float, float, bool]:
    place = getattr(spec, state).placements[spec.edit.object]
    return np.array([place.x, place.y, place.z]), place.yaw_deg, place.scale, place.present


@pytest.mark.slow
@pytest.mark.parametrize("kinds", TWOS)
def test_two_edits_of_one_object_have_one_source(kinds: tuple[EditKind, EditKind]):
    for first, second in proposals(kinds):
        assert (first.edit.kind, second.edit.kind) == kinds
        assert first.edit.object == second.edit.object
        assert (first.objects, first.walls, first.light, first.seed) == (
            second.objects,
            second.walls,
            second.light,
            second.seed,
        )
        assert first.source.camera == second.source.camera
        assert first.target != second.target
        for identity, place in first.source.placements.items():
            if identity != first.edit.object or kinds[0] != "insert":
                assert place == second.source.placements[identity]
            else:
                assert not place.present and not second.source.placements[identity].present


@pytest.mark.parametrize("kinds", TWOS)
def test_the_composed_edit_leads_from_one_target_to_the_other(kinds: tuple[EditKind, EditKind]):
    views = 0
    for first, second in proposals(kinds):
        spec = composed(first, second)
        edit = spec.edit
        assert edit.kind == composed_kind(*kinds)
        assert spec.source.camera == first.target.camera and spec.target.camera == second.target.camera
        for identity, place in first.target.placements.items():
            if identity != edit.object:
                assert spec.source.placements[identity] == spec.target.placements[identity] == place
        if edit.kind == "camera":
            pivot = pivot_of(first)
            start, end = orbit(spec.source.camera, pivot), orbit(spec.target.camera, pivot)
            assert abs(wrap_degrees(start[0] + edit.yaw_deg - end[0])) < 1e-3
            assert start[1] + edit.pitch_deg == pytest.approx(end[1], abs=1e-3)
            assert start[2] / edit.zoom == pytest.approx(end[2], rel=1e-4)
            assert edit.yaw_deg or edit.pitch_deg or edit.zoom != 1
            continue
        before, after = pose(spec, "source"), pose(spec, "target")
        assert (before[3], after[3]) == (edit.kind != "insert", edit.kind != "remove")
        if edit.kind in ("insert", "remove"):
            present = second if edit.kind == "insert" else first
            shown = spec.target if edit.kind == "insert" else spec.source
            assert shown.placements[edit.object] == present.target.placements[edit.object]
            continue
        np.testing.assert_allclose(before[0] + edit.translation, after[0], atol=2e-6)
        assert abs(wrap_degrees(before[1] + edit.rotation_deg - after[1])) < 1e-5
        assert before[2] * edit.scale == pytest.approx(after[2], rel=1e-5)
        assert edit.view == "" or (edit.kind == "rotate" and edit.view in VIEWS)
        if second.edit.view:
            assert edit.view == second.edit.view
            views += 1
    assert views > 3 or kinds != ("rotate", "rotate")


def test_what_no_single_edit_does_is_not_composed():
    assert composed_kind("remove", "remove") is None
    assert composed_kind("translate", "rotate") is None
    assert composed_kind("camera", "remove") is None
    moved, turned = proposals(("translate", "translate"))[0][0], proposals(("rotate", "rotate"))[0][0]
    with pytest.raises(ValueError, match="no single edit leads from the target of a translate to that of a rotate"):
        composed(moved, turned)


@pytest.mark.parametrize("kinds", TWOS)
def test_proposals_are_pure(kinds: tuple[EditKind, EditKind]):
    for attempt in range(3):
        one, other = (propose_group(POOL, kinds, SceneOptions(), (512, 512), 3, attempt) for _ in range(2))
        assert one == other
