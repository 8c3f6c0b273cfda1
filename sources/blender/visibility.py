# pyright: basic, reportMissingImports=false
"""Measures the visibility of each object by ray casting, which is much cheaper than a render.

Surface is defined as in `hits`, except that textures are ignored: the transparent corners of a leaf count as leaf. Own
pixels are amodal: those of the object without the others, inside the frame.
"""

import math
from typing import Any

import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree

GRID = 48
"""Number of rays along the side of a square box. Other boxes have the same total number of rays."""
NEAR = 0.01
STEP = 1e-6
"""Distance behind a back face at which a ray continues, in radii of the object."""
AROUND, ACROSS = 24, 16
"""Number of directions from which back faces are searched, and number of rays along the side of a square for each."""


class Shell:
    """The triangles of an object for ray casting. Rays pass through the visible_backs of single-sided triangles."""

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray, single: np.ndarray) -> None:
        """`single` (M,): whether each of the `triangles` (M, 3), counter-clockwise from the front, is single-sided."""
        self._bvh = BVHTree.FromPolygons(vertices.tolist(), triangles.tolist(), all_triangles=True)
        self._single = single.tolist()
        self._center = (vertices[triangles].min(axis=(0, 1)) + vertices[triangles].max(axis=(0, 1))) / 2
        self._radius = float(np.linalg.norm(np.ptp(vertices[triangles].reshape(-1, 3), axis=0))) / 2

    def distance(self, origin: Vector, direction: list, limit: float = 1e9) -> float | None:
        """Distance to the first surface along a unit direction; None if there is none within `limit`."""
        cast, traveled = self._bvh.ray_cast, 0.0
        ray = Vector(direction)
        while traveled < limit:
            _, normal, index, distance = cast(origin + ray * traveled, ray, limit - traveled)
            if distance is None:
                return None
            traveled += distance
            if not self._single[index] or normal.dot(ray) < 0:
                return traveled
            traveled += max(STEP * self._radius, 1e-7 * traveled)
        return None

    def visible_backs(self) -> np.ndarray:
        """Indices of single-sided triangles whose back is the first hit of some ray from outside."""
        if not any(self._single):
            return np.zeros(0, np.int64)
        found: set[int] = set()
        steps = (np.arange(AROUND) + 0.5) / AROUND
        height, angle = 1 - 2 * steps, np.pi * (1 + 5**0.5) * np.arange(AROUND)
        flat = np.sqrt(1 - height**2)
        side = (np.arange(ACROSS) + 0.5) / ACROSS * 2 - 1
        x, y = (grid.ravel() * self._radius for grid in np.meshgrid(side, side))
        for towards in np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1):
            right = np.cross(towards, (0.0, 0.0, 1.0))
            right /= np.linalg.norm(right)
            start = self._center - 2 * self._radius * towards
            starts = start + np.outer(x, right) + np.outer(y, np.cross(right, towards))
            ray = Vector(towards.tolist())
            for origin in starts.tolist():
                _, normal, index, _ = self._bvh.ray_cast(Vector(origin), ray)
                if index is not None and self._single[index] and normal.dot(ray) > 0:
                    found.add(index)
        return np.array(sorted(found), np.int64)


class View:
    """The rays of a state's camera, world frame."""

    def __init__(self, camera: dict, width: int, height: int) -> None:
        self.K = np.reshape(camera["K"], (3, 3))
        pose = np.reshape(camera["world_from_camera"], (4, 4))
        self.rotation, self.eye = pose[:3, :3], pose[:3, 3]
        self.width, self.height = width, height

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (N, 2) and planar z (N) of world points. Pixels are not valid behind the camera."""
        local = (points - self.eye) @ self.rotation
        z = local[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            return (local @ self.K.T)[:, :2] / z[:, None], z

    def directions(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Unit directions (N, 3) through pixel positions."""
        local = np.stack([(x - self.K[0, 2]) / self.K[0, 0], (y - self.K[1, 2]) / self.K[1, 1], np.ones_like(x)], -1)
        return (local / np.linalg.norm(local, axis=1, keepdims=True)) @ self.rotation.T


