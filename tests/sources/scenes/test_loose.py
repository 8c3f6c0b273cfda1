"""Things that lean, lie and are in a heap in a furnished room: contacts by rays on triangles, relations, edits."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import shapely
import trimesh

from spatialdata_builder.annotators.proximity import HOLDS, against_wall, outline
from spatialdata_builder.shards.geometry import transform
from spatialdata_builder.shards.schema import EDIT_KINDS
from spatialdata_builder.sources.assets.asset import Asset
from spatialdata_builder.sources.assets.carriers import AssetSupports
from spatialdata_builder.sources.edits.proposals import generator, propose
from spatialdata_builder.sources.scenes.convex import Mesh
from spatialdata_builder.sources.scenes.footprints import footprint, heights, pose_of, prism
from spatialdata_builder.sources.scenes.furnish import Furnished, furnish
from spatialdata_builder.sources.scenes.loose import Site, at_rest
from spatialdata_builder.sources.scenes.physics import Body
from spatialdata_builder.sources.scenes.room import WALLS, Room, sample_room
from spatialdata_builder.sources.scenes.sites import Sites
from spatialdata_builder.sources.scenes.spec import (
    Placement,
    SceneOptions,
    SceneSpec,
    Settled,
    Standing,
    State,
    to_json,
)
from spatialdata_builder.sources.scenes.standing import carrying, renumbered, riders
from spatialdata_builder.sources.scenes.template import Template, Templates, builtin_templates
from tests.sources.furniture import furniture, mesh_of, solid, with_physics

pytestmark = pytest.mark.slow
pytest.importorskip("mujoco", reason="MuJoCo (extra `physics`) is not installed")
ITEMS = [
    {"name": "table", "role": "dining table", "place": "in the middle", "needed": True},
    {"name": "bowl", "role": "fruit bowl", "place": "on", "of": "table"},
    {"role": "fruit", "place": "on", "of": "bowl", "pose": "heap", "count": [2, 4]},
    {"role": "bottle", "place": "on", "of": "table", "pose": "lying"},
    {"name": "low", "role": "counter", "place": "against wall"},
    {"role": "desk thing", "place": "on", "of": "low", "count": [1, 2]},
    {"role": "leaning thing", "place": "on", "of": "low", "pose": "leaning", "count": [2, 4]},
    {"role": "toy", "place": "anywhere", "pose": "heap", "count": [3, 5]},
]
SIZE = ((4.5, 5.0), (4.5, 5.0), (2.5, 2.6))
ROOM = Template.model_validate({"kind": "room", "size": SIZE, "focus": "table", "items": ITEMS})
WIDTHS = (256, 256)


@cache
def room(seed: int, physics: bool = True, variants: int = 3) -> Furnished:
    rng = generator(seed)
    made = with_physics(variants) if physics else furniture(variants)
    found = furnish(
        rng, sample_room(rng, SIZE), "+y", ROOM, builtin_templates().roles, made.assets, made.supports_of, made.mesh_of
    )
    assert isinstance(found, Furnished)
    return found


def rooms(count: int = 6) -> list[Furnished]:
    return [room(seed) for seed in range(count)]


def world_mesh(found: Furnished, identity: int) -> trimesh.Trimesh:
    mesh = mesh_of(found.assets[identity])
    return trimesh.Trimesh(transform(pose_of(found.placements[identity]), mesh.vertices), mesh.faces, process=False)


def settled(found: Furnished) -> list[int]:
    return [identity for identity, place in found.placements.items() if place.settled]


def surface_points(mesh: trimesh.Trimesh, apart: float = 0.008) -> np.ndarray:
    return np.array(trimesh.remesh.subdivide_to_size(mesh.vertices, mesh.faces, apart, max_iter=14)[0])


def clearances(
    own: trimesh.Trimesh, others: trimesh.Trimesh, lift: float = 0.004, spacing: float = 0.008
) -> np.ndarray:
    """Vertical distances of points on a mesh to what is below, by rays; negative where they are inside by up to `lift`.

    Beside a steep wall a little depth is a long way up, so depths are at most the distance to the surface. A face that
    looks down is above the point, not below.
    """
    points = surface_points(own, spacing)
    down = np.tile([0.0, 0.0, -1.0], (len(points), 1))
    hits, rays, triangles = others.ray.intersects_location(
        points + np.array([0.0, 0.0, lift]), down, multiple_hits=False
    )
    up = others.face_normals[triangles, 2] > 0
    hits, rays = hits[up], rays[up]
    apart = points[rays, 2] - hits[:, 2]
    deep = np.flatnonzero(apart < -0.0005)
    if len(deep):
        # The point is below a stem or a handle that is thinner than `lift` if the first side above it faces down.
        _, above, met = others.ray.intersects_location(points[rays[deep]], -down[: len(deep)], multiple_hits=False)
        outside = above[others.face_normals[met, 2] < 0]
        apart[deep[outside]] = np.inf
        deep = np.delete(deep, outside)
    if len(deep):
        apart[deep] = np.maximum(apart[deep], -distances(points[rays[deep]], others))
    return apart


def distances(points: np.ndarray, mesh: trimesh.Trimesh) -> np.ndarray:
    """Distances of points to the triangles within 3 cm of any of them, else infinite."""
    corners = mesh.triangles
    low, high = points.min(axis=0) - 0.03, points.max(axis=0) + 0.03
    near = (corners.max(axis=1) > low).all(axis=1) & (corners.min(axis=1) < high).all(axis=1)
    if not near.any():
        return np.full(len(points), np.inf)
    part = trimesh.Trimesh(mesh.vertices, mesh.faces[near], process=False)
    return trimesh.proximity.closest_point_naive(part, points)[1]


def floor() -> trimesh.Trimesh:
    return trimesh.creation.box((20.0, 20.0, 1.0), trimesh.transformations.translation_matrix((0.0, 0.0, -0.5)))


def test_every_kind_of_pose_is_there():
    found = rooms()
    roles = {
        "lying": ("bottle", "mug", "vase", "candle"),
        "leaning": ("book",),
        "bowl": ("apple",),
        "heap": ("ball", "toy car", "gift box"),
    }
    for names in roles.values():
        assert sum(any(one.assets[i].category in names for i in settled(one)) for one in found) >= 3


def test_nothing_floats_and_nothing_cuts_through():
    for found in rooms():
        for identity in settled(found):
            own = world_mesh(found, identity)
            others = [world_mesh(found, other) for other in found.placements if other != identity]
            apart = clearances(own, trimesh.util.concatenate([floor(), *others]))
            assert -0.002 < apart.min() < 0.002, (found.assets[identity].uid, apart.min())


def test_who_holds_whom_is_read_from_the_result():
    for found in rooms():
        for identity in settled(found):
            place = found.placements[identity]
            assert place.settled is not None and identity not in place.settled.held_by
            for holder in place.settled.held_by:
                other = world_mesh(found, holder)
                points = surface_points(world_mesh(found, identity))
                low, high = other.bounds
                away = np.linalg.norm(np.clip(points, low, high) - points, axis=1)
                near = points[np.argsort(away, kind="stable")][: max(300, int((away < 0.008).sum()))]
                # An edge may touch a face between the points, which are 8 mm apart.
                assert any(distances(near[i : i + 300], other).min() < 0.008 for i in range(0, len(near), 300))
            assert place.settled.on_support or place.settled.held_by
            if place.settled.on_support:
                under = floor() if place.standing is None else world_mesh(found, place.standing.object)
                own = world_mesh(found, identity)
                assert any(clearances(own, under, spacing=spacing).min() < 0.002 for spacing in (0.008, 0.003))


def test_fruit_is_in_the_bowl():
    seen = 0
    for found in rooms():
        for identity in settled(found):
            place = found.placements[identity]
            if found.assets[identity].category == "apple" and place.standing and place.standing.kind == "inside":
                base = found.placements[place.standing.object]
                rim = base.z + found.assets[place.standing.object].size_m[2]
                low = world_mesh(found, identity).vertices[:, 2].min()
                assert base.z < low < rim
                seen += 1
    assert seen >= 5


def test_prism_and_footprint_contain_a_tilted_object():
    for found in rooms(4):
        for identity in settled(found):
            asset, place = found.assets[identity], found.placements[identity]
            points = world_mesh(found, identity).vertices
            outline = shapely.Polygon(footprint(asset, place))
            assert outline.buffer(1e-5).contains(shapely.multipoints(points[:, :2])) and outline.exterior.is_ccw
            low, high = heights(asset, place)
            assert low - 1e-5 <= points[:, 2].min() and points[:, 2].max() <= high + 1e-5
            assert prism(asset, place).shape == (2, len(asset.footprint), 3)


def test_without_physics_these_items_are_left_out():
    assert not any(settled(room(seed, physics=False)) for seed in range(4))


def test_another_process_gives_the_same_scenes():
    code = "from tests.sources.scenes.test_loose import digest; print(digest())"  # in a process of its own
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    # Here, other scenes were made before.
    assert settled(room(0)) and {run.stdout.split()[-1] for run in runs} == {digest()}


def digest() -> str:
    """Of two rooms of few models, because another process has to make them all."""
    rooms = [room(seed, variants=1) for seed in range(2)]
    assert all(map(settled, rooms))
    found = [(one.placements, [asset.uid for asset in one.assets.values()]) for one in rooms]
    return hashlib.sha256(repr(found).encode()).hexdigest()


def box(size, x: float, z: float) -> Body:
    mesh = trimesh.creation.box(size)
    return Body(solid(mesh), trimesh.transformations.translation_matrix((x, 0.0, z)))


def test_what_falls_off_is_left_out():
    table = Site(shapely.box(-0.5, -0.5, 0.5, 0.5), 0.0, overhang=0.04)
    kept = at_rest([box((0.1, 0.1, 0.1), 0.0, 0.06), box((0.1, 0.1, 0.1), 0.52, 0.06)], table)
    assert set(kept) == {0}
    # What stood on the one that is left out falls in turn, and is settled without it.
    kept = at_rest([box((0.3, 0.1, 0.1), 0.42, 0.06), box((0.1, 0.1, 0.1), 0.3, 0.17)], table)
    assert set(kept) == {1} and kept[1].pose.position[2] == pytest.approx(0.05, abs=1e-3) and not kept[1].held_by


def test_what_only_friction_holds_is_left_out():
    """A ball on a box stays where it is, but looks odd; a board on two boxes does not."""
    table = Site(shapely.box(-0.5, -0.5, 0.5, 0.5), 0.0)
    ball = Body(
        solid(trimesh.creation.icosphere(radius=0.04)), trimesh.transformations.translation_matrix((0, 0, 0.15))
    )
    cube = (0.1, 0.1, 0.1)
    assert set(at_rest([box(cube, 0.0, 0.051), ball], table)) == {0}
    bridge = at_rest([box(cube, -0.1, 0.051), box(cube, 0.1, 0.051), box((0.32, 0.1, 0.02), 0.0, 0.112)], table)
    assert bridge[2].held_by == {0, 1}


def test_cushions_lean_on_the_back_of_a_sofa():
    """A cushion is no procedural model: a flattened ball."""
    sofa = next(asset for asset in furniture(3).assets if asset.category == "sofa")
    flat = trimesh.creation.icosphere(subdivisions=3, radius=1.0)
    flat.vertices = np.sign(flat.vertices) * np.abs(flat.vertices) ** 0.6 * (0.2, 0.07, 0.2)
    flat.vertices[:, 2] -= flat.vertices[:, 2].min()
    hull = shapely.convex_hull(shapely.multipoints(flat.vertices[:, :2]))
    around = tuple(map(tuple, shapely.get_coordinates(hull)))[:-1]
    cushion = Asset("c", "c", "cushion", "", "cc0", "", 1.0, (0, 0, 0), (0.4, 0.14, 0.4), around, 1)
    meshes = {"c": solid(flat), sofa.uid: mesh_of(sofa)}
    supports = furniture(3).supports_of(sofa.uid).supports
    assets, placements = {1: sofa}, {1: Placement(0.0, 0.0, 0.0, 0.0)}
    on = Standing(1, 0, supports[0].kind)
    leaning = 0
    for seed in range(4):
        sites = Sites(generator(seed), assets, placements, [], lambda asset: meshes[asset.uid])
        for place in sites.on("leaning", [cushion], on, supports[0], supports[0].shape()).values():
            assert place.settled is not None and place.standing == on
            one = trimesh.Trimesh(transform(pose_of(place), flat.vertices), flat.faces, process=False)
            back = trimesh.Trimesh(mesh_of(sofa).vertices, mesh_of(sofa).faces, process=False)
            apart = clearances(one, back)
            assert -0.002 < apart.min() < 0.002
            leaning += 3 < np.hypot(*place.settled.tilt_deg) < 60
    assert leaning >= 2


def test_books_lean_on_a_shelf():
    made = furniture(3)
    bookcase = next(asset for asset in made.assets if asset.category == "shelf")
    books = [asset for asset in made.assets if asset.category == "book"]
    supports = made.supports_of(bookcase.uid).supports
    case = trimesh.Trimesh(mesh_of(bookcase).vertices, mesh_of(bookcase).faces, process=False)
    shelves = [index for index, one in enumerate(supports) if one.kind == "shelf"]
    leaning, rows = 0, 0
    for seed in range(6):
        index = shelves[seed % len(shelves)]
        on, shelf = Standing(1, index, "shelf", 1, 2), supports[index]
        sites = Sites(generator(seed), {1: bookcase}, {1: Placement(0.0, 0.0, 0.0, 0.0)}, [], mesh_of)
        found = sites.on("leaning", books, on, shelf, shelf.shape())
        rows += bool(found)
        meshes = {
            number: trimesh.Trimesh(transform(pose_of(place), mesh.vertices), mesh.faces, process=False)
            for number, place in found.items()
            for mesh in [mesh_of(books[number])]
        }
        for number, place in found.items():
            assert place.settled is not None and place.standing == on
            others = [mesh for other, mesh in meshes.items() if other != number]
            apart = clearances(meshes[number], trimesh.util.concatenate([case, *others]))
            assert -0.002 < apart.min() < 0.002
            assert meshes[number].bounds[1, 2] < shelf.z + shelf.clearance
            # The angle between its thin axis and the level: 0 for a book that stands on its edge.
            leaning += 3 < np.rad2deg(np.arcsin(abs(pose_of(place)[2, 2]))) < 45
    assert rows >= 4 and leaning >= 4


def board(seed: int) -> tuple[Asset, Mesh]:
    """A board of random size that faces -y."""
    width, thick, height = generator(seed).uniform((0.15, 0.015, 0.6), (0.5, 0.04, 1.6)).tolist()
    mesh = trimesh.creation.box((width, thick, height))
    mesh.vertices[:, 2] += height / 2
    outline = ((-width / 2, -thick / 2), (width / 2, -thick / 2), (width / 2, thick / 2), (-width / 2, thick / 2))
    asset = Asset("b", "b", "mirror", "", "cc0", "", 1.0, (0, 0, 0), (width, thick, height), outline, 1)
    return replace(asset, front_deg=270.0), solid(mesh)


@cache
def hall(seed: int) -> tuple[Room, Furnished]:
    """A room with a board that leans on a wall."""
    items = [
        {"name": "table", "role": "dining table", "place": "in the middle", "needed": True},
        {"role": "long leaning thing", "place": "against wall", "pose": "leaning"},
    ]
    template = Template.model_validate({"kind": "room", "size": SIZE, "focus": "table", "items": items})
    rng, (asset, mesh), made = generator(seed), board(seed), furniture(3)
    assets = [asset, *(one for one in made.assets if one.category == "table")]
    meshes = {asset.uid: mesh}
    place = sample_room(rng, SIZE)
    found = furnish(
        rng,
        place,
        "+y",
        template,
        builtin_templates().roles,
        assets,
        lambda uid: made.supports_of(uid) if uid != asset.uid else AssetSupports(),
        lambda one: meshes.get(one.uid) or mesh_of(one),
    )
    assert isinstance(found, Furnished)
    return place, found


def test_boards_lean_on_walls():
    leaning = 0
    for seed in range(8):
        place, found = hall(seed)
        for identity in settled(found):
            at, (asset, mesh) = found.placements[identity], board(seed)
            assert at.settled is not None and at.standing is None and at.settled.on_support and not at.settled.held_by
            points = transform(pose_of(at), mesh.vertices)
            free = np.array(place.size[:2]) / 2 - np.abs(points[:, :2])
            axis = int(np.unravel_index(free.argmin(), free.shape)[1])
            sign = float(np.sign(points[free[:, axis].argmin(), axis]))
            # It touches the floor and, above the skirting, one wall.
            assert abs(points[:, 2].min()) < 0.002 and abs(free.min()) < 0.002
            assert points[free[:, axis].argmin(), 2] > 0.5
            assert free[points[:, 2] < place.skirting, axis].min() > 0.014
            lean = np.rad2deg(np.arccos(pose_of(at)[2, 2]))
            assert 4 < lean < 26
            # Its face is toward the room, it is not before a window that it would hide, and not where a door opens.
            assert -pose_of(at)[axis, 1] * sign < -0.9
            wall = next(name for name, normal in WALLS.items() if normal[axis] == sign)
            along = np.array([WALLS[wall][1], -WALLS[wall][0]])
            low, high = (points[:, :2] @ along).min(), (points[:, :2] @ along).max()
            for opening in place.openings:
                if opening.wall == wall and opening.bottom < max(asset.size_m):
                    assert high < opening.span[0] or opening.span[1] < low
            miss, normal = against_wall(outline(pose_of(at), np.array(asset.size_m)), place.size, None, ())
            assert miss <= HOLDS and normal[axis] == sign
            leaning += 1
    assert leaning >= 6


def scene_specs(kind: str, count: int = 8) -> list[SceneSpec]:
    """Scenes with some furniture that carries nothing, so that two objects can exchange their places."""
    options = SceneOptions(kinds={"room": 1})
    free = [
        {"role": "chair", "place": "around", "of": "table", "count": [2, 4]},
        {"role": "plant", "place": "in a corner"},
        {"role": "stool", "place": "anywhere"},
    ]
    fewer = [item for item in ITEMS if item["role"] != "toy"]
    edited = Template.model_validate({"kind": "room", "size": SIZE, "focus": "table", "items": [*fewer, *free]})
    loose = replace(with_physics(3), templates=Templates({"room": edited}, builtin_templates().roles))
    specs = [propose([], kind, options, WIDTHS, seed, 0, loose) for seed in range(count)]
    return [spec for spec in specs if isinstance(spec, SceneSpec)]


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_what_is_settled_or_holds_another_keeps_its_place(kind: str):
    specs = scene_specs(kind)
    assert len(specs) >= 4 and any(place.settled for spec in specs for place in spec.source.placements.values())
    for spec in specs:
        for identity in spec.edit.edited:
            before, after = spec.source.placements[identity], spec.target.placements[identity]
            # What stands on, leans on or lies on it would fall.
            assert not any(spec.source.placements[rider].settled for rider in riders(identity, spec.source.placements))
            if before.settled or after.settled:
                assert kind in ("insert", "remove")
                assert (before.settled, before.x, before.z) == (after.settled, after.x, after.z)


def test_relations_follow_the_ids():
    held = Placement(0, 0, 1, 0, standing=Standing(2, 0, "top"), settled=Settled((10.0, 0.0), False, (3, 4)))
    assert renumbered(held, {2: 5, 3: 1, 4: 9}) == Placement(
        0, 0, 1, 0, standing=Standing(5, 0, "top"), settled=Settled((10.0, 0.0), False, (1, 9))
    )
    places = {1: held, 2: Placement(0, 0, 0, 0), 3: Placement(0, 0, 0, 0), 4: Placement(0, 0, 0, 0)}
    assert riders(4, places) == {1} and carrying(places) == {2, 3, 4}


def test_json_names_a_tilt_only_where_there_is_one():
    spec = scene_specs("remove")[0]
    place = next(iter(spec.source.placements))
    tilted = Placement(0, 0, 0, 0, settled=Settled((1.0, 2.0), True))
    states = [State({place: one}, spec.source.camera) for one in (tilted, Placement(0, 0, 0, 0))]
    values = to_json(SceneSpec(**{**vars(spec), "source": states[0], "target": states[1]}))
    assert values["source"]["placements"][place]["settled"] == {
        "tilt_deg": (1.0, 2.0),
        "on_support": True,
        "held_by": (),
    }
    assert "settled" not in values["target"]["placements"][place]
