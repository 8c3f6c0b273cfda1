"""PBR texture sets in a folder, by the names of their files.

ambientCG: `Bricks076_2K-JPG_Color.jpg`, `_NormalGL`, `_Roughness`, `_Metalness`, `_AmbientOcclusion`, `_Displacement`.
Poly Haven: `brick_wall_001_diff_2k.jpg`, `_nor_gl_2k`, `_rough_2k`, `_metal_2k`, `_ao_2k`, `_arm_2k`, `_disp_2k`.

Invariant: a set depends on the names and sizes of the files, not on where the folder is or on the order of the file
system.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast, get_args

from ...shards.errors import BadInput
from ..csv_rows import CsvRow, plain_path
from .credits import Credits, credits_of, read_credits
from .table import MapName, Use

TABLE: Final = "surfaces.csv"
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".exr")
"""Formats of maps. Of one map in several formats, the first of these is used."""
DEFAULT_SIZE_M: Final = 2.0
_COLUMNS: Final = ("name", "license", "creator", "source", "size_m", "use")
_RESOLUTION: Final = 2
"""Of a set in several resolutions, the largest up to this one is used (in K), else the smallest."""
_ENDINGS: Final[dict[tuple[str, ...], MapName]] = {
    **dict.fromkeys([("color",), ("col",), ("diff",), ("diffuse",), ("albedo",), ("basecolor",)], "color"),
    **dict.fromkeys([("normalgl",), ("nor", "gl"), ("normal", "gl")], "normal_gl"),
    **dict.fromkeys([("normaldx",), ("nor", "dx"), ("normal", "dx")], "normal_dx"),
    **dict.fromkeys([("displacement",), ("disp",), ("height",)], "height"),
    **dict.fromkeys([("roughness",), ("rough",)], "roughness"),
    **dict.fromkeys([("metalness",), ("metallic",), ("metal",)], "metalness"),
    **dict.fromkeys([("ambientocclusion",), ("ao",)], "ao"),
    ("arm",): "arm",
}
_NORMALS: Final[tuple[MapName, ...]] = ("normal_gl", "normal_dx", "height")
"""The first that there is."""
_SINGLE: Final[tuple[MapName, ...]] = ("ao", "roughness", "metalness")
"""In place of these, `arm`."""
_FORMAT: Final = re.compile(r"(?P<k>\d{1,2})k|jpg|png|exr|tif")
_WORDS: Final[Mapping[Use, tuple[str, ...]]] = {
    "floor": (
        *("floor", "plank", "parquet", "laminate", "tile", "terrazzo", "marble", "concrete", "carpet", "wood", "cork"),
        *("linoleum", "terracotta", "granite", "travertine"),
    ),
    "wall": ("wall", "brick", "plaster", "stucco", "paint", "panel", "concrete", "facade", "siding"),
    "table": ("table", "wood", "marble", "granite", "veneer"),
    "ground": (
        *("ground", "grass", "lawn", "soil", "dirt", "mud", "sand", "gravel", "moss", "forest", "forrest", "leaves"),
        *("pebble", "paving", "asphalt", "cobble"),
    ),
}
"""Words in the name of a set that say what it is for."""


@dataclass(frozen=True)
class FoundSet:
    """A texture set in a folder."""

    name: str
    uses: tuple[Use, ...]
    size_m: float
    maps: dict[MapName, Path]
    """The maps that are used."""
    root: Path
    credits: Credits

    def originals(self) -> dict[str, int]:
        """Size in bytes of each file, by its path below the root."""
        files = {plain_path(file.relative_to(self.root).as_posix()): file for file in self.maps.values()}
        return {name: files[name].stat().st_size for name in sorted(files)}


def find_sets(root: Path) -> list[FoundSet]:
    """The texture sets of a folder and of those below it, sorted by name.

    Raises BadInput: there is none, one has no color map, two have one name, or the table cannot be used.
    """
    files = _files(root)
    if not files:
        raise BadInput(
            f"scene.surfaces: {root} has no texture sets: name the maps as ambientCG (Name_2K_Color.jpg) or Poly Haven "
            "(name_diff_2k.jpg) do"
        )
    by_name: dict[str, Path] = {}
    maps: dict[str, dict[MapName, Path]] = {}
    for (folder, name), sizes in sorted(files.items()):
        if (other := by_name.get(name)) is not None:
            raise BadInput(f"scene.surfaces: two sets are named '{name}', in {other} and {folder}: rename one of them")
        by_name[name], maps[name] = folder, _used(name, folder, sizes)
    rows = read_credits(root / TABLE, _COLUMNS, by_name, "texture set")
    return [
        FoundSet(
            name=name,
            uses=_uses(name, rows.get(name)),
            size_m=_size_m(rows.get(name)),
            maps=maps[name],
            root=root,
            credits=credits_of(rows.get(name), folder, root),
        )
        for name, folder in sorted(by_name.items())
    ]


def parse_name(stem: str) -> tuple[str, MapName, int] | None:
    """Set, map and resolution in K (0: not named) of a file name without its extension; None if it names no map."""
    tokens = list(re.finditer(r"[^_\-\s]+", stem))
    resolution = 0

    def drop_format() -> None:
        nonlocal resolution
        while tokens and (match := _FORMAT.fullmatch(tokens[-1][0].lower())):
            resolution = int(match["k"] or 0) or resolution
            tokens.pop()

    drop_format()
    for count in (2, 1):
        ending = tuple(token[0].lower() for token in tokens[-count:])
        if len(tokens) > count and (name := _ENDINGS.get(ending)):
            del tokens[-count:]
            drop_format()
            return (plain_path(stem[: tokens[-1].end()]), name, resolution) if tokens else None
    return None


def _files(root: Path) -> dict[tuple[Path, str], dict[int, dict[MapName, list[Path]]]]:
    """The files of each map, by folder and name of the set, and resolution. Hidden files are left out."""
    found: dict[tuple[Path, str], dict[int, dict[MapName, list[Path]]]] = {}
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for file in names:
            path = Path(place) / file
            if path.suffix.lower() not in SUFFIXES or file.startswith(".") or (parsed := parse_name(path.stem)) is None:
                continue
            name, kind, resolution = parsed
            found.setdefault((Path(place), name), {}).setdefault(resolution, {}).setdefault(kind, []).append(path)
    return found


def _used(name: str, folder: Path, sizes: Mapping[int, Mapping[MapName, list[Path]]]) -> dict[MapName, Path]:
    """One file for each map that is used, all of one resolution."""
    complete = [resolution for resolution, maps in sizes.items() if "color" in maps]
    if not complete:
        others = sorted(path.name for maps in sizes.values() for paths in maps.values() for path in paths)
        raise BadInput(
            f"scene.surfaces: the set '{name}' in {folder} has no color map (_Color, _diff), only {', '.join(others)}: "
            "add it, or remove these files"
        )
    small = [resolution for resolution in complete if resolution <= _RESOLUTION]
    maps = sizes[max(small) if small else min(complete)]
    normals: list[MapName] = [one for one in _NORMALS if one in maps]
    single: list[MapName] = [one for one in _SINGLE if one in maps]
    packed: list[MapName] = ["arm"] if "arm" in maps and len(single) < 2 else single
    wanted: list[MapName] = ["color", *normals[:1], *packed]
    return {one: min(maps[one], key=lambda path: (SUFFIXES.index(path.suffix.lower()), path.name)) for one in wanted}


def _uses(name: str, row: CsvRow | None) -> tuple[Use, ...]:
    """What the table says, else what words of the name say, else floors and walls."""
    allowed = cast("tuple[Use, ...]", get_args(Use))
    if row and (stated := row.cells.get("use", "")):
        given = re.findall(r"[^\s,;+]+", stated.lower())
        if unknown := [one for one in given if one not in allowed]:
            raise BadInput(f"{row.where}: use '{unknown[0]}' is not allowed; allowed: {', '.join(allowed)}")
        return tuple(use for use in allowed if use in given)
    plain = name.lower()
    for only in ("floor", "wall", "table"):  # a wooden floor is no table top, a brick floor no wall
        if only in plain:
            return (only,)
    return tuple(use for use in allowed if any(word in plain for word in _WORDS[use])) or ("floor", "wall")


def _size_m(row: CsvRow | None) -> float:
    text = row.cells.get("size_m", "") if row else ""
    if not row or not text:
        return DEFAULT_SIZE_M
    size = row.number("size_m", text)
    if not 0.01 <= size <= 100:
        raise BadInput(f"{row.where}: size_m {text} is not allowed: give the width of the image in meters, 0.01 to 100")
    return size
