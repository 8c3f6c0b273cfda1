"""Edits: their numbers agree with the poses, their views with the camera, and every rejection has a reason."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from spatialdata_builder.shards.schema import EDIT_KINDS
from spatialdata_builder.sources.edits.inverse import inverted
from spatialdata_builder.sources.edits.judge import judge
from spatialdata_builder.sources.edits.limits import Limits
from spatialdata_builder.sources.edits.proposals import Rejection, propose
from spatialdata_builder.sources.scenes.rotations import ANGLES, VIEWS, free_turns
from spatialdata_builder.sources.scenes.spec import Placement, SceneOptions, SceneSpec
from tests.sources.pool import ground, seen_at, synthetic_pool

POOL = synthetic_pool(32)


@cache
def proposal(kind, seed, attempt):
    return propose(POOL, kind, SceneOptions(), (512, 512), seed, attempt)


def proposals(kind, seeds=range(16)):
    found = [proposal(kind, seed, attempt) for seed in seeds for attempt in range(5)]
    return [spec for spec in found if isinstance(spec, SceneSpec)]


def edited(spec: SceneSpec):
    """The edited object, and its placements before and after."""
    (placed,) = [placed for placed in spec.objects if placed.id == spec.edit.object]
    return placed, spec.source.placements[placed.id], spec.target.placements[placed.id]


def matrices(spec: SceneSpec):
    return [np.array(state.camera.world_from_camera).reshape(4, 4) for state in (spec.source, spec.target)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_nothing_but_the_edit_changes(kind):
    neutral = {"translation": (0.0, 0.0, 0.0), "rotation_deg": 0.0, "view": "", "scale": 1.0}
    neutral |= {"yaw_deg": 0.0, "pitch_deg": 0.0, "zoom": 1.0}
    uses = {"translate": {"translation"}, "rotate": {"rotation_deg", "view"}, "scale": {"scale"}}
    uses |= {"swap": {"translation"}, "camera": {"yaw_deg", "pitch_deg", "zoom"}}
    for spec in proposals(kind):
        assert spec.edit.kind == kind
        assert (spec.edit.edited == ()) == (kind == "camera")
        assert (spec.source.camera == spec.target.camera) == (kind != "camera")
        for placed in spec.objects:
            if placed.id not in spec.edit.edited:
                assert spec.source.placements[placed.id] == spec.target.placements[placed.id]
                assert spec.source.placements[placed.id].present
        for name in neutral.keys() - uses.get(kind, set()):
            assert getattr(spec.edit, name) == neutral[name]


@pytest.mark.slow
def test_translations_are_the_difference_of_the_places():
    lifted = occluded = 0
    for spec in proposals("translate", range(24)):
        _, before, after = edited(spec)
        difference = np.subtract((after.x, after.y, after.z), (before.x, before.y, before.z))
        assert spec.edit.translation == pytest.approx(difference, abs=1e-6)
        assert replace(after, x=before.x, y=before.y, z=before.z) == before
        start, end = (seen_at((p.x, p.y, p.z), spec.source.camera) for p in (before, after))
        assert np.hypot(end[0] - start[0], end[1] - start[1]) > 0.04 * 512
        lifted += after.z > 0
        occluded += spec.edit.allows_occlusion
    assert lifted > 3 and occluded > lifted


@pytest.mark.slow
def test_rotations_are_the_difference_of_the_yaws():
    seen = set()
    for spec in proposals("rotate"):
        placed, before, after = edited(spec)
        angle = (after.yaw_deg - before.yaw_deg + 180) % 360 - 180
        assert np.cos(np.radians(angle - spec.edit.rotation_deg)) == pytest.approx(1, abs=1e-9)
        assert replace(after, yaw_deg=before.yaw_deg) == before
        assert 25 <= abs(spec.edit.rotation_deg) <= 180 and placed.asset.rotatable
        if spec.edit.view:
            assert placed.asset.front_deg is not None
            seen.add(spec.edit.view)
        else:
            assert spec.edit.rotation_deg % 15 == 0 and abs(spec.edit.rotation_deg) >= 30
    assert seen == set(VIEWS)


@pytest.mark.parametrize("folds", [2, 3, 4, 5, 6])
def test_symmetric_objects_rotate_by_visible_angles(folds):
    pool = [replace(asset, symmetry=folds) for asset in POOL]
    specs = [propose(pool, "rotate", SceneOptions(), (512, 512), seed, 0) for seed in range(16)]
    rotations = {(bool(spec.edit.view), spec.edit.rotation_deg) for spec in specs if isinstance(spec, SceneSpec)}
    rest = np.array([angle for _, angle in rotations]) % (360 / folds)
    assert np.minimum(rest, 360 / folds - rest).min() > 20
    assert {named for named, _ in rotations} == {False, True}


def test_objects_that_look_the_same_after_every_rotation_are_not_rotated():
    pool = [replace(asset, symmetry=8) for asset in POOL]
    assert propose(pool, "rotate", SceneOptions(), (512, 512), 0, 0) == Rejection("nothing_rotatable")
    one = replace(POOL[0], symmetry=4, rotatable=True)
    assert 45.0 in free_turns(one) and not {90.0, -90.0, 180.0, 75.0} & {*free_turns(one)}
    assert free_turns(replace(one, symmetry=1)) == ANGLES


def test_a_canonical_view_shows_the_side_that_it_names():
    for spec in proposals("rotate", range(24)):
        placed, _, after = edited(spec)
        if not spec.edit.view:
            continue
        assert placed.asset.front_deg is not None
        angle = np.radians(after.yaw_deg + placed.asset.front_deg)
        front = np.array([np.cos(angle), np.sin(angle)])
        # The right side is 90 degrees clockwise from `front`, seen from above.
        right = np.array([front[1], -front[0]])
        viewer = matrices(spec)[1][:2, 3] - (after.x, after.y)
        viewer /= np.linalg.norm(viewer)
        words = spec.edit.view.removeprefix("the ").removesuffix(" view.").replace(" side", "").split()
        expected = sum((front if w == "front" else -front for w in words if w in ("front", "rear")), np.zeros(2))
        expected += sum((right if w == "right" else -right for w in words if w in ("left", "right")), np.zeros(2))
        assert viewer == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def test_in_the_front_view_the_object_s_right_is_on_the_viewer_s_left():
    for spec in proposals("rotate", range(24)):
        placed, _, after = edited(spec)
        if spec.edit.view == "the front view.":
            assert placed.asset.front_deg is not None
            angle = np.radians(after.yaw_deg + placed.asset.front_deg - 90)
            reach = 0.2 * max(placed.asset.size_m)
            own_right = seen_at(
                (after.x + reach * np.cos(angle), after.y + reach * np.sin(angle), 0), spec.target.camera
            )
            assert own_right[0] < seen_at((after.x, after.y, 0), spec.target.camera)[0]


LEANING = [replace(asset, contact=(0.31 * asset.size_m[0], -0.22 * asset.size_m[1])) for asset in POOL]
"""Objects whose contact center is not the middle of their box."""


@pytest.mark.parametrize("kind", ["rotate", "scale"])
def test_the_contact_center_of_an_object_stays_where_it_is(kind):
    """Computed by trigonometry; the rest of the object moves around it."""
    specs = [propose(LEANING, kind, SceneOptions(), (512, 512), seed, 0) for seed in range(24)]
    found = [spec for spec in specs if isinstance(spec, SceneSpec)]
    assert len(found) > 12
    for spec in found:
        placed, *ends = edited(spec)
        (u, v), spots = placed.asset.contact, []
        for place in ends:
            c, s = np.cos(np.radians(place.yaw_deg)), np.sin(np.radians(place.yaw_deg))
            spots.append((place.x + place.scale * (c * u - s * v), place.y + place.scale * (s * u + c * v)))
        assert spots[1] == pytest.approx(spots[0], abs=3e-6)
        assert np.hypot(ends[1].x - ends[0].x, ends[1].y - ends[0].y) > 0.05 * placed.asset.size_m[0]
        assert ends[0].z == ends[1].z
        back = inverted(spec)
        assert isinstance(back, str) or edited(back)[1:] == (ends[1], ends[0])


def test_views_of_objects_whose_origin_moves_are_exact():
    """A rotation moves the origin, and with it the direction of the camera; the named view is still exact."""
    seen = 0
    for seed in range(24):
        spec = propose(LEANING, "rotate", SceneOptions(), (512, 512), seed, 0)
        if isinstance(spec, SceneSpec) and spec.edit.view:
            placed, _, after = edited(spec)
            assert placed.asset.front_deg is not None
            x, y = matrices(spec)[1][:2, 3] - (after.x, after.y)
            bearing = np.degrees(np.arctan2(y, x)) - after.yaw_deg - placed.asset.front_deg
            assert (bearing - VIEWS[spec.edit.view] + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)
            seen += 1
    assert seen > 5


@pytest.mark.slow
def test_scaled_objects_stay_where_they_stand():
    for spec in proposals("scale"):
        _, before, after = edited(spec)
        assert after.scale / before.scale == pytest.approx(spec.edit.scale)
        assert 0.5 <= spec.edit.scale <= 0.75 or 1.3 <= spec.edit.scale <= 1.8
        assert replace(after, scale=before.scale) == before


@pytest.mark.slow
def test_removed_and_inserted_objects_are_in_one_image_only():
    for kind in ("remove", "insert"):
        for spec in proposals(kind):
            _, before, after = edited(spec)
            assert (before.present, after.present) == (kind == "remove", kind == "insert")
            assert replace(before, present=True) == replace(after, present=True)
    assert len({edited(spec)[2] for spec in proposals("insert", [3])}) > 2


@pytest.mark.slow
def test_camera_edits_orbit_by_their_numbers():
    kinds = set()
    for spec in proposals("camera", range(24)):
        before, after = matrices(spec)
        # The camera looks at the pivot, so its axis gives its azimuth and elevation.
        azimuths = [np.degrees(np.arctan2(-pose[1, 2], -pose[0, 2])) for pose in (before, after)]
        elevations = [np.degrees(np.arcsin(-pose[2, 2])) for pose in (before, after)]
        assert (azimuths[1] - azimuths[0] - spec.edit.yaw_deg + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)
        assert elevations[1] - elevations[0] == pytest.approx(spec.edit.pitch_deg, abs=1e-3)
        assert after[2, 0] == pytest.approx(0, abs=1e-6), "the horizon is level"
        assert spec.edit.yaw_deg % 45 == 0 and spec.edit.pitch_deg % 15 == 0
        turned = bool(spec.edit.yaw_deg or spec.edit.pitch_deg)
        if turned:
            pivot = np.linalg.lstsq(
                np.stack([before[:3, 2], -after[:3, 2]], axis=1), after[:3, 3] - before[:3, 3], rcond=None
            )[0]
            assert before[:3, 3] + pivot[0] * before[:3, 2] == pytest.approx(
                after[:3, 3] + pivot[1] * after[:3, 2], abs=1e-4 * pivot[0]
            )
            assert pivot[0] / pivot[1] == pytest.approx(spec.edit.zoom, rel=1e-3)
        else:
            # Along the axis, at the distance that the zoom implies, is the group.
            step = (after[:3, 3] - before[:3, 3]) @ before[:3, 2]
            assert after[:3, 3] - before[:3, 3] == pytest.approx(step * before[:3, 2], abs=1e-4 * abs(step))
            pivot_at = before[:2, 3] + step / (1 - 1 / spec.edit.zoom) * before[:2, 2]
            spots = np.array([(p.x, p.y) for p in spec.source.placements.values()])
            reach = max(max(placed.asset.size_m) for placed in spec.objects)
            assert np.linalg.norm(pivot_at - spots, axis=1).min() < np.ptp(spots, axis=0).max() + reach
        kinds.add((bool(spec.edit.yaw_deg), bool(spec.edit.pitch_deg), spec.edit.zoom != 1))
    assert len(kinds) == 6, "one or two of yaw, pitch and zoom"


def test_a_positive_yaw_moves_the_camera_to_the_viewer_s_right_and_a_positive_pitch_up():
    for spec in proposals("camera", range(24)):
        before, after = matrices(spec)
        step = after[:3, 3] - before[:3, 3]
        if 0 < abs(spec.edit.yaw_deg) < 180:
            assert np.sign(step @ before[:3, 0]) == np.sign(spec.edit.yaw_deg)
        if spec.edit.pitch_deg and spec.edit.zoom == 1:
            assert np.sign(step[2]) == np.sign(spec.edit.pitch_deg)
        if not spec.edit.yaw_deg and not spec.edit.pitch_deg:
            assert np.sign(step @ before[:3, 2]) == np.sign(spec.edit.zoom - 1)


@dataclass(frozen=True)
class Seen:
    own_px: float = 0.05 * 512 * 512
    visible: float = 1.0
    in_frame: float = 1.0


def verdict(kind="remove", source=None, target=None, spec=None, limits=None):
    """The verdict if everything is visible, except for `source` and `target`: values for "edited" and "other"."""
    spec = spec or proposals(kind, [1])[0]
    views = []
    for state, given in ((spec.source, source or {}), (spec.target, target or {})):
        view = {}
        for identity, place in state.placements.items():
            fields = given.get("edited" if identity == spec.edit.object else "other", {})
            view[identity] = Seen(**fields) if place.present else Seen(0.0, 0.0, 0.0)
        views.append(view)
    return judge(spec, views[0], views[1], limits)


def test_visible_edits_are_accepted():
    for kind in EDIT_KINDS:
        target = {"edited": {"own_px": 0.1 * 512 * 512}} if kind == "scale" else None
        assert verdict(kind, target=target) is None


@pytest.mark.parametrize(
    ("kind", "source", "target", "reason"),
    [
        ("remove", {"edited": {"visible": 0.3}}, {}, "hidden"),
        ("remove", {"edited": {"in_frame": 0.8}}, {}, "out_of_frame"),
        ("remove", {"edited": {"own_px": 0.01 * 512 * 512}}, {}, "too_small"),
        ("remove", {"edited": {"own_px": 0.5 * 512 * 512}}, {}, "too_large"),
        ("remove", {"other": {"visible": 0.05}}, {"other": {"visible": 0.5}}, "other_hidden"),
        ("insert", {}, {"other": {"visible": 0.05}}, "occludes"),
        ("scale", {}, {}, "moved_too_little"),
        ("scale", {}, {"edited": {"own_px": 0.01 * 512 * 512}}, "too_small"),
        ("camera", {}, {"other": {"in_frame": 0.5}}, "out_of_frame"),
        ("camera", {}, {"other": {"visible": 0.2}}, "hidden"),
        ("camera", {}, {"other": {"own_px": 0.005 * 512 * 512}}, "too_small"),
        ("camera", {}, {"other": {"own_px": 0.6 * 512 * 512}}, "too_large"),
        ("camera", {"other": {"visible": 0.0}}, {}, "other_hidden"),
        # At least a fifth of any object is neither hidden nor outside the frame.
        ("remove", {"other": {"visible": 0.4, "in_frame": 0.4}}, {}, "other_hidden"),
        ("translate", {}, {"other": {"visible": 0.15}}, "occludes"),
    ],
)
def test_hardly_visible_edits_are_rejected_with_a_reason(kind, source, target, reason):
    assert verdict(kind, source, target) == reason


@pytest.mark.parametrize(
    ("seen", "reason"),
    [({"in_frame": 0.1}, "sliver"), ({"visible": 0.1}, "sliver"), ({"in_frame": 0.0}, None), ({"in_frame": 0.3}, None)],
)
def test_a_camera_cuts_no_object_to_a_sliver(seen, reason):
    """An object may leave the frame, but only completely."""
    spec = next(s for s in proposals("camera", range(24)) if len(s.objects) >= 4)
    whole = {placed.id: Seen() for placed in spec.objects}
    assert judge(spec, whole, whole | {spec.objects[0].id: Seen(**seen)}) == reason


def nudged(kind: str, **change: float) -> SceneSpec:
    """A proposal whose target differs from its source only by `change`."""
    spec = next(s for s in proposals(kind) if not s.edit.allows_occlusion)
    placements = dict(spec.source.placements)
    place: Placement = placements[spec.edit.object]
    placements[spec.edit.object] = replace(place, **{name: getattr(place, name) + by for name, by in change.items()})
    return replace(spec, target=replace(spec.target, placements=placements))


def test_translations_and_rotations_that_cannot_be_seen_are_rejected():
    assert verdict(spec=nudged("translate", x=0.002)) == "moved_too_little"
    assert verdict(spec=nudged("rotate", yaw_deg=1.0)) == "moved_too_little"
    assert verdict(spec=nudged("rotate", yaw_deg=90.0)) is None


def test_an_edit_that_asks_for_occlusion_may_hide_its_object():
    asked = next(spec for spec in proposals("translate") if spec.edit.allows_occlusion)
    plain = next(spec for spec in proposals("translate") if not spec.edit.allows_occlusion)
    partly = {"edited": {"visible": 0.2}}
    assert verdict(spec=asked, target=partly) is None
    assert verdict(spec=plain, target=partly) == "hidden"
    assert verdict(spec=asked, source=partly) == "hidden"
    assert verdict(spec=asked, target={"edited": {"visible": 0.1}}) == "hidden"
    assert verdict(spec=plain, target=partly, limits=Limits(min_visible=0.2)) is None


def test_an_object_that_moves_into_a_container_fits_its_opening():
    inside = 0
    for spec in proposals("translate", range(24)):
        placed, _, after = edited(spec)
        if after.z == 0:
            continue
        inside += 1
        others = [o for o in spec.objects if o.asset.supports and o.id != placed.id]
        (box,) = [o for o in others if ground(o, spec.target.placements[o.id]).contains(ground(placed, after))]
        base = spec.target.placements[box.id]
        angle = np.radians(-base.yaw_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        local = (np.array(ground(placed, after).exterior.coords) - (base.x, base.y)) @ turn.T
        assert (np.abs(local) <= np.array(box.asset.opening) / 2 + 1e-5).all()
    assert inside > 3
