"""A reader of the cache that the `objaverse` package leaves on disk; the package itself only fetches what is missing.

    ROOT/hf-objaverse-v1/object-paths.json.gz          {uid: "glbs/000-023/<uid>.glb"}
    ROOT/hf-objaverse-v1/glbs/000-023/<uid>.glb
    ROOT/hf-objaverse-v1/metadata/000-023.json.gz      {uid: {name, license, user, faceCount, ...}}
    ROOT/hf-objaverse-v1/lvis-annotations.json.gz      {category: [uid, ...]}, optional

ROOT may also be the folder `hf-objaverse-v1` itself; empty means `~/.objaverse`. What people and `spatialdata orient`
add, ROOT/orientations.json, is read by `sources.assets.orientations`.

Invariant: no file is trusted before it was read whole (gzip checks its own sum) and has the right shape; entries
come in the order of their uids within each metadata file, whatever the file system says.
"""

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from ...shards.errors import BadInput, SpatialdataError
from ...shards.licenses import LICENSES, LicenseName, known
from ..assets.glb import header_error

VERSIONED: Final = "hf-objaverse-v1"
DEFAULT_LICENCES: Final = ("cc0", "by", "by-sa")
_MAX_TABLE: Final = 128 * 2**20
"""Bytes of a table, unpacked; the index of all of Objaverse has 80 million."""
_MAX_ITEMS: Final = 6_000_000
"""Commas and brackets in it, by which the memory is bounded that parsing it takes."""
_LONGEST_NAME: Final = 200
_LONGEST_CATEGORY: Final = 80
_LONGEST_TEXT: Final = 1000
_MOST_TAGS: Final = 64
"""What metadata may say at most: a name that is longer is none, and texts are cut."""
_SPELLINGS: Final = (
    (re.compile(r"(?:https?://)?(?:www\.)?creativecommons\.org/"), " cc "),
    (re.compile(r"cc[ -]?(?:0|zero)\b|publicdomain/zero|creative commons zero"), " cc0 "),
    (re.compile(r"\battribution"), " by "),
    (re.compile(r"non-?\s?commercial"), " nc "),
    (re.compile(r"share-?\s?alike"), " sa "),
    (re.compile(r"no-?\s?deriv(?:ative)?s?(?: works)?\b"), " nd "),
)
_SAYS_NO_MORE: Final = re.compile(
    r"cc|creative|commons|public|domain|dedication|universal|licen[sc]es?|international|unported|generic|deed|legalcode|"
    r"v?\d(?:\.\d)?|igo|us|uk|de|fr|es|it|nl|jp|au|ca|br|at|ch|pl|pt|se|dk|fi|kr|cn|tw|hk|nz|za|\."
)
"""What may stand beside a licence's name: whose it is, its version, a country's code."""
_TEXT: Final = 40
_TEXTS: Final = 3
"""Texts of unknown licences that a message shows, and characters of each."""
_UID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class CacheEntry:
    """What the cache says of one model, before anyone looks at the model itself."""

    uid: str
    path: str
    """Relative to `resolve_root(root)`; empty where the index has no path for the uid."""
    licence: str
    """A name of `shards.licenses`, or the text as it is; `unknown` where the metadata is silent."""
    creator: str
    name: str
    category: str
    """LVIS category in plain words, empty where there is none."""
    tags: tuple[str, ...]
    description: str
    size_m: tuple[float, float, float] | None
    """Along the file's axes, as the metadata holds it; meters, if it is right. None where it holds no such numbers."""
    faces: int
    """Faces that the metadata claims, 0 where it is silent."""

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
        raise BadInput(f"source.root: {root} is a URL; models must lie in a local folder")
    folder = Path(root or "~/.objaverse").expanduser()
    if not folder.is_dir():
        raise BadInput(f"source.root: no folder {folder}; give an Objaverse cache (it holds {VERSIONED}/)")
    return folder


def read_cache(root: str | Path, uids: Collection[str] | None = None, fetch: bool = False) -> Iterator[CacheEntry]:
    """What the cache holds, sorted by metadata file, then uid.

    Args:
        root: see the module.
        uids: exactly these, also where the file is absent (the survey rejects them). Without it: all of the index;
            but where most of the index has no file, the cache is a partial download of a larger index, and only
            what is there is listed.
        fetch: let the `objaverse` package fetch what is missing or corrupt: the index, metadata, and the models of
            `uids` (never a whole index of models).

    Raises:
        BadInput: no such root, nothing in it, a corrupt index or metadata file, an empty choice.
        SpatialdataError: a download failed.
    """
    folder = _make_root(root) if fetch else resolve_root(root)
    base = folder if folder.name == VERSIONED or (folder / "glbs").is_dir() else folder / VERSIONED
    if fetch:
        _fetch_tables(base, uids)
    index = _read_index(base, folder)
    chosen = _choose(base, index, uids)
    if not chosen:
        raise BadInput(f"source.root: {folder} holds no models ({base.name}/glbs has no .glb file)")
    if fetch and uids is not None:
        _fetch_models(base, {uid: index[uid] for uid in chosen if uid in index})
    categories = _read_categories(base)
    prefix = base.relative_to(folder)
    for part, members in groupby(chosen, key=lambda uid: _part(index.get(uid, ""))):
        metadata = _read_metadata(base, part)
        for uid in members:
            path = (prefix / index[uid]).as_posix() if uid in index else ""
            yield _entry(uid, path, metadata.get(uid, {}), categories.get(uid, ""))


