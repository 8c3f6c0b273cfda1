"""Check an instruction against a pair, clause by clause, from poses, boxes and camera.

Invariant: only what the instruction says and the facts determine is judged. The formulas are in the modules of the
clauses (`annotators.clauses`) and of the kinds of edits (`annotators.edits`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..case import Case
from ..claims import Claims
from ..clauses.amounts import amount_clause
from ..clauses.clause import DEFAULT, Clause, Outcome, Tolerances
from ..clauses.fronts import known_fronts
from ..edits.registry import kind_of
from ..parser.conclude import Parsed
from ..parser.parse import parse
from ..shots import shot_clauses
from .colors import color_clause


@dataclass(frozen=True)
class Verdict:
    """The judged clauses of an instruction."""

    clauses: tuple[Clause, ...]

    @property
    def outcome(self) -> Outcome:
        """`contradicted` if any clause is, else `unchecked` if any clause is or there are none, else `agrees`."""
        outcomes = {clause.outcome for clause in self.clauses}
        if "contradicted" in outcomes:
            return "contradicted"
        return "unchecked" if "unchecked" in outcomes or not outcomes else "agrees"

    @property
    def score(self) -> float:
        """Share of clauses that agree among those that were checked; -1 if none was."""
        checked = [clause for clause in self.clauses if clause.outcome != "unchecked"]
        return round(sum(clause.outcome == "agrees" for clause in checked) / len(checked), 6) if checked else -1.0

    @property
    def failing(self) -> str:
        """The contradicted clauses as text, such as `relation: says left of the mug, is right of it`."""
        return "; ".join(str(clause) for clause in self.clauses if clause.outcome == "contradicted")

    def as_json(self) -> dict[str, Any]:
        """Verdict, score, and the name, outcome and detail of each clause."""
        clauses = [{"name": c.name, "outcome": c.outcome, "detail": c.detail} for c in self.clauses]
        return {"verdict": self.outcome, "score": self.score, "clauses": clauses}


def check(claims: Claims, case: Case, tolerances: Tolerances = DEFAULT) -> Verdict:
    """Judge structured claims."""
    return Verdict(tuple(_clauses(claims, case, tolerances)))


def check_text(text: str, case: Case, tolerances: Tolerances = DEFAULT) -> Verdict:
    """Judge free text. Words that the parser does not understand become one unchecked clause, `text`.

    Color words are compared with the pixels, whether the parser understands their sentence or not.
    """
    names = {name for thing in case.facts.objects for name in (thing.name, thing.category)}
    verdict = check_parsed(parse(text, sorted(names)), case, tolerances)
    color = color_clause(case, text)
    return Verdict((*verdict.clauses, color)) if color else verdict


def check_parsed(parsed: Parsed, case: Case, tolerances: Tolerances = DEFAULT) -> Verdict:
    """Judge the parser's result for a text."""
    claims, edit = parsed.claims, case.facts.edit
    if claims and parsed.uses_red_box and kind_of(edit.kind).by_red_box:
        claims = claims.model_copy(update={"edit": edit.kind})
    clauses = check(claims, case, tolerances).clauses if claims else ()
    if claims and parsed.amount and claims.edit == edit.kind and edit.known:
        amount = kind_of(edit.kind).amount(case)
        clauses = clauses if amount is None else (*clauses, amount_clause(parsed.amount, amount))
    if parsed.shot and edit.kind == "camera":
        clauses = (*clauses, *shot_clauses(parsed.shot, case, known_fronts(case.facts)))
    if parsed.rest or not claims:
        rest = ", ".join(parsed.rest) or "no known edit"
        clauses = (*clauses, Clause("text", "unchecked", f"not understood: {rest}"))
    return Verdict(clauses)


def _clauses(claims: Claims, case: Case, tolerances: Tolerances) -> Iterator[Clause]:
    kind, claimed = kind_of(case.facts.edit.kind), kind_of(claims.edit)
    same = claimed is kind
    yield Clause("kind", "agrees" if same else "contradicted", f"says {claimed.name}, is {kind.name}")
    if kind.objects and claimed.objects and claims.object:
        yield from kind.object_clauses(claims, case)
    if same:  # claims of another kind have nothing to be compared with
        yield from kind.clauses(claims, case, known_fronts(case.facts), tolerances)
