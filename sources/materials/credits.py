"""License, creator and source of HDRIs and texture sets: from the table of their folder, else from a license file.

Invariant: nothing is guessed. What neither states is unknown.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...shards.errors import BadInput
from ...shards.licenses import LICENSES
from ...shards.options import nearest
from ..csv_rows import CsvRow, plain_path, read_rows
from ..survey.licenses import normalize_license

_LICENSE_FILES: Final = ("license", "license.txt", "license.md", "licence", "licence.txt", "licence.md")
_TITLE: Final = re.compile(r"(?:#+ *)?creative commons legal code", re.IGNORECASE)
"""First line of the text of a Creative Commons license. The next line names the license."""
_LABEL: Final = re.compile(r"(?:spdx-license-identifier|licen[sc]e) *: *", re.IGNORECASE)
_MAX_BYTES: Final = 1 << 20
_LEGAL_TEXT: Final = 5000
"""Characters from which a file may be the whole text of a license."""


@dataclass(frozen=True)
class Credits:
    """Who made something, and under which terms. `license` is a name of `LICENSES` or other text, which is unknown."""

    license: str = "unknown"
    creator: str = ""
    source: str = ""
    """Where it comes from: mostly a URL."""


def read_credits(table: Path, columns: tuple[str, ...], names: Collection[str] | None, what: str) -> dict[str, CsvRow]:
    """The rows of a table by the name in its first column; none if there is no table.

    Args:
        columns: allowed headers; the first one names an entry.
        names: the names that rows may have; None: any.
        what: what is named, for messages.

    Raises BadInput if a row names nothing, or what another row names; see also `read_rows`.
    """
    found: dict[str, CsvRow] = {}
    if not table.is_file():
        return found
    for row in read_rows(table, columns, f"the name of a {what}"):
        name = plain_path(row.cells.get(columns[0], ""))
        if names is not None and name not in names:
            raise BadInput(f"{row.where}: there is no {what} '{name}' in this folder{nearest(name, list(names))}")
        if name in found:
            raise BadInput(
                f"{row.where}: '{name}' has a row already, in line {found[name].line}: remove one of the two"
            )
        found[name] = row
    return found


def credits_of(row: CsvRow | None, folder: Path, root: Path) -> Credits:
    """The credits of what lies in `folder`: those of its row; its license, else that of the nearest license file.

    Args:
        folder: `root` or a folder below it.
    """
    cells = row.cells if row else {}
    stated = cells.get("license", "")
    license = normalize_license(stated) if stated else _license_of(folder, root)
    return Credits(license, cells.get("creator", ""), cells.get("source", ""))


def _license_of(folder: Path, root: Path) -> str:
    while True:
        for path in sorted(folder.iterdir()):
            if path.name.lower() in _LICENSE_FILES and path.is_file():
                return _license_in(path)
        if folder == root:
            return "unknown"
        folder = folder.parent


def _license_in(path: Path) -> str:
    """The license whose text the file is, or that all its lines name. A text that says more than that is unknown."""
    with path.open("rb") as file:
        text = file.read(_MAX_BYTES).decode("utf-8-sig", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "unknown"
    if _TITLE.fullmatch(lines[0]):
        lines = lines[1:2]
    elif len(text) > _LEGAL_TEXT and "creative commons corporation" in text.lower():
        lines = lines[:1]
    named = {normalize_license(_LABEL.sub("", line, count=1)) for line in lines}
    return named.pop() if len(named) == 1 and named <= set(LICENSES) else normalize_license(f"see {path.name}")
