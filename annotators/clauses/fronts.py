"""Which way objects face: known fronts, and which side of an object faces the camera."""

from collections.abc import Mapping

import numpy as np

from ...shards.geometry import matrix4, wrap_degrees
from ...shards.interop.wording import view_name
from ...shards.schema import UNKNOWN_FRONT, PairFacts, SceneObject
from ..claims import CANONICAL_VIEWS, CanonicalView
from .clause import Clause, truth_clause


def side_of_view(view: str) -> str:
    """The side in the name of a view: `rear left side` for `the rear left side view.`"""
    return view_name(view).removesuffix(" view")


def bearing(facts: PairFacts, one: SceneObject, front_deg: float) -> float:
    """Degrees from an object's front to the target's camera, counterclockwise seen from above, in (-180, 180]."""
    return wrap_degrees(_to_camera(facts, one) - front_deg)


def side_clause(claimed: CanonicalView, facts: PairFacts, thing: SceneObject, fronts: Mapping[int, float]) -> Clause:
    """Judge which side of an object faces the camera in the target.

    If the facts name no view but the front is known, it agrees if it is off by at most 22.5 degrees and is contradicted
    beyond 45.

    Args:
        fronts: `known_fronts`.
    """
    if facts.edit.view:
        true = side_of_view(facts.edit.view)
        return truth_clause("view", claimed == true, claimed != true, f"says {claimed}, is {true}")
    front = fronts.get(thing.id)
    if front is None or not facts.camera.target.known or not thing.known or claimed == "none":
        return Clause("view", "unchecked", f"says {claimed}, the object's front is not known")
    off = abs(wrap_degrees(45.0 * CANONICAL_VIEWS.index(claimed) - bearing(facts, thing, front)))
    return truth_clause("view", off <= 22.5, off > 45, f"says {claimed}, is off by {off:.0f} deg")


def known_fronts(facts: PairFacts) -> dict[int, float]:
    """Fronts by object id, in degrees from +x of the object's own frame: named by the facts, or implied by a turn to a
    canonical view."""
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
    """Direction on the floor from an object of the target to the camera, degrees from +x of the object's own frame."""
    pose, eye = matrix4(one.target_pose), matrix4(facts.camera.target.world_from_camera)[:3, 3]
    x, y = eye[:2] - pose[:2, 3]
    return float(np.rad2deg(np.arctan2(y, x) - np.arctan2(pose[1, 0], pose[0, 0])))
