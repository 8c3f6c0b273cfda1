"""Judge where an instruction says that an object stands: relations to other objects, and parts of the image.

Invariant: a relation is judged on the floor plan and in the image. It agrees or is contradicted only if both say the
same. If poses are unknown, only what boxes can show is judged: left, right, and that an object is not inside another.

Formulas: `o` is the offset of the object's center from the reference's center along the claimed direction (of the
viewer, or of the reference's own frame), `r` the sum of their half extents along it. `p` and `q` are the same across.
- left, right, front, behind: agree if o > 0.6 r and |p| <= max(q, 1.2 o). Contradicted if o < -0.25 r, or if
  o < 0.25 r and |p| > q (the object is on another side).
- between: `a` is the position along the line between the two references (0 to 1), `d` the distance from the line over
  its length. Agrees if 0.15 <= a <= 0.85, d <= 0.35 and the image shows the object between the two. Contradicted if
  a < -0.05, a > 1.05 or d > 0.6.
- next: `g` is the free floor between the two, `b` the larger breadth. Agrees if g <= 0.8 b and the camera sees them
  side by side, neither hiding the other. Contradicted if g > 2 b, or if one is in front of the other and their boxes
  share more than half of the smaller one.
- into: agrees if the object is within the reference's bounding box, lifted off the floor. Contradicted if there is free
  floor between them.
- Where supports are known, next to, between, against the wall and in the corner agree if the definition holds, and are
  contradicted if it is missed by twice its limits (`annotators.proximity`); into compares the stored support. An object
  is not left of, behind, ... what it stands on.
If the claim of a move already held in the source, by any margin, the clause is unchecked: it does not say what to do. A
part of the image that contained the object before is contradicted if the object moved away from that part.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from ...shards.geometry import F64, matrix4
from ..case import Case
from ..claims import Claims, Part
from ..phrases import bare
from ..proximity import FAILS, HOLDS
from ..relations import (
    APART,
    Layout,
    Relation,
    RelationKind,
    Seen,
    StateName,
    gap,
    in_columns_between,
    inside,
    viewer_axes,
)
from .clause import Clause, Outcome, truth_clause
from .names import is_name, matching_references
from .stands import judge_support

_SAID: Final = {
    "left": "left of {b}",
    "right": "right of {b}",
    "front": "in front of {b}",
    "behind": "behind {b}",
    "between": "between {b} and {c}",
    "next": "next to {b}",
    "into": "inside {b}",
    "against": "against {b}",
    "corner": "in the corner of {b}",
}
_EDGE: Final = 0.06
"""Share of the image around the border of a part within which a claim is unchecked."""


@dataclass(frozen=True)
class Axes:
    """Unit vectors (2,) on the floor: to the right, and to the front (None if the camera looks down)."""

    right: F64
    front: F64 | None

    def along(self, side: str) -> F64 | None:
        """The direction that a word names."""
        if side in ("left", "right"):
            return self.right if side == "right" else -self.right
        if self.front is None:
            return None
        return self.front if side in ("front", "towards") else -self.front


def axes_of_viewer(case: Case, state: StateName) -> Axes:
    """The viewer's axes. `front` points towards the camera."""
    view = case.facts.camera.source if state == "source" else case.facts.camera.target
    right, away = viewer_axes(matrix4(view.world_from_camera))
    return Axes(right, None if away is None else -away)


def axes_of_object(pose: F64, front_deg: float) -> Axes:
    """An object's own axes.

    Args:
        pose: world from object (4, 4).
        front_deg: direction of its front, degrees from +x of its own frame.
    """
    angle = np.arctan2(pose[1, 0], pose[0, 0]) + np.deg2rad(front_deg)
    front = np.array([np.cos(angle), np.sin(angle)])
    return Axes(np.array([front[1], -front[0]]), front)


def place_clauses(
    claims: Claims, case: Case, fronts: Mapping[int, float], state: StateName, moved: bool = False
) -> Iterator[Clause]:
    """Judge the claimed relation and part of the image of the edited object, if any.

    Args:
        state: the image that the claims describe: the target if the edit decides where the object ends.
        moved: whether the edit moves the object, so that a place where it was before does not say what to do.
    """
    if claims.relation != "none" and claims.references:
        yield _relation_clause(claims, case, fronts, state, moved)
    if claims.part != "none":
        yield _part_clause(claims, case, state, moved)


