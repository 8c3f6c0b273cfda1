"""`models.csv`: what a person knows about the models of a folder. One row a model; all columns but `file` are optional.

    file,name,category,license,creator,size_m,front_deg
    chairs/SM_Chair_01.fbx,Grandmother's chair,chair,CC BY 4.0,Jo Doe,0.9,270

Invariant: every value is used or is an error that names the file and the line. An empty cell says nothing.
"""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...shards.errors import BadInput
from ..csv_rows import CsvRow, plain_path, read_rows

TABLE: Final = "models.csv"
_COLUMNS: Final = ("file", "name", "category", "license", "creator", "size_m", "front_deg")


@dataclass(frozen=True)
class Known:
    """What a row says. Empty texts and None: nothing."""

    name: str = ""
    category: str = ""
    license: str = ""
    creator: str = ""
    size_m: tuple[float, ...] | None = None
    """Largest side, or width, height and depth in any order; meters."""
    front_deg: float | None = None


def read_table(path: Path, files: Collection[str]) -> dict[str, Known]:
    """The rows of a table by file; none if there is no table.

    Args:
        files: the paths that rows may name, relative to the folder of the table. The extension may be left out where
            one file has the rest of the path.

    Raises:
        BadInput: with file and line: not a text in UTF-8, an unknown or missing header, a row that names no file or a
            file that another row names, more cells than headers, a bad number.
    """
    if not path.is_file():
        return {}
    found: dict[str, Known] = {}
    lines: dict[str, int] = {}
    by_stem = _by_stem(files)
    for row in read_rows(path, _COLUMNS, "the path of a model below this folder"):
        file = _file(row.where, row.cells.get("file", ""), files, by_stem)
        if file in found:
            raise BadInput(f"{row.where}: {file} has a row already, in line {lines[file]}: remove one of the two")
        found[file], lines[file] = _known(row), row.line
    return found


def _by_stem(files: Collection[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(file.rpartition(".")[0], []).append(file)
    return found


def _file(where: str, given: str, files: Collection[str], by_stem: Mapping[str, list[str]]) -> str:
    name = plain_path(given.replace("\\", "/")).removeprefix("./")
    if name in files:
        return name
    match by_stem.get(name, []):
        case [file]:
            return file
        case []:
            close = difflib.get_close_matches(name, files, n=1, cutoff=0.6)
            hint = f"; did you mean '{close[0]}'?" if close else "; paths are relative to the folder of the table"
            raise BadInput(f"{where}: " + (f"there is no model '{given}'{hint}" if given else "no file is named"))
        case several:
            raise BadInput(f"{where}: '{given}' may be {' or '.join(sorted(several))}: name one with its extension")


def _known(row: CsvRow) -> Known:
    cells = row.cells
    sides = tuple(row.number("size_m", part) for part in _sides(cells.get("size_m", "")))
    if sides and (len(sides) not in (1, 3) or min(sides) <= 0):
        raise BadInput(
            f"{row.where}: size_m '{cells['size_m']}': give the largest side in meters, or three: 0.5 x 0.5 x 0.9"
        )
    front = cells.get("front_deg", "")
    return Known(
        name=cells.get("name", ""),
        category=cells.get("category", "").lower(),
        license=cells.get("license", ""),
        creator=cells.get("creator", ""),
        size_m=sides or None,
        front_deg=row.number("front_deg", front) if front else None,
    )


def _sides(text: str) -> Iterator[str]:
    yield from (part for part in re.split(r"\s*[x×*]\s*|\s+", text.strip()) if part)
