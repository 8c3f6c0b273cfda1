"""Checks that kinds of edit share: of the floor plan, and of the visibility of the objects in both states."""

from collections.abc import Mapping

import numpy as np

from ..scenes.camera import pixel_of
from ..scenes.footprints import clearance, footprint, middle, wall_clearance
from ..scenes.furnished import free_floor
from ..scenes.layout import Scene, beyond_floor
from ..scenes.room import blocked_floor
from ..scenes.spec import SceneSpec, State
from ..scenes.standing import carrying, standing_fault
from .draft import Draft
from .limits import Limits, Visibility

Seen = Mapping[int, Visibility]
"""Visibility of each object of a state, by id."""
_MARGIN = 0.04
"""Least space between objects after an edit, as a share of the scene's size."""


def stands_fault(scene: Scene, draft: Draft) -> str | None:
    """Why the edited objects cannot stand where they are in the target; None if they can.

    Reasons: `beyond_floor`, `behind_wall`, `collides`.
    """
    placements = draft.target.placements
    if scene.furnished:
        return _furnished_fault(scene, draft)
    if fault := beyond_floor(scene.objects, placements):
        return fault
    for identity in draft.edit.edited:
        outline = footprint(scene.asset(identity), placements[identity])
        if wall_clearance(outline, scene.walls) < 0.02 * scene.size:
            return "behind_wall"
        if clearance(identity, scene.objects, placements) < _MARGIN * scene.size:
            return "collides"
    return None


def _furnished_fault(scene: Scene, draft: Draft) -> str | None:
    """As `stands_fault`, in a room or a garden: the floor ends at the walls or at the edge of the flat ground, and
    objects keep apart from those of their level."""
    import shapely

    placements = draft.target.placements
    assets = {placed.id: placed.asset for placed in scene.objects}
    inside = free_floor(scene)
    for identity in draft.edit.edited:
        place = placements[identity]
        if fault := standing_fault(identity, assets, placements, scene.supports):
            return fault
        if place.standing is not None or place.settled or not place.present:
            continue
        outline = shapely.Polygon(footprint(assets[identity], place))
        if not inside.contains(outline):
            return "beyond_floor" if scene.room is None else "behind_wall"
        height = place.scale * assets[identity].size_m[2]
        if scene.room and any(area.intersects(outline) for area in blocked_floor(scene.room, height)):
            return "collides"
        others = [
            shapely.Polygon(footprint(assets[id], other))
            for id, other in placements.items()
            if id != identity and other.present and other.standing is None
        ]
        if others and shapely.distance(outline, others).min() < _MARGIN * scene.size:
            return "collides"
    return None


def objects_fault(spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
    """Why too little is seen of the edited objects in a state, or of another object in the target; None if enough is.

    Reasons: `out_of_frame`, `too_small`, `too_large`, `hidden`, `occludes`.
    """
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
    """Whether too little is visible of an object that is not edited."""
    # The frame may cut off any part of a table with things on it.
    excluded = {*edited, *carrying(state.placements)}
    others = [seen[id] for id, place in state.placements.items() if id not in excluded and place.present]
    return any(visible_share(item) < limits.shown for item in others)


def visible_share(seen: Visibility) -> float:
    """Share of the object that is visible: neither hidden nor outside the frame."""
    return seen.visible * seen.in_frame


def moved_px(spec: SceneSpec, identity: int) -> float:
    """Distance that the middle of an object moves in the image of the source camera, pixels."""
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
