"""Accuracy of the instruction parser, and recall and precision of the geometry check of instructions.

    python benchmarks/instruction_check.py [--scenes 300] [--rooms 300] [--show 0]

Three tables. Parser: for each field, the share of labeled sentences with the right value, among those in which the
field is stated or was parsed; for the sentences that the rules were written for, and for held-out ones
(tests/annotators/parser/labeled_*.jsonl). Templates: verdicts on true instructions of sampled procedural
scenes (not rendered; boxes are projected). Planted errors: the share that is contradicted (recall) per kind of error,
and the share of false instructions among the contradicted ones (precision); true instructions are the templates'
sentences and rewordings of them. Then the same for furnished rooms.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spatialdata_builder.annotators.case import Case
from spatialdata_builder.annotators.templates import instructions
from spatialdata_builder.annotators.verdict.check import Verdict, check_text
from tests.annotators.parser.labeled import Group, accuracy, labeled, undetected_mistakes
from tests.annotators.planted import planted, reworded, twins
from tests.annotators.rooms import SIDE as ROOM_SIDE
from tests.annotators.rooms import on_shelf, rooms
from tests.annotators.scenes import SIDE, scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--rooms", type=int, default=300)
    parser.add_argument("--show", type=int, default=0, help="number of errors of each kind to print")
    arguments = parser.parse_args()
    print_parser()
    print("\nopen scenes")
    print_verdicts([Case(facts, SIDE, SIDE) for facts, _ in scenes(arguments.scenes)], arguments.show)
    print("\nrooms")
    print_verdicts(_rooms(arguments.rooms), arguments.show)


def print_parser() -> None:
    groups = get_args(Group)
    found = {group: accuracy([row for row in labeled() if row.group == group]) for group in groups}
    counts = {group: sum(row.group == group for row in labeled()) for group in groups}
    print("parser, right / stated " + "  ".join(f"{group} ({counts[group]})".rjust(28) for group in groups))
    for field in sorted({field for table in found.values() for field in table}):
        cells = (found[group].get(field, (0, 0)) for group in groups)
        print(f"{field:22} " + "  ".join(f"{right}/{said} {_share(right, said)}".rjust(28) for right, said in cells))
    mistakes = (undetected_mistakes([row for row in labeled() if row.group == group]) for group in groups)
    cells = (f"{count}/{counts[group]}".rjust(28) for group, count in zip(groups, mistakes, strict=True))
    print(f"{'wrong, none unparsed':22} " + "  ".join(cells))


def print_verdicts(cases: Iterable[Case], show: int) -> None:
    true, rephrased = Counter[str](), Counter[str]()
    errors: dict[str, Counter[str]] = {}
    clauses = Counter[str]()
    for case, text in _true(cases):
        verdict = check_text(text, case)
        true[verdict.outcome] += 1
        clauses.update(clause.outcome for clause in verdict.clauses)
        _show("templates", verdict, text, "agrees", true, show)
        for rewording in reworded(text):
            found = check_text(rewording, case)
            rephrased[found.outcome] += 1
            if found.outcome == "contradicted":
                _show("reworded", found, rewording, "agrees", rephrased, show)
        for kind, false in planted(case.facts, text):
            found = check_text(false, case)
            errors.setdefault(kind, Counter())[found.outcome] += 1
            _show(kind, found, false, "contradicted", errors[kind], show)
    print(f"\ntrue instructions: templates {_json(true)}; clauses {_json(clauses)}")
    print(f"reworded: {_json(rephrased)}")
    total = sum(errors.values(), Counter[str]())
    for kind, table in [*sorted(errors.items()), ("all", total)]:
        print(f"planted {kind:10} recall {_share(table['contradicted'], table.total())}  {_json(table)}")
    false, wrong = total["contradicted"], true["contradicted"] + rephrased["contradicted"]
    print(f"precision {_share(false, false + wrong)} ({false} of {false + wrong} contradicted are false)")


def _rooms(count: int) -> Iterator[Case]:
    """Rooms; where possible, also with two tables, and with shelves of three."""
    for number, facts in enumerate(rooms(count)):
        for shown in (facts, twins(facts), on_shelf(facts, 1 + number % 3, 3)):
            if shown is not None:
                yield Case(shown, ROOM_SIDE, ROOM_SIDE)


def _true(cases: Iterable[Case]) -> Iterator[tuple[Case, str]]:
    for case in cases:
        texts = instructions(case, 7, np.random.default_rng(0))
        if not isinstance(texts, str):
            yield from ((case, text) for text in texts)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:5.1f} %" if whole else "      -"


def _json(table: Counter[str]) -> str:
    return json.dumps(dict(sorted(table.items())))


def _show(kind: str, verdict: Verdict, text: str, expected: str, table: Counter[str], limit: int) -> None:
    if verdict.outcome != expected and table.total() - table[expected] <= limit:
        print(f"{kind}: {text!r} {verdict.outcome}: {'; '.join(map(str, verdict.clauses))}")


if __name__ == "__main__":
    main()
