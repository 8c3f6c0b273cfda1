"""A scene before its edit: objects in rows on the floor, walls behind them, light, and a camera that sees them all.

Invariant: footprints of a composed scene are disjoint, every object is visible in the forecast, and all walls are
behind all objects from the camera.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ...shards.geometry import F64, matrix3, project
from ..assets.asset import Asset
from ..assets.supports import Support
from .camera import Orbit, eye, frame
from .casting import Cast, cast_scene
from .footprints import Objects, Placements, apparent_size, extent, footprint, heights, prism
from .garden import Garden
from .interior import EnvironmentSpec, Interior
from .needs import Range, SceneNeeds
from .room import Room
from .rotations import free_turns
from .silhouettes import Forecast, forecast
from .spec import (
    CameraPose,
    Light,
    LightOptions,
    Pedestal,
    Placement,
    SceneKind,
    SceneObjectSpec,
    SceneOptions,
    Standing,
    Surface,
    Wall,
)
from .surfaces import sample_surface

Layer = Literal["foreground", "midground", "background"]

_ROWS_OF: dict[int, tuple[Layer, ...]] = {
    1: ("midground",),
    2: ("midground", "background"),
    3: ("foreground", "midground", "background"),
}
_LAYOUTS = 6
"""Arrangements of one cast that are tried before the scene is rejected."""
_ROW_LENGTH = 3
_ROW_GAP: Range = (0.15, 0.6)
_LEAST_VISIBLE = 0.3
_LEAST_SHARE = 0.004
"""Least share of the frame for any object of a scene."""
FIT_SHARE: Range = (0.018, 0.45)
"""Range of the share of the frame for an object that may be edited."""
FURNISHED_FIT_SHARE: Range = (0.009, 0.45)
"""The same in a room, where small things on furniture are seen together with it."""
_GUEST_SHARE = 0.024
"""Least share of the frame for a guest, because its container may be farther away."""
_NEAREST = 0.25
"""Least distance of an object to the camera, as a share of the pivot's distance."""
_WALL_HEIGHT = 2.6
_FROM_OBJECT = 0.25
"""Meters between the camera of a furnished scene and an object that reaches up to it."""
FARTHEST = 40.0
"""Largest distance of an object from the scene's middle, meters. The floor ends at 60 m (`blender_scene.RADII`)."""
_LONG = 1.7
"""Objects with a larger ratio of length to width, seen from above, are laid across the view."""


@dataclass(frozen=True)
class Scene:
    """A composed scene, in which every object is present."""

    objects: tuple[SceneObjectSpec, ...]
    placements: dict[int, Placement]
    floor: Surface
    walls: tuple[Wall, ...]
    light: Light
    orbit: Orbit
    camera: CameraPose
    resolution: tuple[int, int]
    outlook: dict[int, Forecast]
    fit: tuple[int, ...]
    """Ids of the objects that are visible enough to be edited; never empty."""
    seed: int
    container: int = 0
    """Id of a container into which object `guest` fits; 0: none."""
    guest: int = 0
    room: Room | None = None
    """The furnished room that the scene is, with no `walls`; None for other scenes."""
    kind: SceneKind = "open"
    garden: Garden | None = None
    """The garden that the scene is in, with no `walls`; None for other scenes."""
    supports: Mapping[int, tuple[Support, ...]] = field(default_factory=dict[int, tuple[Support, ...]])
    """Of each object, and of a room model or a pedestal (`standing.MODEL`), those that `Placement.standing` counts."""
    environment: EnvironmentSpec | None = None
    """The room model that the scene is in, with no `walls`; None for other scenes."""
    interior: Interior | None = None
    """The free space of the room model."""
    pedestal: Pedestal | None = None
    """What the object of a studio stands on; None for other scenes."""

    @property
    def size(self) -> float:
        """Unit of length of this scene: the median of the apparent sizes, meters."""
        return float(np.median([apparent_size(placed.asset) for placed in self.objects]))

    @property
    def furnished(self) -> bool:
        """Whether it is in a room, a garden or a room model, where objects stand on different levels."""
        return self.room is not None or self.garden is not None or self.interior is not None

    def step(self, identity: int, level: Standing | None) -> float:
        """`size` for an object at a level: in a furnished scene, of it and of what stands on this support or floor."""
        if not self.furnished:
            return self.size
        there = {identity, *(id for id, place in self.placements.items() if place.standing == level)}
        return float(np.median([apparent_size(self.asset(id)) for id in there]))

    @property
    def assets(self) -> dict[int, Asset]:
        """The asset of each object, by id."""
        return {placed.id: placed.asset for placed in self.objects}

    def asset(self, identity: int) -> Asset:
        """The asset of an object. Ids count from 1 in the order of `objects`."""
        return self.objects[identity - 1].asset


