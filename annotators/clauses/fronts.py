"""Which way objects face: known fronts, and the side that an object turns to the camera."""

import numpy as np

from ...shards.geometry import matrix4, wrap_degrees
from ...shards.interop.wording import view_name
from ...shards.schema import UNKNOWN_FRONT, PairFacts, SceneObject
from ..claims import CANONICAL_VIEWS


def side_of_view(view: str) -> str:
    """`rear left side` of `the rear left side view.`"""
    return view_name(view).removesuffix(" view")


def bearing(facts: PairFacts, one: SceneObject, front_deg: float) -> float:
    """Degrees from an object's front to the target's camera, counter-clockwise seen from above, in (-180, 180]."""
    return wrap_degrees(_to_camera(facts, one) - front_deg)


def known_fronts(facts: PairFacts) -> dict[int, float]:
    """Fronts (degrees from +x in the object's own frame, by id) that the facts name, or imply by a turn to a view."""
    named = zip(facts.objects, facts.fronts, strict=False)
    return _implied_fronts(facts) | {one.id: degrees for one, degrees in named if degrees < UNKNOWN_FRONT}


def _implied_fronts(facts: PairFacts) -> dict[int, float]:
    side = side_of_view(facts.edit.view)
    if not facts.camera.target.known or side not in CANONICAL_VIEWS:
        return {}
    angle = 45.0 * CANONICAL_VIEWS.index(side)
    turned = [one for one in facts.objects if one.id in facts.edit.edited and one.known]
    return {one.id: wrap_degrees(_to_camera(facts, one) - angle) for one in turned}


def _to_camera(facts: PairFacts, one: SceneObject) -> float:
    """Direction along the floor from a target's object to the camera, degrees from +x of the object's own frame."""
    pose, eye = matrix4(one.target_pose), matrix4(facts.camera.target.world_from_camera)[:3, 3]
    x, y = eye[:2] - pose[:2, 3]
    return float(np.rad2deg(np.arctan2(y, x) - np.arctan2(pose[1, 0], pose[0, 0])))
