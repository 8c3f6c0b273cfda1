"""A furnished scene: a room or a part of a garden, what stands in it, and a camera.

Invariant: the camera is inside the room at the height of a person's eyes, no object is at the camera, an object that
may be edited carries nothing unless the edit takes it along, and the camera sees a good part of every object.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from ...shards.geometry import F64
from ..assets.asset import Asset
from ..assets.carriers import AssetSupports
from .camera import Orbit, eye, frame
from .footprints import Placements, footprint, heights, prism, remade
from .furnish import Furnished, furnish, outlines
from .garden import Garden, sample_garden, sample_sky
from .layout import FURNISHED_FIT_SHARE, Layer, Scene
from .needs import Range, SceneNeeds
from .room import (
    WALLS,
    Opening,
    Room,
    WallName,
    dress_room,
    sample_outlook,
    sample_room,
    seen_from,
    with_daylight,
)
from .rotations import free_turns
from .silhouettes import Forecast, forecast
from .sites import MeshOf
from .spec import Placement, SceneObjectSpec, SceneOptions
from .standing import carries_along, holders, renumbered, riders
from .template import Role, Template

if TYPE_CHECKING:
    import shapely

View = Literal["room", "near"]
_LAYOUTS: Final = 4
"""Rooms that are tried before the scene is rejected."""
_SEEN: Final = 0.3
"""Objects of which less is forecast to be seen are left out."""
_CAMERAS: Final = 16
"""Cameras that are tried for one room."""
_EYE: Final[Mapping[View, Range]] = {"room": (1.3, 1.65), "near": (1.15, 1.7)}
"""Height of the eyes, meters."""
_AZIMUTH: Final = 40.0
"""Largest angle between the viewing direction and the normal of the wall that the camera looks at, degrees."""
_FROM_WALL: Final = 0.15
"""Meters between the eye and the walls."""
_FROM_OBJECT: Final = 0.25
"""Meters between the eye and an object that reaches up to it."""
_ELEVATION: Final[Mapping[View, Range]] = {"room": (4.0, 35.0), "near": (12.0, 55.0)}
_FOCAL: Final[Mapping[View, Range]] = {"room": (24.0, 34.0), "near": (32.0, 48.0)}
"""Focal length on a 32 mm wide sensor, mm."""
_BEYOND: Final = 0.35
"""Meters of flat ground around the objects of a garden."""
_ORBIT: Final = 50.0
"""Degrees to both sides of the camera from which a garden may be seen."""
_NEIGHBORS: Final = 1.6
"""Meters around the focus: what stands there belongs into a view of the room."""


@dataclass(frozen=True)
class Yard:
    """The part of a garden that is furnished (`furnish.Place`): a rectangle around the origin, without walls."""

    size: tuple[float, float, float]
    paved: bool
    openings: tuple[Opening, ...] = ()

    def half(self, wall: WallName) -> float:
        return self.size[1 if WALLS[wall][0] else 0] / 2

    def windows(self) -> tuple[Opening, ...]:
        return self.openings

    @property
    def radius(self) -> float:
        """Of the flat ground around the origin, meters."""
        return float(np.hypot(*self.size[:2])) / 2 + _BEYOND


def furnish_scene(
    rng: np.random.Generator,
    view: View,
    template: Template,
    roles: Mapping[str, Role],
    assets: Sequence[Asset],
    supports_of: Callable[[str], AssetSupports],
    mesh_of: MeshOf | None,
    needs: SceneNeeds,
    options: SceneOptions,
    resolution: tuple[int, int],
) -> Scene | str:
    """A furnished scene that meets what an edit needs of it, or why there is none.

    Args:
        view: of the room or the garden, or near what stands on the focus of the template.
        assets, supports_of, mesh_of: as in `furnish.furnish`.
    """
    fault = ""
    for _ in range(_LAYOUTS):
        room, back = _yard(rng, template) if template.kind == "garden" else _sized(rng, template)
        found = furnish(rng, room, back, template, roles, assets, supports_of, mesh_of)
        if isinstance(found, str):
            fault = found
            continue
        scene = _seen_scene(rng, view, found, room, back, needs, options, resolution)
        if not isinstance(scene, str):
            return scene
        fault = scene
    return fault


def _seen_scene(
    rng: np.random.Generator,
    view: View,
    found: Furnished,
    room: Room | Yard,
    back: WallName,
    needs: SceneNeeds,
    options: SceneOptions,
    resolution: tuple[int, int],
) -> Scene | str:
    """The scene of the first camera that sees enough, with what it sees."""
    fault = "no_camera"
    for _ in range(_CAMERAS):
        orbit = _camera(rng, view, found, room, back, resolution)
        if isinstance(orbit, str):
            continue
        kept = _seen(found, orbit, resolution)
        objects = tuple(SceneObjectSpec(id, asset, "midground") for id, asset in kept.assets.items())
        outlook = forecast(objects, kept.placements, orbit.pose(), resolution) if objects else {}
        fit = _editable(kept, outlook, needs, options, resolution, room)
        if len(objects) < options.objects[0] or len(fit) < needs.editable:
            fault = "nothing_to_edit"
            continue
        # Dressed and lit for the first camera: all edits of a scene share what the renderer has loaded.
        dressed = garden = None
        if isinstance(room, Yard):
            garden = _planted(rng, room, orbit)
            sky = sample_sky(rng, options.light.hdris)
            daylight = float(rng.uniform(*options.light.strength))
            light, floor = replace(sky, strength=round(daylight, 6)), garden.ground
        else:
            dressed = seen_from(dress_room(rng, room, outlines(kept)), [orbit.pose()])
            outside = sample_outlook(rng, dressed.light.mood, options.light.hdris)
            daylight = float(rng.uniform(*options.light.strength))
            dressed = with_daylight(dressed, daylight)
            light, floor = replace(outside, strength=round(outside.strength * daylight, 6)), dressed.floor
        return Scene(
            objects=_layered(objects, kept.placements, orbit),
            placements=kept.placements,
            floor=floor,
            walls=(),
            light=light,
            orbit=orbit,
            camera=orbit.pose(),
            resolution=resolution,
            outlook=outlook,
            fit=fit,
            seed=int(rng.integers(2**31)),
            room=dressed,
            garden=garden,
            kind="garden" if garden is not None else "tabletop" if view == "near" else "room",
            supports=kept.supports,
        )
    return fault


def _planted(rng: np.random.Generator, yard: Yard, orbit: Orbit) -> Garden:
    """The garden around a yard."""
    poses = [orbit.turned(turn, 0.0, 1.0).pose() for turn in (0.0, -_ORBIT, _ORBIT)]
    return sample_garden(rng, [(0.0, 0.0, yard.radius)], poses, yard.size[:2] if yard.paved else None)


def free_floor(scene: Scene) -> "shapely.Polygon":
    """The floor of a furnished scene on which objects may stand, world meters: inside the walls, or flat ground."""
    import shapely

    if scene.garden is not None:
        x, y, radius = scene.garden.pads[0]
        return shapely.Point(x, y).buffer(radius)
    assert scene.room is not None
    width, depth, _ = scene.room.size
    return shapely.box(-width / 2, -depth / 2, width / 2, depth / 2)


def _seen(found: Furnished, orbit: Orbit, resolution: tuple[int, int]) -> Furnished:
    """What a camera sees, numbered from 1. What it does not see, or little of, is left out, unless it carries what is.

    So names and relations never count an object that the viewer does not see.
    """
    gone: set[int] = set()
    while True:
        ids = [id for id in found.assets if id not in gone]
        if not ids:
            return Furnished()
        objects = [SceneObjectSpec(id, found.assets[id], "midground") for id in ids]
        placements = {id: found.placements[id] for id in ids}
        outlook = forecast(objects, placements, orbit.pose(), resolution)
        seen = {id for id, look in outlook.items() if look.visible * look.in_frame >= _SEEN}
        unseen = set(ids) - seen - holders(seen, placements)
        if not unseen:
            break
        gone |= unseen
    new = {id: index + 1 for index, id in enumerate(ids)}
    moved = {new[id]: renumbered(place, new) for id, place in placements.items()}
    return Furnished(
        {new[id]: found.assets[id] for id in ids},
        {id: moved[id] for id in sorted(moved)},
        {new[id]: found.supports[id] for id in ids if id in found.supports},
        new.get(found.focus, 0),
    )


def inside_room(room: Room, point: F64, margin: float) -> bool:
    """Whether a point (2 or 3,) is inside the walls by a margin, meters."""
    return bool((np.abs(point[:2]) <= np.array(room.size[:2]) / 2 - margin).all())


def eye_fault(scene: Scene, placements: Placements, position: F64) -> str | None:
    """Why a camera cannot be at a point (3,) of a furnished scene: behind a wall, above the ceiling, in an object."""
    if scene.room is not None and not (
        inside_room(scene.room, position, _FROM_WALL) and 0.2 <= position[2] <= scene.room.size[2] - _FROM_WALL
    ):
        return "behind_wall"
    if scene.garden is not None and not _in_garden(scene.garden, position):
        return "behind_wall"
    assets = {placed.id: placed.asset for placed in scene.objects}
    return "camera_too_near" if _touches(assets, placements, position) else None


def _in_garden(garden: Garden, position: F64) -> bool:
    """Whether a camera is above the ground, on the side of the fence or hedge where the objects are."""
    if position[2] < 0.2:
        return False
    if (border := garden.border) is None:
        return True
    across = np.deg2rad(border.yaw_deg + 90.0)
    normal = np.array([np.cos(across), np.sin(across)])
    line = np.array([border.x, border.y]) @ normal
    here, there = (float(np.array(point) @ normal - line) for point in (position[:2], garden.pads[0][:2]))
    return here * there > 0 and abs(here) > 0.6


def _yard(rng: np.random.Generator, template: Template) -> tuple[Yard, WallName]:
    """A yard, and the side of it that the camera looks at."""
    width, depth, height = (round(float(rng.uniform(*side)), 3) for side in template.size)
    return Yard((width, depth, height), template.ground == "paving"), tuple(WALLS)[int(rng.integers(4))]


def _sized(rng: np.random.Generator, template: Template) -> tuple[Room, WallName]:
    """A room, and the wall that the camera looks at: along the template's width, and with as few openings as any."""
    width, depth, height = template.size
    axis = "xy"[int(rng.integers(2))]
    room = sample_room(rng, (width, depth, height) if axis == "y" else (depth, width, height))
    walls: list[WallName] = [name for name in WALLS if name[1] == axis]
    counts = [sum(opening.wall == name for opening in room.openings) for name in walls]
    first = int(rng.integers(2)) if counts[0] == counts[1] else int(np.argmin(counts))
    return room, walls[first]


