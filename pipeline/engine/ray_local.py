"""A local Ray, started and ended with the run: where its sockets are, and a second try if it is slow to start.

Invariant: its session folder is private to the user (Ray makes its own folders writable for everybody). It is removed
at the end of the run or, if the run was killed, by the next run.
"""

import os
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, cast

import ray
from ray._private import node, services, utils

from ...shards.errors import BadInput, SpatialdataError
from ...sources.scratch import LockedFolder

PREFIX: Final = "spatialdata-ray-"
_LONGEST: Final = 107 - len(f"/{PREFIX}12345678/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.99")
"""Longest path of a folder, in bytes, that leaves room for the path of a socket in it."""
WAITS_S: Final = (30.0, 120.0)
"""Seconds to wait for a node, per try. The first is Ray's own limit, which cannot be changed."""
_UNUSED: Final = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node that start the autoscaler, the reader of logs and the server of the dashboard. A run on one
machine does not use these processes, and each takes a second to start."""
_SLOW: Final = ("timed out", "timeout", "time out", "overloaded", "deadline")


@contextmanager
def session_folder() -> Generator[Path]:
    """A new folder of mode 0700 for Ray's session: in RAY_TMPDIR, else TMPDIR, or in /tmp if TMPDIR is too long.

    Raises BadInput if none of them can be used.
    """
    chosen = os.environ.get("RAY_TMPDIR")
    places = [chosen] if chosen else [tempfile.gettempdir(), "/tmp", "/var/tmp"]
    for place in dict.fromkeys(map(os.path.abspath, places)):
        if len(os.fsencode(place)) <= _LONGEST and os.access(place, os.W_OK | os.X_OK):
            folder = LockedFolder(PREFIX, Path(place))
            try:
                yield folder.path / "r"  # Ray makes its folder accessible to everybody; the parent stays private
            finally:
                folder.remove()
            return
    raise BadInput(
        f"Ray has no place for its sockets: {' and '.join(dict.fromkeys(places))}: not writable, or longer than "
        f"{_LONGEST} characters: set RAY_TMPDIR to a folder with a short path, or engine.kind=inline"
    )


def start_local(folder: Path, settings: Mapping[str, Any]) -> None:
    """Start a Ray on this machine with its session under `folder`; tries again, with a longer wait, if it is slow.

    Raises SpatialdataError if it does not start.
    """
    what = ""
    for wait_s in WAITS_S:
        try:
            with own_signals(), _patient(wait_s), _few_processes():
                # No pixels go through the object store: the smallest size is enough.
                ray.init(
                    address="local",
                    include_dashboard=False,
                    object_store_memory=100 << 20,
                    _temp_dir=str(folder),
                    **settings,
                )
                return
        except Exception as error:  # Ray raises plain Exceptions
            _end_half_started(error)
            ray.shutdown()
            what = first_line(error)
            if not any(word in what.lower() for word in _SLOW):
                break
    raise SpatialdataError(
        f"Ray did not start on this machine ({what}); it may be too busy, or short of memory: rerun the command when "
        "it is idle, or set engine.kind=inline"
    )


@contextmanager
def own_signals() -> Generator[None]:
    """Keep Ray from setting its own SIGTERM handler, which ends the process, inside."""

    def keep_ours(_: object) -> None:
        return None

    with _replaced(utils, "set_sigterm_handler", keep_ours):
        yield


@contextmanager
def _patient(wait_s: float) -> Generator[None]:
    """Let Ray wait up to `wait_s` for its new node, instead of its own 30 s."""
    ask, ends = services.get_node, time.monotonic() + wait_s

    def get_node(gcs_address: str, node_id: str) -> Any:
        while True:
            try:
                return ask(gcs_address, node_id)
            except RuntimeError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.1)

    with _replaced(services, "get_node", get_node):
        yield


@contextmanager
def _few_processes() -> Generator[None]:
    """Let Ray start only those processes of a node that a run uses."""

    def start_nothing(*_: object, **__: object) -> None:
        return None

    with ExitStack() as stack:
        for name in _UNUSED:
            stack.enter_context(_replaced(node.Node, name, start_nothing))
        yield


@contextmanager
def _replaced(module: Any, name: str, function: Callable[..., Any]) -> Generator[None]:
    old = getattr(module, name)
    setattr(module, name, function)
    try:
        yield
    finally:
        setattr(module, name, old)


def _end_half_started(error: BaseException) -> None:
    """Kill the processes of a node that did not start. Only the node object, which is in the traceback, knows them."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        started = frame.f_locals.get("self")
        if isinstance(started, node.Node):
            cast("Any", started).kill_all_processes(check_alive=False, allow_graceful=False)
            return


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
