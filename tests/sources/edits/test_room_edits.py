"""Edits in furnished rooms: places, heights and what moves along, recomputed from poses and triangles."""

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import shapely
import trimesh

from spatialdata_builder.shards.geometry import wrap_degrees
from spatialdata_builder.shards.schema import EditKind
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.mesh import read_mesh
from spatialdata_builder.sources.assets.supports import Support
from spatialdata_builder.sources.edits.composition import composed
from spatialdata_builder.sources.edits.draft import Draft, draft_of, specify
from spatialdata_builder.sources.edits.groups import propose_group
from spatialdata_builder.sources.edits.inverse import inverted
from spatialdata_builder.sources.edits.proposals import EDIT, Rejection, generator, propose, propose_edit, scene_for
from spatialdata_builder.sources.edits.registry import RULES
from spatialdata_builder.sources.procedural import write_glb
from spatialdata_builder.sources.scenes.layout import Scene
from spatialdata_builder.sources.scenes.naming import name_objects
from spatialdata_builder.sources.scenes.spec import EditSpec, Placement, SceneKind, SceneOptions, SceneSpec, Standing
from spatialdata_builder.sources.scenes.standing import carried, carries_along
from tests.sources.edits.test_groups import two
from tests.sources.furniture import furniture

pytestmark = pytest.mark.slow
SIZE = (256, 256)
VIEWS: tuple[SceneKind, ...] = ("room", "tabletop")
Found = tuple[Scene, Draft]
ALIKE: dict[EditKind, EditKind] = {"scale": "translate", "insert": "remove"}
"""Kinds that need the same of a furnished scene as another one."""


@cache
def scene_of(kind: EditKind, view: SceneKind, seed: int) -> Scene | str:
    return scene_for([kind], [], SceneOptions(kinds={view: 1}), SIZE, seed, 0, furniture())


def test_kinds_that_are_alike_have_the_same_scenes():
    for kind, other in ALIKE.items():
        for view in VIEWS:
            own = scene_for([kind], [], SceneOptions(kinds={view: 1}), SIZE, 0, 0, furniture())
            assert repr(own) == repr(scene_of(other, view, 0))


@cache
def edits(kind: EditKind, count: int = 40) -> list[Found]:
    """Scenes of both views with a valid edit each."""
    found: list[Found] = []
    tried = 0
    for seed in range(count):
        for view in VIEWS:
            tried += 1
            scene = scene_of(ALIKE.get(kind, kind), view, seed)
            if isinstance(scene, str):
                continue
            draft = propose_edit(generator(seed, 0, EDIT, 0), scene, kind, 0.35, 0)
            if isinstance(draft, Draft):
                found.append((scene, draft))
    assert len(found) >= 0.9 * tried
    return found


def turn(place: Placement) -> np.ndarray:
    angle = np.deg2rad(place.yaw_deg)
    return place.scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def matrix(place: Placement) -> np.ndarray:
    pose = np.eye(4)
    pose[:2, :2], pose[2, 2], pose[:3, 3] = turn(place), place.scale, (place.x, place.y, place.z)
    return pose


def outline(asset: Asset, place: Placement) -> shapely.Polygon:
    return shapely.Polygon(np.array(asset.footprint) @ turn(place).T + (place.x, place.y))


def area(support: Support, base: Placement) -> shapely.Polygon:
    rings = [np.array(ring) @ turn(base).T + (base.x, base.y) for ring in support.polygon]
    return shapely.Polygon(rings[0], rings[1:])


def top(asset: Asset, place: Placement) -> float:
    return place.z + place.scale * asset.size_m[2]


@cache
def mesh(asset: Asset) -> trimesh.Trimesh:
    with TemporaryDirectory() as folder:
        vertices, faces = read_mesh(asset, write_glb(asset.uid, Path(folder)))
    return trimesh.Trimesh(vertices, faces, process=False)


def highest_below(asset: Asset, base: Placement, shape: shapely.Polygon, level: float) -> float:
    """Height of the highest point of a model that vertical rays hit below a shape, at most 2 cm above a level."""
    solid = mesh(asset).copy().apply_transform(matrix(base))
    low, high = np.array(shape.bounds[:2]), np.array(shape.bounds[2:])
    points = low + (high - low) * (np.indices((15, 15)).reshape(2, -1).T + 0.5) / 15
    points = points[shapely.contains_xy(shape, points[:, 0], points[:, 1])]
    start = np.column_stack([points, np.full(len(points), level + 0.02)])
    hits, _, _ = solid.ray.intersects_location(start, np.tile([0.0, 0.0, -1.0], (len(start), 1)))
    return float(hits[:, 2].max())


