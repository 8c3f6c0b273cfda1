"""Inverses of edits: numbers lead from the target's poses to the source's; the inverse of an inverse is the edit."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from spatialdata_builder.shards.geometry import wrap_degrees
from spatialdata_builder.shards.schema import EDIT_KINDS
from spatialdata_builder.sources.edits.inverse import inverted
from spatialdata_builder.sources.edits.registry import inverse_kind
from spatialdata_builder.sources.scenes.camera import eye
from spatialdata_builder.sources.scenes.naming import name_objects
from spatialdata_builder.sources.scenes.rotations import VIEWS
from spatialdata_builder.sources.scenes.spec import SceneSpec
from tests.sources.edits.test_edits import edited, proposals
from tests.sources.pool import seen_at

pytestmark = pytest.mark.slow


def pairs(kind: str) -> list[tuple[SceneSpec, SceneSpec]]:
    """Edits whose objects have names in both images, with their inverses."""
    found = [(spec, inverted(spec)) for spec in proposals(kind)]
    named = [(spec, back) for spec, back in found if not isinstance(back, str)]
    assert len(named) > 0.6 * len(found) > 3
    return named


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_the_inverse_of_an_inverse_is_the_edit(kind):
    for spec, back in pairs(kind):
        assert back.edit.kind == inverse_kind(kind)
        assert (back.source, back.target, back.edit.object) == (spec.target, spec.source, spec.edit.object)
        again = inverted(back)
        if isinstance(again, str):
            continue
        assert (again.source, again.target) == (spec.source, spec.target)
        one, other = asdict(again.edit), asdict(replace(spec.edit, allows_occlusion=False))
        assert other.pop("translation") == pytest.approx(one.pop("translation"))
        assert one.pop("view") in (other.pop("view"), *VIEWS)
        assert {name: pytest.approx(value) for name, value in other.items()} == one


def test_no_number_prints_as_minus_zero():
    for kind in EDIT_KINDS:
        for _, back in pairs(kind):
            numbers = [*back.edit.translation, back.edit.rotation_deg, back.edit.yaw_deg, back.edit.pitch_deg]
            assert not any(np.signbit(number) and number == 0 for number in numbers)


def test_the_numbers_lead_from_the_target_s_pose_to_the_source_s():
    for _, back in pairs("translate"):
        _, before, after = edited(back)
        moved = np.add((before.x, before.y, before.z), back.edit.translation)
        np.testing.assert_allclose(moved, (after.x, after.y, after.z), atol=2e-6)
    for _, back in pairs("rotate"):
        _, before, after = edited(back)
        assert abs(wrap_degrees(before.yaw_deg + back.edit.rotation_deg - after.yaw_deg)) < 1e-5
    for _, back in pairs("scale"):
        _, before, after = edited(back)
        assert before.scale * back.edit.scale == pytest.approx(after.scale, rel=1e-9)
    for kind in ("remove", "insert"):
        for _, back in pairs(kind):
            _, before, after = edited(back)
            assert (before.present, after.present) == ((False, True) if kind == "remove" else (True, False))


def test_camera_edits_lead_back_along_their_orbit():
    for spec, back in pairs("camera"):
        pivot = pivot_of(spec)
        (azimuth, elevation, distance), end = (orbit(state.camera, pivot) for state in (back.source, back.target))
        assert abs(wrap_degrees(azimuth + back.edit.yaw_deg - end[0])) < 1e-3
        assert elevation + back.edit.pitch_deg == pytest.approx(end[1], abs=1e-3)
        assert distance / back.edit.zoom == pytest.approx(end[2], rel=1e-5)


def pivot_of(spec: SceneSpec) -> np.ndarray:
    """The point nearest to both lines of sight; if they are one line, the point that the zoom leaves in place."""
    rays = [np.reshape(state.camera.world_from_camera, (4, 4)) for state in (spec.source, spec.target)]
    eyes, ahead = [ray[:3, 3] for ray in rays], [ray[:3, 2] for ray in rays]
    if np.linalg.norm(np.cross(*ahead)) < 1e-6:
        step = float(np.linalg.norm(eyes[1] - eyes[0]))
        zoom = spec.edit.zoom
        far = step / abs(1 - 1 / zoom)
        return eyes[0] + far * ahead[0]
    along = np.linalg.lstsq(np.stack([ahead[0], -ahead[1]], axis=1), eyes[1] - eyes[0], rcond=None)[0]
    return eyes[0] + along[0] * ahead[0]


def orbit(camera, pivot: np.ndarray) -> tuple[float, float, float]:
    x, y, z = eye(camera) - pivot
    return (
        float(np.rad2deg(np.arctan2(y, x))),
        float(np.rad2deg(np.arctan2(z, np.hypot(x, y)))),
        float(np.hypot(np.hypot(x, y), z)),
    )


@pytest.mark.slow
def test_a_named_view_is_the_one_that_the_first_image_showed():
    named = 0
    for spec in proposals("rotate", range(40)):
        if not spec.edit.view:
            continue
        # For the inverse of the inverse, the target is the image that shows the named view.
        back = inverted(spec)
        again = inverted(back) if isinstance(back, SceneSpec) else back
        if isinstance(again, SceneSpec):
            assert again.edit.view == spec.edit.view
            named += 1
    assert named > 10


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_names_are_those_of_the_new_source_image(kind):
    for spec, back in pairs(kind):
        assert back.names == name_objects(replace(back, names={}))
        if kind == "camera":
            continue
        placed, before, _ = edited(back)
        name = back.names[placed.id]
        rivals = [
            other
            for other in back.objects
            if other.id != placed.id and other.asset.category == placed.asset.category and before.present
        ]
        if name.startswith("left ") and len(rivals) == 1:
            here, there = (
                seen_at((p.x, p.y, p.z), back.source.camera) for p in (before, back.source.placements[rivals[0].id])
            )
            assert here[0] < there[0]
        assert spec.source.placements.keys() == back.source.placements.keys()
