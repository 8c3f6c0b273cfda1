"""A room around a scene: its shell, what hangs on its walls, and its light. Sampled in numpy, without Blender.

Frame: the world's. The middle of the floor is the origin, the walls are parallel to the axes, and a wall is named after
its outward normal. On a wall, `along` is the distance from the wall's middle to the right, as seen from inside.

Order: `sample_room` before furniture is arranged, `dress_room` after it, `seen_from` once the cameras are known.
Invariants: openings, pictures and curtains of a wall do not overlap each other, except that a curtain may cover a part
of its own window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...shards.geometry import F64, matrix3, matrix4
from .surfaces import sample_surface
from .values import OWN_HDRIS, CameraPose, Light, Surface

if TYPE_CHECKING:
    import shapely

WallName = Literal["+x", "+y", "-x", "-y"]
Side = Literal["+x", "+y", "-x", "-y", "ceiling"]
Mood = Literal["day", "evening", "lamp"]
Color = tuple[float, float, float]
Range = tuple[float, float]
Furniture = Sequence[tuple[F64, float]]
"""What stands on the floor: footprint (N, 2), convex, world meters, and height in meters."""

WALLS: dict[WallName, tuple[float, float]] = {"+x": (1, 0), "+y": (0, 1), "-x": (-1, 0), "-y": (0, -1)}
"""Outward normals."""
SIZES: tuple[Range, Range, Range] = ((3.2, 5.6), (3.0, 5.2), (2.4, 2.9))
"""Ranges of width (x), depth (y) and height, meters."""
CORNER_M = 0.4
"""An opening ends at least so far from the corners of its wall."""
BETWEEN_M = 0.5
"""Least distance of two openings of one wall, room for the curtains of both."""
CURTAIN_M = 0.22
"""How far a curtain reaches into the room; furniture within this distance from a wall shortens or prevents curtains."""
FLAT_M = 0.25
"""Objects lower than this do not stand on a rug, which would hide their base."""


@dataclass(frozen=True)
class Opening:
    """A window or a door. A door is closed: it opens nothing."""

    kind: Literal["window", "door"]
    wall: WallName
    along: float
    """Of its middle."""
    width: float
    bottom: float
    height: float
    panes: tuple[int, int]
    """Panes of a window, panels of a door: across, down."""
    surface: Surface
    """Of the frame, and of the leaf of a door."""
    sill: float = 0.045
    """How far the sill of a window stands out of the wall, meters."""

    @property
    def span(self) -> Range:
        """From where to where it reaches along its wall."""
        return self.along - self.width / 2, self.along + self.width / 2


@dataclass(frozen=True)
class Picture:
    wall: WallName
    along: float
    z: float
    """Of its middle, as `along`."""
    width: float
    height: float
    """With the frame."""
    frame: float
    """Width of the frame."""
    mat: float
    """Width of the white border between frame and picture."""
    color: Color
    """Of the frame, linear RGB."""
    style: Literal["abstract", "landscape", "shapes", "botanical"]
    seed: int


@dataclass(frozen=True)
class Rug:
    x: float
    y: float
    yaw_deg: float
    length: float
    width: float
    style: Literal["plain", "border", "stripes", "checks", "kilim", "medallion"]
    colors: tuple[Color, Color, Color]
    """Ground, pattern and accent, linear RGB."""
    seed: int


@dataclass(frozen=True)
class Curtain:
    """One panel of cloth on a wall."""

    wall: WallName
    along: float
    """Of its middle."""
    width: float
    bottom: float
    top: float
    seed: int


@dataclass(frozen=True)
class Lamp:
    """A lamp with its lights. Below a `pendant`, and inside of a `standing` lamp, the light is at height z."""

    kind: Literal["flush", "pendant", "standing"]
    x: float
    y: float
    z: float
    radius: float
    """Of the shade."""
    watts: float
    """0: the lamp is off."""
    color: Color
    """Of the light."""
    shade: Surface


@dataclass(frozen=True)
class Sun:
    """Beams of parallel light through the windows of one wall."""

    wall: WallName
    direction: tuple[float, float, float]
    """Of the light: unit, into the room."""
    irradiance: float
    """On a surface across the beam."""
    color: Color


@dataclass(frozen=True)
class RoomLight:
    """All light of a room, in Blender's units of radiance; the exposure follows, so only ratios matter."""

    mood: Mood
    windows: float
    """Radiance of the light that the windows' area gives."""
    windows_color: Color
    fill: float
    """Radiance of the light that comes through `unseen` sides from everywhere: it stands for many bounces."""
    fill_color: Color
    lamps: tuple[Lamp, ...]
    sun: Sun | None
    unseen: tuple[Side, ...] = ("ceiling",)
    """Sides that light passes; only the camera and mirrors see them, as in the set of a film."""


