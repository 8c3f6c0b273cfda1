"""Supports: regions of synthetic shapes with known answers, and contact measured by rays on real triangles."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
import trimesh
from pydantic import TypeAdapter
from shapely import affinity

from spatialdata_builder.shards.sample import Row, Sample
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.height_map import MAX_TRIANGLES, Detail, HeightMap, TooComplex
from spatialdata_builder.sources.assets.mesh import read_mesh
from spatialdata_builder.sources.assets.supports import (
    SINK,
    Support,
    find_supports,
    from_json,
    rest_height,
    to_json,
)
from spatialdata_builder.sources.objaverse.cache import read_cache, resolve_root
from spatialdata_builder.sources.procedural import catalog, write_glb
from spatialdata_builder.sources.survey.geometry import SurveyAssets

ASSET = TypeAdapter(Asset)


def slab(width: float, depth: float, height: float, x: float, y: float, z: float) -> trimesh.Trimesh:
    """A box whose base has its center at (x, y, z)."""
    return trimesh.creation.box(extents=(width, depth, height)).apply_translation((x, y, z + height / 2))


def table() -> trimesh.Trimesh:
    legs = [slab(0.06, 0.06, 0.72, x, y, 0) for x in (-0.55, 0.55) for y in (-0.35, 0.35)]
    return trimesh.util.concatenate([slab(1.2, 0.8, 0.03, 0, 0, 0.72), *legs])


def shelf(back: float) -> trimesh.Trimesh:
    """Three boards below a top, open to -y; `back` is the height of the back panel."""
    boards = [slab(0.8, 0.3, 0.02, 0, 0, z) for z in (0.05, 0.45, 0.85, 1.25)]
    sides = [slab(0.02, 0.3, 1.27, x, 0, 0) for x in (-0.41, 0.41)]
    return trimesh.util.concatenate([*boards, *sides, slab(0.84, 0.01, back, 0, 0.155, 0)])


def crate(wall: float = 0.3) -> trimesh.Trimesh:
    sides = [slab(0.02, 0.5, wall, x, 0, 0) for x in (-0.26, 0.26)]
    sides += [slab(0.5, 0.02, wall, 0, y, 0) for y in (-0.24, 0.24)]
    return trimesh.util.concatenate([slab(0.5, 0.46, 0.004, 0, 0, 0), *sides])


def bowl() -> trimesh.Trimesh:
    """Outer radius 0.15, floor of radius 0.08 at 0.01, rim at 0.1."""
    profile = [(0, 0), (0.09, 0), (0.15, 0.1), (0.145, 0.1), (0.08, 0.01), (0, 0.01)]
    return trimesh.creation.revolve(np.array(profile), sections=96)


def cushion(rise: float) -> trimesh.Trimesh:
    """A seat of 0.6 m that rises smoothly toward its middle, in front of a back."""
    x, y = np.meshgrid(np.linspace(-0.3, 0.3, 61), np.linspace(-0.3, 0.3, 61), indexing="ij")
    z = 0.4 + rise * np.cos(np.pi * x / 0.6) * np.cos(np.pi * y / 0.6)
    index = np.arange(61 * 61).reshape(61, 61)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    seat = trimesh.Trimesh(np.stack([x, y, z], axis=-1).reshape(-1, 3), faces, process=False)
    return trimesh.util.concatenate([seat, slab(0.6, 0.6, 0.4, 0, 0, 0), slab(0.6, 0.1, 0.8, 0, 0.35, 0)])


def cone() -> trimesh.Trimesh:
    """A traffic cone: a plate of 0.4 m with a cone of radius 0.12 in its middle."""
    top = trimesh.creation.cone(0.12, 0.5).apply_translation((0, 0, 0.03))
    return trimesh.util.concatenate([slab(0.4, 0.4, 0.03, 0, 0, 0), top])


def supports(mesh: trimesh.Trimesh) -> tuple[Support, ...]:
    return find_supports(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64))


def only(found: tuple[Support, ...], kind: str) -> Support:
    (one,) = (support for support in found if support.kind == kind)
    return one


def square(side: float, x: float = 0.0, y: float = 0.0) -> list[tuple[float, float]]:
    half = side / 2
    return [(x + sx * half, y + sy * half) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def test_a_table_carries_on_its_top_and_has_room_under_it():
    found = supports(table())
    top, under = only(found, "top"), only(found, "under")
    assert len(found) == 2
    assert (top.z, top.clearance, top.patch, top.rim, top.open_sides) == (0.75, math.inf, None, 0.0, ())
    outline = shapely.box(-0.6, -0.4, 0.6, 0.4)
    assert outline.contains(top.shape()) and top.shape().area > 0.93 * outline.area
    assert top.radius == pytest.approx(0.4, abs=0.02)
    assert (under.z, under.open_sides) == (0.0, ("+x", "-x", "+y", "-y"))
    assert under.clearance == pytest.approx(0.72)
    assert not any(under.shape().intersects(shapely.Point(x, y)) for x in (-0.55, 0.55) for y in (-0.35, 0.35))
    assert under.shape().contains(shapely.Point(0, 0)) and under.shape().area > 0.8


def test_the_order_of_triangles_does_not_matter():
    mesh = crate()
    mixed = np.random.default_rng(0).permutation(len(mesh.faces))
    assert find_supports(mesh.vertices, mesh.faces[mixed]) == supports(mesh)


@pytest.mark.parametrize("make_mesh", [table, crate, bowl, cone])
def test_a_mesh_may_be_inside_out_or_two_sided(make_mesh):
    mesh = make_mesh()
    flipped = np.asarray(mesh.faces)[:, ::-1]
    assert find_supports(mesh.vertices, flipped) == supports(mesh)
    both = find_supports(mesh.vertices, np.concatenate([mesh.faces, flipped]))
    assert [(one.kind, one.z) for one in both] == [(one.kind, one.z) for one in supports(mesh)]


def test_an_open_sheet_is_a_support():
    corners = np.array([(-0.5, -0.5, 0.4), (0.5, -0.5, 0.4), (0.5, 0.5, 0.4), (-0.5, 0.5, 0.4), (0, 0, 0)])
    found = find_supports(corners, np.array([(0, 2, 1), (0, 3, 2), (4, 0, 1)]))
    assert only(found, "top").z == 0.4


def test_a_shelf_with_three_boards_opens_to_the_front():
    found = supports(shelf(back=1.27))
    boards = sorted((one for one in found if one.kind == "shelf"), key=lambda one: one.z)
    assert [one.z for one in boards] == [0.07, 0.47, 0.87]
    assert [one.clearance for one in boards] == pytest.approx([0.38] * 3)
    assert {one.open_sides for one in boards} == {("-y",)}
    assert all(shapely.box(-0.4, -0.15, 0.4, 0.15).contains(one.shape()) for one in boards)
    assert all(one.shape().area > 0.85 * 0.8 * 0.3 for one in boards)
    assert only(found, "top").z == 1.27


def test_a_shelf_without_back_opens_to_both_sides():
    found = supports(shelf(back=0.05))
    assert {one.open_sides for one in found if one.kind == "shelf"} == {("+y", "-y")}


def test_a_closed_cabinet_has_nothing_inside():
    front = slab(0.84, 0.01, 1.27, 0, -0.155, 0)
    found = supports(trimesh.util.concatenate([shelf(back=1.27), front]))
    assert [one.kind for one in found] == ["top"]


def test_a_lamp_lowers_the_free_height_of_a_shelf():
    lamp = slab(0.001, 0.05, 0.08, 0.1, 0, 0.77)  # a thin sheet that vertical lines miss
    found = supports(trimesh.util.concatenate([shelf(back=1.27), lamp]))
    (board,) = (one for one in found if one.kind == "shelf" and one.z == 0.47)
    assert board.clearance == pytest.approx(0.30)


def test_the_floor_of_a_crate_is_inside():
    inside = only(supports(crate()), "inside")
    assert (inside.z, inside.clearance) == (0.004, math.inf)
    assert inside.rim == pytest.approx(0.296, abs=1e-4)
    assert shapely.box(-0.25, -0.23, 0.25, 0.23).contains(inside.shape()) and inside.shape().area > 0.9 * 0.5 * 0.46


def test_a_tray_with_a_low_rim_is_a_top():
    assert only(supports(crate(wall=0.015)), "top").z == 0.004


def test_the_floor_of_a_bowl_is_inside():
    inside = only(supports(bowl()), "inside")
    assert inside.z == pytest.approx(0.01, abs=1e-6)
    assert inside.rim == pytest.approx(0.09, abs=2e-3) and 0.07 < inside.radius < 0.085
    # A base that is wider than the floor rests on the slope.
    assert rest_height(inside, square(0.05)) == pytest.approx(0.01, abs=1e-4)


def test_the_base_of_a_cone_is_no_container():
    top = only(supports(cone()), "top")
    assert top.z == 0.03 and top.rim == 0.0
    assert len(top.polygon) == 2 and not top.shape().intersects(shapely.Point(0, 0).buffer(0.119))


def test_a_net_divides_a_table():
    net = slab(0.0005, 0.8, 0.15, 0.1, 0, 0.75)
    tops = [one for one in supports(trimesh.util.concatenate([table(), net])) if one.kind == "top"]
    assert len(tops) == 2
    assert not any(one.shape().intersects(shapely.LineString([(0.1, -0.4), (0.1, 0.4)])) for one in tops)


def test_gaps_between_planks_are_bridged():
    planks = [slab(0.09, 0.6, 0.03, x, 0, 0.4) for x in np.arange(-0.4, 0.41, 0.1)]
    top = only(supports(trimesh.util.concatenate([*planks, slab(0.8, 0.05, 0.4, 0, 0, 0)])), "top")
    assert top.radius == pytest.approx(0.3, abs=0.02)


def test_a_cushion_is_soft_and_a_base_sinks_into_it():
    soft = only(supports(cushion(0.03)), "soft")
    # The middle, which is at most 30 mm lower at its border.
    assert soft.radius > 0.2 and 0.41 < soft.z < 0.43
    rest = rest_height(soft, square(0.2))
    assert 0.43 - SINK - 2e-4 <= rest < 0.43


def test_a_base_rests_on_the_highest_point_below_it():
    """A strip of 2 mm on a table, thinner than a cell."""
    mesh = trimesh.util.concatenate([table(), slab(0.004, 0.5, 0.002, 0.2013, 0, 0.75)])
    top = only(supports(mesh), "top")
    assert top.patch is not None
    assert rest_height(top, square(0.1, 0.2)) == pytest.approx(0.752, abs=5e-5)
    assert rest_height(top, square(0.1, -0.2)) == pytest.approx(0.75, abs=5e-5)
    assert rest_height(top, [(0.2013, 0.1)]) == pytest.approx(0.752, abs=5e-5)  # a ball


def test_supports_are_stored_as_plain_json():
    mesh = trimesh.util.concatenate([table(), slab(0.004, 0.5, 0.002, 0.2013, 0, 0.75)])
    found = supports(mesh)
    text = to_json(found)
    assert from_json(text) == found and len(text) < 4000
    values = json.loads(text)
    assert [value["clearance"] for value in values if value["kind"] == "top"] == [None]
    assert all(round(number, 6) == number for ring in values[0]["polygon"] for point in ring for number in point)
    assert from_json("[]") == () == find_supports(np.zeros((0, 3)), np.zeros((0, 3), np.int64))


def test_nothing_stands_on_a_ball_or_a_needle():
    assert supports(trimesh.creation.icosphere(4, 0.1)) == ()
    assert supports(slab(0.01, 0.01, 0.5, 0, 0, 0)) == ()


def test_the_cost_is_bounded():
    with pytest.raises(TooComplex, match=f"{MAX_TRIANGLES + 1} triangles; at most {MAX_TRIANGLES}"):
        find_supports(np.eye(3), np.broadcast_to(np.arange(3), (MAX_TRIANGLES + 1, 3)))
    sheets = trimesh.util.concatenate([slab(1, 1, 0.001, 0, 0, z / 300) for z in range(300)])
    with pytest.raises(TooComplex, match="crossings"):
        supports(sheets)


def test_crossings_of_a_closed_mesh():
    """A watertight mesh is crossed once on each side, also where triangles meet; heights are those of the planes."""
    mesh = trimesh.creation.icosphere(3, 0.5)
    surface = HeightMap.of(mesh.vertices, mesh.faces)
    assert (np.bincount(surface.at) % 2 == 0).all() and len(surface.at) > 30_000
    places = np.stack(np.divmod(surface.at, surface.shape[1]), axis=1)
    radius = np.hypot(*((places + 0.5) * surface.cell + surface.low).T)
    inside = radius < 0.4
    assert np.abs(surface.z)[inside] == pytest.approx(np.sqrt(0.25 - radius[inside] ** 2), abs=5e-3)
    assert (surface.up[surface.top] > 0).all()
    assert np.isinf(surface.clearance[surface.top]).all() and np.isfinite(surface.clearance[~surface.top]).all()


def test_the_number_of_cells():
    """Cells are as small as asked for, and the smallest region does not depend on the size of a wide model."""
    far = slab(0.01, 0.01, 0.01, 20.0, 0, 0)
    mesh = trimesh.util.concatenate([slab(0.4, 0.4, 0.7, 0, 0, 0), far])
    assert HeightMap.of(mesh.vertices, mesh.faces, Detail(500)).cell == pytest.approx(20.205 / 500)
    # The circle in the top has a radius of 0.2 m, less half a cell: too small for 2 % of 20 m, but not for 2 % of 3 m.
    assert find_supports(mesh.vertices, mesh.faces, Detail(500)) == ()
    (top,) = find_supports(mesh.vertices, mesh.faces, Detail(500), width=3.0)
    assert top.z == pytest.approx(0.7) and 0.12 < top.radius < 0.2


class Ground:
    """The highest point of a mesh below a base, found by rays."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._scene = EmbreeScene()
        TriangleMesh(self._scene, vertices.astype(np.float32), faces.astype(np.int32))

    def gap(self, support: Support, base: shapely.Polygon) -> float:
        """Meters between a base at its rest height and the surface; negative if it sinks in."""
        step = 0.0015
        left, bottom, right, top = base.bounds
        points = np.stack(np.meshgrid(np.arange(left, right, step), np.arange(bottom, top, step)), axis=-1)
        points = points.reshape(-1, 2)
        points = points[shapely.contains_xy(base, *points.T)]
        points = np.concatenate([points, shapely.get_coordinates(shapely.segmentize(base, step))])
        rest = rest_height(support, shapely.get_coordinates(base))
        start = rest + min(0.05, support.clearance - 0.002)
        origins = np.column_stack([points, np.full(len(points), start)]).astype(np.float32)
        ways = np.tile(np.array([0, 0, -1], np.float32), (len(origins), 1))
        found = self._scene.run(origins, ways, query="INTERSECT", output=True)
        return rest - (start - float(found["tfar"][found["primID"] >= 0].min()))


