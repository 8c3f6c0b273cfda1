"""Temporary folders that are removed even if their process is killed.

Invariant: a folder is removed by the process that created it, or by the next process of the same user on the machine
that creates one or calls `sweep`. Workers are usually killed, so they cannot be relied on to clean up. A live process
holds a file lock (flock) in its folder. Unlike a process id, the lock is visible from every container that sees the
folder.
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
"""Prefix of the names of all such folders."""
SHARED: Final = Path("/dev/shm")
UNLOCKED_S: Final = 3600.0
"""Age from which a folder without a lock is abandoned, not in the process of being created."""
_LOCK_FILE: Final = "held"
_UNLOCKED_FILE: Final = "unheld"
"""The lock file before it is locked. Both names are those of earlier versions, which sweep the same folders."""


class LockedFolder:
    """A new folder `<parent>/<prefix>*` of mode 0700. Its lock is released when this process or this object ends."""

    def __init__(self, prefix: str, parent: Path) -> None:
        _sweep(prefix, parent)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        unlocked = self.path / _UNLOCKED_FILE
        self._lock = unlocked.open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unlocked.rename(self.path / _LOCK_FILE)

    def remove(self) -> None:
        """Remove the folder. May be called more than once."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def sweep() -> None:
    """Remove the folders that killed processes of this user left behind."""
    for parent in {Path(tempfile.gettempdir()), Path("/tmp"), SHARED}:
        _sweep(PREFIX, parent)


def _sweep(prefix: str, parent: Path) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            # Never remove a link or another user's folder, even if we have the permission.
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                _remove_if_abandoned(folder, status.st_mtime)


def _remove_if_abandoned(folder: Path, modified: float) -> None:
    lock_file = folder / _LOCK_FILE
    if not lock_file.exists():
        # Its process was killed before it held the lock. Other folders, such as our cache, may have the same prefix.
        if {entry.name for entry in folder.iterdir()} <= {_UNLOCKED_FILE} and time.time() - modified > UNLOCKED_S:
            shutil.rmtree(folder, ignore_errors=True)
        return
    with lock_file.open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
