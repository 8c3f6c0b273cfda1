"""A scene in a room model of the user: what stands on its floor or on one of its surfaces, and a camera.

Invariant: objects keep the rules of `standing` on surfaces, and lie inside the free floor for their height otherwise.
The camera is at the height of a person's eyes, where a person can stand. No wall and no surface of the model is between
it and the middle of an object.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ...shards.geometry import F64, wrap_degrees
from ..assets.asset import Asset
from ..assets.supports import Support
from .camera import Orbit, eye, frame
from .footprints import apparent_size, footprint, middle, prism
from .furnished import overlaps
from .garden import sample_sky
from .interior import EnvironmentSpec, Interior, lamp_over
from .layout import FURNISHED_FIT_SHARE, Scene, layered, touches
from .needs import SceneNeeds
from .rotations import free_turns
from .silhouettes import Forecast, forecast
from .spec import Placement, SceneObjectSpec, SceneOptions
from .standing import GROUND, MODEL, rested, standing_fault, standing_on
from .surfaces import sample_surface

if TYPE_CHECKING:
    import shapely

_LAYOUTS: Final = 6
"""Arrangements that are tried before the scene is rejected."""
_CAMERAS: Final = 40
"""Cameras that are tried for one arrangement."""
_MODELS: Final = 60
"""Models that are tried for one arrangement."""
_SPOTS: Final = 12
"""Places that are tried for one object."""
_ON_SURFACE: Final = 0.5
"""Fraction of the scenes that are seen near one surface, if there is any."""
_FLOOR_SIZE: Final = (0.25, 1.6)
"""Apparent sizes of what is put on the floor, meters."""
_SURFACE_SIZE: Final = (0.07, 0.45)
"""Apparent sizes of what is put on a surface, meters."""
_CROWDED: Final = 1.6
"""Largest side of a thing on a surface, in radii of the surface."""
_SPREAD: Final = (1.5, 0.55)
"""Distance from the focus within which objects are put on the floor, and on a surface, meters."""
_BESIDE: Final = 0.5
"""Probability that a thing of a view of the floor is put on a surface, if there is one near."""
_APART: Final = 0.06
"""Meters between two objects on the floor."""
_EYES: Final = (1.3, 1.65)
"""Height of the eyes, meters."""
_ELEVATION: Final = (4.0, 50.0)
_FOCAL: Final = ((20.0, 32.0), (28.0, 44.0))
"""Focal lengths for views of the floor, and near a surface, on a 32 mm wide sensor, mm."""
_TALL: Final = 0.9
"""Meters: objects with a front that are at least so high are not seen from behind, where a bookcase is a dark board."""
_FROM_FRONT: Final = 100.0
"""Largest angle between the front of such an object and the camera, degrees."""
_SEEN: Final = 0.35
"""Objects of which less is forecast to be seen are left out."""


@dataclass
class _Arranged:
    """What has been put into the model, by id."""

    interior: Interior
    assets: dict[int, Asset] = field(default_factory=dict[int, Asset])
    placements: dict[int, Placement] = field(default_factory=dict[int, Placement])

    @property
    def supports(self) -> dict[int, tuple[Support, ...]]:
        return {MODEL: self.interior.surfaces}

    def objects(self) -> tuple[SceneObjectSpec, ...]:
        return tuple(SceneObjectSpec(id, asset, "midground") for id, asset in self.assets.items())


def compose_in_environment(
    rng: np.random.Generator,
    environments: Mapping[str, Interior],
    assets: Sequence[Asset],
    needs: SceneNeeds,
    options: SceneOptions,
    resolution: tuple[int, int],
) -> Scene | str:
    """A scene that meets what an edit needs of it, or why there is none.

    Args:
        environments: the free space of each room model, by the name of its file; at least one.
        assets: what may stand there.
    """
    file = sorted(environments)[int(rng.integers(len(environments)))]
    interior = environments[file]
    fault = ""
    best: tuple[Orbit, _Arranged, dict[int, Forecast], tuple[int, ...]] | None = None
    for _ in range(_LAYOUTS):
        near = bool(interior.surfaces) and bool(rng.random() < _ON_SURFACE)
        found = _arranged(rng, interior, assets, near, options)
        if len(found.assets) < options.objects[0]:
            fault = "no_room"
            continue
        fault = "no_camera"
        for _ in range(_CAMERAS):
            orbit = _camera(rng, found, near, resolution)
            if orbit is None:
                continue
            kept = _seen(found, orbit, resolution)
            # A view of the floor with small things on tables alone would be empty.
            if not near and all(place.standing for place in kept.placements.values()):
                continue
            outlook = forecast(kept.objects(), kept.placements, orbit.pose(), resolution) if kept.assets else {}
            fit = _editable(kept, outlook, needs, options, resolution)
            if len(kept.assets) < options.objects[0] or len(fit) < needs.editable:
                fault = "nothing_to_edit"
                continue
            # A view with depth is preferred: something is partly behind something else.
            depth = overlaps(outlook, kept.placements)
            if depth:
                return _scene(rng, file, kept, orbit, outlook, fit, options, resolution)
            best = best or (orbit, kept, outlook, fit)
    return _scene(rng, file, best[1], best[0], *best[2:], options, resolution) if best else fault


def _scene(
    rng: np.random.Generator,
    file: str,
    kept: _Arranged,
    orbit: Orbit,
    outlook: dict[int, Forecast],
    fit: tuple[int, ...],
    options: SceneOptions,
    resolution: tuple[int, int],
) -> Scene:
    interior = kept.interior
    spots = np.array([*((place.x, place.y) for place in kept.placements.values()), eye(orbit.pose())[:2]])
    sky = sample_sky(rng, options.light.hdris)
    return Scene(
        objects=layered(kept.objects(), kept.placements, orbit),
        placements=kept.placements,
        floor=sample_surface(rng, "floor"),
        walls=(),
        light=replace(sky, strength=round(float(rng.uniform(*options.light.strength)), 6)),
        orbit=orbit,
        camera=orbit.pose(),
        resolution=resolution,
        outlook=outlook,
        fit=fit,
        seed=int(rng.integers(2**31)),
        kind="environment",
        supports=kept.supports,
        environment=EnvironmentSpec(file, interior.scale, interior.offset, lamp_over(interior, spots)),
        interior=interior,
    )


def _arranged(
    rng: np.random.Generator, interior: Interior, assets: Sequence[Asset], near: bool, options: SceneOptions
) -> _Arranged:
    """Objects around a random place: on one surface (`near`), else on the floor and on surfaces beside it."""
    found = _Arranged(interior)
    surface = _drawn_surface(rng, interior) if near else -1
    focus = _point_in(rng, interior.surfaces[surface].shape() if near else interior.walkable)
    beside = [
        index
        for index, one in enumerate(interior.surfaces)
        if index == surface or (not near and _distance(one, focus) < _SPREAD[0])
    ]
    wanted = int(rng.integers(options.objects[0], options.objects[1] + 1))
    used: set[str] = set()
    for number in rng.permutation(len(assets))[:_MODELS].tolist():
        asset = assets[number]
        size = apparent_size(asset)
        if (asset.model or asset.uid) in used:
            continue
        placed = None
        on_surface = near or (bool(beside) and bool(rng.random() < _BESIDE))
        if on_surface and _SURFACE_SIZE[0] <= size <= _SURFACE_SIZE[1]:
            placed = _on_surface(rng, found, asset, beside[int(rng.integers(len(beside)))], focus)
        elif not near and _FLOOR_SIZE[0] <= size <= _FLOOR_SIZE[1]:
            placed = _on_floor(rng, found, asset, focus)
        if placed:
            identity = len(found.assets) + 1
            found.assets[identity], found.placements[identity] = asset, placed
            used.add(asset.model or asset.uid)
        if len(found.assets) == wanted:
            break
    return found


def _drawn_surface(rng: np.random.Generator, interior: Interior) -> int:
    areas = np.array([one.shape().area for one in interior.surfaces])
    return int(rng.choice(len(areas), p=areas / areas.sum()))


def _point_in(rng: np.random.Generator, area: "shapely.Polygon | shapely.MultiPolygon") -> F64:
    """A random point (2,) of an area."""
    import shapely

    low_x, low_y, high_x, high_y = area.bounds
    for _ in range(100):
        point = rng.uniform((low_x, low_y), (high_x, high_y))
        if shapely.contains_xy(area, *point):
            return point
    return np.array(area.representative_point().coords[0])


def _distance(support: Support, point: F64) -> float:
    import shapely

    return float(support.shape().distance(shapely.Point(point)))


def _around(rng: np.random.Generator, focus: F64, reach: float) -> F64:
    """A point (2,) in a disk, denser in its middle."""
    angle, distance = rng.uniform(0.0, 2 * np.pi), reach * rng.uniform(0.0, 1.0)
    return focus + distance * np.array([np.cos(angle), np.sin(angle)])


def _place(rng: np.random.Generator, spot: F64, height: float = 0.0) -> Placement:
    """A placement at a point (2,); most are square to the walls."""
    turn = 90.0 * int(rng.integers(4)) + float(rng.normal(0.0, 6.0))
    yaw = turn if rng.random() < 0.5 else float(rng.uniform(0.0, 360.0))
    return Placement(round(float(spot[0]), 6), round(float(spot[1]), 6), height, round(yaw % 360.0, 6))


def _on_floor(rng: np.random.Generator, found: _Arranged, asset: Asset, focus: F64) -> Placement | None:
    import shapely

    free = found.interior.free_floor(asset.size_m[2])
    taken = [
        shapely.Polygon(footprint(found.assets[id], place))
        for id, place in found.placements.items()
        if place.standing is None
    ]
    for _ in range(_SPOTS):
        placement = _place(rng, _around(rng, focus, _SPREAD[0]))
        outline = shapely.Polygon(footprint(asset, placement))
        if free.contains(outline) and all(other.distance(outline) > _APART for other in taken):
            return placement
    return None


def _on_surface(rng: np.random.Generator, found: _Arranged, asset: Asset, surface: int, focus: F64) -> Placement | None:
    support = found.interior.surfaces[surface]
    if max(asset.size_m[:2]) > _CROWDED * support.radius:
        return None
    near = focus if _distance(support, focus) == 0 else np.array(support.shape().representative_point().coords[0])
    on = standing_on(MODEL, surface, found.supports)
    for _ in range(_SPOTS):
        spot = replace(_place(rng, _around(rng, near, _SPREAD[1])), standing=on)
        assets, placements = found.assets | {-1: asset}, found.placements | {-1: spot}
        if standing_fault(-1, assets, placements, found.supports) is None:
            return rested(asset, spot, GROUND, support)
    return None


def _camera(rng: np.random.Generator, found: _Arranged, near: bool, resolution: tuple[int, int]) -> Orbit | None:
    """A camera that frames all objects; None if the one that was drawn cannot be used."""
    points = np.concatenate([prism(found.assets[id], place).reshape(-1, 3) for id, place in found.placements.items()])
    azimuth, height = float(rng.uniform(0.0, 360.0)), float(rng.uniform(*_EYES))
    fill, focal = float(rng.uniform(0.6, 0.85)), float(rng.uniform(*_FOCAL[near]))
    offset = (float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.04)))
    elevation = float(rng.uniform(*_ELEVATION))
    # The elevation follows from the height of the eyes and the distance, which follows from the framing.
    for _ in range(3):
        orbit = frame(points, azimuth, elevation, focal, resolution, fill, offset)
        rise = float(np.clip((height - orbit.pivot[2]) / orbit.distance, 0.0, 0.9))
        elevation = float(np.clip(np.rad2deg(np.arcsin(rise)), *_ELEVATION))
    orbit = frame(points, azimuth, elevation, focal, resolution, fill, offset)
    position = eye(orbit.pose())
    if not _EYES[0] - 0.2 <= position[2] <= _EYES[1] + 0.1 or not found.interior.holds_eye(position):
        return None
    middles = [middle(found.assets[id], place) for id, place in found.placements.items()]
    if not all(found.interior.sees(position, point) for point in middles):
        return None
    if any(_from_behind(found.assets[id], place, position) for id, place in found.placements.items()):
        return None
    return None if touches(found.assets, found.placements, position) else orbit


def _from_behind(asset: Asset, place: Placement, position: F64) -> bool:
    """Whether a camera at a position (3,) sees the back of a tall object."""
    if asset.front_deg is None or asset.size_m[2] < _TALL:
        return False
    toward = float(np.rad2deg(np.arctan2(position[1] - place.y, position[0] - place.x)))
    return abs(wrap_degrees(toward - place.yaw_deg - asset.front_deg)) > _FROM_FRONT


def _seen(found: _Arranged, orbit: Orbit, resolution: tuple[int, int]) -> _Arranged:
    """What a camera sees, numbered from 1. So names and relations never count what the viewer does not see."""
    outlook = forecast(found.objects(), found.placements, orbit.pose(), resolution)
    kept = [id for id, seen in outlook.items() if seen.visible * seen.in_frame >= _SEEN]
    numbers = range(1, len(kept) + 1)
    return _Arranged(
        found.interior,
        {new: found.assets[id] for new, id in zip(numbers, kept, strict=True)},
        {new: found.placements[id] for new, id in zip(numbers, kept, strict=True)},
    )


def _editable(
    kept: _Arranged,
    outlook: Mapping[int, Forecast],
    needs: SceneNeeds,
    options: SceneOptions,
    resolution: tuple[int, int],
) -> tuple[int, ...]:
    """Ids of the objects that are seen well enough to be edited."""
    area = resolution[0] * resolution[1]
    return tuple(
        id
        for id, seen in outlook.items()
        if FURNISHED_FIT_SHARE[0] * area <= seen.own_px <= FURNISHED_FIT_SHARE[1] * area
        and seen.visible >= options.min_visible
        and seen.in_frame >= 0.9
        and (not needs.turnable or bool(free_turns(kept.assets[id])))
    )
