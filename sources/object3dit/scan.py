"""Finds the pairs in a copy of OBJECT-3DIT: folders and archives, every task and split, without unpacking.

Invariant: a pair's key depends only on its task, split and uid, so that folders and archives of one release give the
same keys. Splits are those of the release, with one exception: no object of test is ever seen in train. The release's
`seen` pairs break this rule by design, so a pair of test that shows an object of any training pair (of any task) is
planned for val.

Memory: the names in one folder, and the uids of the training pairs' assets; rows are generated on demand.
"""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from ...shards.errors import BadInput
from ...shards.interop.object3dit import GROUPS, METADATA, TASKS, Task
from ...shards.layout import base, filesystem, is_local, join
from ...shards.schema import EDIT_KINDS, SPLITS, EditKind, Split
from ..source import PlanRow
from .archive import MAX_METADATA, SUFFIXES, is_archive
from .contents import Contents, Pair, assets_in

_READ_TOGETHER: Final = 512
_ADVICE: Final = "; set it to the folder of OBJECT-3DIT's tasks, or to the archive of one task"
RELEASED: Final = tuple(
    name
    for split in SPLITS
    for name in (split, *(() if split == "train" else (f"{split}/{group}" for group in GROUPS)))
)
"""Folders of a task, in plan order."""


