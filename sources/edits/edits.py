"""Edits of a scene: what may be proposed, and whether what is seen of it will do.

Invariant: a proposed edit changes one thing (an object's place, turn, size or presence, or the camera), its numbers
are those of the two poses, and in both states objects stand apart on the floor or in a container, before all walls.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ...shards.geometry import F64, flat, matrix3, matrix4, project
from ...shards.schema import EditKind
from ..scenes.camera import eye, pixel_of
from ..scenes.footprints import Placements, clearance, footprint, middle, prism, remade, wall_clearance
from ..scenes.layout import FIT_SHARE, Scene, beyond_floor, too_near
from ..scenes.rotations import VIEWS, free_turns, shows, turn_to
from ..scenes.silhouettes import forecast
from ..scenes.spec import EditSpec, Placement, SceneSpec, State
from .destinations import moves, places

_TRIES = 24
"""Drafts of an edit that are checked against the floor plan before the proposal is refused."""
_LOOKS = 5
"""Drafts of those whose view is forecast."""
_MARGIN = 0.04
"""Least space between objects after an edit, in sizes of the scene."""
_VIEW_SHARE = 0.6
"""Of the turns of an object whose front is known: those to a canonical view."""
_TWO_SHARE = 0.25
"""Of the camera edits: those that combine two of yaw, pitch and zoom."""
_YAWS = (45.0, -45.0, 90.0, -90.0, 135.0, -135.0, 180.0)
_YAW_SHARES = (0.25, 0.25, 0.15, 0.15, 0.07, 0.07, 0.06)
_PITCHES = (15.0, -15.0, 30.0, -30.0)
_ELEVATION = (5.0, 75.0)


class Visibility(Protocol):
    """What is seen of one object in one state: the renderer's measure, or a forecast. Zero when absent."""

    @property
    def own_px(self) -> float:
        """Pixels of the specification's frame that the object alone would cover."""
        ...

    @property
    def visible(self) -> float:
        """Share of them that nothing hides."""
        ...

    @property
    def in_frame(self) -> float:
        """Share of the object that falls inside the frame."""
        ...


@dataclass(frozen=True)
class Limits:
    """When an edit can be seen. Shares of the frame's area (`share`), of its smaller side (`shift`), or plain."""

    min_visible: float = 0.35
    min_visible_asked: float = 0.2
    """Where the edit asks for occlusion: behind something, or into it."""
    in_frame: float = 0.85
    least_share: float = 0.012
    most_share: float = 0.45
    shown: float = 0.2
    """Of any object of which something is seen, in either image: the share that neither the frame nor others hide."""
    gone: float = 0.01
    """An object of which no more is seen is not in the image at all."""
    shift: float = 0.06
    turn_shift: float = 0.03
    size_ratio: float = 1.25
    """Of the areas, for a change of scale."""
    framed: float = 0.5
    """Of the objects, after a camera edit."""


@dataclass(frozen=True)
class Draft:
    """An edit and the two states that it lies between."""

    edit: EditSpec
    source: State
    target: State


def propose_edit(rng: np.random.Generator, scene: Scene, kind: EditKind, min_visible: float, turn: int) -> Draft | str:
    """An edit of a composed scene that is valid as far as prisms tell, or the commonest reason why none was found.

    Args:
        turn: 0, 1, ... for the edits of one scene: each `remove` takes another object, until there is none left; the
            first `insert` tries the place that its object had in the layout.
    """
    limits = forecast_limits(min_visible)
    faults: Counter[str] = Counter()
    drafts = _drafts(rng, scene, kind, turn)
    looks = 0
    for _ in range(_TRIES):
        draft = next(drafts, None)
        if draft is None:
            break
        fault = _floor_fault(scene, draft)
        if fault is None:
            looks += 1
            fault = forecast_fault(scene, draft, limits)
            if fault is None:
                return draft
        faults[fault] += 1
        if looks == _LOOKS:
            break
    return faults.most_common(1)[0][0] if faults else "nothing_left_to_edit"


def forecast_limits(min_visible: float) -> Limits:
    """What a forecast must show: a prism covers more than its object, so more of the frame than a render, and a little
    more of everything else."""
    return Limits(min_visible=min_visible, in_frame=0.9, least_share=FIT_SHARE[0], shift=0.07, framed=0.6)


