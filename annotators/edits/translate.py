"""Translate: one object is moved to another place on what it stands on, or onto, into or under another object."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...shards.geometry import displacement, mask_iou
from ...shards.schema import Edit, PairFacts, SceneObject
from ..case import Case
from ..claims import Claims
from ..clauses.clause import Clause, Tolerances
from ..clauses.moves import direction_clause, floor_step, length_clauses
from ..clauses.places import place_clauses
from ..clauses.supports import support_clauses
from ..directions import Motion, breadth_along, motion
from ..measure import Images, pose_error
from ..phrases import distinct, length, number
from ..relations import Relation
from ..wording import Wordings, related, sentences, where
from .kind import ORIGIN_CLAIMS, PLACE_CLAIMS, Fault, Kind, Limits, Words
from .standing import moved_onto, placed_on
from .words import AFTER_VERB


class Translate(Kind):
    name = "translate"
    summary = "one object was moved"
    words = Words(
        verbs="move|shift|slide|push|pull|drag|bring|reposition|relocate|nudge|displace|transfer|carry|send|shove"
        "|transport|park|slot|scoot|roll|haul|translate|tow|guide|steer|hoist|return|rearrange|advance|bump|tuck",
        participles="moved|shifted|slid|pushed|pulled|dragged|brought|repositioned|relocated|nudged|displaced"
        "|transferred|carried|shoved|transported|parked|sent|translated|rolled|tucked",
        nouns="shift|movement|translation|displacement|relocation|repositioning",
        after_object=rf"(?:move|slide|shift){AFTER_VERB}",
    )
    claims = PLACE_CLAIMS | ORIGIN_CLAIMS | {"directions", "part", "metres", "widths"}
    places_objects = True
    verbs_of_camera = True

    def wordings(self, case: Case) -> Wordings:
        """The relations that the move brings about, its direction and distance, and where in the image it ends.

        Of a move to another support: the two supports, and relations.
        """
        if case.changes_support:
            return moved_onto(case)
        x = case.edited_name
        after = case.new_relations
        into = any(relation.kind == "into" for relation in after)
        verbs = ("put", "place", "move", "set") if into else ("move", "place", "put", "reposition", "relocate")
        groups = [sentences(_verbs(relation, verbs), x, where(relation, case.names)) for relation in after]
        if case.supported:
            groups += placed_on(case, verbs[:3])
        if into:
            return Wordings(groups)
        move = motion(case)
        verbs = ("move", "shift", "slide")
        groups.append(sentences(("move", "shift", "bring"), x, move.end))
        groups.append(sentences(verbs, x, _distances(move)))
        slight = [
            f"{little} {words}" for words in move.directions[:1] for little in ("a bit", "slightly") if move.slight
        ]
        return Wordings(groups, [sentences(verbs, x, move.directions), sentences(verbs, x, slight)])

    def facts(self, case: Case) -> Iterator[str]:
        left = [relation for relation in case.source_relations if relation not in case.target_relations]
        yield from related("before the edit it was", left, case.names)
        yield from related("after the edit it is", case.new_relations, case.names)
        if case.changes_support:
            return  # direction and distance along the floor would not say where it ends
        move = motion(case)
        if move.directions:
            yield f"direction of the move, as the camera sees it: {move.directions[0]}"
        if move.meters:
            yield f"distance of the move: {length(move.meters)} ({number(move.meters)} metres)"
        if move.end:
            yield f"the move leads {move.end[0]}"

    def clauses(
        self, claims: Claims, case: Case, fronts: Mapping[int, float], tolerances: Tolerances
    ) -> Iterator[Clause]:
        if claims.directions:
            yield direction_clause(claims, case, fronts)
        yield from length_clauses(claims, case, tolerances)
        yield from place_clauses(claims, case, fronts, "target", moved=True)
        yield from support_clauses(claims, case, "target")

    def unseen(self, facts: PairFacts, images: Images, limits: Limits) -> Iterator[Fault]:
        for id in facts.edit.edited:
            before, after = images.masks(id)
            share = displacement(before, after) / min(before.shape)
            if share < limits.min_displacement and mask_iou(before, after) > 0.7:
                yield "moved_too_little", share

    def amount(self, case: Case) -> float | None:
        """The distance, relative to the object's extent along it."""
        if not case.edited.known:
            return None
        step = floor_step(case)
        moved = float(np.linalg.norm(step))
        return moved / breadth_along(case.edited, step / moved) if moved > 1e-6 else 0.0

    def edit_error(self, edit: Edit, edited: SceneObject) -> float:
        return pose_error(edit, edited, about_base=False)


def _verbs(relation: Relation, verbs: Sequence[str]) -> Sequence[str]:
    return ("push", "move", "put") if relation.kind in ("against", "corner") else verbs


def _distances(move: Motion) -> list[str]:
    """Directions with distances."""
    if not move.directions or not move.meters:
        return []
    if move.parts:
        return move.parts
    first, distance = move.directions[0], f"about {length(move.meters)}"
    return distinct(
        [f"{distance} {first}", f"{first} by {move.magnitude}"]
        + [f"{words}{',' if ',' in words else ''} by {distance}" for words in move.directions]
    )
