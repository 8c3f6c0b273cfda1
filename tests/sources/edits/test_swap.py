"""Two objects exchange their places, compared with the two states."""

import cv2
import numpy as np
import pytest

from spatialdata_builder.pipeline.config import parse_config
from spatialdata_builder.shards.errors import BadInput
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.edits.inverse import inverted
from spatialdata_builder.sources.edits.judge import judge
from spatialdata_builder.sources.scenes.naming import name_objects
from spatialdata_builder.sources.scenes.spec import Placement, to_json
from tests.sources.edits.test_edits import proposals
from tests.sources.pool import seen_at


@pytest.mark.slow
def test_two_objects_exchange_their_places():
    specs = proposals("swap")
    assert len(specs) > 20
    for spec in specs:
        one, other = spec.edit.edited
        assert spec.asset(one).category != spec.asset(other).category
        before, after = spec.source.placements, spec.target.placements
        for here, there in ((one, other), (other, one)):
            assert (after[here].x, after[here].y) == (before[there].x, before[there].y)
            assert (after[here].yaw_deg, after[here].scale) == (before[here].yaw_deg, before[here].scale)
            start, end = (seen_at((p.x, p.y, p.z), spec.source.camera)[:2] for p in (before[here], after[here]))
            assert np.hypot(*np.subtract(end, start)) > 0.04 * 512
        moved = np.subtract((after[one].x, after[one].y), (before[one].x, before[one].y))
        assert spec.edit.translation == pytest.approx((*moved, 0.0), abs=1e-6)
        assert to_json(spec)["edit"]["second_object"] == other


def test_nothing_collides_and_nothing_else_moves():
    """Outlines from rotation matrices: in each state, their intersections are empty."""

    def outline(asset: Asset, place: Placement) -> np.ndarray:
        angle = np.deg2rad(place.yaw_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return (place.scale * np.asarray(asset.footprint) @ turn.T + (place.x, place.y)).astype(np.float32)

    checked = 0
    for spec in proposals("swap"):
        assert spec.source.camera == spec.target.camera
        before, after = spec.source.placements, spec.target.placements
        for placed in spec.objects:
            assert after[placed.id].z == before[placed.id].z
            if placed.id not in spec.edit.edited:
                assert after[placed.id] == before[placed.id]
        outlines = {placed.id: outline(placed.asset, after[placed.id]) for placed in spec.objects}
        for one in spec.edit.edited:
            for other in outlines.keys() - {one}:
                assert cv2.intersectConvexConvex(outlines[one], outlines[other])[0] == 0
                checked += 1
    assert checked > 60


@pytest.mark.slow
def test_its_inverse_is_a_swap_of_the_same_objects():
    found = 0
    for spec in proposals("swap"):
        names = name_objects(spec)
        back = inverted(spec)
        if isinstance(back, str) or isinstance(names, str):
            continue
        found += 1
        assert (back.source, back.target) == (spec.target, spec.source)
        assert (back.edit.kind, back.edit.edited) == ("swap", spec.edit.edited)
        again = inverted(back)
        assert not isinstance(again, str)
        assert again.edit == spec.edit
    assert found > 10


def test_each_of_the_objects_must_be_seen():
    class Seen:
        def __init__(self, visible: float) -> None:
            self.own_px, self.visible, self.in_frame = 9000.0, visible, 1.0

    spec = proposals("swap", range(1))[0]
    well = {placed.id: Seen(1.0) for placed in spec.objects}
    assert judge(spec, well, well) is None
    for identity in spec.edit.edited:
        assert judge(spec, well, well | {identity: Seen(0.25)}) == "hidden"


def test_it_does_not_compose():
    with pytest.raises(BadInput, match="swap cannot be composed with another edit of its scene"):
        parse_config({"edits": {"swap": 1, "compose": True}})
