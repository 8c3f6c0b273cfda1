"""The folder of generated assets, in the layout that source `models` reads.

    CACHE/<factory>/<seed>.glb
    CACHE/models.csv            a row for each asset (sources/models/table.py)
    CACHE/infinigen.jsonl       a record for each attempt, also of those that failed; the last one of an asset counts

Invariant: an asset is complete if it has a record and its file has the recorded number of bytes. Files get their names
when they are complete, in this order: model, record, row. So a stop at any time leaves no partial file, no row without
a model, and at most one model without a row, which the next run generates again.
"""

import csv
import fcntl
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TextIO

from pydantic import TypeAdapter, ValidationError

from ...shards.errors import BadInput
from ..csv_rows import separator_of
from ..models.table import TABLE
from .factories import Factory

RECORDS: Final = "infinigen.jsonl"
_UNFINISHED: Final = ".unfinished"
"""Folder of files that are being written."""
_HEADER: Final = ("file", "name", "category", "license", "creator", "size_m", "front_deg")


@dataclass(frozen=True)
class AssetRecord:
    """How an attempt to generate an asset ended."""

    factory: str
    seed: int
    cpu_s: float = 0.0
    """CPU time of all steps, without the start of the process."""
    texture: int = 0
    """Pixels of a side of each image."""
    size_m: tuple[float, ...] = ()
    """Width (x), depth (y) and height (z)."""
    triangles: int = 0
    made_triangles: int = 0
    """Triangles before reduction."""
    bytes: int = 0
    reason: str = ""
    """Why it failed; empty if it did not."""
    detail: str = ""


_RECORD: Final = TypeAdapter(AssetRecord)


@dataclass(frozen=True)
class AssetTerms:
    """What the table says about every asset."""

    license: str
    creator: str


class AssetCache:
    """An open cache. Only one process at a time can hold it."""

    def __init__(self, root: Path) -> None:
        """Open a cache, or create it.

        Raises:
            BadInput: the folder cannot be used, holds other files, is in use, or has a record that cannot be read.
        """
        self.root = root
        self._file = _open_records(root)
        try:
            self.records = read_records(root)
        except BadInput:
            self._file.close()
            raise
        _remove_partial_line(root / RECORDS)
        shutil.rmtree(root / _UNFINISHED, ignore_errors=True)
        (root / _UNFINISHED).mkdir()

    def close(self) -> None:
        """Release the cache. May be called more than once."""
        shutil.rmtree(self.root / _UNFINISHED, ignore_errors=True)
        self._file.close()

    def has(self, factory: str, seed: int) -> bool:
        """Whether an asset is complete."""
        record = self.records.get((factory, seed))
        if record is None or record.reason:
            return False
        file = self.root / _path(factory, seed)
        return file.is_file() and file.stat().st_size == record.bytes

    def failure(self, factory: str, seed: int) -> AssetRecord | None:
        """The record of the last attempt, if it failed."""
        record = self.records.get((factory, seed))
        return record if record is not None and record.reason else None

    def unfinished(self, factory: str, seed: int) -> Path:
        """Where to write the model of an asset before `add`."""
        return self.root / _UNFINISHED / f"{factory}-{seed}.glb"

    def add(self, factory: Factory, record: AssetRecord, terms: AssetTerms) -> AssetRecord:
        """Keep an attempt: its record and, unless it failed, its model and its row. Returns the record with `bytes`."""
        written = self.unfinished(record.factory, record.seed)
        if record.reason:
            written.unlink(missing_ok=True)
        else:
            record = _RECORD.validate_python(asdict(record) | {"bytes": written.stat().st_size})
            target = self.root / _path(record.factory, record.seed)
            target.parent.mkdir(exist_ok=True)
            written.replace(target)
        self._file.write(json.dumps(asdict(record)) + "\n")
        self._file.flush()
        self.records[record.factory, record.seed] = record
        if not record.reason:
            self._add_rows({_path(record.factory, record.seed): _row(factory, record, terms)})
        return record

    def complete_table(self, factories: Mapping[str, Factory], terms: AssetTerms) -> None:
        """Add the rows of complete assets that have none."""
        self._add_rows(
            {
                _path(name, seed): _row(factories[name], record, terms)
                for (name, seed), record in self.records.items()
                if name in factories and self.has(name, seed)
            }
        )

    def _add_rows(self, rows: Mapping[str, Mapping[str, str]]) -> None:
        """Rows that exist are kept as they are, and so are the columns: a user may have changed them."""
        table = self.root / TABLE
        text = table.read_text(encoding="utf-8-sig") if table.is_file() else ",".join(_HEADER) + "\n"
        comma = separator_of(text)
        lines = list(csv.reader(text.splitlines(), delimiter=comma))
        known = {cell for line in lines for cell in line[:1]}
        more = io.StringIO()
        writer = csv.DictWriter(more, lines[0], extrasaction="ignore", delimiter=comma, lineterminator="\n")
        writer.writerows(row for file, row in rows.items() if file not in known)
        if more.getvalue() or not table.is_file():
            written = self.root / _UNFINISHED / TABLE
            written.write_text(text.rstrip("\n") + "\n" + more.getvalue(), encoding="utf-8")
            written.replace(table)


def _path(factory: str, seed: int) -> str:
    return f"{factory}/{seed}.glb"


def _row(factory: Factory, record: AssetRecord, terms: AssetTerms) -> dict[str, str]:
    return {
        "file": _path(factory.name, record.seed),
        "name": f"Infinigen {factory.name}, seed {record.seed}",
        "category": factory.category,
        "license": terms.license,
        "creator": terms.creator,
        "size_m": " x ".join(f"{side:g}" for side in record.size_m),
        "front_deg": "" if factory.front_deg is None else f"{factory.front_deg:g}",
    }


def _open_records(root: Path) -> TextIO:
    file = root / RECORDS
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not file.exists() and (others := sorted(path.name for path in root.iterdir())):
            raise BadInput(f"--to {root}: holds other files ({others[0]}); give a new folder")
        opened = file.open("a", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--to {root} cannot be used ({error.strerror}); give a folder that can be written") from None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        opened.close()
        raise BadInput(f"--to {root}: another process writes into it; wait for it, or give another folder") from None
    return opened


def read_records(root: Path) -> dict[tuple[str, int], AssetRecord]:
    """The last record of each asset, by factory and seed, without a line that was not written to its end.

    Raises BadInput for a line that is not a record.
    """
    path = root / RECORDS
    found: dict[tuple[str, int], AssetRecord] = {}
    for number, line in enumerate(path.read_text("utf-8").rpartition("\n")[0].splitlines(), 1):
        try:
            record = _RECORD.validate_json(line)
        except ValidationError:
            raise BadInput(f"{path}:{number}: not a record of an asset; remove the line") from None
        found[record.factory, record.seed] = record
    return found


def _remove_partial_line(path: Path) -> None:
    data = path.read_bytes()
    whole = data.rpartition(b"\n")
    if whole[2]:
        os.truncate(path, len(data) - len(whole[2]))
