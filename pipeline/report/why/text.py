"""The story of a sample for a person: what `pipeline.report.why.why` gives, in a terminal.

Names and instructions may come from anybody's metadata: they are printed as plain text, without control characters.
"""

import json
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ....shards.plain import sanitize
from ....shards.schema import objects_edited
from ....sources.edits.registry import RULES
from ...engine.progress_table import cost
from ...terminal import terminal

_STYLES = {"accepted": "green", "made": "", "refused": "red", "damaged": "red", "left out": "yellow"}


def print_why(found: Mapping[str, Any]) -> None:
    """All of it, a paragraph a subject."""
    console = terminal()
    state = f"{found['state']}: {found['because']}" if found["because"] else found["state"]
    console.print(Text(found["key"], style="bold"), Text(sanitize(state), style=_STYLES.get(found["state"], "dim")))
    if found["note"]:
        _wide(console, found["note"])
    plan = found["plan"]
    _head(console, "plan")
    _line(console, f"{plan['split']}, row {plan['row']} of unit {plan['unit']} (of {plan['unit_samples']} samples)")
    _line(console, f"seed {plan['spec'].get('seed', plan['seed'])}, plan {plan['hash'][:16]}")
    if plan["derived"]:
        _line(console, f"derived by {plan['derived']} from {' and '.join(plan['origin'])}, without rendering")
    _wide(console, f"to make: {json.dumps(plan['spec'], ensure_ascii=False, sort_keys=True)}")
    _print_pair(console, found)
    _head(console, "layers")
    console.print(Padding(_layers_table(found["layers"]), (0, 0, 0, 2)))
    for versions in _versions(found["layers"]):
        _line(console, versions, style="dim")
    for layer in found["layers"]:
        _print_layer(console, layer)
    if found["duplicate"]:
        twin = found["duplicate"]
        _head(console, "duplicate")
        _line(console, f"{twin['reason']}: {twin['twin']} stays, {twin['distance']} bits differ")
    _head(console, "shards")
    for place in found["shards"]:
        _line(console, f"{place['recipe']}/{place['split']}: {place['shard']}")
        _line(console, f"  at byte {place['offset']:,}, {place['bytes']:,} bytes")
    if not found["shards"]:
        _line(console, "in none")
    _head(console, "to make its unit again")
    _wide(console, found["rebuild"])


def _print_pair(console: Console, found: Mapping[str, Any]) -> None:
    instruction, edit = found["instruction"], found["edit"]
    if instruction:
        _head(console, "instruction")
        _line(console, instruction["text"])
        how = f"{instruction['method']}{' ' if instruction['model'] else ''}{instruction['model']}"
        _line(console, f"{how}, {'verified' if instruction['verified'] else 'not verified'}", style="dim")
    if edit:
        _head(console, "edit")
        objects = ("object", "second_object")[: max(1, objects_edited(edit["kind"]))]
        named = (*objects, *(RULES[edit["kind"]].numbers if edit["known"] else ()), "box")
        _line(console, f"{edit['kind']}: {_numbers({name: edit[name] for name in named})}")
    _head(console, "assets")
    for thing in found["assets"]:
        kind = f" ({thing['category']})" if thing["category"] != thing["name"] else ""
        _line(console, f"{thing['id']} {thing['name']}{kind}: {thing['asset']}")
        _line(console, f"  {thing['licence']}, by {thing['creator']}", style="dim")
        if thing["size_note"]:
            _line(console, f"  {thing['size_note']}", style="dim")
    if not found["assets"]:
        _line(console, "not known: layer pair has made nothing of it")


def _layers_table(layers: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    for name in ("layer", "stage, model", "state"):
        table.add_column(name, overflow="fold")
    table.add_column("each", justify="right", no_wrap=True)
    table.add_column("try", justify="right")
    table.add_column("where, when (UTC)", overflow="fold")
    for layer in layers:
        model = " ".join(part for part in (layer["model"], layer["revision"][:12]) if part)
        stage = f"{layer['stage']}{', ' if model else ''}{model}"
        made = "seconds" in layer
        table.add_row(
            layer["layer"],
            sanitize(stage),
            Text(layer["state"], style=_STYLES.get(layer["state"], "dim")),
            cost(layer["seconds"] / max(1, layer["samples"])) if made else "",
            str(layer["attempts"]) if made else "",
            f"{layer['host']} {layer['started'][5:16].replace('T', ' ')}" if made else "",
        )
    return table


def _versions(layers: list[dict[str, Any]]) -> list[str]:
    """What the layers were made with; several lines where that changed in between."""
    by_versions: dict[str, list[str]] = {}
    for layer in layers:
        if "versions" in layer:
            text = ", ".join(f"{name} {version}" for name, version in sorted(layer["versions"].items()))
            by_versions.setdefault(text, []).append(layer["layer"])
    if len(by_versions) == 1:
        return [f"with {text}" for text in by_versions]
    return [f"{', '.join(names)} with {text}" for text, names in by_versions.items()]


def _print_layer(console: Console, layer: Mapping[str, Any]) -> None:
    """Why it was refused, or the numbers that were measured."""
    reject, values = layer["reject"], layer["values"]
    numbers = {**reject.get("scores", {}), **_scores(values)}
    measured = {name: value for name, value in numbers.items() if value != -1.0}
    if not reject and not measured and "because" not in layer:
        return
    _head(console, layer["layer"])
    if reject:
        score = f", score {reject['score']:g}" if reject["score"] != -1.0 else ""
        _line(console, f"refused: {reject['reason']}{score}", style="red")
        for text in str(reject["detail"]).splitlines():
            _line(console, text)
    if layer.get("because"):
        _line(console, layer["because"])
    if measured:
        _line(console, _numbers(measured))


def _scores(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a layer: `scores`, and what `screen` measured of each image."""
    found: dict[str, float] = dict(values.get("scores", {}))
    for image, measures in dict(values.get("screen", {})).items():
        found |= {f"{image} {name}": value for name, value in measures.items()}
    return found


def _numbers(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in values.items() if value not in ("", None))


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace(" ", "") if isinstance(value, list) else str(value)


def _head(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Padding(Text(sanitize(text), style=style), (0, 0, 0, 2), expand=False))


def _wide(console: Console, text: str) -> None:
    """A line that may be copied: never broken."""
    console.print(Text(f"  {sanitize(text)}"), soft_wrap=True)
