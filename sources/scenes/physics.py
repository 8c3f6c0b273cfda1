"""Where things come to rest that fall, lean or lie: rigid bodies in MuJoCo, an optional package (extra `physics`).

Bodies are convex pieces, because one hull would close what is hollow. A body that moves is cut into its connected
parts, and each of these into octants (`body_pieces`). What does not move is a plane, or a surface cut into small pieces
(`surface_pieces`). The hull of a piece contains its triangles, so triangles overlap at most as deep as the contacts of
the simulation. A hull may touch where its triangles do not, so every contact is measured on the triangles.

Invariant: the result depends on the arguments only: one thread, no random numbers, poses rounded before contacts are
measured. Other processors and other versions of MuJoCo may give other poses.
"""

import copy
import hashlib
import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np

from ...shards.errors import BadInput
from ...shards.geometry import F64, tilted_similarity
from ..assets.height_map import Integers

MOST_GAP: Final = 0.002
"""Meters between the triangles of two things that touch: a wider gap is seen."""
_STEP_S: Final = 0.002
_STEPS: Final = 10
"""Steps between two looks at the speeds."""
_LONGEST_S: Final = 2.0
_STILL: Final = 0.01
"""Largest speed at rest, m/s and rad/s."""
_QUIET_S: Final = 0.1
"""Seconds that all bodies are at rest before the simulation ends."""
_DAMPING: Final = ((1.2, 0.9), (_LONGEST_S, 0.75))
"""Until so many seconds, speeds are multiplied by this at each look. What falls stays slower than 2 m/s, so a heap
stays together, and it comes to rest soon."""
_HELD: Final = 0.1
"""Upward component of the normal of a contact above which the lower of two things holds the upper."""
_CONTACT: Final[dict[str, Any]] = {
    # Stiff contacts: things sink by a fraction of a millimeter.
    "solref": [0.004, 1.0],
    "solimp": [0.95, 0.99, 0.0005, 0.5, 2],
    # Six dimensions: without rolling friction a ball never rests.
    "condim": 6,
    "friction": [0.8, 0.02, 0.006],
    "density": 400.0,
    # Contacts are found 0.1 mm before they act, so that rounded poses keep theirs.
    "margin": 1e-4,
    "gap": 1e-4,
}
_FIXED: Final = -1
_MOST_PIECES: Final = 1600
_SLIVER: Final = 2e-7
"""Pieces of a smaller area are left out, square meters."""
_KEPT: Final = 32
"""Results that a process keeps."""
_NEAR: Final = 0.005
"""Meters: gaps that are wider count as infinite."""
_PARTS: Final = 3
"""Connected parts of a thing that are pieces of their own."""
_FLAT: Final = 5e-4
"""Meters by which a convex part may be concave."""
_CHECKED: Final = 200
"""Triangles of a part by which it is decided whether it is convex."""
_THIN: Final = 2e-4
"""Half the least thickness of a piece, meters."""


@dataclass(frozen=True)
class Pose:
    """world_from_object = translate(x, y, z) rotate_z(yaw) rotate(tilt), at scale 1; meters and degrees, rounded."""

    position: tuple[float, float, float]
    yaw_deg: float
    tilt_deg: tuple[float, float]
    """Rotation vector along x and y: its length is the angle."""

    def matrix(self) -> F64:
        """4x4."""
        return tilted_similarity(*self.position, self.yaw_deg, self.tilt_deg)


@dataclass(frozen=True)
class Body:
    """A thing that moves: its mesh in the object frame (meters), and world_from_object (4x4, rigid) at the start."""

    vertices: F64
    faces: Integers
    start: F64

    @cached_property
    def pieces(self) -> list[F64]:
        """Points (n, 3) of its convex pieces, object frame."""
        return body_pieces(self.vertices, self.faces)


@dataclass(frozen=True)
class Fixed:
    """A thing that does not move, world frame, meters."""

    vertices: F64
    faces: Integers
    """Empty: only an outline of the thing is known, and what touches it has an infinite gap."""
    pieces: Sequence[F64]
    """Points (n, 3) of convex pieces that contain its triangles, where bodies may touch it."""


