"""Sampled rooms are reproducible and rounded, and nothing on their walls overlaps."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import shapely

from spatialdata_builder.shards.geometry import intrinsics_of_lens, look_at, to_json_list
from spatialdata_builder.sources.blender.shell import shell_parts
from spatialdata_builder.sources.scenes.room import (
    CORNER_M,
    FLAT_M,
    WALLS,
    Furniture,
    Room,
    dress_room,
    sample_outlook,
    sample_room,
    seen_from,
    with_daylight,
)
from spatialdata_builder.sources.scenes.spec import CameraPose, to_json
from tests.sources.small_scenes import scene

SQUARE = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])


def furniture(rng: np.random.Generator, room: Room) -> Furniture:
    """A wardrobe and a bench at walls, a table in the middle, a book on the floor."""
    width, depth, _ = room.size
    return [
        (SQUARE * (0.5, 0.3) + (rng.uniform(-0.4, 0.4), depth / 2 - 0.31), 2.0),
        (SQUARE * (0.25, 0.6) + (-width / 2 + 0.26, rng.uniform(-0.3, 0.3)), 0.5),
        (SQUARE * (0.6, 0.4), 0.74),
        (SQUARE * 0.1 + (0.9, -0.7), 0.03),
    ]


def sampled(seed: int) -> tuple[Room, Furniture]:
    rng = np.random.default_rng(seed)
    room = sample_room(rng)
    taken = furniture(rng, room)
    return dress_room(rng, room, taken), taken


ROOMS = [sampled(seed) for seed in range(60)]


def values(plain: Any) -> list[Any]:
    if isinstance(plain, dict):
        return [leaf for value in plain.values() for leaf in values(value)]
    return [leaf for value in plain for leaf in values(value)] if isinstance(plain, tuple | list) else [plain]


def test_same_seed_same_room():
    assert [sampled(seed) for seed in range(5)][3][0] == ROOMS[3][0]
    assert len({json.dumps(dataclasses.asdict(room)) for room, _ in ROOMS}) == len(ROOMS)


def test_values_are_plain_and_rounded():
    for room, _ in ROOMS:
        leaves = values(dataclasses.asdict(room))
        assert {type(leaf) for leaf in leaves} <= {float, int, str, bool, type(None)}
        assert all(round(leaf, 6) == leaf for leaf in leaves if type(leaf) is float)


def spans(room: Room, wall: str, kinds: tuple[str, ...]) -> list[shapely.Polygon]:
    """Rectangles (along, z) on a wall."""
    boxes = []
    if "opening" in kinds:
        boxes += [(*o.span, o.bottom, o.bottom + o.height) for o in room.openings if o.wall == wall]
    if "picture" in kinds:
        boxes += [
            (p.along - p.width / 2, p.along + p.width / 2, p.z - p.height / 2, p.z + p.height / 2)
            for p in room.pictures
            if p.wall == wall
        ]
    if "curtain" in kinds:
        boxes += [
            (c.along - c.width / 2, c.along + c.width / 2, c.bottom, c.top) for c in room.curtains if c.wall == wall
        ]
    return [shapely.box(a0, z0, a1, z1) for a0, a1, z0, z1 in boxes]


@pytest.mark.parametrize("kinds", [("opening", "picture"), ("curtain", "picture"), ("curtain",)])
def test_what_is_on_a_wall_does_not_overlap_and_stays_on_it(kinds: tuple[str, ...]):
    seen = 0
    for room, _ in ROOMS:
        for wall in WALLS:
            boxes = spans(room, wall, kinds)
            face = shapely.box(-room.half(wall), 0, room.half(wall), room.size[2])
            assert all(face.contains(box) for box in boxes)
            assert not any(a.intersects(b) for i, a in enumerate(boxes) for b in boxes[:i])
            seen += len(boxes)
    assert seen > len(ROOMS)


def test_openings_leave_the_corners_and_every_room_has_a_window():
    for room, _ in ROOMS:
        assert all(abs(end) <= room.half(o.wall) - CORNER_M + 1e-6 for o in room.openings for end in o.span)
        assert room.windows()
    assert sum(o.kind == "door" for room, _ in ROOMS for o in room.openings) > 20


def test_pictures_and_curtains_are_not_hidden_by_tall_furniture():
    for room, taken in ROOMS:
        (wardrobe, _), *_ = taken
        low, high = wardrobe[:, 0].min(), wardrobe[:, 0].max()
        for box in spans(room, "+y", ("picture", "curtain")):
            assert box.bounds[2] < low or high < box.bounds[0]


def test_rugs_lie_in_the_room_and_not_below_flat_things():
    rugs = [(room, taken) for room, taken in ROOMS if room.rug]
    assert len(rugs) > 10
    for room, taken in rugs:
        (part,) = (part for part in shell_parts(dataclasses.asdict(room)) if part.material == "rug")
        rug = shapely.MultiPoint(part.vertices[:, :2]).convex_hull
        assert shapely.box(-room.size[0] / 2, -room.size[1] / 2, room.size[0] / 2, room.size[1] / 2).contains(rug)
        assert not any(rug.intersects(shapely.Polygon(outline)) for outline, height in taken if height < FLAT_M)


def test_light_passes_the_walls_that_no_camera_sees():
    room, _ = ROOMS[0]

    def camera(at: tuple[float, float, float]) -> CameraPose:
        eye = (0.0, 0.0, 1.4)
        return CameraPose(tuple(to_json_list(intrinsics_of_lens(30.0, 64, 48))), tuple(to_json_list(look_at(eye, at))))

    unseen = seen_from(room, [camera((0.0, 1.0, 1.2))]).light.unseen
    assert "ceiling" in unseen and "-y" in unseen and "+y" not in unseen
    assert "-y" not in seen_from(room, [camera((0.0, 1.0, 1.2)), camera((0.3, -1.0, 1.2))]).light.unseen


def test_standing_lamps_keep_away_from_the_camera():
    lit = [(room, lamp) for room, _ in ROOMS for lamp in room.light.lamps if lamp.kind == "standing"]
    assert len(lit) > 5
    for room, lamp in lit:
        for share, kept in ((0.95, False), (-0.9, True)):
            eye = (lamp.x * share, lamp.y * share, 1.4)
            pose = CameraPose(
                tuple(to_json_list(intrinsics_of_lens(30.0, 64, 48))),
                tuple(to_json_list(look_at(eye, (0.0, 0.1, 1.0)))),
            )
            assert (lamp in seen_from(room, [pose]).light.lamps) == kept


def test_a_specification_with_a_room_is_plain_json_and_others_do_not_change():
    room, _ = ROOMS[1]
    spec = scene(walls=())
    plain = to_json(spec)
    assert "room" not in plain and "garden" not in plain
    inside = dataclasses.replace(
        spec, room=room, floor=room.floor, light=sample_outlook(np.random.default_rng(0), room.light.mood)
    )
    written = json.loads(json.dumps(to_json(inside)))
    assert written.pop("room") == json.loads(json.dumps(dataclasses.asdict(room)))
    assert set(written) == set(json.loads(json.dumps(plain)))


def test_the_shell_is_closed_but_for_windows():
    """Rays from the middle of the room hit something in every direction that is not a window."""
    import trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    rng = np.random.default_rng(5)
    directions = rng.normal(size=(4000, 3))
    for room, _ in ROOMS[:4]:
        parts = shell_parts(dataclasses.asdict(room))
        mesh = trimesh.util.concatenate([trimesh.Trimesh(p.vertices, p.triangles(), process=False) for p in parts])
        eye = np.array([0.05, 0.1, 1.3])
        hit = RayMeshIntersector(mesh, scale_to_box=False).intersects_any(np.tile(eye, (4000, 1)), directions)
        for direction in directions[~hit]:
            planes = {
                w: (room.size[0 if n[0] else 1] / 2 - eye[:2] @ n) / (direction[:2] @ n) for w, n in WALLS.items()
            }
            wall, t = min(((w, t) for w, t in planes.items() if t > 0), key=lambda item: item[1])
            point = eye + t * direction
            along = point[:2] @ (WALLS[wall][1], -WALLS[wall][0])
            assert any(
                o.span[0] <= along <= o.span[1] and o.bottom <= point[2] <= o.bottom + o.height
                for o in room.windows()
                if o.wall == wall
            )
        assert 0.9 < hit.mean() < 1


def test_the_outlook_is_drawn_from_what_is_allowed():
    """Blender's own by mood, files in any mood, and all that is allowed where nothing fits."""

    def drawn(mood, *hdris: str) -> set[str]:
        return {sample_outlook(np.random.default_rng(seed), mood, hdris).hdri for seed in range(60)}

    assert drawn("day", "city", "night", "studio") == {"city"}
    assert drawn("lamp", "city", "night", "studio") == {"city", "night"}
    assert drawn("day", "night", "studio") == {"night", "studio"}
    assert drawn("evening", "night", "ab12.exr", "city") == {"ab12.exr", "city"}
    assert drawn("day", "ab12.exr", "cd34.hdr") == {"ab12.exr", "cd34.hdr"}


