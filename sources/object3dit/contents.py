"""The pairs in archives, listed in a temporary database on disk. An archive is walked once, in its own order.

Invariant: the files of a pair belong together wherever they are in the archive. Pairs are returned in the order of
their first files. Only the uids of the training pairs' assets are in memory.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ...shards.errors import SpatialdataError
from ...shards.interop.object3dit import FILES, GROUPS, METADATA, TASKS, Task
from ...shards.layout import base
from ...shards.schema import SPLITS
from .archive import Entry, Range, digest, stem, walk
from .facts import LONGEST

if TYPE_CHECKING:
    from sqlite3 import Connection

Identity = tuple[str, str, str]
"""Task, released split (`train`, `test/seen` and so on), uid."""

_TABLE: Final = """
    CREATE TABLE pairs (number INTEGER PRIMARY KEY, task TEXT, released TEXT, uid TEXT, archive TEXT, digest TEXT,
        members TEXT, assets TEXT, UNIQUE (task, released, uid, archive))"""
# A pair's files need not be adjacent: later ones are appended.
_ADD: Final = """
    INSERT INTO pairs (task, released, uid, archive, digest, members, assets) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET members = members || excluded.members, assets = assets || excluded.assets"""
_CACHE_KIB: Final = 32 * 1024


@dataclass
class Pair:
    """One pair: its location, and the assets that it shows, if requested."""

    task: Task
    released: str
    """`train`, `test/seen` and so on."""
    uid: str
    place: dict[str, Any]
    assets: tuple[str, ...] = ()
    members: dict[str, Range] = field(default_factory=dict[str, Range])


class Contents:
    """The pairs in archives."""

    def __init__(self) -> None:
        self.trained: set[str] = set()
        """Uids of the assets that training pairs show."""
        self._opened: Connection | None = None

    def add(self, url: str, indexes: str) -> None:
        """Walk one archive; the seek index of a compressed one is written under `indexes`.

        Raises:
            BadInput: the archive is damaged or unsafe.
            SpatialdataError: the temporary folder is full.
        """
        from sqlite3 import Error

        place = (base(url), digest(url))
        named = ((_identify(entry.path, stem(place[0])), entry) for entry in walk(url, indexes, METADATA))
        try:
            for identity, entries in groupby(named, key=lambda item: item[0]):
                if identity is not None:
                    self._note(identity, place, [entry for _, entry in entries])
        except Error as error:
            raise SpatialdataError(
                f"the pairs of {url} cannot be listed in the temporary folder ({error}): free some space, or set TMPDIR"
            ) from error

    def hold_any(self) -> bool:
        return self._opened is not None and self._opened.execute("SELECT 1 FROM pairs LIMIT 1").fetchone() is not None

    def pairs(self, task: Task, released: str) -> Iterator[Pair]:
        """Pairs of one folder of the release, with their assets (empty for train, see `trained`)."""
        if self._opened is None:
            return
        query = (
            "SELECT uid, archive, digest, members, assets FROM pairs WHERE task = ? AND released = ? ORDER BY number"
        )
        for uid, archive, archive_digest, members, assets in self._opened.execute(query, (task, released)):
            files = (line.split(" ") for line in str(members).splitlines())
            yield Pair(
                task,
                released,
                uid,
                {"archive": archive, "digest": archive_digest},
                tuple(asset for line in str(assets).splitlines() for asset in json.loads(line)),
                {name: (int(offset), int(size)) for name, offset, size in files},
            )

    def _note(self, identity: Identity, place: tuple[str, str], entries: Sequence[Entry]) -> None:
        if self._opened is None:
            self._opened = _open()
        assets = [asset for entry in entries if entry.path.name == METADATA for asset in assets_in(entry.data)]
        if identity[1] == "train":
            self.trained.update(assets)
            assets.clear()
        members = "".join(f"{entry.path.name} {entry.place[0]} {entry.place[1]}\n" for entry in entries)
        self._opened.execute(_ADD, (*identity, *place, members, f"{json.dumps(assets)}\n" if assets else ""))


def assets_in(metadata: bytes) -> tuple[str, ...]:
    """Asset uids in a metadata.json; empty if it is broken (the pair is rejected when it is read)."""
    try:
        values = json.loads(metadata)
        objects: Sequence[Any] = values["object_data"]
        return tuple(uid for entry in objects if len(uid := str(entry["uid"])) <= LONGEST)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


def _open() -> "Connection":
    """A database without a name, which sqlite keeps in a temporary file and removes with the connection."""
    import sqlite3

    opened = sqlite3.connect("")
    for pragma in (f"cache_size = -{_CACHE_KIB}", "journal_mode = OFF", "synchronous = OFF"):
        opened.execute(f"PRAGMA {pragma}")
    opened.execute(_TABLE)
    return opened


def _identify(path: PurePosixPath, archive: str) -> Identity | None:
    """Task, released split and uid of a member; None if it is not a file of a sample."""
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