def _camera(
    rng: np.random.Generator,
    view: View,
    found: Furnished,
    room: Room | Yard,
    back: WallName,
    resolution: tuple[int, int],
) -> Orbit | str:
    """A camera that sees the focus with what stands on it, or why the one that was drawn cannot be used."""
    normal = WALLS[back]
    azimuth = float(np.rad2deg(np.arctan2(-normal[1], -normal[0])) + rng.uniform(-_AZIMUTH, _AZIMUTH))
    height = float(rng.uniform(*_EYE[view]))
    points = _subject(found, view)
    target = (points.min(axis=0) + points.max(axis=0)) / 2
    fill, focal = float(rng.uniform(0.6, 0.85)), float(rng.uniform(*_FOCAL[view]))
    offset = (float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.04)))
    elevation = float(rng.uniform(*_ELEVATION[view]))
    # The elevation follows from the height of the eyes and the distance, which follows from the framing.
    for _ in range(4):
        orbit = frame(points, azimuth, elevation, focal, resolution, fill, offset)
        rise = float(np.clip((max(height, target[2] + 0.1) - orbit.pivot[2]) / orbit.distance, 0.0, 0.9))
        elevation = float(np.clip(np.rad2deg(np.arcsin(rise)), *_ELEVATION[view]))
    orbit = frame(points, azimuth, elevation, focal, resolution, fill, offset)
    position = eye(orbit.pose())
    inside = isinstance(room, Yard) or inside_room(room, position, _FROM_WALL)
    if not inside or not 0.6 <= position[2] <= room.size[2] - 0.3:
        return "outside"
    return "touches" if _touches(found.assets, found.placements, position) else orbit


