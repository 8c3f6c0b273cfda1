"""Insert: one object is put into the scene."""

from collections.abc import Iterator, Mapping
from itertools import product

from ...shards.schema import PairFacts
from ..case import Case
from ..claims import Claims
from ..clauses.clause import Clause, Tolerances
from ..clauses.places import place_clauses
from ..clauses.supports import support_clauses
from ..directions import place_in_image
from ..measure import Images
from ..phrases import indefinite
from ..wording import Group, Wordings, related, sentences, where
from .kind import PLACE_CLAIMS, Fault, Kind, Limits, Words
from .standing import inserted_onto


class Insert(Kind):
    name = "insert"
    summary = "one object was put into the scene"
    words = Words(
        verbs="add|insert|introduce|include|create|bring in|install|incorporate|integrate"
        r"|(?:put in|generate|render|draw|paint)(?= an? )"
        "|there (?:should |must |shall |can |could |needs to )?(?:now |also )?(?:be|is|are)(?= (?:now )?(?:an?|one|some"
        "|another)(?: |$))|let there be|(?:i want|we need|show)(?= an? )",
        participles="added|inserted|introduced|created|included|generated|installed",
        nouns="addition|insertion",
    )
    claims = PLACE_CLAIMS | {"part"}
    in_source = False
    places_objects = True

    def wordings(self, case: Case) -> Wordings:
        """The new object by its indefinite name, and its place: relations, and the part of the image."""
        a = indefinite(case.edited_noun)
        if case.supported:
            return self._on_support(case, a)
        groups: list[Group] = []
        for relation in case.new_relations:
            verbs = ("put", "place") if relation.kind == "into" else ("add", "place", "put", "insert")
            groups.append(sentences(verbs, a, where(relation, case.names)))
        place = place_in_image(case) if all(relation.kind != "into" for relation in case.target_relations) else []
        groups.append([f"{verb} {a} {words}." for verb, words in product(("Add", "Place", "Insert"), place)])
        return Wordings(groups, [_loose(a)])

    def _on_support(self, case: Case, a: str) -> Wordings:
        groups = inserted_onto(case, a)
        place = [f"{verb} {a} {words}." for verb, words in product(("Add", "Place"), place_in_image(case))]
        if case.edited.target_support.kind == "floor":
            return Wordings([*groups, place], [_loose(a)])
        return Wordings(groups, [place, _loose(a)])

    def facts(self, case: Case) -> Iterator[str]:
        yield from related("in the target image it is", case.target_relations, case.names)
        for place in place_in_image(case)[:1]:
            yield f"it stands {place}"

    def clauses(
        self, claims: Claims, case: Case, fronts: Mapping[int, float], tolerances: Tolerances
    ) -> Iterator[Clause]:
        yield from place_clauses(claims, case, fronts, "target")
        yield from support_clauses(claims, case, "target")

    def unseen(self, facts: PairFacts, images: Images, limits: Limits) -> tuple[Fault, ...]:
        """None: an object that is absent in the source and visible in the target is a visible edit."""
        return ()


def _loose(a: str) -> Group:
    ends = ("to the scene", "to the picture", "to the image")
    places = [f"Add {a} {words}." for words in ends] + [f"Insert {a} into the scene."]
    return [*places, f"There should be {a} in the scene."]
