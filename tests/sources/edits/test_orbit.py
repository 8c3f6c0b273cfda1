"""Camera grids: every camera is recomputed from the numbers of its view."""

from functools import cache
from math import atan, cos, radians, sin

import numpy as np
import pytest
from shapely.geometry import Point, Polygon

from spatialdata_builder.shards.geometry import wrap_degrees
from spatialdata_builder.sources.blender.shell import prism_part
from spatialdata_builder.sources.edits.composition import composed
from spatialdata_builder.sources.edits.groups import Proposal
from spatialdata_builder.sources.edits.inverse import inverted
from spatialdata_builder.sources.edits.orbit import propose_orbit
from spatialdata_builder.sources.edits.proposals import Rejection
from spatialdata_builder.sources.scenes.footprints import footprint
from spatialdata_builder.sources.scenes.grid import OrbitOptions
from spatialdata_builder.sources.scenes.rotations import VIEWS, free_turns
from spatialdata_builder.sources.scenes.spec import SceneOptions, SceneSpec, State
from spatialdata_builder.sources.scenes.studio import hidden_by_board
from tests.sources.pool import synthetic_pool

POOL = synthetic_pool(32)
SIZE = (160, 120)
OBJECT = OrbitOptions()
SCENE = OrbitOptions(of="scene", azimuths=6, elevations=(0, 30, 60))


@cache
def proposals(grid_of: str) -> list[Proposal]:
    grid = OBJECT if grid_of == "object" else SCENE
    found = [propose_orbit(POOL, grid, SceneOptions(), SIZE, seed, 0) for seed in range(8)]
    kept = [one for one in found if isinstance(one, Proposal) and 2 * len(specs_of(one)) >= len(one.specs)]
    assert len(kept) >= 4
    return kept


def specs_of(proposal: Proposal) -> list[SceneSpec]:
    return [spec for spec in proposal.specs if isinstance(spec, SceneSpec)]


def looking(state: State) -> tuple[np.ndarray, np.ndarray]:
    """Position and viewing direction of the camera."""
    pose = np.reshape(state.camera.world_from_camera, (4, 4))
    return pose[:3, 3], pose[:3, 2]


def test_views_of_an_object_are_exactly_on_the_grid():
    views = OBJECT.views()
    fronts = 0
    for proposal in proposals("object"):
        assert len(proposal.specs) == len(views) - 1
        for view, spec in zip(views[1:], proposal.specs, strict=True):
            if isinstance(spec, str):
                continue
            (placed,), place = spec.objects, spec.source.placements[1]
            middle = np.array([place.x, place.y, place.z + placed.asset.size_m[2] / 2])
            radius = float(np.linalg.norm(placed.asset.size_m)) / 2
            medium = radius / sin(atan(min(SIZE) / 2 / spec.source.camera.K[0])) / 0.6
            front = placed.asset.front_deg
            for state, one in ((spec.source, views[0]), (spec.target, view)):
                assert state.placements == spec.source.placements
                position, direction = looking(state)
                away = position - middle
                assert np.linalg.norm(away) == pytest.approx(one.distance * medium, abs=1e-4)
                assert np.degrees(np.arcsin(away[2] / np.linalg.norm(away))) == pytest.approx(
                    one.elevation_deg, abs=1e-3
                )
                np.testing.assert_allclose(direction, -away / np.linalg.norm(away), atol=1e-5)
                assert position[2] > 0.05 * np.linalg.norm(away)
                if front is not None:
                    fronts += 1
                    azimuth = np.degrees(np.arctan2(away[1], away[0])) - place.yaw_deg - front
                    assert abs(wrap_degrees(azimuth - one.azimuth_deg)) < 1e-3
            edit = spec.edit
            assert edit.kind == "camera" and edit.edited == ()
            assert edit.yaw_deg == pytest.approx(wrap_degrees(view.azimuth_deg))
            assert edit.pitch_deg == pytest.approx(view.elevation_deg)
            assert edit.zoom == pytest.approx(1 / view.distance, rel=1e-4)
            if front is not None:
                assert abs(wrap_degrees(VIEWS[edit.view] - view.azimuth_deg)) < 1e-3
            else:
                assert edit.view == ""
    assert fronts > 100


def test_views_of_a_scene_go_around_one_pivot():
    views = SCENE.views()
    for proposal in proposals("scene"):
        lines = [looking(state) for spec in specs_of(proposal) for state in (spec.source, spec.target)]
        # The point nearest to all lines of sight.
        normals = [np.eye(3) - np.outer(way, way) for _, way in lines]
        pivot = np.linalg.solve(sum(normals), sum(n @ point for n, (point, _) in zip(normals, lines, strict=True)))
        start = next(spec.source for spec in specs_of(proposal))
        first = looking(start)[0] - pivot
        for view, spec in zip(views[1:], proposal.specs, strict=True):
            if isinstance(spec, str):
                continue
            assert spec.walls == () and spec.pedestal is None and spec.edit.view == ""
            away = looking(spec.target)[0] - pivot
            turn = np.degrees(np.arctan2(away[1], away[0]) - np.arctan2(first[1], first[0]))
            assert abs(wrap_degrees(float(turn) - view.azimuth_deg)) < 0.01
            distance = float(np.linalg.norm(away))
            assert distance == pytest.approx(float(np.linalg.norm(first)) * view.distance, rel=1e-3)
            assert np.degrees(np.arcsin(away[2] / distance)) == pytest.approx(view.elevation_deg, abs=0.01)
            assert spec.edit.pitch_deg == view.elevation_deg - views[0].elevation_deg


