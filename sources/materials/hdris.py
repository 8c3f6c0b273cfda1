"""HDRIs among the files that `scene.light.hdris` names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...shards.errors import BadInput
from ..csv_rows import plain_path
from .credits import Credits, credits_of, read_credits
from .texture_sets import parse_name

TABLE: Final = "hdris.csv"
SUFFIXES: Final = (".hdr", ".exr")
_COLUMNS: Final = ("file", "license", "creator", "source")


@dataclass(frozen=True)
class FoundHdri:
    name: str
    """Path below the given folder; the name of a file that is given itself."""
    path: Path
    credits: Credits


def find_hdris(given: Path) -> list[FoundHdri]:
    """The HDRI that a file is, or those of a folder and of the folders below it, sorted by name.

    The table and the license file are those of the folder. Maps of texture sets are left out.

    Raises BadInput: the file is no HDRI, the folder has none, or the table cannot be used.
    """
    if given.is_file():
        if given.suffix.lower() not in SUFFIXES:
            raise BadInput(f"scene.light.hdris: {given} is not an .hdr or .exr file; give an equirectangular HDRI")
        root, names = given.parent, {plain_path(given.name): given}
        listed = None  # the table may be that of a folder with many others
    else:
        root, names = given, _files(given)
        listed = list(names)
        if not names:
            raise BadInput(f"scene.light.hdris: {given} has no .hdr or .exr files")
    rows = read_credits(root / TABLE, _COLUMNS, listed, "HDRI")
    return [
        FoundHdri(name, path, credits_of(rows.get(name), path.parent, root)) for name, path in sorted(names.items())
    ]


def _files(root: Path) -> dict[str, Path]:
    """The HDRIs of a folder by their path below it. Hidden files are left out."""
    return {
        plain_path(path.relative_to(root).as_posix()): path
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and parse_name(path.stem) is None
    }
