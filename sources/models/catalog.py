"""Which models a folder holds, and what is known about each before its file is read.

Invariant: an entry depends on the folder's files and tables, not on where the folder is or on the order of the file
system. Its uid is the path below the folder or, of a model of Objaverse-XL, the file identifier.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ...shards.errors import BadInput
from ..csv_rows import plain_path
from ..survey.licenses import normalize_license
from .names import name_of
from .provenance import LEFT_OUT, Provenance, read_provenance
from .table import TABLE, Known, read_table

DIRECT: Final = (".glb", ".gltf")
"""Read as they are."""
CONVERTED: Final = (".usdz", ".usdc", ".usd", ".usda", ".fbx", ".obj", ".ply")
"""Converted to GLB by Blender. Of one model in several formats, the first of `DIRECT` and these is used."""
_FORMATS: Final = (*DIRECT, *CONVERTED)
_NOT_READ: Final = (".stl", ".blend", ".dae", ".abc", ".3ds", ".max", ".ma", ".mb", ".c4d", ".3dm", ".x3d", ".wrl")
_UNNAMED: Final = f"neither {TABLE} nor the names of file and folder say what it is: give it a category in {TABLE}"


@dataclass(frozen=True)
class ModelEntry:
    """What is known about a model."""

    uid: str
    path: str
    """Relative to the root."""
    licence: str
    creator: str
    name: str
    """Title, for the attribution."""
    category: str
    size_m: tuple[float, ...] | None
    front_deg: float | None

    def spec(self) -> dict[str, Any]:
        """Plain JSON values: `Sample.spec` of the asset survey."""
        values = asdict(self)
        del values["front_deg"]  # applied after the survey, like those of `spatialdata orient`
        unnamed = "" if self.category else _UNNAMED
        return values | {"size_m": list(self.size_m) if self.size_m else None, "guess_unit": True, "unnamed": unnamed}


def list_models(root: Path, license: str, creator: str, say: Callable[[str], None]) -> list[ModelEntry]:
    """The models of a folder, sorted by path.

    Args:
        license, creator: of models for which no table names one; may be empty.
        say: is told what is left out, one line each.

    Raises:
        BadInput: there are no models, or a table cannot be used.
    """
    files = _files(root, say)
    listed = [path for path in files if _suffix(path) in _FORMATS]
    if not listed:
        raise BadInput(f"source.root: {root} has no models ({', '.join(_FORMATS)}) in any folder of it")
    table = read_table(root / TABLE, listed)
    paths = _one_of_each(listed, table, say)
    provenance = read_provenance(root, paths)
    members = Counter(parent for path in paths for parent in _parents(path))
    entries: list[ModelEntry] = []
    for path in paths:
        known, origin = table.get(path, Known()), provenance.get(path, Provenance("", "", ""))
        title = known.name or _stem(path)
        entries.append(
            ModelEntry(
                uid=origin.identifier or path,
                path=files[path],
                licence=normalize_license(known.license or origin.license or license),
                creator=known.creator or origin.creator or creator,
                name=title,
                category=known.category or name_of(known.name) or _named_by_path(path, members),
                size_m=known.size_m,
                front_deg=known.front_deg,
            )
        )
    return entries


def _files(root: Path, say: Callable[[str], None]) -> dict[str, str]:
    """Paths below the root by their plain form, sorted. Hidden files and those of other sources are left out."""
    found: dict[str, str] = {}
    odd = 0
    for place, folders, names in os.walk(root):
        below = Path(place).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX")) and prefix + name != LEFT_OUT]
        for name in names:
            path = prefix + name
            if name.startswith(".") or _suffix(name) not in (*_FORMATS, *_NOT_READ):
                continue
            if path.isprintable():
                found[plain_path(path)] = path
            else:
                odd += 1
    if (root / LEFT_OUT).is_dir():
        say(f"{LEFT_OUT} is an Objaverse cache, which source.kind objaverse reads: left out")
    if odd:
        say(f"{odd} model files are left out: their names have characters that cannot be printed")
    if others := Counter(_suffix(path) for path in found if _suffix(path) in _NOT_READ):
        counted = ", ".join(f"{suffix} {count}" for suffix, count in sorted(others.items()))
        say(f"{others.total()} files are left out, whose formats are not read: {counted}; convert them to GLB")
    return dict(sorted(found.items()))


def _one_of_each(paths: Iterable[str], table: Mapping[str, Known], say: Callable[[str], None]) -> list[str]:
    """One file of each model that a folder holds in several formats: the one that the table names, else the first."""
    best: dict[str, str] = {}
    paths = list(paths)
    for path in sorted(paths, key=lambda path: (path not in table, _FORMATS.index(_suffix(path)), path)):
        best.setdefault(path.rpartition(".")[0], path)
    kept = {*best.values(), *table}
    if left := len(paths) - len(kept):
        say(f"{left} files are left out: the same folder has a file of the same name in another format")
    return [path for path in paths if path in kept]


def _named_by_path(path: str, members: Mapping[str, int]) -> str:
    """The name in the name of a file, else in that of a folder that holds only this model."""
    if name := name_of(_stem(path)):
        return name
    return next((name for parent in _parents(path) if members[parent] == 1 and (name := name_of(_last(parent)))), "")


def _parents(path: str) -> list[str]:
    """The folders of a path, the innermost first, without the root."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    return _last(path).rpartition(".")[0]


def _suffix(path: str) -> str:
    return Path(path).suffix.lower()