def judge(
    spec: SceneSpec,
    source_visibility: Mapping[int, Visibility],
    target_visibility: Mapping[int, Visibility],
    limits: Limits | None = None,
) -> str | None:
    """Why a pair will not do, given what is seen of each object (by id) in its two states; None where it will.

    Reasons: `other_hidden` (of another object of the source a sliver is seen, or nothing), `out_of_frame`, `too_small`,
    `too_large`, `hidden` (the edited object), `sliver` (of an object of a camera's other view a sliver is seen),
    `occludes` (the edit hides another object), `moved_too_little`.
    """
    limits = limits or Limits()
    if _hides_others(spec.source, spec.edit.object, source_visibility, limits):
        return "other_hidden"
    if spec.edit.kind == "camera":
        return _camera_fault(spec, source_visibility, target_visibility, limits)
    area = spec.width * spec.height
    asked = spec.edit.allows_occlusion
    pairs = ((spec.source, source_visibility, False), (spec.target, target_visibility, asked))
    for state, visibility, occluded in pairs:
        if state.placements[spec.edit.object].present:
            least = limits.min_visible_asked if occluded else limits.min_visible
            fault = _edited_fault(visibility[spec.edit.object], area, min(least, limits.min_visible), limits)
            if fault:
                return fault
    if _hides_others(spec.target, spec.edit.object, target_visibility, limits):
        return "occludes"
    return _change_fault(spec, source_visibility, target_visibility, limits)


def _edited_fault(seen: Visibility, area: int, least_visible: float, limits: Limits) -> str | None:
    if seen.in_frame < limits.in_frame:
        return "out_of_frame"
    if seen.own_px < limits.least_share * area:
        return "too_small"
    if seen.own_px > limits.most_share * area:
        return "too_large"
    return "hidden" if seen.visible < least_visible else None


def _hides_others(state: State, edited: int, seen: Mapping[int, Visibility], limits: Limits) -> bool:
    """Whether too little is seen of an object that is not edited."""
    others = [seen[id] for id, place in state.placements.items() if id != edited and place.present]
    return any(_shown(item) < limits.shown for item in others)


def _shown(seen: Visibility) -> float:
    """Share of the object that is seen."""
    return seen.visible * seen.in_frame


def _camera_fault(
    spec: SceneSpec, source: Mapping[int, Visibility], target: Mapping[int, Visibility], limits: Limits
) -> str | None:
    """Enough objects stay in the frame and in sight, and fill enough of it, in both views."""
    area = spec.width * spec.height
    for seen in (source, target):
        framed = [item for item in seen.values() if item.in_frame >= limits.in_frame]
        if len(framed) < limits.framed * len(seen):
            return "out_of_frame"
        if sum(item.visible >= limits.min_visible for item in framed) < limits.framed * len(seen):
            return "hidden"
        if max(item.own_px for item in framed) < limits.least_share * area:
            return "too_small"
        if max(item.own_px for item in seen.values()) > limits.most_share * area:
            return "too_large"
        # What leaves the frame leaves it altogether.
        if any(limits.gone < _shown(item) < limits.shown for item in seen.values()):
            return "sliver"
    return None


def _change_fault(
    spec: SceneSpec, source: Mapping[int, Visibility], target: Mapping[int, Visibility], limits: Limits
) -> str | None:
    """Whether a move, a turn or a change of size can be seen."""
    edit, side = spec.edit, min(spec.width, spec.height)
    if edit.kind == "scale":
        ratio = target[edit.object].own_px / source[edit.object].own_px
        return "moved_too_little" if max(ratio, 1 / ratio) < limits.size_ratio else None
    asset = next(placed.asset for placed in spec.objects if placed.id == edit.object)
    before, after = spec.source.placements[edit.object], spec.target.placements[edit.object]
    camera = spec.source.camera
    if edit.kind == "translate":
        shift = float(np.linalg.norm(pixel_of(middle(asset, after), camera) - pixel_of(middle(asset, before), camera)))
        return "moved_too_little" if shift < limits.shift * side else None
    if edit.kind == "rotate":
        K, pose = matrix3(camera.K), matrix4(camera.world_from_camera)
        ends = [project(prism(asset, place).reshape(-1, 3), K, pose)[0] for place in (before, after)]
        shift = float(np.linalg.norm(ends[1] - ends[0], axis=1).max())
        return "moved_too_little" if shift < limits.turn_shift * side else None
    return None


def _drafts(rng: np.random.Generator, scene: Scene, kind: EditKind, turn: int) -> Iterator[Draft]:
    if kind == "camera":
        yield from _camera_drafts(rng, scene)
    elif kind == "insert":
        yield from _insert_drafts(rng, scene, turn == 0)
    elif kind == "translate":
        yield from _translate_drafts(rng, scene)
    elif kind == "rotate":
        yield from _rotate_drafts(rng, scene)
    elif kind == "scale":
        yield from _scale_drafts(rng, scene)
    else:
        yield from _remove_drafts(scene, turn)


def _translate_drafts(rng: np.random.Generator, scene: Scene) -> Iterator[Draft]:
    for identity, spot in moves(rng, scene):
        source, target = scene.placements[identity], spot.placement
        x, y, z = flat((target.x - source.x, target.y - source.y, target.z - source.z))
        edit = EditSpec("translate", identity, translation=(x, y, z), allows_occlusion=spot.allows_occlusion)
        yield _object_draft(scene, edit, target)