def _relation_clause(claims: Claims, case: Case, fronts: Mapping[int, float], state: StateName, moved: bool) -> Clause:
    """Judge the claimed relation for every object that the references may mean. Unchecked if the outcomes differ.

    A similar noun as reference (`couch` for a sofa) can agree, but never contradicts.
    """
    kind, subject, edited = claims.relation, case.edited.id, case.facts.edit.edited
    if kind in ("against", "corner"):
        return _wall_clause(claims, case, state, moved)
    claimed = _SAID[kind].format(b=_the(claims.references[:1]), c=_the(claims.references[1:]))
    candidates = [[id for id in matching_references(case, text) if id not in edited] for text in claims.references]
    if not candidates or not all(candidates) or (kind == "between" and len(candidates) < 2):
        return Clause("relation", "unchecked", f"says {claimed}, which is no known name")
    layout = Layout(case.facts, state)
    found: list[tuple[Outcome, str]] = []
    for ids in product(*candidates):
        if subject in layout.seen and all(id in layout.seen for id in ids):
            judged = _judge(claims, case, layout, [layout.seen[id] for id in ids], fronts, state)
            found.append(_unless_before(judged, claims, case, ids) if moved else judged)
        else:
            found.append(_in_boxes(claims, case, ids, state))
    outcomes = {outcome for outcome, _ in found}
    outcome: Outcome = found[0][0] if len(outcomes) == 1 else "unchecked"
    named = all(is_name(case, text, id) for text, ids in zip(claims.references, candidates, strict=False) for id in ids)
    if outcome == "contradicted" and not named:
        outcome = "unchecked"  # the reference may mean another object
    frame = ", in its own frame," if claims.frame == "object" else ""
    return Clause("relation", outcome, f"says {claimed}{frame} {found[0][1]}".strip())


def _wall_clause(claims: Claims, case: Case, state: StateName, moved: bool) -> Clause:
    """Judge `against the wall` and `in the corner of the room`."""
    layout = case.source_layout if state == "source" else case.target_layout
    what = bare(claims.references[0])
    said = f"says {_SAID[claims.relation].format(b=_the([what]))}"
    kind: RelationKind = "against" if claims.relation == "against" else "corner"
    subject = case.edited.id
    known = case.facts.room and subject in layout.standing and what.split()[-1] in ("wall", "room", "corner")
    if not known:
        return Clause("relation", "unchecked", f"{said}, which the facts do not decide")
    miss = layout.miss(kind, subject)
    before = case.source_layout.miss(kind, subject) if moved and subject in case.source_layout.standing else np.inf
    new = before > HOLDS
    detail = f"{said}, is at {miss:.1f} of its limits{'' if new else ', where it was before'}"
    return truth_clause("relation", miss <= HOLDS and new, miss > FAILS, detail)


def _unless_before(found: tuple[Outcome, str], claims: Claims, case: Case, ids: Sequence[int]) -> tuple[Outcome, str]:
    """The outcome, but unchecked if the claim of a move already held in the source."""
    if found[0] != "agrees" or claims.frame != "viewer" or claims.relation in ("none", "against", "corner"):
        return found
    relation = Relation(claims.relation, case.edited.id, tuple(ids))
    return ("unchecked", "which it was before") if case.source_layout.suggests(relation) else found


def _the(texts: Sequence[str]) -> str:
    return f"the {texts[0]}" if texts else "nothing"