def test_daylight_does_not_change_lamps():
    room = next(room for room, _ in ROOMS if room.light.sun)
    bright = with_daylight(room, 2.0)
    assert bright.light.windows == pytest.approx(2 * room.light.windows)
    assert bright.light.sun and room.light.sun
    assert bright.light.sun.irradiance == pytest.approx(2 * room.light.sun.irradiance)
    assert dataclasses.replace(bright.light, windows=room.light.windows, sun=room.light.sun) == room.light


def test_curtains_and_sills_keep_off_what_stands_on_furniture():
    """Things of several heights on a bench below a window: no part of a curtain or a sill is inside one of them."""
    cleared = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        room = sample_room(rng)
        window = room.windows()[0]
        normal = np.array(WALLS[window.wall], float)
        right = np.array([normal[1], -normal[0]])
        wall = room.size[0 if normal[0] else 1] / 2
        first, last = window.span
        spots = {window.along: window.bottom + 0.2, first + 0.03: window.bottom + 0.1, last - 0.03: 0.7}
        things = [(SQUARE * 0.06 + normal * (wall - 0.075) + right * at, height) for at, height in spots.items()]
        bench = (SQUARE * 0.2 + normal * (wall - 0.21) + right * window.along, 0.5)
        dressed = dress_room(rng, room, [bench], things)
        bare = dress_room(np.random.default_rng(seed), room, [bench])
        cleared += dressed.openings != bare.openings
        for part in shell_parts(dataclasses.asdict(dressed)):
            if part.name not in ("curtain", "sill"):
                continue
            for outline, height in things:
                points = part.vertices[(part.vertices[:, 2] > 0.5) & (part.vertices[:, 2] < height)]
                assert not shapely.contains_xy(shapely.Polygon(outline), points[:, :2]).any()
                box = shapely.box(*part.vertices[:, :2].min(axis=0), *part.vertices[:, :2].max(axis=0))
                if part.name == "sill" and part.vertices[:, 2].min() < height:
                    assert not box.intersects(shapely.Polygon(outline))
    assert cleared > 20
