"""`models.csv`: what a person knows about the models of a folder. One row a model; all columns but `file` are optional.

    file,name,category,license,creator,size_m,front_deg
    chairs/SM_Chair_01.fbx,Grandmother's chair,chair,CC BY 4.0,Jo Doe,0.9,270

As spreadsheets write it: UTF-8 with or without a byte order mark, separated by commas or semicolons. In a file with
semicolons, numbers may have a decimal comma.

Invariant: every value is used or is an error that names the file and the line. An empty cell says nothing.
"""

import csv
import difflib
import math
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...shards.errors import BadInput
from ...shards.options import nearest

TABLE: Final = "models.csv"
_COLUMNS: Final = ("file", "name", "category", "license", "creator", "size_m", "front_deg")
_MAX_BYTES: Final = 256 * 2**20
_MAX_TEXT: Final = 200
"""Characters of a cell."""


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
    text = _text(path)
    comma = ";" if ";" in text.partition("\n")[0] else ","
    rows = csv.reader(text.splitlines(), delimiter=comma)
    header = [cell.strip().lower() for cell in next(rows, [])]
    _check_header(path, header)
    found: dict[str, Known] = {}
    lines: dict[str, int] = {}
    by_stem = _by_stem(files)
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{path}:{rows.line_num}"
            if len(row) > len(header):
                raise BadInput(
                    f"{where}: {len(row)} cells for {len(header)} headers: quote a cell that has a '{comma}'"
                )
            cells = {name: " ".join(cell.split()) for name, cell in zip(header, row, strict=False)}
            file = _file(where, cells.get("file", ""), files, by_stem)
            if file in found:
                raise BadInput(f"{where}: {file} has a row already, in line {lines[file]}: remove one of the two")
            found[file], lines[file] = _known(where, cells, comma == ";"), rows.line_num
    except csv.Error as error:
        raise BadInput(f"{path}:{rows.line_num}: {error}") from None
    return found


def plain_path(path: str) -> str:
    """A path as it is compared: composed characters, because file systems and spreadsheets differ in that."""
    return unicodedata.normalize("NFC", path)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInput(f"{path}: larger than {_MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise BadInput(f"{path}:{line}: not UTF-8; save it as `CSV UTF-8`") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None


def _check_header(path: Path, header: list[str]) -> None:
    for name in header:
        if name not in _COLUMNS:
            raise BadInput(
                f"{path}:1: unknown header '{name}'{nearest(name, _COLUMNS)}; allowed: {', '.join(_COLUMNS)}"
            )
        if header.count(name) > 1:
            raise BadInput(f"{path}:1: header '{name}' occurs twice")
    if "file" not in header:
        raise BadInput(
            f"{path}:1: no header 'file', the path of a model below this folder; allowed: {', '.join(_COLUMNS)}"
        )


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


def _known(where: str, cells: Mapping[str, str], decimal_comma: bool) -> Known:
    def number(name: str, text: str) -> float:
        try:
            value = float(text.replace(",", ".") if decimal_comma else text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BadInput(f"{where}: {name} '{text}' is not a number")
        return value

    for name, text in cells.items():
        if len(text) > _MAX_TEXT and name != "file":
            raise BadInput(f"{where}: {name} has {len(text)} characters, at most {_MAX_TEXT}")
    sides = tuple(number("size_m", part) for part in _sides(cells.get("size_m", "")))
    if sides and (len(sides) not in (1, 3) or min(sides) <= 0):
        raise BadInput(
            f"{where}: size_m '{cells['size_m']}': give the largest side in meters, or three: 0.5 x 0.5 x 0.9"
        )
    front = cells.get("front_deg", "")
    return Known(
        name=cells.get("name", ""),
        category=cells.get("category", "").lower(),
        license=cells.get("license", ""),
        creator=cells.get("creator", ""),
        size_m=sides or None,
        front_deg=number("front_deg", front) if front else None,
    )


def _sides(text: str) -> Iterator[str]:
    yield from (part for part in re.split(r"\s*[x×*]\s*|\s+", text.strip()) if part)