@dataclass(frozen=True)
class Room:
    size: tuple[float, float, float]
    """Width (x), depth (y) and height."""
    floor: Surface
    wall: Surface
    feature: Surface | None
    """Of the wall `feature_wall`, which differs from the others; None: all are equal."""
    feature_wall: WallName
    ceiling: Surface
    trim: Surface
    """Of skirting, cornice and sills."""
    skirting: float
    """Height."""
    cornice: float
    """Height; 0: none."""
    openings: tuple[Opening, ...]
    light: RoomLight
    cloth: Surface
    """Of the curtains."""
    curtains: tuple[Curtain, ...] = ()
    pictures: tuple[Picture, ...] = ()
    rug: Rug | None = None

    def half(self, wall: WallName) -> float:
        """Half of a wall's length."""
        return self.size[1 if WALLS[wall][0] else 0] / 2

    def windows(self) -> tuple[Opening, ...]:
        return tuple(opening for opening in self.openings if opening.kind == "window")


def sample_room(
    rng: np.random.Generator,
    sizes: tuple[Range, Range, Range] = SIZES,
    moods: Sequence[Mood] = ("day", "day", "day", "evening", "lamp"),
) -> Room:
    """An empty room: one to three windows, mostly a door, finishes and light.

    Args:
        sizes: ranges of width (x), depth (y) and height, meters; walls are at least 2 m long and 2.3 m high.
        moods: one is drawn.
    """
    width, depth, height = (round(float(rng.uniform(*side)), 3) for side in sizes)
    floor, wall, ceiling = (sample_surface(rng, role) for role in ("room floor", "room wall", "ceiling"))
    trim, cloth = sample_surface(rng, "trim"), sample_surface(rng, "cloth")
    feature = sample_surface(rng, "feature wall") if rng.random() < 0.3 and wall.kind == "paint" else None
    order = [_WALL_NAMES[i] for i in rng.permutation(4)]
    openings = _openings(rng, (width, depth, height), order, trim)
    light = _light(rng, (width, depth, height), moods[int(rng.integers(len(moods)))], openings)
    return Room(
        size=(width, depth, height),
        floor=floor,
        wall=wall,
        feature=feature,
        feature_wall=order[int(rng.integers(4))],
        ceiling=ceiling,
        trim=trim,
        skirting=_rounded(rng.uniform(0.05, 0.13)),
        cornice=_rounded(rng.uniform(0.05, 0.11)) if rng.random() < 0.35 else 0.0,
        openings=openings,
        light=light,
        cloth=cloth,
    )


def dress_room(rng: np.random.Generator, room: Room, taken: Furniture, things: Furniture = ()) -> Room:
    """The room with curtains, pictures, a rug and, where the mood wants one, a standing lamp, as far as `taken` leaves
    place for them.

    Args:
        things: as `taken`, of what stands on furniture. Curtains keep off these things, and a sill ends at the wall
            where one of them would be in it.
    """
    curtains = _curtains(rng, room, [*taken, *things]) if rng.random() < 0.65 else ()
    pictures = _pictures(rng, room, curtains, taken)
    rug = _rug(rng, room, taken) if room.floor.kind != "carpet" and rng.random() < 0.6 else None
    light = room.light
    if light.mood != "day" and (lamp := _standing_lamp(rng, room, taken)):
        light = replace(light, lamps=(*light.lamps, lamp))
    openings = tuple(_with_sill(room, opening, [*taken, *things]) for opening in room.openings)
    return replace(room, openings=openings, curtains=curtains, pictures=pictures, rug=rug, light=light)