@dataclass(frozen=True)
class Plane:
    """A surface without thickness, world frame: bodies are on the side of its normal."""

    point: tuple[float, float, float]
    normal: tuple[float, float, float]


@dataclass
class Rest:
    """How a body came to rest, and what it touches."""

    pose: Pose
    moving: bool
    """Whether it did not come to rest in time, or could not be simulated."""
    gap: float = 0.0
    """Largest distance of the triangles at one of its contacts, meters; infinite if it touches nothing. A contact of
    two bodies counts for the later one."""
    on: list[tuple[int, F64]] = field(default_factory=list[tuple[int, F64]])
    """Planes that it touches, and the points (3,) where."""
    fixed: set[int] = field(default_factory=set[int])
    """Fixed things that it touches."""
    held_by: set[int] = field(default_factory=set[int])
    """Bodies that it lies on or leans against."""


def is_installed() -> bool:
    """Whether MuJoCo can be imported."""
    return importlib.util.find_spec("mujoco") is not None


def _mujoco() -> Any:
    """The package, which has no types."""
    return importlib.import_module("mujoco")


def need_mujoco() -> None:
    """Raises BadInput where MuJoCo is not installed."""
    if not is_installed():
        raise BadInput(
            "scene.physics needs MuJoCo, which is not installed here: pip install 'spatialdata-builder[physics]', on "
            "every machine of the build, or set scene.physics=off"
        )


def settle(bodies: Sequence[Body], fixed: Sequence[Fixed], planes: Sequence[Plane]) -> list[Rest]:
    """Let bodies fall until they rest.

    Args:
        bodies: they do not intersect each other or anything else at the start.
    """
    # Attempts of one scene settle the same things again.
    key = _digest(bodies, fixed, planes)
    if key not in _settled:
        if len(_settled) == _KEPT:
            del _settled[next(iter(_settled))]
        _settled[key] = _settle(bodies, fixed, planes)
    return copy.deepcopy(_settled[key])


_settled: dict[bytes, list[Rest]] = {}
"""The latest results, the oldest first."""


def _digest(bodies: Sequence[Body], fixed: Sequence[Fixed], planes: Sequence[Plane]) -> bytes:
    digest = hashlib.sha256(repr(planes).encode())
    for body in bodies:
        for values in (body.vertices, body.faces, body.start):
            digest.update(np.ascontiguousarray(values).tobytes())
    for thing in fixed:
        for values in (thing.vertices, thing.faces, *thing.pieces):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.digest()


def _settle(bodies: Sequence[Body], fixed: Sequence[Fixed], planes: Sequence[Plane]) -> list[Rest]:
    need_mujoco()
    mujoco = _mujoco()
    try:
        model = _world(bodies, fixed, planes)
    except ValueError:  # MuJoCo finds no hull of a piece: its points are in one plane
        return [Rest(_pose_of(body.start[:3, 3], _quaternion_of(body.start[:3, :3])), True) for body in bodies]
    data: Any = mujoco.MjData(model)
    still = _run(model, data)
    poses: list[Pose] = []
    for number in range(len(bodies)):
        at = 7 * number
        pose = _pose_of(data.qpos[at : at + 3], data.qpos[at + 3 : at + 7])
        poses.append(pose)
        data.qpos[at : at + 3] = pose.position
        data.qpos[at + 3 : at + 7] = _quaternion(pose)
    rests = [Rest(pose, not quiet) for pose, quiet in zip(poses, still, strict=True)]
    mujoco.mj_forward(model, data)
    _read_contacts(model, data, bodies, fixed, rests)
    return rests


def body_pieces(vertices: F64, faces: Integers) -> list[F64]:
    """Points of the convex pieces of a thing: its largest connected parts, and the rest, those that are not convex cut
    into octants."""
    corners = vertices[faces]
    size = np.ptp(corners.reshape(-1, 3), axis=0)
    part = _parts(vertices, faces)
    counts = np.bincount(part)
    large = np.argsort(-counts, kind="stable")[:_PARTS]
    part = np.where(np.isin(part, large), part, len(counts))
    found: list[F64] = []
    for one in np.unique(part):
        own = corners[part == one]
        found += [_piece(own.reshape(-1, 3))] if _is_convex(own) else _octants(divided(own, float(size.max()) / 3))
    return found


