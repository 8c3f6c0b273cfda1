"""Edits of one scene, and the edits between their targets, compared with the poses of the objects."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from spatialdata_builder.shards.geometry import wrap_degrees
from spatialdata_builder.shards.schema import EditKind
from spatialdata_builder.sources.edits.composition import composed
from spatialdata_builder.sources.edits.groups import Proposal, alike, propose_group, without
from spatialdata_builder.sources.edits.proposals import Rejection
from spatialdata_builder.sources.edits.registry import composed_kind
from spatialdata_builder.sources.scenes.rotations import VIEWS
from spatialdata_builder.sources.scenes.spec import EditSpec, SceneOptions, SceneSpec
from tests.sources.edits.test_inverse import orbit, pivot_of
from tests.sources.furniture import furniture
from tests.sources.pool import synthetic_pool

POOL = synthetic_pool(32)
STATES = ("source", "target")
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
    valid = [two(proposal) for proposal in found if not isinstance(proposal, Rejection)]
    assert len(valid) > 0.4 * len(found)
    return valid


def two(proposal: Proposal) -> tuple[SceneSpec, SceneSpec]:
    first, second = proposal.specs
    assert isinstance(first, SceneSpec) and isinstance(second, SceneSpec)
    return first, second


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


SIXES: tuple[tuple[EditKind, ...], ...] = (
    ("translate", "translate", "translate", "insert", "insert", "insert"),
    ("camera", "camera", "camera", "remove", "rotate", "rotate"),
    ("scale", "scale", "remove", "translate", "translate", "swap"),
    ("insert", "insert", "insert", "insert", "insert", "insert"),
)


@cache
def families(kinds: tuple[EditKind, ...], view: str) -> list[list[SceneSpec | str]]:
    options, pool = SceneOptions(kinds={view: 1}), POOL if view == "open" else []
    pieces = None if view == "open" else furniture()
    found = [propose_group(pool, kinds, options, (512, 512), seed, 0, pieces) for seed in range(6)]
    return [
        [spec if isinstance(spec, str) else without(spec, proposal.inserted) for spec in proposal.specs]
        for proposal in found
        if not isinstance(proposal, Rejection)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("view", ["open", "room"])
@pytest.mark.parametrize("kinds", SIXES)
def test_six_edits_of_one_scene(kinds: tuple[EditKind, ...], view: str):
    """All start from one source. Edits of a group change the same objects, those of two groups never do."""
    possible = 0
    for specs in families(kinds, view):
        shown = {turn: spec for turn, spec in enumerate(specs) if isinstance(spec, SceneSpec)}
        possible += len(shown)
        source: dict[int, object] = {}
        for turn, spec in shown.items():
            assert spec.edit.kind == kinds[turn]
            assert set(spec.source.placements) == set(spec.target.placements) == {one.id for one in spec.objects}
            there = {id: place for id, place in spec.source.placements.items() if place.present}
            assert all(source.setdefault(id, place) == place for id, place in there.items())
        inserted = {id for spec in shown.values() if spec.edit.kind == "insert" for id in spec.edit.edited}
        assert not inserted & set(source)
        for turn, spec in shown.items():
            # What another group inserts is in neither image, and nothing stands on it.
            assert not (inserted - {*spec.edit.edited}) & set(spec.source.placements)
            for state in (spec.source, spec.target):
                standing = {place.standing.object for place in state.placements.values() if place.standing}
                assert standing <= set(state.placements)
            for other, second in shown.items():
                if turn // 3 != other // 3:
                    assert not {*spec.edit.edited} & {*second.edit.edited}
                elif turn < other and (kind := composed_kind(kinds[turn], kinds[other])):
                    between = composed(spec, second)
                    assert between.edit.kind == kind
                    assert {id: place for id, place in between.source.placements.items() if place.present} == {
                        id: place for id, place in spec.target.placements.items() if place.present
                    }
                    if kind == "translate":
                        before, after = (getattr(between, state).placements[spec.edit.object] for state in STATES)
                        step = np.array([after.x - before.x, after.y - before.y, after.z - before.z])
                        np.testing.assert_allclose(between.edit.translation, step, atol=2e-6)
                        assert np.linalg.norm(step) > 0.02
    assert possible >= 20


def test_edits_of_a_group_are_not_nearly_equal():
    right, farther = (EditSpec("translate", 1, translation=(x, 0.0, 0.0)) for x in (0.5, 0.55))
    assert alike(right, farther)
    assert not alike(right, replace(farther, translation=(0.7, 0.0, 0.0)))
    assert not alike(right, replace(right, translation=(-0.5, 0.0, 0.0)))
    assert alike(EditSpec("rotate", 1, rotation_deg=179.0), EditSpec("rotate", 1, rotation_deg=-177.0))
    assert not alike(EditSpec("scale", 1, scale=0.5), EditSpec("scale", 1, scale=0.6))
    assert not alike(EditSpec("insert", 1), EditSpec("insert", 1))


@pytest.mark.parametrize("kinds", SIXES)
def test_proposals_of_six_edits_are_pure(kinds: tuple[EditKind, ...]):
    one, other = (propose_group(POOL, kinds, SceneOptions(), (512, 512), 3, 1) for _ in range(2))
    assert one == other