def compose(
    rng: np.random.Generator,
    assets: Sequence[Asset],
    needs: SceneNeeds,
    options: SceneOptions,
    resolution: tuple[int, int],
) -> Scene | str:
    """A scene that meets the needs of an edit, or why there is none."""
    chosen = cast_scene(rng, assets, needs, options)
    if isinstance(chosen, str):
        return chosen
    fault = ""
    for remaining in reversed(range(_LAYOUTS)):
        azimuth = float(rng.uniform(0.0, 360.0))
        objects, placements = _arrange(rng, chosen, needs, options.layers, azimuth)
        low, high = options.camera.elevation_deg
        # The inside of a container is visible only from above.
        elevations = ((low + high) / 2, high) if chosen.guest >= 0 else (low, high)
        orbit = _camera(rng, objects, placements, needs, options, azimuth, elevations, resolution)
        camera = orbit.pose()
        outlook = forecast(objects, placements, camera, resolution)
        fit = _editable(objects, outlook, needs, resolution, options.min_visible)
        # If no layout shows the guest well, the last one is used for other moves.
        guest = chosen.guest + 1 if _guest_seen(outlook, fit, chosen.guest + 1, resolution) else 0
        fault = _fault(outlook, fit, needs, resolution) or beyond_floor(objects, placements)
        fault = fault or ("camera_too_near" if too_near(objects, placements, orbit) else "")
        if not fault and (guest or chosen.guest < 0 or not remaining):
            return Scene(
                objects=objects,
                placements=placements,
                floor=sample_surface(rng, "floor"),
                walls=_walls(rng, objects, placements, needs, options.walls, orbit),
                light=sample_light(rng, options.light),
                orbit=orbit,
                camera=camera,
                resolution=resolution,
                outlook=outlook,
                fit=fit,
                seed=int(rng.integers(2**31)),
                container=chosen.container + 1 if guest else 0,
                guest=guest,
            )
    return fault


def too_near(objects: Objects, placements: Placements, orbit: Orbit) -> bool:
    """Whether an object that is present reaches to the camera or behind it."""
    hulls = [prism(o.asset, placements[o.id]).reshape(-1, 3) for o in objects if placements[o.id].present]
    _, depth = project(np.concatenate(hulls), matrix3(orbit.K), orbit.matrix())
    return bool(depth.min() < _NEAREST * orbit.distance)


def beyond_floor(objects: Objects, placements: Placements) -> str:
    """`beyond_floor` if an object, present or absent, reaches beyond `FARTHEST`; else empty."""
    corners = [footprint(placed.asset, placements[placed.id]) for placed in objects]
    return "beyond_floor" if np.abs(np.concatenate(corners)).max() > FARTHEST else ""


def _editable(
    objects: Objects, outlook: dict[int, Forecast], needs: SceneNeeds, resolution: tuple[int, int], min_visible: float
) -> tuple[int, ...]:
    """Ids of the objects that may be edited according to the forecast."""
    area = resolution[0] * resolution[1]
    return tuple(
        placed.id
        for placed in objects
        if FIT_SHARE[0] * area <= outlook[placed.id].own_px <= FIT_SHARE[1] * area
        and outlook[placed.id].visible >= min_visible
        and (not needs.turnable or bool(free_turns(placed.asset)))
    )


def _guest_seen(outlook: dict[int, Forecast], fit: tuple[int, ...], guest: int, resolution: tuple[int, int]) -> bool:
    return guest in fit and outlook[guest].own_px >= _GUEST_SHARE * resolution[0] * resolution[1]


def _fault(outlook: dict[int, Forecast], fit: tuple[int, ...], needs: SceneNeeds, resolution: tuple[int, int]) -> str:
    area = resolution[0] * resolution[1]
    if any(seen.own_px < _LEAST_SHARE * area for seen in outlook.values()):
        return "object_too_small"
    if any(seen.visible < _LEAST_VISIBLE for seen in outlook.values()):
        return "object_hidden"
    return "" if len(fit) >= needs.editable else "nothing_to_edit"


