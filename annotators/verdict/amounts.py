"""Whether turns, sizes and the camera's way are those that an instruction names: senses and numbers.

Formulas:
- A turn `a` (degrees counter-clockwise seen from above, in (-180, 180]) against a claimed sense `s` (+1, -1) and angle
  `d`: its error with that sense is |wrapped(s d - a)|. The sense agrees where that is no more than the error with the
  other sense, and is contradicted where it is more; without an angle, signs are compared, and half a turn is of either
  sense. The angle is judged by the lesser of the two errors. The camera's orbit is judged the same way, to the right
  counting as positive.
- Sizes: |log(claimed factor / true factor)| against log(1 + tolerance); larger and smaller by the sign of the true one.
- `slightly` and `far`, of an amount that is 1 where it is neither: a move over the object's own width along it, a turn
  over 45 degrees, the logarithm of a change of size over that of 1.4. `slightly` agrees up to 1 and is contradicted
  beyond 2; `far` and `a lot` agree from 1.5 and are contradicted below 0.75.
- Views: the named side against the side that faces the camera; where the facts name none but the front is known, the
  angle between the two agrees up to 22.5 degrees and is contradicted beyond 45.
"""

from collections.abc import Mapping
from math import log
from typing import Final

import numpy as np

from ...shards.geometry import matrix4, wrapped
from ...shards.interop.wording import view_name
from ...shards.schema import UNKNOWN_FRONT, PairFacts, SceneObject
from ..case import Case
from ..claims import CANONICAL_VIEWS, Claims
from ..directions import breadth_along
from .clause import Clause, Tolerances, decided, within
from .moves import floor_step

STILL_DEG: Final = 1.0
"""A turn of less is none."""
STILL_LOG: Final = 0.02
"""A change of size or distance by less (its logarithm) is none."""


def turn_clauses(claims: Claims, case: Case, tolerances: Tolerances) -> list[Clause]:
    """Judge the sense and the angle of a rotation."""
    edit = case.facts.edit
    if not (claims.turn != "none" or claims.degrees):
        return []
    if not edit.known:
        return [Clause("turn", "unchecked", "the turn is not known")]
    sense = {"none": 0, "counterclockwise": 1, "clockwise": -1}[claims.turn]
    true = wrapped(edit.rotation_deg)
    names = ("counterclockwise", "clockwise")
    return _turn("turn", "degrees", sense, claims.degrees, true, names, tolerances.angle)


def _turn(
    sense_name: str,
    angle_name: str,
    sense: int,
    angle: float,
    true: float,
    names: tuple[str, str],
    tolerance: float,
) -> list[Clause]:
    """Sense (+1, -1, 0: not said) and angle (0: not said) against the true turn in degrees."""
    actual = f"is {abs(true):.0f} deg {names[0] if true > 0 else names[1]}"
    if abs(true) < STILL_DEG:
        actual = "is not turned"
    errors = [abs(wrapped(sign * angle - true)) for sign in ((sense, -sense) if sense else (1, -1))]
    found: list[Clause] = []
    if sense:
        if abs(true) < STILL_DEG:
            agrees = False
        elif angle:
            agrees = errors[0] <= errors[1] + 1e-6
        else:
            agrees = sense * true > 0 or abs(true) > 170
        said = names[0] if sense > 0 else names[1]
        found.append(decided(sense_name, agrees, not agrees, f"says {said}, {actual}"))
    if angle:
        found.append(within(angle_name, min(errors), tolerance, f"says {angle:g} deg, {actual}"))
    return found


def view_clause(claims: Claims, case: Case, fronts: Mapping[int, float]) -> Clause:
    """Judge which side of the object faces the camera in the target."""
    said = claims.view
    if case.facts.edit.view:
        true = view_name(case.facts.edit.view).removesuffix(" view")
        return decided("view", said == true, said != true, f"says {said}, is {true}")
    front = fronts.get(case.edited.id)
    if front is None or not case.facts.camera.target.known or not case.edited.known or said == "none":
        return Clause("view", "unchecked", f"says {said}, the object's front is not known")
    off = abs(wrapped(45.0 * CANONICAL_VIEWS.index(said) - bearing(case.facts, case.edited, front)))
    return decided("view", off <= 22.5, off > 45, f"says {said}, is off by {off:.0f} deg")


def bearing(facts: PairFacts, thing: SceneObject, front_deg: float) -> float:
    """Degrees from an object's front to the target's camera, counter-clockwise seen from above, in (-180, 180]."""
    return wrapped(_to_camera(facts, thing) - front_deg)


