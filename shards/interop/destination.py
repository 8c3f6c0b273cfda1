"""Common parts of all exports: the input shards, and a destination folder that contains only one export.

`export.json` in the destination records what is exported and, at the end, that the export is complete. Exporting into
a folder with other content is an error. Rerunning a stopped export resumes it and produces identical output.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import BadInput, SpatialdataError
from ..index import as_json, assets_of, read_manifest, read_rows
from ..layout import base, filesystem, find_splits, join, list_shards
from ..reader import StoredSample, read_record, read_samples
from ..schema import SUPPORT_FIELDS, SampleRecord, SceneObject
from ..writer import publish_bytes

MARKER: Final = "export.json"


@dataclass(frozen=True)
class Exported:
    """The result of an export."""

    samples: int
    written: dict[str, int]
    """Number of samples by folder."""
    skipped: dict[str, int]
    """Number of samples that the layout cannot represent, by reason."""


@dataclass(frozen=True)
class Input:
    """The shards of one recipe, in order."""

    recipe: str
    shards: tuple[str, ...]
    digest: str
    """Digest of their contents, from the checksums in the manifests."""


def find_input(url: str, recipes: Sequence[str]) -> Input:
    """The shards under `url` (OUT, its shards, one recipe or one split), of the first of `recipes` that exists there.

    Raises BadInput where there are no shards, or only those of other recipes.
    """
    folders = find_splits(url)
    names = sorted({folder.recipe for folder in folders})
    chosen = next((name for name in recipes if name in names), names[0])
    # A single folder with another name may be a copy: missing members are reported when its samples are read.
    if chosen not in recipes and len(names) > 1:
        raise BadInput(f"{url} has shards of {', '.join(names)}; this export reads recipe {' or '.join(recipes)}")
    digest = hashlib.sha256()
    shards: list[str] = []
    for folder in folders:
        if folder.recipe == chosen:
            try:
                manifest = read_manifest(folder.url)
            except FileNotFoundError:
                raise BadInput(
                    f"{folder.url} has no manifest, so packing did not finish: run `spatialdata shard`"
                ) from None
            digest.update(manifest.model_dump_json().encode())
            found = list_shards(folder.url)
            if {base(shard) for shard in found} != {shard.name for shard in manifest.shards}:
                raise BadInput(f"the shards in {folder.url} differ from its manifest: run `spatialdata verify`")
            shards += found
    return Input(chosen, tuple(shards), digest.hexdigest())


def read_input(found: Input, members: Sequence[str]) -> Iterator[tuple[SampleRecord, StoredSample]]:
    """All samples with their records. Raises BadInput where one of `members` is missing, ShardError on damage."""
    for shard in found.shards:
        for sample in read_samples(shard):
            missing = [name for name in (*members, "json") if name not in sample.members]
            if missing:
                raise BadInput(f"shard {shard} has no {', '.join(missing)}: export from shards of recipe full")
            try:
                record = read_record(sample.members["json"])
            except ValueError as error:
                raise BadInput(
                    f"shard {shard}, sample {sample.key}: its json violates the schema "
                    f"({' '.join(str(error).split())[:200]}); run `spatialdata verify`"
                ) from None
            yield record, sample


def edited_first(record: SampleRecord) -> list[SceneObject]:
    """The objects of a record, the edited ones first, then by id."""
    return sorted(record.objects, key=lambda entry: (entry.id not in record.edit.edited, entry.id))


def supports_of(objects: Sequence[SceneObject]) -> list[dict[str, Any]]:
    """For each object, `source_support` and `target_support`; empty if the record lacks them.

    As in the record, but `object` is the number of the supporting object in `objects`, from 1, not its id.
    """
    numbers = {0: 0} | {entry.id: number for number, entry in enumerate(objects, start=1)}
    found: list[dict[str, Any]] = []
    for entry in objects:
        values = entry.model_dump(include=set(SUPPORT_FIELDS))
        found.append({name: {**ref, "object": numbers[ref["object"]]} for name, ref in sorted(values.items())})
    return found


def assets_of_train(found: Input) -> frozenset[str]:
    """Uids of the assets in the training samples, from the parquets.

    Raises BadInput where the parquet of a shard is missing or damaged.
    """
    assets: set[str] = set()
    for shard in found.shards:
        folder, _, name = shard.rpartition("/")
        try:
            rows = read_rows(folder, name)
        except (FileNotFoundError, SpatialdataError) as error:
            raise BadInput(f"the parquet of {shard} cannot be read ({error}): run `spatialdata verify`") from error
        assets.update(asset for row in rows if row["split"] == "train" for asset in assets_of(row))
    return frozenset(assets)


def claim(out: str, layout: str, found: Input) -> None:
    """Reserve the folder `out` for this export. Raises BadInput where it has other content."""
    fs, path = filesystem(out)
    content = {"layout": layout, "input": found.digest, "complete": False}
    if fs.exists(path):
        if not fs.isdir(path):
            raise BadInput(f"{out} is not a folder: use another --out")
        if any(base(str(name)) != MARKER for name in fs.ls(path, detail=False)):
            try:
                marker = json.loads(fs.cat_file(f"{path.rstrip('/')}/{MARKER}"))
            except (OSError, ValueError):
                marker = None
            if not isinstance(marker, dict) or any(marker.get(key) != content[key] for key in ("layout", "input")):
                raise BadInput(f"{out} has other content than this export: use an empty folder as --out")
    publish_bytes(as_json(content), join(out, MARKER))


def finish(out: str, layout: str, found: Input, result: Exported) -> None:
    """Record in `out` that the export is complete."""
    content = {"layout": layout, "input": found.digest, "complete": True, "samples": result.samples}
    publish_bytes(as_json({**content, "written": result.written, "skipped": result.skipped}), join(out, MARKER))
