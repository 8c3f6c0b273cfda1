"""The connection to Ray, what its nodes have, and a parallel map.

Invariant: who finds a connection leaves it; who makes one ends it.
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
"""The folder of our packages: a checkout, or `site-packages/spatialdata_builder`."""


@contextmanager
def connected(
    options: EngineOptions, runtime_env: Mapping[str, Any] | None = None, code: Sequence[Path] = ()
) -> Generator[None]:
    """Connected to Ray inside: the connection that is there, else `engine.address`, else the job's, else a local Ray.

    Nodes of a cluster that is not ours are sent our packages, and `code` (`shipped`); workers of a local Ray find
    `code` where it lies.

    Args:
        code: packages that workers must be able to import: folders, or files of modules.

    Raises BadInput when there is no cluster at that address, or no place for a local one, SpatialdataError when a local
    one does not start in time, or the cluster is gone.
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
        # Ray's threads print on stdout whatever they are told, where `--json` speaks; deaths of workers are our notes.
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
    """End the connection, and a Ray of our own; it repeats the last words of processes that died, which we told."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        ray.shutdown()


def _join(address: str, settings: Mapping[str, Any]) -> None:
    """Connect to a cluster. Raises BadInput when there is none at that address."""
    _check_listening(address)
    try:
        with own_signals():
            ray.init(address=address, **settings)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BadInput(f"cannot reach Ray at '{address}' ({first_line(error)}): see engine.address") from error


@contextmanager
def _on_python_path(code: Sequence[Path]) -> Generator[None]:
    """Processes that start inside import `code` where it lies."""
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
    """The runtime environment with our packages, and `code`, in it where workers would not find them.

    A checkout goes as `working_dir`, less what its .rayignore and .gitignore name; of an installed package its own
    folder, not all of site-packages. `code` goes as `py_modules`, unless it lies directly in the working directory.
    Nothing is added for a local Ray; of our packages nothing where a working directory is set already.

    Args:
        given: what the caller asks for; wins.
        job: JSON of the Ray job that we are the driver of, empty outside of one.
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
    """Raise BadInput at once when nobody listens: Ray itself would try for minutes."""
    host, separator, port = address.rpartition("://")[2].rpartition(":")
    if not separator or not port.isdigit():  # "auto", "local", or empty
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise BadInput(f"cannot reach Ray at '{address}' ({error}): see engine.address") from error


class _WithoutRay:
    """A text stream that drops what Ray's own threads write."""

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
    """Raise BadInput when workers would not see the driver's OUT."""
    if store.is_memory:
        raise BadInput(f"{store} lives in this process: use engine.kind inline, or a folder")
    if store.is_local and cluster.nodes > 1 and not options.shared_fs:
        raise BadInput(
            f"{store} is a path of one node and the cluster has {cluster.nodes}: give a URL that all reach (s3://...), "
            "or set engine.shared_fs=true if it is a folder that all nodes share"
        )


def map_on_ray(
    function: Callable[..., Any],
    items: Sequence[Item],
    guarded: Callable[..., Any],
    on_result: Callable[[Item, Any], None],
) -> None:
    """Call `guarded(function, item)` in tasks of one core, at most two a core at once; results as they come."""
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
                    result = Failed(f"its worker died again and again ({last_line(error)})")
                on_result(item, result)
    finally:
        for ref in running:
            ray.cancel(ref, force=True)


def last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
