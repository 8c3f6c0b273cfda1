"""Objaverse-XL: where its package puts files, and what its provenance tables say about them.

    ROOT/github/github.parquet                          fileIdentifier, license, source, fileType, sha256, metadata
    ROOT/github/repos/<owner>/<repository>/<path>       `save_repo_format="files"`
    ROOT/github/repos/<owner>/<repository>/.objaverse-file-hashes.json      [{sha256, fileIdentifier}] as fetched
    ROOT/smithsonian/smithsonian.parquet                the same columns
    ROOT/smithsonian/objects/<uuid5 of fileIdentifier>.glb

Layout and columns: https://github.com/allenai/objaverse-xl, `objaverse/xl/{github,smithsonian}.py`. Files of
Thingiverse are STL, which has no colors, and those of Sketchfab are in an Objaverse cache; neither is read here.
"""

import json
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from ...shards.errors import BadInput

LEFT_OUT: Final = "hf-objaverse-v1"
CITATION: Final = "Deitke et al., Objaverse-XL: A Universe of 10M+ 3D Objects, NeurIPS 2023, arXiv 2307.05663"
_COLUMNS: Final = ("fileIdentifier", "license")
_GITHUB: Final = r"^https://github\.com/(?P<repository>[^/]+/[^/]+)/blob/[^/]+/(?P<path>.+)$"
_BATCH: Final = 200_000


@dataclass(frozen=True)
class Provenance:
    """What a table says about a file. Empty: nothing."""

    identifier: str
    """Address of the file."""
    license: str
    creator: str


def is_identifier(uid: str) -> bool:
    """Whether the uid of a model is a file identifier of Objaverse-XL."""
    return uid.startswith("https://")


def read_provenance(root: Path, paths: Collection[str]) -> dict[str, Provenance]:
    """What the tables below the root say about files, by path; empty without tables.

    Identifiers of one path differ in the commit. The one that was fetched counts, else the first.

    Raises:
        BadInput: a table cannot be read, or lacks a column.
    """
    wanted = set(paths)
    found: dict[str, set[Provenance]] = {}
    for folder, read in (("github", _github), ("smithsonian", _smithsonian)):
        if any(path.startswith(f"{folder}/") for path in wanted):
            for table in sorted((root / folder).glob("*.parquet")):
                for path, origin in read(table, wanted):
                    found.setdefault(path, set()).add(origin)
    return {path: _fetched(root, path, origins) for path, origins in found.items()}


def _fetched(root: Path, path: str, origins: Collection[Provenance]) -> Provenance:
    ordered = sorted(origins, key=lambda origin: (origin.identifier, origin.license))
    if len(ordered) > 1:
        record = root.joinpath(*path.split("/")[:4], ".objaverse-file-hashes.json")
        try:
            fetched = {item["fileIdentifier"] for item in json.loads(record.read_text("utf-8"))}
        except (OSError, ValueError, TypeError, KeyError):  # it was not kept, or is not of the package
            fetched = set[str]()
        return next((origin for origin in ordered if origin.identifier in fetched), ordered[0])
    return ordered[0]


def _github(table: Path, wanted: Collection[str]) -> Iterator[tuple[str, Provenance]]:
    import pyarrow as pa
    import pyarrow.compute

    pc = cast("Any", pyarrow.compute)
    repositories = pa.array(
        sorted({"/".join(path.split("/")[2:4]) for path in wanted if path.startswith("github/repos/")})
    )
    for batch in _batches(table):
        parts = pc.extract_regex(batch["fileIdentifier"], _GITHUB)
        kept = pc.fill_null(pc.is_in(pc.struct_field(parts, "repository"), repositories), False)
        for row, part in zip(batch.filter(kept).to_pylist(), parts.filter(kept).to_pylist(), strict=True):
            path = f"github/repos/{part['repository']}/{part['path']}"
            if path in wanted:
                owner = part["repository"].partition("/")[0]
                yield path, Provenance(row["fileIdentifier"], row["license"] or "", owner)


def _smithsonian(table: Path, wanted: Collection[str]) -> Iterator[tuple[str, Provenance]]:
    for batch in _batches(table):
        for row in batch.to_pylist():
            identifier = row["fileIdentifier"] or ""
            path = f"smithsonian/objects/{uuid.uuid5(uuid.NAMESPACE_DNS, identifier)}.glb"
            if path in wanted:
                yield path, Provenance(identifier, row["license"] or "", "Smithsonian Institution")


def _batches(table: Path) -> Iterator[Any]:
    """The rows of a table, a part at a time: that of GitHub has millions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(table) as file:
            if missing := [name for name in _COLUMNS if name not in file.schema_arrow.names]:
                raise BadInput(f"{table}: no column {' and '.join(missing)}; fetch the table of Objaverse-XL again")
            yield from file.iter_batches(_BATCH, columns=list(_COLUMNS))
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{table} cannot be read ({error}); fetch the table of Objaverse-XL again") from None
