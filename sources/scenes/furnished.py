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
from ..assets.carriers import AssetSupports, role
from .arrangement import Furnished, outlines
from .camera import Orbit, eye, frame
from .footprints import Placements, footprint, prism, remade
from .furnish import furnish
from .garden import sample_sky
from .layout import FURNISHED_FIT_SHARE, Scene, layered, touches
from .needs import Range, SceneNeeds
from .room import (
    WALLS,
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
from .standing import carries_along, carrying, holders, renumbered, riders
from .template import Role, Template
from .yard import Yard, in_garden, planted, sample_yard

if TYPE_CHECKING:
    import shapely

View = Literal["room", "near"]
_LAYOUTS: Final = 4
"""Rooms that are tried before the scene is rejected."""
_SEEN: Final = 0.3
"""Objects of which less is forecast to be seen are left out."""
_FRAMED: Final = 0.7
"""Things on others of which less is inside the frame are left out as well: the frame would cut them off."""
_SEEN_TWIN: Final = 0.5
"""`_SEEN` of all but the best seen object of each category: if a name fits two objects, a viewer must see both well."""
_SMALL: Final = 0.7
_WHOLE: Final = 0.6
_LEAST: Final = 0.0015
"""In near views and gardens, things whose largest side is less than `_SMALL` meters are left out as well if a smaller
share of them than `_WHOLE` is inside the frame, or they fill a smaller share of the image than `_LEAST`."""
_CAMERAS: Final = 16
"""Cameras that are tried for one room."""
_CHOICES: Final = 2
"""Cameras that see enough, of which the best is taken."""
_PLENTY: Final = 6
"""A view with fewer objects is taken only if no camera sees so many."""
_EYE: Final[Mapping[View, Range]] = {"room": (1.3, 1.65), "near": (1.15, 1.7)}
"""Height of the eyes, meters."""
_AZIMUTH: Final = 40.0
"""Largest angle between the viewing direction and the normal of the wall that the camera looks at, degrees."""
_FROM_WALL: Final = 0.15
"""Meters between the eye and the walls."""
_ELEVATION: Final[Mapping[View, Range]] = {"room": (4.0, 35.0), "near": (12.0, 55.0)}
_FOCAL: Final[Mapping[View, Range]] = {"room": (24.0, 34.0), "near": (32.0, 48.0)}
"""Focal length on a 32 mm wide sensor, mm."""
_HEIGHT: Final = (1.0, 1.8)
"""Heights at which the eyes may end up, meters."""
_PARTLY: Final = 0.05
"""Least share of an object that another one hides in a view with depth."""
_NEAR_THINGS: Final = 3
"""Fewest things on the surface in a near view."""
_AROUND: Final = 0.35
"""Meters of the surface around the middle of the things on it that a near view shows."""
_GARDEN_THINGS: Final = 4
"""Fewest objects in a view of a garden: with fewer, it looks empty."""
_FOCUS: Final = (0.9, 0.08)
"""Least share of the focus that is inside the frame in a view of a room, and least share of the frame that it fills."""
_NEIGHBORS: Final = 1.2
"""Meters around the focus: what stands there belongs into a view of the room."""


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
        room, back = sample_yard(rng, template) if template.kind == "garden" else _sized(rng, template)
        found = furnish(rng, room, back, template, roles, assets, supports_of, mesh_of, near=view == "near")
        if isinstance(found, str):
            fault = found
            continue
        if template.kind == "garden" and len(found.assets) < _GARDEN_THINGS:
            fault = "few_things"
            continue
        seen_as: View = view
        if view == "near":
            found.surface = _laden(found)
            if not found.surface and template.kind == "room":
                fault = "few_things"
                continue
            seen_as = "near" if found.surface else "room"
        scene = _seen_scene(rng, seen_as, found, room, back, needs, options, resolution)
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
    """The scene of the best of some cameras that see enough, with what it sees."""
    area = resolution[0] * resolution[1]
    best: _Look | None = None
    enough = 0
    for _ in range(_CAMERAS):
        orbit = _camera(rng, view, found, room, back, resolution)
        if isinstance(orbit, str):
            continue
        kept, outlook = _seen(found, orbit, resolution, clearly=view == "near" or isinstance(room, Yard))
        if len(kept.assets) < options.objects[0]:
            continue
        objects = tuple(SceneObjectSpec(id, asset, "midground") for id, asset in kept.assets.items())
        fit = _editable(kept, outlook, needs, options, resolution, room)
        if len(fit) < needs.editable or _subject_fault(view, room, kept, outlook, area):
            continue
        look = _Look(orbit, kept, objects, outlook, fit)
        if best is None or look.score > best.score:
            best = look
        enough += len(kept.assets) >= _PLENTY
        if enough == _CHOICES:
            break
    if best is None:
        return "no_camera"
    # Dressed and lit for this camera: all edits of a scene share what the renderer has loaded.
    dressed = garden = None
    if isinstance(room, Yard):
        garden = planted(rng, room, best.orbit)
        sky = sample_sky(rng, options.light.hdris)
        daylight = float(rng.uniform(*options.light.strength))
        light, floor = replace(sky, strength=round(daylight, 6)), garden.ground
    else:
        standing, things = outlines(best.found, on_floor=True), outlines(best.found, on_floor=False)
        dressed = seen_from(dress_room(rng, room, standing, things), [best.orbit.pose()])
        outside = sample_outlook(rng, dressed.light.mood, options.light.hdris)
        daylight = float(rng.uniform(*options.light.strength))
        dressed = with_daylight(dressed, daylight)
        light, floor = replace(outside, strength=round(outside.strength * daylight, 6)), dressed.floor
    return Scene(
        objects=layered(best.objects, best.found.placements, best.orbit),
        placements=best.found.placements,
        floor=floor,
        walls=(),
        light=light,
        orbit=best.orbit,
        camera=best.orbit.pose(),
        resolution=resolution,
        outlook=best.outlook,
        fit=best.fit,
        seed=int(rng.integers(2**31)),
        room=dressed,
        garden=garden,
        kind="garden" if garden is not None else "tabletop" if view == "near" else "room",
        supports=best.found.supports,
    )


@dataclass(frozen=True)
class _Look:
    """A camera, and what it sees."""

    orbit: Orbit
    found: Furnished
    objects: tuple[SceneObjectSpec, ...]
    outlook: dict[int, Forecast]
    fit: tuple[int, ...]

    @property
    def score(self) -> float:
        """More for a view that has depth, shows more objects, and more that can be edited."""
        depth = overlaps(self.outlook, self.found.placements)
        return 1.0 * depth + 0.3 * min(len(self.fit), 5) + 0.1 * len(self.objects)


def overlaps(outlook: Mapping[int, Forecast], placements: Placements) -> bool:
    """Whether some object is partly hidden by one that it does not carry."""
    carriers = carrying(placements)
    return any(seen.own_px and seen.visible < 1 - _PARTLY for id, seen in outlook.items() if id not in carriers)


def _subject_fault(view: View, room: Room | Yard, found: Furnished, outlook: Mapping[int, Forecast], area: int) -> bool:
    """Whether a view cuts off its focus, shows it too small, or shows a table without things on it; or whether a near
    view or a view of a garden shows too few things."""
    if view == "near":
        return len(_things_on(found.surface, found.placements)) < _NEAR_THINGS
    seen = outlook.get(found.focus)
    if isinstance(room, Yard) and len(found.assets) < _GARDEN_THINGS:
        return True
    is_table = found.focus in found.supports and role(found.assets[found.focus].category) == "surface"
    if is_table and not _things_on(found.focus, found.placements):
        return True
    return seen is None or seen.in_frame < _FOCUS[0] or seen.own_px < _FOCUS[1] * area


def free_floor(scene: Scene) -> "shapely.Polygon":
    """The floor of a furnished scene on which objects may stand, world meters: inside the walls, or flat ground."""
    import shapely

    if scene.garden is not None:
        x, y, radius = scene.garden.pads[0]
        return shapely.Point(x, y).buffer(radius)
    assert scene.room is not None
    width, depth, _ = scene.room.size
    return shapely.box(-width / 2, -depth / 2, width / 2, depth / 2)


def _seen(
    found: Furnished, orbit: Orbit, resolution: tuple[int, int], clearly: bool
) -> tuple[Furnished, dict[int, Forecast]]:
    """What a camera sees, numbered from 1, with its forecast. What it does not see, or little of, is left out, unless
    it carries what is.

    So names and relations never count an object that the viewer does not see.

    Args:
        clearly: whether small things must be seen clearly (`_SMALL`).
    """
    least = _LEAST * resolution[0] * resolution[1]
    gone: set[int] = set()
    while True:
        ids = [id for id in found.assets if id not in gone]
        if not ids:
            return Furnished(), {}
        objects = [SceneObjectSpec(id, found.assets[id], "midground") for id in ids]
        placements = {id: found.placements[id] for id in ids}
        supports = {id: found.supports[id] for id in ids if id in found.supports}
        outlook = forecast(objects, placements, orbit.pose(), resolution, supports)
        seen: set[int] = set()
        best: set[str] = set()
        for id in sorted(ids, key=lambda id: -_share(outlook[id])):
            look, category = outlook[id], found.assets[id].category
            share = _SEEN_TWIN if category in best else _SEEN
            best.add(category)
            small = clearly and max(found.assets[id].size_m) < _SMALL
            unclear = small and (look.in_frame < _WHOLE or look.visible * look.own_px < least)
            cut = placements[id].standing is not None and look.in_frame < _FRAMED
            if _share(look) >= share and not unclear and not cut:
                seen.add(id)
        unseen = set(ids) - seen - holders(seen, placements)
        if not unseen:
            break
        gone |= unseen
    new = {id: index + 1 for index, id in enumerate(ids)}
    moved = {new[id]: renumbered(place, new) for id, place in placements.items()}
    kept = Furnished(
        {new[id]: found.assets[id] for id in ids},
        {id: moved[id] for id in sorted(moved)},
        {new[id]: one for id, one in supports.items()},
        new.get(found.focus, 0),
        new.get(found.surface, 0),
    )
    return kept, {new[id]: outlook[id] for id in ids}


def _share(look: Forecast) -> float:
    """The share of an object that is seen."""
    return look.visible * look.in_frame


def _laden(found: Furnished) -> int:
    """The object for a near view: the template's, else that which carries most; 0 if none carries enough."""
    counts = {id: len(_things_on(id, found.placements)) for id in {found.surface, *carrying(found.placements)}}
    chosen = max(counts, key=lambda id: (id == found.surface and counts[id] >= _NEAR_THINGS, counts[id], -id))
    return chosen if counts[chosen] >= _NEAR_THINGS else 0


def _things_on(identity: int, placements: Placements) -> list[int]:
    """Ids of what stands on or in an object, directly or not, but not under it."""
    return sorted(id for id in riders(identity, placements) if placements[id].z > placements[identity].z)


def inside_room(room: Room, point: F64, margin: float) -> bool:
    """Whether a point (2 or 3,) is inside the walls by a margin, meters."""
    return bool((np.abs(point[:2]) <= np.array(room.size[:2]) / 2 - margin).all())


def eye_fault(scene: Scene, placements: Placements, position: F64) -> str | None:
    """Why a camera cannot be at a point (3,) of a furnished scene: behind a wall, above the ceiling, in an object."""
    if scene.interior is not None and not scene.interior.holds_eye(position):
        return "behind_wall"
    if scene.room is not None and not (
        inside_room(scene.room, position, _FROM_WALL) and 0.2 <= position[2] <= scene.room.size[2] - _FROM_WALL
    ):
        return "behind_wall"
    if scene.garden is not None and not in_garden(scene.garden, position):
        return "behind_wall"
    assets = {placed.id: placed.asset for placed in scene.objects}
    return "camera_too_near" if touches(assets, placements, position) else None


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
    points = _subject(found, view, isinstance(room, Yard))
    target = (points.min(axis=0) + points.max(axis=0)) / 2
    fill, focal = float(rng.uniform(0.6, 0.85)), float(rng.uniform(*_FOCAL[view]))
    offset = (float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.04)))
    elevation = float(rng.uniform(*_ELEVATION[view]))
    # The elevation follows from the height of the eyes and the distance, which follows from the framing.
    for _ in range(2):
        orbit = frame(points, azimuth, elevation, focal, resolution, fill, offset)
        rise = float(np.clip((max(height, target[2] + 0.1) - orbit.pivot[2]) / orbit.distance, 0.0, 0.9))
        elevation = float(np.clip(np.rad2deg(np.arcsin(rise)), *_ELEVATION[view]))
    orbit = frame(points, azimuth, elevation, focal, resolution, fill, offset)
    position = eye(orbit.pose())
    inside = isinstance(room, Yard) or inside_room(room, position, _FROM_WALL)
    if not inside or not _HEIGHT[0] <= position[2] <= _HEIGHT[1]:
        return "outside"
    return "touches" if touches(found.assets, found.placements, position) else orbit


def _subject(found: Furnished, view: View, garden: bool) -> F64:
    """Points (n, 3), world frame, that the camera frames. Gardens: including all of what stands near the focus."""
    chosen = found.surface if view == "near" else found.focus
    on_it = _things_on(chosen, found.placements)
    focus = prism(found.assets[chosen], found.placements[chosen])
    if view == "near":
        # What stands there, and the surface around it.
        points = [prism(found.assets[id], found.placements[id]).reshape(-1, 3) for id in on_it]
        middle = np.concatenate(points).mean(axis=0)
        around = 0.5 * (focus[1] - middle)
        around *= np.minimum(1.0, _AROUND / np.maximum(np.linalg.norm(around, axis=1, keepdims=True), _AROUND))
        return np.concatenate([*points, middle + around])
    points = [prism(found.assets[id], found.placements[id]).reshape(-1, 3) for id in (found.focus, *on_it)]
    base = found.placements[found.focus]
    for id, place in found.placements.items():
        if place.standing is None and np.hypot(place.x - base.x, place.y - base.y) < _NEIGHBORS:
            middle = np.array([[place.x, place.y, 0.5 * found.assets[id].size_m[2]]])
            points.append(prism(found.assets[id], place).reshape(-1, 3) if garden else middle)
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