def lineage(identity: int, placements: dict[int, Placement]) -> set[int]:
    """What an object stands on, in or under, directly or not, and itself."""
    found = {identity}
    while on := placements[identity].standing:
        identity = on.object
        found.add(identity)
    return found


def check_moved(scene: Scene, draft: Draft) -> None:
    """Where each moved object stands, from outlines and triangles; nothing intersects it."""
    assert scene.room is not None
    placements = draft.target.placements
    width, depth, height = scene.room.size
    for identity in draft.moved:
        place = placements[identity]
        if not place.present:
            continue
        asset = scene.asset(identity)
        own = outline(asset, place)
        assert shapely.box(-width / 2, -depth / 2, width / 2, depth / 2).contains(own)
        assert top(asset, place) < height
        if place.standing is None:
            assert place.z == 0
        else:
            on = place.standing
            base, support = placements[on.object], scene.supports[on.object][on.support]
            carrier = scene.asset(on.object)
            assert on.kind == support.kind
            inside = area(support, base)
            assert top(asset, place) < base.z + base.scale * (support.z + support.clearance)
            if on.kind == "under":
                assert place.z == 0 and own.intersection(inside).area >= 0.5 * own.area
            else:
                assert inside.buffer(1e-6).contains(own)
                gap = place.z - highest_below(carrier, base, own, place.z)
                assert abs(gap) <= (0.002 if on.kind == "soft" else 0.001)
        kin = lineage(identity, placements)
        for id, other in placements.items():
            if id in kin or identity in lineage(id, placements) or not other.present:
                continue
            if place.z < top(scene.asset(id), other) - 1e-6 and other.z < top(asset, place) - 1e-6:
                assert own.distance(outline(scene.asset(id), other)) > 0.009
        for lamp in scene.room.light.lamps:
            if lamp.kind == "standing" or lamp.z < top(asset, place):
                assert own.distance(shapely.Point(lamp.x, lamp.y)) > 0.95 * lamp.radius


def carried_by(identity: int, placements: dict[int, Placement]) -> set[int]:
    return {id for id in placements if identity in lineage(id, placements) - {id} and placements[id].present}


@pytest.mark.parametrize("kind", ["translate", "insert", "rotate", "scale", "swap"])
def test_all_that_moves_stands_free_at_the_height_of_its_support(kind: EditKind):
    for scene, draft in edits(kind):
        check_moved(scene, draft)
        allowed = set(draft.edit.edited).union(*(carried_by(id, scene.placements) for id in draft.edit.edited))
        assert set(draft.moved) == allowed
        assert specify(scene, draft).moved[: len(draft.edit.edited)] == draft.edit.edited
        assert set(specify(scene, draft).moved) == allowed


def test_what_stands_on_a_moved_object_moves_along_rigidly():
    riders = 0
    for kind in ("translate", "rotate", "swap"):
        for _, draft in edits(kind):
            source, target = draft.source.placements, draft.target.placements
            for edited in draft.edit.edited:
                for rider in carried_by(edited, source):
                    before = np.linalg.inv(matrix(source[edited])) @ matrix(source[rider])
                    after = np.linalg.inv(matrix(target[edited])) @ matrix(target[rider])
                    np.testing.assert_allclose(before, after, atol=5e-6)
                    assert source[rider].standing == target[rider].standing
                    riders += 1
    assert riders > 20


def test_what_stands_on_a_scaled_object_keeps_its_size_and_stands():
    riders = 0
    for _, draft in edits("scale"):
        edited = draft.edit.object
        source, target = draft.source.placements, draft.target.placements
        assert target[edited].scale / source[edited].scale == pytest.approx(draft.edit.scale)
        for rider in carried_by(edited, source):
            assert target[rider].scale == source[rider].scale
            assert target[rider].yaw_deg == source[rider].yaw_deg
            riders += 1
    assert riders > 3


def test_translations_lead_from_place_to_place():
    for scene, draft in edits("translate"):
        before, after = (state.placements[draft.edit.object] for state in (draft.source, draft.target))
        difference = (after.x - before.x, after.y - before.y, after.z - before.z)
        assert draft.edit.translation == pytest.approx(difference, abs=2e-6)
        assert (after.yaw_deg, after.scale) == (before.yaw_deg, before.scale)
        on = after.standing
        assert on is None or draft.edit.object not in lineage(on.object, scene.placements)


