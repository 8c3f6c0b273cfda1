"""Reads the cache that the `objaverse` package writes. The package itself is used only to download what is missing.

    ROOT/hf-objaverse-v1/object-paths.json.gz          {uid: "glbs/000-023/<uid>.glb"}
    ROOT/hf-objaverse-v1/glbs/000-023/<uid>.glb
    ROOT/hf-objaverse-v1/metadata/000-023.json.gz      {uid: {name, license, user, faceCount, ...}}
    ROOT/hf-objaverse-v1/lvis-annotations.json.gz      {category: [uid, ...]}, optional

ROOT may also be the folder `hf-objaverse-v1` itself. Default: `~/.objaverse`. ROOT/orientations.json, written by
users or by `spatialdata orient`, is read by `sources.assets.orientations`.

Invariant: a file is used only after it was read completely (gzip checks its checksum) and validated. Entries are sorted
by metadata file, then uid, independently of the file system.
"""

import gzip
import json
import re
import zlib
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from ...shards.errors import BadInput, SpatialdataError
from ..assets.glb import header_error
from ..survey.licenses import normalize_license

VERSIONED: Final = "hf-objaverse-v1"
_MAX_TABLE: Final = 128 * 2**20
"""Bytes of a table, decompressed. The index of all of Objaverse has 80 million."""
_MAX_ITEMS: Final = 6_000_000
"""Limit for the commas and brackets in a table, which bounds the memory that parsing takes."""
_MAX_NAME: Final = 200
_MAX_CATEGORY: Final = 80
_MAX_TEXT: Final = 1000
_MAX_TAGS: Final = 64
"""Limits for metadata. A longer name is dropped; longer texts are truncated."""
_UID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class CacheEntry:
    """What the cache states about one model, before the model itself is read."""

    uid: str
    path: str
    """Relative to `resolve_root(root)`; empty if the index has no path for the uid."""
    licence: str
    """License: a name of `shards.licenses`, or the text as it is; `unknown` if the metadata has none."""
    creator: str
    name: str
    category: str
    """LVIS category in plain words; empty if there is none."""
    tags: tuple[str, ...]
    description: str
    size_m: tuple[float, float, float] | None
    """Size along the axes of the file, from the metadata; meters, if it is correct. None if there is none."""
    faces: int
    """Number of faces according to the metadata; 0 if it has none."""

    def spec(self) -> dict[str, Any]:
        """Plain JSON values: `Sample.spec` of the asset survey."""
        values = asdict(self)
        return values | {"tags": list(self.tags), "size_m": list(self.size_m) if self.size_m else None}


def resolve_root(root: str | Path) -> Path:
    """The folder that `CacheEntry.path` and `Asset.path` are relative to.

    Raises:
        BadInput: it is not a local folder.
    """
    if "://" in str(root):
        raise BadInput(f"source.root: {root} is a URL; models must be in a local folder")
    folder = Path(root or "~/.objaverse").expanduser()
    if not folder.is_dir():
        raise BadInput(
            f"source.root: no folder {folder}; use an Objaverse cache (the folder that contains {VERSIONED}/)"
        )
    return folder


def read_cache(root: str | Path, uids: Collection[str] | None = None, fetch: bool = False) -> Iterator[CacheEntry]:
    """List the entries of a cache, sorted by metadata file, then uid.

    Args:
        root: see the docstring of the module.
        uids: list exactly these, even if a file is missing (the survey rejects it). Default: the whole index, or, if
            less than half of its files exist, those that exist: the cache is then a partial download.
        fetch: let the `objaverse` package download what is missing or corrupt: the index, the metadata, and the models
            of `uids` (never the models of a whole index).

    Raises:
        BadInput: the root does not exist or is empty, an index or metadata file is corrupt, or no entry is left.
        SpatialdataError: a download failed.
    """
    folder = _create_root(root) if fetch else resolve_root(root)
    base = folder if folder.name == VERSIONED or (folder / "glbs").is_dir() else folder / VERSIONED
    if fetch:
        _fetch_tables(base, uids)
    index = _read_index(base, folder)
    chosen = _choose(base, index, uids)
    if not chosen:
        raise BadInput(f"source.root: {folder} contains no models ({base.name}/glbs has no .glb file)")
    if fetch and uids is not None:
        _fetch_models(base, {uid: index[uid] for uid in chosen if uid in index})
    categories = _read_categories(base)
    prefix = base.relative_to(folder)
    for part, members in groupby(chosen, key=lambda uid: _part(index.get(uid, ""))):
        metadata = _read_metadata(base, part)
        for uid in members:
            path = (prefix / index[uid]).as_posix() if uid in index else ""
            yield _entry(uid, path, metadata.get(uid, {}), categories.get(uid, ""))


