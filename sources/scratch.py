"""Temporary folders that do not outlive their process for long, however it ends.

Invariant: a folder is removed by who made it, or by the next process of the same user on the machine that makes one or
calls `sweep`: workers are killed as a rule, so nobody can count on his own end. Who lives holds a lock of the kernel's
on a file in his folder. That is seen from every container which sees the folder, as a process number is not.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

PREFIX: Final = "spatialdata-"
"""Of every such folder's name."""
SHARED: Final = Path("/dev/shm")
HALF_MADE_S: Final = 3600.0
"""Age at which a folder without a lock is no longer one that is just being made."""
_HELD: Final = "held"


class HeldFolder:
    """A new folder `<parent>/<prefix>*` of mode 0700, held by a lock that dies with this process (or this object)."""

    def __init__(self, prefix: str, parent: Path) -> None:
        _sweep(prefix, parent)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        unheld = self.path / "unheld"
        self._lock = unheld.open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unheld.rename(self.path / _HELD)

    def remove(self) -> None:
        """May be called more than once."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def sweep() -> None:
    """Remove what killed processes of this user have left where such folders are made."""
    for parent in {Path(tempfile.gettempdir()), Path("/tmp"), SHARED}:
        _sweep(PREFIX, parent)


def _sweep(prefix: str, parent: Path) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            about = folder.lstat()
            # A link or another user's folder is none of ours, even where we may remove it.
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid():
                _remove_if_left(folder, about.st_mtime)


def _remove_if_left(folder: Path, modified: float) -> None:
    held = folder / _HELD
    if not held.exists():
        # Killed between its first two steps; but a cache of ours may have such a name, too, and is no such folder.
        if {entry.name for entry in folder.iterdir()} <= {"unheld"} and time.time() - modified > HALF_MADE_S:
            shutil.rmtree(folder, ignore_errors=True)
        return
    with held.open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
