"""Temporary folders that do not outlive their process for long, however it ends.

Invariant: a folder is removed by who made it, or by the next process on the machine that makes one of the same prefix:
workers are killed as a rule, so nobody can count on his own end.
"""

import contextlib
import fcntl
import shutil
import tempfile
from pathlib import Path


class HeldFolder:
    """A new folder `<parent>/<prefix>*`, held by a lock that dies with this process (or with this object)."""

    def __init__(self, prefix: str, parent: Path) -> None:
        _sweep(prefix, parent)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        unheld = self.path / "unheld"
        self._lock = unheld.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unheld.rename(self.path / "held")

    def remove(self) -> None:
        """May be called more than once."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _sweep(prefix: str, parent: Path) -> None:
    """Remove what killed processes have left."""
    for held in parent.glob(f"{prefix}*/held"):
        with contextlib.suppress(OSError), held.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(held.parent, ignore_errors=True)
