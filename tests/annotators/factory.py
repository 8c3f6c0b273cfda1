"""Facts of random pairs: boxes on a floor, seen by a pinhole camera, with one edit. No images are made."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from spatialdata_builder.shards.geometry import (
    F64,
    intrinsics_of_lens,
    look_at,
    matrix3,
    matrix4,
    project,
    similarity,
    to_json_list,
    transform,
)
from spatialdata_builder.shards.schema import EDIT_KINDS, Camera, Edit, EditKind, PairFacts, SceneObject, View

SIDE = 128
NOUNS = ("mug", "apple", "armchair", "wooden crate", "shelf", "coffee table", "hourglass", "scissors", "umbrella")
COLOURS = ("red", "", "blue", "orange", "dark green")
VIEWS = ("", "the front view.", "the rear left side view.")


@dataclass(frozen=True)
class Stand:
    """One object's place: metres, degrees."""

    x: float
    y: float
    z: float
    yaw: float
    scale: float = 1.0
    present: bool = True

    def pose(self) -> F64:
        return similarity(self.x, self.y, self.z, self.yaw, self.scale)


def random_facts(seed: int, kind: EditKind | None = None) -> PairFacts:
    rng = np.random.default_rng(seed)
    kind = kind or EDIT_KINDS[int(rng.integers(len(EDIT_KINDS)))]
    count = int(rng.integers(2, 7))
    nouns = [str(noun) for noun in rng.choice(NOUNS, count, replace=False)]
    sizes = rng.uniform(0.1, 0.6, (count, 3))
    before = [Stand(*rng.uniform(-1.2, 1.2, 2), 0.0, rng.uniform(0, 360)) for _ in range(count)]
    after = list(before)
    edit = {
        "translation": [0.0] * 3,
        "rotation_deg": 0.0,
        "view": "",
        "scale": 1.0,
        "yaw_deg": 0.0,
        "pitch_deg": 0.0,
        "zoom": 1.0,
    }
    azimuth, elevation, distance = rng.uniform(0, 360), rng.uniform(8, 72), rng.uniform(3, 5)
    orbit = (azimuth, elevation, distance)
    if kind == "translate":
        into = bool(rng.random() < 0.2)
        spot = (before[1].x, before[1].y) if into else rng.uniform(-1.2, 1.2, 2)
        while np.hypot(spot[0] - before[0].x, spot[1] - before[0].y) < 0.1:  # of which nothing true could be said
            into, spot = False, rng.uniform(-1.2, 1.2, 2)
        after[0] = replace(before[0], x=float(spot[0]), y=float(spot[1]), z=0.02 if into else 0.0)
        if into:
            sizes[0] *= 0.3
            sizes[1] = 0.6
        edit["translation"] = to_json_list(after[0].pose()[:3, 3] - before[0].pose()[:3, 3])
    elif kind == "rotate":
        edit["rotation_deg"] = float(rng.choice([45, -90, 180, 135, -30.5]))
        edit["view"] = str(rng.choice(VIEWS))
        after[0] = replace(before[0], yaw=before[0].yaw + edit["rotation_deg"])
    elif kind == "scale":
        edit["scale"] = float(rng.choice([0.5, 0.6, 0.75, 1.3, 1.5, 1.87]))
        after[0] = replace(before[0], scale=edit["scale"])
    elif kind == "remove":
        after[0] = replace(before[0], present=False)
    elif kind == "insert":
        before[0] = replace(before[0], present=False)
    elif kind == "swap":
        while np.hypot(before[1].x - before[0].x, before[1].y - before[0].y) < 0.5:
            before[1] = replace(before[1], x=float(rng.uniform(-1.2, 1.2)), y=float(rng.uniform(-1.2, 1.2)))
        after[0] = replace(before[0], x=before[1].x, y=before[1].y)
        after[1] = replace(before[1], x=before[0].x, y=before[0].y)
        edit["translation"] = to_json_list(after[0].pose()[:3, 3] - before[0].pose()[:3, 3])
    else:
        edit["yaw_deg"] = float(rng.choice([0, 45, -90, 135]))
        edit["pitch_deg"] = float(rng.choice([0, 15, -5]))
        edit["zoom"] = float(rng.choice([1, 1.4, 0.7])) if edit["yaw_deg"] or edit["pitch_deg"] else 1.4
        orbit = (azimuth + edit["yaw_deg"], elevation + edit["pitch_deg"], distance / edit["zoom"])
    views = [_view(*(azimuth, elevation, distance)), _view(*orbit)]
    objects = [_object(i + 1, nouns[i], sizes[i], before[i], after[i], views[0], views[1]) for i in range(count)]
    return PairFacts(
        dataset="random",
        edit=Edit(
            kind=kind,
            known=True,
            object=0 if kind == "camera" else 1,
            second_object=2 if kind == "swap" else 0,
            box=objects[0].target_box,
            **edit,
        ),
        camera=Camera(source=views[0], target=views[1]),
        objects=objects,
        colours=[str(colour) for colour in rng.choice(COLOURS, count)],
    )


def without_poses(facts: PairFacts) -> PairFacts:
    """The same pair as a released image tells it: masks and names, no pose, no camera."""
    unknown = View(known=False, focal="unknown", K=[0.0] * 9, world_from_camera=[0.0] * 16)
    blank = {"known": False, "source_pose": [0.0] * 16, "target_pose": [0.0] * 16, "size_m": [0.0] * 3}
    blank |= {"source_visible": 0.0, "target_visible": 0.0}
    edit = {"translation": [0.0] * 3, "known": facts.edit.kind in ("rotate", "remove", "insert")}
    return facts.model_copy(
        update={
            "camera": Camera(source=unknown, target=unknown),
            "objects": [thing.model_copy(update=blank) for thing in facts.objects],
            "edit": facts.edit.model_copy(update=edit),
            "colours": [],
        }
    )


def _view(azimuth: float, elevation: float, distance: float) -> View:
    a, e = np.deg2rad([azimuth, elevation])
    eye = distance * np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
    K = intrinsics_of_lens(30, SIDE, SIDE)
    return View(known=True, focal="exact", K=to_json_list(K), world_from_camera=to_json_list(look_at(eye, [0, 0, 0.1])))


def _object(id: int, noun: str, size: F64, before: Stand, after: Stand, source: View, target: View) -> SceneObject:
    boxes = [_box(size, stand, view) for stand, view in ((before, source), (after, target))]
    return SceneObject(
        id=id,
        name=noun,
        category=noun,
        asset=f"asset-{id}",
        licence="cc0",
        creator="test",
        known=True,
        size_m=to_json_list(size),
        source_pose=to_json_list(before.pose()),
        target_pose=to_json_list(after.pose()),
        source_box=boxes[0],
        target_box=boxes[1],
        source_visible=float(any(boxes[0])),
        target_visible=float(any(boxes[1])),
    )


def _box(size: F64, stand: Stand, view: View) -> list[int]:
    """Around the projected bounding box, cut by the frame; zeros when absent."""
    w, d, h = size
    corners = np.array(list(product((-w / 2, w / 2), (-d / 2, d / 2), (0.0, h))))
    pixels, _ = project(transform(stand.pose(), corners), matrix3(view.K), matrix4(view.world_from_camera))
    low, high = np.clip(np.floor(pixels.min(axis=0)), 0, SIDE), np.clip(np.ceil(pixels.max(axis=0)), 0, SIDE)
    if not stand.present or (high <= low).any():
        return [0, 0, 0, 0]
    return [int(low[0]), int(low[1]), int(high[0]), int(high[1])]