def placed_bases(support: Support, count: int, rng: np.random.Generator) -> Iterator[shapely.Polygon]:
    """Round and rectangular bases somewhere inside a support."""
    shape, placed = support.shape(), 0
    left, bottom, right, top = shape.bounds
    for _ in range(30 * count):
        radius = rng.uniform(0.3, 1.0) * min(support.radius, 0.15)
        depth = radius * rng.uniform(0.4, 0.9)
        base = affinity.rotate(shapely.box(-radius, -depth, radius, depth), rng.uniform(0, 360), origin=(0, 0))
        base = shapely.Point(0, 0).buffer(radius) if rng.random() < 0.5 else base
        base = affinity.translate(base, rng.uniform(left, right), rng.uniform(bottom, top))
        if placed < count and shape.contains(base):
            placed += 1
            yield base


def contact(models: Iterator[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Gaps of placements on all supports of some models, by kind, meters."""
    rng = np.random.default_rng(0)
    gaps: dict[str, list[float]] = {}
    for vertices, faces in models:
        ground = Ground(vertices, faces)
        for support in (one for one in find_supports(vertices, faces) if one.kind != "under"):
            found = [ground.gap(support, base) for base in placed_bases(support, 6, rng)]
            gaps.setdefault(support.kind, []).extend(found)
    return {kind: np.abs(found) for kind, found in gaps.items()}


def check_contact(gaps: dict[str, np.ndarray]) -> None:
    hard = np.concatenate([found for kind, found in gaps.items() if kind != "soft"])
    assert len(hard) > 100 and (hard <= 1e-3).mean() >= 0.99
    assert (hard <= 1e-4).mean() > 0.9
    assert (gaps.get("soft", np.zeros(1)) <= 2e-3).mean() >= 0.99


@pytest.mark.slow
def test_contact_on_procedural_models(tmp_path: Path):
    gaps = contact(read_mesh(asset, write_glb(asset.uid, tmp_path)) for asset in catalog(3, furnishings=True))
    assert {"top", "shelf", "inside"} <= gaps.keys()
    check_contact(gaps)


@pytest.mark.slow
def test_contact_on_real_models(shared_assets: Path):
    root = resolve_root(shared_assets / "objaverse")
    stage = SurveyAssets("objaverse", str(root))
    samples = [Sample(entry.uid, "train", entry.spec()) for entry in read_cache(root)]
    rows = [result for result in stage(root.joinpath, samples) if isinstance(result, Row)]
    assets = [ASSET.validate_json(str(row.columns["asset"])) for row in rows]
    gaps = contact(read_mesh(asset, root / asset.path) for asset in assets)
    assert {"top", "soft", "inside"} <= gaps.keys()
    check_contact(gaps)
