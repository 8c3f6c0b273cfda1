"""The connection to Ray, the resources of its nodes, and a parallel map.

Invariant: code that finds a connection leaves it open; code that makes one closes it.
"""

import io
import json
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

import ray
from ray.exceptions import RayError

from ...shards.errors import BadInput
from ..config import EngineOptions
from ..store.layers import LayerStore
from .pools import Cluster
from .ray_health import CLUSTER_S, LOCAL_S, watched
from .ray_local import first_line, own_signals, session_folder, start_local
from .runner import Failed

Item = TypeVar("Item")
HOME = Path(__file__).resolve().parents[2]
"""Folder of our packages: a checkout, or `site-packages/spatialdata_builder`."""


@contextmanager
def connected(
    options: EngineOptions, runtime_env: Mapping[str, Any] | None = None, code: Sequence[Path] = ()
) -> Generator[None]:
    """Connect to Ray: an existing connection, else `engine.address`, else the cluster of the job, else a local Ray.

    Our packages and `code` are sent to a cluster that this run did not start (`shipped`); workers of a local Ray import
    `code` from where it is.

    Args:
        code: packages that workers must be able to import: folders, or files of modules.

    Raises BadInput if there is no cluster at that address, or no place for a local Ray; SpatialdataError if a local Ray
    does not start in time, or the cluster dies.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = options.address or os.environ.get("RAY_ADDRESS", "")
    settings: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    if environment := shipped(address, runtime_env, os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", ""), code=code):
        settings["runtime_env"] = environment
    with ExitStack() as stack:
        local = address in ("", "local")
        folder = stack.enter_context(session_folder()) if local else None
        # Ray's threads always print on stdout, which must hold only the output of `--json`; dead workers are our notes.
        stack.enter_context(redirect_stdout(cast("Any", _WithoutRay(sys.stdout))))
        stack.callback(_leave)
        if folder is None:
            _join(address, settings)
        else:
            with _on_python_path(code):
                start_local(folder, settings)
        stack.enter_context(watched(patience_s=LOCAL_S if local else CLUSTER_S))
        yield


def _leave() -> None:
    """Close the connection and end a local Ray. Silent: Ray repeats errors of dead processes, already reported."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        ray.shutdown()


def _join(address: str, settings: Mapping[str, Any]) -> None:
    """Connect to a cluster. Raises BadInput if there is none at that address."""
    _check_listening(address)
    try:
        with own_signals():
            ray.init(address=address, **settings)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BadInput(f"cannot reach Ray at '{address}' ({first_line(error)}): see engine.address") from error


@contextmanager
def _on_python_path(code: Sequence[Path]) -> Generator[None]:
    """Let processes that start inside import `code`, through PYTHONPATH."""
    before = os.environ.get("PYTHONPATH")
    folders = dict.fromkeys([*(str(place.parent) for place in code), *filter(None, (before or "").split(os.pathsep))])
    if code:
        os.environ["PYTHONPATH"] = os.pathsep.join(folders)
    try:
        yield
    finally:
        if code and before is None:
            del os.environ["PYTHONPATH"]
        elif code:
            os.environ["PYTHONPATH"] = before or ""


def shipped(
    address: str, given: Mapping[str, Any] | None, job: str, home: Path = HOME, code: Sequence[Path] = ()
) -> dict[str, Any]:
    """The runtime environment, with our packages and `code` added if workers would not find them.

    A checkout is sent as `working_dir`, without the files that its .rayignore and .gitignore name. Of an installed
    package, only its own folder is sent, not all of site-packages. `code` is sent as `py_modules`, unless it is
    directly in the working directory. Nothing is added for a local Ray, and our packages are not added if a working
    directory is already set.

    Args:
        given: the runtime environment that the caller asks for; takes precedence.
        job: JSON of the Ray job whose driver this is; empty outside a job.
    """
    environment = dict(given or {})
    of_job = (json.loads(job).get("runtime_env") or {}) if job else {}
    if address in ("", "local"):
        return environment
    modules: list[str] = []
    if "working_dir" in of_job:
        working = Path.cwd()  # Ray runs a job's driver in its copy
    elif "working_dir" in environment:
        working = Path(environment["working_dir"]).absolute()
    elif (home / ".rayignore").is_file():
        working = home
        environment["working_dir"] = str(home)
    else:
        working = None
        modules.append(str(home))
    modules += [str(place) for place in code if place.parent != working]
    if modules:
        environment["py_modules"] = [*environment.get("py_modules", []), *modules]
    return environment


def _check_listening(address: str) -> None:
    """Raise BadInput at once if nothing listens there: Ray itself would try for minutes."""
    host, separator, port = address.rpartition("://")[2].rpartition(":")
    if not separator or not port.isdigit():  # "auto", "local", or empty
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise BadInput(f"cannot reach Ray at '{address}' ({error}): see engine.address") from error


class _WithoutRay:
    """A text stream that drops the output of Ray's own threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name.startswith("ray_") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def read_cluster() -> Cluster:
    """Resources of the nodes that are alive."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [float(node.get("CPU", 0)) for node in nodes]
    gpus = [float(node.get("GPU", 0)) for node in nodes]
    return Cluster(len(nodes), sum(cpus), sum(gpus), max(cpus), max(gpus))


def check_reachable(store: LayerStore, options: EngineOptions, cluster: Cluster) -> None:
    """Raise BadInput if workers could not reach the driver's OUT."""
    if store.is_memory:
        raise BadInput(f"{store} exists only in this process: set engine.kind=inline, or use a folder")
    if store.is_local and cluster.nodes > 1 and not options.shared_fs:
        raise BadInput(
            f"{store} is a path on one node and the cluster has {cluster.nodes}: use a URL that all nodes reach "
            "(s3://...), or set engine.shared_fs=true if all nodes share this folder"
        )


def map_on_ray(
    function: Callable[..., Any],
    items: Sequence[Item],
    guarded: Callable[..., Any],
    on_result: Callable[[Item, Any], None],
) -> None:
    """Call `guarded(function, item)` in one-core tasks, at most two per core; `on_result` gets results as they come."""
    call = cast("Any", ray.remote(guarded)).options(num_cpus=1, max_retries=2, scheduling_strategy="SPREAD")
    most = max(1, int(2 * read_cluster().cpus))
    shared = ray.put(function)
    queue, running = deque(items), dict[Any, Item]()
    try:
        while queue or running:
            while queue and len(running) < most:
                item = queue.popleft()
                running[call.remote(shared, item)] = item
            done, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
            for ref in done:
                item = running.pop(ref)
                try:
                    result = ray.get(ref)
                except RayError as error:
                    result = Failed(f"its worker died repeatedly ({last_line(error)})")
                on_result(item, result)
    finally:
        for ref in running:
            ray.cancel(ref, force=True)


def last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
