"""Names of samples, members, shards and their folders. This is the only place that defines them.

`<OUT>/shards/<recipe>/<split>/<name>-<split>-00000-of-00128.tar` holds `<key>.<member>.<extension>` and `<key>.json`.
"""

import errno
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, Literal

from .errors import BadInput
from .schema import SPLITS

ImageCodec = Literal["webp", "png", "jpg"]
IMAGE_CODECS: Final[tuple[ImageCodec, ...]] = ("webp", "png", "jpg")
OwnExtension = Literal["txt", "json", "png", "webp"]
"""Of a member that the package does not know; it says the type: text, JSON, gray pixels of 8 or 16 bits, an image."""
OWN_EXTENSIONS: Final[tuple[OwnExtension, ...]] = ("txt", "json", "png", "webp")
TEXT_EXTENSIONS: Final = ("txt", "json")
KEY_RULE: Final = "1 to 80 of a-z, 0-9 and -"
_KEY: Final = re.compile(r"[a-z0-9-]{1,80}")
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]*(\.(webp|png|jpg|txt|json))?")
_SHARD: Final = re.compile(r"[a-z0-9-]+-\d{5}-of-\d{5}\.tar")


def is_key(text: str) -> bool:
    """Whether `text` is a valid sample key (no dots: readers split a file name at the first one)."""
    return _KEY.fullmatch(text) is not None


def is_field(text: str) -> bool:
    """Whether `text` is valid after a key: a member and its extension, or `json`."""
    return text == "json" or (_FIELD.fullmatch(text) is not None and "." in text)


def field_of(name: str, extension: str) -> str:
    """The part of a file name after the key: `source.webp`; `json` for the record."""
    return "json" if name == "json" else f"{name}.{extension}"


def split_field(field: str) -> tuple[str, str]:
    """Member name and extension of a field such as `source.webp`; both are `json` for the record."""
    name, dot, extension = field.partition(".")
    return (name, extension) if dot else (name, name)


def shard_name(name: str, split: str, index: int, count: int) -> str:
    """`<name>-<split>-00000-of-00128.tar`. Raises BadInput where `name` or `index` is invalid."""
    result = f"{name}-{split}-{index:05d}-of-{count:05d}.tar"
    if not _SHARD.fullmatch(result) or not 0 <= index < count:
        raise BadInput(f"'{result}' is not a shard name: use a-z, 0-9 and - for the name, and an index 0 <= i < count")
    return result


def join(url: str, *parts: str) -> str:
    """Append path parts to an fsspec URL or a local path."""
    return "/".join([url.rstrip("/"), *parts])


def base(url: str) -> str:
    """The last part of a URL."""
    return url.rstrip("/").rpartition("/")[2]


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec file system and path of a URL, without stale listings. Raises BadInput on an unknown protocol."""
    from .stores import open_store

    try:
        fs, path = open_store(url)
    except (ImportError, ValueError) as error:
        raise BadInput(f"cannot open {url}: {error}") from error
    fs.invalidate_cache()
    return fs, path


def is_local(fs: Any) -> bool:
    """Whether an fsspec file system is local, where a rename publishes a file."""
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(fs, LocalFileSystem)


class NotAFile(FileNotFoundError, ValueError):
    """There is a folder, a device, or a symbolic link to itself in place of a file: it is both missing and damaged."""


def check_file(path: str | Path) -> None:
    """Check that a local path is a regular file. Raises FileNotFoundError, NotAFile."""
    try:
        mode = Path(path).stat().st_mode
    except NotADirectoryError:
        raise NotAFile(f"{path} is not a file: its parent is not a folder") from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise NotAFile(f"{path} is not a file: it is a symbolic link to itself") from None
    if not stat.S_ISREG(mode):
        raise NotAFile(f"{path} is not a file: it is {'a folder' if stat.S_ISDIR(mode) else 'a device or a pipe'}")


def missing_reason(error: FileNotFoundError) -> str:
    """The reason why a file could not be read: `is missing`, `is a folder`, ..."""
    reason = str(error).partition(" is not a file: it ")[2] if isinstance(error, NotAFile) else ""
    return reason or "is missing"


def open_url(url: str) -> IO[bytes]:
    """Open any fsspec URL for reading. Raises FileNotFoundError, NotAFile and the file system's own errors."""
    fs, path = filesystem(url)
    if is_local(fs):
        check_file(path)
    return fs.open(path, "rb")


@dataclass(frozen=True, order=True)
class SplitFolder:
    """One folder of shards, `<OUT>/shards/<recipe>/<split>`."""

    recipe: str
    split: str
    url: str


def find_splits(url: str, *, recipe: str | None = None, split: str | None = None) -> list[SplitFolder]:
    """The split folders under `url`, sorted. `url` may be OUT, OUT/shards, or the folder of a recipe or a split.

    Raises BadInput where there is none.
    """
    fs, root = filesystem(url)
    root = root.rstrip("/")
    if not fs.isdir(root):
        raise BadInput(f"{url} is not a folder: use the folder of a build (--out) or of its shards")
    prefix = root if is_local(fs) else url.rstrip("/")
    start = f"{root}/shards" if fs.isdir(f"{root}/shards") else root
    found = [
        SplitFolder(PurePosixPath(path).parent.name, base(path), prefix + path[len(root) :])
        for path in _split_paths(fs, start, 2)
    ]
    wanted = sorted(f for f in found if recipe in (None, f.recipe) and split in (None, f.split))
    if not wanted:
        raise BadInput(
            f"no shards of {recipe or 'any recipe'}/{split or 'any split'} under {url}: run `spatialdata shard`"
        )
    return wanted


def find_shards(url: str, *, recipe: str | None = None, split: str | None = None) -> list[str]:
    """URLs of the shards under `url` (as for `find_splits`), sorted by recipe, split and name."""
    return [shard for folder in find_splits(url, recipe=recipe, split=split) for shard in list_shards(folder.url)]


def list_shards(folder: str) -> list[str]:
    """URLs of the tars in one folder, sorted, without other files (indexes, temporary files)."""
    fs, path = filesystem(folder)
    names = sorted(base(entry) for entry in fs.ls(path, detail=False))
    return [join(folder, name) for name in names if name.endswith(".tar")]


def _split_paths(fs: Any, path: str, depth: int) -> Iterator[str]:
    if base(path) in SPLITS:
        yield path
    elif depth:
        for entry in sorted(fs.ls(path, detail=True), key=lambda entry: str(entry["name"])):
            if entry["type"] == "directory":
                yield from _split_paths(fs, str(entry["name"]).rstrip("/"), depth - 1)
