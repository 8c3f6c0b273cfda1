"""Loose things: what leans, lies on its side or is in a heap.

Physics decides how (`physics`). This module proposes how things start, and accepts only those that came to rest where
they should, and are not held by one that did not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from ...shards.geometry import F64, invert_rigid, transform
from .convex import Mesh, divided
from .physics import MOST_GAP, Body, Fixed, Plane, Rest, settle
from .spec import Placement, Settled, Standing

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Loose = Literal["leaning", "lying", "heap"]
_DROP: Final = 0.003
"""Meters above what is below, at the start."""
_BETWEEN: Final = 0.01
"""Meters between the parts of a heap at the start."""
_LEAN_DEG: Final = (7.0, 20.0)
_PAST_BALANCE_DEG: Final = 4.0
"""Least angle by which a thing leans further than where its weight is above its edge."""
_BALANCE: Final = 0.04
"""Least distance between the center of what lies on other loose things and the edge of the area between its contacts,
relative to its largest side."""
_ROW: Final = 3
"""The first things of a row may stand straight if it has at least so many."""
_LONG: Final = 2.0
"""A thing is long if its largest side is at least so many times the next one."""
_FACING: Final = 0.7
"""Least cosine between the front of a thing and its thin axis: then this side is its face."""
_SIDE: Final = 0.04
"""Meters: triangles are divided to this size to find the face that things lean against, and what is at most so far
behind its front is part of it."""
_AHEAD: Final = 1.0
"""Meters ahead in which this face is searched for."""


@dataclass(frozen=True)
class Site:
    """Where loose things may come to rest. World frame, meters."""

    area: "BaseGeometry"
    """They touch the surface inside it, and their middles are above it."""
    height: float
    """Of the surface."""
    overhang: float = 0.0
    """By which they may reach beyond the area."""
    ceiling: float = float("inf")
    shape: Callable[[], Fixed | None] = lambda: None
    """Makes the shape of what they rest on or in; it returns None for a plane. This takes time, so starts are checked
    first."""
    rim: float = 0.0
    """Height of the rim of a container above `height`: what rests in it is partly below."""
    below: float = 0.0
    """Height of the plane on which things end up that fall off `surface`."""
    others: Mapping[int, Fixed] = field(default_factory=dict[int, Fixed])
    """By id, what is there already, without the object whose surface it is."""
    walls: Sequence[Plane] = ()
    stop: int = 0
    """Id of what they lean against, among `others`; 0: none of these."""

    @cached_property
    def surface(self) -> Fixed | None:
        return self.shape()


@dataclass(frozen=True)
class Stop:
    """What things lean against: a vertical face, or the edge on its top."""

    along: tuple[float, float]
    """Unit vector toward it, level."""
    at: float
    """Coordinate of the face in that direction, meters."""
    top: float = float("inf")
    """Height of its top, meters."""
    middle: float = 0.0
    """Where the things are, in the direction to the left of `along`, meters."""

    def before(self, distance: float) -> F64:
        """The point (2,) in front of the face, at the middle of the things."""
        along = np.array(self.along)
        return (self.at - distance) * along + self.middle * np.array([-along[1], along[0]])


def face(mesh: Mesh, pose: F64, along: F64, middle: F64, width: float, heights: tuple[float, float]) -> Stop | None:
    """The side of a mesh that things meet if they move level from a point; None if there is nothing.

    Args:
        pose: world_from_object of the mesh, 4x4.
        along: unit vector (2,) in which they move.
        middle: the point (2,). The mesh before it does not count.
        width: of the things, meters.
        heights: range of heights at which they meet it.
    """
    left = np.array([-along[1], along[0]])
    ends = [middle + ahead * along + aside * left for ahead in (0.0, _AHEAD) for aside in (-width / 2, width / 2)]
    corridor = np.array([(*end, z) for end in ends for z in heights])
    inside = transform(invert_rigid(pose), corridor)
    low, high = inside.min(axis=0), inside.max(axis=0)
    points = transform(pose, divided(mesh.between(low, high), _SIDE, (low, high)).reshape(-1, 3))
    ahead, aside = points[:, :2] @ along, (points[:, :2] - middle) @ left
    met = (np.abs(aside) < width / 2) & (ahead > middle @ along)
    met &= (points[:, 2] > heights[0]) & (points[:, 2] < heights[1])
    if not met.any():
        return None
    at = float(ahead[met].min())
    top = float(points[met & (ahead < at + _SIDE), 2].max())
    return Stop((float(along[0]), float(along[1])), at, top, float(middle @ left))


def heap(rng: np.random.Generator, meshes: Sequence[Mesh], spot: F64, height: float) -> list[Body]:
    """Things in random orientations above a spot (2,), one above the other."""
    found: list[Body] = []
    for mesh in meshes:
        start = np.eye(4)
        start[:3, :3] = _random_rotation(rng)
        turned = mesh.points @ start[:3, :3].T
        low, high = turned.min(axis=0), turned.max(axis=0)
        aside = rng.uniform(-0.15, 0.15, 2) * (high - low)[:2].max()
        start[:2, 3] = spot + aside - (low + high)[:2] / 2
        start[2, 3] = height + _BETWEEN - low[2]
        height += _BETWEEN + high[2] - low[2]
        found.append(Body(mesh, start))
    return found


def lying(rng: np.random.Generator, mesh: Mesh, spot: F64, height: float) -> Body:
    """A thing on its side at a spot (2,)."""
    start = np.eye(4)
    start[:3, :3] = _about("z", float(rng.uniform(0.0, 360.0))) @ _about("x", 90.0)
    start[:3, :3] = start[:3, :3] @ _about("z", float(rng.uniform(0.0, 360.0)))
    turned = mesh.points @ start[:3, :3].T
    low, high = turned.min(axis=0), turned.max(axis=0)
    start[:3, 3] = [*(spot - (low + high)[:2] / 2), height + _DROP - low[2]]
    return Body(mesh, start)


def leaning(
    rng: np.random.Generator, meshes: Sequence[Mesh], fronts: Sequence[float | None], stop: Stop, height: float
) -> list[Body]:
    """Things in a row against a stop, each with its thin side toward it. The first ones may stand straight, the others
    lean.

    Args:
        fronts: direction of the front of each, degrees about z from +x, object frame; None: unknown.
    """
    along = np.array(stop.along)
    left = np.array([-along[1], along[0]])
    # What leans less than this falls back onto its lower face.
    sizes = [np.sort(np.ptp(mesh.points, axis=0)) for mesh in meshes]
    least = max(float(np.rad2deg(np.arctan2(size[0], size[2]))) for size in sizes) + _PAST_BALANCE_DEG
    lean = max(float(rng.uniform(*_LEAN_DEG)), least)
    straight = int(rng.integers(len(meshes) - 1)) if len(meshes) >= _ROW else 0
    found: list[Body] = []
    # Distance from the stop of what is placed next, measured level at its lower edge; height of what it leans on.
    away, top = _DROP, max(stop.top - height, 0.0)
    for number, (mesh, front) in enumerate(zip(meshes, fronts, strict=True)):
        angle = 0.0 if number < straight else lean
        tan = np.tan(np.deg2rad(angle))
        rotation, tall = _on_edge(rng, mesh, front, along, angle)
        turned = mesh.points @ rotation.T
        # Distance of each point to the plane of the lean that goes through the origin, measured level.
        beyond = turned[:, :2] @ along - (turned[:, 2] - turned[:, 2].min()) * tan
        if number == straight:
            away += min(tall * np.cos(np.deg2rad(angle)), top) * tan
        ahead = stop.at - away - float(beyond.max())
        aside = stop.middle + float(rng.uniform(-0.01, 0.01)) - float((turned[:, :2] @ left).mean())
        start = np.eye(4)
        start[:3, :3] = rotation
        start[:2, 3] = along * ahead + left * aside
        start[2, 3] = height + _DROP - turned[:, 2].min()
        away += float(np.ptp(beyond)) + _DROP
        top = tall
        found.append(Body(mesh, start))
    return found


def at_rest(bodies: Sequence[Body], site: Site) -> dict[int, Rest]:
    """Settle things at a site: those that came to rest as they should, by their number.

    The others are left out. If one of them held another thing, what remains is settled once more.
    """
    fixed = [*([site.surface] if site.surface else []), *site.others.values()]
    ground = Plane((0.0, 0.0, site.below if site.surface else site.height), (0.0, 0.0, 1.0))
    kept = list(range(len(bodies)))
    for last in (False, True):
        if not kept:
            break
        found = dict(zip(kept, settle([bodies[number] for number in kept], fixed, [ground, *site.walls]), strict=True))
        for rest in found.values():
            rest.held_by = {kept[number] for number in rest.held_by}
        found = {number: rest for number, rest in found.items() if _stays(bodies[number], rest, site)}
        safe = _without_fallen(found)
        if last or len(safe) == len(found):
            return safe
        kept = list(found)
    return {}


def _without_fallen(rests: Mapping[int, Rest]) -> dict[int, Rest]:
    """Those that nothing holds which is not among them."""
    safe = dict(rests)
    while fallen := [number for number, rest in safe.items() if not rest.held_by <= safe.keys()]:
        for number in fallen:
            del safe[number]
    return safe


def placement(rest: Rest, ids: Mapping[int, int], site: Site, standing: Standing | None) -> Placement:
    """The placement of a thing at rest.

    Args:
        ids: ids of the bodies, by number.
    """
    first = 1 if site.surface else 0
    others = tuple(site.others)
    held_by = {ids[number] for number in rest.held_by} | {others[number - first] for number in rest.fixed - {first - 1}}
    on_support = 0 in rest.fixed if site.surface else any(plane == 0 for plane, _ in rest.on)
    settled = Settled(rest.pose.tilt_deg, on_support, tuple(sorted(held_by)))
    return Placement(*rest.pose.position, rest.pose.yaw_deg, standing=standing, settled=settled)


def _stays(body: Body, rest: Rest, site: Site) -> bool:
    """Whether a thing is at rest, touches what it seems to touch, and is where it should be."""
    import shapely

    if rest.moving or rest.gap > MOST_GAP:
        return False
    grounded = [point for plane, point in rest.on if plane == 0]
    if site.surface is not None and grounded:
        return False
    if not grounded and not rest.fixed and not _is_balanced(body, rest):
        return False
    near = site.area.buffer(1e-4)
    if not all(near.contains(shapely.Point(point[:2])) for point in grounded):
        return False
    points = transform(rest.pose.matrix(), body.mesh.points)
    low, high = points.min(axis=0), points.max(axis=0)
    if high[2] > site.ceiling or (site.rim and low[2] > site.height + site.rim):
        return False
    if not site.area.buffer(site.rim).contains(shapely.Point(((low + high) / 2)[:2])):
        return False
    return bool(site.rim) or site.area.buffer(site.overhang + 1e-6).contains(_shadow(points))


def _is_balanced(body: Body, rest: Rest) -> bool:
    """Whether the center of a thing is above the area between its contacts, `_BALANCE` from its edge.

    Without this, rolling friction keeps a ball on the tip of another one.
    """
    import shapely

    middle = transform(rest.pose.matrix(), body.mesh.centroid)
    size = float(np.ptp(body.mesh.points, axis=0).max())
    return bool(_shadow(np.array(rest.points)).buffer(-_BALANCE * size).contains(shapely.Point(middle[:2])))


def starts_free(bodies: Sequence[Body], site: Site) -> bool:
    """Whether things start above the area of a site, and clear of what is there."""
    # What leans may reach over the top of its stop.
    others = [_shadow(transform(one.pose, one.mesh.vertices)) for id, one in site.others.items() if id != site.stop]
    area = site.area.buffer(site.rim or site.overhang)
    for body in bodies:
        points = transform(body.start, body.mesh.points)
        shadow = _shadow(points)
        if not (area.contains(shadow.centroid) if site.rim else area.contains(shadow)):
            return False
        if points[:, 2].max() > site.ceiling:
            return False
        if any(other.intersects(shadow) for other in others):
            return False
    return True


def _shadow(points: F64) -> "BaseGeometry":
    """The outline from above of points (n, 3)."""
    import shapely

    return shapely.MultiPoint(points[:, :2]).convex_hull


def _on_edge(
    rng: np.random.Generator, mesh: Mesh, front_deg: float | None, along: F64, lean_deg: float
) -> tuple[F64, float]:
    """The rotation (3, 3) that sets a thing on its edge, with its thin side toward what it leans on and leaning by an
    angle; and its height before it leans, meters.

    Its face, if it is known, and what was its upper side face away from what it leans on.
    """
    points = mesh.points
    size = np.ptp(points, axis=0)
    thin, middling, long = (int(axis) for axis in np.argsort(size, kind="stable"))
    # What stands stays upright, unless it is long and lies on its side; what lies is set up on its shorter side.
    up = 2 if thin != 2 and not (long != 2 and size[long] > _LONG * size[middling]) else int(size[:2].argmax())
    wide = 3 - thin - up
    away = -1.0 if thin == 2 or rng.random() < 0.5 else 1.0
    if front_deg is not None and thin != 2:
        facing = (np.cos(np.deg2rad(front_deg)), np.sin(np.deg2rad(front_deg)))[thin]
        away = -np.sign(facing) if abs(facing) > _FACING else away
    object_axes = np.zeros((3, 3))
    object_axes[0, thin], object_axes[2, up] = away, 1.0
    if up != 2:
        # The heavier end is below.
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        object_axes[2, up] = -1.0 if mesh.centroid[up] > middle[up] else 1.0
    object_axes[1, wide] = 1.0
    object_axes[1, wide] = np.linalg.det(object_axes)
    world_axes = np.array([[along[0], -along[1], 0.0], [along[1], along[0], 0.0], [0.0, 0.0, 1.0]])
    return world_axes @ _about("y", lean_deg) @ object_axes, float(size[up])


def _about(axis: Literal["x", "y", "z"], degrees: float) -> F64:
    """Rotation (3, 3), counterclockwise seen against the axis."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    rotation = np.eye(3)
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    rotation[first, first] = rotation[second, second] = cos
    rotation[first, second], rotation[second, first] = -sin, sin
    return rotation


def _random_rotation(rng: np.random.Generator) -> F64:
    """Rotation (3, 3), uniform over all: of a random unit quaternion."""
    quaternion = rng.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
