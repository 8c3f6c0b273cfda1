"""Instructions labeled by hand with their claims, and the accuracy of the parser on them."""

import functools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spatialdata_builder.annotators.claims import Claims
from spatialdata_builder.annotators.parser.parse import parse

FILES = tuple(Path(__file__).with_name(f"labeled_{name}.jsonl") for name in ("instructions", "supports", "free"))
Group = Literal[
    "tuned",
    "held out",
    "tuned later",
    "fresh",
    "supports, tuned",
    "supports, held out",
    "supports, slang and notes",
    "supports, other people",
    "supports, untouched",
    "free, development",
    "free, held out",
    "free, later",
]
"""`tuned`: the first rules were developed on them. `held out`: labeled together with `tuned`, before there were rules,
and inspected once since. `tuned later`: written to measure the first rules, and used for tuning since, in three rounds.
`fresh`: written and labeled before the last of these rounds, and inspected once since.
`supports, tuned`, `supports, held out`: 100 sentences about what objects stand on, in and under, written and labeled
before there were rules for it, and split at random. The rules were developed on the first half.
`supports, slang and notes`, `supports, other people`: five lists of 40 that imitate different people. Each was read
once before the rules were tuned on it.
`supports, untouched`: written last, and the rules were not changed after it was read.
`free, development`, `free, held out`: 118 varied sentences by one author who had not read the rules, split at random.
The rules were developed on the first half. Of the second half, only the number of correct ones was looked at.
`free, later`: 40 sentences written after most of these rules, and read once before the rules were tuned on them."""


@dataclass(frozen=True)
class Labeled:
    text: str
    claims: Claims | None
    """None: asks for no known edit."""
    group: Group


@functools.cache
def labeled() -> tuple[Labeled, ...]:
    rows = [json.loads(line) for file in FILES for line in file.read_text(encoding="utf-8").splitlines()]
    return tuple(Labeled(row["text"], Claims(**row["claims"]) if row["claims"] else None, row["group"]) for row in rows)


def accuracy(rows: Sequence[Labeled]) -> dict[str, tuple[int, int]]:
    """By field: number of sentences where it is right, and where it is labeled or parsed. `whole`: all fields."""
    right, claimed = Counter[str](), Counter[str]()
    for row in rows:
        wrong = mistakes(row)
        fields = _claimed_fields(row.claims) | _claimed_fields(parse(row.text).claims) | {"edit"}
        claimed.update([*fields, "whole"])
        right.update(field for field in (*fields, "whole") if field not in wrong and (field != "whole" or not wrong))
    return {field: (right[field], claimed[field]) for field in claimed}


def undetected_mistakes(rows: Sequence[Labeled]) -> int:
    """Number of sentences with a mistake in which the parser reports that it understood every word."""
    return sum(bool(mistakes(row)) and not parse(row.text).rest and parse(row.text).claims is not None for row in rows)


def mistakes(row: Labeled) -> dict[str, tuple[Any, Any]]:
    """Wrong fields: the labeled and the parsed value."""
    read = parse(row.text).claims
    if read is None or row.claims is None:
        kinds = tuple(claims.edit if claims else "none" for claims in (row.claims, read))
        fields = _claimed_fields(row.claims) | _claimed_fields(read) | {"edit"}
        return {} if kinds[0] == kinds[1] else dict.fromkeys(fields, kinds)
    pairs = {name: (getattr(row.claims, name), getattr(read, name)) for name in Claims.model_fields}
    return {name: pair for name, pair in pairs.items() if not _same(*pair)}


def _claimed_fields(claims: Claims | None) -> set[str]:
    empty = Claims(edit="camera")
    return {name for name in Claims.model_fields if claims and getattr(claims, name) != getattr(empty, name)}


def _same(meant: Any, read: Any) -> bool:
    if isinstance(meant, float):
        return abs(meant - read) <= 0.01 * max(meant, read)
    return bool(meant == read)
