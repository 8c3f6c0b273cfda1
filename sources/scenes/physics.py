"""Where things come to rest that fall, lean or lie: rigid bodies in MuJoCo, an optional package (extra `physics`).

Bodies are convex pieces that contain their triangles (`convex`), so triangles overlap at most as deep as the contacts
of the simulation. A piece may touch where its triangles do not, so every contact is measured on the triangles.

Invariant: the result depends on the arguments only: one thread, no random numbers, poses rounded before contacts are
measured. Other processors and other versions of MuJoCo may give other poses.
"""

import copy
import hashlib
import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ...shards.errors import BadInput
from ...shards.geometry import F64, invert_rigid, tilted_similarity, transform
from .convex import NO_BOXES, Boxes, Mesh

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
_KEPT: Final = 32
"""Results that a process keeps."""


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
    """A thing that moves: its mesh in the object frame, and world_from_object (4x4, rigid) at the start."""

    mesh: Mesh
    start: F64


@dataclass(frozen=True)
class Fixed:
    """A thing that does not move: its mesh in the object frame, world_from_object (4x4, rigid), and its shape."""

    mesh: Mesh
    """If it has no faces, only an outline of the thing is known, and what touches it has an infinite gap."""
    pose: F64
    pieces: Sequence[F64] = ()
    """Points (n, 3) of convex pieces, object frame."""
    boxes: Boxes = NO_BOXES


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
    points: list[F64] = field(default_factory=list[F64])
    """Points (3,) where it touches anything, world frame."""
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
        digest.update(body.mesh.digest + np.ascontiguousarray(body.start).tobytes())
    for thing in fixed:
        digest.update(thing.mesh.digest)
        boxes = thing.boxes
        for values in (thing.pose, *thing.pieces, boxes.centers, boxes.axes, boxes.halves):
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
    rests: list[Rest] = []
    for values, quiet in zip(data.qpos.reshape(-1, 7), still, strict=True):
        pose = _pose_of(values[:3], values[3:])
        values[:] = *pose.position, *_quaternion_of(pose.matrix()[:3, :3])
        rests.append(Rest(pose, not quiet))
    mujoco.mj_forward(model, data)
    _read_contacts(model, data, bodies, fixed, rests)
    return rests


def _world(bodies: Sequence[Body], fixed: Sequence[Fixed], planes: Sequence[Plane]) -> Any:
    """The model. Its bodies are, after the world, the bodies in order, then the fixed things in order."""
    mujoco = _mujoco()
    spec: Any = mujoco.MjSpec()
    spec.option.timestep = _STEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10  # friction that holds: without it, leaning books creep
    for name, value in _CONTACT.items():
        setattr(spec.default.geom, name, value)
    kinds = mujoco.mjtGeom
    for plane in planes:
        spec.worldbody.add_geom(type=kinds.mjGEOM_PLANE, size=[0, 0, 1], pos=plane.point, zaxis=plane.normal)
    shapes = [(body.start, body.mesh.pieces, NO_BOXES) for body in bodies]
    shapes += [(thing.pose, thing.pieces, thing.boxes) for thing in fixed]
    for number, (pose, pieces, boxes) in enumerate(shapes):
        body = spec.worldbody.add_body(pos=pose[:3, 3], quat=_quaternion_of(pose[:3, :3]))
        if number < len(bodies):
            body.add_freejoint()
        for part, points in enumerate(pieces):
            name = f"{number}-{part}"
            spec.add_mesh(name=name, uservert=points.astype(np.float32).ravel())
            body.add_geom(type=kinds.mjGEOM_MESH, meshname=name)
        for center, axes, half in zip(boxes.centers, boxes.axes, boxes.halves, strict=True):
            body.add_geom(type=kinds.mjGEOM_BOX, pos=center, quat=_quaternion_of(axes.T), size=half)
    return spec.compile()


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
    # Distances are measured in the object frame of each mesh.
    poses = [*(rest.pose.matrix() for rest in rests), *(thing.pose for thing in fixed)]
    frames = [invert_rigid(pose) for pose in poses]
    meshes = [*(body.mesh for body in bodies), *(thing.mesh for thing in fixed)]
    # Copies, because each access reads the field from MuJoCo anew.
    contacts = data.contact
    for point, geoms, rise in zip(contacts.pos.copy(), contacts.geom.copy(), contacts.frame[:, 2].copy(), strict=True):
        # The number of the world and its planes is `_FIXED`.
        pair = [int(model.geom_bodyid[geom]) - 1 for geom in geoms]
        gaps = [0.0 if one == _FIXED else meshes[one].distance(transform(frames[one], point)) for one in pair]
        # The contact's normal points from its first geom to its second.
        for own, other, up, geom in ((pair[0], pair[1], -rise, geoms[1]), (pair[1], pair[0], rise, geoms[0])):
            if not 0 <= own < len(bodies):
                continue
            rest = rests[own]
            rest.points.append(point)
            if other == _FIXED:
                rest.on.append((int(geom), point))
            elif other >= len(bodies):
                rest.fixed.add(other - len(bodies))
            elif up > -_HELD:
                rest.held_by.add(other)
            # Of two bodies one is at fault: the later one, which came to lie on the other.
            if not 0 <= other < len(bodies) or own > other:
                rest.gap = max(rest.gap, sum(gaps))
    for rest in rests:
        rest.gap = rest.gap if rest.points else float("inf")


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


def _quaternion_of(rotation: F64) -> F64:
    """(w, x, y, z) of a rotation matrix (3, 3)."""
    mujoco = _mujoco()
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation, np.float64).ravel())
    return quaternion
