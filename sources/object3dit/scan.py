"""Which pairs a copy of OBJECT-3DIT holds: folders and archives, every task and split, nothing unpacked.

Invariant: a pair's key depends on its task, split and uid alone, so that folders and archives of one release give the
same keys. Splits are the release's own, but for one rule: no object of test is ever seen in train. The release's `seen`
pairs break it by design; a pair of test that shows an object of any training pair (of any task) is planned for val.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from shards.errors import BadInput
from shards.interop.object3dit import FILES, GROUPS, METADATA, TASKS
from shards.layout import base, filesystem, join
from shards.schema import EDIT_KINDS, SPLITS, EditKind, Split
from sources.object3dit.archive import MAX_METADATA, SUFFIXES, Range, digest, is_archive, stem, walk

_READ_TOGETHER: Final = 512
_ADVICE: Final = "; give the folder of OBJECT-3DIT's tasks, or the archive of one task"


@dataclass(frozen=True)
class PlanRow:
    """One sample of the plan."""

    key: str
    split: Split
    spec: dict[str, Any]


@dataclass(frozen=True)
class Scan:
    """What lies under a root. `notes`: what a person should know, one line each."""

    rows: tuple[PlanRow, ...]
    notes: tuple[str, ...]


@dataclass
class _Pair:
    """One pair as found: where it lies, and the assets that it shows."""

    task: str
    released: str
    """`train`, `test/seen` and so on."""
    uid: str
    place: dict[str, Any]
    assets: tuple[str, ...] = ()
    members: dict[str, Range] = field(default_factory=dict[str, Range])


def scan(root: str, indexes: str, *, kinds: Collection[EditKind] = EDIT_KINDS) -> Scan:
    """Find all pairs under a folder of tasks (any fsspec URL) with folders or archives, or in one archive.

    Args:
        root: holds `<task>/` folders or `<task>.tar.gz` (`.tgz`, `.tar`), or is such an archive. Where a task is
            there as both, its folder is read.
        indexes: folder for the seek indexes of compressed archives, which `ReadPairs` needs again.
        kinds: edits to plan.

    Returns:
        Rows of the plan: tasks in the order of TASKS, splits train, val, test, pairs by uid (in archives: as stored).

    Raises:
        BadInput: no such root, nothing in it, or an archive that is damaged or unsafe.
    """
    pairs, notes = _find(root, indexes)
    if not pairs:
        raise BadInput(
            f"no OBJECT-3DIT pairs in {root}: looked for {', '.join(f'{task}/' for task in TASKS)} with train/<uid>/, "
            f"val/{{seen,unseen}}/<uid>/, test/{{seen,unseen}}/<uid>/, and for the same in "
            f"{', '.join(f'{task}.tar.gz' for task in TASKS)}; set source.root to the folder that holds them"
        )
    trained = {asset for pair in pairs if pair.released == "train" for asset in pair.assets}
    rows: list[PlanRow] = []
    moved = 0
    for pair in sorted(pairs, key=lambda pair: (list(TASKS).index(pair.task), _split_rank(pair.released))):
        clash = pair.released.startswith("test") and not trained.isdisjoint(pair.assets)
        split = "val" if clash else SPLITS[_split_rank(pair.released)[0]]
        moved += clash
        rows += _rows(pair, split, kinds)
    if moved:
        notes.append(f"{moved} released pairs of test show an object of train: they go to val")
    return Scan(tuple(rows), tuple(notes))


def _rows(pair: _Pair, split: Split, kinds: Collection[EditKind]) -> Iterator[PlanRow]:
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
    """A uid as part of a key: as it is where the key's grammar allows, else made so, with a hash of the original."""
    if re.fullmatch(r"[a-z0-9-]{1,50}", uid):
        return uid
    digits = hashlib.sha256(uid.encode()).hexdigest()[:12]
    return f"{re.sub('[^a-z0-9]+', '-', uid.lower()).strip('-')[:36]}-{digits}".lstrip("-")


def _split_rank(released: str) -> tuple[int, str]:
    split, _, group = released.partition("/")
    return list(SPLITS).index(next(known for known in SPLITS if known == split)), group


