"""The camera of a prediction, from its features and the exact depth of source and target.

Corners of both images have exact points in the world. Where the prediction shows them again, they give its camera: SIFT
(Lowe 2004) with the ratio test of its section 7.1, then PnP with RANSAC (Fischler and Bolles 1981) and a refinement on
the inliers. Its K is the exact one, since our camera edits keep the lens. The source alone does not suffice: features
rarely survive an orbit by 45 degrees, so a good prediction is recognized by the target, and *copy* by the source.

The viewpoint error is that of SpatialEdit-Bench: the mean of |C - C_gt| / |C_gt - C_src| and of the geodesic angle
between the rotations over 90 degrees. Both are capped at 1 here, so that one failure does not outweigh a set. Where the
features do not suffice the camera is unknown, and the numbers are None.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ...shards.codecs import F32, U8
from ...shards.geometry import F64, invert_rigid, matrix3, matrix4, project, transform, unproject
from ...shards.schema import View
from ..truth import Truth

RATIO: Final = 0.8
MIN_INLIERS: Final = 10
REPROJECTION_PX: Final = 3.0
"""Largest reprojection error of an inlier, at 512 pixels; in proportion for other sizes."""
_MAX_FEATURES: Final = 800
_MIN_WAY: Final = 1e-3
"""Meters that the camera moves, at least, for an error of its position relative to the way."""


@dataclass(frozen=True)
class Camera:
    """`world_from_camera` (4, 4) of a prediction, and the number of features that agree with it."""

    world_from_camera: F64
    inliers: int


def camera_values(truth: Truth, prediction: U8) -> dict[str, float | None]:
    """Metrics of a camera edit; empty for other edits, and where the cameras or the depth are not known."""
    cameras = truth.record.camera
    if truth.record.edit.kind != "camera" or truth.source_metric is None:
        return {}
    if not (cameras.source.known and cameras.target.known):
        return {}
    found = estimate_camera(truth, prediction)
    if found is None:
        return dict.fromkeys(("camera_position", "camera_angle", "viewpoint", "framing"))
    position, angle = pose_error(found.world_from_camera, cameras.target, cameras.source)
    errors = [min(angle, 1.0), *([] if position is None else [min(position, 1.0)])]
    values: dict[str, float | None] = {"camera_angle": min(angle, 1.0), "viewpoint": float(np.mean(errors))}
    if position is not None:
        values["camera_position"] = min(position, 1.0)
    return values | {"framing": _framing(truth, found.world_from_camera)}


def pose_error(found: F64, target: View, source: View) -> tuple[float | None, float]:
    """Error of the position over the asked way (None if the camera stays), and of the rotation over 90 degrees."""
    exact, start = matrix4(target.world_from_camera), matrix4(source.world_from_camera)
    way = float(np.linalg.norm(exact[:3, 3] - start[:3, 3]))
    position = float(np.linalg.norm(found[:3, 3] - exact[:3, 3])) / way if way > _MIN_WAY else None
    turn = found[:3, :3].T @ exact[:3, :3]
    angle = float(np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    return position, angle / 90


def estimate_camera(truth: Truth, prediction: U8) -> Camera | None:
    """The camera of a prediction; None if too few features agree on one."""
    cameras, found = truth.record.camera, _features(prediction)
    views = (
        (truth.source, truth.source_metric, cameras.source),
        (truth.target, truth.target_metric, cameras.target),
    )
    pairs = [_points(image, depth, view, found) for image, depth, view in views if depth is not None]
    points = np.concatenate([points for points, _ in pairs])
    pixels = np.concatenate([pixels for _, pixels in pairs])
    if len(points) < MIN_INLIERS:
        return None
    return _pose(points, pixels, matrix3(cameras.target.K), REPROJECTION_PX * max(truth.size) / 512)


def _points(image: U8, depth: F32, view: View, found: "Features") -> tuple[F64, F64]:
    """World points (N, 3) of a view, and the pixels (N, 2) at which the prediction shows them."""
    own = _features(image)
    pairs = _matches(own.described, found.described)
    columns, rows = own.pixels[pairs[:, 0]].astype(np.intp).T
    valid = depth[rows, columns] > 0
    world = unproject(depth, matrix3(view.K), matrix4(view.world_from_camera))
    return world[rows, columns][valid], found.pixels[pairs[:, 1]][valid].astype(np.float64)


def _pose(points: F64, pixels: F64, camera: F64, tolerance: float) -> Camera | None:
    """PnP on world points (N, 3) and their pixels (N, 2)."""
    cv2.setRNGSeed(0)  # RANSAC draws from OpenCV's own generator: the same prediction gets the same number
    done, _, _, inliers = cv2.solvePnPRansac(
        points, pixels, camera, None, iterationsCount=1000, reprojectionError=tolerance, flags=cv2.SOLVEPNP_AP3P
    )
    if not done or len(inliers) < MIN_INLIERS:
        return None
    chosen = inliers.ravel().astype(np.intp)
    # SQPnP (Terzakis and Lourakis 2020) also solves points on one plane, such as those of a floor.
    done, turn, shift = cv2.solvePnP(points[chosen], pixels[chosen], camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not done:
        return None
    turn, shift = cv2.solvePnPRefineLM(points[chosen], pixels[chosen], camera, None, turn, shift)
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3], camera_from_world[:3, 3] = cv2.Rodrigues(turn)[0], shift.ravel()
    return Camera(invert_rigid(camera_from_world), len(chosen))


@dataclass(frozen=True)
class Features:
    """`pixels` (N, 2): positions, with the centers of pixels at halves; `described` (N, 128): unit vectors."""

    pixels: F32
    described: F32


def _features(image: U8) -> Features:
    """Root SIFT (Arandjelovic and Zisserman 2012, section 2) of an image (H, W, 3)."""
    points, described = _detector().detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    if not len(points):
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    described = np.sqrt(described / np.maximum(described.sum(axis=1, keepdims=True), 1e-6))
    return Features(np.array([point.pt for point in points], np.float32) + 0.5, described.astype(np.float32))


@cache
def _detector() -> cv2.SIFT:
    return cv2.SIFT.create(nfeatures=_MAX_FEATURES, contrastThreshold=0.02)


def _matches(a: F32, b: F32) -> NDArray[np.intp]:
    """Pairs of indexes (N, 2) that pass the ratio test, and are each other's best."""
    if not len(a) or len(b) < 2:
        return np.zeros((0, 2), np.intp)
    likeness = a @ b.T  # unit vectors: |a - b|^2 = 2 - 2 ab
    best = likeness.argmax(axis=1)
    top = np.partition(likeness, -2, axis=1)[:, -2:]
    distances = np.sqrt(np.maximum(2 - 2 * top, 0))
    mutual = likeness.argmax(axis=0)[best] == np.arange(len(a))
    kept = np.flatnonzero((distances[:, 1] < RATIO * distances[:, 0]) & mutual)
    return np.stack([kept, best[kept]], axis=1)


def _framing(truth: Truth, world_from_camera: F64) -> float:
    """Mean distance between the projections of the visible objects' centers under the found and the exact camera, over
    the image's diagonal; at most 1."""
    view = truth.record.camera.target
    shown = [one for one in truth.record.objects if one.known and any(one.target_box)]
    centers = [transform(matrix4(one.target_pose), [0.0, 0.0, one.size_m[2] / 2]) for one in shown]
    if not centers:
        return 0.0
    exact, _ = project(np.array(centers), matrix3(view.K), matrix4(view.world_from_camera))
    found, depth = project(np.array(centers), matrix3(view.K), world_from_camera)
    distances = np.where(depth > 0, np.linalg.norm(found - exact, axis=1) / truth.diagonal, 1.0)
    return float(np.minimum(distances, 1.0).mean())
