"""Instructions labelled by hand with what they claim, and how often the parser reads a field as labelled."""

import functools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spatialdata_builder.annotators.claims import Claims
from spatialdata_builder.annotators.parser.parse import parse

FILE = Path(__file__).with_name("labelled_instructions.jsonl")
Group = Literal["tuned", "held out", "tuned later", "fresh"]
"""`tuned`: the first rules were made on them. `held out`: labelled with the first of those, before there were rules,
and looked at once since. `tuned later`: written after the first rules, to measure them, and tuned on since, in three
rounds. `fresh`: written and labelled before the rules were tuned on the last of those, and not looked at since."""


@dataclass(frozen=True)
class Labelled:
    text: str
    claims: Claims | None
    """None: asks for no edit that there is."""
    group: Group


@functools.cache
def labelled() -> tuple[Labelled, ...]:
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    return tuple(
        Labelled(row["text"], Claims(**row["claims"]) if row["claims"] else None, row["group"]) for row in rows
    )


def accuracy(rows: Sequence[Labelled]) -> dict[str, tuple[int, int]]:
    """By field: in how many sentences it is right, of those that say it or where it was read; `whole`: all fields."""
    right, said = Counter[str](), Counter[str]()
    for row in rows:
        wrong = mistakes(row)
        fields = _said(row.claims) | _said(parse(row.text).claims) | {"edit"}
        said.update([*fields, "whole"])
        right.update(field for field in (*fields, "whole") if field not in wrong and (field != "whole" or not wrong))
    return {field: (right[field], said[field]) for field in said}


def deceived(rows: Sequence[Labelled]) -> int:
    """In how many sentences something is wrong although every word was understood, as the parser has it."""
    return sum(bool(mistakes(row)) and not parse(row.text).rest and parse(row.text).claims is not None for row in rows)


def mistakes(row: Labelled) -> dict[str, tuple[Any, Any]]:
    """Fields that are not read as labelled: what is meant, and what was read."""
    read = parse(row.text).claims
    if read is None or row.claims is None:
        kinds = tuple(claims.edit if claims else "none" for claims in (row.claims, read))
        return {} if kinds[0] == kinds[1] else dict.fromkeys(_said(row.claims) | _said(read) | {"edit"}, kinds)
    pairs = {name: (getattr(row.claims, name), getattr(read, name)) for name in Claims.model_fields}
    return {name: pair for name, pair in pairs.items() if not _same(*pair)}


def _said(claims: Claims | None) -> set[str]:
    silent = Claims(edit="camera")
    return {name for name in Claims.model_fields if claims and getattr(claims, name) != getattr(silent, name)}


def _same(meant: Any, read: Any) -> bool:
    if isinstance(meant, float):
        return abs(meant - read) <= 0.01 * max(meant, read)
    return bool(meant == read)