def _find(root: str, indexes: str) -> tuple[list[_Pair], list[str]]:
    fs, path = filesystem(root)
    if is_archive(root):
        if not fs.isfile(path):
            raise BadInput(f"source.root: {root} does not exist{_ADVICE}")
        return list(_of_archive(root, indexes)), []
    if not fs.isdir(path):
        raise BadInput(f"source.root: {root} {'is not a folder' if fs.exists(path) else 'does not exist'}{_ADVICE}")
    entries = {base(str(entry["name"])): str(entry["type"]) for entry in fs.ls(path, detail=True)}
    if not entries:
        raise BadInput(f"source.root: {root} is empty{_ADVICE}")
    pairs: list[_Pair] = []
    notes: list[str] = []
    for task in TASKS:
        archives = [task + suffix for suffix in SUFFIXES if entries.get(task + suffix) == "file"]
        if entries.get(task) == "directory":
            pairs += _of_folder(root, task)
        elif archives:
            pairs += _of_archive(join(root, archives.pop(0)), indexes)
        notes += [f"{name} is not read: another copy of {task} is there" for name in archives]
    return pairs, notes


def _of_folder(root: str, task: str) -> Iterator[_Pair]:
    fs, path = filesystem(root)
    found: list[_Pair] = []
    for split in SPLITS:
        for uid in _folders(fs, f"{path.rstrip('/')}/{task}/{split}"):
            if split != "train" and uid in GROUPS:
                inner = _folders(fs, f"{path.rstrip('/')}/{task}/{split}/{uid}")
                found += [_in_folder(task, f"{split}/{uid}", name) for name in inner]
            else:
                found.append(_in_folder(task, split, uid))
    for first in range(0, len(found), _READ_TOGETHER):
        pairs = found[first : first + _READ_TOGETHER]
        names = [f"{path.rstrip('/')}/{pair.place['path']}/{METADATA}" for pair in pairs]
        # Not `cat`, which would take brackets in a folder's name for a pattern.
        contents = fs.cat_ranges(names, 0, MAX_METADATA, on_error="return")
        for pair, content in zip(pairs, contents, strict=True):
            pair.assets = _assets(content) if isinstance(content, bytes) else ()
            yield pair


def _in_folder(task: str, released: str, uid: str) -> _Pair:
    return _Pair(task, released, uid, {"path": f"{task}/{released}/{uid}"})


def _folders(fs: Any, path: str) -> list[str]:
    """Names of the folders in a folder, sorted; none where it is absent."""
    if not fs.isdir(path):
        return []
    entries = fs.ls(path, detail=True)
    return sorted(base(str(entry["name"])) for entry in entries if entry["type"] == "directory")


def _of_archive(url: str, indexes: str) -> Iterator[_Pair]:
    place = {"archive": base(url), "digest": digest(url)}
    found: dict[tuple[str, str, str], _Pair] = {}
    for entry in walk(url, indexes, METADATA):
        identity = _identify(entry.path, stem(base(url)))
        if identity is None:
            continue
        pair = found.setdefault(identity, _Pair(*identity, place))
        pair.members[entry.path.name] = entry.place
        if entry.path.name == METADATA:
            pair.assets = _assets(entry.data)
    yield from found.values()


def _identify(path: PurePosixPath, archive: str) -> tuple[str, str, str] | None:
    """Task, released split and uid of a member, None where it is no file of a sample."""
    *parents, name = path.parts
    if name not in FILES or len(parents) < 2:
        return None
    *above, uid = parents
    if above[-1] in GROUPS and len(above) > 1 and above[-2] in ("val", "test"):
        *before, split, group = above
        released = f"{split}/{group}"
    elif above[-1] in SPLITS:
        *before, released = above
    else:
        return None
    task = before[-1] if before and before[-1] in TASKS else archive
    return (task, released, uid) if task in TASKS else None


def _assets(metadata: bytes) -> tuple[str, ...]:
    """Asset uids that a metadata.json names; none where it is broken (the pair is rejected when it is read)."""
    try:
        values = json.loads(metadata)
        objects: Sequence[Any] = values["object_data"]
        return tuple(str(entry["uid"]) for entry in objects)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
