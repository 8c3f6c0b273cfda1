"""Swap: two objects exchange their places."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, Final

from ...shards.geometry import displacement, mask_iou
from ...shards.schema import Edit, PairFacts, SceneObject
from ..case import Case
from ..claims import Claims
from ..clauses.clause import Clause, Tolerances
from ..clauses.names import object_clause
from ..clauses.supports import place_clauses, riders_clause
from ..measure import Images, pose_error
from ..phrases import sentence
from ..wording import Wordings
from .kind import Fault, Kind, Limits, Words

_PLACES: Final = re.compile(r"^(?:places|positions|locations) of (?:the |an? )?")
"""Words before the names (`exchange the places of the vase and the lamp`)."""
_PARTNER: Final = re.compile(r" (?:and|with) (?:the |an? )")
_PLACE: Final = re.compile(r" (?:on(?: top of)?|in|under) the ")
"""In a name: what the object stands on."""
_RECIPROCAL: Final = ("switch places", "trade places", "swap places")
_VERBS: Final = ("Swap", "Exchange", "Switch")
_ENDS: Final = (
    ("{} and {}", "{} with {}"),
    ("the places of {} and {}", "the positions of {} and {}", "the locations of {} and {}"),
)


class Swap(Kind):
    name = "swap"
    summary = "two objects exchanged their places"
    words = Words(
        verbs="swap|exchange|interchange|switch(?! (?:on|off)\\b)|trade",
        participles="swapped|exchanged|interchanged|switched|traded",
        nouns="swap|exchange",
    )
    claims = frozenset({"object", "references", "riders"})
    places_objects = True

    def named_objects(self, phrase: str) -> dict[str, Any]:
        """`the vase and the lamp`: the second object is the reference."""
        first, *second = _PARTNER.split(_PLACES.sub("", phrase), maxsplit=1)
        return {"object": first, "references": second}

    def wordings(self, case: Case) -> Wordings:
        """Sentences with the names in both orders."""
        names = [case.name_of(one) for one in case.edited_objects]
        orders = [(a, b) for a, b in (names, names[::-1]) if " on the " not in a]
        # A name with a side comes second: `the mug on the left and the lamp` reads as if both were on the left.
        if case.supported:
            orders = [order for order in orders if not _PLACE.search(order[0])]
        orders = orders or [(names[0], names[1])]
        groups = [
            [sentence(f"{verb} {end.format(*order)}") for end, order in product(ends, orders)]
            for verb, ends in product(_VERBS, _ENDS)
        ]
        if case.supported:
            groups.append([sentence(f"make {a} and {b} {words}") for (a, b), words in product(orders, _RECIPROCAL)])
        return Wordings(groups)

    def facts(self, case: Case) -> Iterator[str]:
        first, second = (case.name_of(one) for one in case.edited_objects)
        yield f"after the edit, {first} stands where {second} stood before, and {second} where {first} stood"

    def object_clauses(self, claims: Claims, case: Case) -> Iterator[Clause]:
        """Either of the two may be named first."""
        yield _best([object_clause(case, claims.object, one) for one in case.edited_objects])

    def clauses(
        self, claims: Claims, case: Case, fronts: Mapping[int, float], tolerances: Tolerances
    ) -> Iterator[Clause]:
        """Whether the reference is the other one of the two objects."""
        if claims.riders == "along":
            yield riders_clause(case)
        if claims.relation != "none":
            return  # the relation tells which object is meant
        named = [one for one in case.edited_objects if object_clause(case, claims.object, one).outcome == "agrees"]
        others = [one for one in case.edited_objects if one not in named]
        # If the name fits both objects, their places show which one is meant.
        places = [list(place_clauses(claims, case, "target", one)) for one in named or case.edited_objects]
        yield from min(places, key=lambda clauses: [_RANK[clause.outcome] for clause in clauses])
        for text in claims.references:
            found = _best([object_clause(case, text, one) for one in others or case.edited_objects])
            yield Clause("partner", found.outcome, found.detail)

    def unseen(self, facts: PairFacts, images: Images, limits: Limits) -> Iterable[Fault]:
        for id in facts.edit.edited:
            before, after = images.masks(id)
            share = displacement(before, after) / min(before.shape)
            if share < limits.min_displacement and mask_iou(before, after) > 0.7:
                yield "moved_too_little", share

    def edit_error(self, edit: Edit, edited: SceneObject) -> float:
        """`translation` is that of the first object. The second moves in the opposite direction."""
        if edited.id == edit.object:
            return pose_error(edit, edited, about_base=False)
        opposite = edit.model_copy(update={"translation": [-value for value in edit.translation]})
        return pose_error(opposite, edited, about_base=False)


_RANK: Final = {"agrees": 0, "unchecked": 1, "contradicted": 2}


def _best(clauses: list[Clause]) -> Clause:
    """The first clause that agrees, else the first unchecked one, else the last."""
    by_outcome = {clause.outcome: clause for clause in reversed(clauses)}
    return by_outcome.get("agrees") or by_outcome.get("unchecked") or clauses[-1]