def test_the_edit_between_two_views_has_the_steps_between_them():
    views = OBJECT.views()
    proposal = proposals("object")[0]
    found = [(index + 1, spec) for index, spec in enumerate(proposal.specs) if isinstance(spec, SceneSpec)]
    for (one, first), (other, second) in zip(found[::7], found[3::7], strict=False):
        edit = composed(first, second).edit
        assert edit.yaw_deg == pytest.approx(wrap_degrees(views[other].azimuth_deg - views[one].azimuth_deg))
        assert edit.pitch_deg == pytest.approx(views[other].elevation_deg - views[one].elevation_deg)
        assert edit.zoom == pytest.approx(views[one].distance / views[other].distance, rel=1e-4)
        assert edit.view == second.edit.view
        back = inverted(composed(first, second))
        assert isinstance(back, SceneSpec) and back.edit.view == first.edit.view
    back = inverted(found[0][1])
    known = found[0][1].objects[0].asset.front_deg is not None
    assert isinstance(back, SceneSpec) and back.edit.view == ("the front view." if known else "")


def test_the_object_stands_on_a_pedestal_that_hides_little_of_it():
    for proposal in proposals("object"):
        spec = specs_of(proposal)[0]
        pedestal, place = spec.pedestal, spec.source.placements[1]
        assert pedestal is not None and place.z == pedestal.height > pedestal.thickness
        board = Polygon(pedestal.board)
        base = Polygon(footprint(spec.objects[0].asset, place))
        assert board.contains(base) and board.area < 1.4 * base.area
        assert board.contains(Polygon(pedestal.column))
        radius = float(np.linalg.norm(spec.objects[0].asset.size_m)) / 2
        assert board.hausdorff_distance(base) < 0.04 * radius
        assert free_turns(spec.objects[0].asset)
        part = prism_part("board", pedestal.board, 0.0, 1.0)
        triangles = part.vertices[part.triangles()]
        volume = np.einsum("ij,ij->i", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])).sum() / 6
        assert volume == pytest.approx(board.area, rel=1e-6)  # closed, with all faces to the outside


def test_the_board_hides_what_a_line_of_sight_through_it_would_reach():
    rng = np.random.default_rng(0)
    spec = specs_of(proposals("object")[0])[0]
    pedestal = spec.pedestal
    assert pedestal is not None
    size = max(spec.objects[0].asset.size_m)
    board = Polygon(pedestal.board)
    points = rng.uniform(-0.5, 0.5, (200, 3)) * size + np.array([0, 0, pedestal.height + 0.5 * size])
    eye = np.array([1.5 * size * cos(radians(20)), 1.5 * size * sin(radians(20)), pedestal.height - 0.6 * size])
    hidden = hidden_by_board(pedestal, eye, points)
    for point, found in zip(points, hidden, strict=True):
        t = (pedestal.height - eye[2]) / (point[2] - eye[2])
        crossing = Point(*(eye + t * (point - eye))[:2])
        if board.exterior.distance(crossing) > 1e-6:
            assert found == board.contains(crossing)
    assert 0 < hidden.sum() < len(hidden)
    assert not hidden_by_board(pedestal, eye + np.array([0, 0, size]), points).any()


def test_without_low_views_the_object_stands_on_the_floor():
    grid = OrbitOptions(azimuths=4, elevations=(30, 60), distances=(1.0,))
    found = propose_orbit(POOL, grid, SceneOptions(), SIZE, 0, 0)
    assert isinstance(found, Proposal)
    for spec in specs_of(found):
        assert spec.pedestal is None and spec.source.placements[1].z == 0


@pytest.mark.parametrize("grid", [OBJECT, SCENE], ids=["object", "scene"])
def test_a_proposal_depends_on_its_arguments_only(grid: OrbitOptions):
    one, other, third = (propose_orbit(POOL, grid, SceneOptions(), SIZE, 3, number) for number in (0, 0, 1))
    assert one == other != third


def test_a_grid_needs_an_asset_that_looks_different_from_other_sides():
    still = [asset for asset in POOL if not asset.rotatable]
    assert propose_orbit(still, OBJECT, SceneOptions(), SIZE, 0, 0) == Rejection("nothing_rotatable")
    assert propose_orbit([], OBJECT, SceneOptions(), SIZE, 0, 0) == Rejection("no_assets")
