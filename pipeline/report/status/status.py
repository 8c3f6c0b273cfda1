"""Progress of a build, from its records; works while a build runs."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from ....shards.errors import BadInput, SpatialdataError
from ....shards.index import read_manifest
from ....shards.layout import find_splits
from ....shards.schema import SPLITS
from ....shards.stage import Stage
from ....sources.rendered.pairs import BROKEN
from ...engine.part_counts import PartCounts, samples_done
from ...engine.progress_table import cost, count, plural, spent
from ...engine.summaries import LayerSummary, Summary, summarize_layers
from ...opened import Build, open_build
from ...planning.samples import pair_arguments
from ...planning.survey import REJECTED_ASSETS, rejected_assets
from ...registry import build_stages
from ...store.fingerprints import layer_dirs
from ...store.layers import LayerStore
from ...store.plan import Plan
from ...terminal import terminal
from ..funnel import funnel_rows, left_out

NARROWER = ("size", "GPU", "worker time", "samples")
"""Columns that are dropped on a narrow terminal, in this order."""
_NAMED = 10
"""Number of assets that are listed by name."""
_COLUMNS = ("stage", "samples", "in", "out", "rejected", "worker time", "GPU", "each", "size")


def status_of(out: str) -> dict[str, Any]:
    """Units and samples of each layer, rejects by reason, rejected proposals, duplicates, shards.

    Raises BadInput if there is no build.
    """
    build = open_build(out, running=True)
    summary = summarize_layers(build.store, build.plan, build.layers)
    done = _samples_done(build.store, build.plan, build.stages, summary)
    layers = {layer: _layer(folder, summary.layers[layer], done[layer]) for layer, folder in build.layers.items()}
    duplicates = left_out(build, summary)
    funnel, accepted = funnel_rows(build, summary, duplicates)
    return {
        "out": str(build.store),
        "plan": build.plan.hash,
        "samples": build.plan.samples,
        "units": build.plan.units,
        "finished": all(layer["done"] == build.plan.units for layer in layers.values()),
        "accepted": accepted,
        "note": build.note,
        "unfinished": _unfinished(build),
        "layers": layers,
        "funnel": funnel,
        "rejected_assets": rejected_assets(build.store),
        "duplicates": duplicates.reasons,
        "shards": _shards(build),
    }


def _unfinished(build: Build) -> dict[str, Any]:
    """Progress of the unfinished configuration, which is not in effect: units done, rejects and counts."""
    if build.shown is None or (other := build.shown.other) is None:
        return {}
    try:
        stages = build_stages(other, pair_arguments(other, build.store, build.plan), build.store.url)
    except SpatialdataError as error:
        return {"problem": str(error)}
    summary = summarize_layers(build.store, build.plan, layer_dirs(stages, build.plan.hash))
    done = _samples_done(build.store, build.plan, stages, summary)
    layers: dict[str, Any] = {}
    for layer, found in summary.layers.items():
        values = found.totals.to_json()
        layers[layer] = {"done": values["units"], "samples_done": done[layer], "rejects": values["rejects"]}
        layers[layer] |= {"counts": values["counts"]} if values["counts"] else {}
    return layers


def _samples_done(store: LayerStore, plan: Plan, stages: Sequence[Stage], summary: Summary) -> dict[str, int]:
    """The finished samples of each layer, also those in units that are not committed yet."""
    folders = layer_dirs(stages, plan.hash)
    parts = {stage.layer: PartCounts(store, plan, folders[stage.layer]) for stage in stages if stage.spills}
    return {
        layer: samples_done(store, plan, folders[layer], found.totals.units, parts.get(layer))
        for layer, found in summary.layers.items()
    }


def _layer(folder: str, found: LayerSummary, samples_done: int) -> dict[str, Any]:
    values = found.totals.to_json()
    done = values.pop("units")
    damaged = sorted(error.unit for error in found.damaged)
    return {"folder": folder, "done": done, "samples_done": samples_done, **values, "damaged": damaged}


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
    """Print the result of `status_of` as tables."""
    console = terminal()
    state = "finished" if found["finished"] else "not finished: rerun the build to resume"
    samples, units = plural(found["samples"], "sample"), plural(found["units"], "unit")
    _say(console, f"{found['out']}: {samples} in {units}, {state}")
    console.print(_fitting_table(found, console))
    for row in found["funnel"]:
        if row["rejects"]:
            _say(console, f"{row['layer']} rejected: {_listed(row['rejects'])}")
    for layer, values in found["layers"].items():
        if values["damaged"]:
            units = ", ".join(str(unit) for unit in values["damaged"][:10])
            _say(console, f"{layer}: the records of units {units} cannot be read: rerun the build")
    counts = found["layers"].get("pair", {}).get("counts", {})
    rejected = {name: count for name, count in counts.items() if not name.startswith(BROKEN)}
    if rejected:
        _say(console, f"proposals rejected and sampled again: {_listed(rejected)}")
    for line in _broken_assets(counts):
        _say(console, line)
    _print_rejected_assets(console, found["rejected_assets"])
    if found["duplicates"]:
        _say(console, f"left out of the shards: {_listed(found['duplicates'])}")
    if found["note"]:
        _say(console, found["note"])
        for line in _unfinished_lines(found):
            _say(console, line)
    for shard in sorted(found["shards"], key=lambda shard: (shard["recipe"], SPLITS.index(shard["split"]))):
        samples, shards = plural(shard["samples"], "sample"), plural(shard["shards"], "shard")
        text = f"{samples} in {shards}, {decimal(shard['bytes'])}" if shard["shards"] else "not finished"
        _say(console, f"{shard['recipe']}/{shard['split']}: {text}")


def _print_rejected_assets(console: Console, rejected: list[dict[str, str]]) -> None:
    """Print the assets that the survey rejected: counts by reason, and the first ones by name."""
    if not rejected:
        return
    reasons = Counter(asset["reason"] for asset in rejected)
    _say(console, f"assets that the survey rejected: {_listed(dict(sorted(reasons.items())))}")
    for asset in rejected[:_NAMED]:
        _say(console, f"  {_plain(asset['uid'])}: {asset['reason']}: {_plain(asset['detail'])}")
    if len(rejected) > _NAMED:
        _say(console, f"  and {plural(len(rejected) - _NAMED, 'other')}: see {REJECTED_ASSETS}")


def _broken_assets(counts: Mapping[str, int]) -> Iterator[str]:
    """The assets that Blender could not render, with reasons; those that affected the most scenes first."""
    chosen = [(name, scenes) for name, scenes in counts.items() if name.startswith(BROKEN)]
    for name, scenes in sorted(chosen, key=lambda item: (-item[1], item[0]))[:_NAMED]:
        yield f"asset not rendered, {plural(scenes, 'scene')} sampled again: {_plain(name.removeprefix(BROKEN))}"


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _unfinished_lines(found: dict[str, Any]) -> Iterator[str]:
    """The differences between the unfinished configuration and the one in effect."""
    if problem := found["unfinished"].get("problem"):
        yield f"unfinished: this configuration cannot be built: {problem}"
        return
    for layer, values in found["unfinished"].items():
        shown = found["layers"].get(layer, {})
        if values["done"] < found["units"] or values["rejects"] != shown.get("rejects"):
            rejected = f", rejected: {_listed(values['rejects'])}" if values["rejects"] else ""
            yield f"unfinished: {layer} {values['samples_done']} of {plural(found['samples'], 'sample')}{rejected}"
            yield from (f"unfinished: {line}" for line in _broken_assets(values.get("counts", {})))


def _fitting_table(found: dict[str, Any], console: Console) -> Table:
    """The funnel with as many columns as fit the terminal."""
    endless = console.options.update(width=1000)
    idle = set[str]() if any(row["gpu_seconds"] for row in found["funnel"]) else {"GPU"}
    table = _funnel_table(found, idle)
    for dropped in range(1, len(NARROWER) + 1):
        if console.measure(table, options=endless).maximum <= console.width:
            break
        table = _funnel_table(found, idle.union(NARROWER[:dropped]))
    return table


def _funnel_table(found: dict[str, Any], hidden: Collection[str]) -> Table:
    """The funnel, one row per stage; the footer has the accepted samples and the total cost."""
    funnel: list[dict[str, Any]] = found["funnel"]
    seconds, gpus = sum(row["seconds"] for row in funnel), sum(row["gpu_seconds"] for row in funnel)
    accepted: int = found["accepted"]
    each = seconds / accepted if accepted else None
    size = sum(layer["bytes"] for layer in found["layers"].values())
    feet = ("accepted", "", count(found["samples"]), count(accepted), "", *_costs(seconds, gpus, each, size))
    shown = [index for index, name in enumerate(_COLUMNS) if name not in hidden]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, show_footer=True)
    for index in shown:
        table.add_column(_COLUMNS[index], feet[index], justify="right" if index else "left", no_wrap=True)
    for row in funnel:
        layer = found["layers"].get(row["layer"])
        cells = (
            row["layer"],
            f"{count(layer['samples_done'])}/{count(found['samples'])}" if layer else "",
            count(row["samples_in"]),
            count(row["samples_out"]),
            count(sum(row["rejects"].values())) if row["rejects"] else "",
            *_costs(row["seconds"], row["gpu_seconds"], row["seconds_per_accepted"], layer["bytes"] if layer else 0),
        )
        table.add_row(*(cells[index] for index in shown))
    return table


def _costs(seconds: float, gpu_seconds: float, each: float | None, size: int) -> tuple[str, str, str, str]:
    """The last cells of a row; empty without a value."""
    return (
        spent(seconds) if seconds else "",
        spent(gpu_seconds) if gpu_seconds else "",
        cost(each) if each else "",
        decimal(size) if size else "",
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