def is_between(scene: Scene, placements: dict[int, Placement], identity: int) -> bool:
    place = placements[identity]
    level = [id for id, other in placements.items() if other.present and other.standing == place.standing]
    shapes = {id: outline(scene.asset(id), placements[id]) for id in level}
    own = shapes.pop(identity)
    for a, b in combinations(shapes, 2):
        start, end = (np.array(shapes[id].centroid.coords[0]) for id in (a, b))
        line = end - start
        offset = np.array(own.centroid.coords[0]) - start
        share = offset @ line / (line @ line)
        aside = abs(offset[0] * line[1] - offset[1] * line[0]) / np.linalg.norm(line)
        normal = np.array([-line[1], line[0]]) / np.linalg.norm(line)
        width = np.ptp(np.array(own.exterior.coords) @ normal)
        corridor = shapely.LineString([start, end]).buffer(width / 2, cap_style="flat")
        free = not any(corridor.intersects(shape) for id, shape in shapes.items() if id not in (a, b))
        if 0.25 <= share <= 0.75 and aside <= width / 2 and free:
            return True
    return False


def walls(scene: Scene, placements: dict[int, Placement], identity: int) -> int:
    """Number of walls at most 6 cm away to which the object's box is parallel, one of them at its back."""
    assert scene.room is not None
    place, asset = placements[identity], scene.asset(identity)
    if place.standing is not None or not place.present:
        return 0
    corners = np.array(outline(asset, place).exterior.coords)
    tilt = place.yaw_deg % 90
    near, back = 0, asset.front_deg is None
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        if scene.room.size[axis] / 2 - (sign * corners[:, axis]).max() <= 0.06 and min(tilt, 90 - tilt) <= 10:
            near += 1
            inward = np.rad2deg(np.arctan2(*(-sign * np.eye(2)[axis])[::-1]))
            if asset.front_deg is not None:
                back |= abs(wrap_degrees(place.yaw_deg + asset.front_deg - inward)) <= 10
    return near if back else 0


def kinds_of_place(scene: Scene, draft: Draft) -> set[str]:
    """What an edit brings about, from poses alone."""
    identity, source, target = draft.edit.object, draft.source.placements, draft.target.placements
    before, after = source[identity], target[identity]
    new = not before.present
    found: set[str] = set()
    if after.standing and (new or before.standing != after.standing):
        small = max(scene.asset(after.standing.object).size_m) < 0.6
        kind = after.standing.kind
        found.add("stack" if kind in ("top", "soft") and small else "on" if kind in ("top", "soft") else kind)
        if not new and before.standing:
            found.add("from surface to surface")
    if not new and before.standing and after.standing is None:
        found.add("off")
    count = walls(scene, target, identity)
    if count > (0 if new else walls(scene, source, identity)):
        found.add("wall" if count == 1 else "corner")
    if is_between(scene, target, identity) and (new or not is_between(scene, source, identity)):
        found.add("between")
    if carried_by(identity, source):
        found.add("riders")
    return found


def test_every_sort_of_place_is_reached():
    counts = Counter(
        kind for name in ("translate", "insert") for found in edits(name) for kind in kinds_of_place(*found)
    )
    wanted = {"on", "under", "off", "from surface to surface", "wall", "corner", "between", "riders"}
    assert all(counts[kind] >= 2 for kind in wanted) and counts["inside"] + counts["stack"] >= 2, counts


def test_swaps_exchange_places_across_levels():
    """Origins, or edges toward one side of the room, are where those of the other object were."""

    def marks(asset: Asset, place: Placement) -> np.ndarray:
        x0, y0, x1, y1 = outline(asset, place).bounds
        return np.array([(place.x, place.y), (x0, y0), (x1, y1)])

    across = aligned = 0
    for scene, draft in edits("swap"):
        one, other = draft.edit.edited
        source, target = draft.source.placements, draft.target.placements
        for mine, its in ((one, other), (other, one)):
            assert target[mine].standing == source[its].standing
            off = np.abs(marks(scene.asset(mine), target[mine]) - marks(scene.asset(its), source[its]))
            assert (off.min(axis=0) < 5e-6).all()
            aligned += bool(off[0].max() > 5e-6)
        rise = target[one].z - source[one].z
        assert draft.edit.translation[2] == pytest.approx(rise, abs=2e-6)
        assert target[other].z - source[other].z == pytest.approx(-rise, abs=0.002)
        across += source[one].standing != source[other].standing
    assert across >= 2 and aligned >= 2


def test_what_carries_others_is_neither_removed_nor_inserted():
    for kind in ("remove", "insert"):
        for scene, draft in edits(kind, 12):
            assert not carried_by(draft.edit.object, scene.placements)


def test_nothing_that_has_things_under_it_is_moved():
    places = {
        1: Placement(0, 0, 0, 0),
        2: Placement(0, 0, 0.7, 0, standing=Standing(1, 0, "top")),
        3: Placement(0.1, 0, 0, 0, standing=Standing(1, 1, "under")),
    }
    assert not carries_along(1, places) and carries_along(2, places)
    assert carries_along(1, {**places, 3: replace(places[3], present=False)})
    for scene, draft in edits("translate"):
        for edited in draft.edit.edited:
            assert carries_along(edited, scene.placements)


