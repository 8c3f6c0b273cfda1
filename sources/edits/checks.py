"""Checks that kinds of edit share: of the floor plan, and of what is seen of the objects in the two states."""

from collections.abc import Mapping

import numpy as np

from ..scenes.camera import pixel_of
from ..scenes.footprints import clearance, footprint, middle, wall_clearance
from ..scenes.layout import Scene, beyond_floor
from ..scenes.spec import SceneSpec, State
from .draft import Draft
from .limits import Limits, Visibility

Seen = Mapping[int, Visibility]
"""Visibility of each object of a state, by id."""
_MARGIN = 0.04
"""Least space between objects after an edit, in sizes of the scene."""


def stands_fault(scene: Scene, draft: Draft) -> str | None:
    """Whether the edited objects reach past the floor, into a wall or into another object, in the target."""
    placements = draft.target.placements
    if fault := beyond_floor(scene.objects, placements):
        return fault
    for identity in draft.edit.edited:
        outline = footprint(scene.asset(identity), placements[identity])
        if wall_clearance(outline, scene.walls) < 0.02 * scene.size:
            return "behind_wall"
        if clearance(identity, scene.objects, placements) < _MARGIN * scene.size:
            return "collides"
    return None


def objects_fault(spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
    """Whether the edited objects are badly seen where they are present, or hide another object in the target."""
    area = spec.width * spec.height
    asked = spec.edit.allows_occlusion
    for state, seen, occluded in ((spec.source, source, False), (spec.target, target, asked)):
        least = limits.min_visible_asked if occluded else limits.min_visible
        for identity in spec.edit.edited:
            if state.placements[identity].present:
                fault = _edited_fault(seen[identity], area, min(least, limits.min_visible), limits)
                if fault:
                    return fault
    return "occludes" if hides_others(spec.target, spec.edit.edited, target, limits) else None


def hides_others(state: State, edited: tuple[int, ...], seen: Seen, limits: Limits) -> bool:
    """Whether too little is seen of an object that is not edited."""
    others = [seen[id] for id, place in state.placements.items() if id not in edited and place.present]
    return any(visible_share(item) < limits.shown for item in others)


def visible_share(seen: Visibility) -> float:
    """Share of the object that is seen."""
    return seen.visible * seen.in_frame


def moved_px(spec: SceneSpec, identity: int) -> float:
    """How far the middle of an object moves in the image of the source camera, pixels."""
    asset, camera = spec.asset(identity), spec.source.camera
    before, after = (
        pixel_of(middle(asset, state.placements[identity]), camera) for state in (spec.source, spec.target)
    )
    return float(np.linalg.norm(after - before))


def _edited_fault(seen: Visibility, area: int, least_visible: float, limits: Limits) -> str | None:
    if seen.in_frame < limits.in_frame:
        return "out_of_frame"
    if seen.own_px < limits.least_share * area:
        return "too_small"
    if seen.own_px > limits.most_share * area:
        return "too_large"
    return "hidden" if seen.visible < least_visible else None