def _arrange(
    rng: np.random.Generator, chosen: Cast, needs: SceneNeeds, layers: int, azimuth: float
) -> tuple[tuple[SceneObjectSpec, ...], dict[int, Placement]]:
    """Put the cast into rows across the view, lower objects mostly in front.

    Rows are built from front to back. Each begins behind all objects of the row before it, so that footprints are
    disjoint by construction.
    """
    assets = chosen.assets
    turn = np.deg2rad(azimuth + 90.0 + rng.uniform(-12.0, 12.0))
    right = np.array([np.cos(turn), np.sin(turn)])
    away = np.array([-right[1], right[0]])
    yaws = _yaws(rng, chosen, azimuth)
    size = float(np.median([apparent_size(asset) for asset in assets]))
    spots: dict[int, F64] = {}
    names: dict[int, Layer] = {}
    front, side = 0.0, 1.0 if rng.random() < 0.5 else -1.0
    for name, members in _rows(rng, assets, layers):
        u, back = _row(rng, [assets[i] for i in members], [yaws[i] for i in members], needs.gap, right)
        # Single objects are moved alternately to either side, or they would hide each other.
        aside = side * float(rng.uniform(0.5, 1.3)) if len(members) == 1 else float(rng.uniform(-0.5, 0.5))
        shift, side = aside * size, -side
        ends: list[float] = []
        for index, across in zip(members, u, strict=True):
            near, far = extent(assets[index], Placement(0.0, 0.0, 0.0, yaws[index]), away)
            along = front + float(rng.uniform(0.0, 0.35)) * size - near
            spots[index] = (across + shift) * right + along * away
            ends.append(along + far)
            names[index] = name
        front = max(ends) + float(rng.uniform(*_ROW_GAP)) * max(size, 0.5 * back)
    center = np.mean(list(spots.values()), axis=0)
    objects = tuple(SceneObjectSpec(i + 1, asset, names[i]) for i, asset in enumerate(assets))
    placements = {i + 1: _placed(spots[i] - center, yaws[i]) for i in range(len(assets))}
    return objects, placements


def _placed(spot: F64, yaw_deg: float) -> Placement:
    return Placement(round(float(spot[0]), 6), round(float(spot[1]), 6), 0.0, round(yaw_deg % 360.0, 6))