def _touches(assets: Mapping[int, Asset], placements: Placements, position: F64) -> bool:
    import shapely

    point = shapely.Point(position[:2])
    for id, place in placements.items():
        if not place.present or position[2] > heights(assets[id], place)[1] + _FROM_OBJECT:
            continue
        if shapely.Polygon(footprint(assets[id], place)).distance(point) < _FROM_OBJECT:
            return True
    return False


def _subject(found: Furnished, view: View) -> F64:
    """Points (n, 3) that the camera frames."""
    on_it = sorted(riders(found.focus, found.placements))
    focus = prism(found.assets[found.focus], found.placements[found.focus])
    if view == "near" and on_it:
        # What stands there, and the surface around it.
        points = [prism(found.assets[id], found.placements[id]).reshape(-1, 3) for id in on_it]
        return np.concatenate([*points, 0.5 * (focus[1] + np.concatenate(points).mean(axis=0))])
    points = [prism(found.assets[id], found.placements[id]).reshape(-1, 3) for id in (found.focus, *on_it)]
    base = found.placements[found.focus]
    for id, place in found.placements.items():
        if place.standing is None and np.hypot(place.x - base.x, place.y - base.y) < _NEIGHBORS:
            points.append(np.array([[place.x, place.y, 0.5 * found.assets[id].size_m[2]]]))
    return np.concatenate(points)


