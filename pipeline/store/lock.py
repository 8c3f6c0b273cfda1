"""The run lock: one run at a time on one OUT.

Invariant: the holder of `run.lock` renews it every BEAT_S seconds. A lock is abandoned if its process is gone (same
machine), or if it was watched for STALE_S seconds and not renewed (another machine). Clocks of two machines are
compared only to skip the watching: a recent beat proves that the holder is alive; an old beat, or one in the future,
proves nothing. If two runs do overlap, nothing breaks: commits are write-once and deterministic, and `check` raises in
the run that lost its lock.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from ...shards.errors import BadInput, SpatialdataError
from .storage import Storage

LOCK = "run.lock"
BEAT_S = 10.0
STALE_S = 60.0


@dataclass(frozen=True)
class Holder:
    """The holder of a lock. `machine` identifies a process table (a container's differs from its host's)."""

    host: str
    machine: str
    pid: int
    process: str
    """Start time of the process in the machine's ticks, to detect a pid that was reused."""
    since: str
    token: str
    beat: float
    """Seconds since 1970."""
    doing: str = ""
    """What it holds the lock for, if that matters to a reader."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since[:19].replace('T', ' ')} UTC"


class InUse(BadInput):
    """Another run holds the lock."""

    def __init__(self, message: str, holder: Holder | None) -> None:
        super().__init__(message)
        self.holder = holder

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.holder)


@contextmanager
def wait_for_lock(storage: Storage, say: Callable[[str], None], poll_s: float = 2.0) -> Generator["RunLock"]:
    """A `RunLock` on a folder that builds share. Waits until the holder releases it or no longer renews it.

    Args:
        say: called once for each holder that is waited for.
    """
    named = ""
    with ExitStack() as stack:
        while True:
            try:
                # A new lock each time: its first beat must be recent.
                lock = stack.enter_context(RunLock(storage, say=say))
                break
            except InUse as error:
                if str(error.holder) != named:
                    named = str(error.holder)
                    say(f"waiting for {named}, which holds {storage}")
                time.sleep(poll_s)
        yield lock


class RunLock:
    """`with RunLock(store): ...`. Raises InUse if another run holds OUT, BadInput if OUT is not writable."""

    def __init__(
        self,
        storage: Storage,
        beat_s: float = BEAT_S,
        stale_s: float = STALE_S,
        *,
        doing: str = "",
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._storage = storage
        self._beat_s = beat_s
        self._stale_s = stale_s
        pid = os.getpid()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._me = Holder(
            socket.gethostname(), _machine(), pid, _started(pid), since, secrets.token_hex(8), time.time(), doing
        )
        self._cleared = False
        self._ended = threading.Event()
        self._lost = ""
        self._renewed = time.monotonic()
        self._say = say
        self._thread = threading.Thread(target=self._renew, name="run-lock", daemon=True)

    def __enter__(self) -> "RunLock":
        for _ in range(3):
            if self._create():
                break
            self._clear_abandoned()
        # Other runs that saw the same abandoned lock have removed it by now: the run whose token remains holds OUT.
        time.sleep(0.2 if self._cleared else 0)
        holder = self._read()
        if holder is None or holder.token != self._me.token:
            what = f"{self._storage} was locked by another run at the same time ({holder}): wait, or give another --out"
            raise InUse(what, holder)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        # A lock that cannot be removed expires by itself; this error must not hide how the run ended.
        with suppress(OSError, SpatialdataError):
            holder = self._read()
            if holder is not None and holder.token == self._me.token:
                self._storage.remove(LOCK)

    def check(self) -> None:
        """Raise SpatialdataError if the lock was lost: another run took it while this one could not renew it."""
        if self._lost:
            raise SpatialdataError(
                f"{self._storage} was taken over by {self._lost}; this run last renewed its lock "
                f"{time.monotonic() - self._renewed:.0f} s ago (was it paused, cut off from its storage, or its lock "
                "removed?): stop one of the two runs; no finished work is lost"
            )

    def _create(self) -> bool:
        return self._storage.create_file(LOCK, self._of_now())

    def _of_now(self) -> bytes:
        return json.dumps(asdict(replace(self._me, beat=time.time()))).encode()

    def _clear_abandoned(self) -> None:
        """Remove a lock that is abandoned. Raises InUse if it is not."""
        holder = self._read()
        if holder is not None and not self._is_abandoned(holder):
            if self._read() is None:  # released while it was watched
                return
            raise InUse(
                f"{self._storage} is in use by {holder}: wait for it, stop it, or give another --out "
                f"(if that run is dead, its lock expires after {self._stale_s:.0f} s)",
                holder,
            )
        if holder is not None or self._storage.exists(LOCK):
            self._storage.remove(LOCK)
            self._cleared = True

    def _is_abandoned(self, holder: Holder) -> bool:
        """Check the holder's process if it is on this machine, else its beat, which is watched unless it is recent."""
        if (alive := _runs_here(holder)) is not None:
            return not alive
        if 0 <= time.time() - holder.beat <= self._stale_s:
            return False
        self._say(f"{self._storage} may be in use by {holder}: watching its lock for {self._stale_s:.0f} s")
        ends = time.monotonic() + self._stale_s
        while time.monotonic() < ends:
            time.sleep(min(1.0, self._stale_s / 10))
            if self._read() != holder:
                return False
        return True

    def _read(self) -> Holder | None:
        return _read_holder(self._storage)

    def _renew(self) -> None:
        while not self._ended.wait(self._beat_s):
            try:
                holder = self._read()
                if holder is not None and holder.token != self._me.token:
                    self._lost = str(holder)
                    return
                self._storage.write_file(LOCK, self._of_now())
                self._renewed = time.monotonic()
            except (OSError, SpatialdataError):
                continue  # the run itself meets and reports a full disk or a lost connection


