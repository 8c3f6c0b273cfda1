"""Views of one object: where a camera stands that looks at the middle of the object's box, and words for it.

Elevation is that of the camera above the middle of the box. Distances are in medium distances (`medium_distance`), so
both follow from the camera, the size and the pose of the object. The side of the object that a view shows is
`Edit.view`, where the front is known.
"""

from dataclasses import dataclass
from math import log
from typing import Final, Literal

import numpy as np

from .geometry import F64, matrix3, matrix4, transform
from .schema import Camera, Edit, SceneObject, View

Height = Literal["low-angle", "eye-level", "elevated", "high-angle"]
Framing = Literal["close-up", "medium", "wide"]
HEIGHTS: Final[dict[Height, float]] = {"low-angle": -30.0, "eye-level": 0.0, "elevated": 30.0, "high-angle": 60.0}
"""Elevation of the camera, degrees, that the words of multi-angle LoRAs mean."""
FRAMINGS: Final[dict[Framing, float]] = {"close-up": 0.6, "medium": 1.0, "wide": 1.8}
"""Distance of the camera, in medium distances, that these words mean."""
HEIGHT_SLACK: Final = 10.0
"""Largest difference, degrees, between an elevation and the one that its word means."""
FRAMING_SLACK: Final = 1.15
"""Largest ratio of a distance and the one that its word means."""
_AIM_PX: Final = 0.05
"""Pixels by which the middle of the box may be away from the middle of the image: poses are rounded."""


def medium_distance(size_m: F64, K: F64) -> float:
    """The distance, meters, of which 0.6 is just enough for a sphere around the box of an object to fit the frame.

    Args:
        size_m: (3,) sides of the box, meters, as scaled by the pose.
        K: 3x3, pixels; the principal point is the middle of the image.
    """
    radius = float(np.linalg.norm(size_m)) / 2
    slope = min(K[0, 2] / K[0, 0], K[1, 2] / K[1, 1])
    return radius * float(np.hypot(1.0, 1.0 / slope)) / FRAMINGS["close-up"]


@dataclass(frozen=True)
class ObjectView:
    """Where a camera stands that looks at the middle of an object's box."""

    elevation_deg: float
    distance: float
    """In medium distances."""

    @property
    def height(self) -> Height | None:
        """The word for its elevation; None if no word means an elevation near to it."""
        near: Height = min(HEIGHTS, key=lambda word: abs(HEIGHTS[word] - self.elevation_deg))
        return near if abs(HEIGHTS[near] - self.elevation_deg) <= HEIGHT_SLACK else None

    @property
    def framing(self) -> Framing | None:
        """The word for its distance; None if no word means a distance near to it."""
        near: Framing = min(FRAMINGS, key=lambda word: abs(log(self.distance / FRAMINGS[word])))
        return near if abs(log(self.distance / FRAMINGS[near])) <= log(FRAMING_SLACK) else None


def object_view(thing: SceneObject, pose: list[float], view: View) -> ObjectView | None:
    """The view that a camera has of an object with a pose; None if it looks elsewhere, or either is unknown."""
    if not (thing.known and view.known):
        return None
    world_from_object, K = matrix4(pose), matrix3(view.K)
    size = np.asarray(thing.size_m) * float(np.linalg.norm(world_from_object[:3, 0]))
    middle = transform(world_from_object, np.array([0.0, 0.0, thing.size_m[2] / 2]))
    camera = matrix4(view.world_from_camera)
    away = middle - camera[:3, 3]
    local = away @ camera[:3, :3]
    if local[2] <= 0 or float(np.hypot(local[0], local[1])) * K[0, 0] > _AIM_PX * local[2]:
        return None
    distance = float(np.linalg.norm(away))
    elevation = float(np.rad2deg(np.arcsin(-away[2] / distance)))
    return ObjectView(elevation, distance / medium_distance(size, K))


def orbit_views(edit: Edit, objects: list[SceneObject], camera: Camera) -> tuple[ObjectView, ObjectView] | None:
    """The views of a camera edit around one object, of source and target; None if the edit is another one."""
    if edit.kind != "camera" or len(objects) != 1:
        return None
    thing = objects[0]
    before = object_view(thing, thing.source_pose, camera.source)
    after = object_view(thing, thing.target_pose, camera.target)
    return (before, after) if before and after else None
