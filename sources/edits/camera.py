"""`camera`: the camera orbits the scene, rises, or comes closer; no object changes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...shards.geometry import wrap_degrees
from ..scenes.camera import eye, pixel_of
from ..scenes.footprints import middle, wall_clearance
from ..scenes.furnished import eye_fault
from ..scenes.layout import Scene, too_near
from ..scenes.needs import SceneNeeds
from ..scenes.rotations import canonical_view
from ..scenes.spec import EditSpec, SceneSpec, State
from ..scenes.standing import carrying
from .checks import Seen, visible_share
from .draft import Draft
from .kind import EditRules
from .limits import Limits

_TWO_SHARE = 0.25
"""Share of the edits that combine two of yaw, pitch and zoom."""
_YAWS = (45.0, -45.0, 90.0, -90.0, 135.0, -135.0, 180.0)
_YAW_SHARES = (0.25, 0.25, 0.15, 0.15, 0.07, 0.07, 0.06)
_PITCHES = (15.0, -15.0, 30.0, -30.0)
_ELEVATION = (5.0, 75.0)
_AIM = 0.01
"""Pixels by which a camera that goes around an object may look past the middle of its box: poses are rounded."""
_LEAST_ZOOM = 1.15
"""Least ratio of two distances at which an instruction says that one camera is closer."""


class Camera(EditRules):
    def drafts(self, rng: np.random.Generator, scene: Scene, turn: int) -> Iterator[Draft]:
        while True:
            parts = rng.permutation(3)[: 2 if rng.random() < _TWO_SHARE else 1].tolist()
            yaw = float(rng.choice(_YAWS, p=_YAW_SHARES)) if 0 in parts else 0.0
            pitch = float(rng.choice(_PITCHES)) if 1 in parts else 0.0
            zoom = round(float(rng.uniform(1.25, 1.6) if rng.random() < 0.5 else rng.uniform(0.6, 0.8)), 2)
            zoom = zoom if 2 in parts else 1.0
            orbit = scene.orbit.turned(yaw, pitch, zoom)
            edit = EditSpec("camera", 0, yaw_deg=yaw, pitch_deg=pitch, zoom=zoom)
            source = State(dict(scene.placements), scene.camera)
            yield Draft(edit, source, State(dict(scene.placements), orbit.pose()))

    def floor_fault(self, scene: Scene, draft: Draft) -> str | None:
        """The camera stays above the floor, in front of the walls and away from the objects."""
        edit = draft.edit
        orbit = scene.orbit.turned(edit.yaw_deg, edit.pitch_deg, edit.zoom)
        if edit.pitch_deg and not _ELEVATION[0] <= orbit.elevation_deg <= _ELEVATION[1]:
            return "too_steep"
        if eye(draft.target.camera)[2] < 0.02 * orbit.distance:
            return "below_floor"
        if scene.furnished:
            return eye_fault(scene, draft.target.placements, eye(draft.target.camera))
        if wall_clearance(eye(draft.target.camera)[None], scene.walls) < 0.1 * orbit.distance:
            return "behind_wall"
        return "camera_too_near" if too_near(scene.objects, draft.target.placements, orbit) else None

    def view_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """In both views, enough objects are in the frame, visible and large enough."""
        area = spec.width * spec.height
        # The frame may cut off any part of a table with things on it, and the table may fill it.
        carriers = carrying(spec.source.placements)
        around = looks_at_only(spec, spec.source) and looks_at_only(spec, spec.target)
        # In the middle of the frame, and alone, a smaller object is clear.
        smallest = limits.least_share_furnished if around else limits.least_share
        for state in (source, target):
            seen = {id: item for id, item in state.items() if id not in carriers}
            framed = [item for item in seen.values() if item.in_frame >= limits.in_frame]
            if len(framed) < limits.framed * len(seen):
                return "out_of_frame"
            if sum(item.visible >= limits.min_visible for item in framed) < limits.framed * len(seen):
                return "hidden"
            if max(item.own_px for item in state.values()) < smallest * area:
                return "too_small"
            # The frame holds all of an object that the camera goes around, however much of the frame it fills.
            if not around and max(item.own_px for item in seen.values()) > limits.most_share * area:
                return "too_large"
            # An object that leaves the frame must leave it completely.
            if any(limits.gone < visible_share(item) < limits.shown for item in seen.values()):
                return "sliver"
        return None

    def change_fault(self, spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
        """None: the smallest proposed change is visible."""
        return None

    def inverted(self, spec: SceneSpec) -> EditSpec:
        edit = spec.edit
        # Subtracted from zero, because the negative of zero prints as -0.
        yaw, pitch = wrap_degrees(0.0 - edit.yaw_deg), 0.0 - edit.pitch_deg
        view = view_around(spec, spec.source)
        return EditSpec("camera", 0, view=view, yaw_deg=yaw, pitch_deg=pitch, zoom=1.0 / edit.zoom)

    def between(self, spec: SceneSpec, first: EditSpec, second: EditSpec) -> EditSpec:
        return replace(
            spec.edit,
            view=view_around(spec, spec.target),
            yaw_deg=wrap_degrees(second.yaw_deg - first.yaw_deg),
            pitch_deg=second.pitch_deg - first.pitch_deg,
            zoom=second.zoom / first.zoom,
        )

    def looks_same(self, spec: SceneSpec) -> bool:
        edit = spec.edit
        little = edit.zoom != 1 and max(edit.zoom, 1 / edit.zoom) < _LEAST_ZOOM
        return little or not (edit.yaw_deg or edit.pitch_deg or edit.zoom != 1)


def looks_at_only(spec: SceneSpec, state: State) -> bool:
    """Whether the camera of a state looks at the middle of the box of the only object of a scene."""
    if len(spec.objects) != 1:
        return False
    placed = spec.objects[0]
    point = pixel_of(middle(placed.asset, state.placements[placed.id]), state.camera)
    return float(np.abs(point - (spec.width / 2, spec.height / 2)).max()) <= _AIM


def view_around(spec: SceneSpec, state: State) -> str:
    """The canonical view that the camera of a state has of the only object of a scene, at which it looks; empty if
    there are more objects, it looks elsewhere, or the view is none of them."""
    if not looks_at_only(spec, state):
        return ""
    placed = spec.objects[0]
    return canonical_view(placed.asset, state.placements[placed.id], state.camera)


RULES = Camera(
    kind="camera",
    inverse="camera",
    noun="camera edit",
    numbers=("view", "yaw_deg", "pitch_deg", "zoom"),
    # Walls are far behind, or the camera would end behind them.
    needs=SceneNeeds(fill=(0.55, 0.7), wall_gap=(1.0, 2.0)),
    composes={"camera": "camera"},
)
