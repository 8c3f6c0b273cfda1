"""Generates assets in processes that run Infinigen, within limits for each asset.

Invariant: a failed asset does no harm to others. Its process is replaced, because its state is unknown.
"""

import queue
import signal
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...shards.errors import BadInput
from ..blender.environment import Need, environment_of, python_of
from ..blender.process import BlenderProcess, ProcessDied, ProcessTimeout
from .cache import AssetCache, AssetRecord
from .factories import Factory

SCRIPT: Final = Path(__file__).with_name("worker.py")
INFINIGEN: Final = Need("Infinigen")
DOWNLOAD: Final = "720 MB"
"""Packages that the first start on a machine downloads, Blender among them."""
VERSION: Final = "1.15.5"
"""Of Infinigen, as the metadata of the script requires."""
_START_TIMEOUT_S: Final = 600.0
_MADE_BY_PROCESS: Final = 25
"""Assets after which a process is replaced, because Blender does not release all memory."""
_DETAIL: Final = 300
"""Characters of an error of Infinigen that are kept."""
_OUT_OF_CPU: Final = f"killed by signal {signal.SIGXCPU.value}"


@dataclass(frozen=True)
class Limits:
    """Of each asset."""

    cpu_s: int
    seconds: float
    """Wall-clock time."""
    triangles: int
    """A mesh with more is reduced."""
    texture: int
    """Pixels of a side of each image."""


@dataclass(frozen=True)
class Task:
    """An asset to generate."""

    factory: Factory
    seed: int


def is_installed() -> bool:
    """Whether the environment of Infinigen exists on this machine."""
    return environment_of(SCRIPT, INFINIGEN)[1]


def worker_command() -> list[str]:
    """The command line of a process that runs Infinigen. Its environment is created if it does not exist.

    Raises BadInput, with the message of uv if that fails.
    """
    return [str(python_of(SCRIPT, INFINIGEN)), "-I", str(SCRIPT), "--"]


def generate(
    command: Sequence[str], cache: AssetCache, tasks: Sequence[Task], limits: Limits, jobs: int, wake_s: float = 0.5
) -> Generator[tuple[Task, AssetRecord] | None]:
    """Generate assets into files of `AssetCache.unfinished`.

    Args:
        command: of `worker_command`.
        jobs: processes, each with one thread.

    Yields:
        A task and how it ended, in the order in which they end; None at least every `wake_s` seconds.

    Raises:
        BadInput: Infinigen does not start.
    """
    left: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        left.put(task)
    ended: queue.SimpleQueue[tuple[Task, AssetRecord] | BaseException] = queue.SimpleQueue()
    makers = [_Maker(command, cache, left, ended, limits) for _ in range(min(jobs, len(tasks)))]
    try:
        for maker in makers:
            maker.start()
        missing = len(tasks)
        while missing:
            try:
                found = ended.get(timeout=wake_s)
            except queue.Empty:
                yield None
                continue
            if isinstance(found, BaseException):
                raise found
            missing -= 1
            yield found
    finally:
        for maker in makers:
            maker.stop()


class _Maker:
    """A thread with a process of its own."""

    def __init__(
        self,
        command: Sequence[str],
        cache: AssetCache,
        tasks: "queue.SimpleQueue[Task]",
        ended: "queue.SimpleQueue[tuple[Task, AssetRecord] | BaseException]",
        limits: Limits,
    ) -> None:
        self._command, self._cache = command, cache
        self._tasks, self._ended, self._limits = tasks, ended, limits
        self._process: BlenderProcess | None = None
        self._made = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="infinigen", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and its process at once."""
        self._stopping.set()
        while self._thread.is_alive():
            if (process := self._process) is not None:
                process.close()
            self._thread.join(0.1)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    task = self._tasks.get_nowait()
                except queue.Empty:
                    break
                self._ended.put((task, self._make(task)))
        except BaseException as error:  # raised by `generate`, in the thread of the caller
            self._ended.put(error)
        finally:
            self._close()

    def _close(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process, self._made = None, 0

    def _make(self, task: Task) -> AssetRecord:
        process = self._running_process()
        limits, factory = self._limits, task.factory
        try:
            reply = process.ask(
                "make",
                limits.seconds,
                module=factory.module,
                factory=factory.name,
                seed=task.seed,
                scale=factory.scale,
                file=str(self._cache.unfinished(factory.name, task.seed).absolute()),
                texture=limits.texture,
                max_triangles=limits.triangles,
                limit_cpu_s=limits.cpu_s,
            )
        except ProcessTimeout:
            self._close()
            return _failed(task, "time_limit", f"more than {limits.seconds:g} s (--seconds)")
        except ProcessDied as error:
            log = process.log
            self._close()
            if str(error) == _OUT_OF_CPU:
                return _failed(task, "cpu_limit", f"more than {limits.cpu_s} CPU seconds (--cpu-seconds)")
            return _failed(task, "crashed", f"its process was {error}: {log[-_DETAIL:]}")
        if "error" in reply:
            self._close()
            return _failed(task, reply["error"], reply["message"].partition("\n")[0])
        self._made += 1
        if self._made >= _MADE_BY_PROCESS:
            self._close()
        return _record(task, reply, limits)

    def _running_process(self) -> BlenderProcess:
        if self._process is None:
            self._process = process = BlenderProcess(self._command, "cpu", 1)
            try:
                process.ask("hello", _START_TIMEOUT_S)
            except (ProcessDied, ProcessTimeout) as error:
                lines = " | ".join(process.log.splitlines()[-3:])
                raise BadInput(f"Infinigen does not start ({error}): {lines}; check the free memory") from None
        return self._process


def _failed(task: Task, reason: str, detail: str) -> AssetRecord:
    return AssetRecord(task.factory.name, task.seed, reason=reason, detail=" ".join(detail.split())[:_DETAIL])


def _record(task: Task, reply: dict[str, Any], limits: Limits) -> AssetRecord:
    return AssetRecord(
        task.factory.name,
        task.seed,
        cpu_s=reply["asset_cpu_s"],
        texture=limits.texture,
        size_m=tuple(reply["size_m"]),
        triangles=reply["triangles"],
        made_triangles=reply["made_triangles"],
    )