def _rows(rng: np.random.Generator, assets: Sequence[Asset], layers: int) -> list[tuple[Layer, list[int]]]:
    """Members of each row, front to back, with the layer that the row belongs to; no layer is empty."""
    names = _ROWS_OF[layers]
    if len(assets) < len(names):
        start = int(rng.integers(len(names) - len(assets) + 1))
        names = names[start : start + len(assets)]
    counts = 1 + rng.multinomial(len(assets) - len(names), np.full(len(names), 1 / len(names)))
    heights = np.array([asset.size_m[2] for asset in assets]) * np.exp(rng.uniform(-0.5, 0.5, len(assets)))
    order = np.argsort(heights, kind="stable")
    rows: list[tuple[Layer, list[int]]] = []
    for name, part in zip(names, np.split(order, np.cumsum(counts)[:-1]), strict=True):
        # A long row would make everything small, so a layer with many objects gets several rows.
        for row in np.array_split(part, -(-len(part) // _ROW_LENGTH)):
            rows.append((name, rng.permutation(row).tolist()))
    return rows


def _row(
    rng: np.random.Generator, assets: Sequence[Asset], yaws: Sequence[float], gap: Range, right: F64
) -> tuple[list[float], float]:
    """Positions of a row's objects across the view, centered on 0, and the height of the tallest, meters."""
    cursor = 0.0
    positions: list[float] = []
    sizes = [apparent_size(asset) for asset in assets]
    for index, asset in enumerate(assets):
        low, high = extent(asset, Placement(0.0, 0.0, 0.0, yaws[index]), right)
        if index:
            cursor += float(rng.uniform(*gap)) * (sizes[index - 1] + sizes[index]) / 2
        positions.append(cursor - low)
        cursor += high - low
    return [position - cursor / 2 for position in positions], max(asset.size_m[2] for asset in assets)


def _yaws(rng: np.random.Generator, chosen: Cast, azimuth: float) -> list[float]:
    """Yaw of each object, degrees.

    A known front faces at most 60 degrees away from the camera. Long objects lie across the view rather than along it.
    Most others are aligned with each other, up to multiples of 90 degrees.
    """
    square = azimuth + float(rng.uniform(-25.0, 25.0))
    yaws: list[float] = []
    for asset in chosen.assets:
        width, depth, _ = asset.size_m
        half_turn, lean, quarter, alone = rng.integers(2), rng.uniform(-1.0, 1.0), rng.integers(4), rng.random()
        if asset.front_deg is not None:
            yaw = azimuth + 60.0 * lean - asset.front_deg
        elif max(width, depth) > _LONG * min(width, depth):
            yaw = azimuth + (90.0 if width > depth else 0.0) + 180.0 * half_turn + 45.0 * lean
        else:
            yaw = azimuth + 180.0 * lean if alone < 0.4 else square + 90.0 * quarter + 8.0 * lean
        yaws.append(float(yaw))
    if chosen.guest >= 0:
        box, guest = chosen.assets[chosen.container], chosen.assets[chosen.guest]
        along = guest.size_m[0] <= box.opening[0] and guest.size_m[1] <= box.opening[1]
        yaws[chosen.guest] = yaws[chosen.container] + (0.0 if along else 90.0)
    return yaws


def _camera(
    rng: np.random.Generator,
    objects: Objects,
    placements: Placements,
    needs: SceneNeeds,
    options: SceneOptions,
    azimuth: float,
    elevations: Range,
    resolution: tuple[int, int],
) -> Orbit:
    points = np.concatenate([prism(placed.asset, placements[placed.id]).reshape(-1, 3) for placed in objects])
    return frame(
        points,
        azimuth_deg=azimuth,
        elevation_deg=float(rng.uniform(*elevations)),
        focal_mm=float(rng.uniform(*options.camera.focal_mm)),
        resolution=resolution,
        fill=float(rng.uniform(*needs.fill)),
        offset=(float(rng.uniform(-0.04, 0.04)), float(rng.uniform(-0.03, 0.05))),
    )


def _walls(
    rng: np.random.Generator,
    objects: Objects,
    placements: Placements,
    needs: SceneNeeds,
    share: float,
    orbit: Orbit,
) -> tuple[Wall, ...]:
    """One wall or the corner of two, behind everything."""
    wanted, corner, turn = rng.random() < share, rng.random() < 0.4, float(rng.uniform(-25.0, 25.0))
    if not wanted:
        return ()
    points = np.concatenate([footprint(placed.asset, placements[placed.id]) for placed in objects])
    reach = float(np.ptp(points, axis=0).max())
    height = max(_WALL_HEIGHT, 2.5 * max(placed.asset.size_m[2] for placed in objects))
    surface = sample_surface(rng, "wall")
    walls: list[Wall] = []
    for side in (-45.0, 45.0) if corner else (0.0,):
        normal_deg = round((orbit.azimuth_deg + (0.6 if corner else 1.0) * turn + side) % 360.0, 6)
        normal = np.array([np.cos(np.deg2rad(normal_deg)), np.sin(np.deg2rad(normal_deg))])
        behind = float((points @ normal).min()) - float(rng.uniform(*needs.wall_gap)) * reach
        center = np.asarray(orbit.pivot[:2])
        x, y = center - normal * (center @ normal - behind)
        walls.append(Wall(round(float(x), 6), round(float(y), 6), normal_deg, round(height, 6), surface))
    return tuple(walls)


def sample_light(rng: np.random.Generator, options: LightOptions) -> Light:
    """The light of an open scene."""
    return Light(
        hdri=options.hdris[int(rng.integers(len(options.hdris)))],
        rotation_deg=round(float(rng.uniform(0.0, 360.0)), 6),
        strength=round(float(rng.uniform(*options.strength)), 6),
    )


def layered(objects: Sequence[SceneObjectSpec], placements: Placements, orbit: Orbit) -> tuple[SceneObjectSpec, ...]:
    """The objects of a furnished scene with their layers of depth: thirds of the range of their distances."""
    names: tuple[Layer, ...] = ("foreground", "midground", "background")
    spots = np.array([(placements[placed.id].x, placements[placed.id].y) for placed in objects])
    distances = np.linalg.norm(spots - eye(orbit.pose())[:2], axis=1)
    low, high = float(distances.min()), float(distances.max())
    thirds = np.minimum((distances - low) / max(high - low, 1e-9) * 3, 2).astype(int)
    return tuple(replace(placed, layer=names[third]) for placed, third in zip(objects, thirds.tolist(), strict=True))


def touches(assets: Mapping[int, Asset], placements: Placements, position: F64) -> bool:
    """Whether a camera at a point (3,), world meters, is at an object that reaches up to it."""
    import shapely

    point = shapely.Point(position[:2])
    return any(
        place.present
        and position[2] <= heights(assets[id], place)[1] + _FROM_OBJECT
        and shapely.Polygon(footprint(assets[id], place)).distance(point) < _FROM_OBJECT
        for id, place in placements.items()
    )
