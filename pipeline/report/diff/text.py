"""Print a comparison of two builds."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...terminal import terminal

_BRIEF = 60
_NAMED = 5
_SPREAD = ("samples", "mean", "p5", "p50", "p95")
"""The columns that fit a terminal of 80 columns."""


def print_diff(found: dict[str, Any]) -> None:
    """Print the differences, section by section, and the scores side by side."""
    console = terminal(highlight=False, soft_wrap=True)
    for name in ("first", "second"):
        side = found[name]
        pending = f", {side['pending']} not computed yet" if side["pending"] else ""
        damaged = f", {side['damaged']} unreadable records" if side["damaged"] else ""
        console.print(
            f"{name}: {escape(side['out'])}: plan {side['plan'][:12]}, {side['samples']} samples, {side['accepted']} "
            f"accepted, {side['rejected']} rejected{pending}{damaged}"
        )
    _plan(console, found)
    _configuration(console, found)
    _layers(console, found)
    _samples(console, found)
    _scores(console, found)


def _plan(console: Console, found: Mapping[str, Any]) -> None:
    one, other = found["first"], found["second"]
    for name in ("samples", "unit_size", "seed", "versions"):
        if one[name] != other[name]:
            console.print(f"plan: {name} {escape(_brief(one[name]))} -> {escape(_brief(other[name]))}")
    for what in ("keys", "assets"):
        sets = found[what]
        if sets["gone"]["count"] or sets["added"]["count"]:
            gone, added = _some(sets["gone"]), _some(sets["added"])
            console.print(f"{what}: {sets['common']} in both; gone {escape(gone)}; added {escape(added)}")


def _configuration(console: Console, found: Mapping[str, Any]) -> None:
    if not found["configuration"]:
        console.print("configuration: identical")
        return
    table = Table("configuration", "first", "second", box=SIMPLE)
    for entry in found["configuration"]:
        table.add_row(*(escape(_brief(entry[name])) for name in ("key", "first", "second")))
    console.print(table)


def _layers(console: Console, found: Mapping[str, Any]) -> None:
    same = [layer["layer"] for layer in found["layers"] if layer["same"]]
    if same:
        console.print(f"identical layers: {', '.join(same)}")
    if len(same) == len(found["layers"]):
        return
    table = Table("layer", "first", "second", "difference", box=SIMPLE)
    for layer in found["layers"]:
        if not layer["same"]:
            sides = [
                f"{layer[name].rpartition('-')[2]} {done}/{all_of}" if layer[name] else ""
                for name, (done, all_of) in zip(("first", "second"), layer["units"], strict=True)
            ]
            table.add_row(layer["layer"], *sides, escape("; ".join(layer["changes"])))
    console.print(table)


def _samples(console: Console, found: Mapping[str, Any]) -> None:
    both = found["samples"]
    console.print(
        f"samples in both plans: {both['accepted_in_both']} accepted in both, {both['accepted_in_neither']} in "
        f"neither, {both['undecided']} not decided yet"
    )
    for name, where, other in (("only_in_first", "first", "second"), ("only_in_second", "second", "first")):
        if both[name]["count"]:
            console.print(f"accepted only in the {where}: {both[name]['count']}; reasons in the {other}:")
            for reason, count in both[name]["reasons"].items():
                keys = [key for key, why in both[name]["some"].items() if why == reason][:_NAMED]
                console.print(escape(f"  {count:>7}  {reason}  ({', '.join(keys)}{', ...' * (count > len(keys))})"))
    if found["edits"] and any(one != other for one, other in found["edits"].values()):
        listed = ", ".join(f"{kind} {one} -> {other}" for kind, (one, other) in found["edits"].items())
        console.print(f"accepted by edit: {listed}")


def _scores(console: Console, found: Mapping[str, Any]) -> None:
    if not found["scores"]:
        return
    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("score", "", *_SPREAD):
        table.add_column(column, no_wrap=True, justify="right" if column in _SPREAD else "left")
    for name, sides in found["scores"].items():
        same = sides["first"] == sides["second"]
        for where in ("both",) if same else ("first", "second"):
            spread = sides["first" if same else where] or {}
            numbers = [f"{spread[column]:.4g}" if column in spread else "-" for column in _SPREAD]
            table.add_row(name if where != "second" else "", where, *numbers)
    console.print(table)


def _some(keys: Mapping[str, Any]) -> str:
    named = keys["some"][:_NAMED]
    more = ", ..." if keys["count"] > len(named) else ""
    return f"{keys['count']} ({', '.join(named)}{more})" if named else "0"


def _brief(value: Any) -> str:
    text = "(none)" if value is None else str(value)
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 3]}..."
