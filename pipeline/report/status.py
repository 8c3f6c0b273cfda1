"""How far a build is, read from its records; works while the build runs."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.builder import Build, open_build
from pipeline.live import cost, duration
from pipeline.report.funnel import funnel_rows, left_out
from pipeline.summaries import LayerSummary, summarise
from shards.errors import BadInput, SpatialdataError
from shards.index import read_manifest
from shards.layout import find_splits

_COLUMNS = ("units", "in", "out", "refused", "time", "GPU time", "each", "MiB")


def status_of(out: str) -> dict[str, Any]:
    """Units and samples of each layer, rejects by reason, proposals refused, duplicates, shards.

    Raises BadInput where there is no build.
    """
    build = open_build(out)
    summary = summarise(build.store, build.plan, build.layers)
    layers = {layer: _layer(folder, summary.layers[layer]) for layer, folder in build.layers.items()}
    duplicates = left_out(build, summary)
    funnel, accepted = funnel_rows(build, summary, duplicates)
    return {
        "out": str(build.store),
        "plan": build.plan.hash,
        "samples": build.plan.samples,
        "units": build.plan.units,
        "finished": all(layer["done"] == build.plan.units for layer in layers.values()),
        "accepted": accepted,
        "layers": layers,
        "funnel": funnel,
        "duplicates": duplicates.reasons,
        "shards": _shards(build),
    }


def _layer(folder: str, found: LayerSummary) -> dict[str, Any]:
    values = found.totals.to_json()
    done = values.pop("units")
    return {"folder": folder, "done": done, **values, "damaged": sorted(error.unit for error in found.damaged)}


def _shards(build: Build) -> list[dict[str, Any]]:
    try:
        folders = find_splits(build.store.url)
    except BadInput:
        return []
    found: list[dict[str, Any]] = []
    for folder in folders:
        try:
            manifest = read_manifest(folder.url)
        except (FileNotFoundError, SpatialdataError):
            found.append({"recipe": folder.recipe, "split": folder.split, "samples": 0, "shards": 0, "bytes": 0})
            continue
        found.append(
            {
                "recipe": folder.recipe,
                "split": folder.split,
                "samples": manifest.samples,
                "shards": len(manifest.shards),
                "bytes": manifest.bytes,
            }
        )
    return found


def print_status(found: dict[str, Any]) -> None:
    """The same as tables."""
    console = Console()
    state = "finished" if found["finished"] else "not finished: run the same build again to go on"
    units = f"{found['units']:,} unit{'s' * (found['units'] != 1)}"
    _say(console, f"{found['out']}: {found['samples']:,} samples in {units}, {state}")
    console.print(_funnel_table(found))
    for row in found["funnel"]:
        if row["rejects"]:
            _say(console, f"{row['layer']} refused: {_listed(row['rejects'])}")
    for layer, values in found["layers"].items():
        if values["damaged"]:
            units = ", ".join(str(unit) for unit in values["damaged"][:10])
            _say(console, f"{layer}: the records of units {units} cannot be read: run the same build again")
    refused = found["layers"].get("pair", {}).get("counts", {})
    if refused:
        _say(console, f"proposals refused and sampled again: {_listed(refused)}")
    if found["duplicates"]:
        _say(console, f"left out of the shards: {_listed(found['duplicates'])}")
    for shard in found["shards"]:
        size = f"{shard['bytes'] / 2**20:,.1f} MiB" if shard["shards"] else "not finished"
        shards = f"{shard['shards']:,} shard{'s' * (shard['shards'] != 1)}"
        _say(console, f"{shard['recipe']}/{shard['split']}: {shard['samples']:,} samples in {shards}, {size}")


def _funnel_table(found: dict[str, Any]) -> Table:
    """The funnel, a row a stage; in the last one what is accepted, and what it cost in all."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False, show_footer=True)
    funnel: list[dict[str, Any]] = found["funnel"]
    seconds, gpus = sum(row["seconds"] for row in funnel), sum(row["gpu_seconds"] for row in funnel)
    accepted: int = found["accepted"]
    size = sum(layer["bytes"] for layer in found["layers"].values())
    table.add_column("stage", "accepted", no_wrap=True)
    feet = ("", f"{found['samples']:,}", f"{accepted:,}", "", duration(seconds), duration(gpus) if gpus else "")
    feet = (*feet, cost(seconds / accepted) if accepted else "", f"{size / 2**20:,.1f}")
    for name, foot in zip(_COLUMNS, feet, strict=True):
        if name != "GPU time" or gpus:
            table.add_column(name, foot, justify="right", no_wrap=True)
    for row in funnel:
        layer = found["layers"].get(row["layer"], {"done": "", "bytes": 0})
        each = row["seconds_per_accepted"]
        cells = [
            row["layer"],
            f"{layer['done']:,}/{found['units']:,}" if row["layer"] in found["layers"] else "",
            f"{row['samples_in']:,}",
            f"{row['samples_out']:,}",
            f"{sum(row['rejects'].values()):,}" if row["rejects"] else "",
            duration(row["seconds"]) if row["seconds"] else "",
            *([duration(row["gpu_seconds"]) if row["gpu_seconds"] else ""] if gpus else []),
            cost(each) if each else "",
            f"{layer['bytes'] / 2**20:,.1f}" if layer["bytes"] else "",
        ]
        table.add_row(*cells)
    return table


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
