"""An instruction held against the geometry of its pair, and what becomes of it.

Invariant: no text that geometry contradicts goes on, unless the configuration keeps it; what takes its place is a
template's, held against the same geometry.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...shards.schema import Instruction
from ..case import Case
from ..claims import Claims
from ..clauses.clause import Clause, Tolerances
from ..templates import generator, instructions
from .check import Verdict, check, check_text

OnContradiction = Literal["reject", "rewrite", "keep"]


@dataclass(frozen=True)
class Checked:
    """An instruction as it may go on, and why."""

    verdict: Verdict
    """Of `instruction.text`."""
    instruction: Instruction
    changed: bool = False
    """Whether `instruction` is not what came in: variants are dropped, or all of it is rewritten."""
    replaced: str = ""
    """What was wrong with the text that a template's replaced."""
    dropped: tuple[str, ...] = ()
    """What was wrong with each variant that was dropped."""

    def as_json(self) -> str:
        """`verdict`, `score` and `clauses` of the text; `replaced` and `dropped` as above."""
        values: dict[str, Any] = {**self.verdict.as_json(), "replaced": self.replaced, "dropped": list(self.dropped)}
        return json.dumps(values, ensure_ascii=False)


def check_instruction(
    instruction: Instruction,
    claims: Claims | None,
    case: Case,
    key: str,
    on_contradiction: OnContradiction,
    tolerances: Tolerances,
) -> Checked:
    """Judge the text (and the claims that came with it) and every variant.

    Contradicted variants are dropped; where none is left the text stands for one, as the schema asks for. A
    contradicted text is replaced where `on_contradiction` is `rewrite` and the facts bear a template's sentence; else
    it is handed back with its verdict, for the caller to reject or to keep (with `keep`, with all its variants).
    """
    verdict = merged(check_text(instruction.text, case, tolerances), claims, case, tolerances)
    if verdict.outcome == "contradicted":
        rewritten = _rewritten(instruction, case, key) if on_contradiction == "rewrite" else None
        if rewritten is None:
            return Checked(verdict, instruction)
        again = check_instruction(rewritten, None, case, key, "reject", tolerances)
        return replace(again, changed=True, replaced=verdict.failing)
    if on_contradiction == "keep":
        return Checked(verdict, instruction)
    judged = [(text, check_text(text, case, tolerances)) for text in instruction.variants]
    kept = [text for text, found in judged if found.outcome != "contradicted"]
    dropped = tuple(found.failing for _, found in judged if found.outcome == "contradicted")
    pruned = instruction.model_copy(update={"variants": kept or [instruction.text]})
    return Checked(verdict, pruned if dropped else instruction, changed=bool(dropped), dropped=dropped)


def merged(text: Verdict, claims: Claims | None, case: Case, tolerances: Tolerances) -> Verdict:
    """The verdict on a text together with that on the claims of whoever wrote it.

    Clause by clause: contradicted where either is, else in agreement where either is. Words that the parser did not
    take leave nothing open where it read by itself of all that is claimed; else nobody but the writer says that the
    text means what is claimed.
    """
    if claims is None:
        return text
    both: dict[str, Clause] = {}
    rank = {"contradicted": 2, "agrees": 1, "unchecked": 0}
    claimed = check(claims, case, tolerances).clauses
    read = {clause.name for clause in text.clauses}
    heard = all(clause.name in read for clause in claimed)
    for clause in (*text.clauses, *claimed):
        known = both.get(clause.name)
        if clause.name == "text" and heard:
            continue
        if known is None or rank[clause.outcome] > rank[known.outcome]:
            both[clause.name] = clause
    return Verdict(tuple(both.values()))


def _rewritten(instruction: Instruction, case: Case, key: str) -> Instruction | None:
    texts = instructions(case, len(instruction.variants), generator(key))
    if isinstance(texts, str):
        return None
    return Instruction(text=texts[0], variants=texts[1:], method="template", model="", verified=False)
