"""How far a build is, read from its records; works while the build runs."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.builder import Build, open_build
from pipeline.duplicates import Duplicates, noted_duplicates
from pipeline.store import LayerCorrupt
from shards.errors import BadInput, SpatialdataError
from shards.index import read_manifest
from shards.layout import find_splits


def status_of(out: str) -> dict[str, Any]:
    """Units and samples of each layer, rejects by reason, proposals refused, duplicates, shards.

    Raises BadInput where there is no build.
    """
    build = open_build(out)
    layers = {layer: _layer(build, folder) for layer, folder in build.layers.items()}
    finished = all(layer["done"] == build.plan.units for layer in layers.values())
    return {
        "out": str(build.store),
        "plan": build.plan.hash,
        "samples": build.plan.samples,
        "units": build.plan.units,
        "finished": finished,
        "layers": layers,
        "duplicates": _duplicates(build) if finished else {},
        "shards": _shards(build),
    }


def _layer(build: Build, folder: str) -> dict[str, Any]:
    rejects: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    done = samples = size = 0
    seconds = cpu = 0.0
    damaged: list[LayerCorrupt] = []
    for record in build.store.records(folder, damaged):
        done += 1
        samples += record.rows
        size += record.bytes
        seconds += record.seconds
        cpu += record.cpu_seconds
        rejects.update(reject.reason for reject in record.rejects)
        counts.update(record.counts)
    return {
        "folder": folder,
        "done": done,
        "samples": samples,
        "bytes": size,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
        "rejects": dict(sorted(rejects.items())),
        "counts": dict(sorted(counts.items())),
        "damaged": sorted(error.unit for error in damaged),
    }


def _duplicates(build: Build) -> dict[str, int]:
    """Samples that packing leaves out, by reason; nothing before the first packing."""
    found = noted_duplicates(build.store, build.plan, build.layers, build.config.shard.duplicates)
    return found.reasons if isinstance(found, Duplicates) else {}


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