def _with_sill(room: Room, opening: Opening, taken: Furniture) -> Opening:
    """The opening; if something would be in its sill, with a sill that ends at the wall."""
    first, last = opening.span
    before = _standing_at(room, opening.wall, taken, opening.sill + 0.005)
    meets = any(
        a < last + _SILL[0] and first - _SILL[0] < b and height > opening.bottom - _SILL[1] for a, b, height in before
    )
    return replace(opening, sill=_FLUSH) if meets and opening.kind == "window" else opening


def seen_from(room: Room, cameras: Sequence[CameraPose]) -> Room:
    """The room for cameras inside it: light passes the ceiling and the walls that none of them sees, and no standing
    lamp is so near to one that its pole divides the image."""
    shares = np.max([_seen_shares(room, camera) for camera in cameras], axis=0)
    walls: list[Side] = [name for name, share in zip(_WALL_NAMES, shares, strict=True) if share < _SEEN]
    eyes = [matrix4(camera.world_from_camera)[:2, 3] for camera in cameras]
    lamps = tuple(
        lamp
        for lamp in room.light.lamps
        if lamp.kind != "standing" or all(np.hypot(lamp.x - x, lamp.y - y) > _LAMP_M for x, y in eyes)
    )
    return replace(room, light=replace(room.light, unseen=("ceiling", *walls), lamps=lamps))


def blocked(room: Room, bottom: float, top: float) -> list["shapely.Polygon"]:
    """Parts of the floor plan where an object between two heights (meters) cannot be put: at lamps, in curtains and
    sills, and on the rug if the object stands on the floor and is so low that the rug would hide its base."""
    import shapely
    import shapely.affinity

    found = [
        shapely.Point(lamp.x, lamp.y).buffer(lamp.radius)
        for lamp in room.light.lamps
        if lamp.kind == "standing" or lamp.z < top
    ]
    for curtain in room.curtains:
        if curtain.bottom < top:
            ends = (curtain.along - curtain.width / 2, curtain.along + curtain.width / 2)
            near = [_at_wall(room, curtain.wall, end, 0.0) for end in ends]
            far = [_at_wall(room, curtain.wall, end, _CURTAIN_DEPTH) for end in reversed(ends)]
            found.append(shapely.Polygon([*near, *far]))
    for window in room.windows():
        # A window down to the floor has no sill.
        if window.bottom > 0.1 and bottom < window.bottom and window.bottom - _SILL[1] < top:
            first, last = window.span
            ends = (first - _SILL[0], last + _SILL[0])
            near = [_at_wall(room, window.wall, end, 0.0) for end in ends]
            far = [_at_wall(room, window.wall, end, window.sill) for end in reversed(ends)]
            found.append(shapely.Polygon([*near, *far]))
    if room.rug is not None and bottom == 0 and top < FLAT_M:
        rug = shapely.box(-room.rug.length / 2, -room.rug.width / 2, room.rug.length / 2, room.rug.width / 2)
        turned = shapely.affinity.rotate(rug, room.rug.yaw_deg, origin=(0, 0))
        found.append(shapely.affinity.translate(turned, room.rug.x, room.rug.y))
    return found


def sample_outlook(rng: np.random.Generator, mood: Mood, hdris: Sequence[str] = OWN_HDRIS) -> Light:
    """What is seen through the windows, as `SceneSpec.light`: dim relative to the room where it is lit by lamps.

    Args:
        hdris: those that may be drawn. Of Blender's own, only those that fit the mood, unless none of `hdris` does.
    """
    fit = [name for name in hdris if name in _OUTLOOKS[mood] or name not in OWN_HDRIS] or hdris
    return Light(
        hdri=fit[int(rng.integers(len(fit)))],
        rotation_deg=round(float(rng.uniform(0.0, 360.0)), 6),
        strength=_rounded(rng.uniform(*_OUTLOOK_STRENGTH[mood])),
    )


def with_daylight(room: Room, factor: float) -> Room:
    """The room with its windows and its sun brighter by a factor, in relation to lamps and reflected light."""
    light = room.light
    sun = replace(light.sun, irradiance=_rounded(light.sun.irradiance * factor)) if light.sun else None
    return replace(room, light=replace(light, windows=_rounded(light.windows * factor), sun=sun))


