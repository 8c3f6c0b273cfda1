"""Views of one asset: the one that is called the front shows the front."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spatialdata_builder.shards.codecs import decode_image
from spatialdata_builder.shards.geometry import similarity, transform, wrap_degrees
from spatialdata_builder.shards.sample import Reject, Row, Sample
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.procedural import catalogue
from spatialdata_builder.sources.rendered.portraits import (
    AZIMUTHS,
    RenderPortraits,
    column_of,
    portrait_options,
    portrait_scene,
    portrait_spec,
)
from spatialdata_builder.sources.scenes.rotations import bearing_of_camera
from spatialdata_builder.sources.scenes.spec import RenderOptions
from tests.sources.painted import painted_asset, painted_box, tinted
from tests.sources.pool import seen_at, synthetic_pool

SIDE = 48


@pytest.mark.parametrize("asset", synthetic_pool(8), ids=lambda asset: asset.uid[-2:])
def test_the_view_of_an_azimuth_is_seen_from_there_and_holds_the_whole_object(asset: Asset):
    spec, states = portrait_scene(asset, 200)
    assert tuple(states) == AZIMUTHS == tuple(range(0, 360, 45))
    for azimuth, state in states.items():
        placement = state.placements[1]
        # The repository's own arithmetic of canonical views calls it the front view.
        facing = replace(asset, front_deg=float(azimuth))
        assert abs(bearing_of_camera(facing, placement, state.camera)) < 0.01
        # And so does plain geometry: of all directions on the object, this one points to the camera.
        pose = similarity(placement.x, placement.y, placement.z, placement.yaw_deg)
        angles = np.deg2rad(np.arange(0, 360, 5))
        rim = transform(pose, np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1))
        eye = np.array(state.camera.world_from_camera).reshape(4, 4)[:3, 3]
        nearest = int(np.argmin(np.linalg.norm(rim - eye, axis=1))) * 5
        assert nearest == azimuth
        for x, y in asset.footprint:
            for z in (0.0, asset.size_m[2]):
                corner = transform(pose, [[x, y, z]])[0]
                u, v, depth = seen_at(tuple(corner), state.camera)
                assert 0 <= u <= spec.width and 0 <= v <= spec.height and depth > 0


def test_a_view_counter_clockwise_shows_the_objects_own_left():
    """One step further, the viewer stands at the object's left front: the side that faces +90 degrees of its front."""
    asset = replace(synthetic_pool(1)[0], front_deg=270.0)
    _, states = portrait_scene(asset)
    assert bearing_of_camera(asset, states[315].placements[1], states[315].camera) == pytest.approx(45)
    assert wrap_degrees(bearing_of_camera(asset, states[90].placements[1], states[90].camera)) == pytest.approx(180)


def sample(asset: Asset) -> Sample:
    return Sample(asset.uid, "train", portrait_spec(asset))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> RenderPortraits:
    root = tmp_path_factory.mktemp("models")
    (root / "cube.glb").write_bytes(painted_box())
    (root / "broken.glb").write_bytes(painted_box()[:500])
    render = portrait_options(RenderOptions(samples=1, device="cpu"), SIDE)
    return RenderPortraits("objaverse", str(root), render, threads=2)


@pytest.mark.blender
def test_renders_show_the_painted_sides_where_they_are(stage: RenderPortraits):
    booth = stage.setup()
    row, broken = stage(booth, [sample(painted_asset("cube.glb")), sample(painted_asset("broken.glb"))])
    booth.renderer.close()
    assert isinstance(broken, Reject) and broken.reason == "broken_asset" and "broken.glb" in broken.detail
    assert isinstance(row, Row) and sorted(row.columns) == [column_of(azimuth) for azimuth in AZIMUTHS]
    views = {azimuth: decode_image(bytes(row.columns[column_of(azimuth)])) for azimuth in AZIMUTHS}
    assert all(view.shape == (SIDE, SIDE, 3) for view in views.values())
    for channel, facing in ((0, 270), (2, 90), (1, 0)):
        amount = {azimuth: tinted(view, channel) for azimuth, view in views.items()}
        assert max(amount, key=lambda azimuth: amount[azimuth]) == facing
        assert amount[facing] > 0.1
        # From the other side nothing of it is seen.
        assert all(amount[azimuth] == 0 for azimuth in AZIMUTHS if abs(wrap_degrees(azimuth - facing)) > 90)


@pytest.mark.blender
def test_procedural_assets_are_portrayed_too(tmp_path: Path):
    asset = next(asset for asset in catalogue(1) if asset.category == "chair")
    stage = RenderPortraits("procedural", "", portrait_options(RenderOptions(device="cpu"), 24), threads=2)
    booth = stage.setup()
    (row,) = stage(booth, [sample(asset)])
    (again,) = stage(booth, [sample(asset)])
    booth.renderer.close()
    assert isinstance(row, Row) and isinstance(again, Row)
    assert row.columns == again.columns
    assert len(set(row.columns.values())) == len(AZIMUTHS)
