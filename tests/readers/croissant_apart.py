"""Reads a recipe's folder only with mlcroissant and saves its content: <folder> <out.npz> <out.json>."""

import json
import sys

import mlcroissant
import numpy as np


def main(folder: str, pixels: str, texts: str) -> None:
    dataset = mlcroissant.Dataset(jsonld=f"{folder}/croissant.json")
    issues = dataset.metadata.ctx.issues
    names = [record_set.uuid for record_set in dataset.metadata.record_sets]
    members = [name for name in names if name not in ("splits", "samples", "json")]
    rows = [{name.partition("/")[2]: plain(value) for name, value in row.items()} for row in dataset.records("samples")]
    splits = {row["key"]: row["split"] for row in rows}
    found = {}
    for member in members:
        for row in dataset.records(member):
            key = plain(row[f"{member}/key"])
            found[f"{splits[key]}/{key}/{member}"] = np.asarray(row[f"{member}/content"])
    np.savez(pixels, **found)
    records = {plain(row["json/key"]): json.loads(row["json/content"]) for row in dataset.records("json")}
    content = {"errors": sorted(issues.errors), "warnings": sorted(issues.warnings), "rows": rows, "records": records}
    with open(texts, "w") as file:  # noqa: PTH123
        json.dump(content, file)


def plain(value):
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
