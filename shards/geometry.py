"""Conventions of cameras, poses and boxes, defined in one place.

Camera: OpenCV pinhole, x right, y down, z forward; pixel coordinates put the center of the pixel in column i and row
j at (i + 0.5, j + 0.5), so an image spans [0, width] x [0, height] and the principal point of a centered camera is
(width / 2, height / 2). World: meters, z up. Poses are 4x4 and named `<to>_from_<from>`: `world_from_camera` maps
camera coordinates to world coordinates. Everything is float64. Values for JSON go through `flat`, which rounds to six
decimals, so that the bytes do not depend on a machine's last bit.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

EQUAL_DB: Final = 99.0
"""The largest PSNR that is reported, also for equal images: JSON has no infinity."""


def intrinsics(fx: float, fy: float, cx: float, cy: float) -> F64:
    """K (3x3) of a pinhole camera, in pixels, without skew."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def intrinsics_of_lens(focal_mm: float, width: int, height: int, sensor_mm: float = 32.0) -> F64:
    """K of a lens on a sensor that is `sensor_mm` wide (along the image's width), with square pixels."""
    focal = focal_mm / sensor_mm * width
    return intrinsics(focal, focal, width / 2, height / 2)


def matrix3(values: ArrayLike) -> F64:
    """A 3x3 matrix from nine numbers, row-major (`View.K`)."""
    return np.asarray(values, np.float64).reshape(3, 3)


def matrix4(values: ArrayLike) -> F64:
    """A 4x4 matrix from sixteen numbers, row-major (`View.world_from_camera`, object poses)."""
    return np.asarray(values, np.float64).reshape(4, 4)


def to_json_list(values: ArrayLike, decimals: int = 6) -> list[float]:
    """Row-major list of floats, rounded, without negative zeros: how matrices and vectors are stored."""
    rounded: list[float] = np.round(np.asarray(values, np.float64).ravel(), decimals).tolist()
    return [value + 0.0 for value in rounded]


def transform(pose: F64, points: ArrayLike) -> F64:
    """Apply a 4x4 affine pose to points (..., 3)."""
    return np.asarray(points, np.float64) @ pose[:3, :3].T + pose[:3, 3]


def invert_rigid(pose: F64) -> F64:
    """Inverse of a rigid 4x4 pose: transposed rotation, back-rotated translation. Not for similarities."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def wrap_degrees(degrees: float) -> float:
    """The same angle in (-180, 180]."""
    return 180.0 - (180.0 - degrees) % 360.0


def similarity(x: float, y: float, z: float, yaw_deg: float, scale: float = 1.0) -> F64:
    """world_from_object = translate(x, y, z) rotate_z(yaw, counterclockwise seen from above) scale; 4x4."""
    yaw = np.deg2rad(yaw_deg)
    cos, sin = scale * np.cos(yaw), scale * np.sin(yaw)
    return np.array([[cos, -sin, 0.0, x], [sin, cos, 0.0, y], [0.0, 0.0, scale, z], [0.0, 0.0, 0.0, 1.0]])


def tilted_similarity(
    x: float, y: float, z: float, yaw_deg: float, tilt_deg: Sequence[float], scale: float = 1.0
) -> F64:
    """world_from_object = `similarity(...)` @ rotate(tilt); 4x4.

    Args:
        tilt_deg: rotation vector along x and y. Its direction is the level axis of the rotation, and its length the
            angle in degrees, counterclockwise seen against the axis (Rodrigues' formula).
    """
    pose = similarity(x, y, z, yaw_deg, scale)
    angle = float(np.hypot(tilt_deg[0], tilt_deg[1]))
    if angle:
        ax, ay = tilt_deg[0] / angle, tilt_deg[1] / angle
        cos, sin = float(np.cos(np.deg2rad(angle))), float(np.sin(np.deg2rad(angle)))
        rest = 1.0 - cos
        rotation = np.array(
            [
                [cos + ax * ax * rest, ax * ay * rest, ay * sin],
                [ax * ay * rest, cos + ay * ay * rest, -ax * sin],
                [-ay * sin, ax * sin, cos],
            ]
        )
        pose[:3, :3] = pose[:3, :3] @ rotation
    return pose


def box_corners(size_m: Sequence[float]) -> F64:
    """Corners (8, 3) of an object's bounding box in the object's own frame, in meters: centered, its base at z = 0."""
    w, d, h = size_m
    return np.array(list(product((-w / 2, w / 2), (-d / 2, d / 2), (0.0, h))))


def look_at(eye: ArrayLike, target: ArrayLike) -> F64:
    """world_from_camera (4x4) of a camera at `eye` that looks at `target` with a level horizon.

    Straight up or down, where the roll is undefined, the image's x axis is the world's x axis.
    Raises ValueError where eye and target coincide.
    """
    position = np.asarray(eye, np.float64)
    forward = np.asarray(target, np.float64) - position
    distance = float(np.linalg.norm(forward))
    if distance == 0:
        raise ValueError("look_at: eye and target must differ")
    forward = forward / distance
    right = np.cross(forward, (0.0, 0.0, 1.0))
    length = float(np.linalg.norm(right))
    right = right / length if length > 1e-9 else np.array([1.0, 0.0, 0.0])
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(forward, right), forward, position
    return pose


def project(points: ArrayLike, K: F64, world_from_camera: F64) -> tuple[F64, F64]:
    """Project world points (N, 3): pixel coordinates (N, 2) and planar z (N,) in meters.

    Points with z <= 0 lie behind the camera; their pixel coordinates are meaningless (NaN at z = 0).
    """
    local = transform(invert_rigid(world_from_camera), np.asarray(points, np.float64).reshape(-1, 3))
    depth = local[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = (local @ K.T)[:, :2] / depth[:, None]
    pixels[depth == 0] = np.nan
    return pixels, depth


def unproject(depth: NDArray[Any], K: F64, world_from_camera: F64) -> F64:
    """World points (H, W, 3) seen through each pixel's center, from planar z (H, W) in meters."""
    height, width = depth.shape
    x = (np.arange(width) + 0.5 - K[0, 2]) / K[0, 0]
    y = (np.arange(height) + 0.5 - K[1, 2]) / K[1, 1]
    z = depth.astype(np.float64)
    local = np.stack([(x[None, :] - (K[0, 1] / K[0, 0]) * y[:, None]) * z, y[:, None] * z, z], axis=-1)
    return transform(world_from_camera, local)


def box_of_mask(mask: Mask) -> list[int]:
    """[x0, y0, x1, y1] around the true pixels of a mask (H, W), x1 and y1 exclusive; zeros when empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes [x0, y0, x1, y1]; 0 where both are empty."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return float(both / union) if union > 0 else 0.0


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one shape; 0 where both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 0.0


def displacement(before: Mask, after: Mask) -> float:
    """Distance in pixels between the centers of two masks (H, W), to three decimals; -1 where one is empty."""
    if not before.any() or not after.any():
        return -1.0
    centers = [np.argwhere(mask).mean(axis=0) for mask in (before, after)]
    return round(float(np.linalg.norm(centers[1] - centers[0])), 3)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8], mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio of two uint8 images (H, W[, C]) in dB, over the mask's true pixels (H, W).

    At most `EQUAL_DB`; also `EQUAL_DB` where the images are equal or the mask selects nothing.
    """
    difference = a.astype(np.float64) - b
    selected = difference if mask is None else difference[mask]
    error = float(np.mean(selected**2)) if selected.size else 0.0
    return min(float(10 * np.log10(255.0**2 / error)), EQUAL_DB) if error > 0 else EQUAL_DB
