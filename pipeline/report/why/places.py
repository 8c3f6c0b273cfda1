"""Find the shards that contain a sample, and its byte offset.

The shards of a split have their samples in plan order, so a sample is found by bisection over the units of their first
samples: a few reads for any number of shards.
"""

import json
from bisect import bisect_left
from functools import cache
from typing import Any

from ....shards.errors import BadInput, SpatialdataError
from ....shards.index import read_manifest, read_rows
from ....shards.layout import SplitFolder, filesystem, find_splits, join
from ....shards.writer import BLOCK


def shards_of(out: str, key: str, split: str, unit: int) -> list[dict[str, Any]]:
    """The places of a sample: `recipe`, `split`, `shard`, `offset` (of its first header), `bytes`, `members`.

    `members` has the offset and size of each member. Split folders that are unfinished or damaged are skipped.
    """
    try:
        folders = find_splits(out, split=split)
    except BadInput:
        return []
    found = [_in_folder(folder, key, unit) for folder in folders]
    return [place for place in found if place]


def _in_folder(folder: SplitFolder, key: str, unit: int) -> dict[str, Any] | None:
    try:
        names = [shard.name for shard in read_manifest(folder.url).shards]

        @cache
        def first(index: int) -> int:
            return _first_unit(folder.url, names[index])

        index = max(0, bisect_left(range(len(names)), unit, key=first) - 1)
        while index < len(names) and first(index) <= unit:
            for row in read_rows(folder.url, names[index]):
                if row["key"] == key:
                    return {"recipe": folder.recipe, "split": folder.split, "shard": names[index], **_bytes(row)}
            index += 1
    except (OSError, SpatialdataError, ValueError, KeyError):  # `verify` reports the damage
        return None
    return None


def _first_unit(folder: str, shard: str) -> int:
    """The unit of a shard's first sample, from its json member."""
    row = read_rows(folder, shard)[0]
    fs, path = filesystem(join(folder, shard))
    start = row["json_offset"]
    return int(json.loads(fs.cat_file(path, start, start + row["json_size"]))["provenance"]["unit"])


def _bytes(row: dict[str, Any]) -> dict[str, Any]:
    names = sorted(name.removesuffix("_offset") for name in row if name.endswith("_offset"))
    members = {name: {"offset": row[f"{name}_offset"], "size": row[f"{name}_size"]} for name in names}
    start = min(member["offset"] for member in members.values()) - BLOCK
    end = max(-(-(member["offset"] + member["size"]) // BLOCK) * BLOCK for member in members.values())
    return {"offset": start, "bytes": end - start, "members": members}
