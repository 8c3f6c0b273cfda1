"""How far a build is, read from its records; works while the build runs."""

from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.builder import Build, open_build
from pipeline.report.funnel import funnel_rows, left_out
from pipeline.summaries import LayerSummary, summarise
from shards.errors import BadInput, SpatialdataError
from shards.index import read_manifest
from shards.layout import find_splits


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
    console.print(
        f"{found['out']}: {found['samples']} samples in {found['units']} units, {state}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    table = Table("layer", "units", "samples", "rejected", "s a sample", "MiB", "rejects by reason")
    for layer, values in found["layers"].items():
        rejected = sum(values["rejects"].values())
        each = values["seconds"] / max(1, values["samples"] + rejected)
        table.add_row(
            layer,
            f"{values['done']}/{found['units']}",
            str(values["samples"]),
            str(rejected),
            f"{each:.3f}",
            f"{values['bytes'] / 2**20:.1f}",
            ", ".join(f"{reason} {count}" for reason, count in values["rejects"].items()),
        )
    console.print(table)
    for layer, values in found["layers"].items():
        if values["damaged"]:
            units = ", ".join(str(unit) for unit in values["damaged"][:10])
            text = f"{layer}: the records of units {units} cannot be read: run the same build again"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    refused = found["layers"].get("pair", {}).get("counts", {})
    if refused:
        listed = ", ".join(f"{reason} {count}" for reason, count in refused.items())
        console.print(f"proposals refused and sampled again: {listed}", highlight=False, markup=False, soft_wrap=True)
    if found["duplicates"]:
        listed = ", ".join(f"{reason} {count}" for reason, count in found["duplicates"].items())
        console.print(f"left out of the shards: {listed}", highlight=False, markup=False, soft_wrap=True)
    for shard in found["shards"]:
        size = f"{shard['bytes'] / 2**20:.1f} MiB" if shard["shards"] else "not finished"
        where = f"{shard['recipe']}/{shard['split']}"
        console.print(
            f"{where}: {shard['samples']} samples in {shard['shards']} shards, {size}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