def _is_convex(corners: F64) -> bool:
    """Whether all corners of triangles (n, 3, 3) are on one side of each triangle; of many, a sample is checked."""
    some = corners[:: -(-len(corners) // _CHECKED)]
    normals = np.cross(some[:, 1] - some[:, 0], some[:, 2] - some[:, 0])
    length = np.linalg.norm(normals, axis=1)
    normals, some = normals[length > 1e-12] / length[length > 1e-12, None], some[length > 1e-12]
    points = np.unique(corners.reshape(-1, 3), axis=0)
    heights = normals @ points.T - np.einsum("ij,ij->i", normals, some[:, 0])[:, None]
    return bool(((heights.max(axis=1) < _FLAT) | (heights.min(axis=1) > -_FLAT)).all())


def _octants(corners: F64) -> list[F64]:
    """Points of the parts of triangles (n, 3, 3) in the octants around their middle."""
    flat = corners.reshape(-1, 3)
    above = corners.mean(axis=1) > (flat.min(axis=0) + flat.max(axis=0)) / 2
    octant = above @ np.array([1, 2, 4])
    return [_piece(corners[octant == one].reshape(-1, 3)) for one in np.unique(octant)]


def _parts(vertices: F64, faces: Integers) -> Integers:
    """The number of the connected part of each triangle (m,). Vertices at one place are one vertex."""
    _, same = np.unique(np.round(vertices, 6), axis=0, return_inverse=True)
    corners = same.ravel()[faces]
    label = np.arange(int(corners.max()) + 1)
    while True:
        least = label[corners].min(axis=1)
        after = label.copy()
        np.minimum.at(after, corners.ravel(), np.repeat(least, 3))
        after = after[after]
        if (after == label).all():
            return np.unique(label[corners[:, 0]], return_inverse=True)[1].ravel()
        label = after


def _piece(points: F64) -> F64:
    """Points (n, 3) without doubles. Flat ones become a slab, because a hull needs a volume."""
    points = np.unique(np.round(points, 5), axis=0)
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    for axis in axes if len(axes) == 3 else np.eye(3):
        if np.ptp(points @ axis) < 2 * _THIN:
            points = np.concatenate([points - _THIN * axis, points + _THIN * axis])
    return points


def surface_pieces(vertices: F64, faces: Integers, eye: F64, reach: float, size: float) -> list[F64]:
    """Convex pieces of a surface: the parts of it in the cells of a cubic grid, each made a slab behind the surface.

    Between chords a piece stands out of a concave surface of radius r by about size² / 8r.

    Args:
        vertices, faces: the mesh, world frame, meters.
        eye: a point (3,) that sees all sides of the surface that bodies touch, for example above a bowl. Slabs thicken
            away from it.
        reach: only what is closer to the eye than this, along each axis, meters.
        size: of a cell, meters. Cells are larger where there would be more than `_MOST_PIECES`.
    """
    found = _slabs(vertices[faces], eye, reach, size)
    while len(found) > _MOST_PIECES:
        size *= 1.4
        found = _slabs(vertices[faces], eye, reach, size)
    return found


def _slabs(corners: F64, eye: F64, reach: float, size: float) -> list[F64]:
    corners = divided(corners, size, eye, reach)
    if not len(corners):
        return []
    centers = corners.mean(axis=1)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals *= np.sign(np.einsum("ij,ij->i", normals, centers - eye))[:, None]
    cells = np.floor((centers - eye) / size).astype(np.int64)
    # Walls that meet in one cell are pieces of their own: their hull would fill the corner.
    side = np.abs(normals).argmax(axis=1)
    facing = 2 * side + (normals[np.arange(len(side)), side] > 0)
    _, number = np.unique(np.column_stack([cells, facing]), axis=0, return_inverse=True)
    order = np.argsort(number.ravel(), kind="stable")
    found: list[F64] = []
    for part in np.split(order, np.flatnonzero(np.diff(number.ravel()[order])) + 1):
        away = normals[part].sum(axis=0)
        length = float(np.linalg.norm(away))
        if length > _SLIVER:
            points = corners[part].reshape(-1, 3)
            found.append(np.round(np.concatenate([points, points + size * away / length]), 6))
    return found


def divided(corners: F64, size: float, middle: F64 | None = None, reach: float = 0.0) -> F64:
    """Triangles (n, 3, 3), divided until no side is longer than `size`; with a `middle` (3,), those in its reach."""
    done: list[F64] = []
    while len(corners):
        if middle is not None:
            near = (corners.min(axis=1) < middle + reach) & (corners.max(axis=1) > middle - reach)
            corners = corners[near.all(axis=1)]
        sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        small = sides.max(axis=1) <= size
        done.append(corners[small])
        corners, sides = corners[~small], sides[~small]
        # Halved at the longest side: corner 0 to 1 after the roll.
        first = sides.argmax(axis=1)[:, None]
        a, b, c = (np.take_along_axis(corners, ((first + k) % 3)[..., None], axis=1)[:, 0] for k in range(3))
        half = (a + b) / 2
        corners = np.concatenate([np.stack([a, half, c], axis=1), np.stack([half, b, c], axis=1)])
    return np.concatenate(done) if done else corners


class Surface:
    """The triangles of a mesh, to measure distances."""

    def __init__(self, vertices: F64, faces: Integers) -> None:
        self._corners = vertices[faces]
        self._low, self._high = self._corners.min(axis=1) - _NEAR, self._corners.max(axis=1) + _NEAR

    def distance(self, point: F64) -> float:
        """Distance of a point (3,) to the nearest triangle, meters; infinite if it is more than `_NEAR`."""
        near = ((self._low < point) & (point < self._high)).all(axis=1)
        return _distance(self._corners[near] - point) if near.any() else float("inf")


def _distance(corners: F64) -> float:
    """Distance of the origin to the nearest of triangles (n, 3, 3)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = np.cross(b - a, c - a)
    area = np.einsum("ij,ij->i", normal, normal)
    inside = area > 1e-20
    nearest = np.full(len(a), np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        along = end - start
        length = np.maximum(np.einsum("ij,ij->i", along, along), 1e-20)
        share = np.clip(-np.einsum("ij,ij->i", start, along) / length, 0.0, 1.0)
        nearest = np.minimum(nearest, np.linalg.norm(start + share[:, None] * along, axis=1))
        inside &= np.einsum("ij,ij->i", np.cross(along, -start), normal) >= 0
    height = np.abs(np.einsum("ij,ij->i", a, normal)) / np.sqrt(np.maximum(area, 1e-20))
    return float(np.where(inside, height, nearest).min())


def _world(bodies: Sequence[Body], fixed: Sequence[Fixed], planes: Sequence[Plane]) -> Any:
    """The model. Its bodies are, after the world, the bodies in order, then the fixed things in order."""
    mujoco = _mujoco()
    spec: Any = mujoco.MjSpec()
    spec.option.timestep = _STEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10  # friction that holds: without it, leaning books creep
    names = _names()
    for plane in planes:
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], pos=plane.point, zaxis=plane.normal, **_CONTACT
        )
    for body in bodies:
        free = spec.worldbody.add_body(pos=body.start[:3, 3], quat=_quaternion_of(body.start[:3, :3]))
        free.add_freejoint()
        _add_pieces(spec, free, body.pieces, names)
    for thing in fixed:
        _add_pieces(spec, spec.worldbody.add_body(), thing.pieces, names)
    return spec.compile()


def _names() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"mesh{number}"


def _add_pieces(spec: Any, body: Any, pieces: Sequence[F64], names: Iterator[str]) -> None:
    mujoco = _mujoco()
    for points in pieces:
        name = next(names)
        spec.add_mesh(name=name, uservert=points.astype(np.float32).ravel())
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, **_CONTACT)


def _run(model: Any, data: Any) -> list[bool]:
    """Step until all bodies are at rest; whether each of them is."""
    mujoco = _mujoco()
    mujoco.mj_forward(model, data)
    quiet = 0.0
    speeds = np.zeros((model.nv // 6, 6))
    while quiet < _QUIET_S and data.time < _LONGEST_S:
        mujoco.mj_step(model, data, _STEPS)
        data.qvel *= next((factor for until, factor in _DAMPING if data.time < until), _DAMPING[-1][1])
        speeds = np.abs(data.qvel.reshape(-1, 6))
        quiet = quiet + _STEPS * _STEP_S if speeds.max() < _STILL else 0.0
    return (speeds.max(axis=1) < _STILL).tolist()


def _read_contacts(
    model: Any, data: Any, bodies: Sequence[Body], fixed: Sequence[Fixed], rests: Sequence[Rest]
) -> None:
    """Enter into `rests` what each body touches, and the largest gap of the triangles there."""
    placed = [b.vertices @ (m := r.pose.matrix())[:3, :3].T + m[:3, 3] for b, r in zip(bodies, rests, strict=True)]
    surfaces = [Surface(points, body.faces) for points, body in zip(placed, bodies, strict=True)]
    surfaces += [Surface(thing.vertices, thing.faces) for thing in fixed]
    touched = [False] * len(bodies)
    for contact in data.contact[: data.ncon]:
        point = np.array(contact.pos, np.float64)
        pair = [int(model.geom_bodyid[geom]) - 1 for geom in contact.geom]
        # The contact's normal points from its first geom to its second.
        rise = float(contact.frame[2])
        for own, other, up, geom in ((pair[0], pair[1], -rise, 1), (pair[1], pair[0], rise, 0)):
            if not 0 <= own < len(bodies):
                continue
            rest = rests[own]
            touched[own] = True
            gap = surfaces[own].distance(point)
            if other == _FIXED:
                rest.on.append((int(contact.geom[geom]), point))
            else:
                gap += surfaces[other].distance(point)
                if other >= len(bodies):
                    rest.fixed.add(other - len(bodies))
                elif up > -_HELD:
                    rest.held_by.add(other)
            # Of two bodies one is at fault: the later one, which came to lie on the other.
            if not 0 <= other < len(bodies) or own > other:
                rest.gap = max(rest.gap, gap)
    for rest, touches in zip(rests, touched, strict=True):
        rest.gap = rest.gap if touches else float("inf")


def _pose_of(position: F64, quaternion: F64) -> Pose:
    """A position (3,) and a rotation (w, x, y, z), as a rotation about the vertical after one about a level axis."""
    w, x, y, z = (float(value) for value in quaternion)
    yaw = 2.0 * np.arctan2(z, w) if np.hypot(w, z) > 1e-9 else 0.0
    half = np.array([np.cos(yaw / 2), np.sin(yaw / 2)])
    # The rest after the rotation about z: a rotation about an axis in the plane of x and y.
    real, across = half[0] * w + half[1] * z, np.array([half[0] * x + half[1] * y, half[0] * y - half[1] * x])
    length = float(np.linalg.norm(across))
    angle = np.rad2deg(2.0 * np.arctan2(length, real))
    tilt = across / length * angle if length > 1e-12 else np.zeros(2)
    return Pose(
        (round(float(position[0]), 6), round(float(position[1]), 6), round(float(position[2]), 6)),
        round(float(np.rad2deg(yaw)) % 360.0, 6),
        (round(float(tilt[0]), 6) + 0.0, round(float(tilt[1]), 6) + 0.0),
    )


def _quaternion(pose: Pose) -> F64:
    return _quaternion_of(pose.matrix()[:3, :3])


def _quaternion_of(rotation: F64) -> F64:
    """(w, x, y, z) of a rotation matrix (3, 3)."""
    mujoco = _mujoco()
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation, np.float64).ravel())
    return quaternion
