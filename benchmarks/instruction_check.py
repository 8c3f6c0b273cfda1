"""Accuracy of the instruction parser, and recall and precision of the geometry check of instructions.

    python benchmarks/instruction_check.py [--scenes 300] [--rooms 300] [--show 0]
        [--sampled 0] [--first 0] [--kinds room,tabletop,garden] [--models FOLDER]

Three tables. Parser: for each field, the share of labeled sentences with the right value, among those in which the
field is stated or was parsed; for the sentences that the rules were written for, and for held-out ones
(tests/annotators/parser/labeled_*.jsonl). Templates: verdicts on true instructions of sampled procedural
scenes (not rendered; boxes are projected). Planted errors: the share that is contradicted (recall) per kind of error,
and the share of false instructions among the contradicted ones (precision); true instructions are the templates'
sentences and rewordings of them. Then the same for furnished rooms. With `--sampled`, the templates' instructions,
variants and captions of so many proposed scenes of each furnished kind, of procedural models or those of a folder in
Objaverse's layout: how many the check contradicts, and how many are false by the poses (`tests.annotators.oracle`).
For color words, each object has the pixels of its color, or of any other if its color has no name.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
from planned import Build, settings_of

from spatialdata_builder.annotators.captions import caption
from spatialdata_builder.annotators.case import Case, noun_phrase
from spatialdata_builder.annotators.phrases import bare
from spatialdata_builder.annotators.relations import StateName, present
from spatialdata_builder.annotators.templates import instructions
from spatialdata_builder.annotators.verdict.check import Verdict, check_text
from spatialdata_builder.annotators.verdict.colors import caption_clause
from spatialdata_builder.shards.colors import PALETTE, Floats, to_oklab
from spatialdata_builder.shards.schema import EDIT_KINDS, PairFacts
from spatialdata_builder.sources.edits.proposals import propose
from spatialdata_builder.sources.scenes.naming import name_objects
from spatialdata_builder.sources.scenes.spec import SceneKind, SceneSpec
from tests.annotators.oracle import false_caption
from tests.annotators.parser.labeled import Group, accuracy, labeled, undetected_mistakes
from tests.annotators.planted import planted, reworded, twins
from tests.annotators.rooms import SIDE as ROOM_SIDE
from tests.annotators.rooms import facts_of, on_shelf, rooms
from tests.annotators.scenes import SIDE, scenes

STATES: tuple[StateName, ...] = ("source", "target")
_TRIES = 10
"""Most proposals for each scene that is asked for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--rooms", type=int, default=300)
    parser.add_argument("--sampled", type=int, default=0, help="proposed scenes of each furnished kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed of these scenes")
    parser.add_argument("--kinds", default="room,tabletop,garden", help="of these scenes")
    parser.add_argument("--models", default="", help="a folder in Objaverse's layout; default: procedural models")
    parser.add_argument("--show", type=int, default=0, help="number of errors of each kind to print")
    arguments = parser.parse_args()
    print_parser()
    if arguments.scenes:
        print("\nopen scenes")
        print_verdicts([Case(facts, SIDE, SIDE) for facts, _ in scenes(arguments.scenes)], arguments.show)
    if arguments.rooms:
        print("\nrooms")
        print_verdicts(_rooms(arguments.rooms), arguments.show)
    if arguments.sampled:
        print_sampled(arguments.kinds.split(","), arguments.sampled, arguments.first, arguments.models, arguments.show)


def print_sampled(kinds: Iterable[SceneKind], count: int, first: int, folder: str, show: int) -> None:
    """Templates' texts and captions of proposed scenes that the check contradicts or that are false by the poses."""
    with tempfile.TemporaryDirectory() as scratch:
        build = Build.planned([*settings_of(folder), "scene.physics=off"], Path(scratch))
    for kind in kinds:
        found = Counter[str]()
        for case in _sampled(kind, build, count, first):
            found["scenes"] += 1
            wrong: list[tuple[str, str, str]] = []
            texts = instructions(case, 6, np.random.default_rng(0))
            for text in () if isinstance(texts, str) else texts:
                found["texts"] += 1
                verdict = check_text(text, case)
                found[f"texts {verdict.outcome}"] += 1
                wrong += [("text contradicted", text, verdict.failing)] if verdict.outcome == "contradicted" else []
            for state in STATES:
                text = caption(case.facts, state, np.random.default_rng(0))
                found["captions"] += 1
                nouns = {
                    one.id: noun_phrase(case.facts, one, bare(one.category))
                    for one in case.facts.objects
                    if present(case.facts, one, state)
                }
                false = list(false_caption(case.facts, text, state, nouns))
                wrong += [("caption false", text, "; ".join(false))] if false else []
                color = caption_clause(case, text, state)
                wrong += [("caption contradicted", text, str(color))] if color else []
            for name, text, detail in wrong:
                found[name] += 1
                if found[name] <= show:
                    print(name, text, detail, sep=" | ")
        print(f"{kind}: {_json(found)}")


def _sampled(kind: SceneKind, build: Build, count: int, seed: int) -> Iterator[Case]:
    """Proposed edits of all kinds in scenes of one kind; fewer than `count` if most proposals are not valid."""
    options = build.options(kind)
    last = seed + _TRIES * count
    while count and seed < last:
        candidates, furniture = build.candidates(seed)
        edit = EDIT_KINDS[seed % len(EDIT_KINDS)]
        spec = propose(candidates, edit, options, (ROOM_SIDE, ROOM_SIDE), seed, 0, furniture)
        seed += 1
        if not isinstance(spec, SceneSpec) or isinstance(names := name_objects(spec), str):
            continue
        count -= 1
        facts = facts_of(spec, names)
        yield Case(facts, ROOM_SIDE, ROOM_SIDE, _pixels(facts, np.random.default_rng(seed)))


def _pixels(facts: PairFacts, rng: np.random.Generator) -> dict[tuple[int, StateName], Floats]:
    """Pixels of the color of each object of which at least 24 pixels may be in sight."""
    found: dict[tuple[int, StateName], Floats] = {}
    for one, color in zip(facts.objects, facts.colours, strict=True):
        shade = PALETTE[color] if color else PALETTE[sorted(PALETTE)[int(rng.integers(len(PALETTE)))]]
        for state in STATES:
            x0, y0, x1, y1 = getattr(one, f"{state}_box")
            if (x1 - x0) * (y1 - y0) * getattr(one, f"{state}_visible") >= 48:
                found[one.id, state] = to_oklab(np.array([shade] * 24) / 255)
    return found


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