class Scan:
    """The pairs under a root. `rows` can be iterated once."""

    def __init__(self, places: "_Places", kinds: Collection[EditKind]) -> None:
        self._places = places
        self._moved = 0
        self.rows = self._rows(kinds)

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages for the user, one line each, about the rows so far."""
        moved = f"{self._moved} released pairs of test show an object of train: they are moved to val"
        return (*self._places.notes, *([moved] if self._moved else []))

    def _rows(self, kinds: Collection[EditKind]) -> Iterator[PlanRow]:
        trained: frozenset[str] | None = None
        for task, task_kinds in TASKS.items():
            if not set(task_kinds) & set(kinds):
                continue
            for released in RELEASED:
                split: Split = next(name for name in SPLITS if name == released.partition("/")[0])
                for pair in self._places.pairs(task, released, read=split == "test"):
                    if split == "test" and trained is None:
                        trained = self._places.trained()
                    clash = split == "test" and trained is not None and not trained.isdisjoint(pair.assets)
                    self._moved += clash
                    yield from _rows(pair, "val" if clash else split, kinds)


def scan(root: str, indexes: str, *, kinds: Collection[EditKind] = EDIT_KINDS) -> Scan:
    """Find all pairs under a folder of tasks (any fsspec URL) with folders or archives, or in one archive.

    Archives are walked here, once; folders are listed and read when the rows are iterated.

    Args:
        root: a folder with `<task>/` folders or `<task>.tar.gz` (`.tgz`, `.tar`), or such an archive. If a task has
            both, its folder is read.
        indexes: folder for the seek indexes of compressed archives, which `ReadPairs` needs, too.
        kinds: kinds of edit to plan.

    Returns:
        Rows of the plan: tasks in the order of TASKS, splits train, val, test, pairs by uid (in archives: as stored).

    Raises:
        BadInput: the root does not exist or is empty, or an archive is damaged or unsafe.
        SpatialdataError: the temporary folder has no room for the list of an archive's pairs.
    """
    places = _find(root, indexes)
    if not places.hold_any():
        raise BadInput(
            f"no OBJECT-3DIT pairs in {root}: searched {', '.join(f'{task}/' for task in TASKS)} for train/<uid>/, "
            f"val/{{seen,unseen}}/<uid>/, test/{{seen,unseen}}/<uid>/, and "
            f"{', '.join(f'{task}.tar.gz' for task in TASKS)} for the same; set source.root to the folder with these"
        )
    return Scan(places, kinds)


@dataclass(frozen=True)
class _Places:
    """The locations of pairs: folders of tasks, and archives whose contents are known."""

    folders: dict[str, "_Folder"]
    contents: Contents
    notes: tuple[str, ...]

    def hold_any(self) -> bool:
        return self.contents.hold_any() or any(
            next(folder.pairs(released, read=False), None) for folder in self.folders.values() for released in RELEASED
        )

    def pairs(self, task: Task, released: str, *, read: bool) -> Iterator[Pair]:
        """Pairs of one folder of the release. Pairs in folders have their assets only with `read`."""
        if task in self.folders:
            yield from self.folders[task].pairs(released, read=read)
        yield from self.contents.pairs(task, released)

    def trained(self) -> frozenset[str]:
        """Uids of the assets that training pairs show."""
        found = set(self.contents.trained)
        for folder in self.folders.values():
            for pair in folder.pairs("train", read=True):
                found.update(pair.assets)
        return frozenset(found)


def _rows(pair: Pair, split: Split, kinds: Collection[EditKind]) -> Iterator[PlanRow]:
    released, _, group = pair.released.partition("/")
    for kind in TASKS[pair.task]:
        if kind in kinds:
            spec = {
                "edit": kind,
                "task": pair.task,
                "released": pair.released,
                **pair.place,
                **({"members": {name: list(place) for name, place in pair.members.items()}} if pair.members else {}),
            }
            name = "-".join([kind, released, *([group] if group else []), _slug(pair.uid)])
            yield PlanRow(name, split, spec)


def _slug(uid: str) -> str:
    """A uid as part of a key: unchanged if it is valid in a key, else normalized, with a hash of the original."""
    if re.fullmatch(r"[a-z0-9-]{1,50}", uid):
        return uid
    digits = hashlib.sha256(uid.encode()).hexdigest()[:12]
    return f"{re.sub('[^a-z0-9]+', '-', uid.lower()).strip('-')[:36]}-{digits}".lstrip("-")


def _find(root: str, indexes: str) -> _Places:
    fs, path = filesystem(root)
    contents = Contents()
    if is_archive(root):
        if not fs.isfile(path):
            raise BadInput(f"source.root: {root} does not exist{_ADVICE}")
        contents.add(root, indexes)
        return _Places({}, contents, ())
    if not fs.isdir(path):
        raise BadInput(f"source.root: {root} {'is not a folder' if fs.exists(path) else 'does not exist'}{_ADVICE}")
    entries = {base(str(entry["name"])): str(entry["type"]) for entry in fs.ls(path, detail=True)}
    if not entries:
        raise BadInput(f"source.root: {root} is empty{_ADVICE}")
    folders: dict[str, _Folder] = {}
    notes: list[str] = []
    for task in TASKS:
        archives = [task + suffix for suffix in SUFFIXES if entries.get(task + suffix) == "file"]
        if entries.get(task) == "directory":
            folders[task] = _Folder(fs, path.rstrip("/"), task)
        elif archives:
            contents.add(join(root, archives.pop(0)), indexes)
        notes += [f"{name} is not read: there is another copy of {task}" for name in archives]
    return _Places(folders, contents, tuple(notes))


@dataclass(frozen=True)
class _Folder:
    """One task as folders."""

    fs: Any
    root: str
    task: Task

    def pairs(self, released: str, *, read: bool) -> Iterator[Pair]:
        """Pairs of one folder by uid; with `read`, with the assets from their metadata."""
        names = _folders(self.fs, f"{self.root}/{self.task}/{released}")
        # `val` and `test` contain pairs, or the folders `seen` and `unseen` of pairs.
        found = (
            Pair(self.task, released, uid, {"path": f"{self.task}/{released}/{uid}"})
            for uid in names
            if released not in SPLITS[1:] or uid not in GROUPS
        )
        if not read:
            yield from found
            return
        while pairs := list(islice(found, _READ_TOGETHER)):
            paths = [f"{self.root}/{pair.place['path']}/{METADATA}" for pair in pairs]
            paths = [path if plain_file(self.fs, self.root, path) else os.devnull for path in paths]
            # Not `cat`, which would interpret brackets in a folder's name as a pattern.
            contents = self.fs.cat_ranges(paths, 0, MAX_METADATA, on_error="return")
            for pair, content in zip(pairs, contents, strict=True):
                pair.assets = assets_in(content) if isinstance(content, bytes) else ()
                yield pair


def plain_file(fs: Any, root: str, path: str) -> bool:
    """Whether a path below `root` is a plain file that is not, through a link, outside `root`.

    Checked on local disks, where reading a pipe or a device would never end. Always true on other file systems.
    """
    if not is_local(fs):
        return True
    real = Path(path).resolve()
    return real.is_file() and real.is_relative_to(Path(root).resolve())


def _folders(fs: Any, path: str) -> list[str]:
    """Names of the folders in a folder, sorted; empty if it does not exist."""
    if not fs.isdir(path):
        return []
    if is_local(fs):
        # fsspec's listing would use a kilobyte per entry, of which only the name is needed.
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    entries = fs.ls(path, detail=True)
    return sorted(base(str(entry["name"])) for entry in entries if entry["type"] == "directory")
