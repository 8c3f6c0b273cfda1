"""The scene's camera: it looks at a pivot, and camera edits orbit around that pivot.

Signs. `azimuth_deg` is the direction from the pivot to the camera, about world z from +x, counter-clockwise seen from
above. A positive yaw adds to it: the camera moves to the viewer's right (and turns left to keep the pivot in the
middle). A positive pitch adds to the elevation: the camera rises. A zoom above 1 divides the distance: closer.
"""

from dataclasses import dataclass, replace

import numpy as np

from ...shards.geometry import F64, intrinsics_of_lens, look_at, matrix3, matrix4, project, to_json_list
from .spec import CameraPose

_STEPS = 10
"""Corrections of distance and aim when framing; each shrinks the error several times."""


@dataclass(frozen=True)
class Orbit:
    """A camera by what it looks at. Degrees, metres, pixels; rounded to six decimals."""

    pivot: tuple[float, float, float]
    azimuth_deg: float
    elevation_deg: float
    distance: float
    K: tuple[float, ...]

    def turned(self, yaw_deg: float = 0.0, pitch_deg: float = 0.0, zoom: float = 1.0) -> "Orbit":
        """The camera after an edit, in the signs of `shards.schema.Edit`."""
        return replace(
            self,
            azimuth_deg=round((self.azimuth_deg + yaw_deg) % 360.0, 6),
            elevation_deg=round(self.elevation_deg + pitch_deg, 6),
            distance=round(self.distance / zoom, 6),
        )

    def matrix(self) -> F64:
        """world_from_camera, 4x4."""
        azimuth, elevation = np.deg2rad(self.azimuth_deg), np.deg2rad(self.elevation_deg)
        level = np.cos(elevation)
        towards = np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])
        return look_at(np.asarray(self.pivot) + self.distance * towards, self.pivot)

    def pose(self) -> CameraPose:
        """The camera as a specification holds it."""
        return CameraPose(K=self.K, world_from_camera=tuple(to_json_list(self.matrix())))


def frame(
    points: F64,
    azimuth_deg: float,
    elevation_deg: float,
    focal_mm: float,
    resolution: tuple[int, int],
    fill: float,
    offset: tuple[float, float],
) -> Orbit:
    """A camera that sees all `points` (N, 3), metres, seen from the given direction.

    The larger of the points' shares of the image's width and height becomes `fill`; the middle of their box is moved
    by `offset` (shares of width and height) from the middle of the image.
    """
    size = np.array(resolution, np.float64)
    K = intrinsics_of_lens(focal_mm, *resolution)
    focal = float(K[0, 0])
    low, high = points.min(axis=0), points.max(axis=0)
    orbit = Orbit(
        pivot=_rounded((low + high) / 2),
        azimuth_deg=round(azimuth_deg % 360.0, 6),
        elevation_deg=round(elevation_deg, 6),
        distance=float(2.0 * np.linalg.norm(high - low) * focal / size.min()),
        K=tuple(to_json_list(K)),
    )
    axes = orbit.matrix()[:3, :3]
    # Points as the camera's axes see them from the pivot: only shift and distance change from step to step.
    local = (points - np.asarray(orbit.pivot)) @ axes
    shift, distance = np.zeros(2), orbit.distance
    for _ in range(_STEPS):
        pixels = focal * (local[:, :2] - shift) / (local[:, 2:] + distance)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        shift = shift + ((low + high) / 2 - size * offset) * distance / focal
        distance *= float(((high - low) / size).max()) / fill
    return replace(orbit, pivot=_rounded(np.asarray(orbit.pivot) + axes[:, :2] @ shift), distance=round(distance, 6))


def eye(camera: CameraPose) -> F64:
    """Where the camera is (3,), metres."""
    return matrix4(camera.world_from_camera)[:3, 3]


def bearings(camera: CameraPose) -> tuple[F64, F64]:
    """The viewer's right and the direction away from the viewer, along the floor: unit vectors (2,)."""
    right = matrix4(camera.world_from_camera)[:2, 0]
    right = right / np.linalg.norm(right)
    return right, np.array([-right[1], right[0]])


def pixel_of(point: F64, camera: CameraPose) -> F64:
    """Where a world point (3,) is seen: pixel coordinates (2,)."""
    return project(point[None], matrix3(camera.K), matrix4(camera.world_from_camera))[0][0]


def _rounded(point: F64) -> tuple[float, float, float]:
    x, y, z = to_json_list(point)
    return x, y, z
