"""Rows of the small tables that people write beside their files: `models.csv`, `hdris.csv`, `surfaces.csv`.

As spreadsheets write them: UTF-8 with or without a byte order mark, separated by commas or semicolons. In a file with
semicolons, numbers may have a decimal comma.
"""

import csv
import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..shards.errors import BadInput
from ..shards.options import nearest

_MAX_BYTES: Final = 256 * 2**20
_MAX_TEXT: Final = 200
"""Characters of a cell, except of the first column, which may be a path."""


@dataclass(frozen=True)
class CsvRow:
    """One row, without surrounding and repeated spaces."""

    where: str
    """File and line, for messages."""
    line: int
    cells: Mapping[str, str]
    """By header. A cell that the row lacks is missing."""
    decimal_comma: bool

    def number(self, name: str, text: str) -> float:
        """The number in a text of column `name`. Raises BadInput if it is none."""
        try:
            value = float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BadInput(f"{self.where}: {name} '{text}' is not a number")
        return value


def read_rows(path: Path, columns: Sequence[str], meaning: str) -> Iterator[CsvRow]:
    """The rows of a table that are not empty.

    Args:
        columns: allowed headers, in any order. The first one is required.
        meaning: what the first column is, for the message if it is missing.

    Raises:
        BadInput: with file and line: not a text in UTF-8, an unknown, repeated or missing header, more cells than
            headers, a cell that is too long.
    """
    text = _text(path)
    comma = separator_of(text)
    rows = csv.reader(text.splitlines(), delimiter=comma)
    header = [cell.strip().lower() for cell in next(rows, [])]
    _check_header(path, header, columns, meaning)
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
            for name, cell in cells.items():
                if len(cell) > _MAX_TEXT and name != columns[0]:
                    raise BadInput(f"{where}: {name} has {len(cell)} characters, at most {_MAX_TEXT}")
            yield CsvRow(where, rows.line_num, cells, comma != ",")
    except csv.Error as error:
        raise BadInput(f"{path}:{rows.line_num}: {error}") from None


def separator_of(text: str) -> str:
    """What separates the cells of a table, as its first line shows: a tab, a semicolon or a comma."""
    header = text.partition("\n")[0]
    return next((one for one in ("\t", ";") if one in header), ",")


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


def _check_header(path: Path, header: list[str], columns: Sequence[str], meaning: str) -> None:
    for name in header:
        if name not in columns:
            raise BadInput(f"{path}:1: unknown header '{name}'{nearest(name, columns)}; allowed: {', '.join(columns)}")
        if header.count(name) > 1:
            raise BadInput(f"{path}:1: header '{name}' occurs twice")
    if columns[0] not in header:
        raise BadInput(f"{path}:1: no header '{columns[0]}', {meaning}; allowed: {', '.join(columns)}")