def _editable(
    found: Furnished,
    outlook: Mapping[int, Forecast],
    needs: SceneNeeds,
    options: SceneOptions,
    resolution: tuple[int, int],
    room: Room | Yard,
) -> tuple[int, ...]:
    """Ids of the objects that the edit may take: well seen, and nothing stands on them that does not move along."""
    area = resolution[0] * resolution[1]
    return tuple(
        id
        for id, seen in outlook.items()
        if FURNISHED_FIT_SHARE[0] * area <= seen.own_px <= FURNISHED_FIT_SHARE[1] * area
        and seen.visible >= options.min_visible
        and seen.in_frame >= 0.9
        and (not needs.turnable or _can_turn(found.assets[id], found.placements[id], room))
        and not (needs.upright and found.placements[id].settled)
        and (carries_along(id, found.placements) if needs.carriers else not riders(id, found.placements))
    )


def _can_turn(asset: Asset, place: Placement, room: Room | Yard) -> bool:
    """Whether some visible rotation keeps an object inside the walls."""
    if isinstance(room, Yard):
        return bool(free_turns(asset))
    return any(
        (np.abs(footprint(asset, remade(asset, place, turn))) <= np.array(room.size[:2]) / 2).all()
        for turn in free_turns(asset)
    )


def _layered(objects: Sequence[SceneObjectSpec], placements: Placements, orbit: Orbit) -> tuple[SceneObjectSpec, ...]:
    """The objects with their layers of depth: thirds of the range of their distances."""
    names: tuple[Layer, ...] = ("foreground", "midground", "background")
    spots = np.array([(placements[placed.id].x, placements[placed.id].y) for placed in objects])
    distances = np.linalg.norm(spots - eye(orbit.pose())[:2], axis=1)
    low, high = float(distances.min()), float(distances.max())
    thirds = np.minimum((distances - low) / max(high - low, 1e-9) * 3, 2).astype(int)
    return tuple(replace(placed, layer=names[third]) for placed, third in zip(objects, thirds.tolist(), strict=True))
