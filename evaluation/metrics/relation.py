"""Whether the asked place holds for the place that was found, by the predicates that made the instruction.

The found place is put into the scene: pose, box and support of the edited object are those of the prediction. Then the
geometry check of instructions (`annotators.verdict`) judges the text, as it did for the exact target when the sample
was built.
"""

from typing import Final

import numpy as np

from ...annotators.case import Case
from ...annotators.clauses.clause import Clause
from ...annotators.verdict.check import check_text
from ...shards.geometry import F64, box_iou, matrix3, matrix4, to_json_list, unproject
from ...shards.schema import FLOOR, PairFacts, SceneObject, SupportRef
from ..truth import Truth
from .place import Sight, foot_pixel, ground_point

PLACES: Final = frozenset(
    {"relation", "part", "direction", "metres", "widths", "amount", "support", "shelf", "partner"}
)
"""Clauses on where the object shall end. Others say which object is meant, or where it was."""

_SAME_PLACE: Final = 0.5
"""IoU of two boxes from which on they are one place, whose support is the stored one."""


def relation_values(truth: Truth, seen: list[Sight]) -> dict[str, float | None]:
    """`relation`: share of the clauses on places that agree, of those that agree for the exact target.

    Empty if the edit places no object, or if no such clause agrees for the exact target (an instruction without a
    place, unknown facts). 0 if the object was not found.
    """
    if not truth.kind.places_objects or not seen:
        return {}
    wanted = _agreeing(truth, truth.facts)
    if not wanted:
        return {}
    if any(sight.place is None for sight in seen):
        return {"relation": None}
    facts = _with_places(truth, seen)
    return {"relation": None if facts is None else len(wanted & _agreeing(truth, facts)) / len(wanted)}


def _agreeing(truth: Truth, facts: PairFacts) -> set[str]:
    """Names of the clauses on places that agree."""
    clauses: tuple[Clause, ...] = check_text(truth.record.instruction.text, Case(facts, *truth.size)).clauses
    return {clause.name for clause in clauses if clause.name in PLACES and clause.outcome == "agrees"}


def _with_places(truth: Truth, seen: list[Sight]) -> PairFacts | None:
    """The facts with the edited objects at their found places; None if a place is above the horizon."""
    placed: dict[int, SceneObject] = {}
    for sight in seen:
        thing = _placed(truth, sight)
        if thing is None:
            return None
        placed[thing.id] = thing
    first = placed[seen[0].thing.id]
    edit, facts = truth.facts.edit, truth.facts
    if truth.kind.in_source and edit.known:
        step = matrix4(first.target_pose)[:3, 3] - matrix4(first.source_pose)[:3, 3]
        edit = edit.model_copy(update={"translation": to_json_list(step), "box": first.target_box})
    objects = [placed.get(one.id, one) for one in facts.objects]
    return facts.model_copy(update={"objects": objects, "edit": edit})


def _placed(truth: Truth, sight: Sight) -> SceneObject | None:
    """The object with the box, pose and support of its found place; None if it is above the horizon."""
    assert sight.place is not None
    width, height = truth.size
    limits = np.array([width, height, width, height])
    box = [int(value) for value in np.clip(np.rint(sight.place.box), 0, limits)]
    thing = sight.thing
    if not (thing.known and truth.record.camera.target.known):
        return thing.model_copy(update={"target_box": box})
    if box_iou(box, thing.source_box) > max(_SAME_PLACE, box_iou(box, thing.target_box)):
        return thing.model_copy(
            update={"target_box": box, "target_pose": thing.source_pose, "target_support": thing.source_support}
        )
    support, point = thing.target_support, ground_point(truth, sight)
    if support.kind and box_iou(box, thing.target_box) < _SAME_PLACE:
        support, point = _support_below(truth, sight, point)
    if point is None:
        return None
    pose = matrix4(thing.target_pose)
    pose[:3, 3] = point
    return thing.model_copy(update={"target_box": box, "target_pose": to_json_list(pose), "target_support": support})


def _support_below(truth: Truth, sight: Sight, point: F64 | None) -> tuple[SupportRef, F64 | None]:
    """What the object stands on at a place that is neither that of the source nor that of the target, and where.

    The exact support, if the point on its plane is above or below it. Else what the scene without the object shows
    under its foot: the floor, or the top of an object, since images do not show more.
    """
    exact = sight.thing.target_support
    below = {one.id: one for one in truth.record.objects}
    if point is not None and exact.object in below and _within(below[exact.object], point):
        return exact, point
    foot, depth = foot_pixel(truth, sight), truth.source_metric
    width, height = truth.size
    if foot is None or depth is None or not (0 <= foot[0] < width and 0 <= foot[1] < height):
        return FLOOR, point
    column, row = int(foot[0]), int(foot[1])
    label = int(truth.plate.labels[row, column])
    if label == exact.object == 0:
        return exact, point
    if not depth[row, column]:
        return FLOOR, point
    view = truth.record.camera.source
    seen = unproject(depth, matrix3(view.K), matrix4(view.world_from_camera))[row, column]
    if label in below and label != sight.thing.id and label != exact.object:
        return SupportRef(object=label, kind="top", shelf=0, shelves=0), seen
    return FLOOR, seen


def _within(thing: SceneObject, point: F64) -> bool:
    """Whether a world point is above or below an object's bounding box, with a tenth of its sides to spare."""
    pose = matrix4(thing.target_pose)
    x, y, _ = np.linalg.solve(pose[:3, :3], point - pose[:3, 3])
    return bool(abs(x) <= 0.6 * thing.size_m[0] and abs(y) <= 0.6 * thing.size_m[1])