class LockWatcher:
    """Watches who holds a folder. Writes nothing."""

    def __init__(self, storage: Storage, stale_s: float = STALE_S) -> None:
        self._storage = storage
        self._stale_s = stale_s
        self._seen: Holder | None = None
        self._since = 0.0
        self._alive = False

    def holder(self) -> Holder | None:
        """The run that holds the folder now; None if there is none, or it is dead.

        For a run on another machine, the first call must rely on the clocks. Later calls see whether it renews its
        lock.
        """
        holder, now = _read_holder(self._storage), time.monotonic()
        if holder is None or (alive := _runs_here(holder)) is False:
            self._seen = None
            return None
        if alive:
            return holder
        if self._seen is None or holder.token != self._seen.token:
            self._alive, self._since = abs(time.time() - holder.beat) <= self._stale_s, now
        elif holder.beat != self._seen.beat:
            self._alive, self._since = True, now
        elif now - self._since > self._stale_s:
            self._alive = False
        self._seen = holder
        return holder if self._alive else None


def holder_of(storage: Storage) -> Holder | None:
    """Who holds a folder, from a single check; a `LockWatcher` that is asked again is more reliable."""
    return LockWatcher(storage).holder()


def _read_holder(storage: Storage) -> Holder | None:
    """The holder; None if there is no lock, or a crash of its machine truncated it."""
    try:
        return Holder(**json.loads(storage.read_file(LOCK)))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _runs_here(holder: Holder) -> bool | None:
    """Whether its process runs on this machine; None if it is on another machine."""
    return _started(holder.pid) == holder.process if holder.machine == _machine() else None


def _machine() -> str:
    """An identifier that is equal for two processes that see each other's pids."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:  # not Linux: use only the host's name
        pass
    return " ".join(parts)


def _started(pid: int) -> str:
    """Start time of a process in kernel ticks; empty if there is no such process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    try:
        # After the name (in parentheses, may contain spaces): first the state ('Z': zombie), as 20th field the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        return "unknown"