def plain_category(lvis: str) -> str:
    """An LVIS category in plain words: `bow_(weapon)` becomes `bow`, and `coffee_maker` becomes `coffee maker`."""
    return " ".join(re.sub(r"\([^()]*\)", " ", lvis.replace("_", " ")).lower().split())


def _create_root(root: str | Path) -> Path:
    if "://" not in str(root):
        Path(root or "~/.objaverse").expanduser().mkdir(parents=True, exist_ok=True)
    return resolve_root(root)


def _read_gz(path: Path) -> dict[str, Any]:
    """A gzipped JSON object. It is read completely, so that the checksum is verified."""
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(_MAX_TABLE + 1)
        if len(data) > _MAX_TABLE or sum(data.count(mark) for mark in (b",", b"[", b"{")) > _MAX_ITEMS:
            raise ValueError("larger than any table that Objaverse publishes")
        content = json.loads(data)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is corrupt ({error}); delete it and fetch it again") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path} is corrupt (not a JSON object); delete it and fetch it again")
    return content


def _read_index(base: Path, folder: Path) -> dict[str, str]:
    """Path below `base` by uid. Without an index file, the models that exist are the index."""
    path = base / "object-paths.json.gz"
    if not path.is_file():
        found = {file.stem: file.relative_to(base).as_posix() for file in sorted(base.glob("glbs/*/*.glb"))}
        if not found:
            raise BadInput(
                f"source.root: {folder} is not an Objaverse cache (no {path.name}, no models); "
                f"use the folder that contains {VERSIONED}/"
            )
        return found
    index = _read_gz(path)
    for uid, place in index.items():
        good = isinstance(place, str) and 0 < len(place) <= _MAX_TEXT and _UID.fullmatch(uid)
        if not good or place.startswith("/") or not place.isprintable() or {"..", "~"} & set(re.split(r"[/\\]", place)):
            entry = f"bad entry {uid[:80]!r}: {str(place)[:80]!r}"
            raise BadInput(f"{path}: {entry}; delete the file and fetch it again")
    return index


def _choose(base: Path, index: dict[str, str], uids: Collection[str] | None) -> list[str]:
    if uids is not None:
        chosen = {uid.removesuffix(".glb") for uid in uids}
    else:
        present = {file.relative_to(base).as_posix() for file in base.glob("glbs/*/*.glb")}
        existing = {uid for uid, place in index.items() if place in present}
        chosen = set(index) if len(existing) * 2 >= len(index) else existing
        if not existing:
            return []
    return sorted(chosen, key=lambda uid: (_part(index.get(uid, "")), uid))


def _part(place: str) -> str:
    """Name of the metadata file of a model: `000-023` for `glbs/000-023/<uid>.glb`."""
    parts = place.split("/")
    return parts[1] if len(parts) > 2 else ""


def _read_metadata(base: Path, part: str) -> dict[str, Any]:
    path = base / "metadata" / f"{part}.json.gz"
    return _read_gz(path) if part and path.is_file() else {}


def _read_categories(base: Path) -> dict[str, str]:
    path = base / "lvis-annotations.json.gz"
    if not path.is_file():
        return {}
    result: dict[str, str] = {}
    for lvis, members in sorted(_read_gz(path).items()):
        if not isinstance(members, list):
            raise BadInput(f"{path}: category {lvis[:80]!r} has no list of uids; delete the file and fetch it again")
        category = plain_category(lvis) if len(lvis) <= _MAX_CATEGORY else ""
        for uid in members:
            result.setdefault(str(uid), category)
    return result


