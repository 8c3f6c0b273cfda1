"""Check an instruction against the geometry of its pair, and drop or replace contradicted texts.

Invariant: contradicted texts are kept only if the configuration says so. A replacement is a template's sentence, which
is checked in the same way.
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
    """A checked instruction, with dropped and replaced texts."""

    verdict: Verdict
    """Of `instruction.text`."""
    instruction: Instruction
    changed: bool = False
    """Whether `instruction` differs from the one that was checked: variants were dropped, or it was rewritten."""
    replaced: str = ""
    """The contradicted clauses of a text that a template replaced."""
    dropped: tuple[str, ...] = ()
    """The contradicted clauses of each dropped variant."""

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
    """Judge the text (with the claims of its writer) and every variant.

    Contradicted variants are dropped. If none is left, the text becomes the only variant, since the schema requires
    one. A contradicted text is replaced if `on_contradiction` is `rewrite` and the templates have a sentence for the
    pair. Otherwise it is returned with its verdict, and the caller rejects or keeps it. `keep` also keeps all variants.

    Args:
        claims: the claims of the model that wrote the text; None if there are none.
        key: the sample's key, which seeds the choice of a template's sentence.
    """
    verdict = merge(check_text(instruction.text, case, tolerances), claims, case, tolerances)
    if verdict.outcome == "contradicted":
        rewritten = _rewritten(instruction, case, key) if on_contradiction == "rewrite" else None
        if rewritten is None:
            return Checked(verdict, instruction)
        checked = check_instruction(rewritten, None, case, key, "reject", tolerances)
        return replace(checked, changed=True, replaced=verdict.failing)
    if on_contradiction == "keep":
        return Checked(verdict, instruction)
    judged = [(text, check_text(text, case, tolerances)) for text in instruction.variants]
    kept = [text for text, found in judged if found.outcome != "contradicted"]
    dropped = tuple(found.failing for _, found in judged if found.outcome == "contradicted")
    pruned = instruction.model_copy(update={"variants": kept or [instruction.text]})
    return Checked(verdict, pruned if dropped else instruction, changed=bool(dropped), dropped=dropped)


def merge(text: Verdict, claims: Claims | None, case: Case, tolerances: Tolerances) -> Verdict:
    """Merge the verdict on a text with the verdict on its writer's claims.

    A clause is contradicted if either verdict contradicts it, else it agrees if either does. The unchecked clause
    `text` is dropped if the parser found every claimed clause in the text. Otherwise only the writer says that the text
    means what is claimed.
    """
    if claims is None:
        return text
    both: dict[str, Clause] = {}
    rank = {"contradicted": 2, "agrees": 1, "unchecked": 0}
    claimed = check(claims, case, tolerances).clauses
    read = {clause.name for clause in text.clauses}
    all_read = all(clause.name in read for clause in claimed)
    for clause in (*text.clauses, *claimed):
        known = both.get(clause.name)
        if clause.name == "text" and all_read:
            continue
        if known is None or rank[clause.outcome] > rank[known.outcome]:
            both[clause.name] = clause
    return Verdict(tuple(both.values()))


def _rewritten(instruction: Instruction, case: Case, key: str) -> Instruction | None:
    texts = instructions(case, len(instruction.variants), generator(key))
    if isinstance(texts, str):
        return None
    return Instruction(text=texts[0], variants=texts[1:], method="template", model="", verified=False)
