"""Small scenes with exact answers, drawn without a renderer: upright pictures of boxes on a textured floor."""

import cv2
import numpy as np

from spatialdata_builder.evaluation.truth import Truth
from spatialdata_builder.shards.geometry import (
    box_corners,
    box_of_mask,
    intrinsics_of_lens,
    look_at,
    matrix3,
    matrix4,
    project,
    similarity,
    to_json_list,
    transform,
)
from spatialdata_builder.shards.reader import read_record
from spatialdata_builder.shards.schema import NO_MAP, Maps, View
from tests.shards.factory import make_sample

SIDE = 192
EYE = (0.0, -4.5, 2.4)
SIZE = [0.5, 0.3, 0.7]
INSTRUCTION = "Move the mug to the right by about 160 cm."


def texture(seed: int, height: int = SIDE, width: int = SIDE, cells: int = 12) -> np.ndarray:
    """A smooth colored pattern uint8 (height, width, 3)."""
    small = np.random.default_rng(seed).integers(40, 216, (cells, cells, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def view_of(pose: np.ndarray) -> View:
    return View(
        known=True,
        focal="exact",
        K=to_json_list(intrinsics_of_lens(35, SIDE, SIDE)),
        world_from_camera=to_json_list(pose),
    )


def floor_depth(view: View) -> np.ndarray:
    """Planar z (H, W) of the floor z = 0."""
    pose, camera = matrix4(view.world_from_camera), matrix3(view.K)
    columns, rows = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(camera).T
    down = rays @ pose[:3, :3].T
    return np.where(down[..., 2] < -1e-6, -pose[2, 3] / np.minimum(down[..., 2], -1e-6), 0).astype(np.float32)


def floor_image(view: View, seed: int = 0) -> np.ndarray:
    """The floor with a texture that stays where it is in the world."""
    pattern = texture(seed, 1024, 1024, 96)
    pose = matrix4(view.world_from_camera)
    z = floor_depth(view)
    columns, rows = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(matrix3(view.K)).T
    points = transform(pose, rays * z[..., None])
    place = ((points[..., :2] + 8) / 16 * 1024).astype(np.float32)
    return cv2.remap(pattern, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def paint(image: np.ndarray, labels: np.ndarray, view: View, pose: np.ndarray, number: int) -> None:
    """Draw an object as the bounding rectangle of its projected box."""
    corners, _ = project(transform(pose, box_corners(SIZE)), matrix3(view.K), matrix4(view.world_from_camera))
    (x0, y0), (x1, y1) = np.rint(corners.min(axis=0)).astype(int), np.rint(corners.max(axis=0)).astype(int)
    labels[y0:y1, x0:x1] = number
    image[y0:y1, x0:x1] = 255 - texture(100 + number, y1 - y0, x1 - x0, 5)


def scene(kind: str = "translate", *, target_camera: np.ndarray | None = None) -> Truth:
    """A mug (1) that moves from the left to the right of a vase (2), is removed, or stays while the camera moves."""
    views = [view_of(look_at(EYE, [0, 0, 0.2]))]
    views.append(views[0] if target_camera is None else view_of(target_camera))
    left, right, back = similarity(-0.8, 0, 0, 0), similarity(0.8, 0, 0, 0), similarity(0.0, 1.2, 0, 0)
    end = right if kind == "translate" else left
    images, labels = [floor_image(view) for view in views], [np.zeros((SIDE, SIDE), np.uint8) for _ in views]
    for image, own, view, mug in zip(images, labels, views, (left, end), strict=True):
        paint(image, own, view, back, 2)
        if kind != "remove" or image is images[0]:
            paint(image, own, view, mug, 1)
    changed = np.any(images[0] != images[1], axis=2) if kind != "camera" else np.ones((SIDE, SIDE), bool)
    record = read_record(make_sample("scene", kind=kind)["json"])  # type: ignore[arg-type]
    things = [
        one.model_copy(
            update={
                "name": name,
                "category": name,
                "size_m": SIZE,
                "source_pose": to_json_list(before),
                "target_pose": to_json_list(after),
                "source_box": box_of_mask(labels[0] == one.id),
                "target_box": box_of_mask(labels[1] == one.id),
                "target_visible": float((labels[1] == one.id).any()),
            }
        )
        for one, name, before, after in zip(record.objects, ("mug", "vase"), (left, back), (end, back), strict=True)
    ]
    edit = record.edit.model_copy(
        update={"translation": [1.6, 0.0, 0.0] if kind == "translate" else [0.0] * 3, "box": things[0].target_box}
    )
    texts = {"translate": INSTRUCTION, "remove": "Remove the mug.", "camera": "Move the camera to the right."}
    text = record.instruction.model_copy(update={"text": texts[kind]})
    camera = record.camera.model_copy(update={"source": views[0], "target": views[1]})
    record = record.model_copy(
        update={"objects": things, "edit": edit, "instruction": text, "camera": camera, "maps": Maps(metric=NO_MAP)}
    )
    depths = [floor_depth(view) for view in views]
    return Truth("scene", record, images[0], images[1], labels[0], labels[1], changed, depths[0], depths[1])