_WALL_NAMES: tuple[WallName, ...] = tuple(WALLS)
_SEEN = 0.01
"""Share of the image from which a wall counts as seen."""
_LAMP_M = 1.5
"""Least distance of a standing lamp from a camera."""
_CURTAIN_DEPTH = 0.14
"""How far a curtain reaches into the room, with its folds, meters."""
_SILL = (0.05, 0.03)
"""How far a sill reaches beyond its window at each side, and how thick it is, meters."""
_FLUSH = 0.004
"""How far a sill stands out of the wall where there is no room for it, meters."""
_RAYS = 24
"""Rays across and down the image that decide which walls are seen."""
_OUTLOOKS: dict[Mood, tuple[str, ...]] = {
    "day": ("city", "courtyard", "forest", "sunrise"),
    "evening": ("city", "sunrise", "sunset"),
    "lamp": ("city", "night"),
}
_OUTLOOK_STRENGTH: dict[Mood, Range] = {"day": (1.5, 3.0), "evening": (0.2, 0.5), "lamp": (0.02, 0.06)}
_WARM: Color = (1.0, 0.72, 0.45)
"""Of lamps, about 3000 K."""
_FRAMES: tuple[Color, ...] = (
    (0.02, 0.02, 0.02),
    (0.36, 0.2, 0.09),
    (0.75, 0.74, 0.71),
    (0.12, 0.06, 0.03),
    (0.5, 0.36, 0.14),
)
_STYLES = ("abstract", "landscape", "shapes", "botanical")
_RUG_STYLES = ("plain", "border", "stripes", "checks", "kilim", "medallion")
_RUG_COLORS: tuple[tuple[Color, Color, Color], ...] = (
    ((0.56, 0.5, 0.4), (0.3, 0.25, 0.18), (0.62, 0.58, 0.5)),
    ((0.3, 0.05, 0.05), (0.05, 0.07, 0.16), (0.6, 0.48, 0.3)),
    ((0.07, 0.12, 0.22), (0.5, 0.46, 0.38), (0.45, 0.16, 0.08)),
    ((0.5, 0.48, 0.44), (0.12, 0.12, 0.13), (0.6, 0.59, 0.56)),
    ((0.2, 0.26, 0.17), (0.55, 0.5, 0.38), (0.3, 0.13, 0.06)),
    ((0.5, 0.22, 0.1), (0.6, 0.5, 0.36), (0.12, 0.16, 0.2)),
    ((0.6, 0.55, 0.48), (0.28, 0.36, 0.42), (0.5, 0.28, 0.22)),
    ((0.16, 0.16, 0.17), (0.34, 0.33, 0.32), (0.5, 0.4, 0.2)),
)


def _rounded(value: float) -> float:
    return round(float(value), 6)


def _openings(
    rng: np.random.Generator, size: tuple[float, float, float], order: Sequence[WallName], trim: Surface
) -> tuple[Opening, ...]:
    """Windows on the first walls of `order`, a door mostly on the last; windows of a room look alike."""
    found: list[Opening] = []
    french = rng.random() < 0.15
    bottom = 0.02 if french else float(rng.uniform(0.7, 0.95))
    height = float(rng.uniform(2.0, 2.15)) if french else float(rng.uniform(1.05, 1.5))
    height = min(height, size[2] - bottom - 0.22)
    panes = (int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3])))
    count = int(rng.choice([1, 2, 3], p=[0.4, 0.42, 0.18]))
    for wall in (order[0], order[int(rng.integers(2))], order[1])[:count]:
        width = min(float(rng.uniform(0.85, 1.9)), size[1 if WALLS[wall][0] else 0] - 2 * CORNER_M)
        spot = _free_spot(rng, size, wall, width, found)
        if spot is not None:
            shape = {"width": _rounded(width), "bottom": _rounded(bottom), "height": _rounded(height)}
            found.append(Opening("window", wall, spot, **shape, panes=panes, surface=trim))
    if rng.random() < 0.75:
        leaf = sample_surface(rng, "door")
        width = float(rng.uniform(0.8, 0.95))
        wall = order[int(rng.integers(2, 4))]
        spot = _free_spot(rng, size, wall, width, found)
        if spot is not None:
            panels = (int(rng.integers(1, 3)), int(rng.integers(1, 4)))
            found.append(Opening("door", wall, spot, _rounded(width), 0.0, 2.03, panels, leaf))
    return tuple(found)


