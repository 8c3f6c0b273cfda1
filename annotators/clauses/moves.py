"""Judge the claimed direction and distance of a move.

Formulas, with the move `m` (2,) on the floor, in meters:
- Direction (of two, their bisector): agrees if its angle to `m` is at most 50 degrees. It is contradicted from 80
  degrees on, or if either of two is off by 105 degrees or more. Left, right, towards and away are those of the viewer,
  or of the object's own frame.
- If poses are unknown or the camera looks down, the same rule applies to the move of the box's center in the image, in
  shares of its width and height, provided that it is at least 0.03. `up` and `down` always refer to the image.
- Meters: the error of the length of `m`, or of its component along the claimed direction, whichever is less, relative
  to the length of `m`.
- Widths: the length of `m` over the object's extent along `m`. The tolerance is twice that of meters.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from ...shards.geometry import F64, matrix4
from ..case import Case
from ..claims import Claims
from ..directions import LEAST_SHIFT, breadth_along
from .clause import Clause, Tolerances, number_clause, truth_clause
from .places import Axes, axes_of_object, axes_of_viewer

AGREES_DEG: Final = 50.0
CONTRADICTED_DEG: Final = 80.0
AGAINST_DEG: Final = 105.0
_IN_IMAGE: Final[dict[str, tuple[float, float]]] = {
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
}


def direction_clause(claims: Claims, case: Case, fronts: Mapping[int, float]) -> Clause:
    """Judge the claimed directions."""
    claimed = " and ".join(claims.directions)
    if claims.frame == "object":
        front = fronts.get(case.edited.id)
        if front is None or not case.edited.known:
            return Clause("direction", "unchecked", f"says {claimed} in the object's own frame, its front is not known")
        return _judge(claims, case, axes_of_object(matrix4(case.edited.source_pose), front))
    posed = case.edited.known and case.facts.camera.source.known and case.facts.edit.known
    axes = axes_of_viewer(case, "source") if posed else None
    if axes is None or axes.front is None or {"up", "down"} & set(claims.directions):
        return _in_image(claims, case)
    return _judge(claims, case, axes)


def _judge(claims: Claims, case: Case, axes: Axes) -> Clause:
    vectors = [axes.along(direction) for direction in claims.directions if direction not in ("up", "down")]
    known = [vector for vector in vectors if vector is not None]
    step = floor_step(case)
    moved = float(np.linalg.norm(step))
    claimed = " and ".join(claims.directions)
    if len(known) < len(claims.directions):
        return Clause("direction", "unchecked", f"says {claimed}, which cannot be told")
    if moved < 1e-3:
        return Clause("direction", "contradicted", f"says {claimed}, stays where it is")
    return _compare(step, known, f"says {claimed}")


def _in_image(claims: Claims, case: Case) -> Clause:
    claimed = " and ".join(claims.directions)
    before, after = (np.array(box, np.float64) for box in (case.edited.source_box, case.edited.target_box))
    if before[2] <= before[0] or after[2] <= after[0] or not set(claims.directions) <= _IN_IMAGE.keys():
        return Clause("direction", "unchecked", f"says {claimed}, which cannot be told")
    step = (after[:2] + after[2:] - before[:2] - before[2:]) / 2 / (case.width, case.height)
    if np.abs(step).max() < LEAST_SHIFT:
        return Clause("direction", "unchecked", f"says {claimed}, hardly moves in the image")
    return _compare(
        step, [np.array(_IN_IMAGE[direction]) for direction in claims.directions], f"says {claimed} in the image"
    )


def _compare(step: F64, directions: Sequence[F64], claim: str) -> Clause:
    """Compare a move (2,) with one or two claimed directions (unit vectors).

    Args:
        claim: the start of the clause's detail.
    """
    angle = _angle(step, np.sum(directions, axis=0))
    against = max(_angle(step, direction) for direction in directions) >= AGAINST_DEG
    detail = f"{claim}, is off by {angle:.0f} deg"
    return truth_clause("direction", angle <= AGREES_DEG and not against, angle >= CONTRADICTED_DEG or against, detail)


def _angle(a: F64, b: F64) -> float:
    """Degrees between two vectors (2,), 0 to 180; 180 if one is zero (`left and right`)."""
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.rad2deg(np.arccos(np.clip(float(a @ b) / length, -1, 1)))) if length > 1e-9 else 180.0


def floor_step(case: Case) -> F64:
    """The edited object's move (2,) on the floor, meters."""
    return matrix4(case.edited.target_pose)[:2, 3] - matrix4(case.edited.source_pose)[:2, 3]


def length_clauses(claims: Claims, case: Case, tolerances: Tolerances) -> list[Clause]:
    """Judge meters, and multiples of the object's own width."""
    if not (case.edited.known and case.facts.edit.known):
        names = [name for name in ("metres", "widths") if getattr(claims, name)]
        return [Clause(name, "unchecked", "lengths are not known") for name in names]
    step = floor_step(case)
    moved = float(np.linalg.norm(step))
    found: list[Clause] = []
    if claims.metres:
        error = min(abs(claims.metres - length) for length in (moved, *_parts(claims, case, step)))
        tolerance = max(tolerances.length * moved, 0.02)
        found.append(number_clause("metres", error, tolerance, f"says {claims.metres:g} m, is {moved:.2f} m"))
    if claims.widths:
        widths = moved / breadth_along(case.edited, step / moved) if moved > 1e-6 else 0.0
        detail = f"says {claims.widths:g} times its width, is {widths:.2f} times"
        found.append(
            number_clause("widths", abs(claims.widths - widths), 2 * tolerances.length * max(widths, 0.1), detail)
        )
    return found


def _parts(claims: Claims, case: Case, step: F64) -> list[float]:
    """Other lengths that a claim may mean, meters: with the rise, and along a single direction of the viewer."""
    rise = matrix4(case.edited.target_pose)[2, 3] - matrix4(case.edited.source_pose)[2, 3]
    lengths = [float(np.hypot(np.linalg.norm(step), rise))]
    if len(claims.directions) == 1 and case.facts.camera.source.known and claims.frame == "viewer":
        direction = axes_of_viewer(case, "source").along(claims.directions[0])
        lengths += [] if direction is None else [abs(float(step @ direction))]
    return lengths
