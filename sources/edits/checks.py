"""Checks that kinds of edit share: of the floor plan, and of the visibility of the objects in both states."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from ...shards.geometry import matrix3, matrix4, project
from ..scenes.camera import pixel_of
from ..scenes.footprints import Placements, clearance, footprint, heights, middle, prism, wall_clearance
from ..scenes.furnished import free_floor
from ..scenes.layout import FURNISHED_FIT_SHARE, Scene, beyond_floor
from ..scenes.room import blocked
from ..scenes.spec import Placement, SceneSpec, State
from ..scenes.standing import APART, below, carrying, riders, standing_fault
from .draft import Draft
from .limits import Limits, Visibility

if TYPE_CHECKING:
    import shapely

Seen = Mapping[int, Visibility]
"""Visibility of each object of a state, by id."""
_MARGIN = 0.04
"""Least space between objects after an edit, as a share of the scene's size."""
UNEVEN = 0.002
"""Meters by which a turned, scaled or swapped object may rise or sink on an uneven surface."""
_FRAMED = 0.95
"""Least share of an object's box in the image that is in the frame, for `is_in_image`."""
_SHIFT = 0.07
"""Least distance that an object moves in the image, as a share of its smaller side, for `is_in_image`."""
_BELOW_CEILING = 0.05
"""Meters between an object and the ceiling."""


def stands_fault(scene: Scene, draft: Draft) -> str | None:
    """Why the edited objects cannot stand where they are in the target; None if they can.

    Reasons: `beyond_floor`, `behind_wall`, `collides`; in furnished scenes also those of `FloorPlan.fault`, and
    `rests_unevenly` (a turned, scaled or swapped object rests at another height than the edit says, because a surface
    is not even).
    """
    placements = draft.target.placements
    if scene.furnished:
        for identity in draft.edit.edited:
            rise = placements[identity].z - draft.source.placements[identity].z
            asked = draft.edit.translation[2] * (-1.0 if identity == draft.edit.second_object else 1.0)
            if abs(rise - asked) > UNEVEN:
                return "rests_unevenly"
        return FloorPlan(scene).fault(placements, draft.moved)
    if fault := beyond_floor(scene.objects, placements):
        return fault
    for identity in draft.edit.edited:
        outline = footprint(scene.asset(identity), placements[identity])
        if wall_clearance(outline, scene.walls) < 0.02 * scene.size:
            return "behind_wall"
        if clearance(identity, scene.objects, placements) < _MARGIN * scene.size:
            return "collides"
    return None


class FloorPlan:
    """The plan of a furnished scene with what stands in it, to decide where objects can stand after an edit."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._room, self._assets = scene, scene.room, scene.assets
        self._floor = None if scene.interior else free_floor(scene)
        self._margin = max(_MARGIN * scene.size, APART)
        self.outlines: Final = {id: self.outline(id, place) for id, place in scene.placements.items()}

    def fault(self, placements: Placements, moved: Iterable[int]) -> str | None:
        """Why one of the objects `moved` cannot stand where it is in `placements`; None if they all can.

        An object keeps apart from all that reaches to its height, except what it stands on and what stands on it.
        Reasons: `behind_wall`, `beyond_floor`, `too_high_for_room`, `collides`, those of `standing.standing_fault`.
        """
        import shapely

        for identity in moved:
            place = placements[identity]
            # A settled object is where physics has left it.
            if not place.present or place.settled:
                continue
            if fault := standing_fault(identity, self._assets, placements, self._scene.supports):
                return fault
            outline = self.outline(identity, place)
            low, high = heights(self._assets[identity], place)
            if not self._is_inside(place, outline, high - low):
                return "beyond_floor" if self._room is None else "behind_wall"
            if self._room and high > self._room.size[2] - _BELOW_CEILING:
                return "too_high_for_room"
            if self._room and any(area.intersects(outline) for area in blocked(self._room, low, high)):
                return "collides"
            kin = {identity, *below(identity, placements), *riders(identity, placements)}
            on_floor = _on_floor(place)
            for on_floor_too in (True, False):
                others = [
                    self.outlines[id] if other == self._scene.placements[id] else self.outline(id, other)
                    for id, other in placements.items()
                    if id not in kin and other.present and _on_floor(other) == on_floor_too
                    if (span := heights(self._assets[id], other))[0] < high and low < span[1]
                ]
                least = self._margin if on_floor and on_floor_too else APART
                if others and shapely.distance(outline, others).min() < least:
                    return "collides"
        return None

    def _is_inside(self, place: Placement, outline: "shapely.Polygon", height: float) -> bool:
        """Whether an object is where the floor is; in a room model, where the floor is free up to its height."""
        interior = self._scene.interior
        if interior is None:
            return self._floor is not None and self._floor.contains(outline)
        return place.standing is not None or interior.free_floor(height).contains(outline)

    def outline(self, identity: int, place: Placement) -> "shapely.Polygon":
        """An object from above, world meters."""
        import shapely

        return shapely.Polygon(footprint(self._assets[identity], place))


def _on_floor(place: Placement) -> bool:
    return place.standing is None or place.standing.kind == "under"


def is_in_image(scene: Scene, identity: int, place: Placement, new: bool) -> bool:
    """Whether an object at a place is in the frame, large enough, and not where it was, judged by its prism alone.

    Rules out most places that the forecast would, at a small part of its cost.

    Args:
        new: whether the object is not in the source.
    """
    asset, camera, size = scene.asset(identity), scene.camera, np.array(scene.resolution, np.float64)
    ends = np.stack([middle(asset, scene.placements[identity]), middle(asset, place)])
    points = np.concatenate([ends, prism(asset, place).reshape(-1, 3)])
    pixels, depth = project(points, matrix3(camera.K), matrix4(camera.world_from_camera))
    if depth.min() <= 0:
        return False
    low, high = pixels[2:].min(axis=0), pixels[2:].max(axis=0)
    framed = np.maximum(np.minimum(high, size) - np.maximum(low, 0.0), 0.0)
    own_px = scene.outlook[identity].own_px * float(depth[0] / depth[1]) ** 2
    shift = float(np.linalg.norm(pixels[1] - pixels[0]))
    return (
        float(np.prod(framed / (high - low))) >= _FRAMED
        and FURNISHED_FIT_SHARE[0] <= own_px / float(size.prod()) <= FURNISHED_FIT_SHARE[1]
        and (new or shift >= _SHIFT * float(size.min()))
    )


def objects_fault(spec: SceneSpec, source: Seen, target: Seen, limits: Limits) -> str | None:
    """Why too little is seen of the edited objects in a state, or of another object in the target; None if enough is.

    Reasons: `out_of_frame`, `too_small`, `too_large`, `hidden`, `occludes`.
    """
    area = spec.width * spec.height
    smallest = area * (limits.least_share if spec.kind == "open" else limits.least_share_furnished)
    asked = spec.edit.allows_occlusion
    for state, seen, occluded in ((spec.source, source, False), (spec.target, target, asked)):
        least = limits.min_visible_asked if occluded else limits.min_visible
        for identity in spec.edit.edited:
            if state.placements[identity].present:
                fault = _edited_fault(seen[identity], smallest, area, min(least, limits.min_visible), limits)
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


def _edited_fault(seen: Visibility, smallest: float, area: int, least_visible: float, limits: Limits) -> str | None:
    if seen.in_frame < limits.in_frame:
        return "out_of_frame"
    if seen.own_px < smallest:
        return "too_small"
    if seen.own_px > limits.most_share * area:
        return "too_large"
    return "hidden" if seen.visible < least_visible else None
