"""Everything about one sample: its plan, its row in each layer, why it was rejected, and its place in shards.

Reads only layers, records and shards; works while a build runs.
"""

import json
import shlex
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ....shards.sample import Value
from ....shards.stage import Stage
from ....sources.derived import origins_of
from ...opened import Build, open_build
from ...planning.samples import ASSETS
from ...store.layers import LayerCorrupt, Record
from ...store.plan import PlanRow
from ..funnel import packed_duplicates
from .keys import Place, find_key
from .places import shards_of


def why_of(out: str, key: str) -> dict[str, Any]:
    """Everything about one sample, as plain values.

    Keys: `key`, `note` (which configuration is shown, if OUT has two), `state` (`accepted`, `rejected`, `left out` of
    the shards, `unfinished`), `because` (empty for accepted samples), `plan` (hash, seed, unit, row, split, how it is
    `derived` from which `origin`, and the `spec`: what to build), `edit`, `instruction`, `assets` (name, uid, license,
    creator, how a known size was used), `layers` (see `_layer`), `duplicate`, `shards`, and `rebuild`, a command.

    Raises BadInput if there is no build, or no such key (the message has similar keys).
    """
    build = open_build(out, running=True)
    place = find_key(build.plan, key)
    row = build.plan.rows(place.unit)[place.row]
    layers: list[dict[str, Any]] = []
    for layer, folder in build.layers.items():
        stage = next(stage for stage in build.stages if stage.layer == layer)
        lost = next((found for found in layers if found["layer"] in stage.needs and found["state"] != "made"), None)
        layers.append(_layer(build, stage, folder, place, key, lost))
    values = {found["layer"]: found["values"] for found in layers}
    duplicate = _duplicate(build, key)
    state, because = _verdict(layers, duplicate)
    facts: Mapping[str, Any] = values["pair"].get("facts", {})
    notes = _size_notes(build, {str(item["asset"]) for item in facts.get("objects", [])})
    return {
        "out": str(build.store),
        "key": key,
        "note": build.note,
        "state": state,
        "because": because,
        "plan": _planned(build, place, row),
        "edit": facts.get("edit", {}),
        "instruction": _instruction(values),
        "assets": [
            {name: item[name] for name in ("id", "name", "category", "asset", "licence", "creator")}
            | {"size_note": notes.get(item["asset"], "")}
            for item in facts.get("objects", [])
        ],
        "layers": layers,
        "duplicate": duplicate,
        "shards": shards_of(build.store.url, key, row.split, place.unit),
        "rebuild": shlex.join(["spatialdata", "rebuild", str(build.store), key]),
    }


def _size_notes(build: Build, uids: Collection[str]) -> dict[str, str]:
    """How the survey used the known sizes of these assets, by uid; empty if the plan has no asset table."""
    if not build.store.exists(ASSETS):
        return {}
    try:
        table = pq.read_table(pa.BufferReader(build.store.read_file(ASSETS)), filters=[("uid", "in", sorted(uids))])
    except pa.ArrowException:
        return {}  # commands that need the whole table report the damage
    assets = map(json.loads, table["asset"].to_pylist())
    return {asset["uid"]: note for asset in assets if (note := asset.get("size_note", ""))}


def _planned(build: Build, place: Place, row: PlanRow) -> dict[str, Any]:
    return {
        "hash": build.plan.hash,
        "seed": build.plan.seed,
        "unit": place.unit,
        "unit_samples": build.plan.size(place.unit),
        "row": place.row,
        "split": row.split,
        "derived": str(row.spec.get("derived", "")),
        "origin": list(origins_of(row.spec)),
        "spec": dict(row.spec),
    }


def _layer(
    build: Build, stage: Stage, folder: str, place: Place, key: str, lost: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The result of one layer for a sample.

    Keys: `layer`, `folder`, `stage`, `model` and `revision` (empty if the stage has none), `state` (`made`; `rejected`;
    `skipped`, because a layer that it needs has no row; `waiting` for its unit; `damaged`), `reject`, `values` (the
    columns that are not images, JSON parsed) and, for the unit: `samples`, `seconds`, `cpu_seconds`, `gpus`,
    `attempts`, `host`, `started`, `versions`.

    Args:
        lost: the first needed layer without a row of the sample.
    """
    about = {"layer": stage.layer, "folder": folder, "stage": type(stage).__name__, "model": "", "revision": ""}
    found: dict[str, Any] = {**about, "state": "waiting", "reject": {}, "values": {}}
    found["model"] = stage.model
    found["revision"] = stage.revision
    store = build.store
    if not store.exists(store.record_name(folder, place.unit)):
        return found
    try:
        record = store.record(folder, place.unit)
        found |= _unit_facts(record)
        rejected = next((reject for reject in record.rejects if reject.key == key), None)
        if rejected is not None:
            return {**found, "state": "rejected", "reject": {**asdict(rejected), "scores": dict(rejected.scores)}}
        columns = None if lost else store.read(folder, place.unit).get(key)
    except LayerCorrupt as error:
        return {**found, "state": "damaged", "because": str(error)}
    if columns is None:
        return {**found, "state": "skipped", "because": f"layer {lost['layer']} has no row for it" if lost else ""}
    values = {name: _parsed(value) for name, value in columns.items() if not isinstance(value, bytes)}
    return {**found, "state": "made", "values": values, **_model(values, found)}


def _unit_facts(record: Record) -> dict[str, Any]:
    names = ("seconds", "cpu_seconds", "gpus", "attempts", "host", "started", "sha256")
    facts = {name: getattr(record, name) for name in names}
    return {**facts, "samples": record.rows + len(record.rejects), "versions": dict(record.versions)}


def _parsed(value: Value) -> Any:
    """The value of a cell, with JSON objects and lists parsed."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _model(values: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, str]:
    """Model and revision as stored in the layer: the estimator of a map, the model of an instruction."""
    maps = [info for info in dict(values.get("maps", {})).values() if info["estimator"]]
    if maps:
        return {"model": maps[0]["estimator"], "revision": maps[0]["revision"] or found["revision"]}
    instruction = values.get("instruction")
    model = instruction.get("model", "") if isinstance(instruction, dict) else ""
    return {"model": model or found["model"]}


def _instruction(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The instruction as in shards: that of layer `checks` if it changed the text."""
    rewritten = values.get("checks", {}).get("instruction")
    return dict(rewritten or values.get("instruction", {}).get("instruction", {}))


def _verdict(layers: list[dict[str, Any]], duplicate: Mapping[str, Any]) -> tuple[str, str]:
    for found in layers:
        if found["state"] == "rejected":
            return "rejected", f"layer {found['layer']}: {found['reject']['reason']}"
    missing = [found["layer"] for found in layers if found["state"] != "made"]
    if missing:
        return "unfinished", f"not computed yet: {', '.join(missing)}"
    if duplicate:
        return "left out", f"{duplicate['reason']}: differs from {duplicate['twin']} in {duplicate['distance']} bits"
    return "accepted", ""


def _duplicate(build: Build, key: str) -> dict[str, Any]:
    """The duplicate that the latest packing found for it; empty if none."""
    return next((asdict(sample) for sample in packed_duplicates(build).dropped if sample.key == key), {})
