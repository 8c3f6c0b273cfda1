"""Scale: one object changes its size in place.

Formulas: |log(claimed factor / true factor)| against log(1 + tolerance). Larger and smaller are judged by the sign of
the true logarithm. Factors are factors of lengths, and templates say so, since `twice as large` may mean the area.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from math import log

from ...shards.schema import Edit, PairFacts, SceneObject
from ..case import Case
from ..claims import Claims
from ..clauses.amounts import STILL_LOG, ratio_clause
from ..clauses.clause import Clause, Tolerances, truth_clause
from ..clauses.places import place_clauses
from ..clauses.supports import support_clauses
from ..measure import Images, pose_error
from ..phrases import is_plural, number
from ..wording import Group, Wordings
from .kind import ORIGIN_CLAIMS, PLACE_CLAIMS, Fault, Kind, Limits, Words
from .words import WORD_ENDS


class Scale(Kind):
    name = "scale"
    summary = "one object changed its size"
    words = Words(
        verbs="scale(?: up| down)?|upscale|downscale|blow(?: up)?|resize|rescale|enlarge|shrink|grow|magnify|expand"
        "|double|triple|halve|reduce|increase|decrease|inflate|diminish|upsize|downsize|miniaturi[sz]e",
        participles="scaled(?: up| down)?|upscaled|downscaled|resized|rescaled|enlarged|shrunk|magnified|expanded"
        "|doubled|tripled|halved|reduced|increased|decreased|inflated|diminished",
        nouns="scaling|enlargement|reduction|shrinking|increase|decrease",
        after_object=rf"(?:shrink|grow){WORD_ENDS}",
    )
    claims = PLACE_CLAIMS | ORIGIN_CLAIMS | {"size", "factor"}

    def wordings(self, case: Case) -> Wordings:
        """The factor of lengths, as a number, a percentage or a word."""
        x, factor = case.edited_name, case.facts.edit.scale
        if not case.facts.edit.known or factor == 1:
            return Wordings([])
        times, share = number(factor), number(100 * factor, 0)
        own = "their" if is_plural(x) else "its"
        if factor > 1:
            verbs = ("Enlarge", "Scale up", "Resize", "Scale")
            words = [
                f"Make {x} larger, {times} times as tall and as wide.",
                f"Make {x} {times} times as tall and as wide.",
                f"Scale {x} up by a factor of {times} in every dimension.",
            ]
        else:
            verbs = ("Shrink", "Scale down", "Resize", "Reduce")
            words = [
                f"Make {x} smaller, {share} % as tall and as wide as before.",
                f"Scale {x} by a factor of {times} in every dimension.",
            ]
        sizes = (f"of {own} height and width", f"of {own} original height and width")
        groups = [words, [f"{verb} {x} to {share} % {of}." for verb, of in product(verbs, sizes)]]
        groups.append(
            [f"Make {x} {'larger' if factor > 1 else 'smaller'}, to {share} % of {own} present height and width."]
        )
        groups += [_fraction(x, words, own) for value, words in _FRACTIONS if abs(factor - value) <= 0.02 * value]
        return Wordings(groups)

    def facts(self, case: Case) -> Iterator[str]:
        edit = case.facts.edit
        if edit.known and edit.scale != 1:
            word = "larger" if edit.scale > 1 else "smaller"
            yield f"new size: {number(edit.scale)} times the old size ({word})"

    def clauses(
        self, claims: Claims, case: Case, fronts: Mapping[int, float], tolerances: Tolerances
    ) -> Iterator[Clause]:
        yield from _size_clauses(claims, case, tolerances)
        yield from place_clauses(claims, case, fronts, "source")
        yield from support_clauses(claims, case, "source")

    def unseen(self, facts: PairFacts, images: Images, limits: Limits) -> Iterator[Fault]:
        for id in facts.edit.edited:
            before, after = images.masks(id)
            ratio = float(max(after.sum(), 1) / max(before.sum(), 1))
            ratio = ratio if facts.edit.scale > 1 else 1 / ratio
            if ratio < limits.min_scale_change:
                yield "scaled_too_little", ratio

    def amount(self, case: Case) -> float | None:
        """The change of size, relative to a factor of 1.4 (both as logarithms)."""
        return abs(log(case.facts.edit.scale)) / log(1.4)

    def edit_error(self, edit: Edit, edited: SceneObject) -> float:
        return pose_error(edit, edited, about_base=True)


_FRACTIONS: tuple[tuple[float, str], ...] = (
    (0.5, "half"),
    (2 / 3, "two thirds"),
    (0.75, "three quarters"),
    (1.5, "one and a half times"),
    (2.0, "twice"),
)


def _fraction(x: str, words: str, own: str) -> Group:
    of = "of " if words in ("two thirds", "three quarters") else ""
    verb = "Shrink" if words == "half" or of else "Enlarge"
    return [
        f"{verb} {x} to {words} {of}{own} original height and width.",
        f"Make {x} {words} as tall and {words} as wide.",
    ]


def _size_clauses(claims: Claims, case: Case, tolerances: Tolerances) -> list[Clause]:
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
        found.append(truth_clause("size", agrees, not agrees, f"says {claims.size}, is {true:.2f} times as large"))
    if claims.factor:
        found.append(ratio_clause("factor", claims.factor, true, tolerances.factor, f"is {true:.2f}"))
    return found
