"""A finished build with other licenses and creators of its models: its pairs are committed again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spatialdata_builder.pipeline.opened import Build, open_build
from spatialdata_builder.shards.schema import PairFacts, SceneObject


def relicense(out: Path, change: Callable[[str, SceneObject], dict[str, Any]]) -> Build:
    """Change objects of layer `pair`: `change` returns the new fields of an object of a sample, given its key."""
    build = open_build(str(out))
    folder = build.layers["pair"]
    for unit in build.store.done_units(folder):
        rows, record = build.store.read(folder, unit), build.store.record(folder, unit)
        for key, row in rows.items():
            facts = PairFacts.model_validate_json(str(row["facts"]))
            objects = [item.model_copy(update=change(key, item)) for item in facts.objects]
            row["facts"] = facts.model_copy(update={"objects": objects}).model_dump_json()
        build.store.discard(folder, unit)
        build.store.write(folder, unit, rows, replace(record, rows=0, bytes=0, sha256=""))
    return build


def objects_of(build: Build) -> dict[str, list[SceneObject]]:
    """The objects of every pair, by key."""
    folder = build.layers["pair"]
    rows = {key: row for unit in range(build.plan.units) for key, row in build.store.read(folder, unit).items()}
    return {key: PairFacts.model_validate_json(str(row["facts"])).objects for key, row in rows.items()}