def _free_spot(
    rng: np.random.Generator, size: tuple[float, float, float], wall: WallName, width: float, found: Sequence[Opening]
) -> float | None:
    """Where along a wall another opening of this width fits; None where no place was found."""
    reach = size[1 if WALLS[wall][0] else 0] / 2 - CORNER_M - width / 2
    if reach < 0:
        return None
    for _ in range(12):
        spot = _rounded(rng.uniform(-reach, reach))
        low, high = spot - width / 2 - BETWEEN_M, spot + width / 2 + BETWEEN_M
        if all(o.wall != wall or o.span[1] < low or high < o.span[0] for o in found):
            return spot
    return None


def _light(
    rng: np.random.Generator, size: tuple[float, float, float], mood: Mood, openings: Sequence[Opening]
) -> RoomLight:
    """Day: the windows' light leads and the sun may shine in. Evening: both are dim, and the lamp is on. Lamp: it is
    dark outside."""
    windows, fill = {
        "day": ((9.0, 18.0), (0.45, 0.8)),
        "evening": ((1.2, 3.0), (0.2, 0.35)),
        "lamp": ((0.03, 0.1), (0.1, 0.2)),
    }[mood]
    cool = {"day": (0.9, 0.96, 1.0), "evening": (0.72, 0.8, 1.0), "lamp": (0.55, 0.68, 1.0)}[mood]
    warm = {"day": (1.0, 0.98, 0.95), "evening": (1.0, 0.9, 0.8), "lamp": (1.0, 0.84, 0.66)}[mood]
    glass: list[WallName] = [opening.wall for opening in openings if opening.kind == "window"]
    sunny = rng.random() < {"day": 0.6, "evening": 0.35, "lamp": 0.0}[mood]
    sun = _sun(rng, glass[int(rng.integers(len(glass)))], mood) if glass and sunny else None
    return RoomLight(
        mood=mood,
        windows=_rounded(rng.uniform(*windows)),
        windows_color=cool,
        fill=_rounded(rng.uniform(*fill)),
        fill_color=warm,
        lamps=(_ceiling_lamp(rng, size, mood),),
        sun=sun,
    )


def _sun(rng: np.random.Generator, wall: WallName, mood: Mood) -> Sun:
    inward = -np.array(WALLS[wall], np.float64)
    turn = np.deg2rad(rng.uniform(-50.0, 50.0))
    elevation = np.deg2rad(rng.uniform(*((22.0, 50.0) if mood == "day" else (6.0, 16.0))))
    flat = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ inward * np.cos(elevation)
    return Sun(
        wall=wall,
        direction=(_rounded(flat[0]), _rounded(flat[1]), _rounded(-np.sin(elevation))),
        irradiance=_rounded(rng.uniform(*((9.0, 16.0) if mood == "day" else (3.0, 6.0)))),
        color=(1.0, 0.9, 0.76) if mood == "day" else (1.0, 0.6, 0.3),
    )


def _ceiling_lamp(rng: np.random.Generator, size: tuple[float, float, float], mood: Mood) -> Lamp:
    pendant = rng.random() < 0.5
    watts = {"day": 0.0, "evening": rng.uniform(25.0, 45.0), "lamp": rng.uniform(25.0, 55.0)}[mood]
    return Lamp(
        kind="pendant" if pendant else "flush",
        x=_rounded(rng.uniform(-0.12, 0.12) * size[0]),
        y=_rounded(rng.uniform(-0.12, 0.12) * size[1]),
        z=_rounded(size[2] - (rng.uniform(0.35, 0.55) if pendant else 0.08)),
        radius=_rounded(rng.uniform(0.16, 0.26)),
        watts=_rounded(watts),
        color=_WARM,
        shade=sample_surface(rng, "cloth" if pendant else "trim"),
    )


