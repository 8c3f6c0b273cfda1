"""Remove: one object is taken out of the scene."""

from collections.abc import Iterator, Mapping
from itertools import product

from ...shards.schema import PairFacts
from ..case import Case
from ..claims import Claims
from ..clauses.clause import Clause, Tolerances
from ..clauses.places import place_clauses
from ..clauses.supports import support_clauses
from ..measure import Images
from ..phrases import is_plural
from ..wording import Wordings, related, stands
from .kind import ORIGIN_CLAIMS, PLACE_CLAIMS, Fault, Kind, Limits, Words
from .standing import removed_from


class Remove(Kind):
    name = "remove"
    summary = "one object was taken out of the scene"
    words = Words(
        verbs="remove|delete|erase|eliminate|discard|dispose of|do away with|hide|omit|get rid of|clear|cut|wipe"
        "|take out|take away|strip(?: the (?:picture|image|scene) of)?|throw (?:out|away)|toss out|edit out|crop out"
        "|exclude|subtract|scrub|withdraw",
        participles="removed|deleted|erased|eliminated|discarded|omitted|hidden|cleared|taken (?:out|away|off)|cut out"
        "|wiped|thrown (?:out|away)|edited out|excluded|withdrawn",
        nouns="removal|deletion",
    )
    claims = PLACE_CLAIMS | ORIGIN_CLAIMS | {"part"}
    in_target = False

    def wordings(self, case: Case) -> Wordings:
        """The object by its name, some with its place in the source."""
        x = case.edited_name
        ends = ("", " from the scene", " from the image", " from the picture")
        groups = [
            [f"{verb} {x}{end}." for verb, end in product(("Remove", "Erase", "Delete"), ends)],
            [f"Take {x} away.", f"Take {x} out of the scene.", f"Get rid of {x}.", f"Clear {x} away."],
            [f"Make {x} disappear.", f"Edit {x} out of the image.", f"Leave everything as it is, but without {x}."],
        ]
        verb = "are" if is_plural(x) else "is"
        # Avoid `the left mug that is next to the right mug`.
        same_noun = {id for id, name in case.names.items() if name.split()[-1] == x.split()[-1]}
        for relation in case.source_relations:
            if not same_noun & set(relation.others):
                place = stands(relation, case.names)
                groups.append([f"{start} {x} that {verb} {place}." for start in ("Remove", "Delete", "Take away")])
        if case.supported:
            groups += removed_from(case)
        return Wordings(groups)

    def facts(self, case: Case) -> Iterator[str]:
        yield from related("in the source image it is", case.source_relations, case.names)

    def clauses(
        self, claims: Claims, case: Case, fronts: Mapping[int, float], tolerances: Tolerances
    ) -> Iterator[Clause]:
        yield from place_clauses(claims, case, fronts, "source")
        yield from support_clauses(claims, case, "source")

    def unseen(self, facts: PairFacts, images: Images, limits: Limits) -> tuple[Fault, ...]:
        """None: an object that is visible in the source and absent in the target is a visible edit."""
        return ()