def select_licences(entries: Iterable[CacheEntry], licences: Collection[str] = DEFAULT_LICENCES) -> list[CacheEntry]:
    """The entries whose licence is allowed, in their order.

    Raises:
        BadInput: none is left; the line counts what there is by licence.
    """
    allowed = {known(normalise_licence(licence)) for licence in licences}
    entries = list(entries)
    kept = [entry for entry in entries if known(entry.licence) in allowed]
    if not kept:
        held = {known(entry.licence) for entry in entries}
        more = ", ".join(name for name in LICENSES if name in held | allowed)
        note = " (unknown: only where you know that these texts allow it)" if "unknown" in held else ""
        raise BadInput(
            f"source.licenses: no asset is left after the filter ({', '.join(sorted(allowed))}); the cache holds "
            f"{count_licences(entry.licence for entry in entries)}: allow one of these, such as "
            f"--set source.licenses='[{more}]'{note}, or give another source.root"
        )
    return kept


def count_licences(licences: Iterable[str]) -> str:
    """`by 3, unknown 2 ('mit', 'royalty free')`: assets by name of `LICENSES`, with texts that are no such name."""
    counts: Counter[LicenseName] = Counter()
    texts: dict[str, None] = {}
    for licence in licences:
        counts[known(licence)] += 1
        if licence not in LICENSES:
            texts[repr(licence[:_TEXT])] = None
    told = [f"{name} {count}" for name, count in sorted(counts.items())]
    if texts:
        shown = ", ".join([*list(texts)[:_TEXTS], *(["..."] if len(texts) > _TEXTS else [])])
        told = [f"{one} ({shown})" if one.startswith("unknown ") else one for one in told]
    return ", ".join(told)


def normalise_licence(text: str) -> str:
    """`CC BY-SA 4.0`, `cc-by-sa`, `by-sa` or a creativecommons.org address: `by-sa`.

    Other text stays as it is, in lower case: it counts as `unknown` (`shards.licenses.known`), whatever it grants. So
    does text that says more than the name of a licence, such as `by permission`.
    """
    plain = text.lower()
    for pattern, name in _SPELLINGS:
        plain = pattern.sub(name, plain)
    parts = set(re.findall("[a-z0-9.]+", plain))
    named = parts & {"by", "nc", "sa", "nd", "cc0"}
    licence = "-".join(part for part in ("cc0", "by", "nc", "sa", "nd") if part in named)
    if licence in LICENSES and all(_SAYS_NO_MORE.fullmatch(part) for part in parts - named):
        return licence
    told = " ".join(text.lower().replace(";", ",").split())
    return (told if len(told) <= _LONGEST_NAME else f"{told[: _LONGEST_NAME - 3]}...") or "unknown"


def plain_category(lvis: str) -> str:
    """`bow_(weapon)`: `bow`; `coffee_maker`: `coffee maker`."""
    return " ".join(re.sub(r"\([^()]*\)", " ", lvis.replace("_", " ")).lower().split())


def _make_root(root: str | Path) -> Path:
    if "://" not in str(root):
        Path(root or "~/.objaverse").expanduser().mkdir(parents=True, exist_ok=True)
    return resolve_root(root)


def _read_gz(path: Path) -> dict[str, Any]:
    """A gzipped JSON object, read whole so that gzip's checksum is checked."""
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(_MAX_TABLE + 1)
        if len(data) > _MAX_TABLE or sum(data.count(mark) for mark in (b",", b"[", b"{")) > _MAX_ITEMS:
            raise ValueError("it is larger than any that Objaverse publishes")
        content = json.loads(data)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is corrupt ({error}): delete it and fetch it again") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path} is not what Objaverse publishes (a JSON object): delete it and fetch it again")
    return content


def _read_index(base: Path, folder: Path) -> dict[str, str]:
    """uid to path below `base`. Without an index file, what lies there is the index."""
    path = base / "object-paths.json.gz"
    if not path.is_file():
        found = {file.stem: file.relative_to(base).as_posix() for file in sorted(base.glob("glbs/*/*.glb"))}
        if not found:
            raise BadInput(
                f"source.root: {folder} is no Objaverse cache (no {path.name}, no models); "
                f"give the folder that holds {VERSIONED}/"
            )
        return found
    index = _read_gz(path)
    for uid, place in index.items():
        good = isinstance(place, str) and 0 < len(place) <= _LONGEST_TEXT and _UID.fullmatch(uid)
        if not good or place.startswith("/") or not place.isprintable() or {"..", "~"} & set(re.split(r"[/\\]", place)):
            told = f"bad entry {uid[:80]!r}: {str(place)[:80]!r}"
            raise BadInput(f"{path}: {told}; delete the file and fetch it again")
    return index


