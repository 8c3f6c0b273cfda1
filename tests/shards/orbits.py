"""Records and facts of camera edits around one object, from formulas of their own."""

from math import asin, atan, cos, pi, sin

import numpy as np

from spatialdata_builder.shards.geometry import intrinsics_of_lens, look_at, similarity, to_json_list, wrap_degrees
from spatialdata_builder.shards.schema import Camera, Edit, PairFacts, SceneObject, View

SIZE = (0.2, 0.1, 0.3)
PLACE = (0.5, -0.2, 0.7)
YAW, FRONT = 40.0, 270.0
"""Degrees: of the object about z, and of its front from +x of its own frame."""
WIDTH, HEIGHT = 128, 96
FOCAL = 35.0
NAMES = {
    0: "the front view.",
    45: "the front left side view.",
    90: "the left side view.",
    135: "the rear left side view.",
    180: "the rear view.",
    -135: "the rear right side view.",
    -90: "the right side view.",
    -45: "the front right side view.",
}
"""Of the view from this azimuth, counter-clockwise from the front."""
Place = tuple[float, float, float]
"""Azimuth from the front, elevation (degrees), distance in medium distances."""


def medium() -> float:
    """Meters: at 0.6 of it, the cone of the image's smaller side touches the sphere around the box."""
    radius = float(np.linalg.norm(SIZE)) / 2
    half_angle = atan(HEIGHT / 2 / (FOCAL / 32 * WIDTH))
    return radius / sin(half_angle) / 0.6


def view_at(place: Place, aside: float = 0.0) -> View:
    """A camera there, which looks at the middle of the box, or past it by some meters."""
    azimuth, elevation = (place[0] + YAW + FRONT) * pi / 180, place[1] * pi / 180
    middle = np.array(PLACE) + np.array([0, 0, SIZE[2] / 2])
    away = np.array([cos(azimuth) * cos(elevation), sin(azimuth) * cos(elevation), sin(elevation)])
    pose = look_at(middle + place[2] * medium() * away, middle + np.array([0, 0, aside]))
    K = intrinsics_of_lens(FOCAL, WIDTH, HEIGHT)
    return View(known=True, focal="exact", K=to_json_list(K), world_from_camera=to_json_list(pose))


def thing(name: str = "mug") -> SceneObject:
    pose = to_json_list(similarity(*PLACE, YAW))
    return SceneObject(
        id=1,
        name=name,
        category=name,
        asset="asset-1",
        licence="cc0",
        creator="",
        known=True,
        size_m=list(SIZE),
        source_pose=pose,
        target_pose=pose,
        source_box=[40, 30, 80, 70],
        target_box=[40, 30, 80, 70],
        source_visible=1.0,
        target_visible=1.0,
    )


def edit_between(source: Place, target: Place, front: bool = True) -> Edit:
    return Edit(
        kind="camera",
        known=True,
        object=0,
        translation=[0.0] * 3,
        rotation_deg=0.0,
        view=NAMES.get(round(wrap_degrees(target[0])), "") if front else "",
        scale=1.0,
        yaw_deg=wrap_degrees(target[0] - source[0]),
        pitch_deg=target[1] - source[1],
        zoom=source[2] / target[2],
        box=[0, 0, 0, 0],
    )


def facts_between(source: Place, target: Place, front: bool = True, name: str = "mug") -> PairFacts:
    return PairFacts(
        dataset="orbits",
        edit=edit_between(source, target, front),
        camera=Camera(source=view_at(source), target=view_at(target)),
        objects=[thing(name)],
        colours=[""],
        fronts=[FRONT if front else 360.0],
    )


def elevation_of(view: View) -> float:
    """Degrees, from the direction in which a camera looks."""
    return -asin(view.world_from_camera[10]) * 180 / pi