def _standing_lamp(rng: np.random.Generator, room: Room, taken: Furniture) -> Lamp | None:
    """In a corner that is free, away from doors."""
    radius = float(rng.uniform(0.15, 0.22))
    x, y = (side / 2 - radius - 0.12 for side in room.size[:2])
    doors = [_at_wall(room, o.wall, o.along, 0.3) for o in room.openings if o.kind == "door"]
    for i in rng.permutation(4):
        spot = np.array([(x, y), (-x, y), (-x, -y), (x, -y)][i])
        near_door = any(np.hypot(*(spot - door)) < 1.0 for door in doors)
        if near_door or any(_distance(spot, outline) < radius + 0.05 for outline, _ in taken):
            continue
        return Lamp(
            kind="standing",
            x=_rounded(spot[0]),
            y=_rounded(spot[1]),
            z=_rounded(rng.uniform(1.35, 1.6)),
            radius=_rounded(radius),
            watts=_rounded(rng.uniform(25.0, 45.0)),
            color=_WARM,
            shade=sample_surface(rng, "cloth"),
        )
    return None


def _at_wall(room: Room, wall: WallName, along: float, inside: float) -> F64:
    """A point (2,) of the floor, `inside` meters from a wall."""
    normal = np.array(WALLS[wall], np.float64)
    distance = room.size[0 if WALLS[wall][0] else 1] / 2
    return normal * (distance - inside) + np.array([normal[1], -normal[0]]) * along


def _distance(point: F64, outline: F64) -> float:
    import shapely

    return float(shapely.Polygon(outline).distance(shapely.Point(point)))


def _standing_at(room: Room, wall: WallName, taken: Furniture, reach: float) -> list[tuple[float, float, float]]:
    """From where to where along a wall furniture stands within `reach` meters of it, and how high it is."""
    normal = np.array(WALLS[wall], np.float64)
    right = np.array([normal[1], -normal[0]])
    distance = room.size[0 if WALLS[wall][0] else 1] / 2
    spans: list[tuple[float, float, float]] = []
    for outline, height in taken:
        if float((outline @ normal).max()) > distance - reach:
            along = outline @ right
            spans.append((float(along.min()), float(along.max()), height))
    return spans


def _curtains(rng: np.random.Generator, room: Room, taken: Furniture) -> tuple[Curtain, ...]:
    """A panel at each side of the windows, to the floor; to the sill where furniture stands below."""
    found: list[Curtain] = []
    share = float(rng.uniform(0.16, 0.3))
    for window in room.windows():
        width = float(np.clip(share * window.width, 0.24, 0.46))
        top = min(window.bottom + window.height + 0.16, room.size[2] - 0.06)
        for side in (-1.0, 1.0):
            # Half of the panel hangs before the wall, half before the window.
            along = window.along + side * window.width / 2
            low, high = along - width / 2, along + width / 2
            if max(abs(low), abs(high)) > room.half(window.wall) - 0.03:
                continue
            below = [h for a, b, h in _standing_at(room, window.wall, taken, CURTAIN_M) if a < high and low < b]
            tall = max(below, default=0.0)
            bottom = 0.015 if not below else max(window.bottom - 0.06, tall + 0.03)
            if tall < window.bottom or not below:
                found.append(
                    Curtain(
                        wall=window.wall,
                        along=_rounded(along),
                        width=_rounded(width),
                        bottom=_rounded(bottom),
                        top=_rounded(top),
                        seed=int(rng.integers(1_000_000)),
                    )
                )
    return tuple(found)


