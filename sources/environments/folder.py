"""Room models in a folder of the user, with the table that states their license and unit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...shards.errors import BadInput
from ..csv_rows import CsvRow, plain_path
from ..materials.credits import Credits, credits_of, read_credits

KEY: Final = "scene.environments.root"
TABLE: Final = "environments.csv"
_SUFFIX: Final = ".glb"
_COLUMNS: Final = ("file", "license", "creator", "source", "unit_m")


@dataclass(frozen=True)
class FoundEnvironment:
    name: str
    """Path below the given folder."""
    path: Path
    credits: Credits
    unit_m: float | None
    """Meters per file unit, if the table states it."""


def find_environments(root: Path) -> list[FoundEnvironment]:
    """The room models of a folder and of the folders below it, sorted by name. Hidden files are left out.

    Raises BadInput: the folder has no GLB file, or its table cannot be used.
    """
    names = {
        plain_path(path.relative_to(root).as_posix()): path
        for path in root.rglob("*")
        if path.suffix.lower() == _SUFFIX and not path.name.startswith(".")
    }
    if not names:
        raise BadInput(f"{KEY}: {root} has no .glb files")
    rows = read_credits(root / TABLE, _COLUMNS, list(names), "room model")
    return [
        FoundEnvironment(name, path, credits_of(rows.get(name), path.parent, root), _unit(rows.get(name)))
        for name, path in sorted(names.items())
    ]


def _unit(row: CsvRow | None) -> float | None:
    text = row.cells.get("unit_m", "") if row else ""
    if row is None or not text:
        return None
    unit = row.number("unit_m", text)
    if not 1e-6 <= unit <= 1e6:
        raise BadInput(f"{row.where}: unit_m '{text}' is not a size of a unit in meters, such as 1 or 0.01")
    return unit