def known_fronts(facts: PairFacts) -> dict[int, float]:
    """Fronts (degrees from +x in the object's own frame) that the facts tell, or imply by a turn to a view."""
    told = zip(facts.objects, facts.fronts, strict=False)
    return _implied_front(facts) | {thing.id: deg for thing, deg in told if deg < UNKNOWN_FRONT}


def _implied_front(facts: PairFacts) -> dict[int, float]:
    edit = facts.edit
    name = view_name(edit.view).removesuffix(" view")
    thing = next((thing for thing in facts.objects if thing.id == edit.object), None)
    if thing is None or not thing.known or not facts.camera.target.known or name not in CANONICAL_VIEWS:
        return {}
    return {thing.id: wrapped(_to_camera(facts, thing) - 45.0 * CANONICAL_VIEWS.index(name))}


def _to_camera(facts: PairFacts, thing: SceneObject) -> float:
    """Direction along the floor from a target's object to the camera, degrees from +x of the object's own frame."""
    pose, eye = matrix4(thing.target_pose), matrix4(facts.camera.target.world_from_camera)[:3, 3]
    x, y = eye[:2] - pose[:2, 3]
    return float(np.rad2deg(np.arctan2(y, x) - np.arctan2(pose[1, 0], pose[0, 0])))


def amount_clause(said: str, case: Case) -> Clause | None:
    """Judge `little` or `much` without a number; None where the edit has no such amount, or it is not known."""
    edit = case.facts.edit
    if not edit.known:
        return None
    match edit.kind:
        case "rotate":
            amount = abs(wrapped(edit.rotation_deg)) / 45.0
        case "scale":
            amount = abs(log(edit.scale)) / log(1.4)
        case "translate" if case.edited.known:
            step = floor_step(case)
            moved = float(np.linalg.norm(step))
            amount = moved / breadth_along(case.edited, step / moved) if moved > 1e-6 else 0.0
        case _:
            return None
    true, false = (amount <= 1.0, amount > 2.0) if said == "little" else (amount >= 1.5, amount < 0.75)
    return decided("amount", true, false, f"says {said}, is {amount:.1f} of a middling one")


def size_clauses(claims: Claims, case: Case, tolerances: Tolerances) -> list[Clause]:
    """Judge larger or smaller, and the factor."""
    if claims.size == "none" and not claims.factor:
        return []
    if not case.facts.edit.known:
        return [Clause("size", "unchecked", "the change of size is not known")]
    true = case.facts.edit.scale
    found: list[Clause] = []
    if claims.size != "none":
        sign = 1 if claims.size == "larger" else -1
        agrees = sign * log(true) > STILL_LOG
        found.append(decided("size", agrees, not agrees, f"says {claims.size}, is {true:.2f} times as large"))
    if claims.factor:
        found.append(_ratio("factor", claims.factor, true, tolerances.factor, f"is {true:.2f}"))
    return found


def _ratio(name: str, said: float, true: float, tolerance: float, actual: str) -> Clause:
    return within(name, abs(log(said / true)), log(1 + tolerance), f"says {said:.2f}, {actual}")


def camera_clauses(claims: Claims, case: Case, tolerances: Tolerances) -> list[Clause]:
    """Judge the camera's way around, up or down, closer or away."""
    edit = case.facts.edit
    if not edit.known:
        return [Clause("camera", "unchecked", "the camera's way is not known")]
    found: list[Clause] = []
    for name, said, said_deg, true, names in (
        ("yaw", claims.yaw, claims.yaw_deg, wrapped(edit.yaw_deg), ("right", "left")),
        ("pitch", claims.pitch, claims.pitch_deg, edit.pitch_deg, ("up", "down")),
    ):
        if said == "unchanged":
            still = abs(true) < STILL_DEG
            found.append(decided(name, still, not still, f"says unchanged, is {true:g} deg"))
        else:
            sense = 0 if said == "none" else 1 if said == names[0] else -1
            # A rise is a few degrees only: a tolerance of an orbit would take 15 for 5.
            tolerance = tolerances.angle if name == "yaw" else tolerances.angle / 2
            found += _turn(name, f"{name}_deg", sense, said_deg, true, names, tolerance)
    if claims.zoom != "none":
        found.append(_zoom(claims.zoom, log(edit.zoom)))
    if claims.zoom_factor:
        detail = f"is {edit.zoom:.2f}"
        found.append(_ratio("zoom_factor", claims.zoom_factor, edit.zoom, tolerances.factor, detail))
    return found


def _zoom(said: str, closer: float) -> Clause:
    true = "unchanged" if abs(closer) < STILL_LOG else "in" if closer > 0 else "out"
    return decided("zoom", said == true, said != true, f"says {said}, is {true}")