def _entry(uid: str, path: str, metadata: Any, category: str) -> CacheEntry:
    """One entry. Metadata of the wrong type counts as missing, because thousands of users wrote it."""
    data: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    user = data.get("user")
    user = user if isinstance(user, dict) else {}
    creator = user.get("displayName") or user.get("username") or ""
    tags, name = data.get("tags"), _one_line(data.get("name"))
    faces = data.get("faceCount")
    return CacheEntry(
        uid=uid,
        path=path,
        licence=normalize_license(_one_line(data.get("license"))[:_MAX_NAME]),
        creator=_one_line(creator)[:_MAX_NAME],
        name=name if len(name) <= _MAX_NAME else "",
        category=category,
        tags=tuple(
            _one_line(tag["name"])[:_MAX_CATEGORY]
            for tag in tags[:_MAX_TAGS]
            if isinstance(tag, dict) and "name" in tag
        )
        if isinstance(tags, list)
        else (),
        description=_one_line(data.get("description"))[:_MAX_TEXT],
        size_m=_size(data.get("size_m")),
        faces=faces if isinstance(faces, int) else 0,
    )


def _one_line(text: Any) -> str:
    """Printable text with single spaces; empty if it is no text or far too long."""
    if not isinstance(text, str) or len(text) > 64 * _MAX_TEXT:
        return ""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _size(value: Any) -> tuple[float, float, float] | None:
    """Three numbers, none below zero. `sizes.find_size` finds their unit and checks whether they are plausible."""
    if not isinstance(value, list) or len(value) != 3 or any(isinstance(item, bool) for item in value):
        return None
    if not all(isinstance(item, int | float) and 0 <= item < 1e9 for item in value) or not max(value) > 0:
        return None
    return float(value[0]), float(value[1]), float(value[2])


def _fetch_tables(base: Path, uids: Collection[str] | None) -> None:
    """Download the index, the categories and the metadata that are missing or corrupt, and check them."""
    import objaverse

    index_file, lvis_file = base / "object-paths.json.gz", base / "lvis-annotations.json.gz"
    _delete_corrupt([index_file, lvis_file])
    index: dict[str, str] = _call(base, objaverse._load_object_paths)  # pyright: ignore[reportPrivateUsage]
    _call(base, objaverse.load_lvis_annotations)
    wanted = [uid for uid in _choose(base, index, uids) if uid in index]
    parts = sorted({_part(index[uid]) for uid in wanted})
    _delete_corrupt([base / "metadata" / f"{part}.json.gz" for part in parts])
    if wanted:
        _call(base, objaverse.load_annotations, wanted)


def _fetch_models(base: Path, wanted: dict[str, str]) -> None:
    """Download models that are missing or truncated, one at a time, so that an error names the model."""
    import objaverse

    for uid, place in wanted.items():
        file = base / place
        if file.is_file() and header_error(file):
            file.unlink()
        if not file.is_file():
            _call(base, objaverse.load_objects, [uid])
            if error := header_error(file) if file.is_file() else "no file was written":
                raise SpatialdataError(f"fetching model {uid} failed ({error}): try again")


def _delete_corrupt(files: list[Path]) -> None:
    """An interrupted download leaves a corrupt file, which the package never checks again."""
    for file in files:
        if file.is_file():
            try:
                _read_gz(file)
            except BadInput:
                file.unlink()


def _call(base: Path, function: Any, *arguments: Any) -> Any:
    """Call a function of the package with its cache at `base`. Its output to stdout is discarded."""
    import contextlib
    import io

    import objaverse

    before = objaverse.BASE_PATH, objaverse._VERSIONED_PATH  # pyright: ignore[reportPrivateUsage]
    objaverse.BASE_PATH, objaverse._VERSIONED_PATH = str(base.parent), str(base)  # pyright: ignore
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return function(*arguments)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise SpatialdataError(
            f"fetching from Objaverse to {base} failed ({error}): check the network and try again, "
            "or fill the cache by hand"
        ) from None
    finally:
        objaverse.BASE_PATH, objaverse._VERSIONED_PATH = before  # pyright: ignore