def _judge(
    claims: Claims, case: Case, layout: Layout, others: list[Seen], fronts: Mapping[int, float], state: StateName
) -> tuple[Outcome, str]:
    a, b = layout.seen[case.edited.id], others[0]
    match claims.relation:
        case "between":
            if layout.standing:
                return _by_definition("between", layout, a, b, others[-1])
            return _between(a, b, others[-1])
        case "next":
            return _by_definition("next", layout, a, b) if layout.standing else _next_to(a, b, layout)
        case "into":
            if layout.standing:
                return judge_support(case.facts, case.edited, state, "in", b.id), "by what it stands on"
            return _outcome(inside(a, b), gap(a, b) > 0), f"is {max(gap(a, b), 0):.2f} m beside it"
        case _ if layout.carries(a.id, b.id) or layout.carries(b.id, a.id):
            return "contradicted", "is not beside it, one stands on, in or under the other"
        case side:
            if claims.frame == "viewer":
                return _on_side(a, b, side, axes_of_viewer(case, state), in_image=True)
            if b.id not in fronts:
                return "unchecked", "whose front is not known"
            return _on_side(a, b, side, axes_of_object(b.pose, fronts[b.id]), in_image=False)


def _outcome(true: bool, false: bool) -> Outcome:
    return truth_clause("", true, false, "").outcome


def _on_side(a: Seen, b: Seen, side: str, axes: Axes, in_image: bool) -> tuple[Outcome, str]:
    direction = axes.along(side)
    if direction is None:
        return "unchecked", "seen from above"
    offset = a.center - b.center
    across = axes.front if side in ("left", "right") else axes.right
    o, r = float(offset @ direction), a.half(direction) + b.half(direction)
    p = abs(float(offset @ across)) if across is not None else 0.0
    q = a.half(across) + b.half(across) if across is not None else np.inf
    true = o > 0.6 * r and p <= max(q, 1.2 * o) and (side in ("left", "right") or not in_image or a.shares_columns(b))
    false = o < -0.25 * r or (o < 0.25 * r and p > q)
    if in_image:
        shown = _shown(a, b, side)
        true, false = true and shown > 0, false and (shown < 0 or o >= -0.25 * r)
    return _outcome(true, false), f"is {_actual(offset, axes)} it"


def _shown(a: Seen, b: Seen, side: str) -> float:
    """Pixels by which the image shows the relation: of centers for left and right, of lower edges for front and
    behind."""
    if side in ("left", "right"):
        return (a.middle_px - b.middle_px) * (1 if side == "right" else -1)
    return (a.box[3] - b.box[3]) * (1 if side == "front" else -1)


def _actual(offset: F64, axes: Axes) -> str:
    sideways, ahead = float(offset @ axes.right), float(offset @ axes.front) if axes.front is not None else 0.0
    if abs(sideways) >= abs(ahead):
        return "right of" if sideways > 0 else "left of"
    return "in front of" if ahead > 0 else "behind"


def _by_definition(kind: RelationKind, layout: Layout, a: Seen, *others: Seen) -> tuple[Outcome, str]:
    """Next to and between, where it is known what objects stand on.

    Objects on different supports are not next to each other, but a viewer may say so if they are near.
    """
    miss = layout.miss(kind, a.id, *(other.id for other in others))
    free = max(gap(a, other) for other in others)
    if miss == np.inf:
        far = free > 2 * max(a.breadth, *(other.breadth for other in others))
        return _outcome(False, far), "is on something else"
    shown = layout.beside(a, others[0]) if kind == "next" else in_columns_between(a, others[0], others[1])
    return _outcome(miss <= HOLDS and shown, miss > FAILS), f"is at {miss:.1f} of its limits"


def _between(a: Seen, b: Seen, c: Seen) -> tuple[Outcome, str]:
    line = c.center - b.center
    span = max(float(np.linalg.norm(line)), 1e-6)
    start = a.center - b.center
    along = float(start @ line) / span**2
    aside = abs(float(line[0] * start[1] - line[1] * start[0])) / span**2
    low, high = sorted((b.middle_px, c.middle_px))
    true = 0.15 <= along <= 0.85 and aside <= 0.35 and low < a.middle_px < high
    false = not -0.05 <= along <= 1.05 or aside > 0.6
    return _outcome(true, false), f"is at {along:.2f} of the way, {aside:.2f} of it aside"


def _next_to(a: Seen, b: Seen, layout: Layout) -> tuple[Outcome, str]:
    free, breadth, common = gap(a, b), max(a.breadth, b.breadth), a.overlaps(b)
    offset = a.center - b.center
    deep = layout.forward is not None and abs(float(offset @ layout.forward)) > abs(float(offset @ layout.right))
    hides = deep and common > 0.5
    actual = f"is {max(free, 0):.2f} m from it" + (", one before the other" if deep and common > APART else "")
    return _outcome(free <= 0.8 * breadth and layout.beside(a, b), free > 2 * breadth or hides), actual