class Placed:
    """An object placed as in a state, and its box in the image."""

    def __init__(self, asset: Any, placement: dict, view: View) -> None:
        yaw, self.scale = math.radians(placement["yaw_deg"]), placement["scale"]
        cos, sin = math.cos(yaw), math.sin(yaw)
        self.rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        if settled := placement.get("settled"):
            self.rotation = self.rotation @ _tilted(settled["tilt_deg"])
        self.origin = np.array([placement["x"], placement["y"], placement["z"]])
        self.asset = asset
        self.box = self._box(view)

    def world(self, points: np.ndarray) -> np.ndarray:
        return points * self.scale @ self.rotation.T + self.origin

    def _box(self, view: View) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of the whole object, clipped to the frame; the whole frame if it extends behind the camera."""
        pixels, z = view.project(self.world(self.asset.vertices))
        if z.max() <= NEAR:
            return 0.0, 0.0, 0.0, 0.0
        if z.min() <= NEAR:
            return 0.0, 0.0, float(view.width), float(view.height)
        (x0, y0), (x1, y1) = pixels.min(axis=0), pixels.max(axis=0)
        x0, x1 = np.clip([x0, x1], 0, view.width)
        y0, y1 = np.clip([y0, y1], 0, view.height)
        return float(x0), float(y0), float(x1), float(y1)

    def rays(self, eye: np.ndarray, directions: np.ndarray) -> tuple[Vector, list]:
        """World rays in the object frame."""
        origin = (eye - self.origin) @ self.rotation / self.scale
        return Vector(origin.tolist()), (directions @ self.rotation).tolist()

    def overlaps(self, other: "Placed") -> bool:
        a, b = self.box, other.box
        return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _tilted(tilt_deg: list) -> np.ndarray:
    """Rotation (3, 3) about the level axis (x, y) by its length in degrees."""
    angle = math.hypot(*tilt_deg)
    x, y = (part / angle for part in tilt_deg) if angle else (1.0, 0.0)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    cross = np.array([[0.0, 0.0, y], [0.0, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + sin * cross + (1 - cos) * cross @ cross


def measure_visibility(scene: Any, state: dict) -> dict:
    """For each object: own_px, visible (fraction of the own pixels), in_frame (fraction of the surface), box."""
    view = View(state["camera"], scene.width, scene.height)
    placements = state["placements"]
    placed = {
        name: Placed(asset, placements[name], view)
        for name, asset in scene.assets.items()
        if placements[name]["present"]
    }
    absent = {"own_px": 0.0, "visible": 0.0, "in_frame": 0.0, "box": [0, 0, 0, 0]}
    return {
        name: _measure_object(placed[name], [p for n, p in placed.items() if n != name], scene, view)
        if name in placed
        else absent
        for name in scene.assets
    }


def _measure_object(own: Placed, others: list[Placed], scene: Any, view: View) -> dict:
    x0, y0, x1, y1 = own.box
    pixels, z = view.project(own.world(own.asset.points))
    with np.errstate(invalid="ignore"):
        inside = (z > NEAR) & (pixels >= 0).all(axis=1) & (pixels < (view.width, view.height)).all(axis=1)
    result = {
        "own_px": 0.0,
        "visible": 0.0,
        "in_frame": float(inside.mean()),
        "box": [math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)],
    }
    if x1 - x0 < 1e-3 or y1 - y0 < 1e-3:
        result["box"] = [0, 0, 0, 0]
        return result
    across = int(np.clip(round(GRID * math.sqrt((x1 - x0) / (y1 - y0))), 6, GRID * 8))
    down = int(np.clip(round(GRID * GRID / across), 6, GRID * 8))
    x, y = np.meshgrid(
        x0 + (np.arange(across) + 0.5) / across * (x1 - x0), y0 + (np.arange(down) + 0.5) / down * (y1 - y0)
    )
    directions = view.directions(x.ravel(), y.ravel())
    origin, rays = own.rays(view.eye, directions)
    distance = np.array([own.asset.shell.distance(origin, ray) or 0.0 for ray in rays]) * own.scale
    hit = distance > 0
    count = int(hit.sum())
    if not count:
        return result
    free = _count_unhidden(own, others, scene, view, directions[hit], distance[hit])
    result["own_px"] = count / len(rays) * (x1 - x0) * (y1 - y0)
    result["visible"] = free / count
    return result


def _count_unhidden(
    own: Placed, others: list[Placed], scene: Any, view: View, directions: np.ndarray, distance: np.ndarray
) -> int:
    """Number of rays that reach the object at `distance` without hitting anything before."""
    reach = distance * (1 - 1e-4)
    free = np.ones(len(reach), bool)
    for wall in scene.spec["walls"]:
        free &= ~_behind_wall(wall, view.eye, directions, reach)
    if scene.surroundings is not None:
        eye, cast = Vector(view.eye.tolist()), scene.surroundings.distance
        free = np.array([cast(eye, *ray) is None for ray in zip(directions.tolist(), reach.tolist(), strict=True)])
    for other in others:
        if not own.overlaps(other):
            continue
        left = np.flatnonzero(free)
        origin, rays = other.rays(view.eye, directions[left])
        cast = other.asset.shell.distance
        limits = (reach[left] / other.scale).tolist()
        free[left] = [cast(origin, ray, limit) is None for ray, limit in zip(rays, limits, strict=True)]
    return int(free.sum())


def _behind_wall(wall: dict, eye: np.ndarray, directions: np.ndarray, reach: np.ndarray) -> np.ndarray:
    angle = math.radians(wall["normal_deg"])
    normal = np.array([math.cos(angle), math.sin(angle), 0.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (np.array([wall["x"], wall["y"], 0.0]) - eye) @ normal / (directions @ normal)
        z = eye[2] + t * directions[:, 2]
    return (t > 0) & (t < reach) & (z >= 0) & (z <= wall["height"])