def _remove_drafts(scene: Scene, turn: int) -> Iterator[Draft]:
    if turn < len(scene.fit):
        identity = scene.fit[(scene.seed + turn) % len(scene.fit)]
        yield _object_draft(scene, EditSpec("remove", identity), replace(scene.placements[identity], present=False))


def _insert_drafts(rng: np.random.Generator, scene: Scene, first: bool) -> Iterator[Draft]:
    """The newcomer depends on the scene alone, so that all edits of a scene have the same source image."""
    identity = scene.fit[scene.seed % len(scene.fit)]
    for spot in places(rng, scene, identity, first):
        source = scene.placements | {identity: replace(spot.placement, present=False)}
        target = scene.placements | {identity: spot.placement}
        edit = EditSpec("insert", identity, allows_occlusion=spot.allows_occlusion)
        yield Draft(edit, State(source, scene.camera), State(target, scene.camera))


def _rotate_drafts(rng: np.random.Generator, scene: Scene) -> Iterator[Draft]:
    fronts = [i for i in scene.fit if scene.asset(i).front_deg is not None]
    while True:
        if fronts and rng.random() < _VIEW_SHARE:
            identity = fronts[int(rng.integers(len(fronts)))]
            view = tuple(VIEWS)[int(rng.integers(len(VIEWS)))]
            turn = round(turn_to(view, scene.asset(identity), scene.placements[identity], scene.camera), 6)
            if not shows(scene.asset(identity), turn):
                continue
        else:
            identity = scene.fit[int(rng.integers(len(scene.fit)))]
            angles = free_turns(scene.asset(identity))
            view, turn = "", angles[int(rng.integers(len(angles)))]
        target = remade(scene.asset(identity), scene.placements[identity], turn_deg=turn)
        yield _object_draft(scene, EditSpec("rotate", identity, rotation_deg=turn, view=view), target)


def _scale_drafts(rng: np.random.Generator, scene: Scene) -> Iterator[Draft]:
    while True:
        identity = scene.fit[int(rng.integers(len(scene.fit)))]
        factor = round(float(rng.uniform(1.3, 1.8) if rng.random() < 0.5 else rng.uniform(0.5, 0.75)), 2)
        target = remade(scene.asset(identity), scene.placements[identity], factor=factor)
        yield _object_draft(scene, EditSpec("scale", identity, scale=factor), target)


def _camera_drafts(rng: np.random.Generator, scene: Scene) -> Iterator[Draft]:
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


def _object_draft(scene: Scene, edit: EditSpec, target: Placement) -> Draft:
    source = State(dict(scene.placements), scene.camera)
    return Draft(edit, source, State(scene.placements | {edit.object: target}, scene.camera))


def _floor_fault(scene: Scene, draft: Draft) -> str | None:
    """Collisions and walls, from the floor plan alone."""
    edit = draft.edit
    if edit.kind == "camera":
        orbit = scene.orbit.turned(edit.yaw_deg, edit.pitch_deg, edit.zoom)
        if edit.pitch_deg and not _ELEVATION[0] <= orbit.elevation_deg <= _ELEVATION[1]:
            return "too_steep"
        if eye(draft.target.camera)[2] < 0.02 * orbit.distance:
            return "below_floor"
        if wall_clearance(eye(draft.target.camera)[None], scene.walls) < 0.1 * orbit.distance:
            return "behind_wall"
        return "camera_too_near" if too_near(scene.objects, draft.target.placements, orbit) else None
    placements: Placements = draft.target.placements
    if edit.kind == "remove":
        return None
    if fault := beyond_floor(scene.objects, placements):
        return fault
    if wall_clearance(_outline(scene, edit.object, placements), scene.walls) < 0.02 * scene.size:
        return "behind_wall"
    if clearance(edit.object, scene.objects, placements) < _MARGIN * scene.size:
        return "collides"
    return None


def _outline(scene: Scene, identity: int, placements: Placements) -> F64:
    return footprint(scene.asset(identity), placements[identity])


def forecast_fault(scene: Scene, draft: Draft, limits: Limits) -> str | None:
    """As `judge`, of what is forecast to be seen."""
    seen = [
        scene.outlook
        if state.camera == scene.camera and state.placements == scene.placements
        else forecast(scene.objects, state.placements, state.camera, scene.resolution)
        for state in (draft.source, draft.target)
    ]
    return judge(specify(scene, draft), seen[0], seen[1], limits)


def specify(scene: Scene, draft: Draft) -> SceneSpec:
    """The scene and one edit of it, as the renderer takes them."""
    return SceneSpec(
        width=scene.resolution[0],
        height=scene.resolution[1],
        objects=scene.objects,
        floor=scene.floor,
        walls=scene.walls,
        light=scene.light,
        source=draft.source,
        target=draft.target,
        edit=draft.edit,
        seed=scene.seed,
    )