def _in_boxes(claims: Claims, case: Case, ids: Sequence[int], state: StateName) -> tuple[Outcome, str]:
    """Judge a relation by the boxes of the masks, if poses are unknown."""
    things = {thing.id: thing for thing in case.facts.objects}
    a, b = (getattr(things[id], f"{state}_box") for id in (case.edited.id, ids[0]))
    if a[2] <= a[0] or b[2] <= b[0] or claims.frame == "object" or things[ids[0]].known:
        return "unchecked", "which cannot be told"
    first, second = (a[0] + a[2]) / 2, (b[0] + b[2]) / 2
    match claims.relation:
        case "left" | "right":
            is_left, is_right = first < b[0] and second > a[2], first > b[2] and second < a[0]
            true, false = (is_left, is_right) if claims.relation == "left" else (is_right, is_left)
            return _outcome(true, false), f"is {'left of' if first < second else 'right of'} it"
        case "into":
            apart = a[2] <= b[0] or a[0] >= b[2] or a[3] <= b[1] or a[1] >= b[3]
            return _outcome(False, apart), "is beside it" if apart else "which cannot be told"
        case _:
            return "unchecked", "which cannot be told"


def _part_clause(claims: Claims, case: Case, state: StateName, moved: bool) -> Clause:
    """Judge where the center of the object's box is, as shares `u`, `v` of the image's width and height.

    `left`: u < 0.5; `upper`: v < 0.5, each by at least 0.06. `centre`: within 0.15 of the center, contradicted beyond
    0.25. For `upper centre`, `lower left`, ... both words must hold.
    """
    x0, y0, x1, y1 = case.edited.target_box if state == "target" else case.edited.source_box
    if x1 <= x0:
        return Clause("part", "unchecked", f"says {claims.part}, is not to be seen")
    u, v = (x0 + x1) / 2 / case.width, (y0 + y1) / 2 / case.height
    outcomes = [_in_part(word, u, v, claims.part) for word in claims.part.split()]
    true, false = all(o == "agrees" for o in outcomes), "contradicted" in outcomes
    detail = f"says {claims.part}, is at {100 * u:.0f} % across and {100 * v:.0f} % down"
    before = case.edited.source_box
    if moved and before[2] > before[0]:
        start = (before[0] + before[2]) / 2 / case.width, (before[1] + before[3]) / 2 / case.height
        new, against = _reaches_part(claims.part, start, (u, v))
        true, false = true and new, false or against
        detail += "" if new else ", where it was before"
    return truth_clause("part", true, false, detail)


def _reaches_part(part: Part, start: tuple[float, float], end: tuple[float, float]) -> tuple[bool, bool]:
    """Whether a move goes far enough towards a side that `part` names, starting beyond the center; and whether it goes
    away from one."""
    axis_of = {"left": 0, "right": 0, "upper": 1, "lower": 1}
    new, against = False, False
    for word in part.split():
        if word == "centre":
            axes = (0, 1) if part == "centre" else (0,)
            new |= any(abs(start[k] - 0.5) - abs(end[k] - 0.5) >= _EDGE for k in axes)
            continue
        sign, k = (-1 if word in ("left", "upper") else 1), axis_of[word]
        progress = sign * (end[k] - start[k])
        new |= progress >= 2 * _EDGE and sign * (start[k] - 0.5) <= 0
        against |= progress <= -_EDGE
    return new, against


def _in_part(word: str, u: float, v: float, part: Part) -> Outcome:
    if word == "centre":
        # The center of the whole image, or of its upper or lower row.
        distance = max(abs(u - 0.5), abs(v - 0.5) - 0.05) if part == "centre" else abs(u - 0.5)
        return _outcome(distance <= 0.15, distance > 0.25)
    position = u if word in ("left", "right") else v
    inwards = 0.5 - position if word in ("left", "upper") else position - 0.5
    return _outcome(inwards >= _EDGE, inwards < -_EDGE)
