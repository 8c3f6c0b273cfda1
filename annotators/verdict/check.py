"""Whether an instruction is true of a pair, clause by clause, by arithmetic on poses, boxes and camera.

Invariant: nothing is judged that the facts do not tell, and nothing that the instruction does not say. The formulas
stand in the modules of the clauses: `names`, `places`, `moves`, `amounts`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..case import Case
from ..claims import Claims
from ..parser.conclude import Parsed
from ..parser.parse import parse
from .amounts import (
    amount_clause,
    camera_clauses,
    known_fronts,
    size_clauses,
    turn_clauses,
    view_clause,
)
from .clause import DEFAULT, Clause, Outcome, Tolerances
from .colors import color_clause
from .moves import direction_clause, length_clauses
from .names import object_clause
from .places import part_clause, relation_clause


@dataclass(frozen=True)
class Verdict:
    """`agrees`: every clause does. `contradicted`: at least one is. `unchecked`: none is, but not all could be told."""

    clauses: tuple[Clause, ...]

    @property
    def outcome(self) -> Outcome:
        outcomes = {clause.outcome for clause in self.clauses}
        if "contradicted" in outcomes:
            return "contradicted"
        return "unchecked" if "unchecked" in outcomes or not outcomes else "agrees"

    @property
    def score(self) -> float:
        """Share of the clauses that could be checked that agree; -1 where none could."""
        checked = [clause for clause in self.clauses if clause.outcome != "unchecked"]
        return round(sum(clause.outcome == "agrees" for clause in checked) / len(checked), 6) if checked else -1.0

    @property
    def failing(self) -> str:
        """The contradicted clauses as text, such as `relation: says left of the mug, is right of it`."""
        return "; ".join(str(clause) for clause in self.clauses if clause.outcome == "contradicted")

    def as_json(self) -> dict[str, Any]:
        """Plain values: verdict, score, and each clause's name, outcome and detail."""
        clauses = [{"name": c.name, "outcome": c.outcome, "detail": c.detail} for c in self.clauses]
        return {"verdict": self.outcome, "score": self.score, "clauses": clauses}


def check(claims: Claims, case: Case, tolerances: Tolerances = DEFAULT) -> Verdict:
    """Judge structured claims."""
    return Verdict(tuple(_clauses(claims, case, known_fronts(case.facts), tolerances)))


def check_text(text: str, case: Case, tolerances: Tolerances = DEFAULT) -> Verdict:
    """Judge free text as far as the parser understands it; what it does not is one clause more, `text`, unchecked.

    Its words of color are held against the pixels, understood or not.
    """
    names = {name for thing in case.facts.objects for name in (thing.name, thing.category)}
    verdict = check_parsed(parse(text, sorted(names)), case, tolerances)
    color = color_clause(case, text)
    return Verdict((*verdict.clauses, color)) if color else verdict


def check_parsed(parsed: Parsed, case: Case, tolerances: Tolerances = DEFAULT) -> Verdict:
    """Judge what the parser made of a text."""
    claims, kind = parsed.claims, case.facts.edit.kind
    if claims and parsed.boxed and kind in ("translate", "scale"):
        claims = claims.model_copy(update={"edit": kind})
    clauses = check(claims, case, tolerances).clauses if claims else ()
    if claims and parsed.amount and claims.edit == kind and (said := amount_clause(parsed.amount, case)):
        clauses = (*clauses, said)
    if parsed.rest or not claims:
        rest = ", ".join(parsed.rest) or "no known edit"
        clauses = (*clauses, Clause("text", "unchecked", f"not understood: {rest}"))
    return Verdict(clauses)


def _clauses(claims: Claims, case: Case, fronts: Mapping[int, float], tolerances: Tolerances) -> Iterator[Clause]:
    kind = case.facts.edit.kind
    yield Clause("kind", "agrees" if claims.edit == kind else "contradicted", f"says {claims.edit}, is {kind}")
    if kind != "camera" and claims.edit != "camera" and claims.object:
        yield object_clause(case, claims.object)
    if claims.edit != kind:
        return  # what it says of another kind of edit has no counterpart
    match kind:
        case "camera":
            yield from camera_clauses(claims, case, tolerances)
            return
        case "rotate":
            yield from turn_clauses(claims, case, tolerances)
            if claims.view != "none":
                yield view_clause(claims, case, fronts)
        case "scale":
            yield from size_clauses(claims, case, tolerances)
        case "translate":
            if claims.directions:
                yield direction_clause(claims, case, fronts)
            yield from length_clauses(claims, case, tolerances)
        case _:
            pass
    if claims.relation != "none" and claims.references:
        yield relation_clause(claims, case, fronts)
    if claims.part != "none":
        yield part_clause(claims, case)