def _pictures(
    rng: np.random.Generator, room: Room, curtains: Sequence[Curtain], taken: Furniture
) -> tuple[Picture, ...]:
    """One, two or three in a row on some of the walls."""
    found: list[Picture] = []
    for wall in _WALL_NAMES:
        if rng.random() > 0.6:
            continue
        count = int(rng.choice([1, 2, 3], p=[0.55, 0.25, 0.2]))
        width, aspect = float(rng.uniform(0.28, 0.85 if count == 1 else 0.5)), float(rng.choice([0.7, 0.75, 1.0, 1.33]))
        height = min(width * aspect, 0.75)
        gap, z = float(rng.uniform(0.06, 0.16)), float(rng.uniform(1.45, 1.62))
        half = (count * width + (count - 1) * gap) / 2
        blocked = [(o.span[0] - 0.12, o.span[1] + 0.12, 9.0) for o in room.openings if o.wall == wall]
        blocked += [(c.along - c.width / 2 - 0.1, c.along + c.width / 2 + 0.1, 9.0) for c in curtains if c.wall == wall]
        blocked += _standing_at(room, wall, taken, 0.6)
        reach = room.half(wall) - half - 0.25
        if reach < 0:
            continue
        frame, mat = float(rng.choice([0.015, 0.022, 0.035])), float(rng.choice([0.0, 0.04, 0.07]))
        color = _FRAMES[int(rng.integers(len(_FRAMES)))]
        style: Literal["abstract", "landscape", "shapes", "botanical"] = _STYLES[int(rng.integers(len(_STYLES)))]
        for _ in range(12):
            middle = float(rng.uniform(-reach, reach))
            if not any(a < middle + half and middle - half < b and top > z - height / 2 - 0.1 for a, b, top in blocked):
                for index in range(count):
                    found.append(
                        Picture(
                            wall=wall,
                            along=_rounded(middle - half + width / 2 + index * (width + gap)),
                            z=_rounded(z),
                            width=_rounded(width),
                            height=_rounded(height),
                            frame=frame,
                            mat=_rounded(min(mat, 0.15 * height)),
                            color=color,
                            style=style,
                            seed=int(rng.integers(1_000_000)),
                        )
                    )
                break
    return tuple(found)


def _rug(rng: np.random.Generator, room: Room, taken: Furniture) -> Rug | None:
    """Below the furniture or in the middle, never below what is flat."""
    import shapely

    low = [shapely.Polygon(outline) for outline, height in taken if height < FLAT_M]
    centers = [outline.mean(axis=0) for outline, height in taken if height >= FLAT_M]
    across, along = (side / 2 - 0.08 for side in room.size[:2])
    floor = shapely.box(-across, -along, across, along)
    colors = _RUG_COLORS[int(rng.integers(len(_RUG_COLORS)))]
    style: Literal["plain", "border", "stripes", "checks", "kilim", "medallion"] = _RUG_STYLES[int(rng.integers(6))]
    for shrink in np.linspace(1.0, 0.6, 14):
        length, width = float(rng.uniform(1.5, 2.6) * shrink), float(rng.uniform(1.1, 1.8) * shrink)
        middle = np.mean(centers, axis=0) if centers and rng.random() < 0.7 else np.zeros(2)
        x, y = middle + rng.uniform(-0.4, 0.4, 2)
        yaw = float(rng.choice([0.0, 90.0])) + float(rng.normal(0.0, 2.5))
        corners = np.array([(-length, -width), (length, -width), (length, width), (-length, width)]) / 2
        turn = np.deg2rad(yaw)
        outline = corners @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + (x, y)
        shape = shapely.Polygon(outline)
        if floor.contains(shape) and not any(shape.intersects(other) for other in low):
            return Rug(
                x=_rounded(x),
                y=_rounded(y),
                yaw_deg=_rounded(yaw),
                length=_rounded(length),
                width=_rounded(width),
                style=style,
                colors=colors,
                seed=int(rng.integers(1_000_000)),
            )
    return None


def _seen_shares(room: Room, camera: CameraPose) -> F64:
    """Share of the image of each of `WALLS` (4,), of a room without furniture."""
    K, pose = matrix3(camera.K), matrix4(camera.world_from_camera)
    steps = (np.arange(_RAYS) + 0.5) / _RAYS * 2.0
    x, y = np.meshgrid((steps - 1.0) * K[0, 2] / K[0, 0], (steps - 1.0) * K[1, 2] / K[1, 1])
    rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3) @ pose[:3, :3].T
    eye, (width, depth, height) = pose[:3, 3], room.size
    normals = np.array([*((*normal, 0.0) for normal in WALLS.values()), (0.0, 0.0, 1.0), (0.0, 0.0, -1.0)])
    distances = np.array([width / 2, depth / 2, width / 2, depth / 2, height, 0.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (distances - normals @ eye) / (rays @ normals.T)
    first = np.where(t > 0, t, np.inf).argmin(axis=1)
    return np.bincount(first, minlength=6)[:4] / len(rays)