def _choose(base: Path, index: dict[str, str], uids: Collection[str] | None) -> list[str]:
    if uids is not None:
        chosen = {uid.removesuffix(".glb") for uid in uids}
    else:
        present = {file.relative_to(base).as_posix() for file in base.glob("glbs/*/*.glb")}
        there = {uid for uid, place in index.items() if place in present}
        chosen = set(index) if len(there) * 2 >= len(index) else there
        if not there:
            return []
    return sorted(chosen, key=lambda uid: (_part(index.get(uid, "")), uid))


def _part(place: str) -> str:
    """`000-023` of `glbs/000-023/<uid>.glb`: which metadata file speaks of it."""
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
        category = plain_category(lvis) if len(lvis) <= _LONGEST_CATEGORY else ""
        for uid in members:
            result.setdefault(str(uid), category)
    return result


def _entry(uid: str, path: str, metadata: Any, category: str) -> CacheEntry:
    """One entry; metadata of the wrong type counts as silent, for it is written by thousands of hands."""
    data: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    user = data.get("user")
    user = user if isinstance(user, dict) else {}
    creator = user.get("displayName") or user.get("username") or ""
    tags, name = data.get("tags"), _one_line(data.get("name"))
    faces = data.get("faceCount")
    return CacheEntry(
        uid=uid,
        path=path,
        licence=normalise_licence(_one_line(data.get("license"))[:_LONGEST_NAME]),
        creator=_one_line(creator)[:_LONGEST_NAME],
        name=name if len(name) <= _LONGEST_NAME else "",
        category=category,
        tags=tuple(
            _one_line(tag["name"])[:_LONGEST_CATEGORY]
            for tag in tags[:_MOST_TAGS]
            if isinstance(tag, dict) and "name" in tag
        )
        if isinstance(tags, list)
        else (),
        description=_one_line(data.get("description"))[:_LONGEST_TEXT],
        size_m=_size(data.get("size_m")),
        faces=faces if isinstance(faces, int) else 0,
    )


def _one_line(text: Any) -> str:
    """Printable text with single spaces; nothing of what is far longer than any use."""
    if not isinstance(text, str) or len(text) > 64 * _LONGEST_TEXT:
        return ""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _size(value: Any) -> tuple[float, float, float] | None:
    """Three numbers, none below zero; in which unit they are, and whether they can be, is for `sizes.find_size`."""
    if not isinstance(value, list) or len(value) != 3 or any(isinstance(item, bool) for item in value):
        return None
    if not all(isinstance(item, int | float) and 0 <= item < 1e9 for item in value) or not max(value) > 0:
        return None
    return float(value[0]), float(value[1]), float(value[2])


def _fetch_tables(base: Path, uids: Collection[str] | None) -> None:
    """Fetch the index, the categories and the metadata that are missing or corrupt, and check them."""
    import objaverse

    index_file, lvis_file = base / "object-paths.json.gz", base / "lvis-annotations.json.gz"
    _drop_corrupt([index_file, lvis_file])
    index: dict[str, str] = _call(base, objaverse._load_object_paths)  # pyright: ignore[reportPrivateUsage]
    _call(base, objaverse.load_lvis_annotations)
    wanted = [uid for uid in _choose(base, index, uids) if uid in index]
    parts = sorted({_part(index[uid]) for uid in wanted})
    _drop_corrupt([base / "metadata" / f"{part}.json.gz" for part in parts])
    if wanted:
        _call(base, objaverse.load_annotations, wanted)


def _fetch_models(base: Path, wanted: dict[str, str]) -> None:
    """Fetch models that are missing or cut; one at a time, so that one failure names its model."""
    import objaverse

    for uid, place in wanted.items():
        file = base / place
        if file.is_file() and header_error(file):
            file.unlink()
        if not file.is_file():
            _call(base, objaverse.load_objects, [uid])
            if error := header_error(file) if file.is_file() else "nothing arrived":
                raise SpatialdataError(f"fetching model {uid} failed ({error}): try again")


def _drop_corrupt(files: list[Path]) -> None:
    """A download that was cut leaves a corrupt file, which the package trusts for ever after."""
    for file in files:
        if file.is_file():
            try:
                _read_gz(file)
            except BadInput:
                file.unlink()


def _call(base: Path, function: Any, *arguments: Any) -> Any:
    """Call the package with its cache at `base`. It prints to standard output, which is not ours to fill."""
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
            f"fetching from Objaverse into {base} failed ({error}): check the network and try again, "
            "or fill the cache by hand"
        ) from None
    finally:
        objaverse.BASE_PATH, objaverse._VERSIONED_PATH = before  # pyright: ignore