def test_heights_of_stacks_count():
    """What is on a moved object moves with it to another height, and its height counts there."""
    moved = 0
    for scene, _ in edits("translate"):
        for identity in scene.placements:
            riders = carried_by(identity, scene.placements)
            place = scene.placements[identity]
            if riders and carries_along(identity, scene.placements):
                lifted = replace(place, z=place.z + 0.5, x=place.x + 0.1, yaw_deg=(place.yaw_deg + 90) % 360)
                after = carried(identity, lifted, scene.assets, scene.placements, scene.supports)
                assert set(after) == riders | {identity}
                for rider in riders:
                    assert after[rider].z == pytest.approx(scene.placements[rider].z + 0.5, abs=1e-6)
                    moved += 1
    assert moved > 20


@pytest.mark.parametrize("kind", ["translate", "rotate", "scale", "swap"])
def test_inverses_lead_back_with_all_that_moved(kind: EditKind):
    found = 0
    for scene, draft in edits(kind):
        spec = specify(scene, draft)
        names = name_objects(spec)
        back = inverted(spec)
        if isinstance(names, str) or isinstance(back, str):
            continue
        assert (back.source, back.target, set(back.moved)) == (spec.target, spec.source, set(spec.moved))
        again = inverted(back)
        assert isinstance(again, str) or again.edit.translation == pytest.approx(spec.edit.translation)
        found += len(spec.moved) > len(spec.edit.edited)
    assert found


TWOS: tuple[tuple[EditKind, EditKind], ...] = (
    ("translate", "translate"),
    ("rotate", "rotate"),
    ("scale", "scale"),
    ("remove", "translate"),
    ("insert", "insert"),
)


@pytest.mark.parametrize("kinds", TWOS)
def test_composed_edits_take_along_what_stands_on_the_object(kinds: tuple[EditKind, EditKind]):
    valid = along = 0
    for seed in range(40 if kinds == ("scale", "scale") else 12):  # carriers are rarely scaled
        for view in VIEWS:
            proposal = propose_group([], kinds, SceneOptions(kinds={view: 1}), SIZE, seed, 0, furniture())
            if isinstance(proposal, Rejection):
                continue
            specs = two(proposal)
            valid += 1
            spec = composed(*specs)
            assert spec.edit.edited == specs[0].edit.edited == specs[1].edit.edited
            edited = spec.edit.object
            source, target = spec.source.placements, spec.target.placements
            riders = carried_by(edited, specs[0].source.placements)
            assert not riders or "remove" not in kinds
            assert set(spec.moved) <= {edited, *riders}
            for rider in riders:
                before = np.linalg.inv(matrix(source[edited])) @ matrix(source[rider])
                after = np.linalg.inv(matrix(target[edited])) @ matrix(target[rider])
                if kinds != ("scale", "scale"):
                    np.testing.assert_allclose(before, after, atol=1e-5)
                assert source[rider].scale == target[rider].scale
                along += 1
            # What the object stands on does not move.
            for state in (spec.source, spec.target):
                for below in lineage(edited, state.placements) - {edited}:
                    assert state.placements[below] == specs[0].source.placements[below]
    assert valid >= 12
    assert along or kinds not in (("translate", "translate"), ("scale", "scale"))


def test_proposals_are_pure():
    for kind in ("translate", "swap"):
        one, other = (propose([], kind, SceneOptions(kinds={"room": 1}), SIZE, 5, 1, furniture()) for _ in range(2))
        assert one == other


def test_all_edits_of_a_scene_share_it():
    """`scene_for` does not depend on the edit."""
    for seed in range(3):
        found = [propose([], "swap", SceneOptions(kinds={"tabletop": 1}), SIZE, seed, a, furniture()) for a in range(5)]
        assert len({repr((s.objects, s.room, s.source.camera)) for s in found if isinstance(s, SceneSpec)}) <= 1


def test_a_draft_that_an_uneven_surface_would_lift_is_rejected():
    scene, draft = next((s, d) for s, d in edits("rotate") if d.source.placements[d.edit.object].standing)
    place = draft.target.placements[draft.edit.object]
    lifted = draft_of(
        scene,
        EditSpec("rotate", draft.edit.object, rotation_deg=draft.edit.rotation_deg),
        {draft.edit.object: replace(place, z=place.z + 0.003)},
    )
    assert RULES["rotate"].floor_fault(scene, lifted) == "rests_unevenly"
